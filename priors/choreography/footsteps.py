"""Footsteps: where each foot is planted while the root follows a path, and how it swings between.

numpy on the host. World: y up; yaw 0 faces +z; ground positions are (x, z).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from priors.choreography.keyframes import forward_of, left_of, minimum_jerk

STEP_SECONDS = 0.45
STEP_TRIGGER_METERS, STEP_TRIGGER_RADIANS = 0.06, 0.25


@dataclass(frozen=True)
class FootPlan:
    """Both feet (left, right) over time; `position` is the ground point below the ankle."""

    position: Float[ndarray, "T 2 2"]
    yaw: Float[ndarray, "T 2"]
    lift: Float[ndarray, "T 2"]
    """Clearance of the lowest point of the sole above the floor it stands on, metres."""
    pitch: Float[ndarray, "T 2"]
    """Radians, toes down positive."""
    planted: Bool[ndarray, "T 2"]


def stance(
    root: Float[ndarray, "2"], heading: float, half_width: float, splay: float, stagger: float
) -> tuple[Float[ndarray, "2 2"], Float[ndarray, "2"]]:
    """Ground points and yaws of both feet standing under a root; stagger puts the left foot ahead."""
    left, forward = left_of(heading)[[0, 2]], forward_of(heading)[[0, 2]]
    side = np.array([half_width, -half_width])[:, None] * left
    ahead = np.array([0.5 * stagger, -0.5 * stagger])[:, None] * forward
    return root + side + ahead, heading + np.array([splay, -splay])


def plan_footsteps(
    root: Float[ndarray, "T 2"],
    heading: Float[ndarray, "T"],
    *,
    fps: float,
    half_width: float = 0.10,
    splay: float = 0.0,
    stagger: float = 0.0,
    first_foot: int = 0,
) -> FootPlan:
    """Alternate swings whenever the root gets away from the planted feet; works in any direction.

    A swing lands where the foot belongs half-way through its coming stance, so the body passes
    over it; on a path that stops, the last steps close into a normal stance.
    """
    frames = len(root)
    swing = max(3, round(STEP_SECONDS * fps))
    wanted = [
        stance(root[t], heading[t], half_width, splay, stagger if t in (0, frames - 1) else 0.0)
        for t in range(frames)
    ]
    position = np.repeat(wanted[0][0][None], frames, axis=0)
    yaw = np.repeat(wanted[0][1][None], frames, axis=0)
    lift, pitch = np.zeros((frames, 2)), np.zeros((frames, 2))
    planted = np.ones((frames, 2), bool)
    t, last = 0, 1 - first_foot
    while t + swing < frames:
        target_position, target_yaw = wanted[min(frames - 1, t + swing + swing // 2)]
        far = np.linalg.norm(target_position - position[t], axis=-1) / STEP_TRIGGER_METERS
        far = np.maximum(far, np.abs(target_yaw - yaw[t]) / STEP_TRIGGER_RADIANS)
        foot = 1 - last if far[1 - last] > 1.0 else last
        if far[foot] <= 1.0:
            t += 1
            continue
        u = np.arange(swing + 1) / swing
        s = minimum_jerk(u)[:, None]
        inside = slice(t, t + swing + 1)
        step = target_position[foot] - position[t, foot]
        along = float(step @ forward_of(heading[t])[[0, 2]])
        position[inside, foot] = position[t, foot] + s * step
        yaw[inside, foot] = yaw[t, foot] + s[:, 0] * (target_yaw[foot] - yaw[t, foot])
        position[t + swing :, foot] = target_position[foot]
        yaw[t + swing :, foot] = target_yaw[foot]
        lift[inside, foot] = min(0.07, 0.02 + 0.12 * np.linalg.norm(step)) * np.sin(np.pi * u)
        # Heel first at the end of a step forward, toes off at its start.
        amplitude = np.clip(along / 0.5, -0.6, 1.0)
        pitch[inside, foot] = amplitude * (0.35 * np.sin(2 * np.pi * u) + 0.1 * np.sin(np.pi * u))
        planted[t + 1 : t + swing, foot] = False
        t, last = t + swing, foot
    return FootPlan(position, yaw, lift, pitch, planted)
