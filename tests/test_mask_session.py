"""`hoijax mask`: hints put down, followed, corrected and saved, in the browser and without."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoijax.cli.console import Reporter
from hoijax.cli.masking import Mask
from hoijax.errors import UserError
from hoijax.importers.masks import read_label_masks
from hoijax.io.video import write_video
from priors.observe.hints import parse_hints
from priors.protocols import Detection, Hint, ModelId

pytest.importorskip("cv2")

from test_object_masks import H, W, box_clip, iou

from priors.observe.mask_session import MaskSession


class AtTheLeft:
    """A detector that sees people at the left."""

    model_id = ModelId("nobody")

    def __init__(self, people=1):
        self.people = people

    def detect(self, image, phrases):
        box = np.array([0.0, 0, 20, 100])
        return [Detection(p, box, 0.9) for p in range(len(phrases)) for _ in range(self.people)]


class WithPeople:
    """The packaged segmenter for objects; a person is the left edge of the image."""

    model_id = ModelId("left edge")

    def track(self, frames, prompts):
        from priors.models.packaged_segmenter import PackagedSegmenter
        from priors.protocols import Tracks

        things = [prompt for prompt in prompts if not prompt.is_person]
        tracks = PackagedSegmenter().track(frames, things)
        person = np.zeros((1, *frames.shape[:3]), bool)
        person[:, :, :, :10] = True
        scores = np.ones((1, len(frames)), np.float32)
        count = len(prompts) - len(things)
        return Tracks(
            np.concatenate([np.repeat(person, count, 0), tracks.masks]),
            np.concatenate([np.repeat(scores, count, 0), tracks.scores]),
        )


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    frames, masks = box_clip(8, lambda t: (30 + 4 * t, 30))
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, frames, 10.0)
    return path, masks


def session(path, people=1, **options):
    options = {"segmenter": WithPeople(), "detector": AtTheLeft(people)} | options
    return MaskSession(path, ["box"], people=people, **options)


def test_saved_masks_and_hints_are_those_that_observe_reads(clip, tmp_path):
    path, masks = clip
    made = session(path, hints=["box=0:25,25,58,50"])
    made.propagate()
    made.save(tmp_path / "masks")
    labels, parts = read_label_masks(tmp_path / "masks", ["box"], 1)
    assert parts is None
    assert (labels[..., :10] == 1).all()
    assert min(iou(a == 2, b) for a, b in zip(labels, masks, strict=True)) > 0.9
    again = parse_hints([str(tmp_path / "masks" / "hints.json")])
    assert again == (Hint("box", 0, (25.0, 25.0, 58.0, 50.0)),)
    made.save(tmp_path / "masks")  # over the earlier ones


def test_hints_of_a_clip_that_is_read_smaller_are_in_its_own_pixels(clip, tmp_path, monkeypatch):
    from hoijax.io import clip_intake

    monkeypatch.setattr(clip_intake, "MAX_SIDE", 80)
    made = session(clip[0], hints=["box=0:26,26,56,48"])
    assert made.hint_of("box", 0).box == (13.0, 13.0, 28.0, 24.0)
    made.masks = {"box": np.ones((8, 60, 80), bool)}
    made.save(tmp_path / "masks")
    assert parse_hints([str(tmp_path / "masks" / "hints.json")])[0].box == (26.0, 26.0, 56.0, 48.0)


def test_points_correct_a_mask(clip):
    path, masks = clip
    made = session(path, people=0, segmenter=None)
    made.set_box("box", 0, (25.0, 25.0, 58.0, 50.0))
    made.preview("box", 0)
    whole = made.masks["box"][0].copy()
    assert iou(whole, masks[0]) > 0.9
    made.masks["box"][0, :, :55] = False  # a mask that lacks the left half
    made.forget("box", 0)
    made.add_point("box", 0, 42.0, 50.0, 1)
    made.preview("box", 0)
    assert iou(made.masks["box"][0], masks[0]) > 0.9


def test_what_cannot_be_marked_is_refused_and_forgotten(clip):
    made = session(clip[0])
    with pytest.raises(UserError, match="lies outside the image"):
        made.set_box("box", 0, (200.0, 0.0, 20.0, 20.0))
    with pytest.raises(UserError, match="no point on the object"):
        made.add_point("box", 0, 5.0, 5.0, -1)
    assert made.hints == []
    with pytest.raises(UserError, match="no masks to save"):
        made.save("anywhere")
    with pytest.raises(UserError, match="nothing to follow"):
        session(clip[0], people=0).propagate()
    with pytest.raises(UserError, match="2 people were not found together"):
        session(clip[0], people=2, detector=AtTheLeft(1)).propagate()
    with pytest.raises(UserError, match=r"^no person was found in"):
        session(clip[0], detector=AtTheLeft(0)).propagate()
    with pytest.raises(UserError, match="names of their own"):
        MaskSession(clip[0], ["box", "box"])


def test_masks_are_not_written_over_something_else(clip, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    made = session(clip[0])
    made.masks = {"box": np.ones((8, H, W), bool)}
    with pytest.raises(UserError, match="holds files that are not"):
        made.save(tmp_path)


def test_the_overlay_shows_masks_and_hints(clip):
    made = session(clip[0])
    made.masks = {"box": np.zeros((8, H, W), bool)}
    made.masks["box"][3, :20, :20] = True
    made.set_box("box", 3, (60.0, 60.0, 30.0, 30.0))
    shown = made.overlay(3).astype(int)
    expected = 0.5 * made.frames[3] + 0.5 * np.array(made.color("box"))
    np.testing.assert_allclose(shown[:20, :20], expected[:20, :20], atol=1)
    assert tuple(shown[60, 75]) == made.color("box")
    np.testing.assert_array_equal(shown[100:], made.frames[3][100:])


# ---- a photograph


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """(path of a photograph that its metadata turn by a quarter, the mask of the box in it)."""
    from PIL import Image

    frames, masks = box_clip(1, lambda t: (30, 30))
    image = Image.fromarray(np.rot90(frames[0]))
    exif = image.getexif()
    exif[0x0112] = 6  # its top is at the right
    path = tmp_path_factory.mktemp("photograph") / "photo.jpg"
    image.save(path, quality=95, exif=exif)
    return path, masks[0]


def test_a_photograph_is_marked_and_saved_as_align_reads_masks(photograph, tmp_path):
    from PIL import Image

    path, mask = photograph
    made = session(path, hints=["box=0:25,25,58,50"])
    made.propagate()
    made.save(tmp_path / "masks")
    assert {f.parent.name for f in (tmp_path / "masks").glob("*/*")} == {"person", "box"}
    with Image.open(tmp_path / "masks" / "box" / "00000.png") as image:
        saved = np.asarray(image) > 127
    assert iou(saved, mask) > 0.9
    with pytest.raises(UserError, match="is a photograph"):
        session(path, seconds="0:1")
    with pytest.raises(UserError, match="0 to 0"):
        session(path, hints=["box=1:25,25,58,50"])


def test_masks_of_a_large_photograph_have_its_own_size(photograph, tmp_path, monkeypatch):
    from PIL import Image

    from hoijax.io import photographs

    monkeypatch.setattr(photographs, "MAX_SIDE", 81)
    made = session(photograph[0])
    assert made.frames.shape == (1, 61, 81, 3)
    made.masks = {"box": np.ones((1, 61, 81), bool)}
    made.save(tmp_path / "masks")
    with Image.open(tmp_path / "masks" / "box" / "00000.png") as image:
        assert image.size == (W, H)


def test_an_animated_image_is_a_clip(tmp_path):
    from PIL import Image

    frames, _ = box_clip(4, lambda t: (30 + 4 * t, 30))
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(tmp_path / "clip.gif", save_all=True, append_images=others, duration=100)
    assert len(session(tmp_path / "clip.gif").frames) == 4


# ---- the page


@pytest.fixture
def editor(clip, tmp_path):
    pytest.importorskip("viser")
    from hoijax.viewer.mask_editor import open_mask_editor

    opened = open_mask_editor(session(clip[0]), tmp_path / "masks", host="127.0.0.1", port=0)
    yield opened
    opened.server.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_page_marks_follows_and_saves(editor, clip, tmp_path):
    _, masks = clip
    editor._try(lambda: editor.mark_box(25.0, 25.0, 58.0, 50.0))
    assert "marked in frame 0" in editor.status.content
    assert iou(editor.session.masks["box"][0], masks[0]) > 0.9
    editor.frame_slider.value = 5
    editor._try(lambda: editor.mark_point(300.0, 5.0, 1))
    assert "lies outside the image" in editor.status.content
    editor._try(editor._follow)
    assert "box: seen in 8 of 8 frames" in editor.status.content
    editor._try(editor._save)
    assert len(list((tmp_path / "masks" / "box").glob("*.png"))) == 8
    editor.frame_slider.value = 0
    editor._try(editor._forget)
    assert editor.session.hints == []


def test_the_page_of_a_photograph(photograph, tmp_path):
    pytest.importorskip("viser")
    from hoijax.viewer.mask_editor import open_mask_editor

    opened = open_mask_editor(session(photograph[0]), tmp_path / "m", host="127.0.0.1", port=0)
    try:
        assert not opened.frame_slider.visible
        opened._try(lambda: opened.mark_box(25.0, 25.0, 58.0, 50.0))
        assert "marked. Find all" in opened.status.content
        opened._try(opened._follow)
        opened._try(opened._save)
        assert "hoijax align" in opened.status.content
        assert len(list((tmp_path / "m").glob("*/00000.png"))) == 2
    finally:
        opened.server.stop()


def test_a_place_on_the_screen_is_a_pixel():
    """Of a camera that looks at the image from the front, by its own pinhole."""
    pytest.importorskip("viser")
    from hoijax.viewer.mask_editor import pixel_of_ray, ray_of_screen

    turn = Rotation.from_euler("xyz", [0.1, -0.2, 0.05])
    w, *xyz = np.roll(turn.as_quat(), 1)
    camera = SimpleNamespace(fov=0.8, aspect=1.6, wxyz=(w, *xyz))
    position = np.array([0.1, -0.05, -1.2])
    target = np.array([(100 / 160) - 0.5, (20 - 60) / 160, 0.0])  # pixel (100, 20) of 160 x 120
    seen = turn.inv().apply(target - position)
    reach = np.tan(0.4)
    place = (0.5 + 0.5 * seen[0] / seen[2] / (1.6 * reach), 0.5 + 0.5 * seen[1] / seen[2] / reach)
    pixel = pixel_of_ray(position, ray_of_screen(camera, place), 160, 120)
    np.testing.assert_allclose(pixel, (100, 20), atol=1e-6)
    assert pixel_of_ray(position, np.array([0.0, 0.0, -1.0]), 160, 120) is None


def test_the_command_needs_hints_to_end_by_itself(clip, tmp_path):
    command = Mask(video=clip[0], objects=("box",), out=tmp_path / "masks", save=True)
    with pytest.raises(UserError, match="--save needs a hint for every object"):
        command.run(Reporter("mask"))


def test_the_command_takes_mesh_files_for_the_names_of_objects(clip, tmp_path):
    mesh = tmp_path / "crate.ply"
    mesh.write_bytes(b"")
    command = Mask(
        video=clip[0],
        objects=(str(mesh),),
        out=tmp_path / "masks",
        hint=("barrel=0:1,1,5,5",),
        save=True,
    )
    with pytest.raises(UserError, match="no object of that name; there is crate"):
        command.run(Reporter("mask"))
