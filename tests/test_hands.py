"""Fingers from hand landmarks: geometry against a posed body, the real network on a real hand."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoijax.bodies import load_body
from hoijax.bodies.keypoints import OPENPOSE_18
from hoijax.bodies.kinematics import JOINT_NAMES, JOINT_PARENTS
from priors.models.hands import (
    FINGER_POINTS,
    PALM,
    MediaPipeHands,
    first_region,
    second_region,
    swing,
    with_hands,
)
from priors.models.packaged import Region
from priors.protocols import BodyMotion, HandModel

PHOTO = Path("/work/shared/data/video/photo/image.png")


@pytest.fixture(scope="module")
def rest():
    body = load_body("anny")
    return np.asarray(body.shape(np.zeros(1, np.float32)).joints_rest, np.float64)


def posed(rest: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """(55, 3) joints by forward kinematics, root at the origin."""
    turns, places = [Rotation.from_rotvec(rotations[0])], [np.zeros(3)]
    for joint in range(1, 55):
        parent = JOINT_PARENTS[joint]
        places.append(places[parent] + turns[parent].apply(rest[joint] - rest[parent]))
        turns.append(turns[parent] * Rotation.from_rotvec(rotations[joint]))
    return np.array(places)


def landmarks(rest: np.ndarray, rotations: np.ndarray, side: str) -> np.ndarray:
    """MediaPipe's 21 points of a posed body; fingertips go on as the bone before does at rest."""
    joints = posed(rest, rotations)
    points = np.zeros((21, 3))
    points[0] = joints[JOINT_NAMES.index(f"{side}_wrist")]
    for finger, start in FINGER_POINTS.items():
        first = JOINT_NAMES.index(f"{side}_{finger}1")
        points[start : start + 3] = joints[first : first + 3]
        turn, joint = Rotation.identity(), first + 2
        while joint >= 0:
            turn = Rotation.from_rotvec(rotations[joint]) * turn
            joint = JOINT_PARENTS[joint]
        points[start + 3] = joints[first + 2] + turn.apply(rest[first + 2] - rest[first + 1])
    return points


def motion_of(rest: np.ndarray, rotations: np.ndarray, cameras: np.ndarray) -> BodyMotion:
    count = len(rotations)
    return BodyMotion(
        rotations.astype(np.float32),
        np.zeros((count, 3), np.float32),
        np.zeros(1, np.float32),
        rest.astype(np.float32),
        cameras.astype(np.float32),
    )


@pytest.fixture
def scene(rest, rng):
    """Three frames of a posed body with bent fingers, and its left hand as the camera sees it."""
    rotations = 0.3 * rng.normal(size=(3, 55, 3))
    cameras = np.tile(np.eye(4), (3, 1, 1))
    cameras[:, :3, :3] = Rotation.from_rotvec(rng.normal(size=(3, 3))).as_matrix()
    hands = np.zeros((3, 2, 21, 4), np.float32)
    for t in range(3):
        points = landmarks(rest, rotations[t], "left") @ cameras[t, :3, :3]
        hands[t, 0, :, :3] = points - points.mean(0)  # from the hand's middle
        hands[t, 0, :, 3] = 0.9
    return rotations, cameras, hands


def test_bones_point_where_the_landmarks_are(rest, scene):
    rotations, cameras, hands = scene
    limp = rotations.copy()
    limp[:, 20:] = 0.0  # wrists and fingers
    found = with_hands(motion_of(rest, limp, cameras), hands).rotations
    np.testing.assert_array_equal(found[:, :20], limp[:, :20].astype(np.float32))
    np.testing.assert_array_equal(found[:, 40:], 0)  # the right hand was not seen
    for t in range(3):
        wanted, made = (
            landmarks(rest, r[t].astype(np.float64), "left") for r in (rotations, found)
        )
        np.testing.assert_allclose(made, wanted, atol=1e-4)


def test_hands_of_another_size_turn_the_same(rest, scene):
    rotations, cameras, hands = scene
    larger = hands.copy()
    larger[..., :3] *= 1.3
    limp = motion_of(rest, 0 * rotations, cameras)
    np.testing.assert_allclose(
        with_hands(limp, larger).rotations, with_hands(limp, hands).rotations, atol=1e-5
    )


def test_frames_between_are_filled_and_a_rare_hand_is_left(rest, scene):
    rotations, cameras, hands = scene
    cameras = np.tile(cameras[:1], (3, 1, 1))
    rotations = np.tile(rotations[:1], (3, 1, 1))
    hands = np.tile(hands[:1], (3, 1, 1, 1))
    hidden = hands.copy()
    hidden[1] = 0.0
    limp = motion_of(rest, rotations, cameras)
    np.testing.assert_allclose(
        with_hands(limp, hidden).rotations, with_hands(limp, hands).rotations, atol=1e-5
    )
    many = motion_of(rest, np.tile(rotations[:1], (10, 1, 1)), np.tile(cameras[:1], (10, 1, 1)))
    rare = np.zeros((10, 2, 21, 4), np.float32)
    rare[4] = hands[0]
    np.testing.assert_array_equal(with_hands(many, rare).rotations, many.rotations)


def test_swing_is_the_smallest_turn():
    x, y = np.array([2.0, 0, 0]), np.array([0, 3.0, 0])
    np.testing.assert_allclose(swing(x, y).as_rotvec(), [0, 0, np.pi / 2])
    np.testing.assert_allclose(swing(x, 5 * x).as_rotvec(), 0)


def test_squares_are_beyond_the_wrist_and_around_the_points():
    region = first_region(np.array([100.0, 100.0]), np.array([100.0, 60.0]))
    np.testing.assert_allclose(region.center, [100, 46])
    assert region.side == pytest.approx(52)
    assert region.angle == pytest.approx(0)  # upwards as it is
    assert first_region(np.array([0.0, 0]), np.array([40.0, 0])).angle == pytest.approx(np.pi / 2)
    points = np.zeros((21, 2))
    points[:, 0] = np.linspace(0, 60, 21)  # a hand that points right, wrist at the left
    points[list(PALM), 1] = [0, -10, 0, 5, 10]
    points[9] = 30, 0
    region = second_region(points)
    assert region.angle == pytest.approx(np.pi / 2)
    assert region.side == pytest.approx(120)
    np.testing.assert_allclose(region.center, [36, 0], atol=1e-6)


class Network:
    """Says the same of every crop: a hand along the crop's x axis."""

    input_size = 224

    def __init__(self, right: float):
        self.right = right

    def listed(self, picture):
        assert picture.shape == (224, 224, 3)
        screen = np.tile(np.float32([112, 112, 0]), 21)
        screen[27:29] = 112, 60  # the middle finger's root, above
        world = np.tile(np.float32([0.1, 0, -0.02]), 21)
        return [screen, np.float32([0.9]), np.float32([self.right]), world]


@pytest.mark.parametrize(("right", "found"), [(0.9, [False, True]), (0.2, [True, False])])
def test_points_are_in_the_cameras_axes_and_of_the_arms_own_side(right, found, monkeypatch):
    model = MediaPipeHands()
    assert isinstance(model, HandModel)
    model.__dict__["_network"] = Network(right)
    keypoints = np.zeros((1, 18, 3), np.float32)
    for side in ("left", "right"):  # forearms point right in the image
        keypoints[0, OPENPOSE_18.index(f"{side}_elbow")] = 20, 50, 0.9
        keypoints[0, OPENPOSE_18.index(f"{side}_wrist")] = 60, 50, 0.9
    hands = model.hands(np.zeros((1, 100, 120, 3), np.uint8), keypoints)[0]
    assert (hands[:, 0, 3] > 0).tolist() == found
    seen = hands[int(found[1]), :, :3]
    # "Right" of a crop turned by 90 degrees is "down" of the image.
    np.testing.assert_allclose(seen, np.tile([0.0, 0.1, -0.02], (21, 1)), atol=1e-6)
    keypoints[0, :, 2] = 0.1
    assert not model.hands(np.zeros((1, 100, 120, 3), np.uint8), keypoints).any()


@pytest.mark.skipif(
    find_spec("mediapipe") is None or find_spec("ai_edge_litert") is None or not PHOTO.is_file(),
    reason="needs the wheel mediapipe==0.10.21 and shared/data",
)
def test_a_real_hand_is_found_and_bends_inwards(rest):
    from PIL import Image

    image = np.asarray(Image.open(PHOTO).convert("RGB"))
    keypoints = np.zeros((1, 18, 3), np.float32)
    keypoints[0, OPENPOSE_18.index("left_elbow")] = 1328.5, 428.7, 0.9  # by BlazePose
    keypoints[0, OPENPOSE_18.index("left_wrist")] = 1303.8, 526.9, 0.9
    hands = MediaPipeHands().hands(image[None], keypoints)
    assert hands[0, 0, 0, 3] > 0.9
    assert not hands[0, 1].any()
    points = hands[0, 0, :, :3]
    length = np.linalg.norm(points[9] - points[0]) + np.linalg.norm(points[12] - points[9])
    assert 0.12 < length < 0.22  # metres
    camera = np.diag([1.0, -1.0, -1.0, 1.0])
    limp = motion_of(rest, np.zeros((1, 55, 3)), camera[None])
    found = with_hands(limp, hands).rotations[0].astype(np.float64)
    found[:25] = 0.0  # fingers alone, on a palm that lies flat: they bend down
    bent = landmarks(rest, found, "left")
    assert (bent[[8, 12, 16, 20], 1] < bent[[5, 9, 13, 17], 1]).all()


def test_region_turns_are_rotations():
    axes = Region(np.zeros(2), 3.0, 0.4).axes / 3.0
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-12)
