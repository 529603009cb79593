"""Every block of docs/contributing.md does what the page says of it."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from export_scene import export_clip
from scene_factory import make_scene

import hoijax.exporters
from hoijax.errors import UserError
from hoijax.exporters import formats
from hoijax.losses.term import reduce_term
from hoijax.methods.base import METHODS, method_named
from hoijax.scene.posed import pose_scene
from priors.models.catalog import CHOICES
from priors.models.registry import ModelChoices, RegisteredModels

PAGE = Path(__file__).parents[1] / "docs" / "contributing.md"
BLOCKS = dict(re.findall(r"```python (\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL))


def module(monkeypatch, name: str, *blocks: str) -> ModuleType:
    """Blocks of the page as a module that can be imported."""
    made = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    for block in blocks:
        exec(compile(BLOCKS[block], str(PAGE), "exec"), made.__dict__)
    return made


def test_a_method_is_a_file_and_a_line(monkeypatch):
    module(monkeypatch, "without_ground", "method")
    monkeypatch.setitem(METHODS, "without-ground", "")
    exec(BLOCKS["line"], {"METHODS": METHODS})
    method = method_named("without-ground")
    settings = method.settings(inits=3)
    assert "ground" not in [term.name for term in method.terms(settings)]
    assert [step.name for step in method.passes(settings)] == ["optimize"]
    with pytest.raises(UserError, match="unknown loss terms"):
        method.check_weights(settings, {"ground": 1.0})


def test_a_loss_is_a_function_a_line_and_a_twin(monkeypatch):
    page = module(monkeypatch, "upright", "loss", "term", "twin")
    made = make_scene()
    posed = pose_scene(made.scene, made.unknowns, made.neighbors)
    values, mask = page.upright(posed)
    twin = page.upright_twin(np.asarray(posed.object_rotations, np.float64))
    np.testing.assert_allclose(values, twin, atol=1e-6)
    assert np.asarray(mask).all()
    assert float(reduce_term(page.TERM, posed)) == pytest.approx(twin.mean(axis=1).sum(), rel=1e-5)


def test_an_export_is_a_file(monkeypatch, tmp_path):
    (tmp_path / "positions.py").write_text(BLOCKS["export"])
    monkeypatch.setattr(hoijax.exporters, "__path__", [*hoijax.exporters.__path__, str(tmp_path)])
    found = formats.find_formats()
    sys.modules.pop("hoijax.exporters.positions")
    assert set(found) >= {"mjcf", "csv"}
    monkeypatch.setitem(formats.WRITERS, "csv", found["csv"])
    clip = export_clip()
    (path,) = formats.write_formats(clip, tmp_path, ["csv"])
    lines = path.read_text().splitlines()
    assert len(lines) == clip.Ts_world_object.shape[0] * clip.Ts_world_object.shape[1]
    name, *place = lines[0].split(",")
    assert name == clip.assets[0].name
    np.testing.assert_allclose(np.float64(place), clip.Ts_world_object[0, 0, :3, 3], rtol=1e-6)


def test_a_model_in_a_role_is_a_file_and_a_line(monkeypatch):
    page = module(monkeypatch, "one_graph", "model")
    monkeypatch.setitem(CHOICES["language"], "one-graph", None)
    exec(BLOCKS["choice"], {})
    models = RegisteredModels(ModelChoices({"language": "one-graph"}))
    assert isinstance(models.get("language"), page.OneGraph)


def test_every_block_is_run():
    assert set(BLOCKS) == {
        "method", "line", "loss", "term", "twin", "export", "model", "choice",
    }  # fmt: skip
