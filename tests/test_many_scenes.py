"""`hoijax solve` on many bundles: names, a truncated bundle among good ones, reruns, the summary."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_scene import INITS, generated, run, tree

import hoijax.jobs.scenes
from hoijax.errors import UserError
from hoijax.jobs.scene_names import find_scenes, is_many
from hoijax.jobs.scenes import solve_many
from hoijax.programs import forget_programs
from hoijax.results.result import load_result

OPTIONS = ("--inits", str(INITS))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return generated(tmp_path_factory)[0] / "bundle"


@pytest.fixture
def bundles(bundle, tmp_path) -> Path:
    """Three bundles; the middle one's observations end early."""
    folder = tmp_path / "bundles"
    for name in ("first", "second", "third"):
        shutil.copytree(bundle, folder / name)
    observations = folder / "second" / "observations.npz"
    observations.write_bytes(observations.read_bytes()[:2000])
    return folder


@pytest.mark.slow
@pytest.mark.thorough
def test_a_truncated_bundle_among_good_ones(bundles, bundle, tmp_path):
    forget_programs()
    out = tmp_path / "results"
    ran = run("solve", bundles, *OPTIONS, "--out", out)
    assert ran.code == 2
    assert "2 of 3 scenes done" in ran.out
    assert "3/3 scenes" in ran.out
    assert "second: " in ran.out
    assert "observations.npz" in ran.out
    first, third = load_result(out / "first"), load_result(out / "third")
    alone = load_result(bundle.parent)
    for result in (first, third):
        # The same program, but what is not kept may be compiled otherwise in this process.
        np.testing.assert_allclose(result.object_translations, alone.object_translations, atol=2e-3)
        np.testing.assert_allclose(result.losses, alone.losses, rtol=2e-2)
    assert not (out / "second").exists()
    rows = {
        row["scene"]: row for row in csv.DictReader((out / "summary.csv").read_text().splitlines())
    }
    assert [row["state"] for row in rows.values()] == ["done", "failed", "done"]
    assert float(rows["first"]["loss"]) == pytest.approx(float(first.losses.min()))

    # Mended: only what is missing is done.
    shutil.copy(bundle / "observations.npz", bundles / "second")
    before = tree(out / "first")
    again = run("solve", f"{bundles}/*", *OPTIONS, "--out", out)
    assert again.code == 0, again.err
    assert "3 scenes, 2 of them done before" in again.out
    assert tree(out / "first") == before
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["done"], summary["failed"]) == (3, 0)

    # Other settings: refused before anything happens, named.
    everything = tree(out)
    refused = run("solve", bundles, "--inits", str(INITS + 1), "--out", out)
    assert refused.code == 2
    assert f"settings.settings.inits: {INITS} there, {INITS + 1} now" in refused.err
    assert tree(out) == everything


def test_names_of_scenes(bundle, tmp_path):
    for name in ("a/x", "b/x", "c/bundle"):
        shutil.copytree(bundle, tmp_path / "all" / name)
    shutil.make_archive(str(tmp_path / "all" / "a" / "y"), "zip", bundle)
    (tmp_path / "all" / "a" / "README").write_text("not a bundle")
    root = tmp_path / "all"
    assert set(find_scenes([root / "a"])) == {"x", "y"}
    assert set(find_scenes([root])) == {"c"}
    assert set(find_scenes([root / "*" / "*"])) == {"a-x", "a-y", "b-x", "c"}
    with pytest.raises(UserError, match="would both be scene 'x'"):
        find_scenes([root / "a", root / "b"])
    with pytest.raises(UserError, match="no bundle matches"):
        find_scenes([root / "nothing*"])
    assert is_many([root])
    assert is_many([root / "*"])
    assert is_many([root / "a", root / "b"])
    assert not is_many([bundle])
    assert not is_many([root / "gone"])
    assert not is_many([bundle.parent])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"weights": {"contcat": 1.0}}, "contcat"),
        ({"inits": 0}, "--inits"),
        ({"preset": "hoi"}, "preset"),
    ],
)
def test_bad_options_are_refused_before_work(bundles, tmp_path, options, says, monkeypatch):
    monkeypatch.setattr(hoijax.jobs.scenes, "SceneBatch", lambda *_, **__: pytest.fail("ran"))
    with pytest.raises(UserError, match=says):
        solve_many([bundles], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_out_must_not_hold_the_bundles(bundles):
    with pytest.raises(UserError, match="holds the bundle"):
        solve_many([bundles], bundles)
