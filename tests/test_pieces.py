"""A clip in pieces: its object is handed on, and seen as in one go."""

import numpy as np
import pytest

from hoijax.bundle.bundle import Bundle
from hoijax.bundle.observations import Observations
from hoijax.errors import UserError
from hoijax.io.video import write_video
from hoijax.objects.asset import Asset
from priors.observe import pieces
from priors.observe.pieces import observe_pieces
from priors.observe.run import ObserveOptions
from priors.protocols import ClipOrigin

FPS, COUNT, SIDE = 10.0, 70, 12


def bare(kind, **fields):
    """An object of a class with these fields alone."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


BOX = (bare(Asset, name="box"),)


def corner(t: int) -> tuple[int, int]:
    return 20 + t, 30 + int(8 * np.sin(0.2 * t))


def clip(tmp_path, hidden=()):
    """A white square that moves over a gray image; hidden: frames in which it is gone."""
    frames = np.full((COUNT, 96, 128, 3), 90, np.uint8)
    for t in range(COUNT):
        if t not in hidden:
            x, y = corner(t)
            frames[t, y : y + SIDE, x : x + SIDE] = 255
    return write_video(tmp_path / "clip.mp4", frames, FPS)


def options(path, *hints: str, **others) -> ObserveOptions:
    return ObserveOptions(video=path, hints=hints, camera="static", prior="packaged", **others)


def bright(text, assets, part, seen, **_):
    """The square in every frame, if the hint's box is about it: in place of all stages."""
    frames = seen.video.frames
    masks = frames[..., 0] > 170
    hint = seen.hints[0]
    rows, columns = np.nonzero(masks[hint.frame])
    wanted = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
    np.testing.assert_allclose(hint.box, wanted, atol=1.5)
    ids = np.where(masks, 2, 0).astype(np.uint8)
    seen_of = bare(Observations, instance_ids=ids, body_rotations=np.zeros((1, len(ids), 55, 3)))
    return bare(Bundle, observations=seen_of, assets=BOX), b""


@pytest.fixture(autouse=True)
def stages(monkeypatch):
    monkeypatch.setattr(pieces, "observe_seen", bright)


def test_pieces_see_what_one_go_sees(tmp_path):
    path = clip(tmp_path)
    x, y = corner(0)
    asked = options(path, f"box=0:{x},{y},{SIDE},{SIDE}")
    (whole,) = observe_pieces("", BOX, asked, 60.0)
    parts = list(observe_pieces("", BOX, asked, 2.0))
    expected = whole.bundle.observations.instance_ids
    assert len(expected) == COUNT
    ends = []
    for part in parts:
        ids = part.bundle.observations.instance_ids
        assert len(ids) <= 20
        differ = (ids != expected[part.begin : part.begin + len(ids)]).mean(axis=(1, 2))
        assert differ.max() < 0.002  # the decoder starts elsewhere
        ends.append(part.begin + len(ids))
    begins = [part.begin for part in parts]
    assert begins[0] == 0
    assert ends[-1] == COUNT
    assert all(begin < end for begin, end in zip(begins[1:], ends[:-1], strict=True))


def test_an_object_that_hides_at_the_end_of_a_piece_is_handed_on_from_before(tmp_path):
    x, y = corner(0)
    asked = options(clip(tmp_path, hidden=range(15, 22)), f"box=0:{x},{y},{SIDE},{SIDE}")
    parts = list(observe_pieces("", BOX, asked, 2.0))
    assert parts[1].begin == 14


def test_an_object_that_stays_away_needs_a_hint(tmp_path):
    x, y = corner(0)
    path, first = clip(tmp_path, hidden=range(5, 25)), f"box=0:{x},{y},{SIDE},{SIDE}"
    with pytest.raises(UserError, match=r"out of sight from frame 5 on: .*--hint box=FRAME"):
        list(observe_pieces("", BOX, options(path, first), 2.0))
    x, y = corner(26)
    again = options(path, first, f"box=26:{x},{y},{SIDE},{SIDE}")
    assert [part.begin for part in observe_pieces("", BOX, again, 2.0)][:2] == [0, 10]


def test_boxes_are_handed_on_in_the_pixels_of_the_file():
    """Steadied by a shift of (5, -3) in frame 1, of a clip that was made half as large."""
    mask = np.zeros((48, 64), bool)
    mask[10:20, 30:50] = True
    motions = np.tile(np.eye(3), (2, 1, 1))
    motions[1, :2, 2] = 5.0, -3.0
    seen = pieces.SeenClip(None, (), ClipOrigin(0.5, motions))
    assert pieces._hint_in_file("box", mask, 0, seen).box == (60.0, 20.0, 40.0, 20.0)
    assert pieces._hint_in_file("box", mask, 1, seen).box == (70.0, 14.0, 40.0, 20.0)


def test_what_pieces_cannot_be_made_of_is_refused(tmp_path):
    path = clip(tmp_path)
    for asked, seconds, words in (
        (ObserveOptions(), 2.0, "give --video"),
        (options(path), 0.5, "at least 1.6 seconds"),
        (options(path, masks=tmp_path), 2.0, "whole clips"),
    ):
        with pytest.raises(UserError, match=words):
            next(observe_pieces("", BOX, asked, seconds))


def test_a_person_who_was_pointed_at_is_handed_on(tmp_path, monkeypatch):
    """A black square is the person, gone at the end of the second piece; the hint is in the first."""
    frames = np.full((COUNT, 96, 128, 3), 90, np.uint8)
    for t in range(COUNT):
        x, y = corner(t)
        frames[t, y : y + SIDE, x : x + SIDE] = 255
        if not 22 <= t < 45:
            frames[t, 70:90, 100:110] = 0
    path = write_video(tmp_path / "clip.mp4", frames, FPS)
    given = []

    def seeing(text, assets, part, seen, **_):
        given.append({h.object: (h.frame, h.box) for h in seen.hints})
        gray = seen.video.frames[..., 0]
        ids = np.where(gray > 170, 2, np.where(gray < 40, 1, 0)).astype(np.uint8)
        seen_of = bare(
            Observations, instance_ids=ids, body_rotations=np.zeros((1, len(ids), 55, 3))
        )
        return bare(Bundle, observations=seen_of, assets=BOX), b""

    monkeypatch.setattr(pieces, "observe_seen", seeing)
    x, y = corner(0)
    asked = options(path, f"box=0:{x},{y},{SIDE},{SIDE}", "person=0:100,70,10,20")
    said: list[str] = []
    parts = list(observe_pieces("", BOX, asked, 2.0, log=said.append))
    assert len(parts) > 3
    frame, found = given[1]["person"]
    assert frame == 0
    np.testing.assert_allclose(found, (100, 70, 10, 20), atol=1.5)
    assert all("person" not in hints for hints in given[2:])
    assert (
        "people: person is out of sight from frame 22 on; who is meant later is said by"
        in "".join(said)
    )
    plain = options(path, f"box=0:{x},{y},{SIDE},{SIDE}")
    given.clear()
    list(observe_pieces("", BOX, plain, 2.0))
    assert all("person" not in hints for hints in given)
