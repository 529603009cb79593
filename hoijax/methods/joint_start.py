"""Where joint values start: the best path over a grid of values, given where the parent seems to be.

The search finds every object alone. A parent of symmetric shape (the base of a laptop) is found up to
its symmetry; its children tell which of the poses it is.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.anchor_scene import ObjectJoints, jointed
from hoijax.anchor_staging import object_joints
from hoijax.bundle import Bundle
from hoijax.numerics import geman_mcclure
from hoijax.objects.symmetry import find_symmetries
from hoijax.scene import WHOLE_UNSIGNED, Scene, Unknowns
from hoijax.solver.initialise import Starts

GRID = 25
"""Values tried of a joint."""
POINTS = 128
FREE_TURN, FREE_SLIDE = np.pi, 0.5
"""Range of a joint without limits, to both sides: radians, metres."""
POINT_RHO = 0.10  # metres; a seen point further from its link than this says little
STEP_COST = 2e-4
"""Of moving on by one value of the grid from frame to frame, squared; a point 14 mm off costs as much."""


def start_joints(
    scene: Scene, bundle: Bundle, starts: Starts
) -> tuple[Starts, Float[np.ndarray, "K D T"] | None]:
    """The starts with children of joints where joints allow, and the joint values. None: no joints."""
    joints = object_joints(bundle.joints)
    if joints is None:
        return starts, None
    roots = sorted(set(joints.parents) - set(joints.children))
    turns = {root: find_symmetries(bundle.assets[root]) for root in roots}
    made, values = [], []
    for k in range(len(starts.labels)):
        free = jax.tree.map(lambda x, k=k: x[k], starts.unknowns)
        found = _of_candidate(scene, joints, free, turns)
        made.append(found[0])
        values.append(found[1])
    unknowns = jax.tree.map(lambda *x: jnp.stack(x), *made)
    return Starts(unknowns, starts.labels), np.stack(values)


def _of_candidate(
    scene: Scene, joints: ObjectJoints, free: Unknowns, turns: dict[int, np.ndarray]
) -> tuple[Unknowns, Float[np.ndarray, "D T"]]:
    """Tree by tree: the symmetric variant of the root under which all its links fit best."""
    values = np.zeros((len(joints.parents), scene.frame_count), np.float32)
    for root, symmetries in turns.items():
        tried = []
        for turn in symmetries:
            variant = _turned(free, root, jnp.asarray(turn, jnp.float32))
            cost, own = _fit_tree(scene, joints, variant, root, values)
            tried.append((cost, own, variant))
        _, values, free = min(tried, key=lambda t: t[0])
    centres = scene.objects.centres
    return jointed(joints, centres, free, jnp.asarray(values)), values


def _turned(free: Unknowns, index: int, turn: Float[Array, "3 3"]) -> Unknowns:
    """Object `index` turned in its own centred frame in all frames."""
    six = free.rotation_6d[index].reshape(-1, 2, 3)
    third = jnp.cross(six[:, 0], six[:, 1])
    columns = jnp.concatenate(
        [six, third[:, None]], axis=1
    )  # rows here are columns of the rotation
    turned = jnp.einsum("tjc,jk->tkc", columns, turn)[:, :2].reshape(-1, 6)
    return free.replace(rotation_6d=free.rotation_6d.at[index].set(turned))  # pyright: ignore[reportAttributeAccessIssue]


def _fit_tree(
    scene: Scene, joints: ObjectJoints, free: Unknowns, root: int, values: np.ndarray
) -> tuple[float, np.ndarray]:
    """Mean cost of all links of one tree at its best joint values, and all values with those set."""
    values, members, total = values.copy(), {root}, 0.0
    for d, (parent, child) in enumerate(zip(joints.parents, joints.children, strict=True)):
        if parent not in members:
            continue
        members.add(child)
        grid = _grid(joints, d)
        cost = np.asarray(_costs(scene, joints, free, jnp.asarray(values), jnp.asarray(grid), d))
        path = _best_path(cost)
        values[d] = grid[path]
        total += float(cost[np.arange(len(path)), path].mean())
    return total, values


def _grid(joints: ObjectJoints, d: int) -> Float[np.ndarray, " n"]:
    free = FREE_SLIDE if joints.slides[d] else FREE_TURN
    low, high = (float(x[d]) for x in (joints.lower, joints.upper))
    low, high = low if np.isfinite(low) else -free, high if np.isfinite(high) else free
    return np.linspace(low, high, GRID).astype(np.float32)


@partial(jax.jit, static_argnames=("d",))
def _costs(
    scene: Scene,
    joints: ObjectJoints,
    free: Unknowns,
    values: Float[Array, "D T"],
    grid: Float[Array, " n"],
    d: int,
) -> Float[Array, "T n"]:
    """Robust squared distance of a link's seen points to it, for every value of its joint."""
    child, seen = joints.children[d], scene.observed
    points, mask = seen.points_world[child, :, :POINTS], seen.point_mask[child, :, :POINTS]
    centre = scene.objects.centres[child]
    row = scene.objects.first_grid[child] + WHOLE_UNSIGNED

    def of_value(value: Array) -> Array:
        posed = jointed(joints, scene.objects.centres, free, values.at[d].set(value))
        six = posed.rotation_6d[child].reshape(-1, 2, 3)
        columns = jnp.concatenate([six, jnp.cross(six[:, 0], six[:, 1])[:, None]], axis=1)
        away = points - posed.translation[child][:, None]
        local = jnp.einsum("tnc,tkc->tnk", away, columns) + centre
        distance = scene.distance(local, jnp.broadcast_to(row, ()), jnp.asarray(child))
        cost = jnp.where(mask, geman_mcclure(distance**2, POINT_RHO), 0.0)
        count = jnp.maximum(jnp.sum(mask, axis=-1, dtype=jnp.float32), 1.0)
        return jnp.where(seen.detected[child], jnp.sum(cost, axis=-1) / count, 0.0)

    return jnp.swapaxes(jax.lax.map(of_value, grid), 0, 1)


def _best_path(cost: Float[np.ndarray, "T n"]) -> np.ndarray:
    """Viterbi: indices of the cheapest path."""
    steps = np.arange(cost.shape[1])
    move = STEP_COST * (steps[:, None] - steps[None]) ** 2
    best, back = cost[0], []
    for row in cost[1:]:
        through = best[:, None] + move
        back.append(through.argmin(axis=0))
        best = through.min(axis=0) + row
    path = [int(best.argmin())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return np.array(path[::-1])
