"""The solved bodies and objects drawn over the clip they were read off, beside the clip itself."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.exporters.clip import Clip, ClipView
from hoijax.exporters.options import ExportOptions
from hoijax.exporters.video import MAX_THREADS, clip_meshes
from hoijax.geometry.camera import PinholeCamera
from hoijax.io.video import read_video, write_video
from hoijax.rendering.raycast import CastImage, cast

FORMAT = "overlay"
FILE = "overlay.mp4"
OPACITY = 0.7
"""Of what is drawn; its outline is opaque, so that a shift of a pixel is seen."""
MAX_WIDTH = 960
"""Pixels of a frame; larger clips are drawn at every second, third ... pixel."""


def write(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    """overlay.mp4 at the clip's own frame rate: left the clip, right what was solved drawn over it.

    UserError where the clip that the result was read off is not there any more.
    """
    if clip.view is None:
        raise UserError(
            "an overlay is drawn over the clip that a result was read off, and there is none: scenes made "
            "by rules have no video, and of others the bundle named in run.json must lie where it did, "
            "unchanged, with its video.mp4."
        )
    frames, step = _frames(clip.view, clip.frame_count)
    drawn = []
    for frame in overlaid(clip, frames, step):
        drawn.append(frame)
        if options.progress:
            options.progress(len(drawn), len(frames))
    sides = np.stack([np.concatenate(pair, axis=1) for pair in zip(frames, drawn, strict=True)])
    return [write_video(folder / FILE, sides, clip.fps)]


def overlaid(
    clip: Clip, frames: UInt8[ndarray, "T H W 3"], step: int = 1
) -> Iterator[UInt8[ndarray, "H W 3"]]:
    """Every frame with the solved meshes over it; step: the clip's pixels for one of these."""
    assert clip.view is not None
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_THREADS)) as threads:
        yield from threads.map(
            lambda t: _over(frames[t], seen(clip, t, frames, step)), range(len(frames))
        )


def seen(clip: Clip, frame: int, frames: UInt8[ndarray, "T H W 3"], step: int = 1) -> CastImage:
    """What the clip's own camera sees of the solved meshes in a frame, at the size of `frames`."""
    view = clip.view
    assert view is not None
    k = view.intrinsics[frame] / np.array([[step], [step], [1]])
    height, width = frames.shape[1:3]
    fx, fy, cx, cy = (float(number) for number in (k[0, 0], k[1, 1], k[0, 2], k[1, 2]))
    camera = PinholeCamera(fx, fy, cx, cy, width, height)
    return cast(clip_meshes(clip, frame), camera, view.Ts_world_camera[frame])


def _frames(view: ClipView, count: int) -> tuple[UInt8[ndarray, "T H W 3"], int]:
    """(frames with even sides and not too wide, the clip's pixels for one of theirs)."""
    frames = read_video(view.video, count).frames
    if len(frames) < count:
        raise UserError(
            f"{view.video} has {len(frames)} frames, the result {count}: it is another clip."
        )
    step = -(-frames.shape[2] // MAX_WIDTH)
    frames = frames[:, ::step, ::step]
    height, width = (side - side % 2 for side in frames.shape[1:3])
    return np.ascontiguousarray(frames[:, :height, :width]), step


def _over(frame: UInt8[ndarray, "H W 3"], image: CastImage) -> UInt8[ndarray, "H W 3"]:
    """A frame with meshes over it, lit from the camera; outlines dark."""
    is_mesh = image.instance_ids > 0
    drawn = frame.copy()
    pixels = np.flatnonzero(is_mesh.reshape(-1))
    hits = image.hits.subset(pixels)
    toward = np.abs(image.scene.smooth_normals(hits) @ image.T_world_camera[:3, 2])
    linear = image.scene.colors[hits.face_ids] * (0.25 + 0.75 * toward[:, None])
    shown = 255 * np.clip(linear, 0, 1) ** (1 / 2.2)
    flat = drawn.reshape(-1, 3)
    flat[pixels] = (OPACITY * shown + (1 - OPACITY) * flat[pixels]).astype(np.uint8)
    ids = np.pad(image.instance_ids, 1, mode="edge")
    edge = (ids[1:-1, 1:-1] != ids[1:-1, 2:]) | (ids[1:-1, 1:-1] != ids[2:, 1:-1])
    drawn[edge] = (30, 30, 40)
    return drawn
