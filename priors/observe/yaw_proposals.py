"""Likely turns of objects about the vertical axis, asked of a language model that is told who is where.

HOI-PAGE starts its optimization from such yaws (spec: stage b); here they are starts among others.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.bodies.kinematics import JOINT_NAMES, forward_kinematics
from hoijax.bundle.observations import Observations
from hoijax.geometry.rotations import axis_angle_to_matrix
from hoijax.objects.asset import Asset

__all__ = ["YawModel", "describe_situation", "distinct_yaws"]

TOLD = {
    "hips": "pelvis",
    "head": "head",
    "left hand": "left_wrist",
    "right hand": "right_wrist",
    "left foot": "left_ankle",
    "right foot": "right_ankle",
}
SAME = 5.0  # degrees: two proposals this close are one


@runtime_checkable
class YawModel(Protocol):
    """A language model that proposes yaws (`priors.models.language_model.LanguagePrior`)."""

    def propose_yaws(
        self, text: str, object_name: str, situation: str, seed: int = 0
    ) -> list[float]: ...


def describe_situation(
    graph: PartAffordanceGraph, assets: Sequence[Asset], seen: Observations, o: int
) -> str:
    """Where people's joints, the object and its parts are, and what touches what, in words.

    Of the frame that shows object `o` best; world axes, metres as far as the point maps know.
    """
    asset = assets[o]
    shown = (seen.object_point_mask[o] & seen.object_detected[o, :, None]).sum(-1)
    t = int(np.argmax(shown))
    lines = []
    for p, person in enumerate(graph.people):
        joints, forward = _posed(seen, p, t)
        places = ", ".join(
            f"{phrase} at {_point(joints[JOINT_NAMES.index(name)])}"
            for phrase, name in TOLD.items()
        )
        lines.append(f"{person.name}, who faces {_point(forward)}: {places}.")
    if shown[t]:
        camera = seen.Ts_world_camera[t]
        points = seen.object_points[o, t][seen.object_point_mask[o, t]]
        low, high = np.percentile(points @ camera[:3, :3].T + camera[:3, 3], [2, 98], axis=0)
        lines.append(f"What is seen of the {asset.name} lies from {_point(low)} to {_point(high)}.")
    lines.append(f"In the own frame of the {asset.name}, from corner to corner:")
    centered = asset.samples - asset.center
    for q, part in enumerate(asset.part_names or ("the whole",)):
        corners = centered[asset.sample_parts == q] if asset.part_names else centered
        if len(corners):
            lines.append(f"- {part}: {_point(corners.min(0))} to {_point(corners.max(0))}")
    lines.append("What touches:")
    for edge in graph.edges:
        ends = (edge.first, edge.second)
        if asset.name in (end.entity for end in ends):
            lines.append("- " + " and ".join(f"{end.part} of {end.entity}" for end in ends))
    return "\n".join(lines)


def _posed(
    seen: Observations, p: int, t: int
) -> tuple[Float[ndarray, "55 3"], Float[ndarray, " 3"]]:
    """(joints, where the pelvis faces) of a person in the world."""
    rotations = axis_angle_to_matrix(jnp.asarray(seen.body_rotations[p, t]))
    posed = np.asarray(
        forward_kinematics(seen.body_rest_joints[p], rotations, seen.body_translations[p, t])
    )
    return posed[..., 3], posed[0, :, 2]


def _point(x: Float[ndarray, " 3"]) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in x + 0.0) + ")"


def distinct_yaws(yaws: Sequence[float]) -> list[float]:
    """Degrees in [0, 360), in order, without those that nearly repeat an earlier one."""
    distinct: list[float] = []
    for yaw in yaws:
        turns = [abs((yaw - other + 180) % 360 - 180) for other in distinct]
        if all(turn > SAME for turn in turns):
            distinct.append(float(yaw % 360))
    return distinct
