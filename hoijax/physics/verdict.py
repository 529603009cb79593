"""One person, one object, one verdict: numbers and a sentence."""

from dataclasses import dataclass

import numpy as np

from hoijax.affordance.graph import BODY_PARTS
from hoijax.physics.balance import feet_and_balance
from hoijax.physics.rigid_motion import rigid_motion
from hoijax.physics.support import Support, SupportSettings, find_support
from hoijax.results.protocols.mesh_motion import MeshMotion


@dataclass(frozen=True)
class Verdict:
    """`values` by name, thresholds and units in the names; `frames` by name, a value each."""

    sentence: str
    values: dict[str, float]
    frames: dict[str, list]
    assumed: dict[str, float]


def judge(
    motion: MeshMotion,
    *,
    mass: float | None = None,
    density: float = 100.0,
    settings: SupportSettings | None = None,
) -> Verdict:
    """Whether the body and the ground can carry the object as it moves, and the body itself.

    Raises UserError for a mass, density or setting that is not positive, and for clips under 4 frames.
    """
    settings = settings or SupportSettings()
    rigid = rigid_motion(motion, mass, density)
    support = find_support(motion, rigid, settings)
    margin = f"@{settings.margin * 100:g}cm"
    body = feet_and_balance(motion)
    values = {
        f"explained_share{margin}": float(support.explained.mean()),
        f"free_flight_share{margin}": float(support.free_flight.mean()),
        "missing_mean_weights": float(support.missing.mean()),
        "missing_largest_weights": float(support.missing.max()),
        "body_force_largest_weights": float(support.body_force.max()),
        "ground_force_mean_weights": float(support.ground_force.mean()),
        **{
            f"force_mean_weights/{BODY_PARTS[part]}": float(force.mean())
            for part, force in support.part_force.items()
            if 0 <= part < len(BODY_PARTS) and force.any()
        },
        **body,
    }
    frames = {
        "explained": support.explained.tolist(),
        "missing_weights": support.missing.round(4).tolist(),
        "missing_force_weights": support.missing_force.round(4).tolist(),
        "body_force_weights": support.body_force.round(4).tolist(),
        "ground_force_weights": support.ground_force.round(4).tolist(),
    }
    assumed = {"mass_kg": rigid.mass, "friction": settings.friction, "margin_m": settings.margin}
    return Verdict(_sentence(support, motion.fps, rigid.mass, body), values, frames, assumed)


def _sentence(support: Support, fps: float, mass: float, body: dict[str, float]) -> str:
    count, explained = len(support.explained), int(support.explained.sum())
    words = [f"explained {explained} of {count} frames"]
    if support.free_flight.any():
        words.append(f"{int(support.free_flight.sum())} of them in free flight")
    if support.body_force.any():
        words.append(f"body force up to {support.body_force.max():.1f} object weights")
    if explained < count:
        worst = int(np.where(support.explained, -1, support.missing).argmax())
        words.append(
            f"unexplained most at {worst / fps:.1f} s ({support.missing[worst]:.1f} weights missing)"
        )
    if body["foot_skate_cm_s@3cm"] > 10:
        words.append(f"feet skate at {body['foot_skate_cm_s@3cm']:.0f} cm/s")
    return f"{'; '.join(words)} (assumed {mass:.1f} kg)"
