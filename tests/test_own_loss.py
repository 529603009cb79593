"""The program of docs/your-own-loss.md runs as it stands there, and its loss does what it says."""

import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from anchor_factory import few_losses, make_anchor
from counted import programs_made
from scene_factory import make_scene
from small_scene import (
    INITS,
    SMALL_ALIGNMENT,
    SMALL_SEARCH,
    as_users_run,
    copy_of,
    generated,
    small_presets,
)

import hoijax
from hoijax.losses.body import body_smoothness
from hoijax.losses.term import LossTerm, reduce_term
from hoijax.methods.anchor_motion.terms import anchor_problem
from hoijax.methods.hoi_page.terms import TERMS, object_problem, object_table
from hoijax.scene.posed import object_poses, pose_scene

PAGE = Path(__file__).parents[1] / "docs" / "your-own-loss.md"
STEPS = 36


@pytest.mark.slow
def test_the_program_in_the_docs_runs_and_its_loss_has_effect(
    tmp_path, tmp_path_factory, monkeypatch, capsys
):
    copy_of(generated(tmp_path_factory)[0] / "bundle", tmp_path / "out" / "box" / "bundle")
    monkeypatch.chdir(tmp_path)
    real = hoijax.solve
    monkeypatch.setattr(hoijax, "solve", partial(real, inits=INITS, steps=STEPS))
    first, second = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict = {}
    with as_users_run(), small_presets():
        exec(compile(first, str(PAGE), "exec"), names)
        with programs_made(0):  # another weight compiles nothing
            exec(compile(second, str(PAGE), "exec"), names)
    upright, plain, column = names["result"], names["without"], names["column"]
    assert upright.term_names == (
        *(term.name for term in object_table("default", outlines=True)),
        "upright",
    )
    assert upright.reports.shape == (INITS, len(upright.term_names))
    assert upright.history.shape == (INITS, STEPS + 1, len(upright.term_names))  # with the start
    # Every candidate leans less with the loss than without, the winner clearly (one that starts
    # upside down has next to no slope to follow), and as its poses say.
    assert np.all(upright.reports[:, column] < plain.reports[:, column])
    winner = upright.winner
    assert upright.reports[winner, column] < 0.5 * plain.reports[winner, column]
    lean = 1 - upright.object_rotations[:, 0, :, 1, 1].mean(axis=-1)
    np.testing.assert_allclose(upright.reports[:, column], lean, atol=1e-4)
    assert "lean of the winner" in capsys.readouterr().out


def upright(posed: hoijax.PosedScene):
    """The loss of the page."""
    lean = 1.0 - posed.object_rotations[:, :, 1, 1]
    return lean, jnp.ones_like(lean, dtype=bool)


OBJECT_TERMS = (LossTerm.constant("upright", upright, 1.0), *TERMS["default"])


@jax.jit
def in_both_methods(scene, unknowns, neighbors):
    """Terms of the same poses as either method poses them: bodies move, or stand where they then are."""
    moving = anchor_problem(OBJECT_TERMS).pose(scene, unknowns, neighbors)
    edges = scene.edges.replace(points=moving.contact_points)
    skin = moving.body_vertices_world
    fixed = scene.replace(bodies=None, body_vertices_world=skin, edges=edges, observed_images=None)
    objects = unknowns.replace(body_rotation_6d=None, body_translation=None)
    still = object_problem(OBJECT_TERMS).pose(fixed, objects, neighbors)
    return tuple(
        jnp.stack([reduce_term(term, posed) for term in OBJECT_TERMS]) for posed in (moving, still)
    )


@pytest.mark.slow
def test_a_loss_is_the_same_number_in_both_methods():
    scene, unknowns, neighbors = make_anchor()
    moving, fixed = map(np.asarray, in_both_methods(scene, unknowns, neighbors))
    np.testing.assert_allclose(moving, fixed, rtol=1e-6)
    rotations, _ = object_poses(scene, unknowns)
    expected = (1.0 - np.asarray(rotations)[:, :, 1, 1]).mean(axis=-1).sum()
    assert moving[0] == pytest.approx(expected, rel=1e-5)


def test_a_loss_of_moving_bodies_says_so_where_they_are_fixed():
    made = make_scene()
    posed = pose_scene(made.scene, made.unknowns, made.neighbors)
    with pytest.raises(hoijax.UserError, match="joints of moving bodies"):
        body_smoothness(posed)


@pytest.mark.slow
def test_the_loss_of_the_page_moves_objects_in_anchor_motion(tmp_path_factory):
    bundle = generated(tmp_path_factory)[0] / "bundle"
    terms = [hoijax.LossTerm.constant("upright", upright, 100.0)]
    options = {"body_start": "estimate", "render_width": 0, "inits": 1, "steps": 15}
    options |= {"track_steps": 10, "points": 96, "grid_resolution": 24}
    options |= {"search": SMALL_SEARCH, "alignment": SMALL_ALIGNMENT}
    with as_users_run(), few_losses():
        result = hoijax.solve(bundle, method="anchor-motion", terms=terms, **options)
    column = result.term_names.index("upright")
    lean = 1 - result.object_rotations[:, 0, :, 1, 1].mean(axis=-1)
    np.testing.assert_allclose(result.reports[:, column], lean, atol=1e-4)
    assert result.reports[0, column] < result.history[0, 0, column]


def test_a_weight_of_no_term_is_refused(tmp_path_factory):
    bundle = generated(tmp_path_factory)[0] / "bundle"
    with pytest.raises(hoijax.UserError, match=r"unknown loss terms \['upright'\]"):
        hoijax.solve(bundle, weights={"upright": 1.0})
