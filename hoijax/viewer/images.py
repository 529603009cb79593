"""What the camera saw: the bundle of a result, its video frames or masks, its points in the world."""

import contextlib

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.exporters.clip import OBJECT_COLORS, PERSON_COLORS
from hoijax.io.video import read_video
from hoijax.results.observed import FoundBundle

WIDTH = 360  # pixels of an image in the frustum: hundreds of them go through a socket


def camera_images(observed: FoundBundle) -> tuple[UInt8[ndarray, "T h w 3"], str]:
    """A small image for every frame, and what it is: the video, or else the masks."""
    video, count = observed.video, observed.bundle.frame_count
    if video is not None:
        with contextlib.suppress(UserError):
            frames = read_video(video, count).frames
            step = max(frames.shape[2] // WIDTH, 1)
            if len(frames) == count:
                return frames[:, ::step, ::step].copy(), "the video"
    return mask_images(observed.bundle), "the masks (the bundle has no video)"


def mask_images(bundle: Bundle) -> UInt8[ndarray, "T h w 3"]:
    """The masks that the observations were read off, people and objects in their colors."""
    o = bundle.observations
    step = max(o.image_size[1] // WIDTH, 1)
    people = [PERSON_COLORS[p % len(PERSON_COLORS)] for p in range(o.person_count)]
    objects = [OBJECT_COLORS[i % len(OBJECT_COLORS)] for i in range(o.object_count)]
    palette = np.full((256, 3), 0.93)
    listed = np.array([*people, *objects])
    palette[1 : 1 + len(listed)] = listed
    return (palette[o.instance_ids[:, ::step, ::step]] ** (1 / 2.2) * 255).astype(np.uint8)


def points_world(
    points: Float[ndarray, "N T n 3"], Ts_world_pointmap: Float[ndarray, "T 4 4"]
) -> Float[ndarray, "N T n 3"]:
    """Point-map points in the world, by the alignment of the result."""
    turned = points @ Ts_world_pointmap[:, :3, :3].swapaxes(-1, -2)
    return (turned + Ts_world_pointmap[:, None, :3, 3]).astype(np.float32)


def filled(
    points: Float[ndarray, "n 3"], mask: Bool[ndarray, " n"], count: int
) -> Float[ndarray, "{count} 3"]:
    """Exactly `count` valid points, some repeated; far below the ground where there is none."""
    valid = points[mask]
    return np.resize(valid, (count, 3)) if len(valid) else np.full((count, 3), -1e3, np.float32)
