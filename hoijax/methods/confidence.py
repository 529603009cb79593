"""How far a result can be believed: spread of every pose, twins, and reasons to doubt it (host).

Spread: the inverse of what the evidence says about a pose (points against the surface, the outline across
the view, the frames beside it), together with where other candidates that fit as well have the object.
Errors that last for the whole clip (a camera, a focal length, a depth map that are off) show in none of
this and are added as one number. scripts/benchmarks/spread.py finds the numbers on half of the known scenes
and counts how many true errors stay within the intervals.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy import ndarray

from hoijax.candidates import taken
from hoijax.geometry.transforms import GRAVITY, compose_rigid
from hoijax.losses.contacts import edge_distances
from hoijax.losses.fit import metres_per_pixel, outside_mask, uncovered_pixels
from hoijax.methods.results import centered_poses
from hoijax.objects.symmetry import find_symmetries
from hoijax.programs import program
from hoijax.results.metrics import adds_cm, rotation_errors_deg
from hoijax.results.result import Result
from hoijax.scene.objects import WHOLE_UNSIGNED
from hoijax.scene.posed import PosedScene, pose_scene
from hoijax.scene.scene import Scene, Unknowns
from hoijax.scene.silhouettes import MIN_PIXELS
from hoijax.solver.neighbor_lists import empty_neighbors

POINT_METRES, POINT_COUNT = 0.02, 4.0
"""Of a depth map; errors are smooth, so that a frame's points are worth so many."""
OUTLINE_METRES = 0.02
BEND_METRES, BEND_RADIANS = 0.01, 0.05
"""From one frame to the next two."""
ALONE_METRES, ALONE_RADIANS = 0.5, 1.5
"""Without any evidence."""
LASTING_METRES = 0.04
"""Of an object in the world, the same in all frames."""
SCALE_POSITION, SCALE_ROTATION = 2.5, 0.8
"""Of spreads: so that 90 % of true errors are within 1.645 spreads."""
AS_LIKELY = 1.0
"""Natural logarithm of how much less likely a candidate may be and yet not be told from the winner."""
TWIN_DEGREES = 45.0
MISSED, MISSED_METRES = 0.5, 0.05
"""Share of an outline, and how far off counts as missed."""
OUTLINE_SAMPLES = 512
MOVING_SAMPLES, CLEARLY_LESS = 64, 0.8
SHAPE_SAMPLES, SAME_SHAPE = 512, 0.12
"""Mean distance between surfaces, in radii of the object, below which two poses look the same."""
HARDLY = 1.0 / 3.0
"""Share of its frames in which an object may be too small in the image for an outline."""
APART = 0.5
"""Metres between two things that the graph says touch."""
FAR_PEOPLE, SKIN_STRIDE = 1.0, 16
"""Metres from which nobody holds an object; vertices of the skin that tell."""
HOVERS, MOVES, OFF_GROUND = 0.25, 0.3, 0.1
"""Share of the frames in which an object may move (m/s) off the ground (metres) with nobody near."""
FALLS, MIN_FALL = 4.0, 4
"""m/s^2 by which a free fall may seem to be another, and frames of one that can be told."""
FAR_POINTS = 0.15
"""Metres from observed points to the object."""


@dataclass(frozen=True)
class Confidence:
    """What `run.json` and `result.npz` say about a result beside its poses."""

    position_spread: Float[ndarray, "O T"]
    """Standard deviation of an object's center, metres; root of the sum over the three axes."""
    rotation_spread: Float[ndarray, "O T"]
    """Of its orientation, radians."""
    unseen: Bool[ndarray, "O T"]
    """Neither points nor an outline: the pose is a guess from the frames beside it."""
    twins: tuple[int, ...]
    """Candidates that turn an object otherwise and that this evidence cannot tell from the winner."""
    doubts: tuple[str, ...]
    """Why the result is not to be trusted; none: nothing speaks against it."""


def assess(
    scene: Scene, unknowns: Unknowns, result: Result, unlikely: Float[ndarray, " K"]
) -> Confidence:
    """The confidence in a result. unknowns: of all candidates, as the last pass left them. unlikely: their
    negative log likelihoods (`choice.unlikelihood`)."""
    best = taken(unknowns, result.winner)
    looks = jax.device_get(_look(scene, best))
    unseen = ~np.asarray(scene.observed.detected)
    position, rotation = _evidence_spread(scene, best, looks)
    turns = turns_of(result)
    unlikely = unlikely - unlikely[result.winner]
    between = _candidate_spread(result, turns, unlikely)
    twins = twins_of(unlikely, turns)
    return Confidence(
        np.sqrt(LASTING_METRES**2 + SCALE_POSITION**2 * (position**2 + between[0] ** 2)).astype(
            np.float32
        ),
        SCALE_ROTATION * np.sqrt(rotation**2 + between[1] ** 2).astype(np.float32),
        unseen,
        twins,
        (*_doubts(scene, looks, result, unseen), *_disagreements(result, twins, turns)),
    )


@program
def _look(scene: Scene, unknowns: Unknowns) -> dict[str, Array]:
    """What there is to say of the winner, by name."""
    posed = pose_scene(scene, unknowns, empty_neighbors(scene))
    observed, owner = scene.observed, jnp.arange(scene.object_count)
    points = posed.to_asset(observed.points_world)
    distance, slope = scene.distance_with_gradient(
        points, scene.objects.first_grid + WHOLE_UNSIGNED, owner
    )
    normals = jnp.einsum("otij,otnj->otni", posed.object_rotations, slope)
    apart = jnp.where(scene.edges.slot_mask[..., None], edge_distances(posed), jnp.inf)
    scale, seen = metres_per_pixel(posed)[..., None], observed.point_mask
    uncovered = uncovered_pixels(posed, OUTLINE_SAMPLES) * scale
    count = jnp.maximum(jnp.sum(seen, axis=-1), 1)
    return {
        "normals": normals,
        "distance": distance,
        "outside": jnp.mean(outside_mask(posed) * scale > MISSED_METRES, axis=-1),
        "uncovered": jnp.sum((uncovered > MISSED_METRES) & seen, axis=-1) / count,
        "apart": jnp.min(apart, axis=1),
        "from_people": _from_people(posed),
    }


def _from_people(posed: PosedScene) -> Float[Array, "O T"]:
    """Metres from each object's center to the nearest skin."""
    skin = posed.body_vertices_world[:, :, ::SKIN_STRIDE]
    away = [jnp.linalg.norm(skin - t[:, None], axis=-1) for t in posed.object_translations]
    return jnp.stack([jnp.min(x, axis=(0, 2)) for x in away])


def _evidence_spread(
    scene: Scene, best: Unknowns, looks: dict[str, ndarray]
) -> tuple[Float[ndarray, "O T"], Float[ndarray, "O T"]]:
    """(metres, radians) by the inverse of the information about the twists of each object's path."""
    detected, points, mask = (
        jax.device_get(x)
        for x in (scene.observed.detected, scene.observed.points_world, scene.observed.point_mask)
    )
    centers = np.asarray(best.object_translation)
    view = np.asarray(scene.cameras.Ts_pointmap_world)[:, :2, :3]
    view = view / np.linalg.norm(view, axis=-1, keepdims=True)
    spreads = []
    for i in range(len(centers)):
        point_weights = mask[i] / np.maximum(mask[i].sum(-1, keepdims=True), 1)
        normal = looks["normals"][i]
        rows = np.concatenate([np.cross(points[i] - centers[i][:, None], normal), normal], axis=-1)
        weight = point_weights * POINT_COUNT / POINT_METRES**2
        blocks = np.einsum("tn,tni,tnj->tij", weight, rows, rows)
        seen = detected[i][:, None, None] / OUTLINE_METRES**2
        blocks[:, 3:, 3:] += seen * np.einsum("tai,taj->tij", view, view)
        spreads.append(_path_spread(blocks))
    rotation, position = np.swapaxes(np.array(spreads), 0, 1)
    return position, rotation


def _path_spread(
    blocks: Float[ndarray, "T 6 6"],
) -> tuple[Float[ndarray, " T"], Float[ndarray, " T"]]:
    """(radians, metres): roots of the marginal variances, where frames also hold each other."""
    frames = len(blocks)
    bend = np.zeros((max(frames - 2, 0), frames))
    rows = np.arange(frames - 2) if frames > 2 else np.zeros(0, int)
    for offset, value in enumerate((1.0, -2.0, 1.0)):
        bend[rows, rows + offset] = value
    couple = bend.T @ bend
    deviations = (
        np.repeat([BEND_RADIANS, BEND_METRES], 3),
        np.repeat([ALONE_RADIANS, ALONE_METRES], 3),
    )
    information = np.einsum("st,ij->sitj", couple, np.diag(deviations[0] ** -2.0))
    for t in range(frames):
        information[t, :, t] += blocks[t] + np.diag(deviations[1] ** -2.0)
    inverse = np.linalg.inv(information.reshape(6 * frames, 6 * frames))
    variance = np.diagonal(inverse).reshape(frames, 2, 3).sum(axis=-1)
    rotation, position = np.sqrt(variance).T
    return rotation, position


def _candidate_spread(
    result: Result, turns: Float[ndarray, "K O"], unlikely: Float[ndarray, " K"]
) -> tuple[Float[ndarray, "O T"], Float[ndarray, "O T"]]:
    """(metres, radians) between candidates, each by how likely it is beside the winner."""
    likelihood = np.exp(-np.maximum(unlikely, 0.0))
    likelihood = (likelihood / likelihood.sum())[:, None, None]
    places = np.asarray(centered_poses(result).object_translation)
    away = np.linalg.norm(places - places[result.winner], axis=-1)
    turned = np.radians(turns)[..., None] * np.ones_like(away)
    return np.sqrt((likelihood * away**2).sum(0)), np.sqrt((likelihood * turned**2).sum(0))


def turns_of(result: Result) -> Float[ndarray, "K O"]:
    """Median degrees over frames between each candidate and the winner, modulo symmetries."""
    R, winner = result.object_rotations, result.winner
    symmetries = [find_symmetries(asset) for asset in result.assets]
    return np.array(
        [
            [
                np.median(rotation_errors_deg(R[k, o], R[winner, o], symmetries[o]))
                for o in range(len(symmetries))
            ]
            for k in range(len(R))
        ]
    )


def twins_of(unlikely: Float[ndarray, " K"], turns: Float[ndarray, "K O"]) -> tuple[int, ...]:
    """Candidates as likely as the winner that turn an object by a quarter circle or so against it.

    unlikely: beside the winner's. turns: against it; its own are 0.
    """
    alike = (unlikely <= AS_LIKELY) & (turns > TWIN_DEGREES).any(axis=1)
    return tuple(int(k) for k in np.flatnonzero(alike))


def moves_least(result: Result, candidates: tuple[int, ...]) -> int:
    """The first of some candidates whose objects move clearly less than those of all before it.

    By the path of points on the surface: metres that they travel in the clip.
    """
    best, shortest = candidates[0], np.inf
    for k in candidates:
        R, t = result.object_rotations[k], result.object_translations[k]
        paths = [
            np.einsum("tij,nj->tni", R[o], asset.samples[:MOVING_SAMPLES]) + t[o, :, None]
            for o, asset in enumerate(result.assets)
        ]
        length = sum(
            float(np.linalg.norm(np.diff(x, axis=0), axis=-1).mean(1).sum()) for x in paths
        )
        if length < CLEARLY_LESS * shortest:
            best, shortest = k, length
    return best


def _doubts(
    scene: Scene, looks: dict[str, ndarray], result: Result, unseen: Bool[ndarray, "O T"]
) -> list[str]:
    """Evidence that the winner leaves unexplained."""
    doubts = []
    for o, asset in enumerate(result.assets):
        frames = ~unseen[o]
        if not frames.any():
            doubts.append(f"{asset.name} is not seen in any frame")
            continue
        small = _hardly_seen(scene, o, frames)
        if small > HARDLY * frames.sum():
            doubts.append(
                f"{asset.name}: its mask has fewer than {MIN_PIXELS} pixels in {small} of "
                f"{frames.sum()} frames"
            )
        for name, words in (
            ("outside", "of it lies outside its outline"),
            ("uncovered", "of its outline is not covered"),
        ):
            fraction = float(np.median(looks[name][o][frames]))
            if fraction > MISSED:
                doubts.append(f"{asset.name}: {100 * fraction:.0f} % {words} in half of the frames")
        mask = np.asarray(scene.observed.point_mask[o])[frames]
        if mask.any():
            away = float(np.median(np.abs(looks["distance"][o][frames])[mask]))
            if away > FAR_POINTS:
                doubts.append(
                    f"{asset.name}: what was seen of it is {100 * away:.0f} cm away from it"
                )
    real = np.asarray(scene.edges.mask)
    apart, targets = np.asarray(looks["apart"]), np.asarray(scene.edges.target)
    for e in np.flatnonzero(real & (apart.min(axis=1) > APART)):
        target = result.assets[int(targets[e])].name
        doubts.append(
            f"{target} is never nearer than {apart[e].min():.1f} m to what the graph says touches it"
        )
    for o, asset in enumerate(result.assets):
        alone = np.asarray(looks["from_people"])[o] - asset.radius > FAR_PEOPLE
        count = _carried_by_nothing(result, o, alone)
        if count > HOVERS * len(alone):
            doubts.append(
                f"{asset.name} moves through the air in {count} of {len(alone)} frames, more than "
                f"{FAR_PEOPLE:.0f} m from everybody"
            )
    return doubts


def _hardly_seen(scene: Scene, o: int, frames: Bool[ndarray, " T"]) -> int:
    """Frames, of these, in which an object that has outlines elsewhere was too small in the image for one."""
    if scene.silhouettes is None:
        return 0
    has_outline = np.any(np.asarray(scene.silhouettes.outline.falls_short[o]) > 0.0, axis=-1)
    return int((frames & ~has_outline).sum()) if has_outline.any() else 0


def _carried_by_nothing(result: Result, o: int, alone: Bool[ndarray, " T"]) -> int:
    """Frames in which the winner's object moves off the ground with nobody near (`alone`), but for stretches
    of them in which it falls freely."""
    asset, T = result.assets[o], result.Ts_world_object[o]
    if len(T) < MIN_FALL:
        return 0
    height = np.einsum("tj,nj->tn", T[:, 1, :3], asset.vertices).min(axis=1) + T[:, 1, 3]
    center = np.einsum("tij,j->ti", T[:, :3, :3], asset.center) + T[:, :3, 3]
    moves = np.linalg.norm(np.gradient(center, axis=0), axis=-1) * result.fps > MOVES
    edges = np.flatnonzero(np.diff(np.r_[0, alone & (height > OFF_GROUND), 0]))
    count = 0
    for first, end in edges.reshape(-1, 2):
        path = center[first:end, 1]
        if len(path) >= MIN_FALL:
            bend = np.polyfit(np.arange(len(path)) / result.fps, path, 2)[0]
            if abs(2.0 * bend - GRAVITY[1]) < FALLS:
                continue
        count += int(moves[first:end].sum())
    return count


def _disagreements(
    result: Result, twins: tuple[int, ...], turns: Float[ndarray, "K O"]
) -> list[str]:
    return [
        f"'{result.labels[k]}' turns an object by {turns[k].max():.0f} degrees against the winner, and "
        "this evidence cannot tell them apart"
        for k in twins
        if not _looks_the_same(result, k)
    ]


def _looks_the_same(result: Result, k: int) -> bool:
    """Whether surfaces of candidate k nearly coincide with the winner's, as those of a turned box do."""
    for o, asset in enumerate(result.assets):
        mine, best = (
            compose_rigid(result.object_rotations[i, o], result.object_translations[i, o])
            for i in (k, result.winner)
        )
        apart = float(np.median(adds_cm(mine, best, asset.samples[:SHAPE_SAMPLES]))) / 100.0
        if apart > SAME_SHAPE * asset.radius:
            return False
    return True
