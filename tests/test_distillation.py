"""Guidance by diffusion models: the bridge to JAX, the gradient, text, views, MVDream's converter."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optional import needs_priors

from hoijax.composition.fields.guidance import Guidance, ViewCameras
from hoijax.errors import UserError
from hoijax.geometry.transforms import look_at
from priors.models.distillation import (
    DeepFloydGuidance,
    DiffusionGuidance,
    DistillationSettings,
    srgb_from_linear,
    view_prompt,
)
from priors.models.jax_bridge import to_the_kind_of, to_torch
from priors.models.multiview import MVDreamGuidance, camera_conditions
from priors.models.mvdream_checkpoint import convert_mvdream
from priors.models.text_embeddings import EmbeddingCache
from priors.models.torch_runtime import TorchSettings
from priors.protocols import ModelId

pytestmark = needs_priors
SIDE = 24
KEY = 0  # seed of the keys
CENTER = (0.0, 1.0, 0.0)
EYES = {"front": (0, 1, 3), "left": (3, 1, 0), "back": (0, 1, -3), "right": (-3, 1, 0)}


def cameras(*eyes) -> ViewCameras:
    poses = np.stack([look_at(np.array(eye), np.array(CENTER)) for eye in eyes])
    return ViewCameras(poses, np.tile(np.eye(3, dtype=np.float32), (len(eyes), 1, 1)), CENTER)


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.random((2, SIDE, SIDE, 3)), jnp.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("diffusion")


@pytest.fixture(scope="module")
def deepfloyd(folder) -> ModelId:
    import tiny_models

    return ModelId(str(tiny_models.deepfloyd(folder)))


@pytest.fixture(scope="module")
def guidance(deepfloyd):
    return DeepFloydGuidance(deepfloyd)


def ask(
    guidance, images, *, prompts=("a person", "a person"), eyes=("front", "back"), key=KEY, step=0
):
    views = cameras(*(EYES[eye] for eye in eyes))
    return guidance(images, list(prompts), views, jax.random.key(key), step)


# --- the bridge


def test_both_ways_without_a_copy():
    import torch

    array = jnp.arange(4096, dtype=jnp.float32).reshape(64, 64)
    tensor = to_torch(array)
    assert tensor.data_ptr() == array.unsafe_buffer_pointer()
    fresh = torch.arange(4096, dtype=torch.float32).reshape(64, 64)
    back = to_the_kind_of(array, fresh)
    assert isinstance(back, jax.Array)
    if fresh.data_ptr() % 64 == 0:  # JAX copies what is not aligned
        assert back.unsafe_buffer_pointer() == fresh.data_ptr()
    np.testing.assert_array_equal(back, array)
    half = to_torch(jnp.ones((3, 2), jnp.bfloat16))
    assert half.dtype == torch.bfloat16
    np.testing.assert_array_equal(to_the_kind_of(array, half), np.ones((3, 2)))


def test_numpy_goes_through_too_and_read_only_arrays_are_copied():
    array = np.ones((8, 8), np.float32)
    assert to_torch(array).data_ptr() == array.ctypes.data
    array.flags.writeable = False
    assert to_torch(array).data_ptr() != array.ctypes.data
    assert isinstance(to_the_kind_of(array, to_torch(array)), np.ndarray)


def test_renders_are_never_written_to(guidance, images):
    before = np.array(images)
    gradient, info = ask(guidance, images)
    np.testing.assert_array_equal(images, before)
    assert isinstance(gradient, jax.Array)
    assert gradient.shape == images.shape
    assert info.finite
    from_numpy, _ = ask(guidance, before)
    assert isinstance(from_numpy, np.ndarray)
    np.testing.assert_array_equal(from_numpy, gradient)


# --- the gradient


def test_gradient_through_jax_is_pytorchs_own(guidance, rng):
    """theta -> sigmoid(A theta) -> image, once in JAX with the guidance, once all in PyTorch."""
    import torch

    matrix = rng.standard_normal((2 * SIDE * SIDE * 3, 5)).astype(np.float32)
    theta = rng.standard_normal(5).astype(np.float32)
    shape = (2, SIDE, SIDE, 3)

    @jax.jit
    def render(theta):
        return jax.nn.sigmoid(jnp.asarray(matrix) @ theta).reshape(shape)

    images, pull = jax.vjp(render, jnp.asarray(theta))
    gradient, info = ask(guidance, images, step=7)
    (ours,) = pull(gradient)

    unknown = torch.tensor(theta, requires_grad=True)
    linear = torch.sigmoid(torch.tensor(matrix) @ unknown).reshape(shape).permute(0, 3, 1, 2)
    drawn = torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    small = (
        torch.nn.functional.interpolate(drawn, (16, 16), mode="bilinear", antialias=True) * 2 - 1
    )
    levels, noise = guidance._draw((2, 3, 16, 16), jax.random.key(KEY), 7)
    np.testing.assert_array_equal(levels, info.noise_levels)
    betas_kept = guidance.scheduler.alphas_cumprod[(levels * 1000).astype(int)].reshape(2, 1, 1, 1)
    noise = torch.tensor(noise)
    noisy = betas_kept.sqrt() * small + (1 - betas_kept).sqrt() * noise
    times = torch.tensor((levels * 1000).astype(np.int64))

    def predicted(texts):
        with torch.no_grad():
            said = guidance.unet(noisy, times, guidance.embeddings(texts)).sample
        return said[:, :3]

    plain, text = predicted(["", ""]), predicted(["a person, front view", "a person, back view"])
    wanted = (1 - betas_kept) * (plain + 20.0 * (text - plain) - noise)
    # The usual surrogate: its gradient at `small` is `wanted`.
    (0.5 * (small - (small - wanted).detach()) ** 2).sum().backward()
    np.testing.assert_allclose(ours, unknown.grad.numpy(), rtol=2e-4, atol=1e-4)
    assert np.abs(ours).max() > 1e-2


def test_same_key_same_gradient_and_noise_levels_fall(guidance, images):
    first, info = ask(guidance, images)
    np.testing.assert_array_equal(ask(guidance, images)[0], first)
    assert np.abs(np.asarray(ask(guidance, images, key=1)[0]) - first).max() > 1e-3
    assert (info.noise_levels >= 0.02).all()
    assert info.gradient_norm == pytest.approx(float(jnp.linalg.norm(first)), rel=1e-5)
    for step, limit in ((0, 0.98), (1500, 0.74), (3000, 0.5), (10_000, 0.5)):
        levels, _ = guidance._draw((4000, 1, 1, 1), jax.random.key(2), step)
        assert levels.max() == pytest.approx(limit, abs=2e-3)
        assert levels.min() == pytest.approx(0.02, abs=2e-3)
    _, noise = guidance._draw((1000, 3, 4, 4), jax.random.key(3), 0)
    assert (noise.mean(), noise.std()) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.02))


class KnowsTheTarget(DiffusionGuidance):
    """The exact denoiser of a distribution of one image: the answer is known in closed form."""

    group = 2

    def __init__(self, model_id, target, **settings):
        super().__init__(model_id, DistillationSettings(**settings), None)
        self.target = target

    def _represent(self, images):
        return images

    def _predict(self, noisy, times, prompts, cameras):
        import torch

        kept = self.scheduler.alphas_cumprod[times].reshape(-1, 1, 1, 1)
        noise = (noisy - kept.sqrt() * self.target) / (1 - kept).sqrt()
        return torch.stack([noise, noise])


def test_descent_along_the_gradient_reaches_what_the_model_knows(deepfloyd, rng):
    import torch

    target = rng.uniform(0.5, 1.0, (2, 3, 8, 8)).astype(np.float32)  # sRGB, as models know images
    model = KnowsTheTarget(deepfloyd, torch.tensor(target), weight="clean", guidance=1.0)
    image = jnp.asarray(rng.uniform(0.3, 1.0, (2, 8, 8, 3)), jnp.float32)  # linear
    gradient, _ = ask(model, image)
    # sigma / alpha (eps_hat - eps) is encoded image - target, whatever the noise.
    encoded, slope = 1.055 * image ** (1 / 2.4) - 0.055, 1.055 / 2.4 * image ** (1 / 2.4 - 1)
    expected = slope * (encoded - target.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(gradient, expected, atol=1e-4)
    for step in range(100):
        image = image - 0.5 * ask(model, image, key=step, step=step)[0]
    encoded = 1.055 * image ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(encoded, target.transpose(0, 2, 3, 1), atol=1e-3)
    assert ask(model, image)[1].noise_levels.std() == 0  # two of a group: one level


def test_rescaling_gives_the_guided_image_the_spread_of_the_plain_one(deepfloyd, rng):
    import torch

    clean, strong, plain = (
        torch.tensor(rng.standard_normal((4, 3, 8, 8)).astype(np.float32)) * s for s in (1, 5, 2)
    )
    alpha, sigma = torch.full((4, 1, 1, 1), 0.8), torch.full((4, 1, 1, 1), 0.6)
    noisy = alpha * clean + sigma * torch.ones(())
    for share in (1.0, 0.0):
        model = KnowsTheTarget(deepfloyd, None, rescale=share)
        got = (noisy - sigma * model._rescaled(noisy, strong, plain, (alpha, sigma))) / alpha
        x_strong, x_plain = ((noisy - sigma * eps) / alpha for eps in (strong, plain))
        expected = x_plain if share else x_strong
        for pair in (slice(0, 2), slice(2, 4)):  # of one group together
            assert float(got[pair].std()) == pytest.approx(float(expected[pair].std()), rel=1e-4)


def test_what_is_not_finite_is_reported_and_zero(deepfloyd, images, monkeypatch):
    guidance = DeepFloydGuidance(deepfloyd)
    right = guidance._predict

    def broken(*arguments):
        said = right(*arguments)
        said[:, 1] = float("nan")
        return said

    monkeypatch.setattr(guidance, "_predict", broken)
    gradient, info = ask(guidance, images)
    assert not info.finite
    assert np.isnan(info.gradient_norm)
    assert (gradient[1] == 0).all()
    assert np.abs(gradient[0]).max() > 1e-3


def test_counts_that_disagree_are_refused(guidance, images):
    with pytest.raises(UserError, match="2 images, 1 prompts and 2 cameras"):
        ask(guidance, images, prompts=["a person"])
    with pytest.raises(UserError, match="0 images"):
        ask(guidance, images[:0], prompts=[], eyes=["front"])


def test_renders_are_encoded_as_models_know_images():
    import torch

    linear = torch.tensor([0.0, 0.0031308, 0.21404114, 1.0], requires_grad=True)
    encoded = srgb_from_linear(linear)
    np.testing.assert_allclose(encoded.detach(), [0.0, 0.04045, 0.5, 1.0], atol=1e-5)
    (slope,) = torch.autograd.grad(encoded.sum(), linear)
    assert slope[0] == pytest.approx(12.92)  # a black pixel can become brighter
    assert slope.isfinite().all()


def test_parts_have_the_precision_they_need(deepfloyd, mvdream, monkeypatch):
    """On a GPU with bfloat16: guidance magnifies rounding, and the gradient passes the autoencoder."""
    import torch

    from priors.models import distillation

    def on_a_gpu(settings):
        dtype = torch.bfloat16 if settings.dtype == "auto" else getattr(torch, settings.dtype)
        return torch.device("cpu"), dtype

    monkeypatch.setattr(distillation, "device_and_dtype", on_a_gpu)
    assert DeepFloydGuidance(deepfloyd).unet.dtype == torch.float16
    model = MVDreamGuidance(mvdream)
    assert (model.unet.dtype, model.vae.dtype) == (torch.float16, torch.float32)
    asked = DeepFloydGuidance(deepfloyd, runtime=TorchSettings(dtype="bfloat16"))
    assert asked.unet.dtype == torch.bfloat16


def test_float16_rounds_guidance_less_than_bfloat16(deepfloyd, rng):
    """Error of guided noise (guidance 20), by the precision of the UNet."""
    import torch

    clean = torch.tensor(rng.standard_normal((2, 3, 16, 16)).astype(np.float32))
    times, views = torch.tensor([300, 600]), cameras(EYES["front"], EYES["back"])
    guided = {}
    for dtype in ("float32", "float16", "bfloat16"):
        model = DeepFloydGuidance(deepfloyd, runtime=TorchSettings("cpu", dtype))
        with torch.no_grad():
            without, with_text = model._predict(clean, times, ["a person"] * 2, views).float()
        guided[dtype] = without + 20 * (with_text - without)
    error = {d: float((guided[d] - guided["float32"]).std()) for d in ("float16", "bfloat16")}
    assert 3 * error["float16"] < error["bfloat16"]


# --- text and views


def test_views_are_named_by_where_the_camera_is():
    views = cameras(*EYES.values(), (0.0, 6.0, 0.1))
    np.testing.assert_allclose(views.azimuths[:4], [0, 90, 180, -90], atol=1e-4)
    np.testing.assert_allclose(views.elevations[:4], 0, atol=1e-4)
    assert views.elevations[4] > 85
    names = [
        view_prompt("a person.", float(a), float(e)).split(", ")[1]
        for a, e in zip(views.azimuths, views.elevations, strict=True)
    ]
    assert names == ["front view", "side view", "back view", "side view", "overhead view"]
    assert view_prompt("x", -350.0, 0.0) == "x, front view"


def test_the_view_changes_the_gradient_only_where_it_is_told(deepfloyd, guidance, images):
    front, back = (ask(guidance, images, eyes=("front", eye))[0] for eye in ("front", "back"))
    np.testing.assert_array_equal(front[0], back[0])
    assert np.abs(front[1] - back[1]).max() > 1e-3
    silent = DeepFloydGuidance(deepfloyd, DistillationSettings(view_prompts=False))
    same = [ask(silent, images, eyes=("front", eye))[0] for eye in ("front", "back")]
    np.testing.assert_array_equal(*same)


def test_embeddings_are_those_of_the_pipeline(deepfloyd, guidance):
    from diffusers import IFPipeline

    pipeline = IFPipeline.from_pretrained(
        deepfloyd.name, safety_checker=None, watermarker=None, requires_safety_checker=False
    )
    theirs, empty = pipeline.encode_prompt("A Person sits", clean_caption=False)
    ours = guidance.embeddings(["A Person sits", ""])
    np.testing.assert_allclose(ours[0], theirs[0].detach(), atol=1e-6)
    np.testing.assert_allclose(ours[1], empty[0].detach(), atol=1e-6)


def test_embeddings_are_computed_once_and_kept_on_disk(tmp_path):
    import torch

    asked = []

    def encode(texts):
        asked.append(texts)
        return [torch.full((3, 2), float(len(text))) for text in texts]

    model_id = ModelId("a/b", "abc")
    cache = EmbeddingCache(encode, model_id, tmp_path)
    np.testing.assert_array_equal(cache(["abc", "de", "abc"])[:, 0, 0], [3, 2, 3])
    cache(["de"])
    assert asked == [["abc", "de"]]
    again = EmbeddingCache(encode, model_id, tmp_path)
    np.testing.assert_array_equal(again(["de", "abc"])[:, 0, 0], [2, 3])
    assert len(asked) == 1
    EmbeddingCache(encode, ModelId("a/b", "other"), tmp_path)(["de"])
    assert asked[1:] == [["de"]]
    for file in tmp_path.iterdir():
        file.write_bytes(b"half")
    with pytest.raises(UserError, match=r"is damaged.*Delete it"):
        EmbeddingCache(encode, model_id, tmp_path)(["de"])


def test_a_prepared_cache_needs_no_text_encoder(deepfloyd, images, tmp_path, monkeypatch):
    first = DeepFloydGuidance(deepfloyd, cache=tmp_path)
    first.prepare(["a person"])
    expected, _ = ask(first, images)
    second = DeepFloydGuidance(deepfloyd, cache=tmp_path)

    def never(texts):
        raise AssertionError(f"asked to encode {texts}")

    monkeypatch.setattr(second.embeddings, "_encode", never)
    np.testing.assert_array_equal(ask(second, images)[0], expected)


def test_models_that_do_not_predict_noise_are_refused(deepfloyd, tmp_path, images):
    import json
    import shutil

    shutil.copytree(deepfloyd.name, tmp_path / "v")
    file = tmp_path / "v" / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prediction_type": "v_prediction"}))
    with pytest.raises(UserError, match="predicts v_prediction"):
        ask(DeepFloydGuidance(ModelId(str(tmp_path / "v"))), images)


# --- MVDream


@pytest.fixture(scope="module")
def mvdream(folder) -> ModelId:
    """The tiny checkpoint in the authors' names, converted."""
    import tiny_models

    published = tiny_models.mvdream(folder)
    convert_mvdream(
        published,
        folder / "mvdream",
        shapes=tiny_models.MVDREAM,
        tokenizer=ModelId(str(folder / "mvdream_words")),
    )
    return ModelId(str(folder / "mvdream"))


def test_the_published_file_converts_without_loss(mvdream, folder):
    from safetensors.torch import load_file

    for part in ("unet", "vae", "text_encoder"):
        made, known = (
            load_file(next((folder / name / part).glob("*.safetensors")))
            for name in ("mvdream", "mvdream_parts")
        )
        assert made.keys() == known.keys()
        for name in made:
            np.testing.assert_array_equal(made[name], known[name], err_msg=name)


def test_other_files_are_no_mvdream(mvdream, folder, tmp_path):
    import tiny_models
    import torch

    words = ModelId(str(folder / "mvdream_words"))
    weights = torch.load(folder / "mvdream.pt", weights_only=True)
    del weights["model.diffusion_model.out.2.bias"]
    torch.save(weights, tmp_path / "cut.pt")
    with pytest.raises(UserError, match=r"its unet differs.*conv_out\.bias"):
        convert_mvdream(
            tmp_path / "cut.pt", tmp_path / "out", shapes=tiny_models.MVDREAM, tokenizer=words
        )
    (tmp_path / "text.pt").write_text("no weights")
    for missing in ("text.pt", "nothing.pt"):
        with pytest.raises(UserError, match="cannot read MVDream's checkpoint"):
            convert_mvdream(tmp_path / missing, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cameras_are_told_as_in_blender():
    """MVDream's own: z up, the first camera at -y, camera axes right, up and backward."""
    conditions = camera_conditions(cameras((0, 1, 3), (3, 1, 0))).reshape(2, 4, 4)
    np.testing.assert_allclose(conditions[0, :3, 3], [0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(conditions[1, :3, 3], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(
        conditions[0, :3, :3].T, [[1, 0, 0], [0, 0, 1], [0, -1, 0]], atol=1e-6
    )
    np.testing.assert_allclose(np.linalg.det(conditions[:, :3, :3]), 1, atol=1e-5)
    centered = cameras((0, 1, 3))
    centered.Ts_world_camera[0, :3, 3] = CENTER
    with pytest.raises(UserError, match="at the center"):
        camera_conditions(centered)


def test_views_of_one_subject_see_each_other_and_no_other_subject(mvdream, rng):
    guidance = MVDreamGuidance(mvdream)
    assert isinstance(guidance, Guidance)
    eyes = tuple(EYES) * 2
    prompts = ["a person"] * 8
    images = jnp.asarray(rng.random((8, 16, 16, 3)), jnp.float32)
    base, info = ask(guidance, images, prompts=prompts, eyes=eyes)
    assert base.shape == images.shape
    assert (info.noise_levels[:4] == info.noise_levels[0]).all()
    assert info.noise_levels[4] != info.noise_levels[0]
    changed, _ = ask(guidance, images.at[0].set(1 - images[0]), prompts=prompts, eyes=eyes)
    difference = np.abs(np.asarray(changed) - np.asarray(base)).max(axis=(1, 2, 3))
    assert (difference[:4] > 1e-5).all()
    np.testing.assert_allclose(difference[4:], 0, atol=1e-5)
    turned, _ = ask(guidance, images, prompts=prompts, eyes=(*eyes[:7], "front"))
    difference = np.abs(np.asarray(turned) - np.asarray(base)).max(axis=(1, 2, 3))
    assert (difference[4:] > 1e-6).all()
    np.testing.assert_allclose(difference[:4], 0, atol=1e-5)
    other, _ = ask(guidance, images, prompts=["a red box"] * 8, eyes=eyes)
    assert np.abs(other - base).max() > 1e-5
    with pytest.raises(UserError, match="a multiple of 4"):
        ask(guidance, images[:3], prompts=prompts[:3], eyes=eyes[:3])


def test_the_gradient_passes_the_autoencoder(mvdream, rng):
    """Against finite differences of <wanted, encode(image)>."""
    import torch

    guidance = MVDreamGuidance(mvdream)
    guidance.settings = dataclasses.replace(guidance.settings, weight="uniform")
    images = rng.uniform(0.2, 1.0, (4, 16, 16, 3)).astype(np.float32)
    wanted = rng.standard_normal((4, 4, 8, 8)).astype(np.float32)
    guidance._gradient = lambda *_: torch.tensor(wanted)
    gradient, _ = ask(guidance, images, prompts=["a person"] * 4, eyes=tuple(EYES))
    direction = rng.standard_normal(images.shape).astype(np.float32)

    def value(at):
        with torch.no_grad():
            encoded = srgb_from_linear(torch.tensor(at).permute(0, 3, 1, 2))
            latents = guidance._represent(encoded)
        return float((latents.double() * torch.tensor(wanted)).sum())

    step = 1e-2
    numeric = (value(images + step * direction) - value(images - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(numeric, rel=2e-2)


def test_a_unet_without_cameras_is_refused(deepfloyd):
    with pytest.raises(UserError, match="takes no cameras"):
        _ = MVDreamGuidance(deepfloyd).unet
