"""The method protocol: a third method, in one file and one line, through everything; settings by name."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest
from small_scene import as_users_run, generated, run

import hoijax
from hoijax.errors import UserError
from hoijax.experiments.sweep import sweep
from hoijax.methods.base import METHODS, method_named
from hoijax.methods.running import MethodBatch
from hoijax.results.result import load_result


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return generated(tmp_path_factory)[0] / "bundle"


@pytest.fixture
def toy(monkeypatch):
    """The line that adds the method of `toy_method.py`."""
    monkeypatch.setitem(METHODS, "shift", "toy_method:METHOD")
    return method_named("shift")


@pytest.mark.slow
@pytest.mark.parametrize("together", [True, False], ids=["together", "in turn"])
def test_a_method_in_one_file_is_solved_swept_and_commanded(
    toy, bundle, tmp_path, monkeypatch, together
):
    """Scenes and designs in one run of a program, as on a GPU, and in turn, as on a CPU."""
    for user in ("experiments.sweep", "jobs.scene_batch"):
        monkeypatch.setattr(f"hoijax.{user}.MethodBatch", partial(MethodBatch, together=together))
    with as_users_run():
        alone = hoijax.solve(bundle, method="shift", inits=3)
        rows = sweep(bundle, "object_points=1e3,0", method="shift", inits=3, out=tmp_path / "sweep")
    assert alone.labels == ("0 cm up", "10 cm up", "20 cm up")
    assert (alone.losses < alone.initial_losses).all()
    assert alone.run["settings"]["gap"] == 0.1
    assert rows[0]["loss"] == pytest.approx(float(alone.losses.min()), rel=1e-4)
    assert rows[1]["object_points"] > rows[0]["object_points"]

    ran = run("solve", bundle, "--method", "shift", "--gap", "0.3", "--inits", "3",
              "--formats", "amass", "--out", tmp_path / "one")  # fmt: skip
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "one" / "run.json").read_text())
    assert (told["method"], told["settings"]["gap"]) == ("shift", 0.3)
    assert toy.stored(told["settings"]) == toy.settings(inits=3, gap=0.3)

    ran = run("solve", bundle, bundle.parent, "--method", "shift", "--inits", "3",
              "--formats", "amass", "--out", tmp_path / "many")  # fmt: skip
    assert ran.code == 0, ran.err
    (folder,) = (path.parent for path in (tmp_path / "many").glob("*/result.npz"))
    np.testing.assert_allclose(load_result(folder).losses, alone.losses, rtol=1e-4)

    ran = run("solve", bundle, "--method", "hoi-page", "--gap", "1", "--out", tmp_path / "no")
    assert ran.code == 2
    assert "--gap is for --method shift, not for hoi-page" in ran.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"stepz": 3}, "has no option 'stepz'. Did you mean 'steps'"),
        ({"hands": True}, "--hands is for --method anchor-motion, not for joint"),
        (
            {"method": "anchor-motion", "optimizer": "lm"},
            "--optimizer is for --method joint or hoi-page",
        ),
        ({"method": "anchor-motion", "preset": "hoi-page"}, "no preset 'hoi-page' of the method"),
        ({"method": "anchor-motion", "window": 16}, "solves whole clips"),
        ({"optimizer": "sgd"}, "no optimizer 'sgd'. Known optimizers: lm, adam"),
        ({"start": "guess"}, "no start 'guess'"),
        ({"method": "anchorhoi", "static_frame": 2}, "--static-frame is a frame of --static"),
    ],
)
def test_options_of_nobody_or_of_another_method_are_refused(bundle, options, says):
    with pytest.raises(UserError, match=says):
        hoijax.solve(bundle, **options)


def test_settings_are_given_whole_or_by_name(bundle):
    page, anchor = method_named("hoi-page"), method_named("anchorhoi")
    assert anchor.name == "anchor-motion"
    assert page.settings(optimizer="adam").steps == 300
    assert page.settings(optimizer="adam", steps=7).steps == 7
    assert page.settings("hoi-page", optimizer=None).steps == 600
    with pytest.raises(UserError, match="takes HoiPageSettings, not AnchorSettings"):
        hoijax.solve(bundle, method="hoi-page", settings=anchor.settings())
    with pytest.raises(UserError, match="inits beside them"):
        hoijax.solve(bundle, settings=page.settings(), inits=3)
    with pytest.raises(UserError, match="--inits must be at least 1"):
        hoijax.solve(bundle, settings=dataclasses.replace(page.settings(), inits=0))


@pytest.mark.parametrize("name", METHODS)
def test_settings_of_folders_are_read_again(name):
    method = method_named(name)
    settings = method.settings(inits=3)
    stored = json.loads(json.dumps(dataclasses.asdict(settings)))
    assert method.stored(stored) == settings
    with pytest.raises(UserError, match=r"run\.json"):
        method.stored(stored | {"unheard_of": 1})
    with pytest.raises(UserError, match=r"run\.json"):
        method.stored(None)


def test_settings_of_older_folders_are_read():
    """Names of before the protocol."""
    method = method_named("anchor-motion")
    old = {"optimise_hands": True, "picture_width": 32, "picture_every": 3, "palm_contact": True}
    settings = method.stored(old)
    assert (settings.hands, settings.render_width, settings.image_every) == (True, 32, 3)
