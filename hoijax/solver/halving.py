"""Successive halving: rounds for all candidates first, then for those that look best.

Whether a start leads home shows after a few rounds of Levenberg-Marquardt: the loss of a good one
falls at once. The rest of the time goes to the best. Everything is fixed before the descent (how
many go on, not who), so that the program has static shapes.

Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, 2016.
"""

import math

import flax.struct
import numpy as np
from jaxtyping import Bool, Int

Rung = tuple[int, int]
"""(rounds done, candidates that go on)."""
SCHEDULE = ((1 / 6, 1 / 2), (1 / 3, 1 / 4), (7 / 12, 1 / 8))
"""(share of the rounds done, share of the candidates that go on)."""
MIN_LANES = 2
"""Candidates a program moves at once, where there are as many: one alone costs almost as much."""
MAX_LANES = 64
"""Candidates a program moves at once at most: enough for a large GPU, and memory stays bounded."""


@flax.struct.dataclass
class WorkList:
    """Rounds in the order in which they are done, `lanes` candidates at a time."""

    ranks: Int[np.ndarray, "I lanes"]
    """Whose turn it is, by rank in the latest ranking."""
    rounds: Int[np.ndarray, " I"]
    is_new_rung: Bool[np.ndarray, " I"]
    """Whether candidates are ranked anew before this item."""
    finalists: int | np.int32
    """Candidates that did every round: the first of the last ranking."""

    def padded(self, items: int) -> "WorkList":
        """With so many items, of which the last are never done."""
        extra = items - len(self.rounds)
        return WorkList(
            np.pad(self.ranks.astype(np.int32), ((0, extra), (0, 0))),
            np.pad(self.rounds.astype(np.int32), (0, extra)),
            np.pad(self.is_new_rung, (0, extra)),
            np.int32(self.finalists),
        )


def halving_rungs(count: int, rounds: int) -> tuple[Rung, ...]:
    """The rungs of SCHEDULE for `count` candidates; none for those too few to halve."""
    rungs: list[Rung] = []
    latest, remaining = 0, count
    for share_done, share_kept in SCHEDULE:
        done, left = round(share_done * rounds), max(math.ceil(count * share_kept), MIN_LANES)
        if left < remaining and latest < done < rounds:
            rungs.append((done, left))
            latest, remaining = done, left
    return tuple(rungs)


def work_list(count: int, rounds: int, rungs: tuple[Rung, ...]) -> WorkList:
    """Rounds of all candidates up to the first rung, of those that go on up to the second, ...

    Lanes are as many as finalists, up to MAX_LANES; where a rung's number is no multiple of that, a
    few more go on.
    """
    lanes = min(min((remaining for _, remaining in rungs), default=count), MAX_LANES)
    ranks, indices, is_new = [], [], []
    begin, going, finalists = 0, count, count
    for end, remaining in (*rungs, (rounds, 0)):
        for index in range(begin, end):
            for first in range(0, going, lanes):
                # Lanes left over repeat the last candidate: the same numbers written twice.
                ranks.append(np.minimum(np.arange(first, first + lanes), going - 1))
                indices.append(index)
                is_new.append(index == begin and first == 0 and begin > 0)
        begin, finalists, going = end, going, min(math.ceil(remaining / lanes) * lanes, count)
    return WorkList(np.stack(ranks), np.array(indices), np.array(is_new), finalists)
