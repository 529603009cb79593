"""Camera intrinsics as people have them: numbers, json, arrays, the results of other programs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.importers.containers import TORCH, canonical, read_arrays, read_json

__all__ = ["GivenIntrinsics", "intrinsics_in", "intrinsics_of_points", "read_intrinsics"]

FORMS = (
    "Give fx,fy,cx,cy or one focal length in pixels, fov=DEGREES (horizontal), or a file: json with "
    "fx, fy, cx, cy, focal_length, K or fov_x; npz, npy, pt or txt with a 3 x 3 matrix."
)
MATRIX_KEYS = (
    "K_fullimg",
    "intrinsics",
    "K",
    "camera_matrix",
    "intrinsic",
    "cam_intrinsics",
    "cam_int",
)
FOCAL_KEYS = ("focal_length", "img_focal", "focal", "camera_img_focal", "camera_world_img_focal")
CENTER_KEYS = ("principal_point", "img_center", "camera_img_center", "camera_world_img_center")
SIZE_KEYS = (("width", "height"), ("img_width", "img_height"), ("w", "h"))
LARGEST_SHARE = 20.0
"""A focal length below this, with a principal point within 0 to 1, is in shares of the sides."""


@dataclass(frozen=True)
class GivenIntrinsics:
    """A camera that is complete once the size of the image is known."""

    source: str
    matrices: Float[ndarray, "N 3 3"] | None = None
    """One, or one a frame: in pixels, or in shares of the image's sides (MoGe)."""
    focal: float | None = None
    """Pixels; the principal point is then the middle of the image."""
    fov_x: float | None = None
    """Horizontal field of view in degrees."""
    focal_share: float | None = None
    """Focal length over the longer side of the image."""
    size: tuple[int, int] | None = None
    """(width, height) of the image they were measured in, where the file says."""

    def measured_at(self, size: tuple[int, int]) -> "GivenIntrinsics":
        """The same, of an image of this (width, height) unless they say another themselves."""
        return self if self.size is not None else replace(self, size=size)

    def of_frames(self, entries: Int[ndarray, " T"]) -> "GivenIntrinsics":
        """Those of some frames, where each has its own. UserError where a frame has none."""
        if self.matrices is None or len(self.matrices) == 1:
            return self
        if entries[-1] >= len(self.matrices):
            raise UserError(
                f"{self.source}: intrinsics of {len(self.matrices)} frames; of the clip frames {entries[0]} to "
                f"{entries[-1]} are read. Give one matrix, or one for every frame."
            )
        return replace(self, matrices=self.matrices[entries])

    def at(self, width: int, height: int) -> Float[ndarray, "N 3 3"]:
        """In pixels of an image of this size. UserError where they cannot belong to it."""
        scale = 1.0 if self.size is None else width / self.size[0]
        if self.size is not None and abs(height / self.size[1] - scale) > 0.02 * scale:
            raise UserError(
                f"{self.source}: intrinsics of a {self.size[0]} x {self.size[1]} image, but the clip "
                f"has {width} x {height} pixels, another aspect."
            )
        if self.matrices is None:
            focal = self.focal
            if self.focal_share is not None:
                focal, scale = self.focal_share * max(width, height), 1.0
            elif focal is None:
                assert self.fov_x is not None
                focal, scale = width / (2 * np.tan(np.radians(self.fov_x) / 2)), 1.0
            k = np.array([[focal, 0, 0], [0, focal, 0], [0, 0, 1]])[None]
            k[:, :2] *= scale
            k[:, 0, 2], k[:, 1, 2] = width / 2, height / 2
        else:
            k = self.matrices.astype(np.float64).copy()
            if k[:, 0, 0].max() < LARGEST_SHARE and k[:, :2, 2].max() <= 1.0:
                k[:, 0] *= width
                k[:, 1] *= height
            else:
                k[:, :2] *= scale
        self._check(k, width, height)
        return k.astype(np.float32)

    def cropped(self, image: tuple[int, int], size: tuple[int, int]) -> "GivenIntrinsics":
        """Those of an image of one (width, height), for a center crop of it that is resized to `size`.

        Video models make such crops of the image that they go on from.
        """
        k = self.at(*image).astype(np.float64)
        k[:, :2, 2] -= 0.5 * np.array(image)
        k[:, :2] *= max(size[0] / image[0], size[1] / image[1])
        k[:, :2, 2] += 0.5 * np.array(size)
        return GivenIntrinsics(self.source, k.astype(np.float32), size=size)

    def _check(self, k: ndarray, width: int, height: int) -> None:
        focal, center = k[:, [0, 1], [0, 1]], k[:, :2, 2]
        plausible = np.isfinite(k).all() and (focal > 0.1 * max(width, height)).all()
        inside = ((center > 0) & (center < (width, height))).all()
        if not (plausible and inside):
            raise UserError(
                f"{self.source}: focal length {focal[0].round(1).tolist()} and principal point "
                f"{center[0].round(1).tolist()} cannot belong to images of {width} x {height} "
                "pixels. Were they measured at another size?"
            )


def read_intrinsics(given: str | Path) -> GivenIntrinsics:
    """Of numbers in a text ("1085", "1085,1085,406,360", "fov=55"), or of a file.

    Raises UserError with the forms that are known.
    """
    text = str(given).strip()
    if match := re.fullmatch(r"fov=([\d.]+)", text):
        return GivenIntrinsics("--intrinsics", fov_x=_fov(text, float(match[1])))
    if re.fullmatch(r"[\d.,\s]+", text) and not Path(text).exists():
        return _of_numbers(text)
    path = Path(text)
    if not path.is_file():
        raise UserError(f"--intrinsics {text}: there is no such file. {FORMS}")
    if path.suffix == ".json":
        intrinsics = intrinsics_in(read_json(path), str(path))
    elif path.suffix == ".txt":
        intrinsics = _of_text(path)
    elif path.suffix in (*TORCH, ".npz", ".npy"):
        intrinsics = intrinsics_in(read_arrays(path), str(path))
    else:
        intrinsics = None
    if intrinsics is None:
        raise UserError(f"--intrinsics {path}: no intrinsics are found in it. {FORMS}")
    return intrinsics


def intrinsics_in(content: Any, source: str) -> GivenIntrinsics | None:
    """The intrinsics among named values or of a bare matrix, as GVHMR, MoGe, TRAM, PromptHMR and SAM 3D Body write them."""
    if not isinstance(content, Mapping):
        content = {"": content}
    values = {canonical(str(key)): value for key, value in content.items()}
    size = _size(values)
    for key in ("", *MATRIX_KEYS):
        if key in values and (matrices := _matrices(values[key])) is not None:
            return GivenIntrinsics(source, matrices=matrices, size=size)
    if "fx" in values and "cx" in values:
        fx, cx, cy = (float(values[key]) for key in ("fx", "cx", "cy"))
        k = np.array([[fx, 0, cx], [0, float(values.get("fy", fx)), cy], [0, 0, 1]])
        return GivenIntrinsics(source, matrices=k[None], size=size)
    focal = next((_number(values[key]) for key in FOCAL_KEYS if key in values), None)
    if focal is None and "fx" in values:
        focal = _number(values["fx"])
    if focal is not None:
        center = next((np.asarray(values[key]) for key in CENTER_KEYS if key in values), None)
        if center is None or center.size != 2:
            return GivenIntrinsics(source, focal=focal, size=size)
        u, v = (float(number) for number in center.reshape(-1))
        k = np.array([[focal, 0, u], [0, focal, v], [0, 0, 1]])
        return GivenIntrinsics(source, matrices=k[None], size=size)
    if "fov_x" in values:
        return GivenIntrinsics(source, fov_x=_fov(source, _number(values["fov_x"]) or 0.0))
    return None


def intrinsics_of_points(
    points: Float[ndarray, "T H W 3"], valid: Bool[ndarray, "T H W"], source: str
) -> GivenIntrinsics:
    """The camera whose pixels a point map's own points lie on: u = f x / z + c, by robust least squares.

    In shares of the image's sides; one camera for all frames.
    """
    count, height, width = valid.shape
    steps = [max(1, count // 8), max(1, height // 48), max(1, width // 48)]
    grid = tuple(slice(None, None, step) for step in steps)
    _, row, column = (
        index * step for index, step in zip(np.nonzero(valid[grid]), steps, strict=True)
    )
    x, y, z = points[grid][valid[grid]].astype(np.float64).T
    k = np.eye(3)
    sides = ((x / z, (column + 0.5) / width), (y / z, (row + 0.5) / height))
    for axis, (slope, pixel) in enumerate(sides):
        weight = np.ones(len(slope))
        for _ in range(5):
            system = np.stack([slope, np.ones_like(slope)], axis=-1) * weight[:, None]
            focal, center = np.linalg.lstsq(system, pixel * weight, rcond=None)[0]
            weight = 1 / np.maximum(np.abs(focal * slope + center - pixel), 1e-3) ** 0.5
        k[axis, axis], k[axis, 2] = focal, center
    return GivenIntrinsics(source, matrices=k[None])


def _of_numbers(text: str) -> GivenIntrinsics:
    try:
        numbers = [float(word) for word in re.split(r"[,\s]+", text.strip(", "))]
    except ValueError as error:
        raise UserError(f"--intrinsics {text}: are no numbers. {FORMS}") from error
    if len(numbers) == 1:
        return GivenIntrinsics("--intrinsics", focal=numbers[0])
    if len(numbers) != 4:
        raise UserError(f"--intrinsics {text}: {len(numbers)} numbers. {FORMS}")
    fx, fy, cx, cy = numbers
    return GivenIntrinsics("--intrinsics", np.array([[[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]]))


def _of_text(path: Path) -> GivenIntrinsics | None:
    try:
        numbers = np.array(path.read_text().replace(",", " ").split(), float)
    except ValueError:
        return None
    if numbers.size == 9:
        return GivenIntrinsics(str(path), matrices=numbers.reshape(1, 3, 3))
    if numbers.size == 4:
        return _of_numbers(",".join(map(str, numbers)))
    return None


def _matrices(value: Any) -> Float[ndarray, "N 3 3"] | None:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    if array.shape[-2:] != (3, 3) or array.ndim not in (2, 3) or not array.size:
        return None
    return array.reshape(-1, 3, 3)


def _number(value: Any) -> float | None:
    """A number, or the mean of several (a focal length a frame, or fx and fy)."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    return float(array.mean()) if array.size else None


def _size(values: Mapping[str, Any]) -> tuple[int, int] | None:
    for width, height in SIZE_KEYS:
        if width in values and height in values:
            return int(values[width]), int(values[height])
    return None


def _fov(source: str, degrees: float) -> float:
    if not 1.0 < degrees < 175.0:
        raise UserError(f"{source}: a field of view of {degrees:g} degrees cannot be.")
    return degrees
