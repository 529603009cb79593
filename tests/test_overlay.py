"""The overlay: meshes where the clip's camera saw them, beside the clip; and no overlay without a clip."""

import dataclasses

import numpy as np
import pytest
from export_scene import FRAMES, export_clip

from hoijax.errors import UserError
from hoijax.exporters.clip import ClipView
from hoijax.exporters.formats import write_formats
from hoijax.exporters.overlay import overlaid, seen
from hoijax.exporters.video import clip_meshes
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import look_at
from hoijax.io.video import read_video, write_video
from hoijax.rendering.raycast import cast

GREY = 120
CAMERA = PinholeCamera.from_field_of_view(45.0, 97, 72)  # an odd side is cut


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """(clip with its view, frames): a grey film, so that what is drawn is what differs."""
    path = tmp_path_factory.mktemp("film") / "clip.mp4"
    frames = np.full((FRAMES, CAMERA.height, CAMERA.width - 1, 3), GREY, np.uint8)
    write_video(path, frames, 30.0)
    poses = np.stack(
        [look_at(np.array([0.1 * t, 1.5, 5.0]), np.array([0, 1, 0])) for t in range(FRAMES)]
    )
    view = ClipView(path, np.tile(CAMERA.matrix.astype(np.float64), (FRAMES, 1, 1)), poses)
    return dataclasses.replace(export_clip(), view=view), frames


def test_what_is_drawn_is_where_the_camera_sees_it(filmed):
    clip, frames = filmed
    for t, drawn in enumerate(overlaid(clip, frames)):
        wanted = cast(clip_meshes(clip, t), CAMERA, clip.view.Ts_world_camera[t]).instance_ids > 0
        changed = (drawn != GREY).any(-1)
        assert wanted.sum() > 100
        missed = (changed != wanted[:, :-1]).mean()  # but for the outline, a pixel wide
        assert missed < 0.02


def test_a_large_clip_is_drawn_at_every_second_pixel(filmed):
    clip, frames = filmed
    half = seen(clip, 0, frames[:, ::2, ::2], 2).instance_ids
    whole = seen(clip, 0, frames).instance_ids
    assert (half != whole[::2, ::2]).mean() < 0.05


def test_the_file_has_the_clip_and_the_overlay_side_by_side(filmed, tmp_path):
    clip, frames = filmed
    (path,) = write_formats(clip, tmp_path, ["overlay"])
    video = read_video(path)
    assert video.frames.shape == (FRAMES, 72, 2 * 96, 3)
    off = np.abs(video.frames[:, :, :96].astype(int) - frames)
    assert np.median(off) <= 3
    assert np.abs(video.frames[:, :, 96:].astype(int) - frames).max() > 60


def test_without_its_clip_there_is_no_overlay(filmed, tmp_path):
    with pytest.raises(UserError, match="no video"):
        write_formats(export_clip(), tmp_path, ["overlay"])
    clip, frames = filmed
    write_video(tmp_path / "short.mp4", frames[:2], 30.0)
    short = dataclasses.replace(
        clip, view=dataclasses.replace(clip.view, video=tmp_path / "short.mp4")
    )
    with pytest.raises(UserError, match="another clip"):
        write_formats(short, tmp_path, ["overlay"])
    assert not (tmp_path / "overlay.mp4").exists()
