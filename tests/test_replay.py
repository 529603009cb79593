"""The replay in MuJoCo on scenes whose fate is known, and what it says where it cannot run."""

import dataclasses
import sys

import numpy as np
import pytest
from test_physics import FPS, HALF, MASS, T, along, held, moved_object  # noqa: F401 (a fixture)

from hoijax.errors import UserError
from hoijax.physics import decomposition
from hoijax.physics.decomposition import convex_pieces
from hoijax.physics.pads import carried
from hoijax.physics.replay import Replay, replay
from hoijax.physics.rigid_motion import rigid_motion
from hoijax.physics.support import SupportSettings, find_support
from hoijax.physics.verdict import Weight, judge

pytest.importorskip("mujoco")
pytest.importorskip("coacd")


def replayed(motion, mass: float = MASS) -> Replay:
    settings = SupportSettings()
    rigid = rigid_motion(motion, mass)
    return replay(motion, rigid, find_support(motion, rigid, settings), settings)


def test_two_palms_keep_a_box(held):  # noqa: F811
    again = replayed(held)
    np.testing.assert_array_equal(
        again.starts, [0]
    )  # of nine frames at 10 fps, half a second must be left
    assert again.carried.all()
    assert again.held.all()
    assert np.nanmax(again.drift) < 0.005
    assert not again.pieces.is_hull


@pytest.mark.parametrize("control", ["hovers", "hands off", "two hundred kilograms"])
def test_negative_controls_fall(held, control):  # noqa: F811
    if control == "hovers":
        held = moved_object(held, [0, 0, 0.4])
    if control == "hands off":  # from the third frame on
        skin = held.body_vertices.copy()
        skin[2:, 8:12, 0] -= 0.1
        held = dataclasses.replace(held, body_vertices=skin)
    again = replayed(held, 200.0 if "kilograms" in control else MASS)
    assert not again.held[0]
    assert again.held_seconds[0] < 0.6
    assert again.drift[0, 0] > 0.1


def test_palms_carry_it_along(held):  # noqa: F811
    """Sideways and up at 0.3 m/s with the hands; left behind where only the object is said to move."""
    path = along(0.3 * np.arange(T) / FPS, 1) + along(0.3 * np.arange(T) / FPS, 2)
    moving = moved_object(held, path)
    both = dataclasses.replace(moving, body_vertices=held.body_vertices + path)
    again = replayed(both)
    assert again.held.all()
    assert np.nanmax(again.drift) < 0.02
    assert not replayed(moving).held[0]


def test_a_fall_onto_the_ground_happens_and_its_reverse_does_not(held):  # noqa: F811
    times = np.arange(T) / FPS
    height = np.maximum(0.5 - 0.5 * 9.81 * times**2, 0)  # lands after 0.32 s and stays
    ground, away = HALF - 1.0, np.array([0, 0, 3.0])
    falls = moved_object(held, along(ground + height, 1) + away)
    leaps = moved_object(held, along(ground + height[::-1], 1) + away)
    assert replayed(falls).drift[0, 0] < 0.05
    assert not replayed(leaps).held[0]


def test_pads_follow_the_skin_around_them():
    """A patch that turns by 90 degrees about z and shifts takes its point along."""
    rng = np.random.default_rng(0)
    patch = rng.normal(size=(50, 3))
    turned = patch @ np.array([[0, 1.0, 0], [-1, 0, 0], [0, 0, 1]]) + [1, 2, 3]
    point = np.array([[0.1, 0.2, 0.3]])
    moved = carried(np.stack([patch, turned]), point)
    np.testing.assert_allclose(moved[0], point, atol=1e-9)
    np.testing.assert_allclose(moved[1], [[1 - 0.2, 2 + 0.1, 3.3]], atol=1e-9)


def test_points_leave_the_pieces_they_are_in():
    vertices = np.array([[x, y, z] for x in (0, 1.0) for y in (0, 1.0) for z in (0, 1.0)])
    import trimesh

    box = trimesh.convex.convex_hull(vertices)
    pieces = convex_pieces(np.asarray(box.vertices), np.asarray(box.faces))
    inside, apart = np.array([0.9, 0.5, 0.5]), np.array([2.0, 0.5, 0.5])
    moved = pieces.outside(np.stack([inside, apart]), np.array([[1.0, 0, 0]] * 2))
    np.testing.assert_allclose(moved, [[1, 0.5, 0.5], apart], atol=0.05)


@pytest.mark.parametrize(
    "worker",
    ["raise RuntimeError('no manifold')", "import os; os.abort()", "import time; time.sleep(60)"],
)
def test_what_cannot_be_decomposed_is_its_hull_and_says_so(held, monkeypatch, tmp_path, worker):  # noqa: F811
    """CoACD refuses, crashes, or takes too long."""
    (tmp_path / "worker.py").write_text(worker)
    monkeypatch.setattr(decomposition, "WORKER", tmp_path / "worker.py")
    monkeypatch.setattr(decomposition, "MAX_SECONDS", 0.5)
    verdict = judge(held, Weight(MASS), simulate=True)
    assert "collides as its hull: it could not be decomposed" in verdict.sentence
    assert verdict.values["replay_held_share_carried@1s"] == 1


def test_the_verdict_has_the_replay(held):  # noqa: F811
    verdict = judge(held, Weight(MASS), simulate=True)
    assert "replay keeps it in 1 of 1 starts" in verdict.sentence
    assert verdict.values["replay_held_share_carried@1s"] == 1
    assert verdict.replay is not None
    assert verdict.replay["start_s"] == [0.0]


@pytest.mark.parametrize("module", ["mujoco", "coacd"])
def test_without_a_simulator_the_extra_is_named(held, module, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"hoijax\[physics\]"):
        judge(held, Weight(MASS), simulate=True)
