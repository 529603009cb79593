"""Joints between rigid things: what one is, trees of them, and how files hold them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from hoijax.objects.asset import Asset

REVOLUTE, PRISMATIC, FIXED = "revolute", "prismatic", "fixed"
KINDS = (REVOLUTE, PRISMATIC, FIXED)


@dataclass(frozen=True)
class Joint:
    """How a link hangs on another one.

    Attributes:
        name, kind: "revolute" (radians), "prismatic" (metres) or "fixed".
        parent, child: indices of links; the parent comes first.
        T_parent_joint: (4, 4) rigid, the joint at value zero in the parent link.
        axis: (3,) unit, in the joint's frame.
        lower, upper: limits of the value; infinite where there are none.
    """

    name: str
    kind: str
    parent: int
    child: int
    T_parent_joint: Float[np.ndarray, "4 4"]
    axis: Float[np.ndarray, " 3"]
    lower: float
    upper: float


def joints_between(names: Sequence[str], rows: list) -> tuple[tuple[Joint, ...], list[str]]:
    """Joints among named objects, parents first, and every problem; rows as for `assemble`.

    Unlike the links of one asset the objects may be several trees, or free.
    """
    problems = joint_problems(dict.fromkeys(names), rows)
    made: list[Joint] = []
    left = [] if problems else list(rows)
    while left:
        hanging = {row[3] for row in left}
        ready = [row for row in left if row[2] not in hanging]
        if not ready:
            problems.append(f"objects {', '.join(sorted(hanging))} hang on each other in a loop")
            break
        for label, kind, parent, child, T, axis, (lower, upper) in ready:
            unit = np.asarray(axis, np.float64) / max(float(np.linalg.norm(axis)), 1e-12)
            ends = names.index(parent), names.index(child)
            made.append(Joint(label, kind, *ends, T, unit, float(lower), float(upper)))
        done = {row[3] for row in ready}
        left = [row for row in left if row[3] not in done]
    return tuple(made), problems


def joint_rows(joints: Sequence[Joint], assets: Sequence[Asset]) -> list[dict[str, Any]]:
    """Joints between objects as bundle.json, run.json and glb files hold them."""
    rows = []
    for joint in joints:
        limits = {"lower": joint.lower, "upper": joint.upper}
        rows.append(
            {
                "name": joint.name,
                "kind": joint.kind,
                "parent": assets[joint.parent].name,
                "child": assets[joint.child].name,
                "T_parent_joint": np.asarray(joint.T_parent_joint, np.float64).tolist(),
                "axis": np.asarray(joint.axis, np.float64).tolist(),
                **{key: value for key, value in limits.items() if np.isfinite(value)},
            }
        )
    return rows


def joint_problems(links: Mapping[str, Any], joints: list) -> list[str]:
    """What is wrong with single joints."""
    problems = []
    seen_names: set[str] = set()
    seen_children: set[str] = set()
    for label, kind, parent, child, T, axis, (lower, upper) in joints:
        problems += [
            f"joint '{label}' names link '{x}', which is not there"
            for x in (parent, child)
            if x not in links
        ]
        if kind not in KINDS:
            problems.append(f"joint '{label}' is {kind}; supported are {', '.join(KINDS)}")
        if label in seen_names:
            problems.append(f"two joints are called '{label}'")
        if child in seen_children:
            problems.append(f"link '{child}' has two parents")
        if not np.isfinite(T).all() or not np.isfinite(axis).all():
            problems.append(f"joint '{label}' has an origin or axis that is not finite")
        elif kind != FIXED and np.linalg.norm(axis) < 1e-6:
            problems.append(f"joint '{label}' has an axis of length zero")
        if np.isnan([lower, upper]).any() or lower > upper:
            problems.append(f"joint '{label}' has limits {lower} to {upper}")
        seen_names.add(label)
        seen_children.add(child)
    return problems
