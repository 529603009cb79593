"""People whose head or feet leave the image, by a network that squeezes whole bodies into its square."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from priors.models.blazepose_poses import Pose
from priors.models.cut_off import read_cut_off
from priors.models.packaged import Region, mask_box

WIDTH, HEIGHT = 100, 200
BODY = np.zeros((39, 2))
"""A person of height 1 that stands at u = 0, v down from the top of the head."""
BODY[:11] = 0.0, 0.05
BODY[[11, 12]] = 0.0, 0.2
BODY[13:23] = 0.0, 0.35
BODY[[23, 24]] = 0.0, 0.5
BODY[[25, 26]] = 0.0, 0.75
BODY[27:33] = 0.0, 0.97
BODY[33:] = 0.0, 0.5
PIXELS = 180.0


def pose(top: float, height: float = PIXELS, seen_from: float = 0.0) -> Pose:
    """A person whose head is at v = top; its mask begins at seen_from."""
    points = BODY * height + (50, top)
    inside = (points[:, 1] >= 0) & (points[:, 1] <= HEIGHT)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[int(max(top, seen_from, 0)) : int(min(top + height, HEIGHT)), 40:60] = 255
    landmarks = np.concatenate([points, inside[:, None]], axis=-1).astype(float)
    return Pose(landmarks, np.zeros(39), 1.0, mask)


@dataclass
class Squeezer:
    """A network that sees a body as tall as its square allows, and right in a square that holds it."""

    true: Pose
    top: float

    def search(self, image):
        return []

    def read(self, image, region, min_presence=None):
        low, high = region.center[1] - 0.5 * region.side, region.center[1] + 0.5 * region.side
        if low <= self.top and high >= self.top + PIXELS:
            return self.true
        margin = 0.1 * region.side
        return squeezed_pose(max(low + margin, 0.0), min(high - margin, self.top + PIXELS))


def squeezed_pose(low: float, high: float) -> Pose:
    return pose(low, high - low)


def clip(top: float):
    """Four frames of the whole person, then one where it is moved so far up or down."""
    low, high = max(top, 0.0), min(top + PIXELS, HEIGHT)
    poses = [pose(10.0)] * 4 + [squeezed_pose(low, high)]
    return np.zeros((5, HEIGHT, WIDTH, 3), np.uint8), poses


def read_again(model, frames, poses, box=None):
    """With the boxes of the masks, the last one's in place of a given one."""
    boxes = [np.zeros(4) if p is None else mask_box(p.mask > 0) for p in poses]
    boxes[-1] = boxes[-1] if box is None else box
    return read_cut_off(model, frames, poses, np.array(boxes))


def test_a_head_above_the_picture_is_put_there():
    frames, poses = clip(-90.0)
    out = read_again(Squeezer(pose(-90.0), -90.0), frames, poses)
    assert out[:4] == poses[:4]
    found = out[4]
    assert found is not None
    true = pose(-90.0).landmarks
    np.testing.assert_allclose(found.landmarks[23:33], true[23:33])
    assert (found.landmarks[:11, 2] == 0).all()
    assert (found.landmarks[[27, 28], 2] == 1).all()


def test_feet_below_the_picture_are_put_there():
    frames, poses = clip(90.0)
    out = read_again(Squeezer(pose(90.0), 90.0), frames, poses)
    assert out[4] is not None
    np.testing.assert_allclose(out[4].landmarks[:25], pose(90.0).landmarks[:25])
    assert (out[4].landmarks[27:33, 2] == 0).all()


def test_a_body_read_upside_down_below_the_cut_is_read_again_in_the_box_of_what_is_seen():
    frames, poses = clip(-90.0)
    upturned = squeezed_pose(40.0, 90.0)
    upturned.landmarks[:, 1] = 130.0 - upturned.landmarks[:, 1]
    seen = np.array([40.0, 0.0, 60.0, 90.0])
    poses = [*poses[:4], upturned]
    found = read_again(Squeezer(pose(-90.0), -90.0), frames, poses, seen)[4]
    assert found is not None
    np.testing.assert_allclose(found.landmarks[23:33], pose(-90.0).landmarks[23:33])

    class Stubborn(Squeezer):
        def read(self, image, region, min_presence=None):
            return upturned

    lost = read_again(Stubborn(pose(-90.0), -90.0), frames, poses, seen)[4]
    assert lost is not None
    assert not lost.landmarks[:, 2].any()


def test_what_stays_squeezed_has_no_confidence():
    class Stubborn(Squeezer):
        def read(self, image, region, min_presence=None):
            return squeezed_pose(0.0, 90.0)

    frames, poses = clip(-90.0)
    out = read_again(Stubborn(pose(-90.0), -90.0), frames, poses)
    assert out[4] is not None
    assert (out[4].landmarks[:27, 2] == 0).all()
    assert (out[4].landmarks[27:33, 2] == 1).all()


def test_a_face_on_shoulders_that_leave_the_picture_is_invented():
    frames, poses = clip(0.0)
    wide = poses[3].mask.copy()
    wide[0, 20:80] = 255
    out = read_again(Squeezer(pose(0.0), 0.0), frames, [*poses[:4], replace(poses[3], mask=wide)])
    assert out[4] is not None
    np.testing.assert_array_equal(out[4].landmarks[:, 2] == 0, np.arange(39) < 11)


def test_a_person_that_is_whole_again_is_found_anew():
    class Finder(Squeezer):
        def search(self, image):
            return [Region(np.array([50.0, 100.0]), 200.0)]

    frames, poses = clip(-90.0)
    again = read_again(Finder(pose(10.0), 10.0), frames, poses)[4]
    assert again is not None
    np.testing.assert_allclose(again.landmarks, pose(10.0).landmarks)


@pytest.mark.parametrize("poses", [[None, None], [None, pose(10.0)], [pose(10.0), pose(12.0)]])
def test_whole_and_missing_people_stay_as_they_are(poses):
    frames = np.zeros((2, HEIGHT, WIDTH, 3), np.uint8)
    assert read_again(Squeezer(pose(10.0), 10.0), frames, poses) == poses


def test_a_small_person_amid_the_picture_is_not_cut_off():
    small = replace(pose(60.0, 60.0), presence=0.9)
    frames, poses = clip(0.0)
    assert read_again(Squeezer(pose(0.0), 0.0), frames, [*poses[:4], small])[4] is small
