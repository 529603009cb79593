"""How real priors err, as numbers: the noise model of rendered observations, and its random fields.

Every source of noise has its own random stream, so changing one number leaves the others' draws as
they were. All fields are white noise times a smoothing matrix whose rows have unit length: unit
variance at every frame and pixel, whatever the correlation length.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray


@dataclass(frozen=True)
class NoiseModel:
    """Standard deviations, rates and lengths of the degradation; zero switches a source off."""

    scale_drift: float = 0.02
    """Of the point map's log scale, per frame, smooth over `drift_frames`."""
    depth_shift: float = 0.03
    """Metres along the optical axis the point map is shifted by, per frame, smooth likewise."""
    lateral_shift: float = 0.01
    """Metres across it; smaller, because a point map keeps its points near their pixels' rays."""
    drift_frames: float = 3.0
    """Frames over which the drift of the point map is correlated."""
    smooth_depth: float = 0.01
    """Metres of spatially correlated depth error."""
    smooth_depth_pixels: float = 24.0
    """Pixels over which it is correlated."""
    white_depth: float = 0.003
    """Metres of depth error independent from pixel to pixel."""
    edge_relative: float = 0.02
    """Relative depth step inside 3 x 3 pixels from which on a pixel counts as a depth edge."""
    edge_drop: float = 0.9
    """Share of depth-edge points dropped (the published pipeline filters them)."""
    mask_jitter_pixels: float = 1.0
    """By how much mask boundaries flicker, in and out."""
    mask_cell_pixels: float = 10.0
    """Pixels over which the flicker and the part mislabels are correlated."""
    hole_share: float = 0.015
    """Share of every mask lost to holes."""
    hole_pixels: float = 6.0
    """Size of those holes."""
    erode: bool = True
    """Samples come from masks eroded by 3 x 3; what is thinner than 3 pixels keeps its pixels."""
    part_mislabel_share: float = 0.05
    """Share of an object's pixels, in blobs, that carry another part's label."""
    part_unlabeled_share: float = 0.10
    """Share of an object's pixels, in blobs, that carry no part label."""
    missed_share: float = 0.05
    """Share of frames, per person and object, in which the detector misses it, in bursts."""
    missed_burst_frames: float = 3.0
    """Mean length of such a burst."""
    keypoint_jitter_pixels: float = 3.0
    """Of visible keypoints; twice that for occluded ones."""
    keypoint_dropout: float = 0.05
    """Share of keypoints not detected."""
    body_rotation_degrees: float = 2.0
    """Root mean square angle of the error of every joint's rotation, smooth over `body_frames`."""
    body_translation: float = 0.02
    """Root mean square distance in metres of the error of the body's translation, smooth likewise."""
    body_frames: float = 4.0
    """Frames over which the body's error is correlated."""
    camera_rotation_degrees: float = 0.3
    """Root mean square angle of the error of the camera's pose, smooth over `body_frames`."""
    camera_translation: float = 0.01
    """Root mean square distance in metres of the error of the camera's position."""

    @classmethod
    def none(cls) -> "NoiseModel":
        """No degradation at all: full masks, exact points, poses, keypoints and detections.

        Lengths and thresholds keep their values; they have no effect without noise.
        """
        unchanged = {
            "drift_frames",
            "smooth_depth_pixels",
            "edge_relative",
            "mask_cell_pixels",
            "hole_pixels",
            "missed_burst_frames",
            "body_frames",
        }
        names = [f.name for f in dataclasses.fields(cls) if f.name not in unchanged | {"erode"}]
        return cls(erode=False, **dict.fromkeys(names, 0.0))


def smoothing_matrix(count: int, cell: float) -> Float[ndarray, "count knots"]:
    """Gaussian weights of knots spaced `cell` samples apart; rows of unit length (see module)."""
    if cell <= 0:
        return np.eye(count, dtype=np.float32)
    position = np.arange(count)[:, None] / cell
    knots = np.arange(-3, int(np.ceil(count / cell)) + 4)[None, :]
    weights = np.exp(-0.5 * ((position - knots) / 0.7) ** 2)
    weights[weights < 1e-12] = 0.0  # they would be denormal numbers, ten times as slow to multiply
    return (weights / np.linalg.norm(weights, axis=-1, keepdims=True)).astype(np.float32)


def smooth_over_time(
    rng: np.random.Generator, shape: tuple[int, ...], frames: float
) -> Float[ndarray, "..."]:
    """Unit-variance noise of `shape` = (T, ...), correlated along the first axis."""
    matrix = smoothing_matrix(shape[0], frames)
    white = rng.standard_normal((matrix.shape[1], *shape[1:]), np.float32)
    return np.tensordot(matrix, white, axes=1)


def smooth_over_pixels(
    rng: np.random.Generator, shape: tuple[int, int, int], cell: float
) -> Float[ndarray, "T H W"]:
    """Unit-variance noise of `shape` = (T, H, W), correlated over pixels, not over frames."""
    rows, columns = smoothing_matrix(shape[1], cell), smoothing_matrix(shape[2], cell)
    knots = rows.shape[1], columns.shape[1]
    white = rng.standard_normal((knots[0], shape[0] * knots[1]), np.float32)
    # two large products instead of T small ones, which BLAS threads make slow on a busy machine
    field = (rows @ white).reshape(-1, knots[1]) @ columns.T
    return np.ascontiguousarray(field.reshape(shape[1], shape[0], shape[2]).swapaxes(0, 1))


def blobs(
    rng: np.random.Generator, shape: tuple[int, int, int], cell: float, fraction: float
) -> ndarray:
    """(T, H, W) bool: random blobs of about `cell` pixels that cover `fraction` of the image."""
    from scipy.special import ndtri

    if fraction <= 0:
        return np.zeros(shape, bool)
    return smooth_over_pixels(rng, shape, cell) > ndtri(1.0 - fraction)


def bursts(
    rng: np.random.Generator, shape: tuple[int, int], fraction: float, length: float
) -> ndarray:
    """(N, T) bool: bursts of mean `length` frames that cover about `fraction` of the frames."""
    count, frames = shape
    rate = -np.log1p(-fraction) / length
    lead = int(np.ceil(5 * length))  # bursts may have begun before the clip
    begins = rng.random((count, frames + lead)) < rate
    lasts = rng.geometric(1.0 / max(length, 1.0), (count, frames + lead))
    age = np.arange(frames)[:, None] + lead - np.arange(frames + lead)[None, :]
    return (begins[:, None] & (age >= 0) & (age < lasts[:, None])).any(-1)
