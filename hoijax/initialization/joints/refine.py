"""Poses of a tree of links, frame by frame: what one link's search found, refined by all that was seen.

The search fits every link alone. A thin lid that is seen edge-on, or a base that shows a strip, leaves its
turn about the hinge open to centimetres of noise; where the other links lie closes it. So the pose of the
link that the others are placed by and the joint values are refined together, by robust Gauss-Newton steps
on the residuals of the search (`hoijax.initialization.pose_search`).
"""

from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.geometry.descent import levenberg_marquardt
from hoijax.initialization.joints.tree import Tree, moved, place, ways_of
from hoijax.initialization.pose_search import (
    MAX_STEP,
    POINT_SIGMA,
    FrameEvidence,
    SearchObject,
    residuals,
    robust,
)
from hoijax.initialization.starts import evidence_of, searched
from hoijax.programs import program
from hoijax.scene.joints import ObjectJoints
from hoijax.scene.scene import Scene

STEPS = 12
CARRIED, HELD, TURNED = 0.03, 0.3, 0.05
"""Of squared metres, beside those of points: by which the corners of a root change their step in the world,
by which what hangs on a joint does against its parent, and by which turning moves a root's corners."""
POINTS, SAMPLES = 128, 96
FEW_POINTS = 20.0
"""So many seen points of a link count half of what many do."""


@flax.struct.dataclass
class _Clip:
    """What was seen of the links of a tree, in its order (leading axis T inside the evidence)."""

    objects: list[SearchObject]
    seen: list[FrameEvidence]
    counted: list[Float[Array, " T"]]
    """How far the points of a link are believed: a few say less than many."""
    sure: Float[Array, " T"]
    """0 where something was missed: it leaves a hole in the masks, which then say nothing."""


def _clip(scene: Scene, tree: Tree) -> _Clip:
    links = tree.links
    return _Clip(
        [searched(scene, link, SAMPLES) for link in links],
        [evidence_of(scene, link, POINTS) for link in links],
        [_confidence(scene, link) for link in links],
        jnp.all(scene.observed.detected, axis=0).astype(jnp.float32),
    )


@program(static=("tree",))
def refine_tree(
    scene: Scene,
    joints: ObjectJoints,
    tree: Tree,
    Ts_world_anchor: Float[Array, "T H 4 4"],
    values: Float[Array, "T H D"],
) -> tuple[Float[Array, "T H 4 4"], Float[Array, "T H D"]]:
    """Anchor poses (asset frame) and joint values that fit all links better, each near where it was.

    Every frame and hypothesis for itself. Values stay within their limits; those of joints of other
    trees as they were.
    """
    clip = _clip(scene, tree)

    def one(seen, counted, sure, T, q):
        def normal(state):
            T, q = state
            return _normal(joints, tree, clip.objects, (seen, counted, sure), T, q)[0]

        def move(state, step):
            T, q = state
            return _stepped(joints, clip.objects[0].center, T, q, _cut(step))

        return levenberg_marquardt(normal, move, (T, q), STEPS)[0]

    over_hypotheses = jax.vmap(one, in_axes=(None, None, None, 0, 0))
    return jax.vmap(over_hypotheses)(clip.seen, clip.counted, clip.sure, Ts_world_anchor, values)


@program(static=("tree",))
def refine_paths(
    scene: Scene,
    joints: ObjectJoints,
    tree: Tree,
    Ts_world_anchor: Float[Array, "K T 4 4"],
    values: Float[Array, "K T D"],
) -> tuple[Float[Array, "K T 4 4"], Float[Array, "K T D"], Float[Array, " K"]]:
    """As `refine_tree`, whole clips at once with what changes of speed cost; and what each ends at.

    The root costs by how its corners move in the world and how it turns, the others by how they move
    against their parent: a link that is not seen goes on as it did.
    """
    clip, (frames, count) = _clip(scene, tree), values.shape[1:]
    size = 6 + count
    ties = _tie(frames, 2), _tie(frames, 1)
    root = next(i for i, link in enumerate(tree.links) if link not in joints.children)
    root_corners = _corners(scene, tree.links[root])

    def tied_by(q, posed, ways):
        """What each of `ties` holds, (r,), and its derivatives, (r, n)."""
        P, way = posed[root], ways[root]
        arms = (root_corners - clip.objects[root].center) @ P[:3, :3].T
        turned = jnp.stack([jnp.cross(way[:3, i], arms) for i in range(size)], axis=-1)
        at, slope = arms + P[:3, :3] @ clip.objects[root].center + P[:3, 3], turned + way[3:]
        carried, held = np.sqrt(CARRIED / 8.0), np.sqrt(HELD) * joints.levers
        places = jnp.concatenate([carried * at.ravel(), held * q])
        slopes = carried * slope.reshape(-1, size), held[:, None] * jnp.eye(size)[6:]
        turn_weight = np.sqrt(TURNED / 8.0)
        turns = turn_weight * arms.ravel(), turn_weight * turned.reshape(-1, size)
        return (places, jnp.concatenate(slopes)), turns

    def one(T, q):
        def normal(state):
            def of_frame(evidence, T, q):
                parts, posed, ways = _normal(joints, tree, clip.objects, evidence, T, q)
                return parts, tied_by(q, posed, ways)

            evidence = (clip.seen, clip.counted, clip.sure)
            (hessians, slopes, costs), tied = jax.vmap(of_frame)(evidence, *state)
            frame = jnp.arange(frames)
            whole = jnp.zeros((frames, size, frames, size)).at[frame, :, frame].set(hessians)
            total = jnp.sum(costs)
            for tie, (value, slope) in zip(ties, tied, strict=True):
                value = value - value[:1]  # the tie does not see it, rounding does
                pull = tie @ value
                whole = whole + jnp.einsum("ts,tri,srj->tisj", tie, slope, slope)
                slopes = slopes + jnp.einsum("tri,tr->ti", slope, pull)
                total = total + jnp.sum(pull * value)
            return whole.reshape(frames * size, -1), slopes.ravel(), total

        def move(state, step):
            T, q = state
            stepped = partial(_stepped, joints, clip.objects[0].center)
            return jax.vmap(stepped)(T, q, _cut(step).reshape(frames, size))

        (T, q), price, _ = levenberg_marquardt(normal, move, (T, q), STEPS)
        return T, q, price

    return jax.lax.map(lambda x: one(*x), (Ts_world_anchor, values))


def _tie(frames: int, order: int) -> Float[Array, "T T"]:
    """Squared differences of an order between frames, as a quadratic form."""
    rows = np.diff(np.eye(frames, dtype=np.float32), n=order, axis=0)
    return jnp.asarray(rows.T @ rows / POINT_SIGMA**2)


def _cut(step: Float[Array, " n"]) -> Float[Array, " n"]:
    """A step that moves nothing further than MAX_STEP."""
    return step * jnp.minimum(1.0, MAX_STEP / jnp.maximum(jnp.max(jnp.abs(step)), 1e-9))


def _normal(joints, tree, objects, evidence, T_world_anchor, values):
    """Normal equations of one frame (hessian, slope, cost); T_world_link and `ways_of` of its links."""
    seen, counted, sure = evidence
    size = 6 + values.shape[0]
    posed = place(joints, tree, T_world_anchor, values)
    hessian, slope, cost = jnp.zeros((size, size)), jnp.zeros(size), jnp.asarray(0.0)
    ways = ways_of(joints, tree, posed, [one.center for one in objects])
    for one, frame, count, P, way in zip(objects, seen, counted, posed, ways, strict=True):
        center = P[:3, :3] @ one.center + P[:3, 3]
        residual, jacobian, weight = residuals(one, frame, P[:3, :3], center)
        masks = jnp.arange(weight.shape[0]) >= weight.shape[0] - one.samples.shape[0]
        weight = weight * jnp.where(masks, sure, count)
        price, row_weight = robust(residual**2)
        scaled = weight * row_weight * jacobian
        hessian = hessian + way.T @ (scaled @ jacobian.T) @ way
        slope = slope + way.T @ (scaled @ residual)
        cost = cost + jnp.sum(weight * price)
    return (hessian, slope, cost), posed, ways


def _stepped(joints, center: Array, T: Array, values: Array, step: Array) -> tuple[Array, Array]:
    """Pose and values after a step; values stay within their limits."""
    return moved(T, step, center), jnp.clip(values + step[6:], joints.lower, joints.upper)


def _corners(scene: Scene, link: int) -> Float[Array, "8 3"]:
    """Corners of the box around a link, in its asset's frame."""
    samples = scene.objects.samples[link] + scene.objects.centers[link]
    low, high = jnp.min(samples, axis=0), jnp.max(samples, axis=0)
    upper = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), axis=-1).reshape(-1, 3).astype(np.float32)
    return low + (high - low) * upper


def _confidence(scene: Scene, link: int) -> Float[Array, " T"]:
    """Of the points of a link: a few say less than many; none in frames in which it was missed."""
    seen = scene.observed
    count = jnp.sum(seen.point_mask[link, :, :POINTS], axis=-1, dtype=jnp.float32)
    return jnp.where(seen.detected[link], count / (count + FEW_POINTS), 0.0)
