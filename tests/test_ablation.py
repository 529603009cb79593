"""`hoijax ablate`: the table's shape, where bundles are found, and that the switches do something."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_scene import copy_of, generated, run

import hoijax
import hoijax.experiments.ablation
from hoijax.bundle.discovery import find_bundles
from hoijax.errors import UserError
from hoijax.experiments.ablation import (
    COLUMNS,
    CONFIGURATIONS,
    ablate,
    without_motion_states,
    without_part_labels,
)

AWAY = 0.4  # metres that the object is seen further from the person than it was


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return generated(tmp_path_factory)[0] / "bundle"


@pytest.fixture(scope="module")
def seen_too_far(bundle, tmp_path_factory) -> Path:
    """The small scene with every observed object point moved straight away from the person."""
    scene = hoijax.read_bundle(bundle)
    o = scene.observations
    objects, people = (
        points[mask].mean(axis=0)
        for points, mask in (
            (o.object_points, o.object_point_mask),
            (o.person_points, o.person_point_mask),
        )
    )
    away = (AWAY * (objects - people) / np.linalg.norm(objects - people)).astype(np.float32)
    points = np.where(o.object_point_mask[..., None], o.object_points + away, 0)
    seen = dataclasses.replace(o, object_points=points.astype(np.float32))
    path = tmp_path_factory.mktemp("ablation") / "far"
    return hoijax.write_bundle(path, dataclasses.replace(scene, observations=seen))


@pytest.mark.slow
@pytest.mark.thorough
def test_without_part_contact_the_contact_falls(seen_too_far, tmp_path):
    """Published: from 0.76 to 0.26. Contact alone can bring an object back that was seen too far."""
    arguments = ("--inits", 1, "--steps", "100", "--out", tmp_path / "table")
    ran = run("ablate", seen_too_far, "--preset", "hoi-page-table", *arguments)
    assert ran.code == 0, ran.err
    files = {path.name for path in (tmp_path / "table").iterdir()}
    assert files == {"run.json", "table.csv", "table.md", "table.tex", "table.png"}
    content = json.loads((tmp_path / "table" / "run.json").read_text())
    rows = {row["configuration"]: row for row in content["rows"]}
    assert list(rows) == [configuration.name for configuration in CONFIGURATIONS]
    assert all({"configuration", *COLUMNS} <= set(row) for row in rows.values())
    assert (tmp_path / "table" / "table.md").read_text().count("without part") == 2
    assert len(content["singles"]) == len(CONFIGURATIONS)
    for name in (*COLUMNS, *rows):
        assert name in ran.out
    full, without = rows["full"], rows["without part contact"]
    assert without["contact@0cm"] < full["contact@0cm"] - 0.15
    assert without["edge contact@5cm"] < full["edge contact@5cm"] - 0.3
    fitted = rows["without part fitting"]
    assert any(fitted[column] != full[column] for column in COLUMNS)


@pytest.mark.slow
def test_without_part_labels_nothing_is_labeled(bundle):
    scene = hoijax.read_bundle(bundle)
    assert (scene.observations.object_point_parts >= 0).any()
    told = without_part_labels(scene)
    assert (told.observations.object_point_parts == -1).all()
    np.testing.assert_array_equal(told.observations.object_points, scene.observations.object_points)


def test_without_motion_states_everything_may_move(bundle):
    scene = hoijax.read_bundle(bundle)
    still = {"is_translational": False, "is_rotational": False}
    node = scene.affordance.objects[0].model_copy(update=still)
    graph = scene.affordance.model_copy(update={"objects": (node,)})
    told = without_motion_states(dataclasses.replace(scene, affordance=graph)).affordance
    assert told.objects[0].is_translational
    assert told.objects[0].is_rotational
    assert told.edges == graph.edges


def test_bundles_are_found_in_folders_zips_and_results(bundle, tmp_path):
    assert find_bundles(bundle) == [bundle]
    plain = copy_of(bundle, tmp_path / "a_scene")
    result = copy_of(bundle, tmp_path / "b_result" / "bundle")
    (tmp_path / "c_scene.zip").write_bytes(b"looked at when it is read")
    copy_of(bundle, tmp_path / ".hidden")
    (tmp_path / "notes.txt").write_text("no bundle")
    assert find_bundles(tmp_path) == [plain, result, tmp_path / "c_scene.zip"]


def test_a_folder_without_bundles_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no bundle in"):
        find_bundles(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        find_bundles(tmp_path / "gone")


def test_a_table_that_is_cut_off_goes_on_with_what_was_measured(tmp_path, monkeypatch):
    solved: list[str] = []
    result = SimpleNamespace(winner=0)

    def solve(bundle, configuration, *_):
        solved.append(configuration.name)
        if len(solved) == 3:
            raise KeyboardInterrupt
        return result

    def evaluator(*_):
        measure = lambda k: {name: len(solved) / 3 for name in measured}  # noqa: E731
        return SimpleNamespace(measure=measure, take=lambda result: None)

    measured = COLUMNS.values()
    for name, stub in (
        ("_solve", solve),
        ("Evaluator", evaluator),
        ("load_body", lambda name: None),
        ("find_ground_truth", lambda path: None),
        ("find_bundles", lambda path: [path]),
        ("bundle_hash", lambda path: "hash"),
        ("read_bundle", lambda path: SimpleNamespace(body="anny")),
    ):
        monkeypatch.setattr(hoijax.experiments.ablation, name, stub)
    out = tmp_path / "table.json"
    with pytest.raises(KeyboardInterrupt):
        ablate(tmp_path / "bundle", out=out)
    with pytest.raises(UserError, match=r"seed: 0 there, 1 now[\s\S]*--restart"):
        ablate(tmp_path / "bundle", out=out, seed=1)
    said: list[str] = []
    rows = ablate(tmp_path / "bundle", out=out, log=said.append)
    names = [configuration.name for configuration in CONFIGURATIONS]
    assert solved == [*names[:3], *names[2:]]
    assert "2 rows were measured" in said[0]
    assert [row["configuration"] for row in rows] == names
    assert [row["smoothness"] for row in rows] == pytest.approx([1 / 3, 2 / 3, 4 / 3, 5 / 3])
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]
