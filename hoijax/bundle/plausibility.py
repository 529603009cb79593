"""Magnitudes that no scene of people and objects has: units mixed up, or damage. Part of every bundle check."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.io.arrays import Field, field_problems
from hoijax.objects.asset import LARGEST_PLAUSIBLE_SIDE

METERS, RADIANS, PIXELS, BETA, REST_METERS = 1e4, 1e3, 1e6, 100.0, 10.0
OBSERVATION_LIMITS = {
    "intrinsics": Field(largest=PIXELS),
    "Ts_world_camera": Field(largest=METERS),
    "object_points": Field(largest=METERS),
    "object_pixels": Field(largest=PIXELS),
    "person_points": Field(largest=METERS),
    "person_pixels": Field(largest=PIXELS),
    "keypoints": Field(largest=PIXELS),
    "body_rotations": Field(largest=RADIANS),
    "body_translations": Field(largest=METERS),
    "body_betas": Field(largest=BETA),
    "body_rest_joints": Field(largest=REST_METERS),
}
TRUTH_LIMITS = {
    "Ts_world_object": Field(largest=METERS),
    **{key: OBSERVATION_LIMITS[key] for key in OBSERVATION_LIMITS if key.startswith("body_")},
}


def magnitude_problems(
    arrays: Mapping[str, ndarray], limits: Mapping[str, Field], where: str
) -> list[str]:
    """Numbers beyond the limits, in arrays whose shapes and dtypes are right."""
    return field_problems(arrays, limits, where)


def mesh_problems(arrays: Mapping[str, ndarray], where: str) -> list[str]:
    """A mesh in another unit than metres, and surface samples that lie off the mesh."""
    vertices: Float[ndarray, "V 3"] = arrays["vertices"]
    if not len(vertices):
        return []
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    side = float((high - low).max())
    if not side <= LARGEST_PLAUSIBLE_SIDE:
        return [
            f"{where}: key 'vertices': the mesh measures {side:.4g} m; at most "
            f"{LARGEST_PLAUSIBLE_SIDE:g} m is plausible. Is it in millimetres?"
        ]
    samples = arrays.get("samples", np.zeros((0, 3)))
    margin = 0.01 * side
    is_off = ((samples < low - margin) | (samples > high + margin)).any(axis=1)
    if is_off.any():
        return [
            f"{where}: key 'samples': {int(is_off.sum())} of {len(samples)} samples lie off the mesh"
        ]
    return []
