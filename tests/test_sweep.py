"""Sweeps of weights: designs, tables, and the same numbers as solving one by one."""

import csv
import json
import shutil

import pytest
from small_scene import INITS, as_users_run, generated, run

import hoijax.sweep
from hoijax.errors import UserError
from hoijax.result import load_result
from hoijax.sweep import _mean_row, full_factorial, latex, markdown, parse_factors, sweep

KNOWN = ("contact", "penetration", "object_points")


def test_full_factorial_of_values_and_ramps():
    designs = full_factorial(parse_factors("contact=0,1e2 penetration=0:10,5,7", KNOWN))
    assert len(designs) == 6
    assert designs[0] == {"contact": (0.0, 0.0), "penetration": (0.0, 10.0)}
    assert designs[4] == {"contact": (100.0, 100.0), "penetration": (5.0, 5.0)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("contcat=1", r"no loss term 'contcat'. Did you mean 'contact'\?"),
        ("contact", "cannot read 'contact'"),
        ("contact=", "cannot read"),
        ("contact=1,x", "cannot read"),
        ("contact=1:2:3", "cannot read"),
        ("contact=nan", "cannot read"),
        ("contact=1 contact=2", "cannot read"),
        ("", "names no weight"),
    ],
)
def test_what_cannot_be_swept_is_refused(text, says):
    with pytest.raises(UserError, match=says):
        parse_factors(text, KNOWN)


def test_means_and_confidence_intervals_over_scenes():
    design = {"contact": (1.0, 1.0)}
    singles = [{"bundle": str(i), "w(contact)": "1", "loss": x} for i, x in enumerate((1.0, 3.0))]
    other = {"bundle": "0", "w(contact)": "2", "loss": 100.0}
    row = _mean_row(design, [*singles, other])
    assert row["loss"] == 2.0
    assert row["loss +-"] == pytest.approx(12.706, rel=1e-3)  # t(1 degree of freedom) * 1
    assert markdown([row]) == "| w(contact) | loss |\n| --- | --- |\n| 1 | 2 ± 13 |\n"
    assert latex([{"w(a_b)": "1", "x": 0.5}]) == (
        "\\begin{tabular}{rr}\n\\toprule\nw(a\\_b) & x \\\\\n\\midrule\n1 & 0.5 \\\\\n"
        "\\bottomrule\n\\end{tabular}\n"
    )


@pytest.mark.slow
def test_a_sweep_gives_what_solving_gives_and_compiles_once(tmp_path_factory, tmp_path):
    folder = generated(tmp_path_factory)[0]
    for name in ("one", "two"):
        shutil.copytree(folder / "bundle", tmp_path / "bundles" / name)
    said: list[str] = []
    out = tmp_path / "sweep"
    with as_users_run():
        rows = sweep(
            tmp_path / "bundles", "contact=10,0 ground=100", inits=INITS, out=out, log=said.append
        )
    assert any("1 compiled programs" in line for line in said)
    solved = load_result(folder)
    winner = solved.winner
    first, without = rows
    assert first["loss"] == pytest.approx(float(solved.losses[winner]), rel=1e-3)
    for name, value in zip(solved.term_names, solved.reports[winner], strict=True):
        assert first[name] == pytest.approx(float(value), rel=2e-2, abs=1e-5)
    assert first["loss +-"] == pytest.approx(0.0, abs=1e-9)  # the same scene twice
    assert without["contact"] >= first["contact"]
    assert len(list(csv.DictReader((out / "scenes.csv").read_text().splitlines()))) == 4
    assert json.loads((out / "run.json").read_text())["programs"] == 1
    assert {p.name for p in out.iterdir()} == {
        "table.csv", "table.md", "table.tex", "scenes.csv", "run.json",
    }  # fmt: skip


def test_the_command_refuses_before_work(tmp_path_factory, tmp_path, monkeypatch):
    bundle = generated(tmp_path_factory)[0] / "bundle"
    monkeypatch.setattr(hoijax.sweep, "stage", lambda *_, **__: pytest.fail("worked"))
    ran = run("ablate", bundle, "--preset", "default", "--weights", "contcat=1,2")
    assert ran.code == 2
    assert "contact" in ran.err
    ran = run("ablate", tmp_path, "--preset", "default", "--weights", "contact=1,2")
    assert ran.code == 2
    assert "no bundle" in ran.err
    assert list(tmp_path.iterdir()) == []
