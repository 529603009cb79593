"""Cameras on a sphere around the subject: random ones to distil from, and rings of fixed ones."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.composition.fields.guidance import ViewCameras
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import look_at

__all__ = ["OrbitSettings", "orbit_cameras", "random_cameras", "ring_cameras"]


@dataclass(frozen=True)
class OrbitSettings:
    """Where cameras stand and what they see."""

    center: tuple[float, float, float] = (0.0, 0.85, 0.0)
    """World point that they look at, metres."""
    distance: float = 3.2
    """Metres from there."""
    field_of_view: float = 36.0
    """Degrees, vertical."""
    elevations: tuple[float, float] = (-5.0, 45.0)
    """Degrees above the horizon that random cameras are drawn from, evenly by area on the sphere."""
    distance_spread: float = 0.05
    """Random cameras are up to this share nearer or further."""


def orbit_cameras(
    settings: OrbitSettings,
    azimuths: Float[ndarray, " N"],
    elevations: Float[ndarray, " N"],
    size: tuple[int, int],
    distances: Float[ndarray, " N"] | None = None,
) -> ViewCameras:
    """Cameras at azimuths (0 in front of the subject, +z; 90 on its left) and elevations in degrees."""
    azimuth, elevation = np.radians(azimuths), np.radians(elevations)
    direction = np.stack(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
            np.cos(elevation) * np.cos(azimuth),
        ],
        axis=-1,
    )
    center = np.asarray(settings.center, np.float64)
    if distances is None:
        distances = np.full(len(direction), settings.distance)
    eyes = center + distances[:, None] * direction
    lens = PinholeCamera.from_field_of_view(settings.field_of_view, size[1], size[0])
    return ViewCameras(
        np.stack([look_at(eye, center) for eye in eyes]),
        np.repeat(lens.matrix[None], len(eyes), axis=0),
        settings.center,
    )


def random_cameras(
    settings: OrbitSettings,
    count: int,
    size: tuple[int, int],
    seed: int,
    step: int,
    group: int = 1,
) -> ViewCameras:
    """`count` cameras of one step; the same seed and step give the same ones.

    group: so many follow each other at one elevation and distance, evenly around the subject, as
    multi-view models were trained.
    """
    rng = np.random.default_rng((seed, step))
    groups = -(-count // group)
    low, high = np.sin(np.radians(settings.elevations))
    # Groups are spread over the circle, each with a random turn.
    first = (rng.random() + (np.arange(groups) + 0.2 * rng.random(groups)) / groups) * 360.0
    elevations = np.degrees(np.arcsin(rng.uniform(low, high, groups)))
    away = 1.0 + settings.distance_spread * rng.uniform(-1.0, 1.0, groups)
    azimuths = (first[:, None] + np.arange(group) * 360.0 / group).reshape(-1)[:count]
    elevations, away = (np.repeat(x, group)[:count] for x in (elevations, away))
    return orbit_cameras(settings, azimuths, elevations, size, settings.distance * away)


def ring_cameras(
    settings: OrbitSettings,
    count: int,
    size: tuple[int, int],
    elevations: tuple[float, ...] = (10.0,),
    first: float = 0.0,
) -> ViewCameras:
    """`count` cameras evenly around at each of the elevations; degrees."""
    azimuths = first + np.arange(count) * 360.0 / count
    rings = [(azimuths + i * 180.0 / count, np.full(count, e)) for i, e in enumerate(elevations)]
    return orbit_cameras(
        settings,
        np.concatenate([a for a, _ in rings]),
        np.concatenate([e for _, e in rings]),
        size,
    )
