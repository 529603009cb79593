"""Point and depth maps of other programs: MoGe's npz and EXR, 16-bit PNGs with a scale, depth with intrinsics."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.importers.containers import read_arrays, read_json
from hoijax.importers.intrinsics import GivenIntrinsics, intrinsics_in
from hoijax.progress import Log, silent

__all__ = ["GivenPoints", "read_points"]

FORMS = (
    "Known are npz, npy and pt with points (T, H, W, 3) or depth (T, H, W), and if wanted mask and "
    "intrinsics; a folder of EXR (one a frame, or MoGe's folder a frame); a folder of 16-bit PNGs."
)
POINT_KEYS, DEPTH_KEYS, MASK_KEYS = (
    ("points", "point_map", "pointmap", "points3d"),
    ("depth", "depths", "depth_map", ""),
    ("mask", "masks", "valid"),
)
MILLIMETRES = 1e-3
SIDECARS = ("scale.json", "intrinsics.json", "camera.json")


@dataclass(frozen=True)
class GivenPoints:
    """What a file says of 3D at its own image size. Camera axes as in OpenCV, metres."""

    source: str
    depth: Float[ndarray, "T H W"]
    valid: Bool[ndarray, "T H W"]
    points: Float[ndarray, "T H W 3"] | None = None
    """None where the file has depth only."""
    intrinsics: GivenIntrinsics | None = None


def read_points(path: str | Path, log: Log = silent) -> GivenPoints:
    """Point maps of a file or folder; what is assumed is said to `log`. UserError with what is known."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"--points {path}: there is no such file or folder. {FORMS}")
    given = _folder(path, log) if path.is_dir() else _file(path)
    count, rows, columns = given.depth.shape
    what = "depth along z" if given.points is None else "points"
    camera = "no camera" if given.intrinsics is None else "their own camera"
    log(
        f"--points {path.name}: {count} frames of {what} in metres, {columns} x {rows} pixels, {camera}"
    )
    return given


def _file(path: Path) -> GivenPoints:
    """Of an npz, npy or pt."""
    arrays = read_arrays(path)
    maps = _first(arrays, POINT_KEYS, 4)
    depth = _first(arrays, DEPTH_KEYS, 3) if maps is None else maps[..., 2]
    if depth is None:
        shapes = ", ".join(f"{name or 'array'} {array.shape}" for name, array in arrays.items())
        raise UserError(f"--points {path}: no points or depth among {shapes[:300]}. {FORMS}")
    mask = _first(arrays, MASK_KEYS, 3)
    if mask is not None and mask.shape != depth.shape:
        raise UserError(f"--points {path}: mask {mask.shape} and depth {depth.shape} differ.")
    return _given(str(path), depth, maps, mask, intrinsics_in(arrays, str(path)))


def _first(arrays: dict[str, ndarray], names: Sequence[str], axes: int) -> ndarray | None:
    """The first of these keys with a shape that fits; one frame stands for a clip of one."""
    for name in names:
        array = arrays.get(name)
        if array is None:
            continue
        if array.ndim == axes + 1 and array.shape[1 if axes == 3 else -1] == 1:
            array = array[:, 0] if axes == 3 else array[..., 0]  # (T, 1, H, W)
        if array.ndim == axes - 1 and (axes == 3 or array.shape[-1] == 3):
            array = array[None]
        if array.ndim == axes and (axes == 3 or array.shape[-1] == 3):
            return array
    return None


def _given(
    source: str,
    depth: ndarray,
    points: ndarray | None,
    mask: ndarray | None,
    intrinsics: GivenIntrinsics | None,
) -> GivenPoints:
    depth = depth.astype(np.float32)
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(depth) & (depth > 0)
    if mask is not None:
        valid &= mask > 0
    if points is not None:
        valid &= np.isfinite(points).all(-1)
        points = np.where(valid[..., None], points, 0).astype(np.float32)
    if not valid.any():
        raise UserError(
            f"--points {source}: has no valid point in any frame. Depth is along the camera's z, "
            "metres, larger than 0 (OpenCV's axes)."
        )
    return GivenPoints(source, np.where(valid, depth, 0), valid, points, intrinsics)


# ---- folders


def _folder(folder: Path, log: Log) -> GivenPoints:
    moge = sorted(p.parent for p in folder.glob("*/points.exr")) or sorted(
        p.parent for p in folder.glob("*/depth.exr")
    )
    if moge:
        return _moge_folders(folder, moge)
    exr = sorted(folder.glob("*.exr"))
    if exr:
        channels = [read_exr(path) for path in exr]
        maps = _same_size(channels, folder)
        intrinsics = _sidecar(folder)[0]
        if maps.shape[-1] == 3:
            return _given(str(folder), maps[..., 2], maps, None, intrinsics)
        return _given(str(folder), maps[..., 0], None, None, intrinsics)
    images = sorted(folder.glob("*.png"))
    if images:
        return _depth_images(folder, images, log)
    npz = sorted(folder.glob("*.npz"))
    if npz:
        frames = [read_points(path) for path in npz]
        with_points = all(frame.points is not None for frame in frames)
        return GivenPoints(
            str(folder),
            _same_size([frame.depth[0] for frame in frames], folder),
            _same_size([frame.valid[0] for frame in frames], folder),
            _same_size([frame.points[0] for frame in frames if frame.points is not None], folder)
            if with_points
            else None,
            _stacked([frame.intrinsics for frame in frames], folder),
        )
    raise UserError(f"--points {folder}: holds no EXR, PNG or npz. {FORMS}")


def _moge_folders(folder: Path, frames: Sequence[Path]) -> GivenPoints:
    """What `moge infer --maps` writes: a folder a frame with points.exr, depth.exr, mask.png, fov.json."""
    has_points = all((frame / "points.exr").is_file() for frame in frames)
    name = "points.exr" if has_points else "depth.exr"
    maps = _same_size([read_exr(frame / name) for frame in frames], folder)
    masks = None
    if all((frame / "mask.png").is_file() for frame in frames):
        masks = _same_size([_png(frame / "mask.png") for frame in frames], folder)
    views = [
        intrinsics_in(read_json(frame / "fov.json"), str(frame))
        for frame in frames
        if (frame / "fov.json").is_file()
    ]
    degrees = [view.fov_x for view in views if view is not None and view.fov_x]
    intrinsics = None
    if degrees:
        intrinsics = GivenIntrinsics(str(folder), fov_x=float(np.median(degrees)))
    return _given(str(folder), maps[..., -1], maps if has_points else None, masks, intrinsics)


def _depth_images(folder: Path, paths: Sequence[Path], log: Log) -> GivenPoints:
    intrinsics, scale = _sidecar(folder)
    if scale is None:
        scale = MILLIMETRES
        log(
            f"--points {folder.name}: 16-bit depth is taken for millimetres; {SIDECARS[0]} with "
            '{"scale": METRES_A_UNIT} says otherwise'
        )
    images = [_png(path) for path in paths]
    depth = _same_size(images, folder)
    if depth.ndim != 3 or depth.dtype == np.uint8:
        raise UserError(
            f"--points {folder}: depth images are grey PNGs of 16 bits, these are of 8 or have "
            "colors: their depth was made for looking at. Give the numbers."
        )
    return _given(str(folder), depth * np.float32(scale), None, None, intrinsics)


def _sidecar(folder: Path) -> tuple[GivenIntrinsics | None, float | None]:
    """(intrinsics, metres a unit) of the json files beside the maps."""
    intrinsics, scale = None, None
    for name in SIDECARS:
        if not (folder / name).is_file():
            continue
        content = read_json(folder / name)
        if not isinstance(content, dict):
            continue
        intrinsics = intrinsics or intrinsics_in(content, str(folder / name))
        if "scale" in content:
            scale = float(content["scale"])
        elif "depth_scale" in content:  # RealSense, ScanNet, TUM: units a metre or metres a unit
            number = float(content["depth_scale"])
            scale = 1.0 / number if number > 1.0 else number
    return intrinsics, scale


def _png(path: Path) -> ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise UserError(f"--points {path}: cannot be read ({error}).") from error
    return pixels.astype(np.uint16) if pixels.dtype == np.int32 else pixels


def read_exr(path: Path) -> Float[ndarray, "H W C"]:
    """Channels of an EXR: x, y, z of a point map (R, G, B) or one of depth. UserError without OpenEXR."""
    try:
        import OpenEXR
    except ImportError as error:
        raise UserError(f"{path}: EXR files need OpenEXR: pip install OpenEXR") from error
    try:
        channels = OpenEXR.File(str(path), separate_channels=True).channels()
    except Exception as error:  # of the C++ library
        raise UserError(f"{path}: cannot be read as EXR ({error}).") from error
    names = [n for n in ("R", "G", "B") if n in channels] or [
        n for n in ("Y", "Z", "V") if n in channels
    ]
    if len(names) not in (1, 3):
        raise UserError(f"{path}: has channels {', '.join(channels)}; R, G, B or Y are read.")
    return np.stack([np.asarray(channels[n].pixels, np.float32) for n in names], axis=-1)


def _same_size(images: Sequence[ndarray], source: Path) -> ndarray:
    if len({image.shape for image in images}) > 1:
        raise UserError(f"--points {source}: the maps have different sizes.")
    return np.stack(images)


def _stacked(intrinsics: Sequence[GivenIntrinsics | None], folder: Path) -> GivenIntrinsics | None:
    """One camera a frame as one; none where a frame has none."""
    rows = [one.matrices[:1] for one in intrinsics if one is not None and one.matrices is not None]
    if len(rows) < len(intrinsics):
        return intrinsics[0]
    return GivenIntrinsics(str(folder), matrices=np.concatenate(rows))
