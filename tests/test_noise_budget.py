"""`hoijax ablate --noise`: families of errors on a clip of the user's own, the solve itself replaced."""

import dataclasses
import json

import numpy as np
import pytest
from small_scene import generated, run

from hoijax.errors import UserError
from hoijax.experiments import noise_budget as budget
from hoijax.experiments.noise_budget import costs, noise_budget
from hoijax.results.result import load_result
from hoijax.runtime import one_ahead

LEVELS = 3


@pytest.fixture
def solved(tmp_path_factory, monkeypatch):
    """The small result; every solve of the budget returns it, lifted by what the bundle's points are off."""
    folder, _ = generated(tmp_path_factory)
    result, seen = load_result(folder), []

    def solve(bundle, **_):
        strengths = bundle.provenance["*"].settings
        seen.append(strengths)
        away = 0.05 * strengths.get("depth_drift", 0.0) * np.array([0.0, 1.0, 0.0])
        return dataclasses.replace(result, object_translations=result.object_translations + away)

    monkeypatch.setattr(budget, "solve", solve)
    return folder, seen


@pytest.mark.slow
def test_every_family_at_every_level_is_solved_and_its_cost_is_named(solved, tmp_path):
    folder, seen = solved
    rows = noise_budget(
        folder, ["depth_drift", "body_lean"], levels=LEVELS, out=tmp_path / "budget"
    )
    assert [(r["family"], r["strength"]) for r in rows] == [
        (family, strength)
        for family in ("depth_drift", "body_lean")
        for strength in (0.0, 1.0, 2.0)
    ]
    assert seen == [{}, *({f: s} for f in ("depth_drift", "body_lean") for s in (1.0, 2.0))]
    drift = [r["object cm"] for r in rows if r["family"] == "depth_drift"]
    assert drift[2] > drift[1] > drift[0]
    (first, added), (second, nothing) = costs(rows)
    assert (first, second) == ("depth_drift", "body_lean")
    assert added > 1.0
    assert nothing == 0.0
    written = json.loads((tmp_path / "budget" / "run.json").read_text())
    assert written["rows"] == rows
    assert (tmp_path / "budget" / "table.md").read_text().count("depth_drift") == LEVELS


def test_all_together_and_each_alone_are_told_apart(solved):
    folder, seen = solved
    noise_budget(folder, ["all"], levels=2)
    assert len(seen[1]) > 15
    assert set(seen[1].values()) == {2.0}


@pytest.mark.parametrize(
    ("families", "levels", "words"), [(["lean"], 3, "lean"), (["body_lean"], 1, "--levels")]
)
def test_bad_input_is_refused_before_anything_is_solved(solved, families, levels, words):
    folder, seen = solved
    with pytest.raises(UserError, match=words):
        noise_budget(folder, families, levels=levels)
    assert not seen


def test_the_command_prints_the_dearest_family_first(solved):
    folder, _ = solved
    ran = run("ablate", folder, "--noise", "depth_drift", "--levels", "2")
    assert ran.code == 0, ran.err
    assert "depth_drift: +" in ran.out


def test_one_item_is_computed_ahead_and_no_more():
    begun = []
    values = one_ahead(lambda i: begun.append(i) or 10 // (3 - i), range(5))
    assert next(values) == 3
    assert begun in ([0], [0, 1]), "the third waits until the second is used"
    assert [next(values), next(values)] == [5, 10]
    with pytest.raises(ZeroDivisionError):
        next(values)
    assert max(begun) <= 4
    assert list(one_ahead(str, [])) == []
