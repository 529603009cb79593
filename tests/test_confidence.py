"""Spreads, twins and doubts about a result, on scenes whose answer is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lifted_box import lifted_box

from hoijax.geometry.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from hoijax.methods import confidence, doubts
from hoijax.methods.base import method_named
from hoijax.methods.choice import unlikelihood
from hoijax.methods.confidence import _path_spread, assess, moves_least
from hoijax.results.spread import spread_summary
from hoijax.scene.scene import Unknowns
from hoijax.solver.problem import Solution
from hoijax.viewer.charts import UNSEEN, spread_strip


def assessed(scene, unknowns, result):
    """By losses alone."""
    return assess(scene, unknowns, result, unlikelihood(result.losses, None))


def test_path_spread_is_the_inverse_of_the_information():
    """One frame alone: what is measured adds to what is known without evidence."""
    blocks = np.zeros((1, 6, 6))
    blocks[0] = np.diag([4.0, 4.0, 4.0, 100.0, 100.0, 100.0])
    rotation, position = _path_spread(blocks)
    expected = np.sqrt(3.0 / (100.0 + confidence.ALONE_METRES**-2))
    np.testing.assert_allclose(position, expected, rtol=1e-6)
    expected = np.sqrt(3.0 / (4.0 + confidence.ALONE_RADIANS**-2))
    np.testing.assert_allclose(rotation, expected, rtol=1e-6)


def test_frames_without_evidence_are_wider_and_wider_from_what_is_seen():
    blocks = np.tile(np.diag([1e3] * 3 + [1e4] * 3).astype(float), (12, 1, 1))
    blocks[4:9] = 0.0
    rotation, position = _path_spread(blocks)
    assert position[6] > position[4] > position[2]
    assert rotation[6] > rotation[4] > rotation[2]


@pytest.fixture(scope="module")
def prepared():
    """A lift seen without errors, prepared with two candidates; and its truth."""
    bundle, truth = lifted_box()
    method = method_named("hoi-page")
    settings = method.settings(inits=2, start="yaw", points=64, grid_resolution=16)
    return method, method.prepare(bundle, settings, (), lambda stage: None), truth


def result_of(method, prepared, truth, turn=0.0, shift=0.0, losses=(1.0, 1.02)):
    """Candidate 0 is where the ground truth is (turned, shifted), candidate 1 turned by 90 degrees about x."""
    centers = np.asarray(prepared.scene.objects.centers)
    R = truth.Ts_world_object[:, :, :3, :3]
    places = truth.Ts_world_object[:, :, :3, 3] + np.einsum("otij,oj->oti", R, centers)
    quarter = np.asarray(axis_angle_to_matrix(jnp.asarray([np.pi / 2, 0.0, 0.0])))
    first = np.asarray(axis_angle_to_matrix(jnp.asarray([turn, 0.0, 0.0])))
    rotations = np.stack([R @ first, R @ quarter]).astype(np.float32)
    moved = places + np.asarray(shift)[..., None] * np.array([1.0, 0.0, 0.0])
    translations = np.stack([moved, places]).astype(np.float32)
    unknowns = Unknowns(matrix_to_rotation_6d(jnp.asarray(rotations)), jnp.asarray(translations))
    count = len(prepared.terms)
    solution = Solution(
        unknowns=unknowns,
        losses=np.asarray(losses, np.float32),
        initial_losses=np.ones(2, np.float32),
        reports=np.zeros((2, count), np.float32),
        history=np.zeros((2, 1, count), np.float32),
        codes=np.zeros(2, np.int32),
    )
    return unknowns, method.result(prepared, solution)


@pytest.mark.slow
def test_the_truth_leaves_no_doubt_and_an_object_far_off_does(prepared):
    method, scene, truth = prepared
    unknowns, result = result_of(method, scene, truth, losses=(1.0, 9.0))
    assert assessed(scene.scene, unknowns, result).doubts == ()
    unknowns, result = result_of(method, scene, truth, shift=-1.6, losses=(1.0, 9.0))
    said = " ".join(assessed(scene.scene, unknowns, result).doubts)
    for words in (
        "lies outside its outline",
        "is not covered",
        "cm away from it",
        "never nearer than",
    ):
        assert words in said
    unknowns, result = result_of(method, scene, truth, shift=np.linspace(0.0, 4.0, 12))
    said = " ".join(assessed(scene.scene, unknowns, result).doubts)
    assert "never nearer than" not in said
    assert "moves through the air" in said
    assert "more than 10 cm away from what should touch it in" in said


def test_candidates_that_fit_alike_and_are_turned_are_twins(prepared, monkeypatch):
    method, scene, truth = prepared
    unknowns, result = result_of(method, scene, truth)
    found = assessed(scene.scene, unknowns, result)
    assert found.twins == (1,)
    assert not found.doubts  # the turned box is nearly the box
    monkeypatch.setattr(doubts, "SAME_SHAPE", 0.0)
    said = assessed(scene.scene, unknowns, result).doubts
    assert "cannot tell them apart" in " ".join(said)
    clear = dataclasses.replace(result, losses=np.asarray([1.0, 9.0], np.float32))
    assert assessed(scene.scene, unknowns, clear).twins == ()
    assert np.all(found.rotation_spread > assessed(scene.scene, unknowns, clear).rotation_spread)


def test_frames_in_which_nothing_was_seen_are_flagged_and_wider(prepared):
    method, scene, truth = prepared
    unknowns, result = result_of(method, scene, truth, losses=(1.0, 9.0))
    hidden = np.array(scene.scene.observed.detected)
    hidden[0, 3:6] = False
    blind = jax.tree.map(lambda x: x, scene.scene)
    observed = dataclasses.replace(
        blind.observed,
        detected=jnp.asarray(hidden),
        point_mask=blind.observed.point_mask & jnp.asarray(hidden)[..., None],
    )
    found = assessed(dataclasses.replace(blind, observed=observed), unknowns, result)
    assert found.unseen[0].tolist() == (~hidden[0]).tolist()
    assert found.position_spread[0, 4] > found.position_spread[0, 0]


def test_of_candidates_that_cannot_be_told_apart_the_calm_one_wins(prepared):
    method, scene, truth = prepared
    _, result = result_of(method, scene, truth)
    assert moves_least(result, (0, 1)) == 0  # the turned box moves as much
    restless = np.array(result.object_rotations)
    restless[0, :, ::2] = restless[1, :, ::2]
    wild = dataclasses.replace(result, object_rotations=restless)
    assert moves_least(wild, (0, 1)) == 1
    assert dataclasses.replace(wild, chosen=1).winner == 1


def test_spreads_are_summed_up_and_drawn(prepared):
    method, scene, truth = prepared
    unknowns, result = result_of(method, scene, truth)
    assert spread_summary(result) == {}
    found = assessed(scene.scene, unknowns, result)
    position = np.full((1, 12), 0.02)
    unseen = np.zeros((1, 12), bool)
    unseen[0, :3] = True
    sure = dataclasses.replace(
        result, position_spread=position, rotation_spread=found.rotation_spread, unseen=unseen
    )
    summary = spread_summary(sure)
    assert summary["position_90_cm"] == pytest.approx(100 * 1.645 * 0.02)
    assert summary["unseen_share"] == pytest.approx(0.25)
    strip = spread_strip(["<box>"], position, found.rotation_spread, unseen, frame=1)
    assert strip.count(f'fill="{UNSEEN}"') == 3
    assert "<box>" not in strip


def test_an_object_hardly_larger_than_a_few_pixels_is_doubted(prepared):
    """Its mask is too small for an outline in all frames but the first."""
    method, scene, truth = prepared
    outline = scene.scene.silhouettes.outline
    short = np.array(outline.falls_short)
    short[:, 1:] = 0.0
    silhouettes = scene.scene.silhouettes.replace(outline=outline.replace(falls_short=short))
    unknowns, result = result_of(method, scene, truth, losses=(1.0, 9.0))
    said = assessed(scene.scene.replace(silhouettes=silhouettes), unknowns, result).doubts
    assert "fewer than 24 pixels in" in " ".join(said)
