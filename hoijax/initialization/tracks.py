"""One object's trajectories from frame to frame: without flips between twins, without gaps, turned about."""

import itertools

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation, Slerp

from hoijax.initialization.unflip import is_new, unfold

Track = tuple[Float[ndarray, "T 3 3"], Float[ndarray, "T 3"]]


def with_continuous(tracks: list[Track], symmetries: Float[ndarray, "S 3 3"]) -> list[Track]:
    """Tracks in order, each that flips replaced by its continuous variants; those that flip last."""
    continuous: list[Track] = []
    flipping: list[Track] = []
    for rotations, translations in tracks:
        variants = unfold(rotations)
        if variants:
            flipping.append((rotations, translations))
        for track in variants or [rotations]:
            if is_new(track, [r for r, _ in continuous], symmetries):
                continuous.append((track, translations))
    return continuous + flipping


def with_twins(tracks: list[Track], symmetries: Float[ndarray, "S 3 3"], count: int) -> list[Track]:
    """Where there are fewer than `count`: half turns of the tracks about the mesh's axes, best first.

    Seen from one side, many objects fit nearly as well turned about: what else is known decides.
    """
    tracks = list(tracks)
    for rotations, translations in tuple(tracks):
        for axis in range(3):
            if len(tracks) >= count:
                return tracks
            half_turn = np.where(np.arange(3) == axis, 1.0, -1.0) * np.eye(3)
            if is_new(rotations @ half_turn, [r for r, _ in tracks], symmetries):
                tracks.append((rotations @ half_turn, translations))
    return tracks


def fill_gaps(rotations: ndarray, translations: ndarray, seen: ndarray, symmetries: ndarray):
    """Unwrap symmetric flips between frames of one path, then slerp through frames without detection."""
    rotations = rotations.copy()
    valid = np.flatnonzero(seen)
    for a, b in itertools.pairwise(valid):
        options = rotations[b] @ symmetries
        trace = np.einsum("ij,sij->s", rotations[a], options)
        rotations[b] = options[np.argmax(trace)]
    if len(valid) == 1:
        return np.broadcast_to(rotations[valid[0]], rotations.shape), np.broadcast_to(
            translations[valid[0]], translations.shape
        )
    frames = np.clip(np.arange(len(seen)), valid[0], valid[-1])
    filled = Slerp(valid, Rotation.from_matrix(rotations[valid]))(frames).as_matrix()
    moved = np.stack([np.interp(frames, valid, translations[valid, i]) for i in range(3)], axis=-1)
    return filled, moved
