"""Objects cut out at a hint and followed through drawn clips, whose masks are known."""

import dataclasses
import json

import numpy as np
import pytest

from hoijax.errors import UserError
from priors.observe.hints import check_hints, parse_hints, prompt_of, write_hints
from priors.protocols import Hint, Prompt

cv2 = pytest.importorskip("cv2")

from priors.models.camera_shake import estimate_shake, steadied  # noqa: E402
from priors.models.object_colors import background_of  # noqa: E402
from priors.models.object_cut import cut_around_points, cut_box  # noqa: E402
from priors.models.object_tracking import ObjectTracker  # noqa: E402
from priors.models.packaged_segmenter import PackagedSegmenter, cut_prompt  # noqa: E402
from priors.models.person_cut import PersonView, bridged, cut_person  # noqa: E402

H, W = 120, 160


def scene(margin: int = 0) -> np.ndarray:
    """A green textured background."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(60, 110, (H // 4 + margin, W // 4 + margin, 3)) * (0.5, 1.0, 0.4)
    return cv2.resize(coarse.astype(np.uint8), (W + 4 * margin, H + 4 * margin))


def box_clip(count: int, shift, turn=lambda t: 0.0) -> tuple[np.ndarray, np.ndarray]:
    """(frames, masks) of a patterned orange box that moves over the background."""
    rng = np.random.default_rng(1)
    texture = np.array([200, 110, 40]) + rng.integers(-25, 25, (10, 12, 1))
    texture = cv2.resize(texture.astype(np.uint8), (48, 40), interpolation=cv2.INTER_NEAREST)
    frames, masks = [], []
    for t in range(count):
        motion = cv2.getRotationMatrix2D((24, 20), turn(t), 1.0)
        motion[:, 2] += shift(t)
        mask = cv2.warpAffine(np.full((40, 48), 255, np.uint8), motion, (W, H)) > 127
        drawn = cv2.warpAffine(texture, motion, (W, H))
        frames.append(np.where(mask[..., None], drawn, scene()))
        masks.append(mask)
    return np.stack(frames), np.stack(masks)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def followed(frames, mask, **options) -> list[np.ndarray]:
    track = ObjectTracker(frames, 0, mask, **options).follow(range(1, len(frames)))
    return [mask, *(track[t][0] for t in range(1, len(frames)))]


@pytest.mark.parametrize("hint", ["box", "click", "click and minus"])
def test_cut_is_the_object(hint):
    frames, masks = box_clip(1, lambda t: (40, 30))
    if hint == "box":
        cut = cut_box(frames[0], np.array([34.0, 24, 96, 78]))
    else:
        points = [[64, 50, 1]] if hint == "click" else [[60, 50, 1], [110, 50, -1]]
        cut = cut_around_points(frames[0], np.array(points, float))
    assert iou(cut, masks[0]) > 0.93


def test_who_holds_it_is_not_the_object():
    image, body, stick = scene(), np.zeros((H, W), np.uint8), np.zeros((H, W), np.uint8)
    cv2.rectangle(body, (58, 18), (78, 100), 255, -1)
    cv2.line(stick, (60, 20), (115, 100), 255, 7)
    image[body > 0] = (70, 70, 160)
    image[stick > 0] = (200, 150, 60)
    box, person = np.array([55.0, 14, 122, 106]), (body > 0) & (stick == 0)
    assert (cut_box(image, box) & person).sum() > 0.3 * person.sum()
    cut = cut_box(image, box, people=body > 0)
    assert (cut & person).sum() < 0.03 * person.sum()
    assert iou(cut, stick > 0) > 0.8
    # What is held before the body is the object, though the network takes it for the person.
    image = scene()
    image[body > 0] = (70, 70, 160)
    image[40:60, 55:73] = (200, 150, 60)
    held = np.zeros((H, W), bool)
    held[40:60, 55:73] = True
    assert iou(cut_box(image, np.array([53.0, 38, 75, 62]), people=body > 0), held) > 0.8


def test_nothing_is_cut_where_nothing_is():
    with pytest.raises(UserError, match=r"nothing stands out .* frame 3"):
        cut_prompt(np.full((H, W, 3), 90, np.uint8), Prompt(3, np.array([20.0, 20, 60, 60])))


def test_a_turning_box_is_followed():
    frames, masks = box_clip(12, lambda t: (20 + 5 * t, 30 + 2 * t), lambda t: 3.0 * t)
    found = followed(frames, masks[0])
    assert min(iou(a, b) for a, b in zip(found, masks, strict=True)) > 0.9


def test_a_fast_plain_ball_is_followed():
    frames = np.stack([scene()] * 10)
    masks = np.zeros((10, H, W), np.uint8)
    for t in range(10):
        center = (20 + 13 * t, int(90 - 14 * t + 1.6 * t * t))
        cv2.circle(frames[t], center, 9, (240, 240, 240), -1)
        cv2.circle(masks[t], center, 9, 1, -1)
    found = followed(frames, masks[0] > 0, background=background_of(frames))
    assert min(iou(a, b > 0) for a, b in zip(found, masks, strict=True)) > 0.85


def test_a_hidden_object_is_missing_until_it_comes_back():
    frames, masks = box_clip(12, lambda t: (10 + 8 * t, 30))
    frames[4:8] = scene()
    found = followed(frames, masks[0])
    assert [mask.any() for mask in found] == [True] * 4 + [False] * 4 + [True] * 4
    assert iou(found[-1], masks[-1]) > 0.9


def test_an_object_whose_colors_changed_is_found_again():
    frames, masks = box_clip(16, lambda t: (20 + 3 * t, 30), turn=lambda t: -2.0 * t)
    for t, mask in enumerate(
        masks
    ):  # as of metal that comes to mirror the scene: only its pattern stays
        gray = frames[t][mask] @ [0.3, 0.59, 0.11]
        mirrored = (gray - gray.mean())[:, None] + scene().mean((0, 1))
        share = 0.06 * t
        frames[t][mask] = ((1.0 - share) * frames[t][mask] + share * mirrored).astype(np.uint8)
    frames[10:12] = scene()
    found = followed(frames, masks[0])
    assert not np.any(found[10:12])
    assert min(iou(found[t], masks[t]) for t in (9, 12, 13, 15)) > 0.9


def test_an_object_that_leaves_the_picture_comes_back_whole():
    frames, masks = box_clip(16, lambda t: (100 + 4 * (8 - abs(8 - t)), 30))
    found = followed(frames, masks[0])
    assert masks[8].sum() < 0.65 * masks[0].sum()
    assert min(iou(a, b) for a, b in zip(found, masks, strict=True)) > 0.9


def test_a_side_that_comes_into_sight_is_added_and_a_shadow_is_not():
    frames, masks = box_clip(12, lambda t: (8 + 7 * t, 30))
    shadows = np.roll(masks, 6, axis=1) & ~masks
    for t, (mask, dark) in enumerate(zip(masks, shadows, strict=True)):
        frames[t][dark] = (0.6 * frames[t][dark]).astype(np.uint8)
        if t < 5:  # a post in front hides its right half
            hidden = mask & (np.arange(W) > 8 + 7 * t + 24)
            frames[t][hidden] = scene()[hidden]
            mask &= ~hidden
    found = followed(frames, masks[0], background=background_of(frames))
    assert iou(found[4], masks[4]) > 0.85
    assert min(iou(found[t], masks[t]) for t in (9, 11)) > 0.85
    nobody = np.zeros(masks.shape, bool)
    nobody[:, :, W // 2 :] = True
    kept = followed(frames, masks[0], background=background_of(frames), people=nobody)
    assert not (kept[9] & ~found[9]).any()
    assert kept[9].sum() < 0.8 * found[9].sum()


def test_hands_are_taken_out():
    frames, masks = box_clip(6, lambda t: (40, 30 - 2 * t))
    hands = np.zeros(masks.shape, bool)
    for t in range(2, 6):
        hands[t, 50 - 2 * t : 75, 50:60] = True
    frames[hands] = (150, 60, 150)
    found = followed(frames, masks[0], occluders=hands)
    for mask, true, hand in zip(found, masks, hands, strict=True):
        assert (mask & hand).sum() < 0.2 * max(hand.sum(), 1)
        assert iou(mask, true & ~hand) > 0.85


def test_frames_between_hints_take_the_nearer_one():
    frames, masks = box_clip(9, lambda t: (20 + 6 * t, 30))
    frames[4] = scene()
    boxes = [np.array([c[:, 1].min(), c[:, 0].min(), *(c.max(0)[::-1] + 1)], float)
             for c in (np.argwhere(masks[0]), np.argwhere(masks[8]))]  # fmt: skip
    wide = [box + np.array([-5, -5, 5, 5]) for box in boxes]
    tracks = PackagedSegmenter().track(frames, [Prompt(0, wide[0], more=(Prompt(8, wide[1]),))])
    assert not tracks.masks[0, 4].any()
    assert tracks.scores[0, 4] == 0
    seen = [t for t in range(9) if t != 4]
    assert min(iou(tracks.masks[0, t], masks[t]) for t in seen) > 0.9


def test_the_camera_is_known_to_stand():
    frames, _ = box_clip(6, lambda t: (10 + 12 * t, 30))
    frames = frames.repeat(3, axis=1).repeat(3, axis=2)
    shake = estimate_shake(frames)
    assert shake.is_static, shake.displacement


def test_a_shaking_camera_is_steadied():
    wide = scene(margin=10)
    offsets = [(0, 0), (3, 1), (5, -2), (8, 3), (4, 6)]
    frames = np.stack([wide[20 + y : 20 + y + H, 20 + x : 20 + x + W] for x, y in offsets])
    shake = estimate_shake(frames)
    assert not shake.is_static
    assert shake.reference == 1  # from (3, 1) the others are least far
    measured = [motion[:2, 2] for motion in shake.motions]
    np.testing.assert_allclose(measured, np.array(offsets[1]) - offsets, atol=0.6)
    steady, known = steadied(frames, shake)
    off = np.abs(steady.astype(int) - frames[1])[known]
    assert off.mean() < 1.5
    assert known.mean() > 0.9
    # Else a clip played backwards is seen from elsewhere, and so is all that is solved from it.
    assert estimate_shake(frames[::-1]).reference == len(frames) - 1 - shake.reference


def test_a_turning_camera_is_the_same_backwards():
    """Somebody hides the left of the scene: what is seen of the rest says how all of it moves."""
    count, size = 12, (240, 180)
    corners = np.array([[0, 0, 1], [240, 0, 1], [0, 180, 1], [240, 180, 1.0]])
    rng = np.random.default_rng(3)
    wide = cv2.resize(rng.integers(60, 200, (60, 80, 3)).astype(np.uint8), (320, 240))
    K = np.array([[300.0, 0, 120], [0, 300, 90], [0, 0, 1]])
    frames, truth = [], []
    for t in range(count):
        turn = cv2.Rodrigues(np.array([0.004 * t, 0.006 * t, 0.003 * t]))[0]
        motion = K @ turn @ np.linalg.inv(K)  # from the first frame's pixels
        at_wide = motion @ np.array([[1.0, 0, -40], [0, 1, -30], [0, 0, 1]])
        frame = cv2.warpPerspective(wide, at_wide, size)
        frame[40:, 10 + t : 80 + t] = (40, 50, 60)  # who walks there
        frames.append(frame)
        truth.append(motion)
    for images, expected in ((frames, truth), (frames[::-1], truth[::-1])):
        shake = estimate_shake(np.stack(images))
        of_first = shake.motions @ np.linalg.inv(shake.motions[0])
        expected = np.stack(expected) @ np.linalg.inv(expected[0])
        there, known = (corners @ np.swapaxes(M, 1, 2) for M in (of_first, expected))
        off = there[..., :2] / there[..., 2:] - known[..., :2] / known[..., 2:]
        print(np.abs(off).max())
        assert np.abs(off).max() < 0.5


HINTS = {
    "box=0:10,20,30,40": Hint("box", 0, (10.0, 20.0, 30.0, 40.0)),
    "big box=12: 5.5, 6": Hint("big box", 12, points=((5.5, 6.0, 1),)),
}


@pytest.mark.parametrize("text", HINTS)
def test_hints_are_read(text):
    assert parse_hints([text]) == (HINTS[text],)


def test_hints_of_a_file_are_those_written(tmp_path):
    hints = (Hint("box", 3, (1.0, 2.0, 30.0, 40.0), ((4.0, 5.0, -1),)), *HINTS.values())
    write_hints(tmp_path / "hints.json", hints)
    assert parse_hints([str(tmp_path / "hints.json")]) == hints
    prompt = prompt_of(hints, "box")
    assert prompt is not None
    assert [one.frame for one in prompt.all] == [0, 3]
    np.testing.assert_array_equal(prompt.more[0].box, [1, 2, 31, 42])
    assert prompt_of(hints, "chair") is None


@pytest.mark.parametrize(
    "text", ["box", "box=1", "box=a:1,2", "box=1:1,2,3", "=0:1,2", "box=0:1,,2"]
)
def test_unreadable_hints_are_refused(text):
    with pytest.raises(UserError, match=r"cannot be read. Write OBJECT=FRAME"):
        parse_hints([text])


def test_hints_of_one_frame_are_one():
    """A click beside a box and further clicks count; the same again is nothing new, another box is refused."""
    box = "box=2:10,20,30,40"
    (hint,) = parse_hints([box, "box=2:15,25", box, "box=2:16,26"])
    assert hint.box == (10.0, 20.0, 30.0, 40.0)
    assert hint.points == ((15.0, 25.0, 1), (16.0, 26.0, 1))
    assert hint.name == "--hint box=2:10,20,30,40 --hint box=2:15,25 --hint box=2:16,26"
    assert len(parse_hints([box, "box=3:15,25", "ball=2:15,25"])) == 3
    with pytest.raises(UserError, match=r"two boxes of box in frame 2. Give the one"):
        parse_hints([box, "box=2:11,20,30,40"])
    with pytest.raises(UserError, match=r"Several people are person 1, person 2"):
        parse_hints(["person=0:1,2,30,40", "person=0:50,2,30,40"])


def test_a_damaged_file_of_hints_is_refused(tmp_path):
    path = tmp_path / "hints.json"
    for content in ("[]", "{", json.dumps({"hints": [{"object": "box"}]})):
        path.write_text(content)
        with pytest.raises(UserError, match="is no file of hints"):
            parse_hints([str(path)])


@pytest.mark.parametrize(
    ("hint", "problem"),
    [
        (Hint("chair", 0, (1.0, 1.0, 9.0, 9.0)), "no object of that name; there is box"),
        (Hint("box", 9, (1.0, 1.0, 9.0, 9.0)), "the clip has frames 0 to 8"),
        (Hint("box", -1, (1.0, 1.0, 9.0, 9.0)), "the clip has frames 0 to 8"),
        (Hint("box", 0, (170.0, 1.0, 9.0, 9.0)), "lies outside the image of 160 x 120"),
        (Hint("box", 0, (1.0, 1.0, 1.0, 9.0)), "too small"),
        (Hint("box", 0, points=((1.0, 130.0, 1),)), "the point 1,130 lies outside"),
        (Hint("box", 0, points=((1.0, 1.0, -1),)), "no point on the object"),
    ],
)
def test_hints_outside_the_clip_are_refused(hint, problem):
    check_hints([Hint("box", 8, (1.0, 1.0, 9.0, 9.0))], ["box"], 9, H, W)
    with pytest.raises(UserError, match=problem):
        check_hints([hint], ["box"], 9, H, W)


def test_a_message_has_the_hint_as_it_was_typed():
    """Of a clip that is read at half its size, where nothing stands out at the hint."""
    (hint,) = parse_hints(["box=0:40,40,60,60"])
    prompt = prompt_of([hint.scaled(0.5)], "box")
    assert prompt is not None
    with pytest.raises(UserError, match=r"at --hint box=0:40,40,60,60: is it on"):
        cut_prompt(np.zeros((90, 120, 3), np.uint8), prompt)


def test_a_person_is_cut_by_color_where_the_network_is_unsure():
    person, image = standing_person()
    image[30:50, 70:80] = (
        40,
        50,
        130,
    )  # a wall of the clothes' color, beside what the network is sure of
    probability = np.where(person, 0.99, 0.01)
    probability[50:54, 42:46] = 0.3
    probability[106:] = np.where(person[106:], 0.2, 0.01)
    probability[20:40, 25:30] = 0.6
    object_ = np.zeros_like(person)
    object_[60:80, 55:75] = True
    view = PersonView((255 * probability).astype(np.uint8), np.zeros((39, 3)), pixel=1.0)
    wanted = person & ~object_
    cut = cut_person(image, view, object_)
    assert not (cut & object_).any()
    assert (cut & wanted).sum() > 0.98 * (cut | wanted).sum()
    rough = (probability > 0.5) & ~object_
    assert (rough & wanted).sum() < 0.95 * (rough | wanted).sum()
    ball = np.zeros_like(person)
    ball[80:100, 25:65] = True  # below it a foot is left
    assert cut_person(image, view, ball)[101:105, 32:58].all()
    wall = np.zeros_like(person)
    wall[:, 62:] = wall[116:, :20] = True  # much larger than the person, who does not touch it
    small = dataclasses.replace(
        view,
        probability=np.where(np.indices(person.shape)[0] > 85, view.probability, 0).astype(
            np.uint8
        ),
    )
    assert cut_person(image, small, wall).any()
    blank = dataclasses.replace(view, probability=np.zeros_like(view.probability))
    assert not cut_person(image, blank, object_).any()


def test_a_short_loss_of_a_person_is_bridged_and_a_long_one_is_missing():
    count, lost = 40, [3, 4, 5, 6]
    persons, frames = zip(*(standing_person(2 * min(t, 10)) for t in range(count)), strict=True)
    truth, masks = np.stack(persons), np.stack(persons)
    masks[lost] = masks[12:27] = False
    masks[4, :30] = truth[4, :30]  # a scrap is a loss too
    masks[-1, 60:] = masks[-2:, :40] = False  # lost in part at the end
    nothing = np.zeros_like(truth)
    mended, filled = bridged(np.stack(frames), masks, nothing)
    lost += [count - 2, count - 1]
    assert np.flatnonzero(filled).tolist() == lost
    assert not mended[12:27].any()
    for t in lost:
        assert (mended[t] & truth[t]).sum() > 0.95 * (mended[t] | truth[t]).sum()


def standing_person(shift=0):
    """(mask, image) of blue clothes and brown shoes."""
    rng = np.random.default_rng(0)
    person = np.zeros((120, 90), bool)
    person[10:110, 30 + shift : 60 + shift] = True
    image = np.where(person[..., None], (40, 50, 130), (180, 170, 160)).astype(float)
    image[95:110, 30 + shift : 60 + shift] = (90, 60, 30)
    return person, np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def test_what_is_held_says_nothing_of_the_background():
    person, image = standing_person()
    brown, box = (150, 110, 70), np.zeros_like(person)
    image[106:][person[106:]] = brown  # shoes of a box's color
    box[30:100, 58:95] = True
    image[box] = brown
    probability = np.where(person, 0.99, 0.01)
    probability[106:] = np.where(person[106:], 0.7, 0.2)
    view = PersonView((255 * probability).astype(np.uint8), np.zeros((39, 3)), pixel=1.0)
    cut = cut_person(image, view, box)
    assert cut[106:][person[106:]].mean() > 0.95
