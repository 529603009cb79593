"""Files of the user that stand in for a stage or a model. Checked before work starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.importers.body_meshes import is_body_meshes, read_body_meshes
from hoijax.importers.body_tracks import read_body_tracks
from hoijax.importers.containers import read_arrays
from hoijax.importers.intrinsics import GivenIntrinsics
from hoijax.importers.keypoints import read_keypoints
from hoijax.importers.masks import read_label_masks
from hoijax.importers.points import read_points
from hoijax.io.photographs import read_photograph
from hoijax.io.video import Video, write_video
from hoijax.progress import Log, silent
from priors.models.body_from_file import FileBody
from priors.models.body_from_meshes import FileMeshes
from priors.models.from_files import FileKeypoints, FilePoints, entries_of
from priors.settings import GivenMasks

__all__ = ["camera_of", "encode_video", "masks_of", "read_image", "read_masks", "read_source"]


def read_image(path: Path) -> UInt8[ndarray, "H W 3"]:
    """An RGB image, turned upright as its metadata say. UserError where there is none."""
    _must_be_file(path, "--image")
    return read_photograph(path, "--image")


def encode_video(video: Video, path: Path) -> None:
    """Write a clip as an mp4 for people to look at, its sides cut to even ones."""
    height, width = (side - side % 2 for side in video.frames.shape[1:3])  # as the codec needs
    write_video(path, np.ascontiguousarray(video.frames[:, :height, :width]), video.fps)


def read_masks(
    path: Path, objects: Sequence[str] = (), people: int | None = None, log: Log = silent
) -> GivenMasks:
    """Label images, masks by object, npz or COCO RLE: see `hoijax.importers.masks`."""
    return GivenMasks(*read_label_masks(path, objects, people, log))


def read_source(role: str, path: Path, body: str | None = None, log: Log = silent) -> Any:
    """The file that stands for a role's model: keypoints, geometry (point maps), or body.

    body: the user's body model file, on which recovered bodies are then put.
    """
    if role == "body":
        if is_body_meshes(path):
            return FileMeshes(read_body_meshes(path), body or "anny")
        if path.suffix == ".npz" and {"pred_vertices", "vertices"} & read_arrays(path).keys():
            return FileMeshes(read_body_meshes(path), body or "anny")
        return FileBody(read_body_tracks(path), body or "anny")
    if role == "keypoints":
        return FileKeypoints(read_keypoints(path, log))
    return FilePoints(read_points(path, log))


def masks_of(
    masks: GivenMasks, path: Path | None, numbers: Int[ndarray, " T"], log: Log
) -> GivenMasks:
    """The masks of the frames that are read."""
    entries = entries_of("--masks", str(path), len(masks.instance_ids), numbers, log)
    return masks.of_frames(entries)


def camera_of(camera: GivenIntrinsics, numbers: Int[ndarray, " T"], log: Log) -> GivenIntrinsics:
    """The cameras of the frames that are read, where each frame has its own."""
    if camera.matrices is None or len(camera.matrices) == 1:
        return camera
    count = len(camera.matrices)
    return camera.of_frames(entries_of("--intrinsics", camera.source, count, numbers, log))


def _must_be_file(path: Path, flag: str) -> None:
    if not path.is_file():
        raise UserError(f"{flag} {path}: there is no such file.")
