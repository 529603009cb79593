"""`hoijax observe` and `hoijax generate --prior diffusion` as a user types them; the registry."""

import inspect
import json
from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tiny_priors as tiny
from small_scene import run

from hoijax.bundle.write import check_bundle, read_bundle
from hoijax.errors import UserError
from hoijax.results.result import load_result
from priors.models import doctor
from priors.models.catalog import CHOICES, DEFAULTS
from priors.models.registry import ModelChoices, RegisteredModels
from priors.observe.run import ObserveOptions
from priors.observe.user_files import encode_video
from priors.protocols import ModelId, Video
from priors.store import model_identity

SIZE = ("--frames", str(tiny.FRAMES), "--height", "96", "--width", "128")


@pytest.fixture
def fakes(monkeypatch, tmp_path):
    """The command line with fakes for models and an empty cache."""
    monkeypatch.setenv("HOIJAX_PRIORS_CACHE", str(tmp_path / "cache"))
    models = tiny.TinyModels()
    with mock.patch("priors.observe.run.RegisteredModels", return_value=models):
        yield models


def test_observe_writes_a_sound_bundle_and_goes_on_from_its_cache(fakes, tmp_path):
    command = ("observe", tiny.TEXT, "--objects", "box", "--out", tmp_path / "bundle", *SIZE)
    ran = run(*command)
    assert ran.code == 0, ran.err
    assert check_bundle(tmp_path / "bundle") == []
    assert (tmp_path / "bundle" / "video.mp4").is_file()
    assert read_bundle(tmp_path / "bundle").frame_count == tiny.FRAMES
    before = fakes.calls()
    ran = run(*command, "--from", "masks")
    assert "keypoints: found in the cache" in ran.out
    after = fakes.calls()
    assert after["detector"] > before.pop("detector")
    assert {role: after[role] - n for role, n in before.items() if after[role] > n} == {
        "segmenter": 1
    }


class Proposer(tiny.Author):
    def propose_yaws(self, text, object_name, situation, seed=0):
        return [90.0]


@pytest.mark.slow
def test_generate_by_models_ends_near_the_truth(fakes, tmp_path):
    """Exact observations by the fakes; one candidate of the search and one proposed yaw."""
    fakes.replaced["language"] = Proposer(fakes.scene)
    out = tmp_path / "out"
    with mock.patch("hoijax.api.result_folder.DEFAULT_FORMATS", ("glb",)):
        ran = run(
            *("generate", tiny.TEXT, "--objects", "box", "--prior", "diffusion", "--inits", "1"),
            *("--out", out, *SIZE),
        )
    assert ran.code == 0, ran.err
    assert check_bundle(out / "bundle") == []
    assert (out / "bundle" / "video.mp4").is_file()
    assert (out / "overlay.mp4").is_file()
    assert not (out / "bundle" / "truth.npz").exists()
    assert read_bundle(out / "bundle").proposed_yaws == {"box": (90.0,)}
    result = load_result(out)
    assert result.labels == ("path 1", "proposed yaw 90")
    ground_truth = fakes.scene.Ts_world_object[0]
    center = np.append(fakes.scene.assets[0].center, 1)
    found = result.Ts_world_object[0]
    error = np.linalg.norm(((found - ground_truth) @ center)[:, :3], axis=1)
    print(f"center of the box: {100 * error.mean():.1f} cm from the truth")
    assert error.mean() < 0.2
    assert {"scene.glb", "metrics.json"} <= {path.name for path in out.iterdir()}


def test_observe_many_prints_what_failed_and_exits_with_2(fakes, tmp_path):
    lines = [
        {"id": "good", "text": tiny.TEXT, "objects": ["box"]},
        {"id": "bad", "text": "an impossible box", "objects": ["box"]},
    ]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    command = ("observe", "--prompts", tmp_path / "prompts.jsonl", "--out", tmp_path / "out", *SIZE)
    with mock.patch("priors.observe.many_scenes.RegisteredModels", return_value=fakes):
        ran = run(*command)
    assert ran.code == 2
    assert "1 bundles in" in ran.out
    assert "bad: stage 'pag': nobody can do that" in ran.out
    assert "1 scenes failed" in ran.err
    assert check_bundle(tmp_path / "out" / "good") == []


@pytest.mark.slow
def test_observe_by_rules_needs_no_models(tmp_path):
    ran = run(
        "observe", tiny.TEXT, "--objects", "box", "--out", tmp_path / "b",
        "--prior", "rules", "--frames", "12",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert check_bundle(tmp_path / "b") == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--detector", "yolo"), "no detector model 'yolo'. Known: grounding-dino, "),
        (("--model", "video"), "ROLE=DIRECTORY"),
        (("--model", "video=not here"), "no such directory"),
        (("--model", "sound=a/b"), "the roles are language"),
        (("--from", "film"), "Stages: pag, parts, image"),
        (("--video", "none.mp4"), "there is no video none.mp4"),
        (("--pag", "none.json"), "cannot read"),
        (("--frames", "2"), "--frames must be at least 3"),
        (("--precision", "int3"), "--precision must be one of"),
        (("--language", "openai"), "no language model is named"),
    ],
)
def test_bad_arguments_are_refused_at_the_door(monkeypatch, tmp_path, arguments, says):
    monkeypatch.delenv("HOIJAX_LANGUAGE_MODEL", raising=False)
    cache = tmp_path / "cache"
    ran = run(
        "observe", "x", "--objects", "box", "--out", tmp_path / "b", "--cache", cache, *arguments
    )
    assert ran.code == 2, ran
    assert says in ran.err
    assert not (tmp_path / "b").exists()


def test_a_place_that_holds_something_else_is_refused_before_any_work(fakes, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "b.zip").mkdir()
    for name, says in {
        "full": "holds other files",
        "file": "is a file",
        "b.zip": "a folder",
    }.items():
        ran = run("observe", tiny.TEXT, "--objects", "box", "--out", tmp_path / name, *SIZE)
        assert ran.code == 2
        assert says in ran.err
    assert fakes.made == {}


def test_a_text_and_prompts_exclude_each_other(tmp_path):
    ran = run("observe", "x", "--prompts", "p.jsonl", "--out", tmp_path / "b")
    assert "--prompts brings texts" in ran.err
    assert "say what happens" in run("observe", "--out", tmp_path / "b").err


# ---- the registry


@pytest.mark.parametrize(
    ("role", "name"), [(role, name) for role, names in CHOICES.items() for name in names]
)
def test_every_choice_can_be_made_without_its_weights(role, name, monkeypatch):
    monkeypatch.setenv("HOIJAX_LANGUAGE_MODEL", "some-model")
    monkeypatch.setattr("priors.models.registry.gc.collect", lambda: 0)  # half a second each time
    choice = CHOICES[role][name]
    models = RegisteredModels(ModelChoices({role: name}, body_file="SMPLX.npz"))
    model = models.get(role)
    if name == "none":
        assert model is None
        return
    identity = model_identity(model)
    if choice.takes == "model_id":
        assert identity["name"] == choice.id
        module, _, cls = choice.source.partition(":")
        kind = getattr(import_module(module), cls)
        given = inspect.signature(kind).parameters["model_id"].default
        default = getattr(kind, "default_id", None) if given is None else given
        if isinstance(default, ModelId):  # one class may serve several families, and has none
            assert default.name.partition("/")[0] == choice.id.partition("/")[0]
    assert model is models.get(role)
    models.release([role])
    assert model_identity(models.get(role)) == identity


def test_weights_of_ones_own(tmp_path):
    def choices(*weights: str) -> ModelChoices:
        return ObserveOptions(weights=weights, names={"video": "wan"}).choices()

    assert choices(f"video={tmp_path}").model_id("video") == ModelId(str(tmp_path))
    assert choices("video=me/mine@abc").model_id("video") == ModelId("me/mine", "abc")
    assert choices().model_id("video").name == CHOICES["video"]["wan"].id
    with pytest.raises(UserError, match="has no weights to choose"):
        choices("body=me/mine")
    with pytest.raises(UserError, match="SMPLX_NEUTRAL"):
        RegisteredModels(ModelChoices({"body": "gvhmr"})).get("body")


def test_a_language_model_in_a_folder(tmp_path):
    def model(name: str, *weights: str):
        choices = ObserveOptions(names={"language": name}, weights=weights).choices()
        return RegisteredModels(choices).get("language")

    (tmp_path / "config.json").write_text("{}")
    chat = model(f"local:{tmp_path}").chat
    assert type(chat).__name__ == "TransformersChat"
    assert chat.model_id == ModelId(str(tmp_path))
    assert model("local:me/mine@abc").model_id == ModelId("me/mine", "abc")
    for name, says in {
        "local:./none": "there is no such folder",
        "local:": "there is no such folder",
        "local:none": "there is no such folder",
        "local:~/none": "there is no such folder",
        f"local:{tmp_path.parent}": "holds no config.json",
    }.items():
        with pytest.raises(UserError, match=says):
            model(name)
    with pytest.raises(UserError, match="name two models"):
        model(f"local:{tmp_path}", "language=me/mine")


def test_all_that_models_lack_is_said_before_the_first_works(monkeypatch, tmp_path):
    """Also what the last stage needs; and nothing of stages that the user's files replace."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HOIJAX_LANGUAGE_MODEL", raising=False)
    (tmp_path / "hub" / "models--facebook--sam2.1-hiera-large" / "snapshots" / "1").mkdir(
        parents=True
    )
    cache = ("--cache", tmp_path / "cache", "--out", tmp_path / "b")
    command = ("observe", tiny.TEXT, "--objects", "box", *cache, *SIZE)
    ran = run(*command, "--language", "rules", "--detector", "vlm", "--body", "gvhmr")
    assert ran.code == 2
    assert "computing" not in ran.out
    for says in (
        "image (flux): black-forest-labs/FLUX.1-dev is not on this machine",
        "video (cogvideox): THUDM/CogVideoX-5b-I2V is not",
        "detector (vlm): no language model is named",
        "body (gvhmr): --body gvhmr recovers SMPL-X bodies",
        "keypoints (vitpose)",
    ):
        assert says in ran.err, ran.err
    assert "sam2" not in ran.err
    clip = tmp_path / "clip.mp4"
    encode_video(Video(tiny.answers().frames, 8.0), clip)
    ran = run(
        *command,
        "--language",
        "rules",
        "--video",
        clip,
        "--camera",
        "static",
        "--geometry",
        "depth-pro",
    )
    assert "nothing was computed: 3 problems" in ran.err, ran.err
    assert "flux" not in ran.err
    assert not (tmp_path / "b").exists()


def test_the_doctor_says_what_is_cached_without_network(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    flux, cog = CHOICES["image"]["flux"], CHOICES["video"]["cogvideox"]
    for hub_id, name in ((flux.id, "abc"), (cog.id, "abc.incomplete")):
        folder = tmp_path / f"models--{hub_id.replace('/', '--')}"
        (folder / "blobs").mkdir(parents=True)
        (folder / "blobs" / name).write_bytes(bytes(1 << 20))
        (folder / "snapshots" / "123").mkdir(parents=True)
    found = doctor.report()
    assert "FLUX.1-dev: 0.0 GiB cached" in found["image: flux (default)"]
    assert "only part of it cached" in found["video: cogvideox (default)"]
    assert "not cached" in found["video: wan"]
    assert "22 GiB with --memory model" in found["image: flux (default)"]
    assert set(DEFAULTS) == set(CHOICES)


def test_the_page_names_every_model():
    page = (Path(__file__).parents[1] / "docs" / "priors.md").read_text()
    for role, choices in CHOICES.items():
        for name, choice in choices.items():
            assert f"`{name}`" in page, f"{role}: {name}"
            assert choice.id in page, choice.id
    assert json.dumps("non-commercial").strip('"') in page
