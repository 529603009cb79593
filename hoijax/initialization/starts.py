"""Where the joint optimization starts: published yaw starts, or our global search + best paths.

A constant yaw start fails on every object that turns while it is carried (spec/initialization.md):
the loss discriminates, the search fails. The default is therefore a global search over SO(3) in
every frame at once, and dynamic programming over time to K distinct trajectories.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy import ndarray
from scipy.spatial.transform import Rotation

from hoijax.bundle.write import Bundle
from hoijax.candidates import ranking
from hoijax.geometry.rotations import super_fibonacci_rotations
from hoijax.initialization.box_turns import Hypotheses, tells_by_outline
from hoijax.initialization.outline_seeds import outline_centers, with_outlines
from hoijax.initialization.outline_sizes import Refine, fitted_at_best_size, turned_at_size
from hoijax.initialization.pose_search import FrameEvidence, SearchObject, search_frames
from hoijax.initialization.search_contacts import contact_parts, contact_points
from hoijax.initialization.tracks import fill_gaps, with_continuous, with_twins
from hoijax.initialization.trajectory_paths import PathCosts, best_paths
from hoijax.objects.distance_grid import DistanceGrids
from hoijax.objects.symmetry import find_symmetries, without_alike
from hoijax.programs import program
from hoijax.runtime import on_device
from hoijax.scene.objects import WHOLE_UNSIGNED
from hoijax.scene.scene import Scene, Unknowns
from hoijax.settings import SceneSettings, SearchSettings


@dataclass(frozen=True)
class Starts:
    """K starting trajectories with where each came from."""

    unknowns: Unknowns
    labels: tuple[str, ...]
    sizes: tuple[float, ...] = ()
    """Factors of all objects' meshes at which these start; none: their own."""


def observed_centers(scene: Scene) -> Float[ndarray, "O T 3"]:
    """Center of the box of the observed points, or where the outline puts it; the nearest valid frame's
    where there is neither (spec 4b)."""
    points = np.asarray(scene.observed.points_world)
    mask = np.asarray(scene.observed.point_mask)[..., None]
    low = np.min(np.where(mask, points, np.inf), axis=2)
    high = np.max(np.where(mask, points, -np.inf), axis=2)
    detected = np.asarray(scene.observed.detected) & mask.any(axis=(2, 3))
    with np.errstate(invalid="ignore"):
        centers = 0.5 * (low + high)
    if scene.lacks_depth:
        outlined, known = outline_centers(scene)
        known &= ~detected
        centers[known] = outlined[known]
        detected |= known
    for o, seen in enumerate(detected):
        valid = np.flatnonzero(seen)
        nearest = np.abs(np.arange(len(seen))[:, None] - valid).argmin(axis=1)
        centers[o] = centers[o, valid[nearest]]
    return centers.astype(np.float32)


def yaw_starts(
    scene: Scene, count: int, seed: int, proposals: Sequence[Sequence[float]] = ()
) -> Starts:
    """Published starts, one yaw for all frames: the proposed ones, then an even grid.

    seed: turns the grid where it is not 0. proposals: degrees of every object, best first; an object
    with fewer than others starts from its grid instead.
    """
    centers = observed_centers(scene)
    o, t, _ = centers.shape
    given = [tuple(yaws)[:count] for yaws in proposals or [()] * o]
    yaws = np.stack([_with_grid(chosen, count, seed) for chosen in given], axis=1)
    rotation = Rotation.from_rotvec(yaws.reshape(-1, 1) * [0.0, 1.0, 0.0]).as_matrix()
    rotation = rotation.reshape(count, o, 3, 3)
    six = np.concatenate([rotation[..., 0], rotation[..., 1]], axis=-1).astype(np.float32)
    unknowns = Unknowns(
        on_device(np.broadcast_to(six[:, :, None], (count, o, t, 6))),
        on_device(np.broadcast_to(centers, (count, o, t, 3))),
    )
    named = max(map(len, given))
    degrees = [[f"{np.degrees(yaw):.0f}" for yaw in row] for row in yaws]
    kinds = ["proposed yaw" if k < named else "yaw" for k in range(count)]
    labels = [" / ".join(dict.fromkeys(row)) for row in degrees]
    return Starts(unknowns, tuple(f"{a} {b}" for a, b in zip(kinds, labels, strict=True)))


def _with_grid(proposed: Sequence[float], count: int, seed: int) -> Float[ndarray, " {count}"]:
    """Radians: the proposed degrees, then an even grid of as many as are left."""
    left = count - len(proposed)
    offset = np.random.default_rng(seed).uniform(0, 2 * np.pi / left) if seed and left else 0.0
    return np.concatenate(
        [np.radians(proposed), offset + 2 * np.pi * np.arange(left) / max(left, 1)]
    )


def with_proposed_yaws(
    starts: Starts, scene: Scene, proposals: Sequence[Sequence[float]]
) -> Starts:
    """The starts, and behind them one for every proposed yaw (degrees of every object, best first).

    Where an object has fewer proposals than another, it takes its paths again.
    """
    extra = max(map(len, proposals), default=0)
    if not extra:
        return starts
    proposed = yaw_starts(scene, extra, 0, proposals)
    is_proposed = np.array([[k < len(yaws) for yaws in proposals] for k in range(extra)])
    again = np.arange(extra) % len(starts.labels)

    def joined(paths: jax.Array, yaws: jax.Array) -> jax.Array:
        return jnp.concatenate(
            [paths, jnp.where(is_proposed[:, :, None, None], yaws, paths[again])]
        )

    unknowns = jax.tree.map(joined, starts.unknowns, proposed.unknowns)
    labels = (*starts.labels, *proposed.labels)
    return dataclasses.replace(starts, unknowns=unknowns, labels=labels)


@program(static=("samples",))
def searched(scene: Scene, o: int | Int[Array, ""], samples: int) -> SearchObject:
    """Object `o` as the search of poses reads it, with so many of its samples."""
    objects = scene.objects
    return SearchObject(
        DistanceGrids(scene.grids.corners, scene.grids.lower[o], scene.grids.spacing[o]),
        objects.first_grid[o] + WHOLE_UNSIGNED,
        objects.centers[o],
        objects.samples[o, :samples],
        scene.cameras.cell_size,
        jnp.asarray(1.0),
        scene.silhouettes.hull[o] if scene.silhouettes is not None else None,
        contact_parts(scene, o) if scene.lacks_depth else None,
    )


@program(static=("points",))
def evidence_of(scene: Scene, o: int | Int[Array, ""], points: int) -> FrameEvidence:
    """What was seen of object `o` in all frames, with so many of its points."""
    seen, outlines = scene.observed, scene.silhouettes
    possible = None if outlines is None else outlines.contact_possible
    return FrameEvidence(
        seen.points_world[o, :, :points],
        seen.point_mask[o, :, :points],
        seen.part_grids[o, :, :points],
        seen.mask_distance[o],
        scene.cameras.Ts_pointmap_world,
        scene.cameras.intrinsics,
        None if outlines is None else jax.tree.map(lambda x: x[o], outlines.outline),
        None if possible is None else contact_points(scene),
        None if possible is None else jnp.moveaxis(possible, 2, 0),
    )


Search = Callable[[Scene, int, SearchSettings, Float[ndarray, "S 3 3"]], Hypotheses]


def search_object(
    scene: Scene,
    o: int,
    settings: SearchSettings,
    symmetries: Float[ndarray, "S 3 3"],
    centers: Float[ndarray, "T 3"] | None = None,
) -> Hypotheses:
    """Pose hypotheses of object `o` in every frame, with costs (inf where not detected).

    symmetries: rotations about the center that change nothing: poses that look alike are tried once.
    centers: where to search in each frame; the observed ones by default.
    """
    target = searched(scene, o, settings.model_samples)
    start = without_alike(super_fibonacci_rotations(settings.rotations), symmetries)
    frames, hypotheses, keep = scene.frame_count, len(start), min(settings.keep, len(start))
    rotations = np.broadcast_to(start, (frames, hypotheses, 3, 3))
    middle = observed_centers(scene)[o] if centers is None else centers
    translations = with_outlines(scene, o, rotations, middle)
    coarse = evidence_of(scene, o, settings.coarse_points)
    coarse_fits = search_frames(
        target, coarse, rotations, translations, steps=settings.coarse_steps
    )
    best = _keep_best(coarse_fits, keep)
    fine = evidence_of(scene, o, settings.fine_points)
    for _ in range(2):
        # What fits in one frame is tried in the frames beside it: a frame in which the object is
        # mostly hidden borrows its hypotheses.
        borrowed = _borrow(*best, quota=-(-keep // 4))
        best = _keep_best(search_frames(target, fine, *borrowed, steps=settings.fine_steps), keep)
    rotations, translations, costs = best
    costs = np.where(np.asarray(scene.observed.detected)[o][:, None], costs, np.inf)
    return rotations, translations, costs


def refine_object(
    scene: Scene,
    o: int,
    settings: SearchSettings,
    rotations: Float[ndarray, "T H 3 3"],
    translations: Float[ndarray, "T H 3"],
) -> Hypotheses:
    """Poses of object `o`, each a few steps nearer to what its frame shows, and costs."""
    target = searched(scene, o, settings.model_samples)
    fine = evidence_of(scene, o, settings.fine_points)
    return search_frames(target, fine, rotations, translations, steps=settings.fine_steps)


def _keep_best(hypotheses: tuple[ndarray, ndarray, ndarray], keep: int):
    """The `keep` best hypotheses of each frame that differ by 6 degrees or 3 cm from better ones."""
    rotations, translations, costs = hypotheses
    frames = len(costs)
    order = ranking(costs)
    chosen = np.zeros((frames, keep), np.int64)
    for t in range(frames):
        r, x = rotations[t, order[t]], translations[t, order[t]]
        trace = np.einsum("mij,nij->mn", r, r)
        angle = np.arccos(np.clip((trace - 1) / 2, -1, 1))
        same = (angle < np.radians(6)) & (np.linalg.norm(x[:, None] - x[None], axis=-1) < 0.03)
        fresh = ~np.any(np.tril(same, -1), axis=1)
        ranked = np.concatenate([np.flatnonzero(fresh), np.flatnonzero(~fresh)])
        chosen[t] = order[t, ranked[:keep]]
    rows = np.arange(frames)[:, None]
    return rotations[rows, chosen], translations[rows, chosen], costs[rows, chosen]


def _borrow(rotations: ndarray, translations: ndarray, costs: ndarray, quota: int):
    """Each frame's hypotheses plus the best of the frames before and after it."""
    frames = len(costs)
    before, after = (
        np.maximum(np.arange(frames) - 1, 0),
        np.minimum(np.arange(frames) + 1, frames - 1),
    )
    r = [rotations, rotations[before, :quota], rotations[after, :quota]]
    x = [translations, translations[before, :quota], translations[after, :quota]]
    return np.concatenate(r, axis=1), np.concatenate(x, axis=1)


def search_starts(
    scene: Scene,
    symmetries: list[ndarray],
    count: int,
    settings: SearchSettings | None = None,
    costs: PathCosts | None = None,
    search: Search = search_object,
    refine: Refine = refine_object,
) -> Starts:
    """K distinct best trajectories of every object; candidate k takes track k of each object.

    Tracks are the best paths; one that flips between near-symmetric twins stands behind its
    continuous variants (`initialization.unflip`). Where outlines alone tell the pose, quarter turns of the
    best paths are among them (`initialization.box_turns`).
    symmetries: per object (S, 3, 3), rotations about the center that change nothing.
    search, refine: what finds the hypotheses of an object, and what moves given ones.
    """
    settings, costs = settings or SearchSettings(), costs or PathCosts()
    rotation_6d, translation, sizes = [], [], [1.0] * scene.object_count
    for o in range(scene.object_count):
        rotations, translations, unary = search(scene, o, settings, symmetries[o])
        paths, _ = best_paths(
            rotations, translations, unary, count=count, symmetries=symmetries[o], costs=costs
        )
        frames = np.arange(scene.frame_count)
        seen = np.asarray(np.isfinite(unary).any(axis=1))
        hypotheses = [
            fill_gaps(rotations[frames, p], translations[frames, p], seen, symmetries[o])
            for p in paths
        ]
        tracks = with_continuous(hypotheses, symmetries[o])
        if scene.silhouettes is not None and tells_by_outline(scene.silhouettes, o):
            given = tracks, seen, symmetries[o], refine, settings, costs
            fit = partial(turned_at_size, scene, o, *given)
            sizes[o], (tracks, _) = fitted_at_best_size(settings.sizes, fit)
        tracks = with_twins(tracks, symmetries[o], count)
        # An object with fewer distinct paths than candidates starts the rest from its best again.
        tracks = [tracks[k % len(tracks)] for k in range(count)]
        rotation = np.stack([r for r, _ in tracks])
        rotation_6d.append(np.concatenate([rotation[..., 0], rotation[..., 1]], axis=-1))
        translation.append(np.stack([x for _, x in tracks]))
    unknowns = Unknowns(
        on_device(np.stack(rotation_6d, axis=1), jnp.float32),
        on_device(np.stack(translation, axis=1), jnp.float32),
    )
    labels = tuple(f"path {k + 1}" for k in range(count))
    return Starts(unknowns, labels, () if set(sizes) == {1.0} else tuple(sizes))


def find_starts(scene: Scene, bundle: Bundle, settings: SceneSettings) -> Starts:
    """Stage b: K starting trajectories; the bundle's proposed yaws are among them."""
    proposals = [bundle.proposed_yaws.get(asset.name, ()) for asset in bundle.assets]
    if settings.start == "yaw":
        return yaw_starts(scene, settings.inits, settings.seed, proposals)
    symmetries = [find_symmetries(asset) for asset in bundle.assets]
    starts = search_starts(scene, symmetries, settings.inits, settings.search)
    return with_proposed_yaws(starts, scene, proposals)
