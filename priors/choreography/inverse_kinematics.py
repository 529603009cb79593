"""Inverse kinematics of a whole clip at once: every frame's joint rotations are the unknowns.

Levenberg-Marquardt on contacts, planted feet, balance, gaze, joint limits, a reference pose and
collisions; consecutive frames are joined by velocity and acceleration penalties, and each step
solves the joint normal equations by preconditioned conjugate gradients. One jitted program: the same
frame count, vertex count and object count reuse it.

Unknowns of a frame (69): pelvis position in the world, and the axis-angle of the first 22 SMPL-X
joints local to their parents; the root's is relative to the planned heading.
"""

import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hoijax.geometry.rotations import axis_angle_to_matrix
from hoijax.geometry.safe_math import safe_norm
from hoijax.objects.distance_grid import DistanceGrids, query_with_gradient
from priors.choreography.joint_limits import (
    BODY_PARENTS,
    JOINT_COUNT,
    JOINT_LOWER,
    JOINT_STIFFNESS,
    JOINT_UPPER,
    MASS_JOINTS,
    MASSES,
)
from priors.choreography.smoothed_least_squares import (
    UNKNOWN_COUNT,
    smoothness_matrices,
    smoothness_weights,
    solve_normal_equations,
)

ANKLES, HEAD, WRISTS = (7, 8), 15, (20, 21)
POINT_SLOTS = 4  # spare body points (shoulder, forearm, hips, ...) that a plan may pin

# Square-root weights: a residual of 1 costs the same everywhere.
POSITION, DIRECTION, FOOT_POSITION, FOOT_ROTATION = 150.0, 20.0, 300.0, 40.0
LIMIT, BALANCE, LOOK, REFERENCE, COLLISION, SELF_COLLISION = 30.0, 8.0, 1.5, 1.0, 90.0, 40.0
DEEPEST = 80  # skin points of a frame that push it out of objects


@flax.struct.dataclass
class Skeleton:
    """Constants of one person, in the rest (T-pose) frame; metres."""

    rest_joints: Float[Array, "22 3"]
    palm_normals: Float[Array, "2 3"]
    """Out of the palm, left then right, in the wrist's frame."""
    knuckle_axes: Float[Array, "2 3"]
    """From the little finger's knuckle to the index finger's, in the wrist's frame."""
    skin_blend: Float[Array, "V 88"]
    """Linear blend skinning of the skin points kept out of objects, as a matrix: per joint, weight
    times (rest offset from the joint, 1)."""
    skin_margin: Float[Array, "V"]
    """Distance that each skin point keeps from objects; 0 on the hands, which touch them."""
    capsule_joints: Int[Array, "C 2"]
    """Ends of the capsules (torso, thighs) that hands and elbows stay out of."""
    capsule_radii: Float[Array, "C"]


@flax.struct.dataclass
class PoseTargets:
    """What one person does, frame by frame; world frame, metres. Weights are 0 where free."""

    heading: Float[Array, "T 3 3"]
    """Planned root orientation: rest pose turned about the vertical."""
    pelvis: Float[Array, "T 3"]
    pelvis_weight: Float[Array, "T 3"]
    reference: Float[Array, "T 22 3"]
    """Pose that joints return to where nothing else asks for anything (root row: extra lean)."""
    support: Float[Array, "T 2"]
    """Ground point (x, z) that the center of mass should stay above."""
    balance_weight: Float[Array, "T"]
    hand_local: Float[Array, "T 2 3"]
    """The point of each hand that meets its target, in the wrist's frame."""
    hand_point: Float[Array, "T 2 3"]
    hand_normal: Float[Array, "T 2 3"]
    hand_axis: Float[Array, "T 2 3"]
    hand_weight: Float[Array, "T 2 3"]
    """Weights of position, palm direction, knuckle direction."""
    ankle: Float[Array, "T 2 3"]
    foot_rotation: Float[Array, "T 2 3 3"]
    foot_weight: Float[Array, "T 2 2"]
    """Weights of position and rotation."""
    look_at: Float[Array, "T 3"]
    look_weight: Float[Array, "T"]
    slot_joint: Int[Array, "T 4"]
    slot_local: Float[Array, "T 4 3"]
    slot_point: Float[Array, "T 4 3"]
    slot_weight: Float[Array, "T 4"]
    Ts_world_object: Float[Array, "T O 4 4"]
    collision_weight: Float[Array, "T O"]


def _ancestor_rounds() -> np.ndarray:
    """Pointer doubling: in round r a joint is composed with the joint 2^r levels above it."""
    jump = np.array([JOINT_COUNT if p < 0 else p for p in BODY_PARENTS] + [JOINT_COUNT])
    rounds = []
    while (jump[:-1] != JOINT_COUNT).any():
        rounds.append(jump[:-1])
        jump = jump[jump]
    return np.stack(rounds)


_ROUNDS = _ancestor_rounds()


def body_transforms(
    unknowns: Float[Array, "69"], heading: Float[Array, "3 3"], rest_joints: Float[Array, "22 3"]
) -> tuple[Float[Array, "22 3 3"], Float[Array, "22 3"]]:
    """World rotations and positions of the 22 body joints in one frame."""
    R = axis_angle_to_matrix(unknowns[3:].reshape(JOINT_COUNT, 3))
    R = jnp.concatenate([(heading @ R[0])[None], R[1:]])
    offsets = rest_joints - rest_joints[np.maximum(np.array(BODY_PARENTS), 0)]
    p = jnp.concatenate([unknowns[None, :3], offsets[1:]])
    for jump in _ROUNDS:
        above_R = jnp.concatenate([R, jnp.eye(3)[None]])[jump]
        above_p = jnp.concatenate([p, jnp.zeros((1, 3))])[jump]
        p = above_p + jnp.einsum("jab,jb->ja", above_R, p)
        R = above_R @ R
    return R, p


def _residuals(
    unknowns: Float[Array, "69"], targets: PoseTargets, skeleton: Skeleton
) -> tuple[Float[Array, "R"], Float[Array, "22 4 3"]]:
    """Weighted residuals of one frame that depend on where joints are (targets: one frame's slice).

    Also the joint transforms that skin hangs on: per joint the rows of R^T, then the position.
    """
    R, p = body_transforms(unknowns, targets.heading, skeleton.rest_joints)
    wrists, ankles = np.array(WRISTS), np.array(ANKLES)
    hands = p[wrists] + jnp.einsum("hij,hj->hi", R[wrists], targets.hand_local)
    palms = jnp.einsum("hij,hj->hi", R[wrists], skeleton.palm_normals)
    knuckles = jnp.einsum("hij,hj->hi", R[wrists], skeleton.knuckle_axes)
    weight = targets.hand_weight[..., None]
    slots = p[targets.slot_joint] + jnp.einsum(
        "sij,sj->si", R[targets.slot_joint], targets.slot_local
    )
    mass_center = MASSES @ p[np.array(MASS_JOINTS)]
    gaze = targets.look_at - p[HEAD]
    gaze = gaze / (safe_norm(gaze) + 1e-3)
    parts = [
        POSITION * weight[:, 0] * (hands - targets.hand_point),
        DIRECTION * weight[:, 1] * (palms - targets.hand_normal),
        DIRECTION * weight[:, 2] * (knuckles - targets.hand_axis),
        FOOT_POSITION * targets.foot_weight[:, :1] * (p[ankles] - targets.ankle),
        FOOT_ROTATION
        * targets.foot_weight[:, 1:, None]
        * (R[ankles] - targets.foot_rotation)[..., :2],
        targets.pelvis_weight * (unknowns[:3] - targets.pelvis),
        BALANCE * targets.balance_weight * (mass_center[np.array([0, 2])] - targets.support),
        LOOK * targets.look_weight * (R[HEAD][:, 2] - gaze),
        POSITION * targets.slot_weight[:, None] * (slots - targets.slot_point),
        _self_collisions(hands, p, skeleton),
    ]
    affine = jnp.concatenate([R.transpose(0, 2, 1), p[:, None]], axis=1)
    return jnp.concatenate([part.reshape(-1) for part in parts]), affine


def _collisions(
    affine: Float[Array, "22 4 3"],
    targets: PoseTargets,
    skeleton: Skeleton,
    grids: DistanceGrids,
) -> tuple[Float[Array, "V"], Float[Array, "V 3"]]:
    """Weighted depth of the skin points in the object they are deepest in, and its gradient."""
    skin = skeleton.skin_blend @ affine.reshape(-1, 3)

    def depth(T_world_object, grid, weight):
        R = T_world_object[:3, :3]
        distance, slope = query_with_gradient(grid, (skin - T_world_object[:3, 3]) @ R, 0)
        deep = COLLISION * weight * jax.nn.relu(skeleton.skin_margin - distance)
        return deep, -COLLISION * weight * (slope @ R.T)

    deep, slope = jax.vmap(depth)(targets.Ts_world_object, grids, targets.collision_weight)
    worst = jnp.argmax(deep, axis=0)[None]
    deep = jnp.take_along_axis(deep, worst, axis=0)[0]
    slope = jnp.take_along_axis(slope, worst[..., None], axis=0)[0]
    return deep, jnp.where(deep[:, None] > 0.0, slope, 0.0)


def _pose_prior(
    unknowns: Float[Array, "69"], targets: PoseTargets
) -> tuple[Float[Array, "2 66"], Float[Array, "2 66"]]:
    """Residuals towards the reference pose and beyond the joint limits, with their weights.

    They concern one unknown each, so their Jacobian is diagonal: the weight where it is active.
    """
    pose = unknowns[3:]
    reference = REFERENCE * JOINT_STIFFNESS.reshape(-1)
    lower, upper = JOINT_LOWER.reshape(-1), JOINT_UPPER.reshape(-1)
    beyond = pose - jnp.clip(pose, lower, upper)
    residual = jnp.stack([reference * (pose - targets.reference.reshape(-1)), LIMIT * beyond])
    weight = jnp.stack(
        [jnp.broadcast_to(reference, pose.shape), jnp.where(beyond != 0.0, LIMIT, 0.0)]
    )
    return residual, weight


def _normal_equations(
    unknowns: Float[Array, "69"], targets: PoseTargets, skeleton: Skeleton, grids: DistanceGrids
) -> tuple[Float[Array, "69 69"], Float[Array, "69"]]:
    """J^T J and J^T r of one frame.

    Skin is linear in the joint transforms, so no autodiff runs through it, and only the deepest
    points enter.
    """

    def twice(x):
        outputs = _residuals(x, targets, skeleton)
        return outputs, outputs

    (J, d_affine), (r, affine) = jax.jacfwd(twice, has_aux=True)(unknowns)
    deep, slope = _collisions(affine, targets, skeleton, grids)
    deep, chosen = jax.lax.top_k(deep, DEEPEST)
    d_skin = skeleton.skin_blend[chosen] @ d_affine.reshape(4 * JOINT_COUNT, -1)
    d_skin = d_skin.reshape(-1, 3, UNKNOWN_COUNT)
    J_deep = jnp.einsum("va,van->vn", slope[chosen], d_skin)
    rows, right = jnp.concatenate([J, J_deep]), jnp.concatenate([r, deep])
    prior, weight = _pose_prior(unknowns, targets)
    prior_diagonal = jnp.concatenate([jnp.zeros(3), jnp.sum(weight * weight, axis=0)])
    prior_gradient = jnp.concatenate([jnp.zeros(3), jnp.sum(weight * prior, axis=0)])
    return rows.T @ rows + jnp.diag(prior_diagonal), right @ rows + prior_gradient


def _frame_cost(
    unknowns: Float[Array, "69"], targets: PoseTargets, skeleton: Skeleton, grids: DistanceGrids
) -> Float[Array, ""]:
    r, affine = _residuals(unknowns, targets, skeleton)
    deep, _ = _collisions(affine, targets, skeleton, grids)
    prior, _ = _pose_prior(unknowns, targets)
    return jnp.sum(r * r) + jnp.sum(deep * deep) + jnp.sum(prior * prior)


def _self_collisions(
    hands: Float[Array, "2 3"], p: Float[Array, "22 3"], skeleton: Skeleton
) -> Float[Array, "S C"]:
    """Depth of hands, wrists and forearms inside the torso and thigh capsules."""
    elbows, wrists = p[np.array([18, 19])], p[np.array(WRISTS)]
    points = jnp.concatenate([hands, wrists, 0.5 * (wrists + elbows), elbows])
    start, end = p[skeleton.capsule_joints[:, 0]], p[skeleton.capsule_joints[:, 1]]
    axis = end - start
    along = jnp.einsum("scj,cj->sc", points[:, None] - start, axis) / jnp.sum(axis * axis, -1)
    nearest = start + jnp.clip(along, 0.0, 1.0)[..., None] * axis
    distance = safe_norm(points[:, None] - nearest)
    return SELF_COLLISION * jax.nn.relu(skeleton.capsule_radii - distance)


@functools.partial(jax.jit, static_argnames=("iterations",))
def solve_poses(
    start: Float[Array, "T 69"],
    targets: PoseTargets,
    skeleton: Skeleton,
    grids: DistanceGrids,
    iterations: int = 36,
) -> tuple[Float[Array, "T 69"], Float[Array, ""], Int[Array, ""]]:
    """Best unknowns found, their cost, and the number of steps..

    grids: one per object, stacked on a leading axis; grid 0 is the signed distance.
    """
    velocity, acceleration = map(jnp.asarray, smoothness_matrices(start.shape[0]))
    velocity_weight, acceleration_weight = smoothness_weights()
    axes = (0, 0, None, None)

    def smoothness(x):
        return velocity_weight * (velocity @ x) + acceleration_weight * (acceleration @ x)

    def cost_of(x):
        frame_costs = jax.vmap(_frame_cost, axes)(x, targets, skeleton, grids)
        return jnp.sum(frame_costs) + jnp.sum(x * smoothness(x))

    def step(state):
        x, cost, damping, count, stalled = state
        blocks, gradient = jax.vmap(_normal_equations, axes)(x, targets, skeleton, grids)
        gradient = gradient + smoothness(x)
        scale = damping * (1.0 + 0.1 * jnp.diagonal(blocks, axis1=1, axis2=2))
        blocks = blocks + scale[..., None] * jnp.eye(x.shape[1])
        proposal = x + jnp.clip(
            solve_normal_equations(blocks, gradient, velocity, acceleration), -0.6, 0.6
        )
        proposed = cost_of(proposal)
        better = proposed < cost
        gain = jnp.where(better, (cost - proposed) / cost, 0.0)
        x, cost = jnp.where(better, proposal, x), jnp.where(better, proposed, cost)
        damping = jnp.clip(jnp.where(better, damping * 0.3, damping * 5.0), 1e-4, 1e6)
        return x, cost, damping, count + 1, jnp.where(gain < 1e-3, stalled + 1, 0)

    def running(state):
        _, _, _, count, stalled = state
        return (count < iterations) & (stalled < 3)

    state = (start, cost_of(start), jnp.float32(1.0), jnp.int32(0), jnp.int32(0))
    x, cost, _, count, _ = jax.lax.while_loop(running, step, state)
    return x, cost, count
