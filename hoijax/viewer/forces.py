"""Physics of a candidate in the viewer: a strip of frames held, and forces as arrows in the scene."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.importers.mesh_motions import motions_of_result
from hoijax.physics.verdict import Verdict, by_object, judge
from hoijax.results.result import Result
from hoijax.viewer.motion import only_candidate

METERS_A_WEIGHT = 0.3
LONGEST = 1.0
PRESSES, MISSING = (58, 157, 93), (209, 56, 61)
SMALLEST = 0.05
"""Object weights below which no arrow is drawn."""


def judge_candidate(result: Result, candidate: int) -> tuple[Verdict, ...]:
    """Support of every object, without the simulator. Raises UserError where it cannot be judged."""
    pairs = motions_of_result(only_candidate(result, candidate))
    return tuple(judge(carried) for carried in by_object(pairs))


def arrows(
    verdicts: Sequence[Verdict], frame: int
) -> tuple[Float[ndarray, "N 2 3"], Float[ndarray, "N 3"]]:
    """(start and end, color) of what presses on objects in a frame, ending where it presses; and, in
    red at the object's center, of the force that is missing."""
    points, colors = [], []
    for verdict in verdicts:
        for at, force in np.asarray(verdict.frames["forces"][frame]).reshape(-1, 2, 3):
            points.append((at - _drawn(force), at))
            colors.append(PRESSES)
        center = np.asarray(verdict.frames["centers"][frame])
        missing = np.asarray(verdict.frames["missing_force_weights"][frame])
        points.append((center, center + _drawn(missing)))
        colors.append(MISSING)
    pairs = np.array(points, float).reshape(-1, 2, 3)
    long = np.linalg.norm(pairs[:, 1] - pairs[:, 0], axis=-1) >= SMALLEST * METERS_A_WEIGHT
    return pairs[long], np.array(colors, float).reshape(-1, 3)[long]


def _drawn(force: Float[ndarray, "3"]) -> Float[ndarray, "3"]:
    size = float(np.linalg.norm(force)) * METERS_A_WEIGHT
    return force * METERS_A_WEIGHT * min(1.0, LONGEST / max(size, 1e-9))


class ForceStage:
    """The arrows of one frame below a candidate's root."""

    def __init__(self, scene: Any, name: str) -> None:
        self.scene, self.path = scene, f"{name}/forces"
        self.node: Any = None

    def show(self, verdicts: Sequence[Verdict], frame: int) -> None:
        """Draw a frame; nothing where there are no verdicts."""
        pairs, colors = arrows(verdicts, frame)
        self.clear()
        if len(pairs):
            self.node = self.scene.add_arrows(
                self.path,
                pairs.astype(np.float32),
                colors.astype(np.uint8),
                shaft_radius=0.008,
                head_radius=0.02,
                head_length=0.05,
            )

    def clear(self) -> None:
        if self.node is not None:
            self.node.remove()
            self.node = None
