"""Clips as phones, cameras and editors write them, made ready to be observed or refused."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from hoijax.errors import UserError
from hoijax.io import clip_intake
from hoijax.io.clip_intake import parse_seconds, read_clip
from hoijax.io.video import ffmpeg_executable
from priors.observe.run import ObserveOptions

H264 = ("-c:v", "libx264", "-preset", "ultrafast")


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Writes a clip of ffmpeg's test source; (name, what comes before -i, what after)."""
    folder = tmp_path_factory.mktemp("clips")

    def make(name, *output, source="testsrc2=size=64x48:rate=24:duration=0.5", before=()):
        path = folder / name
        inputs = ("-f", "lavfi", "-i", source) if isinstance(source, str) else ("-i", *source)
        command = [ffmpeg_executable(), "-y", "-loglevel", "error", *before, *inputs, *output]
        subprocess.run([*command, str(path)], check=True)
        return path

    return make


def read(path, **options):
    said: list[str] = []
    return read_clip(path, log=said.append, **options), said


def test_a_plain_clip_is_read_as_it_is(make):
    clip, said = read(make("plain.mp4", *H264))
    assert clip.video.frames.shape == (12, 48, 64, 3)
    assert (clip.video.fps, clip.scale, clip.resampled, said) == (24.0, 1.0, False, [])


def test_a_phone_clip_stands_upright(make):
    plain = make("flat.mp4", *H264)
    turned = make("turned.mp4", "-c", "copy", source=[plain], before=("-display_rotation", "90"))
    clip, said = read(turned)
    assert clip.video.frames.shape[1:3] == (64, 48)
    assert said == ["video: turned upright as its metadata say, 48 x 64 pixels"]
    flat = read(plain)[0].video.frames
    off = np.abs(clip.video.frames.astype(int) - np.rot90(flat, axes=(1, 2)))
    assert off.mean() < 3


@pytest.mark.parametrize(("fps", "kept"), [(60, 30.0), (50, 25.0), (120, 30.0)])
def test_fast_clips_are_resampled(make, fps, kept):
    path = make(f"fast{fps}.mp4", *H264, source=f"testsrc2=size=64x48:rate={fps}:duration=0.5")
    clip, said = read(path)
    assert clip.video.fps == kept
    assert len(clip.video.frames) == pytest.approx(0.5 * kept, abs=1)
    assert clip.resampled
    assert said == [f"video: resampled from {fps} to {kept:g} frames a second"]


def test_frames_at_uneven_times_are_resampled(make):
    uneven = "settb=1/1000,setpts='N*40+if(gt(N,4),200,0)'"
    path = make("uneven.mkv", "-vf", uneven, "-fps_mode", "vfr", *H264)
    clip, said = read(path)
    assert "uneven times" in said[0]
    assert len(clip.video.frames) / clip.video.fps == pytest.approx(0.64, abs=0.1)
    assert clip.resampled
    said.clear()
    ObserveOptions(video=path, hints=("box=3:9,9",), camera="static").seen_clip(said.append)
    assert "hints: their frames are counted in what is read, 24 a second, from 0" in said
    with pytest.raises(
        UserError, match="one for each frame"
    ):  # nobody knows which of them were left out
        ObserveOptions(video=path, masks=Path("masks.npz")).seen_clip()


def test_times_rounded_by_the_file_are_even(make):
    clip, said = read(make("rounded.mkv", *H264))  # milliseconds: steps of 41 and 42
    assert (clip.video.frames.shape[0], clip.video.fps, said) == (12, 24.0, [])


def test_a_large_clip_is_made_smaller(make):
    path = make("large.mp4", *H264, source="testsrc2=size=3840x2160:rate=10:duration=0.4")
    clip, said = read(path)
    assert clip.video.frames.shape[1:3] == (720, 1280)
    assert clip.scale == pytest.approx(1 / 3)
    assert said == ["video: resized from 3840 x 2160 to 1280 x 720 pixels"]


def test_transparency_is_dropped(make):
    path = make("clear.mov", "-pix_fmt", "rgba", "-c:v", "qtrle")
    assert read(path)[1] == ["video: its transparency is dropped"]
    beside = "format=yuva420p", "-c:v", "libvpx-vp9", "-auto-alt-ref", "0"
    assert read(make("clear.webm", "-vf", *beside))[1] == ["video: its transparency is dropped"]


def test_hdr_is_tone_mapped(make):
    tags = "setparams=color_trc=smpte2084:colorspace=bt2020nc:color_primaries=bt2020"
    path = make("hdr.mp4", "-vf", f"format=yuv420p10le,{tags}", *H264)
    clip, said = read(path)
    assert said == ["video: HDR10 (PQ) is tone-mapped to standard range"]
    assert np.ptp(clip.video.frames) > 50


def test_a_part_of_a_clip(make):
    path = make("long.mp4", *H264, source="testsrc2=size=64x48:rate=10:duration=4")
    whole, _ = read(path)
    part, _ = read(path, seconds=(1.0, 2.0))
    assert len(part.video.frames) == 10
    off = np.abs(part.video.frames.astype(int) - whole.video.frames[10:20])
    assert off.mean() < 2
    assert len(read(path, frames=7)[0].video.frames) == 7


def test_what_is_too_long_is_refused_before_it_is_decoded(make, monkeypatch):
    path = make("hour.mp4", *H264, source="testsrc2=size=64x48:rate=10:duration=4")
    monkeypatch.setattr(clip_intake, "MAX_BYTES", 20 * 64 * 48 * 3)
    with pytest.raises(
        UserError, match=r"40 frames are more .* \(20 of this size, 2 s\).*--seconds"
    ):
        read(path)
    assert len(read(path, seconds=(0.5, 1.5))[0].video.frames) == 10


def test_fields_are_made_whole_frames(make):
    fields = "tinterlace=interleave_top,setfield=tff"
    path = make("fields.mp4", "-vf", fields, "-flags", "+ildct+ilme", "-c:v", "libx264")
    clip, said = read(path)
    assert said == ["video: interlaced; its fields are made whole frames, 12 a second"]
    assert len(clip.video.frames) == 6


def test_a_gif_keeps_its_time(make):
    """It counts hundredths of a second: 15 frames a second are 6 and 7 of them apart."""
    clip, _ = read(make("a.gif", source="testsrc2=size=64x48:rate=15:duration=2"))
    assert (len(clip.video.frames), clip.video.fps) == (30, pytest.approx(15.0, rel=0.005))


def test_damage_is_said(make):
    whole = make("whole.mkv", *H264, source="testsrc2=size=64x48:rate=24:duration=2")
    (cut := whole.with_name("cut.mkv")).write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    clip, said = read(cut)
    count = len(clip.video.frames)
    assert 3 <= count < 40
    assert (
        f"the file is damaged (File ended prematurely); {count} frames are read of 48" in said[-1]
    )


def test_images_that_end_before_the_sound_are_said(make):
    sound = ("-f", "lavfi", "-i", "sine=duration=3", "-c:a", "aac")
    _, said = read(make("sound.mp4", *sound, *H264))
    assert said == [
        "video: its images end before the file does; 12 frames are read of 72, 0.5 s of 3"
    ]


def test_what_there_is_no_room_for_is_refused_before_it_is_decoded(make):
    asked = []

    def admit(frames, size):
        asked.append((frames, size))
        raise UserError("no room")

    with pytest.raises(UserError, match="no room"):
        read(make("plain.mp4", *H264), admit=admit)
    assert asked == [(12, (48, 64))]


REFUSED = {
    "two.mp4": ("testsrc2=size=64x48:rate=10:duration=0.2", H264, "has 2 frames, a motion needs"),
    "sound.m4a": ("sine=duration=0.3", (), "holds sound but no moving images"),
    "flat.mp4": (
        "testsrc2=size=64x48:rate=10:duration=0.5",
        ("-vf", "setsar=4/3", *H264),
        "pixels that are not square",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_shows_no_motion_is_refused(make, name):
    source, output, problem = REFUSED[name]
    with pytest.raises(UserError, match=problem):
        read(make(name, *output, source=source))


def test_what_is_no_video_is_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(UserError, match="there is no video"):
        read_clip(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match="is not a video that ffmpeg can read"):
        read_clip(tmp_path / "text.mp4")


def test_seconds_are_read():
    assert parse_seconds("1.5:4") == (1.5, 4.0)
    for text in ("4", "4:2", "a:b", "-1:3", "0:inf"):
        with pytest.raises(UserError, match=r"cannot be read. Write START:END"):
            parse_seconds(text)


def test_a_part_behind_the_end_is_refused(make):
    path = make("short.mp4", *H264)
    with pytest.raises(UserError, match=r"--seconds 3:4: .* ends at 0.5 s"):
        read(path, seconds=(3.0, 4.0))
