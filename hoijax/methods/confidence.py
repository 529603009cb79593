"""How far a result can be believed: spread of every pose, and twins (host).

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
from hoijax.losses.contacts import edge_distances
from hoijax.losses.fit import metres_per_pixel, outside_mask, uncovered_pixels
from hoijax.methods.doubts import disagreements, doubts_of
from hoijax.methods.results import centered_poses
from hoijax.objects.symmetry import find_symmetries
from hoijax.programs import program
from hoijax.results.metrics import rotation_errors_deg
from hoijax.results.result import Result
from hoijax.scene.objects import WHOLE_UNSIGNED
from hoijax.scene.posed import PosedScene, pose_scene
from hoijax.scene.scene import Scene, Unknowns
from hoijax.solver.neighbor_lists import empty_neighbors

POINT_METRES, POINT_COUNT = 0.02, 4.0
"""Of a depth map; errors are smooth, so that a frame's points are worth so many."""
OUTLINE_METRES = 0.02
BEND_METRES, BEND_RADIANS = 0.01, 0.05
"""From one frame to the next two."""
ALONE_METRES, ALONE_RADIANS = 0.5, 1.5
"""Without any evidence."""
LASTING_METRES = 0.03
"""Of an object in the world, the same in all frames."""
SCALE_POSITION, SCALE_ROTATION = 1.5, 0.8
"""Of spreads: so that 90 % of true errors are within 1.645 spreads."""
AS_LIKELY = 1.0
"""Natural logarithm of how much less likely a candidate may be and yet not be told from the winner."""
TWIN_DEGREES = 45.0
MISSED_METRES = 0.05
"""Of an outline: how far off counts as missed."""
OUTLINE_SAMPLES = 512
MOVING_SAMPLES, CLEARLY_LESS = 64, 0.8
SKIN_STRIDE = 16
"""Of vertices that tell how far away people are."""


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
        (*doubts_of(scene, looks, result, unseen), *disagreements(result, twins, turns)),
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
