"""The program of docs/your-own-loss.md runs as it stands there, and its loss does what it says."""

import re
from pathlib import Path

import numpy as np
import pytest
from small_scene import INITS, as_users_run, copy_of, generated

import hoijax
from hoijax.methods.hoi_page.terms import TERMS

PAGE = Path(__file__).parents[1] / "docs" / "your-own-loss.md"
STEPS = 60


@pytest.mark.slow
def test_the_program_in_the_docs_runs_and_its_loss_has_effect(
    tmp_path, tmp_path_factory, monkeypatch, capsys
):
    copy_of(generated(tmp_path_factory)[0] / "bundle", tmp_path / "out" / "box" / "bundle")
    monkeypatch.chdir(tmp_path)
    real, compiled = hoijax.solve, []

    def quick(bundle, **options):
        from hoijax.solver import resumable

        result = real(bundle, inits=INITS, steps=STEPS, **options)
        compiled.append(resumable._segment._cache_size())
        return result

    monkeypatch.setattr(hoijax, "solve", quick)
    first, second = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict = {}
    with as_users_run():
        exec(compile(first, str(PAGE), "exec"), names)
        exec(compile(second, str(PAGE), "exec"), names)
    upright, plain, column = names["result"], names["without"], names["column"]
    assert upright.term_names == (*(term.name for term in TERMS["default"]), "upright")
    assert upright.reports.shape == (INITS, len(upright.term_names))
    assert upright.history.shape == (INITS, STEPS + 1, len(upright.term_names))  # with the start
    # Every candidate leans less with the loss than without, the winner clearly (one that starts
    # upside down has next to no slope to follow), and as its poses say.
    assert np.all(upright.reports[:, column] < plain.reports[:, column])
    winner = upright.winner
    assert upright.reports[winner, column] < 0.5 * plain.reports[winner, column]
    lean = 1 - upright.object_rotations[:, 0, :, 1, 1].mean(axis=-1)
    np.testing.assert_allclose(upright.reports[:, column], lean, atol=1e-4)
    assert compiled[0] == compiled[1], "another weight compiled again"
    assert "lean of the winner" in capsys.readouterr().out


def test_a_weight_of_no_term_is_refused(tmp_path_factory):
    bundle = generated(tmp_path_factory)[0] / "bundle"
    with pytest.raises(hoijax.UserError, match=r"unknown loss terms \['upright'\]"):
        hoijax.solve(bundle, weights={"upright": 1.0})
