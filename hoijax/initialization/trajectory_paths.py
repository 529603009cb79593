"""K best *distinct* trajectories through per-frame pose hypotheses, by dynamic programming.

Source: spec/initialization.md. Per-frame minima alone flip between near-symmetric twins; a path
cost (how well each pose fits + how far it is from its neighbors) does not.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


@dataclass(frozen=True)
class PathCosts:
    """Costs of moving between hypotheses of consecutive frames.

    rotation: per radian squared, translation: per metre squared; `cut` bounds one transition, so
    that a fast turn costs no more than a jump.
    """

    rotation: float = 4.0
    translation: float = 40.0
    cut: float = 3.0
    distinct_degrees: float = 20.0
    repeat: float = 0.3
    """Share of frames in which a path may stay near an earlier one and still be called distinct."""


def _angles(a: Float[ndarray, "m 3 3"], b: Float[ndarray, "n 3 3"]) -> Float[ndarray, "m n"]:
    trace = np.einsum("mij,nij->mn", a, b)
    return np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0))


def _angles_modulo(a: ndarray, b: ndarray, symmetries: Float[ndarray, "s 3 3"]) -> ndarray:
    """Smallest angle between a and b @ symmetry over all symmetries of the object."""
    turned = np.einsum("nij,sjk->nsik", b, symmetries).reshape(-1, 3, 3)
    return _angles(a, turned).reshape(len(a), len(b), len(symmetries)).min(axis=-1)


def transition(ra, ta, rb, tb, gap: int, costs: PathCosts) -> Float[ndarray, "m n"]:
    """Cost from every hypothesis of one frame to every one of the next, `gap` frames later."""
    distance = np.sum((ta[:, None] - tb[None]) ** 2, axis=-1)
    cost = costs.rotation * _angles(ra, rb) ** 2 + costs.translation * distance
    return np.minimum(cost / gap, costs.cut * gap)


def best_paths(
    rotations: Float[ndarray, "T H 3 3"],
    translations: Float[ndarray, "T H 3"],
    unary: Float[ndarray, "T H"],
    *,
    count: int,
    symmetries: Float[ndarray, "S 3 3"],
    costs: PathCosts | None = None,
) -> tuple[list[ndarray], list[float]]:
    """Indices (T,) and costs of up to `count` distinct paths, best first.

    A hypothesis within `distinct_degrees` (modulo the object's symmetries) of an earlier path in
    the same frame is charged until the next path leaves the earlier ones in most frames, so paths
    differ as trajectories and are not permutations. Fewer than `count` when there are no more.
    """
    costs = costs or PathCosts()
    frame_count = len(unary)
    frames = np.flatnonzero(np.isfinite(unary).any(axis=1))
    unary = np.where(np.isfinite(unary), unary, 1e6)[frames]
    rotations, translations = rotations[frames], translations[frames]
    moves = _moves(rotations, translations, frames, costs)
    angles = np.stack([_angles_modulo(r, r, symmetries) for r in rotations])
    near = angles < np.radians(costs.distinct_degrees)
    rows = np.arange(len(frames))
    paths: list[ndarray] = []
    totals: list[float] = []
    used = np.zeros(unary.shape, bool)
    while len(paths) < count:
        path = _distinct_path(unary, moves, used, costs.repeat)
        if path is None:
            break
        paths.append(path)
        totals.append(_cost(path, unary, moves))
        used |= near[rows, path]
    order = np.argsort(totals, kind="stable")
    full = []
    for i in order:
        path = np.zeros(frame_count, np.int64)
        path[frames] = paths[i]
        full.append(path)
    return full, [totals[i] for i in order]


def cheapest_path(
    rotations: Float[ndarray, "F H 3 3"],
    translations: Float[ndarray, "F H 3"],
    unary: Float[ndarray, "F H"],
    frames: Int[ndarray, " F"],
    costs: PathCosts,
) -> tuple[Int[ndarray, " F"], float]:
    """(indices, cost) of the one best path. frames: which these are, ascending."""
    moves = _moves(rotations, translations, frames, costs)
    path = _viterbi(unary, moves)
    return path, _cost(path, unary, moves)


def _moves(
    rotations: ndarray, translations: ndarray, frames: Int[ndarray, " F"], costs: PathCosts
) -> list[Float[ndarray, "H H"]]:
    """Costs between the hypotheses of frames and of those that follow."""
    return [
        transition(rotations[i], translations[i], rotations[i + 1], translations[i + 1], gap, costs)
        for i, gap in enumerate(np.diff(frames).tolist())
    ]


def _cost(path: ndarray, unary: Float[ndarray, "F H"], moves: list[ndarray]) -> float:
    steps = sum(m[path[i], path[i + 1]] for i, m in enumerate(moves))
    return float(unary[np.arange(len(path)), path].sum() + steps)


def _distinct_path(
    unary: Float[ndarray, "F H"], moves: list[ndarray], used: ndarray, allowed: float
) -> ndarray | None:
    """Cheapest path that stays near earlier ones in at most a share `allowed` of the frames."""
    if not used.any():
        return _viterbi(unary, moves)
    charge = max(float(np.median(np.median(unary, axis=1) - unary.min(axis=1))), 1e-3)
    for _ in range(8):
        path = _viterbi(unary + charge * used, moves)
        if used[np.arange(len(path)), path].mean() <= allowed:
            return path
        charge *= 2.0
    return None


def _viterbi(unary: Float[ndarray, "F H"], moves: list[ndarray]) -> ndarray:
    value = unary[0]
    back = []
    for cost, move in zip(unary[1:], moves, strict=True):
        through = value[:, None] + move
        back.append(np.argmin(through, axis=0))
        value = np.min(through, axis=0) + cost
    path = [int(np.argmin(value))]
    for pointer in reversed(back):
        path.append(int(pointer[path[-1]]))
    return np.array(path[::-1])
