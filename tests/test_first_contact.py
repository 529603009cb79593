"""`scripts.first_contact`: one model after the other, in processes of their own, resumable."""

import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is first imported

import dataclasses

import numpy as np
import pytest
from optional import needs_priors

from hoijax.errors import UserError
from priors.models.catalog import CHOICES
from priors.protocols import PointMaps
from scripts import first_contact
from scripts.contact import checkpoints, steps
from scripts.contact.published import PUBLISHED
from scripts.contact.steps import Step, StepOptions, planned, run_step
from scripts.first_contact import Options, main

pytestmark = needs_priors


def rows_of(folder) -> dict[str, dict]:
    stored = json.loads((folder / "first_contact.json").read_text())
    return {row["step"]: row for row in stored["rows"]}


@pytest.mark.slow
@pytest.mark.thorough
def test_a_step_runs_in_a_process_of_its_own_and_is_kept(tmp_path, capfd, monkeypatch):
    options = Options(tmp_path / "out", tiny=True, only=("score=clip",))
    assert main(options) == 0
    row = rows_of(options.out)["score=clip"]
    assert row["status"] == "ok"
    assert row["dtypes"] == ["float32"]
    assert row["difference"] == "0 at most"
    assert row["run"]["seconds"] >= 0
    table = (options.out / "first_contact.md").read_text()
    assert "say nothing about the models" in table
    assert "| `score=clip` |" in table

    # Again: what is done is kept, what failed is tried; a process that is killed is a row.
    ran = []

    def isolated(server, step, step_options, seconds):
        ran.append(step.key)
        return {"step": step.key, "mode": "tiny", "status": "failed", "error": "out | of\nmemory"}

    monkeypatch.setattr(first_contact, "_isolated", isolated)
    assert main(dataclasses.replace(options, only=("score=clip", "segmenter=sam2"))) == 1
    assert main(dataclasses.replace(options, only=("score=clip", "segmenter=sam2"))) == 1
    assert ran == ["segmenter=sam2"] * 2
    assert rows_of(options.out)["score=clip"] == row
    table = (options.out / "first_contact.md").read_text()
    assert "| `segmenter=sam2` | failed: out / of memory |" in table
    assert "1 of 2 steps are done" in capfd.readouterr().out
    with pytest.raises(UserError, match="holds a run with tiny, this one is with random weights"):
        main(dataclasses.replace(options, tiny=False, random_weights=True))


def test_a_process_that_ends_without_a_word_is_a_row(monkeypatch):
    class Process:
        exitcode = -9

        def __init__(self, **_):
            pass

        def start(self):
            pass

        def join(self, timeout=None):
            pass

        def is_alive(self):
            return False

    class Server:
        pass

    Server.Process = Process
    row = first_contact._isolated(Server, Step("score", "clip"), StepOptions("tiny"), 1.0)
    assert row["status"] == "failed"
    assert "status -9" in row["error"]


def test_what_a_model_raises_is_a_row(tmp_path, monkeypatch):
    def breaks(step, options):
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(steps, "_measured", breaks)
    run_step("score", "clip", StepOptions("tiny"), str(tmp_path / "row.json"))
    row = json.loads((tmp_path / "row.json").read_text())
    assert (row["status"], row["error"]) == ("failed", "ZeroDivisionError: no luck")


def test_the_budget_and_the_cache_are_kept_to(tmp_path, monkeypatch, capfd):
    def never(*_):
        raise AssertionError("nothing should run")

    monkeypatch.setattr(first_contact, "_isolated", never)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nothing"))
    assert main(Options(tmp_path / "a", only=("score=clip",))) == 1
    row = rows_of(tmp_path / "a")["score=clip"]
    assert row["status"] == "no weights"
    assert "hf download openai/clip-vit-base-patch32" in row["error"]
    assert main(Options(tmp_path / "b", tiny=True, minutes=1e-9, only=("score=clip",))) == 1
    assert rows_of(tmp_path / "b")["score=clip"]["status"] == "not run"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"random_weights": True}, "exclude one another"),
        ({"minutes": 0.0}, "--minutes must be above 0"),
        ({"only": ("score=clpi",)}, "--only score=clpi: no such step. Did you mean"),
        ({"device": "abacus"}, "not a PyTorch device"),
        ({"memory": "none"}, "--memory must be one of"),
    ],
)
def test_input_that_cannot_be_is_refused(changes, says, tmp_path):
    with pytest.raises(UserError, match=says):
        main(dataclasses.replace(Options(tmp_path / "out", tiny=True), **changes))
    assert not (tmp_path / "out").exists()


def test_every_model_with_weights_is_a_step_smallest_first():
    keys = [step.key for step in planned()]
    for role, choices in CHOICES.items():
        for name, choice in choices.items():
            is_step = "/" in choice.id and choice.takes in ("model_id", "language")
            assert (f"{role}={name}" in keys) == is_step
    sizes = [step.parameters for step in planned()]
    assert sizes == sorted(sizes)
    # All of them but one have a tiny network, so that the whole script is rehearsed.
    without = [step.key for step in planned() if step.key not in checkpoints.BUILDERS]
    assert without == ["image=flux2"]


def test_differences_are_in_the_roles_units():
    K = np.tile(np.eye(3), (1, 1, 1))
    points = np.full((1, 4, 4, 3), 2.0, np.float32)
    exact = PointMaps(points, np.ones((1, 4, 4), bool), K)
    coarse = PointMaps(points * np.float32(1.01), exact.valid, K)
    assert steps._difference("geometry", exact, coarse).startswith("depth 1 % in the median, 1 ")
    masks = np.array([[True, True, False]])
    assert steps._difference("segmenter", masks, masks & [[True, False, False]]) == "IoU 0.5000"
    boxes = np.array([[0.0, 0, 10, 10, 0.9]])
    assert steps._difference("detector", boxes, boxes + 0.5) == "0.5 px at most"
    assert steps._difference("detector", boxes, boxes[:0]) == "1 boxes in float32, 0 in the default"


@pytest.mark.parametrize("step", ["keypoints=vitpose", "video=cogvideox"])
def test_published_sizes_have_the_catalogs_parameters(step, tmp_path):
    """Networks on the meta device, from the configurations that --random-weights writes."""
    import diffusers
    import tiny_models
    import tiny_vision
    import torch
    import transformers

    name = checkpoints.BUILDERS[step]
    make = getattr(tiny_vision if name.startswith("save_") else tiny_models, name)
    from transformers.initialization import no_init_weights

    path = make(tmp_path)
    counted = 0
    for configuration in checkpoints.configurations(path, PUBLISHED[step]).values():
        with torch.device("meta"), no_init_weights():
            if "_class_name" in configuration:
                kind = getattr(diffusers, configuration["_class_name"])
                network = kind.from_config(configuration)
            else:
                kind = transformers.CONFIG_MAPPING[configuration.pop("model_type")]
                config = kind(**configuration)
                network = getattr(transformers, configuration["architectures"][0])(config)
        counted += sum(p.numel() for p in network.parameters())
    role, _, choice = step.partition("=")
    assert counted / 1e9 == pytest.approx(Step(role, choice).parameters, rel=0.02)


def test_networks_of_a_configuration_alone_have_its_precision(tmp_path):
    """As --random-weights makes them: no weights are read, norms are one, and all is finite."""
    import tiny_models
    import torch
    import transformers

    path = tiny_models.clip(tmp_path)
    checkpoints.configure(path, {"": {}})
    assert not list(path.rglob("*.safetensors"))
    saved = json.loads((path / "config.json").read_text())
    assert saved["vision_config"]["hidden_size"] == 768  # the published network's
    [processor] = path.glob("*processor_config.json")
    assert json.loads(processor.read_text())["image_processor"]["crop_size"]["height"] == 224
    small = {
        part: {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 4}
        for part in ("text_config", "vision_config")
    }
    checkpoints.configure(path, {"": small})
    with checkpoints.made_of_configurations():
        network = transformers.CLIPModel.from_pretrained(path, dtype=torch.bfloat16)
        kind, info = transformers.AutoModel.from_pretrained(path, output_loading_info=True)
    assert network.dtype == torch.bfloat16
    assert kind.dtype == torch.float32
    assert not info["missing_keys"]
    weights = dict(network.named_parameters())
    assert all(bool(torch.isfinite(weight).all()) for weight in weights.values())
    assert bool((weights["vision_model.post_layernorm.weight"] == 1).all())
    with pytest.raises(OSError, match="safetensors"):
        transformers.CLIPModel.from_pretrained(path, use_safetensors=True)  # restored
