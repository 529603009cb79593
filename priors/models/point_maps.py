"""From a depth network's output to `PointMaps`: focal length, shift, edges, one camera a clip.

numpy and scipy only. Pixel (u, v) has its center at integer + 0.5; points are in OpenCV axes.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from priors.protocols import PointMaps

__all__ = [
    "assemble",
    "depth_edges",
    "intrinsics_from_focal",
    "one_focal",
    "solve_focal_shift",
    "solve_shift",
    "unproject_depth",
]

EDGE = 0.02
"""Relative depth step between neighbors that counts as an edge (HOI-PAGE)."""
FAR = 100.0
"""Metres; what lies behind is sky or noise."""
SAMPLES_A_SIDE = 64  # focal and shift are two numbers: a coarse grid of points determines them
FOV_LIMITS = (5.0, 150.0)  # degrees, horizontal; outside, an estimate is a failure
DEFAULT_FOV = 55.0  # degrees, vertical; an ordinary camera


def pixel_offsets(height: int, width: int) -> Float[ndarray, "H W 2"]:
    """Pixel centers relative to the middle of the image."""
    u, v = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    return np.stack([u, v], axis=-1)


def intrinsics_from_focal(focals: ndarray, height: int, width: int) -> Float[ndarray, "T 3 3"]:
    """Square pixels, principal point in the middle; focal lengths (T,) in pixels."""
    cameras = [
        PinholeCamera(f, f, width / 2, height / 2, width, height) for f in map(float, focals)
    ]
    return np.stack([camera.matrix for camera in cameras])


def unproject_depth(
    depth: Float[ndarray, "T H W"], intrinsics: Float[ndarray, "T 3 3"]
) -> Float[ndarray, "T H W 3"]:
    """Points of all pixels from their z depth."""
    height, width = depth.shape[1:]
    pixels = pixel_offsets(height, width) + np.array([width / 2, height / 2])
    k = np.asarray(intrinsics, np.float64)[:, None, None]
    x = (pixels[None, ..., 0] - k[..., 0, 2]) / k[..., 0, 0] * depth
    y = (pixels[None, ..., 1] - k[..., 1, 2]) / k[..., 1, 1] * depth
    return np.stack([x, y, depth], axis=-1).astype(np.float32)


def depth_edges(
    depth: Float[ndarray, "T H W"], valid: Bool[ndarray, "T H W"], relative: float = EDGE
) -> Bool[ndarray, "T H W"]:
    """Pixels where depth jumps within the 3 x 3 neighborhood, or that border on invalid ones."""
    from scipy import ndimage

    size = (1, 3, 3)
    depth = np.where(valid, depth, 1.0)
    far = ndimage.maximum_filter(np.where(valid, depth, -np.inf), size, mode="nearest")
    near = ndimage.minimum_filter(np.where(valid, depth, np.inf), size, mode="nearest")
    with np.errstate(invalid="ignore"):  # inf - inf where nothing near is valid
        jump = (far - near) > relative * depth
    border = ndimage.minimum_filter(valid, size, mode="nearest") != valid
    return valid & (jump | border)


def _samples(points: ndarray, valid: ndarray) -> tuple[ndarray, ndarray]:
    """(n, 3) affine points and (n, 2) pixel offsets on a coarse grid."""
    height, width = valid.shape
    step = max(1, height // SAMPLES_A_SIDE, width // SAMPLES_A_SIDE)
    grid = np.s_[step // 2 :: step, step // 2 :: step]
    keep = valid[grid] & np.isfinite(points[grid]).all(-1)
    offsets = pixel_offsets(height, width)[grid]
    return points[grid][keep].astype(np.float64), offsets[keep]


def solve_focal_shift(
    points_affine: Float[ndarray, "H W 3"], valid: Bool[ndarray, "H W"]
) -> tuple[float, float]:
    """(focal length in pixels, shift along z) that project an affine point map onto its own pixels.

    MoGe's points are right up to a shift in depth (Wang et al., CVPR 2025, eq. 2-3): find f and t
    with f * xy / (z + t) = uv. The equation is linear in (f, t) once multiplied out, which starts
    Levenberg-Marquardt on the pixel error. Both are nan where the points determine no camera.
    """
    from scipy.optimize import least_squares

    points, offsets = _samples(points_affine, valid)
    if len(points) < 8:
        return np.nan, np.nan
    xy, z = points[:, :2], points[:, 2]
    system = np.stack([xy.ravel(), -offsets.ravel()], axis=-1)
    start, *_ = np.linalg.lstsq(system, (z[:, None] * offsets).ravel(), rcond=None)
    scale = max(float(np.abs(offsets).max()), 1.0)

    def error(unknown: ndarray) -> ndarray:
        depth = z + unknown[1]
        depth = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        return ((np.exp(unknown[0]) * xy / depth[:, None] - offsets) / scale).ravel()

    if not (np.isfinite(start).all() and start[0] > 0):
        start = np.array([scale, 0.0])
    solution = least_squares(
        error, [np.log(start[0]), start[1]], method="lm", xtol=1e-12, ftol=1e-12
    )
    focal, shift = float(np.exp(np.clip(solution.x[0], -50, 50))), float(solution.x[1])
    fov = 2 * np.degrees(np.arctan(valid.shape[1] / (2 * focal)))
    if not FOV_LIMITS[0] <= fov <= FOV_LIMITS[1] or np.median(z + shift) <= 0:
        return np.nan, np.nan
    return focal, shift


def solve_shift(
    points_affine: Float[ndarray, "H W 3"],
    valid: Bool[ndarray, "H W"],
    intrinsics: Float[ndarray, "3 3"],
) -> float:
    """Shift along z that projects an affine point map onto its own pixels; 0 where undetermined."""
    from scipy.optimize import least_squares

    points, offsets = _samples(points_affine, valid)
    if len(points) < 8:
        return 0.0
    height, width = valid.shape
    k = np.asarray(intrinsics, np.float64)
    focal = np.array([k[0, 0], k[1, 1]])
    center = np.array([k[0, 2] - width / 2, k[1, 2] - height / 2])
    rays = (offsets - center) / focal
    xy, z = points[:, :2], points[:, 2]
    # Multiplied out: rays * t = xy - rays * z, one unknown.
    start = float((rays * (xy - rays * z[:, None])).sum() / max(float((rays**2).sum()), 1e-12))

    def error(unknown: ndarray) -> ndarray:
        depth = z + unknown[0]
        depth = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        return (xy / depth[:, None] - rays).ravel()

    shift = float(least_squares(error, [start], method="lm", xtol=1e-12, ftol=1e-12).x[0])
    return shift if np.isfinite(shift) and np.median(z + shift) > 0 else max(0.0, float(-z.min()))


def one_focal(focals: ndarray, height: int) -> float:
    """Median of the frames' focal lengths, nan left out; an ordinary camera's where all are nan.

    The camera of a clip does not zoom, and the median is deaf to frames where the model fails.
    """
    known = np.asarray(focals, np.float64)
    known = known[np.isfinite(known)]
    if len(known) == 0:
        return PinholeCamera.from_field_of_view(DEFAULT_FOV, height, height).fx
    return float(np.median(known))


def given_intrinsics(intrinsics: ndarray | None, frames: ndarray) -> ndarray | None:
    """Check intrinsics that a caller gave. UserError where shape or focal lengths cannot be."""
    if intrinsics is None:
        return None
    intrinsics = np.asarray(intrinsics, np.float64)
    if intrinsics.shape != (len(frames), 3, 3):
        raise UserError(
            f"depth: intrinsics of shape {intrinsics.shape} for {len(frames)} frames; "
            f"({len(frames)}, 3, 3) is needed"
        )
    if not (np.isfinite(intrinsics).all() and (intrinsics[:, [0, 1], [0, 1]] > 0).all()):
        raise UserError("depth: intrinsics need finite numbers and positive focal lengths")
    return intrinsics


def assemble(
    depth: Float[ndarray, "T H W"],
    valid: Bool[ndarray, "T H W"],
    intrinsics: ndarray,
    *,
    edge: float = EDGE,
    far: float = FAR,
) -> PointMaps:
    """Points of every pixel; edges, the sky and what is not finite are invalid (and zero)."""
    with np.errstate(invalid="ignore"):
        valid = valid & np.isfinite(depth) & (depth > 0) & (depth < far)
    depth = np.where(valid, depth, 1.0).astype(np.float32)
    valid = valid & ~depth_edges(depth, valid, edge)
    points = unproject_depth(depth, intrinsics)
    points[~valid] = 0
    return PointMaps(points, valid, np.asarray(intrinsics, np.float32))
