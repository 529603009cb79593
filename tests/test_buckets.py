"""Different scenes share compiled programs, and the padding that makes them alike changes nothing."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from scene_variants import variant
from small_scene import as_users_run, generated

import hoijax.staging
from hoijax.bundle import read_bundle
from hoijax.config import AlignmentSettings, preset_settings
from hoijax.methods.hoi_page import solve_bundle
from hoijax.solver import segments
from hoijax.solver.align import align_point_maps

SCENES = 10
MOST_PROGRAMS = 3
SETTINGS = dataclasses.replace(
    preset_settings("default"),
    inits=2,
    start="yaw",
    steps=3,
    grid_resolution=10,
    points=256,
    contact_points=8,
    alignment=AlignmentSettings(steps=5, points=64, vertices=256),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return read_bundle(generated(tmp_path_factory)[0] / "bundle")


@pytest.mark.slow
def test_ten_different_scenes_share_few_programs(base):
    counted: tuple[Any, ...] = (segments._segment, align_point_maps)
    before = [function._cache_size() for function in counted]
    with as_users_run():
        for number in range(SCENES):
            result = solve_bundle(variant(base, number), SETTINGS)
            assert np.isfinite(result.losses).all()
    compiled = [f._cache_size() - n for f, n in zip(counted, before, strict=True)]
    assert 1 <= compiled[0] <= MOST_PROGRAMS
    assert 1 <= compiled[1] <= MOST_PROGRAMS


@pytest.mark.slow
def test_padding_changes_nothing(base, monkeypatch):
    bundle = variant(base, 3)
    points = bundle.observations.object_points.shape[2]
    assert points < 256
    with as_users_run():
        padded = solve_bundle(bundle, SETTINGS)
        for name in ("PARTS_STEP", "EDGES_STEP", "CELLS_STEP"):
            monkeypatch.setattr(hoijax.staging, name, 1)
        plain = solve_bundle(bundle, dataclasses.replace(SETTINGS, points=points))
    np.testing.assert_allclose(padded.initial_losses, plain.initial_losses, rtol=1e-5)
    np.testing.assert_allclose(padded.reports, plain.reports, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(padded.object_translations, plain.object_translations, atol=1e-4)
    np.testing.assert_allclose(padded.object_rotations, plain.object_rotations, atol=1e-3)
