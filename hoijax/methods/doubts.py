"""What speaks against a result: evidence that its winner leaves unexplained (host)."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.geometry.transforms import GRAVITY, compose_rigid
from hoijax.results.metrics import adds_cm
from hoijax.results.result import Result
from hoijax.scene.scene import Scene
from hoijax.scene.silhouettes import MIN_PIXELS

__all__ = ["disagreements", "doubts_of"]

MISSED = 0.5
"""Share of an outline."""
FAR_PEOPLE = 1.0
"""Metres from which nobody holds an object."""
SHAPE_SAMPLES, SAME_SHAPE = 512, 0.12
"""Mean distance between surfaces, in radii of the object, below which two poses look the same."""
HARDLY = 1.0 / 3.0
"""Share of its frames in which an object may be too small in the image for an outline."""
APART = 0.5
"""Metres between two things that the graph says touch."""
LETS_GO, LOOSE = 0.2, 0.1
"""Share of the frames in which a contact should touch that may leave a gap of more than so many metres."""
HOVERS, MOVES, OFF_GROUND = 0.25, 0.3, 0.1
"""Share of the frames in which an object may move (m/s) off the ground (metres) with nobody near."""
FALLS, MIN_FALL = 4.0, 4
"""m/s^2 by which a free fall may seem to be another, and frames of one that can be told."""
FAR_POINTS = 0.15
"""Metres from observed points to the object."""


def doubts_of(
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
        mask = np.asarray(scene.observed.point_mask)[o][frames]
        if mask.any():
            away = float(np.median(np.abs(looks["distance"][o][frames])[mask]))
            if away > FAR_POINTS:
                doubts.append(
                    f"{asset.name}: what was seen of it is {100 * away:.0f} cm away from it"
                )
    doubts += _contacts_missed(scene, np.asarray(looks["apart"]), result)
    for o, asset in enumerate(result.assets):
        alone = np.asarray(looks["from_people"])[o] - asset.radius > FAR_PEOPLE
        count = _carried_by_nothing(result, o, alone)
        if count > HOVERS * len(alone):
            doubts.append(
                f"{asset.name} moves through the air in {count} of {len(alone)} frames, more than "
                f"{FAR_PEOPLE:.0f} m from everybody"
            )
    return doubts


def _contacts_missed(scene: Scene, apart: Float[ndarray, "E T"], result: Result) -> list[str]:
    """Of contacts that the graph names, those that never come about and those that let go."""
    real, targets = np.flatnonzero(scene.edges.mask), np.asarray(scene.edges.target)
    missed, touches = [], np.zeros(apart.shape, bool)
    touches[real] = np.asarray(result.contact)[result.winner]
    for e in real:
        name, away = result.assets[int(targets[e])].name, apart[e]
        loose = float((away[touches[e]] > LOOSE).mean()) if touches[e].any() else 0.0
        if away.min() > APART:
            missed.append(
                f"{name} is never nearer than {away.min():.1f} m to what the graph says touches it"
            )
        elif loose > LETS_GO:
            missed.append(
                f"{name} is more than {100 * LOOSE:.0f} cm away from what should touch it in "
                f"{100 * loose:.0f} % of the frames"
            )
    return missed


def _hardly_seen(scene: Scene, o: int, frames: Bool[ndarray, " T"]) -> int:
    """Frames, of these, in which an object that has outlines elsewhere was too small in the image for one."""
    if scene.silhouettes is None:
        return 0
    has_outline = np.any(np.asarray(scene.silhouettes.outline.falls_short)[o] > 0.0, axis=-1)
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


def disagreements(
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
