"""Objects on objects: where the other thing stands, and how far in front of it a person stops."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.objects.asset import Asset
from priors.choreography.hold_plans import BELLY, near_extent
from priors.choreography.keyframes import forward_of, yaw_matrix
from priors.choreography.plan import Performance
from priors.choreography.tracks import PersonTrack


def support_under(performance: Performance, upper: int, phase: str) -> int | None:
    """The object that `upper` stands on at the start or at the end of the clip."""
    for relation in performance.script.relations:
        if relation.upper == upper and relation.phase in (phase, "throughout"):
            return relation.lower
    return None


def top_height(asset: Asset, point: Float[ndarray, "2"], rotation: ndarray, reach: float) -> float:
    """Height above the center of the surface that faces up near a ground point (x, z)."""
    samples = (asset.samples - asset.center) @ rotation.T
    up = (asset.sample_normals @ rotation.T)[:, 1] > 0.8
    near = up & (np.linalg.norm(samples[:, [0, 2]] - point, axis=1) < reach)
    if not near.any():
        return float(samples[:, 1].max())
    return float(np.quantile(samples[near, 1], 0.9))


def stand_at(
    performance: Performance, lower: int, track: PersonTrack, frame: int, upper_near: float
) -> tuple[float, float]:
    """Put `lower` still on the ground ahead of where a person stands in `frame`.

    Returns the height of its top and the distance ahead of the pelvis at which something with
    `upper_near` metres from its center to its near side stands on it.
    """
    frames = performance.frames
    asset = performance.asset(lower)
    heading = float(track.heading[frame])
    yaw = performance.rng.choice([0.0, np.pi])
    if asset.extents[2] > 1.2 * asset.extents[0]:
        yaw += 0.5 * np.pi  # the long side faces the person
    local = yaw_matrix(np.array(yaw))
    rotation = yaw_matrix(np.array(heading)) @ local
    edge = BELLY + 0.09
    near = near_extent(asset, local, 0.3)
    ahead = max(edge + upper_near + 0.03, upper_near + BELLY + 0.05)
    distance = max(edge + near, ahead - near + upper_near + 0.03)
    position = track.root[frame] + distance * forward_of(heading)[[0, 2]]
    center = np.repeat([[position[0], 0.0, position[1]]], frames, axis=0)
    placed = performance.set_object(lower, center, np.repeat(rotation[None], frames, axis=0))
    placed.rest_on(0.0, slice(None))
    spot = np.array([0.0, ahead - distance])
    height = float(placed.center[0, 1]) + top_height(asset, spot, local, 0.15)
    return height, ahead
