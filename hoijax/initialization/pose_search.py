"""Per-frame global pose search: many rotations, each refined by a few robust Gauss-Newton steps.

All frames and hypotheses run in one vmapped program. Residuals of one hypothesis in one frame:
observed points to the whole object, labeled points to their part, and projected model samples to
the mask's distance transform. The derivative of each with respect to the six pose parameters is
known in closed form, so a step is one look-up and one 6 x 6 solve.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int
from numpy import ndarray

from hoijax.geometry.bilinear import bilinear_with_gradient
from hoijax.geometry.camera import NEAR
from hoijax.geometry.descent import levenberg_marquardt
from hoijax.geometry.rotations import axis_angle_to_matrix
from hoijax.initialization.search_contacts import ContactParts, contact_terms, ground_terms
from hoijax.objects.distance_grid import DistanceGrids, query_with_gradient
from hoijax.programs import program
from hoijax.runtime import on_all_cores
from hoijax.scene.silhouettes import COMMON, Outline, directions, farthest_along, off_outline

POINT_SIGMA = 0.015  # metres: residuals of this size count as one
PIXEL_SIGMA = 3.0
EXTENT_SIGMA = 1.0  # units of `Outline.unit`
ROBUST = 3.0  # Geman-McClure scale in sigmas
FRAMES_AT_ONCE = 5  # on CPU
Pose = tuple[Float[Array, "3 3"], Float[Array, " 3"]]
MAX_STEP = 0.35  # radians and metres a step may move: keeps a bad linearisation from jumping away


@flax.struct.dataclass
class FrameEvidence:
    """What one frame says about one object (leading axis T outside)."""

    points_world: Float[Array, "n 3"]
    point_mask: Bool[Array, " n"]
    part_grids: Int[Array, " n"]
    """Grid row of each point's part, or of the whole object (then the residual counts twice)."""
    mask_distance: Float[Array, "h w 4"]
    T_pointmap_world: Float[Array, "4 4"]
    intrinsics: Float[Array, "3 3"]
    outline: Outline | None = None
    contact_points: Float[Array, "E 2 C 3"] | None = None
    """Of the body parts that may touch, in the world: for objects without depth."""
    contact_possible: Float[Array, "E 2"] | None = None


@flax.struct.dataclass
class SearchObject:
    """Constants of the object searched for."""

    grids: DistanceGrids
    unsigned_grid: Int[Array, ""]
    center: Float[Array, " 3"]
    samples: Float[Array, "s 3"]
    cell_size: Float[Array, " 2"]
    point_share: Float[Array, ""]
    """Weight of the point terms against the mask term, e.g. 1."""
    hull: Float[Array, "h 3"] | None = None
    """Needed where a frame has an outline."""
    contacts: ContactParts | None = None


def robust(squared: Float[Array, " r"]) -> tuple[Float[Array, " r"], Float[Array, " r"]]:
    """Geman-McClure cost and the weight of the equivalent reweighted least squares."""
    weight = ROBUST**2 / (squared + ROBUST**2)
    return squared * weight, weight**2


def _point_terms(target: SearchObject, frame: FrameEvidence, rotation: Array, translation: Array):
    arm = frame.points_world - translation
    local = arm @ rotation + target.center
    n = local.shape[0]
    grids = jnp.concatenate([jnp.broadcast_to(target.unsigned_grid, (n,)), frame.part_grids])
    distance, slope = query_with_gradient(target.grids, jnp.concatenate([local, local]), grids)
    slope = slope @ rotation.T
    arms = jnp.concatenate([arm, arm])
    jacobian = jnp.concatenate([jnp.cross(slope, arms), -slope], axis=-1) / POINT_SIGMA
    mask = jnp.concatenate([frame.point_mask, frame.point_mask]).astype(jnp.float32)
    weight = target.point_share * mask / jnp.maximum(jnp.sum(mask), 1.0)
    return distance / POINT_SIGMA, jacobian, weight


def _mask_terms(target: SearchObject, frame: FrameEvidence, rotation: Array, translation: Array):
    arm = target.samples @ rotation.T
    points, depth, focal, pixels = _in_image(frame, arm + translation)
    distance, slope = bilinear_with_gradient(frame.mask_distance, pixels / target.cell_size - 0.5)
    slope = slope / target.cell_size
    jacobian = _pixel_jacobian(frame, slope, arm, points, depth, focal) / PIXEL_SIGMA
    weight = jnp.full(distance.shape, 1.0 / distance.shape[0])
    return distance / PIXEL_SIGMA, jacobian, weight


def _extent_terms(
    hull: Float[Array, "h 3"],
    outline: Outline,
    frame: FrameEvidence,
    rotation: Array,
    translation: Array,
):
    ways = jnp.asarray(directions())
    arm = hull[_farthest(hull, frame, rotation, translation)] @ rotation.T
    points, depth, focal, pixels = _in_image(frame, arm + translation)
    off, weight = off_outline(jnp.sum(pixels * ways, axis=-1), outline)
    jacobian = _pixel_jacobian(frame, ways, arm, points, depth, focal)
    total = jnp.maximum(jnp.sum(weight), 1.0)
    jacobian = jacobian - (1.0 - COMMON) * jnp.sum(weight[:, None] * jacobian, 0) / total
    return off / EXTENT_SIGMA, jacobian / (EXTENT_SIGMA * outline.unit), weight / off.shape[0]


def _farthest(
    hull: Float[Array, "h 3"], frame: FrameEvidence, rotation: Array, translation: Array
) -> Int[Array, " K"]:
    """Which vertices reach farthest in the image; coordinates in rows, as all of them are looked at."""
    T = frame.T_pointmap_world
    x, y, z = T[:3, :3] @ rotation @ hull.T + (T[:3, :3] @ translation + T[:3, 3])[:, None]
    focal, depth = (frame.intrinsics[0, 0], frame.intrinsics[1, 1]), jnp.maximum(z, NEAR)
    return farthest_along(jnp.stack([x / depth * focal[0], y / depth * focal[1]], axis=-1))


def _in_image(
    frame: FrameEvidence, points_world: Float[Array, "n 3"]
) -> tuple[Float[Array, "n 3"], Float[Array, " n"], Float[Array, " 2"], Float[Array, "n 2"]]:
    """(camera points, depths, focal lengths, pixels)."""
    T = frame.T_pointmap_world
    points = points_world @ T[:3, :3].T + T[:3, 3]
    depth = jnp.maximum(points[:, 2], NEAR)
    focal = jnp.stack([frame.intrinsics[0, 0], frame.intrinsics[1, 1]])
    return points, depth, focal, points[:, :2] / depth[:, None] * focal + frame.intrinsics[:2, 2]


def _pixel_jacobian(
    frame: FrameEvidence,
    slope: Float[Array, "n 2"],
    arm: Float[Array, "n 3"],
    points: Float[Array, "n 3"],
    depth: Float[Array, " n"],
    focal: Float[Array, " 2"],
) -> Float[Array, "n 6"]:
    """Derivative by the pose of what has these slopes by the pixel."""
    slope = slope * focal / depth[:, None]
    along = -jnp.sum(slope * points[:, :2], axis=-1) / depth
    in_world = jnp.concatenate([slope, along[:, None]], axis=-1) @ frame.T_pointmap_world[:3, :3]
    return jnp.concatenate([jnp.cross(arm, in_world), in_world], axis=-1)


def residuals(
    target: SearchObject, frame: FrameEvidence, rotation: Array, translation: Array
) -> tuple[Float[Array, " r"], Float[Array, "r 6"], Float[Array, " r"]]:
    """Residuals in sigmas, derivatives by the pose (turn about `translation`, shift) and weights.

    First the observed points, twice, then the projected samples and the outline; without depth contact
    and the ground.
    """
    blocks = [
        _point_terms(target, frame, rotation, translation),
        _mask_terms(target, frame, rotation, translation),
    ]
    if frame.outline is not None and target.hull is not None:
        blocks.append(_extent_terms(target.hull, frame.outline, frame, rotation, translation))
        if target.contacts is not None:
            blocks += _without_depth(target, frame, rotation, translation)
    residual, jacobian, weight = (jnp.concatenate(parts) for parts in zip(*blocks, strict=True))
    return residual, jacobian, weight


def _without_depth(target: SearchObject, frame: FrameEvidence, rotation: Array, translation: Array):
    """The ground and contact, in frames that have an outline alone."""
    hull, outline, contacts = target.hull, frame.outline, target.contacts
    points, possible = frame.contact_points, frame.contact_possible
    assert hull is not None
    assert outline is not None
    assert contacts is not None
    assert points is not None
    assert possible is not None
    touching, slopes, shares = contact_terms(
        contacts, points, target.grids, target.center, rotation, translation
    )
    shares = possible.reshape(-1) * shares
    blocks = ground_terms(hull, rotation, translation), (touching, slopes, shares)
    return [(residual, jacobian, outline.alone * weight) for residual, jacobian, weight in blocks]


def pose_cost(
    target: SearchObject, frame: FrameEvidence, rotation: Array, translation: Array
) -> Float[Array, ""]:
    """Robust cost of one pose in one frame: about the mean squared residual in sigmas."""
    residual, _, weight = residuals(target, frame, rotation, translation)
    return jnp.sum(weight * robust(residual**2)[0])


def refine_pose(
    target: SearchObject, frame: FrameEvidence, rotation: Array, translation: Array, steps: int
) -> tuple[Float[Array, "3 3"], Float[Array, " 3"], Float[Array, ""]]:
    """Levenberg-Marquardt from one pose; returns the best pose seen and its cost."""

    def normal(pose: Pose):
        residual, jacobian, weight = residuals(target, frame, *pose)
        cost, row_weight = robust(residual**2)
        scaled = (weight * row_weight)[:, None] * jacobian
        return scaled.T @ jacobian, scaled.T @ residual, jnp.sum(weight * cost)

    def move(pose: Pose, change: Float[Array, " 6"]) -> Pose:
        length = jnp.maximum(jnp.linalg.norm(change[:3]), jnp.linalg.norm(change[3:]))
        change = change * jnp.minimum(1.0, MAX_STEP / jnp.maximum(length, 1e-9))
        rotation, translation = pose
        return axis_angle_to_matrix(change[:3]) @ rotation, translation + change[3:]

    start = rotation, translation
    best_pose, best, last_pose = levenberg_marquardt(normal, move, start, steps)
    last = pose_cost(target, frame, *last_pose)
    chosen = jax.tree.map(lambda a, b: jnp.where(last < best, a, b), last_pose, best_pose)
    return *chosen, jnp.minimum(last, best)


def search_frames(
    target: SearchObject,
    frames: FrameEvidence,
    rotations: Float[ArrayLike, "T H 3 3"],
    translations: Float[ArrayLike, "T H 3"],
    *,
    steps: int,
) -> tuple[Float[ndarray, "T H 3 3"], Float[ndarray, "T H 3"], Float[ndarray, "T H"]]:
    """Refine every hypothesis of every frame: (rotations, translations, costs).

    On CPU a few frames at a time on all cores: what they need stays in the cache, and clips of any
    length share a program.
    """
    poses = np.asarray(rotations, np.float32), np.asarray(translations, np.float32)
    every = (jax.device_get(frames), *poses)
    count = len(every[1])
    size = min(FRAMES_AT_ONCE, count) if jax.default_backend() == "cpu" else count
    firsts = [min(first, count - size) for first in range(0, count, size)]

    def piece(first: int) -> Any:
        some = jax.tree.map(lambda x: x[first : first + size], every)
        return jax.device_get(_search_piece(target, *some, steps=steps))

    pieces = [piece(firsts[0]), *on_all_cores(piece, firsts[1:])]  # the first one compiles
    found = jax.tree.map(lambda x: np.empty((count, *x.shape[1:]), x.dtype), pieces[0])
    for first, values in zip(firsts, pieces, strict=True):
        for whole, some in zip(found, values, strict=True):
            whole[first : first + size] = some
    return found


@program(static=("steps",))
def _search_piece(
    target: SearchObject,
    frames: FrameEvidence,
    rotations: Float[Array, "T H 3 3"],
    translations: Float[Array, "T H 3"],
    *,
    steps: int,
) -> tuple[Float[Array, "T H 3 3"], Float[Array, "T H 3"], Float[Array, "T H"]]:
    over_hypotheses = jax.vmap(refine_pose, in_axes=(None, None, 0, 0, None))
    over_frames = jax.vmap(over_hypotheses, in_axes=(None, 0, 0, 0, None))
    return over_frames(target, frames, rotations, translations, steps)
