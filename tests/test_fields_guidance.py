"""Closed-form guidance against the density it is the score of, PyTorch twins, and the distillation loop."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")


import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optional import needs

from hoijax.composition.fields.cameras import (
    OrbitSettings,
    orbit_cameras,
    random_cameras,
    ring_cameras,
)
from hoijax.composition.fields.closed_form import ClosedFormGuidance, closed_form_gradient, denoised
from hoijax.composition.fields.composition import new_entity, render_rays
from hoijax.composition.fields.distillation import Distiller
from hoijax.composition.fields.guidance import Guidance, GuidanceInfo
from hoijax.composition.fields.noise import NoiseSettings, alpha_sigma, draw_levels, score_weight
from hoijax.composition.fields.radiance_field import FieldSettings
from hoijax.composition.fields.volume_rendering import camera_rays
from hoijax.errors import UserError

needs_torch = needs("torch")
SIDE = 6


class Pictures:
    """M fixed images a prompt, the same from everywhere."""

    def __init__(self, **sets):
        self.sets = sets

    def __call__(self, prompts, cameras, size):
        return np.stack([self.sets[prompt] for prompt in prompts])


@pytest.fixture
def pictures(rng):
    return Pictures(
        one=rng.random((1, SIDE, SIDE, 3)).astype(np.float32),
        three=rng.random((3, SIDE, SIDE, 3)).astype(np.float32),
    )


def views(count):
    return ring_cameras(OrbitSettings(), count, (SIDE, SIDE))


# --- the score


def test_the_gradient_is_the_score_of_the_noisy_pictures(rng):
    """seen noise = -sigma grad log p(x_t), by finite differences of the mixture's log density in float64."""
    pictures = rng.normal(size=(4, 5))
    noisy = rng.normal(size=5)
    alpha, sigma = alpha_sigma(jnp.array([0.6]))
    a, s = float(alpha[0]), float(sigma[0])

    def log_density(x):
        return np.logaddexp.reduce(-0.5 * ((x - a * pictures) ** 2).sum(1) / s**2)

    score = [
        (log_density(noisy + 1e-5 * e) - log_density(noisy - 1e-5 * e)) / 2e-5 for e in np.eye(5)
    ]
    mean = denoised(
        noisy=jnp.asarray(noisy[None], jnp.float32),
        image_set=jnp.asarray(pictures[None], jnp.float32),
        alpha=alpha,
        sigma=sigma,
    )
    np.testing.assert_allclose(
        (noisy - a * np.asarray(mean[0])) / s, -s * np.array(score), atol=1e-4
    )


def test_one_picture_is_plain_regression_whatever_the_noise(pictures, rng):
    guidance = ClosedFormGuidance(pictures, NoiseSettings(weight="clean"))
    assert isinstance(guidance, Guidance)
    images = jnp.asarray(rng.random((2, SIDE, SIDE, 3)), jnp.float32)
    gradient, info = guidance(images, ["one", "one"], views(2), jax.random.key(0), 3)
    # w alpha / sigma = 1: twice (2 x - 1) - (2 y - 1)
    np.testing.assert_allclose(gradient, 4.0 * (images - pictures.sets["one"]), atol=2e-3)
    assert info.finite
    again, _ = guidance(images, ["one", "one"], views(2), jax.random.key(0), 3)
    np.testing.assert_array_equal(gradient, again)


def test_of_several_pictures_the_near_one_pulls_at_little_noise_and_all_at_much(pictures):
    three = 2.0 * pictures.sets["three"].reshape(1, 3, -1) - 1.0
    near = jnp.asarray(three[:, 1] + 0.01)
    for level, expected in ((0.05, three[:, 1]), (0.999, three.mean(1))):
        alpha, sigma = alpha_sigma(jnp.array([level]))
        noisy = alpha[:, None] * near
        found = denoised(noisy=noisy, image_set=jnp.asarray(three), alpha=alpha, sigma=sigma)
        np.testing.assert_allclose(found, expected, atol=0.02)


def test_guidance_scale_goes_from_the_whole_set_towards_the_prompts(pictures, rng):
    images = jnp.asarray(rng.random((1, SIDE, SIDE, 3)), jnp.float32)
    settings = NoiseSettings(range=(0.95, 0.95), end=0.95)
    given = (images, ["one"], views(1), jax.random.key(1), 0)
    plain, _ = ClosedFormGuidance(pictures, settings)(*given)
    every = ("one", "three")
    scaled = {
        scale: ClosedFormGuidance(pictures, settings, guidance=scale, every_prompt=every)(*given)[0]
        for scale in (0.0, 1.001, 3.0)
    }
    np.testing.assert_allclose(scaled[1.001], plain, atol=5e-3)
    np.testing.assert_allclose(
        scaled[3.0], scaled[0.0] + 3.0 * (plain - scaled[0.0]), rtol=1e-3, atol=1e-4
    )
    with pytest.raises(UserError, match="whole set"):
        ClosedFormGuidance(pictures, settings, guidance=2.0)


def test_counts_must_agree(pictures):
    with pytest.raises(UserError, match="2 images, 1 prompts and 2 cameras"):
        ClosedFormGuidance(pictures)(
            jnp.zeros((2, SIDE, SIDE, 3)), ["one"], views(2), jax.random.key(0), 0
        )


def test_noise_is_annealed_and_weights_are_as_named():
    settings = NoiseSettings(range=(0.1, 0.9), end=0.2, anneal_steps=100)
    early = draw_levels(settings, jax.random.key(0), 0, 400)
    late = draw_levels(settings, jax.random.key(0), 1000, 400)
    assert 0.1 <= float(early.min()) < 0.15 < 0.85 < float(early.max()) <= 0.9
    assert 0.1 <= float(late.min()) <= float(late.max()) <= 0.2
    alpha, sigma = alpha_sigma(early)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1.0, atol=1e-6)
    np.testing.assert_allclose(score_weight("variance", alpha, sigma), sigma**2)
    np.testing.assert_allclose(score_weight("uniform", alpha, sigma), 1.0)


# --- cameras


def test_cameras_stand_where_they_say():
    orbit = OrbitSettings(center=(0.2, 0.9, -0.1), distance=3.0)
    azimuths, elevations = np.array([0.0, 90.0, -120.0]), np.array([0.0, 30.0, -5.0])
    cameras = orbit_cameras(orbit, azimuths, elevations, (8, 8))
    np.testing.assert_allclose(cameras.azimuths, azimuths, atol=1e-3)
    np.testing.assert_allclose(cameras.elevations, elevations, atol=1e-3)
    away = np.asarray(orbit.center) - cameras.Ts_world_camera[:, :3, 3]
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 3.0, atol=1e-5)
    ahead = cameras.Ts_world_camera[:, :3, 2]  # looks at the center
    np.testing.assert_allclose(ahead, away / 3.0, atol=1e-5)


def test_random_cameras_repeat_vary_and_come_in_groups():
    orbit = OrbitSettings()
    first, again = (random_cameras(orbit, 4, (8, 8), 0, 7) for _ in range(2))
    np.testing.assert_array_equal(first.Ts_world_camera, again.Ts_world_camera)
    other = random_cameras(orbit, 4, (8, 8), 0, 8)
    assert np.abs(first.Ts_world_camera - other.Ts_world_camera).max() > 0.1
    grouped = random_cameras(orbit, 8, (8, 8), 0, 7, 4)
    for group in (slice(0, 4), slice(4, 8)):
        assert np.ptp(grouped.elevations[group]) < 1e-3
        turns = np.sort(grouped.azimuths[group] % 360.0)
        np.testing.assert_allclose(np.diff(turns), 90.0, atol=1e-3)
    low, high = orbit.elevations
    assert np.all((first.elevations > low - 1e-3) & (first.elevations < high + 1e-3))


# --- the loop


def plain_render(params, constants, intrinsics, Ts_world_camera, key):
    images = jnp.broadcast_to(jax.nn.sigmoid(params), (intrinsics.shape[0], SIDE, SIDE, 3))
    return images, 1e-3 * jnp.sum(params**2), {"size": jnp.sum(params**2)}


class Broken:
    """Not finite in the steps it is told."""

    def __init__(self, steps, value=np.nan):
        self.steps, self.value = steps, value

    def __call__(self, images, prompts, cameras, key, step):
        bad = step in self.steps
        gradient = jnp.full(images.shape, self.value if bad else 0.1)
        return gradient, GuidanceInfo(np.zeros(len(images)), 1.0, finite=True)


def test_the_loop_goes_where_the_guidance_points(pictures):
    distiller = Distiller(plain_render, ClosedFormGuidance(pictures), learning_rate=0.3)
    state = distiller.init(jnp.zeros((SIDE, SIDE, 3)))
    for _ in range(60):
        state, report = distiller.step(state, None, ["one"] * 2, views(2), 0)
    assert report.step == 59
    assert report.values["size"] > 0.1
    wanted = np.clip(pictures.sets["one"][0], 0.1, 0.9)
    np.testing.assert_allclose(jax.nn.sigmoid(state.params), wanted, atol=0.1)


@pytest.mark.parametrize("told", [True, False])
def test_steps_that_are_not_finite_are_skipped_counted_and_in_the_end_refused(told):
    guidance = Broken({1, 2})
    if told:  # the guidance has seen it itself, and sends zeros
        inner = guidance

        def guidance(images, prompts, cameras, key, step):
            gradient, info = inner(images, prompts, cameras, key, step)
            finite = bool(jnp.isfinite(gradient).all())
            return jnp.nan_to_num(gradient), GuidanceInfo(info.noise_levels, 1.0, finite)

    distiller = Distiller(plain_render, guidance, learning_rate=0.1, max_skipped=3)
    state = distiller.init(jnp.ones((SIDE, SIDE, 3)))
    seen = []
    for _ in range(4):
        state, report = distiller.step(state, None, ["one"], views(1), 0)
        seen.append((report.finite, float(state.params[0, 0, 0])))
    assert [finite for finite, _ in seen] == [True, False, False, True]
    assert seen[0][1] == seen[1][1] == seen[2][1] != seen[3][1]
    assert int(state.skipped) == 2
    assert int(state.step) == 4
    distiller.guidance = Broken(range(100))
    for _ in range(2):
        state, _ = distiller.step(state, None, ["one"], views(1), 0)
    with pytest.raises(UserError, match="3 steps in a row"):
        distiller.step(state, None, ["one"], views(1), 0)


# --- PyTorch


SMALL = FieldSettings(center=(0.0, 0.85, 0.0), half_side=1.0, resolutions=(5, 8), width=8)
SAMPLES = 12


def field_render(params, constants, intrinsics, Ts_world_camera, key):
    """A whole field, every sample evaluated, nothing random: what the twin computes."""
    entity = new_entity(SMALL, jax.random.key(0), cells=4).replace(params=params)
    origins, directions = camera_rays(
        intrinsics=intrinsics[0], T_world_camera=Ts_world_camera[0], size=(SIDE, SIDE)
    )
    rendered, _ = render_rays(
        entities=(entity,), origins=origins, directions=directions, key=key,
        samples=SAMPLES, budget=SIDE * SIDE * SAMPLES, jitter=False,
    )  # fmt: skip
    return rendered.color.reshape(1, SIDE, SIDE, 3), jnp.zeros(()), {}


@pytest.fixture(scope="module")
def twins():
    """(JAX image, pull-back, torch image, torch parameters, names) of one field."""
    import torch

    from scripts.baselines import torch_nerf

    torch.set_num_threads(1)
    params = new_entity(SMALL, jax.random.key(1)).params
    params = {**params, "field": jax.tree.map(lambda x: 3.0 * x, params["field"])}
    K, T = (jnp.asarray(x) for x in (views(1).intrinsics, views(1).Ts_world_camera))

    @jax.jit
    def forward(p):
        return jax.vjp(lambda q: field_render(q, None, K, T, jax.random.key(0))[0], p)

    images, pull = forward(params)
    weights = torch_nerf.to_torch_params(params)
    rays = camera_rays(intrinsics=K[0], T_world_camera=T[0], size=(SIDE, SIDE))
    origins, directions = (torch.tensor(np.array(x)) for x in rays)
    drawn = torch_nerf.render(weights, SMALL, origins, directions, SAMPLES)
    return images, pull, drawn.reshape(1, SIDE, SIDE, 3), weights


def assert_slopes_agree(ours, weights):
    from scripts.baselines import torch_nerf

    flat = torch_nerf.to_torch_params(ours)
    for name, weight in weights.items():
        expected = np.asarray(weight.grad)
        atol = 2e-5 * max(float(np.abs(expected).max()), 1e-3) + 1e-6
        np.testing.assert_allclose(flat[name].detach(), expected, rtol=2e-2, atol=20 * atol)
        assert np.abs(expected).max() > 0, name
        weight.grad = None


@pytest.mark.slow
@needs_torch
def test_the_field_in_pytorch_draws_the_same_picture(twins):
    images, _, drawn, _ = twins
    np.testing.assert_allclose(images, drawn.detach(), atol=2e-5)
    assert float(jnp.std(images)) > 0.01


@needs_torch
def test_closed_form_guidance_in_pytorch_is_the_jax_one(twins, pictures):
    """Through the DLPack bridge, once in torch and once in JAX: the same gradient of the parameters."""
    import torch

    from priors.models.jax_bridge import to_the_kind_of, to_torch

    images, pull, drawn, weights = twins
    flat = images.reshape(1, -1)
    levels = jnp.array([0.7])
    alpha, sigma = alpha_sigma(levels)
    noise = jax.random.normal(jax.random.key(2), flat.shape)
    three = jnp.asarray(pictures.sets["three"].reshape(1, 3, -1))
    ours = closed_form_gradient(
        images=flat, image_set=three, every_image=three, noise=noise, levels=levels,
        guidance=jnp.ones(()), weight="variance",
    )  # fmt: skip

    x, y, e = (to_torch(v) for v in (flat, three, noise))
    a, s = float(alpha[0]), float(sigma[0])
    noisy = a * (2 * x - 1) + s * e
    logits = -0.5 * ((noisy[:, None] - a * (2 * y - 1)) ** 2).sum(-1) / s**2
    mean = (torch.softmax(logits, -1)[..., None] * (2 * y - 1)).sum(1)
    theirs = 2.0 * s**2 * ((noisy - a * mean) / s - e)
    back = to_the_kind_of(flat, theirs)
    np.testing.assert_allclose(back, ours, atol=1e-4)
    (slope,) = pull(jnp.asarray(back).reshape(images.shape))
    drawn.backward(theirs.reshape(drawn.shape), retain_graph=True)
    assert_slopes_agree(slope, weights)


@needs_torch
@needs("diffusers")
@pytest.mark.slow
def test_a_unets_guidance_pulled_through_jax_is_pytorchs_own(twins, tmp_path):
    """Field to image to UNet and back: `jax.vjp` with the bridge against autograd end to end."""
    import tiny_models

    from priors.models.distillation import DeepFloydGuidance
    from priors.protocols import ModelId

    images, pull, drawn, weights = twins
    guidance = DeepFloydGuidance(ModelId(str(tiny_models.deepfloyd(tmp_path))))
    ours, info = guidance(images, ["a person"], views(1), jax.random.key(4), 5)
    assert info.finite
    (slope,) = pull(ours)
    theirs, _ = guidance(drawn.detach().numpy(), ["a person"], views(1), jax.random.key(4), 5)
    import torch

    drawn.backward(torch.tensor(np.asarray(theirs)), retain_graph=True)
    assert_slopes_agree(slope, weights)
