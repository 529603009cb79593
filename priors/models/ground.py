"""Where the ground is: the camera's pose in the world from point maps and person masks.

A plane is sought among background points below the person. Without one, up is told by the upright edges
of the scene (`priors.models.upright_edges`), else the camera is taken to be level, and the person's lowest
point to be on the ground. World: y up, ground at y = 0, the origin
under the camera, which looks along -z.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.geometry.camera import camera_pitch
from hoijax.geometry.transforms import compose_rigid
from priors.protocols import PointMaps

__all__ = ["GroundEstimate", "GroundSettings", "estimate_ground", "without_plane"]

UP = np.array([0.0, -1.0, 0.0])  # of a level camera
LOWEST = 1.0  # percentile of a person's heights that stands for the soles: stray points lie below


@dataclass(frozen=True)
class GroundSettings:
    """Limits of a believable ground."""

    max_pitch: float = 60.0
    """Degrees the camera may look up or down."""
    max_roll: float = 15.0
    """Degrees the camera may lean sideways; nobody films or draws people askew."""
    band: float = 0.02
    """A point belongs to the plane when it is nearer to it than this share of its depth."""
    min_share: float = 0.1
    """Share of the points below the person that have to lie in the plane."""
    max_below: float = 0.05
    """Share of the person's points that may lie under the ground."""
    min_extent: float = 0.35
    """Metres: standard deviation of the plane's points in its narrower direction. Seats, lids and
    boxes are smaller than any floor in view."""
    max_gap: float = 0.8
    """Metres between the ground and the lowest point of the person, who may be cut off."""
    hypotheses: int = 512
    points: int = 4096
    seed: int = 0


@dataclass(frozen=True)
class GroundEstimate:
    """A static camera over the ground."""

    T_world_camera: Float[ndarray, "4 4"]
    source: Literal["plane", "edges", "level"]
    """Whether a plane was found, upright edges said which way is up, or a level camera was assumed."""
    share: float
    """Share of the points below the person that lie in the plane; 0 where there is none."""

    @property
    def height(self) -> float:
        """Of the camera above the ground, metres."""
        return float(self.T_world_camera[1, 3])

    @property
    def pitch(self) -> float:
        """Degrees the camera looks down."""
        return camera_pitch(self.T_world_camera)


def estimate_ground(
    maps: PointMaps,
    person_masks: Bool[ndarray, "T H W"],
    *,
    other_masks: Bool[ndarray, "T H W"] | None = None,
    up: Callable[[], Float[ndarray, " 3"] | None] = lambda: None,
    settings: GroundSettings | None = None,
) -> GroundEstimate:
    """Pose of a camera that stands still, from all frames of a clip; the same input, the same answer.

    person_masks: all people together. other_masks: what else is no ground (objects). up: asked only where
    no plane is found: of the scene in the camera's axes, if edges tell.
    UserError where no frame shows a person with valid points.
    """
    settings = settings or GroundSettings()
    if person_masks.shape != maps.valid.shape:
        raise UserError(
            f"ground: masks of shape {person_masks.shape} for point maps of {maps.valid.shape}"
        )
    rng = np.random.default_rng(settings.seed)
    person = _some(maps.points[maps.valid & person_masks], settings.points, rng)
    if len(person) == 0:
        raise UserError(
            "ground: the person has no point of known depth in any frame. Check the masks and the "
            "point maps, or choose another depth model"
        )
    background = maps.valid & ~person_masks
    if other_masks is not None:
        background &= ~other_masks
    behind = maps.points[background]
    behind = _some(behind[behind[:, 1] > np.median(person[:, 1])], settings.points, rng)
    plane = _best_plane(behind, person, settings, rng)
    if plane is None:
        told = up()
        heights = person @ (UP if told is None else told)
        return without_plane(told, -float(np.percentile(heights, LOWEST)))
    normal, offset, inliers = plane
    return GroundEstimate(_pose(normal, offset), "plane", inliers)


def without_plane(up: Float[ndarray, " 3"] | None, height: float) -> GroundEstimate:
    """The ground `height` metres under a camera that knows at most which way is up."""
    if up is None:
        return GroundEstimate(_pose(UP, height), "level", 0.0)
    return GroundEstimate(_pose(up, height), "edges", 0.0)


def _some(points: ndarray, count: int, rng: np.random.Generator) -> Float[ndarray, "n 3"]:
    if len(points) > count:
        points = points[np.sort(rng.choice(len(points), count, replace=False))]
    return points.astype(np.float64)


def _best_plane(
    points: ndarray, person: ndarray, settings: GroundSettings, rng: np.random.Generator
) -> tuple[ndarray, float, float] | None:
    """(unit normal up, camera height, share of points) of the plane with most points, if any.

    A plane is normal . x + height = 0 in the camera's frame.
    """
    if len(points) < 3:
        return None
    corners = points[rng.integers(0, len(points), (settings.hypotheses, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=-1)
    span = np.linalg.norm(corners.max(1) - corners.min(1), axis=-1)
    normals = normals / np.maximum(length, 1e-12)[:, None]
    normals *= np.where(normals @ UP < 0, -1.0, 1.0)[:, None]
    heights = -(normals * corners[:, 0]).sum(-1)
    believable = (length > 1e-3 * span**2) & _upright(normals, heights, settings)
    believable &= _under(normals, heights, person, settings)
    if not believable.any():
        return None
    normals, heights = normals[believable], heights[believable]
    best = int(np.argmax(_inside(points, normals, heights, settings).sum(-1)))
    normal, height = normals[best], heights[best]
    for _ in range(3):
        normal, height = _refit(points, normal, height, settings)
    inliers = float(_inside(points, normal[None], np.array([height]), settings).mean())
    refit = (normal[None], np.array([height]))
    if inliers < settings.min_share or not _upright(*refit, settings)[0]:
        return None
    near = points[_inside(points, *refit, settings)[0]]
    if np.linalg.svd(near - near.mean(0), compute_uv=False)[1] < (
        settings.min_extent * np.sqrt(len(near))
    ):
        return None
    return (normal, height, inliers) if _under(*refit, person, settings)[0] else None


def _upright(normals: ndarray, heights: ndarray, settings: GroundSettings) -> ndarray:
    """Whether a camera over each plane is above it and held the way people hold cameras."""
    pitch = np.degrees(np.arcsin(np.clip(np.abs(normals[:, 2]), 0, 1)))
    roll = np.degrees(np.arctan2(np.abs(normals[:, 0]), -normals[:, 1]))
    return (pitch <= settings.max_pitch) & (roll <= settings.max_roll) & (heights > 0.05)


def _under(
    normals: ndarray, heights: ndarray, person: ndarray, settings: GroundSettings
) -> ndarray:
    """Whether each plane passes under the person, and not far under."""
    above = normals @ person.T + heights[:, None]
    slack = settings.band * person[:, 2]
    buried = (above < -slack).mean(-1)
    return (buried <= settings.max_below) & (
        np.percentile(above, LOWEST, axis=-1) <= settings.max_gap
    )


def _inside(
    points: ndarray, normals: ndarray, heights: ndarray, settings: GroundSettings
) -> ndarray:
    return np.abs(normals @ points.T + heights[:, None]) < settings.band * points[:, 2]


def _refit(
    points: ndarray, normal: ndarray, height: float, settings: GroundSettings
) -> tuple[ndarray, float]:
    """Least squares over the points of the plane, far ones weighing less as their error grows."""
    near = points[_inside(points, normal[None], np.array([height]), settings)[0]]
    weight = 1.0 / np.maximum(near[:, 2], 0.1) ** 2
    center = (weight[:, None] * near).sum(0) / weight.sum()
    spread = (near - center) * np.sqrt(weight)[:, None]
    refined = np.linalg.svd(spread, full_matrices=False)[2][-1]
    refined = refined if refined @ normal > 0 else -refined
    return refined, float(-refined @ center)


def _pose(normal: ndarray, height: float) -> Float[ndarray, "4 4"]:
    """T_world_camera of a camera `height` above the plane with this unit normal (camera frame)."""
    right = np.array([1.0, 0.0, 0.0]) - normal[0] * normal
    right /= np.linalg.norm(right)
    # Rows are the world's axes seen from the camera.
    rotation = np.stack([right, normal, np.cross(right, normal)])
    return compose_rigid(rotation, np.array([0.0, height, 0.0]))
