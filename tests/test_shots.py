"""Hard cuts are found, pans, flashes and quick people are none."""

import numpy as np
import pytest

from hoijax.errors import UserError
from hoijax.io.shots import check_one_shot, cuts_of
from hoijax.io.video import Video


def scene(seed: int, count: int, speed: int = 1) -> np.ndarray:
    """A camera that pans over a wide picture of broad stripes and blots, with a little noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 235, (6, 24, 3)).repeat(16, axis=0).repeat(16, axis=1)
    frames = np.stack([coarse[:, speed * t : speed * t + 128] for t in range(count)])
    return np.clip(frames + rng.normal(0, 3, frames.shape), 0, 255).astype(np.uint8)


def test_the_first_frames_of_shots_are_found():
    clip = np.concatenate([scene(0, 12), scene(1, 20, 4), scene(2, 5)])
    assert cuts_of(clip) == [12, 32]
    with pytest.raises(
        UserError, match=r"cut 2 times \(at 5\.20, 7\.20 s\).*--seconds 5\.15:7\.15"
    ):
        check_one_shot(Video(clip, 10.0), start=4.0)


def test_pans_flashes_and_people_who_pass_are_no_cuts():
    assert cuts_of(scene(0, 30, 6)) == []
    flash = scene(3, 20)
    flash[9] = np.minimum(flash[9].astype(int) + 120, 255).astype(np.uint8)
    assert cuts_of(flash) == []
    passing = scene(4, 20)
    for t in range(20):
        passing[t, :, max(9 * t - 40, 0) : max(9 * t, 0)] = (250, 20, 20)
    assert cuts_of(passing) == []
    assert cuts_of(scene(0, 1)) == []
    check_one_shot(Video(passing, 25.0))


def test_a_shot_named_in_the_message_has_no_cut():
    clip = np.concatenate([scene(0, 9), scene(1, 20)])
    with pytest.raises(UserError, match=r"cut 1 time \(.*--seconds 0\.34:1\.14") as caught:
        check_one_shot(Video(clip, 25.0))
    begin, end = (
        25.0 * float(x) for x in str(caught.value).split("--seconds ")[1].split(";")[0].split(":")
    )
    assert cuts_of(clip[int(np.ceil(begin)) : int(np.ceil(end))]) == []
    assert int(np.ceil(begin)) == 9


def test_a_cut_clip_is_refused_before_any_work(tmp_path):
    from hoijax.io.video import write_video
    from priors.observe.run import ObserveOptions

    path = write_video(tmp_path / "a.mp4", np.concatenate([scene(0, 9), scene(1, 9)]), 25.0)
    with pytest.raises(UserError, match="motion is of one shot"):
        ObserveOptions(video=path).seen_clip()
    seen = ObserveOptions(video=path, camera="static").seen_clip().video
    assert seen is not None
    assert len(seen.frames) == 18
