"""Different scenes share compiled programs, and the padding that makes them alike changes nothing."""

import dataclasses

import jax
import numpy as np
import pytest
from counted import programs_made
from scene_variants import variant
from small_scene import SMALL_SEARCH, as_users_run, generated

import hoijax.scene.build_constants
import hoijax.scene.build_contacts
from hoijax.bundle.write import read_bundle
from hoijax.initialization.point_map_alignment import align_point_maps
from hoijax.methods import running
from hoijax.methods.anchor_motion.method import METHOD as ANCHOR_MOTION
from hoijax.methods.hoi_page.method import METHOD
from hoijax.methods.running import solve_bundle
from hoijax.settings import AlignmentSettings, AnchorSettings, SearchSettings
from hoijax.solver.batch import bucket_of

SCENES = (0, 1, 3, 5)  # of one to six edges, each another object
MAX_PROGRAMS = 3
SETTINGS = METHOD.settings(
    inits=2,
    start="yaw",
    steps=3,
    grid_resolution=10,
    points=256,
    contact_points=8,
    alignment=AlignmentSettings(steps=5, points=64, vertices=256),
    search=SMALL_SEARCH,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return read_bundle(generated(tmp_path_factory)[0] / "bundle")


class Staged(Exception):
    """A solve was stopped where its descent would begin."""


def staged(monkeypatch) -> list:
    """Solves stop there; steppers and shapes of what they get: what a program is kept by."""
    seen = []

    def stop(solver, inputs, *rest):
        seen.append((jax.tree.structure(solver), bucket_of(inputs)))
        raise Staged

    monkeypatch.setattr(running, "optimize_in_segments", stop)
    return seen


@pytest.mark.slow
def test_different_scenes_share_few_programs(base, monkeypatch):
    seen = staged(monkeypatch)
    with programs_made(MAX_PROGRAMS, align_point_maps):
        for number in SCENES:
            with as_users_run(), pytest.raises(Staged):
                solve_bundle(METHOD, variant(base, number), SETTINGS)
    assert len(seen) == len(SCENES)
    assert 1 <= len(set(seen)) <= MAX_PROGRAMS


@pytest.mark.slow
def test_padding_changes_nothing(base, monkeypatch):
    bundle = variant(base, 3)
    points = bundle.observations.object_points.shape[2]
    assert points < 256
    with as_users_run():
        padded = solve_bundle(METHOD, bundle, SETTINGS)
        for name in ("PARTS_STEP", "EDGES_STEP", "CELLS_STEP"):
            monkeypatch.setattr(hoijax.scene.build_constants, name, 1)
        monkeypatch.setattr(hoijax.scene.build_contacts, "EDGES_STEP", 1)
        plain = solve_bundle(METHOD, bundle, dataclasses.replace(SETTINGS, points=points))
    np.testing.assert_allclose(padded.initial_losses, plain.initial_losses, rtol=1e-5)
    np.testing.assert_allclose(padded.reports, plain.reports, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(padded.object_translations, plain.object_translations, atol=1e-4)
    np.testing.assert_allclose(padded.object_rotations, plain.object_rotations, atol=1e-3)


@pytest.mark.slow
def test_anchor_scenes_of_other_people_and_objects_share_a_program(base, monkeypatch):
    settings = AnchorSettings(
        inits=1,
        body_start="estimate",
        points=64,
        grid_resolution=10,
        alignment=SETTINGS.alignment,
        search=SearchSettings(rotations=8, coarse_steps=1, fine_steps=1, keep=4),
    )
    o = base.observations
    other = dataclasses.replace(
        o,
        body_betas=o.body_betas + np.float32(0.1),
        body_rest_joints=(o.body_rest_joints * 1.07).astype(np.float32),
    )
    seen = staged(monkeypatch)
    for bundle in (variant(base, 0), variant(dataclasses.replace(base, observations=other), 1)):
        shown = slice(0, base.observations.instance_ids.shape[1])
        ids = bundle.observations.instance_ids[:, shown, : base.observations.instance_ids.shape[2]]
        same_size = dataclasses.replace(bundle.observations, instance_ids=ids)
        with as_users_run(), pytest.raises(Staged):
            solve_bundle(
                ANCHOR_MOTION, dataclasses.replace(bundle, observations=same_size), settings
            )
    assert seen[0] == seen[1]
