"""Sweeps: the same numbers as solving one by one, one program, files, and a page in a browser."""

import csv
import json
import shutil
from functools import partial

import chex
import headless_browser
import jax
import numpy as np
import pytest
from small_scene import INITS, as_users_run, generated, run, small_presets
from test_batch import TERMS, make_jobs

import hoijax
from hoijax.experiments.designs import factor_names, make_designs, parse_factors
from hoijax.experiments.report_page import Thumbnail, bars_png, page_html, pareto_png, shown_rows
from hoijax.experiments.sweep import stacked_designs, sweep
from hoijax.methods.hoi_page.method import METHOD
from hoijax.methods.running import MethodBatch
from hoijax.results.result import load_result


@pytest.mark.slow
@pytest.mark.thorough
def test_a_sweep_gives_what_solving_gives_and_shares_a_program(
    tmp_path_factory, tmp_path, monkeypatch
):
    """All designs of a scene in one run of a program, as on a GPU."""
    monkeypatch.setattr("hoijax.experiments.sweep.MethodBatch", partial(MethodBatch, together=True))
    bundle = generated(tmp_path_factory)[0] / "bundle"
    for name in ("one", "two"):
        shutil.copytree(bundle, tmp_path / "bundles" / name)
    said: list[str] = []
    out, options = tmp_path / "sweep", {"method": "hoi-page", "inits": INITS}
    weights = "contact=10,0 ground=100"
    with as_users_run(), small_presets():
        rows = sweep(tmp_path / "bundles", weights, out=out, log=said.append, **options)
        solved = hoijax.solve(bundle, **options)
    assert any("1 compiled programs" in line for line in said), said[-3:]
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
        "index.html", "pareto.png", "results",
    }  # fmt: skip
    linked = load_result(out / "results" / "design-001")
    assert float(linked.losses.min()) == pytest.approx(first["loss"], rel=1e-5)
    assert (out / "index.html").read_text().count("data:image/png") == 2


@pytest.mark.slow
def test_rates_scales_and_schedule_ends_are_traced():
    settings = METHOD.settings(optimizer="adam", steps=2)
    known = factor_names(TERMS, METHOD.rates(settings))
    batch = MethodBatch(METHOD, settings, together=True)
    solver = batch.solver(METHOD.passes(settings)[0], TERMS)
    solver.solve = chex.assert_max_traces(solver.solve, n=1)
    jobs = make_jobs(1)
    losses = []
    for text in (
        "contact.end=1..9 object_points.scale=0.01,0.2 learning_rate=0.01,0.1",
        "object_points.scale=0.3..1 learning_rate=0,2",
    ):
        designs = make_designs(parse_factors(text, known), "sobol", 4)
        (solution,) = solver.run(jobs, stacked_designs(designs, TERMS, METHOD, settings))
        assert solution.losses.shape[0] == 4
        losses.append(solution.losses)
    assert len(solver.compiled) == 1
    assert np.isfinite(losses).all()
    assert not np.allclose(*losses)
    moved = jax.tree.map(lambda x: x[0], solution.unknowns.object_translation)
    assert np.isfinite(moved).all()
    # A kernel of a larger scale costs more at the same distance, up to the square itself.
    scales = np.array([design["object_points.scale"][0] for design in designs])
    points = solution.history[:, 0, 0, [term.name for term in TERMS].index("object_points")]
    order = np.argsort(scales)
    assert (np.diff(points[order]) > 0.0).all()


def test_the_command_refuses_before_work(tmp_path_factory, tmp_path, monkeypatch):
    bundle = generated(tmp_path_factory)[0] / "bundle"
    monkeypatch.setattr(METHOD, "prepare", lambda *_, **__: pytest.fail("worked"), raising=False)
    for options, says in (
        (("--weights", "contcat=1,2"), "contact"),
        (("--weights", "contact=1..2"), "is a range"),
        (("--weights", "model_mask.scales=1,2"), "Did you mean 'model_mask.scale'"),
        (("--weights", "contact.scale=1,2"), "no robust scale"),
        (("--weights", "model_mask.scale=0,2"), "above 0"),
        (("--weights", "contact=1,2", "--seeds", "0"), "--seeds"),
        (("--weights", "contact=1..2", "--design", "sobol"), "--samples"),
    ):
        ran = run("ablate", bundle, "--preset", "default", *options)
        assert ran.code == 2
        assert says in ran.err
    ran = run("ablate", tmp_path, "--preset", "default", "--weights", "contact=1,2")
    assert ran.code == 2
    assert "no bundle" in ran.err
    assert list(tmp_path.iterdir()) == []


def made_rows(count: int) -> list[dict]:
    rng = np.random.default_rng(1)
    return [
        {
            "w(contact)": f"{w:g}" if w % 2 else f"0:{w:g}",
            "loss": float(rng.random()),
            "loss +-": 0.1,
            "edge contact@5cm": float(rng.random()),
            "edge contact@5cm +-": 0.05,
            "penetration cm": float(rng.random()),
        }
        for w in range(count)
    ]


def test_a_page_shows_what_it_is_given_and_runs_nothing_of_it():
    rows = made_rows(3)
    rows[0]["w(contact)"] = "</script><script>alert(1)</script>"
    page = page_html(rows, {1: Thumbnail(b"png", 'results/"x"')}, {"device": "<b>cpu</b>"})
    assert "<script>alert" not in page
    assert "<b>cpu" not in page
    assert "results/&quot;x&quot;/" in page
    assert shown_rows(rows) == [0, 1, 2]
    assert len(shown_rows(made_rows(100))) == 24


@pytest.mark.slow
@pytest.mark.skipif(not headless_browser.can_run(), reason=headless_browser.WHY_NOT)
def test_the_page_sorts_and_draws_in_a_browser(tmp_path):
    pytest.importorskip("websockets")
    rows = made_rows(12)
    page = tmp_path / "index.html"
    page.write_text(page_html(rows, {}, {"seconds": 1.0}))
    with headless_browser.browser(page.as_uri(), tmp_path / "chromium") as shown:
        shown.until("document.querySelectorAll('#pareto circle').length == 12")
        assert shown.run("document.querySelectorAll('#effect circle').length") == 12
        first = "document.querySelector('tbody tr').dataset.row"
        by_loss = sorted(range(12), key=lambda w: rows[w]["loss"])
        shown.click("loss", "th")
        assert shown.run(first) == str(by_loss[0])
        shown.click("loss", "th")
        assert shown.run(first) == str(by_loss[-1])
        from PIL import Image

        shown.run("window.scrollTo(0, 0)")  # the table of the last look may have been scrolled to
        (tmp_path / "page.png").write_bytes(shown.look())
        image = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).reshape(-1, 3)
        orange = (np.abs(image.astype(int) - [194, 65, 12]).max(axis=1) < 12).sum()
        assert orange > 60, "the Pareto front is drawn"
        shown.run("document.querySelector('#pareto circle').dispatchEvent(new Event('click'))")
        assert shown.run("document.querySelectorAll('tr.lit').length") == 1
        assert shown.errors == []
        assert shown.outside == []


def test_plots_as_png():
    pytest.importorskip("matplotlib")
    for png in (pareto_png(made_rows(5)), bars_png(made_rows(3), "w(contact)", ["loss"])):
        assert png.startswith(b"\x89PNG")
