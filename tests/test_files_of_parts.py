"""Files with an entry for each frame of a clip of which not all is read: they are cut with it."""

import subprocess

import numpy as np
import pytest
import tiny_priors as tiny

from hoijax.errors import UserError
from hoijax.io.clip_intake import read_clip
from hoijax.io.video import ffmpeg_executable
from priors.models.body_from_file import FileBody
from priors.observe.run import ObserveOptions

COUNT, HEIGHT, WIDTH = 90, 48, 64
KEYS = ("masks", "keypoints", "points", "intrinsics", "body")


def numbered_clip(path, rate, *output):
    """The gray level of a frame is twice its number."""
    source = f"color=black:size={WIDTH}x{HEIGHT}:rate={rate}:duration=10"
    gray = f"format=gray,geq=lum='2*N',trim=end_frame={COUNT}"
    command = [ffmpeg_executable(), "-y", "-loglevel", "error", "-f", "lavfi", "-i", source]
    subprocess.run([*command, "-vf", gray, *output, str(path)], check=True)
    return path


def numbers_seen(frames):
    return (frames.mean((1, 2, 3)) / 2).round().astype(int)


@pytest.mark.parametrize("rate", [15, "30000/1001", 60])
@pytest.mark.parametrize("span", [(0.0, 0.9), (0.51, 1.0), (1.0 / 3.0, 1.2)])
def test_frames_are_known_by_their_number_in_the_file(tmp_path, rate, span):
    clip = read_clip(
        numbered_clip(tmp_path / "a.mkv", rate, "-c:v", "ffv1"), seconds=span, numbered=True
    )
    assert clip.numbers is not None
    assert clip.numbers.tolist() == numbers_seen(clip.video.frames).tolist()


def test_a_part_of_a_file_without_index_begins_where_it_should(tmp_path):
    """A transport stream is entered at a keyframe, which may be later than asked."""
    h264 = ("-c:v", "libx264", "-g", "24", "-qp", "4", "-pix_fmt", "yuv420p")
    path = numbered_clip(tmp_path / "a.ts", 30, *h264)
    clip = read_clip(path, seconds=(1.0, 2.0), numbered=True)
    assert clip.numbers is not None
    assert (clip.numbers[0], len(clip.numbers)) == (30, 30)
    assert np.abs(numbers_seen(clip.video.frames) - clip.numbers).max() <= 1


def files_of(folder, count):
    """Options of files whose entry n says n: where the mask is, the keypoints' u, depth, focal length, betas."""
    n = np.arange(count)
    people, boxes = np.zeros((2, count, HEIGHT, WIDTH), bool)
    people[n, 5:20, n % WIDTH] = True
    boxes[:, 30:40, :5] = True
    np.savez(folder / "masks.npz", masks=np.stack([people, boxes]))
    keypoints = np.ones((count, 17, 3))
    keypoints[..., 0] = (0.5 * n)[:, None]
    np.savez(folder / "keypoints.npz", keypoints=keypoints)
    depth = np.ones((count, HEIGHT, WIDTH)) * (1.0 + n)[:, None, None]
    np.savez(folder / "points.npz", depth=depth)
    cameras = np.tile(np.array([[0.0, 0, 32], [0, 100, 24], [0, 0, 1]]), (count, 1, 1))
    cameras[:, 0, 0] = 100 + n
    np.savez(folder / "camera.npz", intrinsics=cameras)
    pose = np.zeros((count, 63))
    pose[:, 0] = 0.01 * n
    named = {"body_pose": pose, "global_orient": np.zeros((count, 3)), "betas": np.zeros(10)}
    named["transl"] = np.tile([0.0, 0, 3], (count, 1))
    np.savez(folder / "body.npz", **{f"smpl_params_incam/{k}": v for k, v in named.items()})
    return {
        "masks": folder / "masks.npz",
        "points": folder / "points.npz",
        "intrinsics": str(folder / "camera.npz"),
        "names": {"keypoints": str(folder / "keypoints.npz"), "body": str(folder / "body.npz")},
        "prior": "packaged",
        "camera": "static",
        "whole_clip": True,
    }


def entries_in(request):
    """Which entries of `files_of` a request has, by what they are of."""
    keypoints, geometry, body = (request.sources[k] for k in ("keypoints", "geometry", "body"))
    count, track = len(request.video.frames), body.tracks[0]
    rows = body._rows(track, count)
    pose = np.interp(rows, np.arange(len(track.joint_rotations)), track.joint_rotations[:, 1, 0])
    found = {
        "masks": (request.masks.instance_ids == 1).any(1).argmax(1),
        "keypoints": 2 * keypoints.given.points[:, 0, 0, 0],
        "points": geometry.given.depth[:, 0, 0] - 1,
        "intrinsics": request.intrinsics.matrices[:, 0, 0] - 100,
        "body": 100 * pose,
    }
    return {key: np.round(value).astype(int).tolist() for key, value in found.items()}


@pytest.mark.parametrize("rate", [30, 60])
def test_files_are_cut_with_their_clip(tmp_path, rate):
    """Of 90 frames those from 1 s on, and of 60 a second every other one."""
    clip = numbered_clip(tmp_path / "a.mkv", rate, "-c:v", "ffv1")
    options = ObserveOptions(video=clip, seconds="0.5:1.0", **files_of(tmp_path, COUNT))
    said: list[str] = []
    request = options.request("", tiny.answers().assets[:1], said.append)
    assert request.video is not None
    wanted = numbers_seen(request.video.frames)
    assert wanted.tolist() == list(range(rate // 2, rate, rate // 30))
    found = entries_in(request)
    assert found.pop("masks") == (wanted % WIDTH).tolist()
    assert all(entries == wanted.tolist() for entries in found.values()), found
    step = ", one of 2," if rate == 60 else ""
    last = wanted[-1]
    assert (
        f"--masks masks.npz: of 90 frames, {wanted[0]} to {last}{step} are used, as of the clip"
        in said
    )
    assert sum("as of the clip" in line for line in said) == len(KEYS)


def test_files_of_the_part_itself_are_taken_as_they_are(tmp_path):
    """As `hoijax mask --seconds` writes them; any other number of entries is refused."""
    clip = numbered_clip(tmp_path / "a.mkv", 30, "-c:v", "ffv1")
    options = ObserveOptions(video=clip, seconds="1:1.5", **files_of(tmp_path, 15))
    found = entries_in(options.request("", tiny.answers().assets[:1]))
    assert all(entries == list(range(15)) for entries in found.values()), found
    files_of(tmp_path, 40)
    with pytest.raises(UserError, match="has 40 frames; of the clip 15 are read, 30 to 44"):
        options.request("", tiny.answers().assets[:1])


def test_a_part_is_no_other_parts_result(tmp_path):
    """The store tells entries of one file apart."""
    options = files_of(tmp_path, COUNT)
    clip = numbered_clip(tmp_path / "a.mkv", 30, "-c:v", "ffv1")
    ids = set()
    for span in ("0:0.5", "1:1.5"):
        request = ObserveOptions(video=clip, seconds=span, **options).request(
            "", tiny.answers().assets[:1]
        )
        assert isinstance(request.sources["body"], FileBody)
        ids |= {source.model_id.revision for source in request.sources.values()}
    assert len(ids) == 6
