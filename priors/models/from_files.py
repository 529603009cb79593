"""What the user already ran, in place of models: keypoints, point maps and bodies out of files.

They have the roles' protocols, so that stages cannot tell them from networks.
"""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.importers.intrinsics import GivenIntrinsics, intrinsics_of_points
from hoijax.importers.keypoints import GivenKeypoints
from hoijax.importers.points import GivenPoints
from hoijax.progress import Log, silent
from priors.models.point_maps import assemble
from priors.protocols import ModelId, PointMaps

FARTHEST = 100.0
"""Metres: where nothing is nearer, depth is in another unit."""
__all__ = ["FileKeypoints", "FilePoints", "check_length", "entries_of", "file_id", "part_id"]


def file_id(path: str | Path) -> ModelId:
    """A file or folder as a model: its name, and a hash of what it holds."""
    path, total = Path(path), hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        total.update(f"{file.relative_to(path.parent).as_posix()}\0".encode())
        total.update(file.read_bytes())
    return ModelId(f"file {path.name}", total.hexdigest()[:16])


def check_length(flag: str, source: str, count: int, frames: int, log: Log = silent) -> None:
    """UserError where a file has fewer frames than the clip; that it has more is said to `log`."""
    if count < frames:
        raise UserError(
            f"{flag} {source}: has {count} frames, the clip {frames}. Give a file of every frame of the "
            f"clip, or --frames {count}."
        )
    if count > frames:
        log(f"{flag} {Path(source).name}: has {count} frames, the first {frames} are used")


def entries_of(
    flag: str, source: str, count: int, numbers: Int[ndarray, " T"], log: Log = silent
) -> Int[ndarray, " T"]:
    """Which entries of a file with `count` are of the frames that are read, by their numbers in the clip's file.

    A file has one for each frame of the clip, or of those that are read, as `hoijax mask --seconds` writes.
    Which is said to `log`. UserError for other numbers of entries.
    """
    first, last, read = int(numbers[0]), int(numbers[-1]), len(numbers)
    if count > last:
        step = int(numbers[1] - numbers[0]) if read > 1 else 1
        which = "" if step == 1 else f", one of {step},"
        log(
            f"{flag} {Path(source).name}: of {count} frames, {first} to {last}{which} are used, as of the clip"
        )
        return numbers
    if count == read:
        log(f"{flag} {Path(source).name}: has {count} frames, as many as are read of the clip")
        return np.arange(count)
    raise UserError(
        f"{flag} {source}: has {count} frames; of the clip {read} are read, {first} to {last}. Give a file of "
        f"every frame of the clip, or of the {read}."
    )


def part_id(whole: ModelId, entries: Int[ndarray, " T"]) -> ModelId:
    """A file of which some entries are used, as a model."""
    used = hashlib.sha256(np.asarray(entries, np.int64).tobytes()).hexdigest()[:8]
    return dataclasses.replace(whole, revision=f"{whole.revision}-{used}")


class FileKeypoints:
    """`KeypointModel` of a file: in every frame the candidate that lies in the person's box."""

    def __init__(self, given: GivenKeypoints):
        self.given, self.model_id = given, file_id(given.source)

    def check_clip(self, frames: int, height: int, width: int, log: Log = silent) -> None:
        """UserError where the file is of another clip."""
        check_length("--keypoints", self.given.source, len(self.given.points), frames, log)
        self.given.check_size(width, height)
        if not (self.given.points[:frames, ..., 2] > 0).any():
            raise UserError(
                f"--keypoints {self.given.source}: no keypoint of the clip's {frames} frames is a number with a "
                "confidence above 0. Give another file, or omit --keypoints."
            )

    def measured_at(self, size: tuple[int, int], scale: float) -> None:
        """The file is of a larger clip (width, height), which is read at `scale` times its size."""
        factor = np.array([scale, scale, 1.0], np.float32)
        self.given = dataclasses.replace(self.given, points=self.given.points * factor)

    def of_frames(self, numbers: Int[ndarray, " T"], log: Log = silent) -> None:
        """Only some frames of the file's clip are read, of these numbers. UserError where they are not there."""
        points = self.given.points
        entries = entries_of("--keypoints", self.given.source, len(points), numbers, log)
        self.given = dataclasses.replace(self.given, points=points[entries])
        self.model_id = part_id(self.model_id, entries)

    def keypoints(
        self,
        frames: UInt8[ndarray, "T H W 3"],
        boxes: Float[ndarray, "T 4"],
        present: Bool[ndarray, " T"],
    ) -> Float[ndarray, "T 18 3"]:
        """Zero confidence where the person is not present, and outside of the image."""
        height, width = frames.shape[1:3]
        chosen = self.given.of_box(np.asarray(boxes, np.float32), present)
        inside = ((chosen[..., :2] >= 0) & (chosen[..., :2] <= (width, height))).all(-1)
        chosen[..., 2] *= inside
        return chosen


class FilePoints:
    """`GeometryModel` of a file: its depth at the clip's size, seen through one camera.

    The camera is the asked one, else the file's, else the one that the points themselves tell.
    """

    def __init__(self, given: GivenPoints):
        self.given, self.model_id = given, file_id(given.source)

    def check_clip(self, frames: int, height: int, width: int, log: Log = silent) -> None:
        """UserError where the file is of another clip, or of depth without a camera."""
        check_length("--points", self.given.source, len(self.given.depth), frames, log)
        rows, columns = self.given.depth.shape[1:]
        near = self.given.depth[:frames][self.given.valid[:frames]]
        if not near.size or np.percentile(near, 5) > FARTHEST:
            what = (
                "holds no valid depth"
                if not near.size
                else f"nothing is nearer than {FARTHEST:g} m"
            )
            raise UserError(
                f"--points {self.given.source}: {what}. Give depth along z in metres, not in millimetres or as "
                "disparity."
            )
        if abs(rows * width / (columns * height) - 1) > 0.02:
            raise UserError(
                f"--points {self.given.source}: maps of {columns} x {rows} pixels, the clip has "
                f"{width} x {height}: another aspect. Give maps of the clip itself."
            )
        if (rows, columns) != (height, width):
            log(f"points: resized from {columns} x {rows} to {width} x {height} pixels (nearest)")

    def check_camera(self) -> None:
        """UserError for depth without a camera, where none is given beside it."""
        if self.given.intrinsics is None and self.given.points is None:
            raise UserError(
                f"--points {self.given.source}: depth without a camera. Give --intrinsics (docs/"
                "bring-your-own.md), or points instead of depth."
            )

    def measured_at(self, size: tuple[int, int], scale: float) -> None:
        """Maps have a size of their own: nothing to do."""

    def of_frames(self, numbers: Int[ndarray, " T"], log: Log = silent) -> None:
        """Only some frames of the file's clip are read, of these numbers. UserError where they are not there."""
        given = self.given
        entries = entries_of("--points", given.source, len(given.depth), numbers, log)
        self.given = dataclasses.replace(
            given,
            depth=given.depth[entries],
            valid=given.valid[entries],
            points=None if given.points is None else given.points[entries],
            intrinsics=given.intrinsics and given.intrinsics.of_frames(entries),
        )
        self.model_id = part_id(self.model_id, entries)

    def point_maps(
        self,
        frames: UInt8[ndarray, "T H W 3"],
        intrinsics: Float[ndarray, "T 3 3"] | None = None,
    ) -> PointMaps:
        """Depth of the file along the rays of the camera; depth edges are invalid."""
        count, height, width = frames.shape[:3]
        rows, columns = self.given.depth.shape[1:]
        v = ((np.arange(height) + 0.5) * rows / height).astype(int)[:, None]
        u = ((np.arange(width) + 0.5) * columns / width).astype(int)
        depth, valid = (a[:count, v, u] for a in (self.given.depth, self.given.valid))
        if intrinsics is None:
            camera = self.given.intrinsics or self._own_camera()
            camera = camera.measured_at((columns, rows))
            intrinsics = frames_of(camera, count, height, width)
        return assemble(depth, valid, np.asarray(intrinsics, np.float64))

    def _own_camera(self) -> GivenIntrinsics:
        self.check_camera()
        assert self.given.points is not None
        return intrinsics_of_points(self.given.points, self.given.valid, self.given.source)


def frames_of(
    camera: GivenIntrinsics, count: int, height: int, width: int
) -> Float[ndarray, "T 3 3"]:
    """A camera for every frame. UserError where it has another number of frames."""
    matrices = camera.at(width, height)
    if len(matrices) == 1:
        return np.repeat(matrices, count, axis=0)
    if len(matrices) < count:
        raise UserError(
            f"{camera.source}: intrinsics of {len(matrices)} frames, the clip has {count}. Give one "
            "matrix, or one for every frame."
        )
    return matrices[:count]
