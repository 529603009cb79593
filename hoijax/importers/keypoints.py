"""2D keypoints of other programs in OpenPose-18 order: OpenPose's folders, COCO arrays, ViTPose's files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.bodies.keypoints import openpose18_from_coco
from hoijax.errors import UserError
from hoijax.importers.containers import read_arrays, read_json
from hoijax.progress import Log, silent

__all__ = ["GivenKeypoints", "read_keypoints"]

OPENPOSE18_FROM_BODY25 = np.array([0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18])
ORDERS: Mapping[int, tuple[str, Callable[[ndarray], ndarray]]] = {
    17: ("COCO-17", openpose18_from_coco),
    18: ("OpenPose-18", lambda points: points),
    25: ("OpenPose BODY_25", lambda points: points[..., OPENPOSE18_FROM_BODY25, :]),
    133: ("COCO-WholeBody", lambda points: openpose18_from_coco(points[..., :17, :])),
}
"""What a number of keypoints stands for, and how OpenPose-18 is taken from it."""
NAMES = ("keypoints", "vitpose", "keypoints_2d", "kp2d", "kpts", "")
FORMS = (
    "Known are a folder of OpenPose's *_keypoints.json, and npz, npy, pt or json with (T, J, 3) or "
    f"(T, N, J, 3) of J = {', '.join(map(str, ORDERS))}: u, v, confidence."
)


@dataclass(frozen=True)
class GivenKeypoints:
    """Keypoints of everybody that a program found; who is who is told by masks, frame by frame."""

    source: str
    order: str
    """What the file has: "COCO-17", "OpenPose BODY_25" ..."""
    points: Float[ndarray, "T N 18 3"]
    """u, v, confidence in [0, 1]; zero confidence where there is nobody."""

    def of_box(
        self, boxes: Float[ndarray, "T 4"], present: Bool[ndarray, " T"]
    ) -> Float[ndarray, "T 18 3"]:
        """Those of the person in a box (left, top, right, bottom): of all candidates of a frame, the one
        with most confidence inside it. With one candidate it is that one wherever its box is."""
        points = self.points[: len(present)]
        if points.shape[1] == 1:
            return np.where(present[:, None, None], points[:, 0], 0).astype(np.float32)
        low, high = boxes[:, None, None, :2], boxes[:, None, None, 2:]
        pixels, confidence = points[..., :2], points[..., 2]
        inside = ((pixels >= low) & (pixels <= high)).all(-1)
        score = (confidence * inside).sum(-1) - 0.5 * (confidence * ~inside).sum(-1)
        best = score.argmax(1)
        chosen = points[np.arange(len(best)), best]
        good = present & (score.max(1) > 0)
        return np.where(good[:, None, None], chosen, 0).astype(np.float32)

    def check_size(self, width: int, height: int) -> None:
        """UserError where they cannot be pixels of a clip of this size."""
        sure = self.points[..., 2] > 0.3
        outside = (
            (self.points[..., :2] < -0.5 * width)
            | (self.points[..., :2] > (1.5 * width, 1.5 * height))
        ).any(-1)
        if sure.any() and (outside & sure).sum() > 0.2 * sure.sum():
            raise UserError(
                f"--keypoints {self.source}: lie outside of the clip's {width} x {height} pixels. Give "
                "pixels of the clip itself, not of a crop or another size."
            )


def read_keypoints(path: str | Path, log: Log = silent) -> GivenKeypoints:
    """Keypoints of a file or a folder; the order is told by their number.

    Raises UserError with what is known. What is assumed is said to `log`.
    """
    path = Path(path)
    if path.is_dir():
        raw = _openpose_folder(path)
    elif path.suffix == ".json":
        raw = _json(path)
    else:
        raw = _among(read_arrays(path), path)
    name, convert = ORDERS[raw.shape[2]]
    if raw.shape[-1] == 2:
        log(
            f"--keypoints {path.name}: no confidence is given; 1 is taken for all that are not at 0, 0"
        )
        raw = np.concatenate([raw, (raw != 0).any(-1, keepdims=True)], axis=-1)
    raw = np.where(np.isfinite(raw).all(-1, keepdims=True), raw, 0.0)
    points = np.array(convert(raw.astype(np.float32)), np.float32)
    points[..., 2] = np.clip(points[..., 2], 0.0, 1.0)
    log(
        f"--keypoints {path.name}: {len(points)} frames of {name}, {points.shape[1]} in each at most"
    )
    return GivenKeypoints(str(path), name, points)


def _openpose_folder(folder: Path) -> Float[ndarray, "T N J 3"]:
    files = sorted(folder.glob("*_keypoints.json")) or sorted(folder.glob("*.json"))
    if not files:
        raise UserError(f"--keypoints {folder}: holds no *_keypoints.json. {FORMS}")
    return _padded([_openpose_people(read_json(path), path) for path in files], folder)


def _openpose_people(frame: Any, path: Path) -> list[ndarray]:
    """(J, 3) of everybody in one frame's file of OpenPose."""
    people = frame.get("people") if isinstance(frame, Mapping) else None
    if not isinstance(people, Sequence):
        raise UserError(f"{path}: is no file of OpenPose: it has no list of people. {FORMS}")
    rows = []
    for person in people:
        numbers = np.asarray(person.get("pose_keypoints_2d", []), np.float64)
        if numbers.size % 3 or numbers.size // 3 not in ORDERS:
            raise UserError(f"{path}: {numbers.size} numbers of pose_keypoints_2d. {FORMS}")
        rows.append(numbers.reshape(-1, 3))
    return rows


def _padded(frames: Sequence[Sequence[ndarray]], source: Path) -> Float[ndarray, "T N J 3"]:
    """Frames with unequal numbers of people as one array; zero where there is nobody."""
    counts = {len(row) for rows in frames for row in rows}
    if len(counts) != 1:
        what = "nobody is in any frame" if not counts else f"keypoints of {sorted(counts)} points"
        raise UserError(f"--keypoints {source}: {what}. {FORMS}")
    most = max(len(rows) for rows in frames)
    points = np.zeros((len(frames), most, counts.pop(), 3))
    for t, rows in enumerate(frames):
        for n, row in enumerate(rows):
            points[t, n] = row
    return points


def _json(path: Path) -> Float[ndarray, "T N J C"]:
    """A list of OpenPose's frames, or nested lists."""
    content = read_json(path)
    if isinstance(content, Sequence) and content and isinstance(content[0], Mapping):
        if "people" in content[0]:
            return _padded([_openpose_people(frame, path) for frame in content], path)
        raise UserError(f"--keypoints {path}: cannot be read. {FORMS}")
    return _among(read_arrays(path), path)


def _among(arrays: Mapping[str, ndarray], path: Path) -> Float[ndarray, "T N J C"]:
    """The one array of keypoints in a file."""
    candidates = [arrays[name] for name in NAMES if name in arrays] or list(arrays.values())
    for array in candidates:
        shaped = array[:, None] if array.ndim == 3 else array
        if shaped.ndim == 4 and shaped.shape[-1] in (2, 3) and shaped.shape[-2] in ORDERS:
            return shaped.astype(np.float64)
    shapes = ", ".join(f"{name or 'array'} {array.shape}" for name, array in arrays.items())
    raise UserError(f"--keypoints {path}: no keypoints among {shapes[:300] or 'nothing'}. {FORMS}")
