"""Preview images: everything in view, true frame rate, even sides, a sheet of the right frames."""

import dataclasses
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from export_scene import vertices_world
from scipy.spatial.transform import Rotation

from hoijax.bodies.anny import load_anny
from hoijax.errors import UserError
from hoijax.exporters.clip import Clip, make_person
from hoijax.exporters.video import (
    choose_camera,
    clip_meshes,
    contact_sheet,
    render_clip,
    save_preview,
    write_video,
)
from hoijax.geometry.transforms import compose_rigid, invert_rigid
from hoijax.io.video import read_video
from hoijax.objects.asset import load_asset

FRAMES = 5


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A person walking sideways for two metres with a box beside."""
    rotations = np.zeros((FRAMES, 55, 3), np.float32)
    rotations[:, 0, 1] = 1.0
    walk = np.linspace(-1, 1, FRAMES)[:, None] * np.array([1.0, 0.0, 0.3])
    body = load_anny()
    lift = -float(np.asarray(body.template)[:, 1].min())
    person = make_person(
        body,
        rotations,
        (walk + np.array([0, lift, 0])).astype(np.float32),
        np.zeros(10, np.float32),
    )
    turn = Rotation.from_rotvec(np.linspace(0, 2, FRAMES)[:, None] * [0, 1, 0]).as_matrix()
    box = compose_rigid(turn, walk + np.array([0.6, 0.9, 0.4]))
    return Clip(6.0, (person,), (load_asset("box"),), box[None])


def probe(path, *arguments) -> subprocess.CompletedProcess:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), *arguments]
    return subprocess.run(command, capture_output=True, check=False)


def test_the_camera_keeps_the_whole_clip_in_view(clip):
    camera, T_world_camera = choose_camera(clip, 160, 120)
    T = invert_rigid(T_world_camera)
    points = [clip.people[0].vertices_world.reshape(-1, 3)]
    points += [vertices_world(clip, 0, t) for t in range(FRAMES)]
    seen = np.concatenate(points) @ T[:3, :3].T + T[:3, 3]
    assert seen[:, 2].min() > 0.5
    u = seen[:, 0] / seen[:, 2] * camera.fx + camera.cx
    v = seen[:, 1] / seen[:, 2] * camera.fy + camera.cy
    assert 0 < u.min() < u.max() < 160
    assert 0 < v.min() < v.max() < 120
    spread = max(np.ptp(u) / 160, np.ptp(v) / 120)
    assert 0.75 < spread < 0.95  # and no smaller than need be
    forward = T_world_camera[:3, 2]
    facing = np.array([np.sin(1.0), 0, np.cos(1.0)])
    assert forward @ facing < -0.3  # the camera sees the front of the person
    assert T_world_camera[1, 3] > 0.2  # and stands above the ground


def test_a_preview_is_a_playable_video_and_a_sheet(clip, tmp_path):
    calls = []
    video, sheet = save_preview(
        tmp_path, clip, size=(95, 72), progress=lambda *done: calls.append(done)
    )
    assert calls[-1] == (FRAMES, FRAMES)
    said = probe(video).stderr.decode()
    assert "h264" in said
    assert "yuv420p" in said
    assert "96x72" in said
    assert "6 fps" in said
    decoded = probe(video, "-f", "rawvideo", "-pix_fmt", "rgb24", "-").stdout
    frames = np.frombuffer(decoded, np.uint8).reshape(-1, 72, 96, 3)
    assert len(frames) == FRAMES
    rendered = np.stack(list(render_clip(clip, (95, 72))))
    assert np.abs(frames.astype(int) - rendered).mean() < 6  # lossy, but the same images
    assert np.abs(rendered[0].astype(int) - rendered[-1]).mean() > 3  # that move

    from PIL import Image

    with Image.open(sheet) as image:
        assert image.size == (4 * 100 - 4, 3 * 76 - 4)


def test_a_contact_sheet_runs_from_the_first_to_the_last_frame():
    frames = np.zeros((49, 4, 6, 3), np.uint8) + np.arange(49, dtype=np.uint8)[:, None, None, None]
    sheet = contact_sheet(frames)
    shown = [int(sheet[8 * (i // 4), 10 * (i % 4), 0]) for i in range(12)]
    assert shown == [0, 4, 9, 13, 17, 22, 26, 31, 35, 39, 44, 48]
    assert sheet[5, 0, 0] == 255  # the gap


def test_what_ffmpeg_refuses_is_reported(tmp_path):
    frames = np.zeros((2, 5, 6, 3), np.uint8)
    with pytest.raises(UserError, match="even sides"):
        write_video(tmp_path / "a.mp4", frames, 10.0)
    with pytest.raises(UserError, match="could not write"):
        write_video(tmp_path / "nowhere" / "a.mp4", frames[:, :4], 10.0)


def test_a_video_without_loss_keeps_gray_frames(tmp_path):
    """But for the rounding of colors: what is read off a clip's variants is not to differ by their compression."""
    gray = np.random.default_rng(0).integers(16, 235, (3, 32, 48, 1), np.uint8).repeat(3, axis=-1)
    kept, lossy = (
        read_video(write_video(tmp_path / f"{loss}.mp4", gray, 10.0, loss=loss)).frames.astype(int)
        for loss in (0, 18)
    )
    assert np.abs(kept - gray).max() <= 2
    assert np.abs(lossy - gray).max() > 2


def test_skin_is_tinted_where_it_touches_an_object(clip):
    person, box = clip.people[0], clip.assets[0]
    chosen = int(np.argmax(person.vertices_world[0, :, 0]))  # a finger tip of the T-pose
    point = person.vertices_world[0, chosen]
    pose = compose_rigid(np.eye(3), point - box.samples[0]).astype(np.float32)
    touching = dataclasses.replace(
        clip, Ts_world_object=np.tile(pose, (1, FRAMES, 1, 1)).astype(np.float32)
    )
    plain, tinted = clip_meshes(clip, 0)[0], clip_meshes(touching, 0)[0]
    assert len(np.unique(plain.color, axis=0)) == 1
    at_finger = (tinted.faces == chosen).any(axis=1)
    redness = tinted.color[:, 0] - tinted.color[:, 2]
    assert redness[at_finger].min() > redness.min() + 0.2
    distance = np.linalg.norm(person.vertices_world[0] - point, axis=-1)
    far = (distance > 1.0)[tinted.faces].all(axis=1)
    assert np.ptp(redness[far]) == 0


def test_frames_are_encoded_as_they_are_drawn(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (30, 32, 48, 3), np.uint8)
    whole = write_video(tmp_path / "whole.mp4", frames, 10.0)
    streamed = write_video(tmp_path / "streamed.mp4", iter(frames), 10.0)
    assert streamed.read_bytes() == whole.read_bytes()


def test_a_frame_that_cannot_be_drawn_ends_the_encoder(tmp_path):
    def drawn():
        yield np.zeros((32, 48, 3), np.uint8)
        raise ValueError("no second frame")

    with pytest.raises(ValueError, match="no second frame"):
        write_video(tmp_path / "a.mp4", drawn(), 10.0)
