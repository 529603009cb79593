"""Real weights on rendered people: BlazePose's keypoints and masks, and a body solved from pixels."""

import os

import jax
import numpy as np
import pytest
from packaged_weights import needs_weights
from rendered_person import choreographed, standing_person

from hoijax.bodies import OPENPOSE_18, load_body
from hoijax.errors import UserError
from priors.models import packaged
from priors.models.blazepose import SHRUNK, BlazePose, _carried, detector_anchors
from priors.models.blazepose_poses import OTHER_SIDE, body_region, of_both
from priors.models.fitted_body import FittedBody
from priors.models.packaged import (
    FOLDER_VARIABLE,
    MASK_BYTE,
    Region,
    TfliteModel,
    mediapipe_file,
)
from priors.protocols import Detector, KeypointModel, Prompt, Video, VideoSegmenter

AZIMUTHS = (0, 30, 60, 120, 180)
SIDED = [i for i, name in enumerate(OPENPOSE_18) if name.startswith("left_")]
LIMBS = slice(2, 14)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def mirrored(i: int) -> int:
    """Index of the same joint on the other side."""
    return OPENPOSE_18.index(OPENPOSE_18[i].replace("left", "right"))


# ---- regions: no weights needed


def test_a_crop_samples_the_turned_square():
    """An image whose value is a linear function of place shows where every crop pixel was read."""
    v, u = np.mgrid[0:200, 0:240] + 0.5
    image = np.stack([u, v, np.zeros_like(u)], -1).astype(np.uint8)
    region = Region(np.array([120.0, 90.0]), 64.0, 0.5)
    crop = region.crop(image, 32)
    shares = np.stack(np.meshgrid(*[(np.arange(32) + 0.5) / 32] * 2), -1)
    expected = region.to_image(shares)
    assert np.abs(crop[..., :2] - expected).max() < 1.5  # 8 bits, floored twice
    down = region.to_image(np.array([0.5, 1.0])) - region.to_image(np.array([0.5, 0.0]))
    np.testing.assert_allclose(down, 64 * np.array([-np.sin(0.5), np.cos(0.5)]))


def test_pasting_undoes_cropping():
    disc = np.hypot(*(np.mgrid[0:160, 0:200] - np.array([80, 110])[:, None, None])) < 30
    image = np.repeat((255 * disc).astype(np.uint8)[..., None], 3, -1)
    region = Region(np.array([112.0, 78.0]), 90.0, -0.7)
    crop = region.crop(image, 128)[..., 0].astype(np.float32) / 255
    back = region.paste(crop, 160, 200)
    assert iou(back > 0.5, disc) > 0.97
    assert back[0, 0] == 0


def test_large_regions_are_antialiased():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than the crop can show: must become grey
    crop = Region(np.array([256.0, 256.0]), 512.0).crop(stripes, 64)[4:-4, 4:-4]
    assert np.abs(crop.astype(float) - 127.5).max() < 3


def test_a_body_is_turned_upright():
    region = body_region(np.array([50.0, 60.0]), np.array([90.0, 60.0]))  # lies, head to the right
    assert region.side == pytest.approx(2 * 1.25 * 40)
    np.testing.assert_allclose(region.to_image(np.array([0.5, 0.1])), [90, 60], atol=1e-9)


def test_anchors_fill_the_detectors_output():
    anchors = detector_anchors()
    assert anchors.shape == (2254, 2)
    np.testing.assert_allclose(
        anchors[[0, 1, 2]], [[0.5 / 28] * 2, [0.5 / 28] * 2, [1.5 / 28, 0.5 / 28]]
    )
    np.testing.assert_allclose(anchors[-1], [6.5 / 7] * 2)


# ---- a standing person from five sides


@pytest.fixture(scope="module")
def model() -> BlazePose:
    return BlazePose()


@pytest.fixture(scope="module")
def views():
    return {azimuth: standing_person(azimuth) for azimuth in AZIMUTHS}


@needs_weights
@pytest.mark.parametrize("azimuth", AZIMUTHS)
def test_a_standing_person_is_read_from_all_sides(model, views, azimuth):
    view = views[azimuth]
    (found,) = model.detect(view.frames[0], ["a person"])
    box, true_box = found.box, view.boxes[0]
    assert found.score > 0.9
    assert np.abs(box - true_box).max() < 0.06 * (true_box[3] - true_box[1])
    points = model.keypoints(view.frames, box[None], np.ones(1, bool))[0]
    error = np.linalg.norm(points[:, :2] - view.keypoints[0], axis=-1)
    mask = model.track(view.frames, [Prompt(0, box=box)]).masks[0, 0]
    exact = view.labels[0] == 1
    print(
        f"azimuth {azimuth}: joints {error.mean():.1f} px (max {error.max():.1f}), mask IoU "
        f"{iou(mask, exact):.3f}"
    )
    assert error.mean() < 6
    assert iou(mask, exact) > 0.92
    for i in SIDED:  # where the sides lie well apart, left must be left
        left, right = view.keypoints[0, i], view.keypoints[0, mirrored(i)]
        if np.linalg.norm(left - right) > 20:
            own, other = (np.linalg.norm(points[i, :2] - side) for side in (left, right))
            assert own < other, OPENPOSE_18[i]


@needs_weights
def test_a_mirrored_person_is_read_as_the_mirror_image(model, views):
    image, box = views[30].frames[0], views[30].boxes[0]
    width = image.shape[1]
    region = Region.around(np.asarray(box), 1.4)
    turned = Region(np.array([width, 0]) + (-1, 1) * region.center, region.side)
    one = model.read(image, region)
    two = model.read(np.ascontiguousarray(image[:, ::-1]), turned)
    back = two.landmarks[OTHER_SIDE] * (-1, 1, 1) + (width, 0, 0)
    np.testing.assert_allclose(back[:, :2], one.landmarks[:, :2], atol=0.5)
    np.testing.assert_allclose(back[:, 2], one.landmarks[:, 2], atol=0.02)
    np.testing.assert_allclose(two.mask[:, ::-1].astype(int), one.mask, atol=20)


def test_readings_that_disagree_are_unsure():
    one, two = np.zeros((39, 3)), np.zeros((39, 3))
    one[:, 2], two[:, 2] = 0.9, 0.3
    two[5, 0] = 0.03 * 256
    both = of_both(one, two, 256)
    np.testing.assert_allclose(both[5, 0], 0.25 * two[5, 0], rtol=1e-5)  # by confidence
    np.testing.assert_allclose(both[[4, 5], 2], (0.6, 0.3), rtol=1e-6)


# ---- a whole clip, tracked


@pytest.fixture(scope="module")
def clip():
    return choreographed("a person lifts a barbell from the ground with both hands", ("barbell",))


@pytest.fixture(scope="module")
def poses(clip, model):
    return model.poses(clip.frames, clip.boxes, np.ones(len(clip.frames), bool))


@needs_weights
@pytest.mark.slow
def test_a_clip_is_followed(clip, poses):
    assert all(pose is not None for pose in poses)
    points = np.stack([pose.openpose for pose in poses])
    error = np.linalg.norm(points[..., :2] - clip.keypoints, axis=-1)
    masks = np.stack([pose.mask > MASK_BYTE for pose in poses])
    overlap = [iou(mask, labels == 1) for mask, labels in zip(masks, clip.labels, strict=True)]
    height = (clip.boxes[:, 3] - clip.boxes[:, 1]).mean()
    print(f"{error.mean():.2f} px of {height:.0f}, worst frame {error.mean(1).max():.1f}; "
          f"mask IoU {np.mean(overlap):.3f}")  # fmt: skip
    assert error.mean() < 6
    assert error.mean(1).max() < 15
    assert np.mean(overlap) > 0.85
    assert points[..., 2].mean() > 0.8


@needs_weights
def test_nobody_shrinks_by_half_in_a_frame(model, views):
    view = views[0]
    pose = model.read(view.frames[0], Region.around(view.boxes[0], 1.2))
    usual = pose.next_region
    assert _carried(pose, None).side == _carried(pose, usual).side == usual.side
    before = Region(usual.center + 5.0, 2.0 * usual.side)
    squeezed = _carried(pose, before)
    assert squeezed.side == pytest.approx(SHRUNK * before.side)
    np.testing.assert_array_equal(squeezed.center, usual.center)


@needs_weights
def test_hidden_joints_are_unsure(model, views):
    """A board before the legs: BlazePose guesses them, and says so."""
    view = views[0]
    frames = view.frames.copy()
    knee = int(view.keypoints[0, [9, 12], 1].mean())
    frames[0, knee - 30 :, 40:280] = (150, 110, 70)
    before, after = (
        model.keypoints(f, view.boxes, np.ones(1, bool))[0] for f in (view.frames, frames)
    )
    legs = [9, 10, 12, 13]
    assert before[legs, 2].min() > 0.8
    assert after[legs, 2].max() < 0.6
    assert after[[2, 3, 5, 6], 2].min() > 0.65


@needs_weights
def test_absent_frames_and_empty_pictures_give_nothing(model, views):
    view = views[0]
    frames = np.concatenate([view.frames, view.frames, np.full_like(view.frames, 200)])
    boxes = np.tile(view.boxes, (3, 1))
    points = model.keypoints(frames, boxes, np.array([True, False, True]))
    assert points[0, :, 2].mean() > 0.8
    assert not points[1].any()
    assert not points[2].any()
    assert model.detect(frames[2], ["person"]) == []
    assert model.keypoints(frames[:0], boxes[:0], np.zeros(0, bool)).shape == (0, 18, 3)


@needs_weights
def test_keypoints_are_lifted(model, views):
    """From the side the near limbs are read nearer than the far ones; absent people have no depth."""
    for azimuth in (a for a in AZIMUTHS if 20 < abs(a) < 160):
        view = views[azimuth]
        lifted = model.lifted_keypoints(
            np.concatenate([view.frames] * 2), np.tile(view.boxes, (2, 1)), np.array([True, False])
        )
        right, left = np.array([2, 3, 8, 9]), np.array([5, 6, 11, 12])
        nearer = (
            lifted[0, right, 3] - lifted[0, left, 3]
        )  # the person faces +z: azimuth > 0 is its left
        assert (np.sign(azimuth) * nearer > 0.02).all(), azimuth
        assert np.isnan(lifted[1, :, 3]).all()
        points = model.keypoints(view.frames, view.boxes, np.ones(1, bool))
        np.testing.assert_array_equal(points[0], lifted[0, :, :3])


@needs_weights
def test_a_mirror_image_that_is_read_with_other_sides_counts(model, views, monkeypatch):
    """Where both readings agree but for left and right, points are not averaged to the middle of the body."""
    view = views[0]
    region = model.search(view.frames[0])[0]
    true, looks, look = model.read(view.frames[0], region), [], model._look

    def other_sides(crop):
        points, depths, *rest = look(crop)
        looks.append(crop)
        if len(looks) % 2:
            return points, depths, *rest
        return points[OTHER_SIDE], depths[OTHER_SIDE], *rest

    monkeypatch.setattr(model, "_look", other_sides)
    found = model.read(view.frames[0], region)
    np.testing.assert_allclose(found.landmarks[11:33], true.landmarks[11:33], atol=1e-6)
    np.testing.assert_allclose(found.depths[11:33], true.depths[11:33], atol=1e-6)


@needs_weights
def test_a_person_who_leaves_has_an_empty_mask(model, views):
    view = views[0]
    empty = np.full_like(view.frames, 200)
    tracks = model.track(
        np.concatenate([empty, view.frames, empty]), [Prompt(1, box=view.boxes[0])]
    )
    assert tracks.masks[0].any((1, 2)).tolist() == [False, True, False]
    np.testing.assert_array_equal(tracks.scores[0] > 0.5, [False, True, False])


@needs_weights
def test_two_people_are_two_boxes(model, views):
    frame = np.concatenate([views[0].frames[0], views[30].frames[0]], axis=1)
    found = model.detect(frame, ["person", "box of a human"])
    middles = sorted(0.5 * (d.box[0] + d.box[2]) for d in found if d.phrase == 0)
    assert len(found) == 2 * len(middles)
    assert len(middles) == 2
    assert middles[0] < 320 < middles[1]


@needs_weights
def test_people_beside_a_nearer_one_are_seen(model, views):
    """In a wide image's whole the network sees the largest person only."""
    near, far = views[0].frames[0], np.full_like(views[30].frames[0], 200)
    small = views[30].frames[0][::2, ::2]
    far[100 : 100 + small.shape[0], 80 : 80 + small.shape[1]] = small
    frame = np.concatenate([near, np.full_like(near, 200), far], axis=1)
    width = near.shape[1]
    assert len([model.read(frame, region) for region in model.search(frame)]) == 1
    middles = sorted(0.5 * (d.box[0] + d.box[2]) for d in model.detect(frame, ["person"]))
    assert middles[0] < width
    assert middles[-1] > 2 * width


@needs_weights
def test_protocols(model):
    assert isinstance(model, Detector)
    assert isinstance(model, KeypointModel)
    assert isinstance(model, VideoSegmenter)
    assert "mediapipe" in model.model_id.name


# ---- from pixels to a solved body


@needs_weights
@pytest.mark.slow
def test_from_pixels_to_a_body(clip, poses):
    """Real keypoints and mask, rendered depth, our own fit: joints within centimetres, in metres."""
    every = slice(None, None, 3)
    keypoints = np.stack([pose.openpose for pose in poses])[every].astype(np.float32)
    masks = np.stack([pose.mask > MASK_BYTE for pose in poses])[every]
    maps = type(clip.maps)(
        clip.maps.points[every], clip.maps.valid[every], clip.maps.intrinsics[every]
    )
    model = FittedBody()
    motion = model.recover(Video(clip.frames[every], 4.0), keypoints, masks, maps)
    body = load_body("anny").shape(motion.betas).with_rest_joints(motion.rest_joints)
    pose = jax.jit(jax.vmap(lambda r, t: body.pose_joints(r, t)[:22, :3, 3]))
    joints = np.asarray(pose(motion.rotations, motion.translations))
    T = clip.T_world_camera @ np.linalg.inv(motion.Ts_world_camera[0])  # both worlds see one camera
    error = np.linalg.norm(joints @ T[:3, :3].T + T[:3, 3] - clip.joints_world[every], axis=-1)
    tilt = np.degrees(np.arccos(np.clip(T[1, 1], -1, 1)))
    print(f"mean joint error {100 * error.mean():.1f} cm (worst frame "
          f"{100 * error.mean(1).max():.1f}); ground {100 * abs(T[1, 3]):.1f} cm, {tilt:.2f} degrees")  # fmt: skip
    assert error.mean() < 0.10
    assert tilt < 1.0
    assert abs(T[1, 3]) < 0.03


@needs_weights
@pytest.mark.slow
def test_without_depth_a_person_stays_where_he_stands(clip, poses):
    """Nobody says how high the camera stands: an assumed height moved this person by 29 cm along the view."""
    keypoints = np.stack([pose.openpose for pose in poses]).astype(np.float32)
    unknown = type(clip.maps)(
        clip.maps.points, np.zeros_like(clip.maps.valid), clip.maps.intrinsics
    )
    masks = clip.labels == 1
    motion = FittedBody().recover(Video(clip.frames, 12.0), keypoints, masks, unknown)
    camera = motion.Ts_world_camera[0]
    pelvis = motion.translations + motion.rest_joints[0] - camera[:3, 3]
    true = clip.joints_world[:, 0] - clip.T_world_camera[:3, 3]
    off = pelvis @ camera[:3, 2] - true @ clip.T_world_camera[:3, 2]
    print(f"depth off {100 * off.mean():.1f} cm, which drifts by {100 * off.std():.1f} cm")
    assert off.std() < 0.08


# ---- refusals


@needs_weights
def test_objects_are_refused_by_name(model, views):
    with pytest.raises(UserError, match=r"'a red box'.*grounding-dino"):
        model.detect(views[0].frames[0], ["person", "a red box"])


def test_one_person_only():
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    prompts = [Prompt(0, box=np.array([0.0, 0, 9, 9]))] * 2
    with pytest.raises(UserError, match="exactly one person, but 2"):
        BlazePose().track(frames, prompts)
    with pytest.raises(UserError, match="empty mask"):
        BlazePose().track(frames, [Prompt(0, mask=np.zeros((32, 32), bool))])


def test_a_missing_wheel_names_the_command(monkeypatch, tmp_path):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install --no-deps mediapipe==0\.10\.21"):
        mediapipe_file("pose_detection/pose_detection.tflite")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match="names the wrong folder"):
        mediapipe_file("pose_detection/pose_detection.tflite")
    (tmp_path / "pose_detection").mkdir()
    file = tmp_path / "pose_detection" / "pose_detection.tflite"
    file.touch()
    assert mediapipe_file("pose_detection/pose_detection.tflite") == file


@needs_weights
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_file_is_refused(tmp_path, share):
    data = mediapipe_file("pose_detection/pose_detection.tflite").read_bytes()
    path = tmp_path / "damaged.tflite"
    path.write_bytes(os.urandom(200) if share == 0 else data[: int(share * len(data))])
    with pytest.raises(UserError, match=r"damaged\.tflite is not a usable"):
        TfliteModel(path)


def test_every_package_that_a_model_needs_has_a_remedy():
    from priors.models.catalog import CHOICES
    from priors.models.doctor import PACKAGES

    needed = {name for choices in CHOICES.values() for c in choices.values() for name in c.needs}
    assert needed <= set(PACKAGES)
