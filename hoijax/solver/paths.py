"""K best *distinct* trajectories through per-frame pose hypotheses, by dynamic programming.

Source: spec/initialisation.md. Per-frame minima alone flip between near-symmetric twins; a path
cost (how well each pose fits + how far it is from its neighbours) does not.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
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
    repeat_share: float = 0.5
    """Cost added to a hypothesis near an earlier path, as a share of the mean spread of costs."""


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

    Each next path pays for staying within `distinct_degrees` (modulo the object's symmetries) of
    an earlier one in the same frame, so paths differ as trajectories and are not permutations.
    """
    costs = costs or PathCosts()
    frames = np.flatnonzero(np.isfinite(unary).any(axis=1))
    unary = np.where(np.isfinite(unary), unary, 1e6)
    moves = [
        transition(rotations[a], translations[a], rotations[b], translations[b], b - a, costs)
        for a, b in itertools.pairwise(frames)
    ]
    spread = np.median(np.quantile(unary[frames], 0.5, axis=1) - unary[frames].min(axis=1))
    penalty = costs.repeat_share * max(float(spread), 1e-3)
    extra = np.zeros_like(unary)
    paths: list[ndarray] = []
    totals: list[float] = []
    for _ in range(count):
        path = _viterbi(unary[frames] + extra[frames], moves)
        full = np.zeros(len(unary), np.int64)
        full[frames] = path
        paths.append(full)
        steps = sum(m[path[i], path[i + 1]] for i, m in enumerate(moves))
        totals.append(float(unary[frames, path].sum() + steps))
        near = np.radians(costs.distinct_degrees)
        for t, h in zip(frames, path, strict=True):
            close = _angles_modulo(rotations[t], rotations[t, h][None], symmetries)[:, 0] < near
            extra[t] += penalty * close
    order = np.argsort(totals, kind="stable")
    return [paths[i] for i in order], [totals[i] for i in order]


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
