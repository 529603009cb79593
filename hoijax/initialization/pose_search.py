"""Per-frame global pose search: many rotations, each refined by a few robust Gauss-Newton steps.

All frames and hypotheses run in one vmapped program. Residuals of one hypothesis in one frame:
observed points to the whole object, labeled points to their part, and projected model samples to
the mask's distance transform. The derivative of each with respect to the six pose parameters is
known in closed form, so a step is one look-up and one 6 x 6 solve.
"""

from dataclasses import dataclass
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
from hoijax.geometry.point_transforms import Axes, axes_of, crossed, in_one_array, turned
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
    arm = [frame.points_world[:, i] - translation[i] for i in range(3)]
    local = [x + target.center[i] for i, x in enumerate(turned(rotation.T, arm))]
    # Every point twice: against the whole object, and against its part.
    arm, local = ([jnp.concatenate([x, x]) for x in axes] for axes in (arm, local))
    whole = jnp.broadcast_to(target.unsigned_grid, frame.part_grids.shape)
    grids = jnp.concatenate([whole, frame.part_grids])
    distance, slope = query_with_gradient(target.grids, jnp.stack(local, axis=-1), grids)
    # Kept: otherwise XLA interpolates again for every row of the Jacobian.
    distance, *slope = in_one_array([distance, *turned(rotation, axes_of(slope))])
    jacobian = jnp.stack([*crossed(slope, arm), *(-x for x in slope)]) / POINT_SIGMA
    mask = jnp.concatenate([frame.point_mask, frame.point_mask]).astype(jnp.float32)
    weight = target.point_share * mask / jnp.maximum(jnp.sum(mask), 1.0)
    return distance / POINT_SIGMA, jacobian, weight


def _mask_terms(target: SearchObject, frame: FrameEvidence, rotation: Array, translation: Array):
    seen = _Seen.of(frame, turned(rotation, axes_of(target.samples)), translation)
    cells = [x / target.cell_size[i] - 0.5 for i, x in enumerate(seen.pixels)]
    distance, slope = bilinear_with_gradient(frame.mask_distance, jnp.stack(cells, axis=-1))
    slope = [x / target.cell_size[i] for i, x in enumerate(axes_of(slope))]
    weight = jnp.full(distance.shape, 1.0 / distance.shape[0])
    return distance / PIXEL_SIGMA, seen.jacobian(frame, slope) / PIXEL_SIGMA, weight


def _extent_terms(
    hull: Float[Array, "h 3"],
    outline: Outline,
    frame: FrameEvidence,
    rotation: Array,
    translation: Array,
):
    ways = axes_of(jnp.asarray(directions()))
    arm = hull[_farthest(hull, frame, rotation, translation)]
    seen = _Seen.of(frame, turned(rotation, axes_of(arm)), translation)
    reach = seen.pixels[0] * ways[0] + seen.pixels[1] * ways[1]
    off, weight = off_outline(reach, outline)
    jacobian = seen.jacobian(frame, ways)
    total = jnp.maximum(jnp.sum(weight), 1.0)
    common = jnp.sum(weight * jacobian, axis=1, keepdims=True) / total
    jacobian = jacobian - (1.0 - COMMON) * common
    return off / EXTENT_SIGMA, jacobian / (EXTENT_SIGMA * outline.unit), weight / off.shape[0]


def _farthest(
    hull: Float[Array, "h 3"], frame: FrameEvidence, rotation: Array, translation: Array
) -> Int[Array, " K"]:
    """Which vertices reach farthest in the image; coordinates in rows, as all of them are looked at."""
    T = frame.T_pointmap_world
    arm = turned(T[:3, :3] @ rotation, axes_of(hull))
    x, y, z = (a + b for a, b in zip(arm, T[:3, :3] @ translation + T[:3, 3], strict=True))
    focal, depth = (frame.intrinsics[0, 0], frame.intrinsics[1, 1]), jnp.maximum(z, NEAR)
    return farthest_along(jnp.stack([x / depth * focal[0], y / depth * focal[1]], axis=-1))


@dataclass(frozen=True)
class _Seen:
    """Points of the object in the image."""

    arm: Axes
    """From the object's position, in the world."""
    points: Axes
    """In the camera."""
    depth: Float[Array, " n"]
    focal: Axes
    pixels: Axes

    @classmethod
    def of(cls, frame: FrameEvidence, arm: Axes, translation: Float[Array, " 3"]) -> "_Seen":
        T = frame.T_pointmap_world
        placed = [x + translation[i] for i, x in enumerate(arm)]
        points = [x + T[i, 3] for i, x in enumerate(turned(T[:3, :3], placed))]
        depth = jnp.maximum(points[2], NEAR)
        focal = [frame.intrinsics[i, i] for i in range(2)]
        pixels = [points[i] / depth * focal[i] + frame.intrinsics[i, 2] for i in range(2)]
        return cls(arm, points, depth, focal, pixels)

    def jacobian(self, frame: FrameEvidence, slope: Axes) -> Float[Array, "6 n"]:
        """Derivative by the pose of what has these slopes by the pixel."""
        across = [slope[i] * self.focal[i] / self.depth for i in range(2)]
        along = -(across[0] * self.points[0] + across[1] * self.points[1]) / self.depth
        in_world = turned(frame.T_pointmap_world[:3, :3].T, [*across, along])
        return jnp.stack([*crossed(self.arm, in_world), *in_world])


def residuals(
    target: SearchObject, frame: FrameEvidence, rotation: Array, translation: Array
) -> tuple[Float[Array, " r"], Float[Array, "6 r"], Float[Array, " r"]]:
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
    residual, jacobian, weight = (jnp.concatenate(x, axis=-1) for x in zip(*blocks, strict=True))
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
    return [(residual, rows.T, outline.alone * weight) for residual, rows, weight in blocks]


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
        both = jnp.concatenate([jacobian, residual[None]])
        products = (weight * row_weight * jacobian) @ both.T
        return products[:, :6], products[:, 6], jnp.sum(weight * cost)

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
