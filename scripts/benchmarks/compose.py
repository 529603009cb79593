"""Quality and speed of `hoijax compose` on scenes that are known, with closed-form guidance.

python -m scripts.benchmarks.compose [--preset small] [--scenes sit,hold,ride] [--skip-ablation] [--out rows.json]
For every scene: held-out PSNR of the coarse field, silhouettes of the split, joints and size of the fitted
body, chamfer of the object, seconds; the ablation (direct distillation into the pose); then rays per second
of a step against the same field in plain PyTorch.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from hoijax.api.compose import ComposeOptions
from hoijax.bodies import load_body
from hoijax.bodies.fitting.energy import pose_motion
from hoijax.composition.avatar import painted
from hoijax.composition.field_stages import FieldRender
from hoijax.composition.fields.cameras import random_cameras, ring_cameras
from hoijax.composition.fields.composition import Entity
from hoijax.composition.fields.distillation import Distiller, stack_cameras
from hoijax.composition.fields.volume_rendering import camera_rays
from hoijax.composition.method import Composer, Composition
from hoijax.composition.observers import Observers
from hoijax.composition.output import assemble
from hoijax.composition.settings import ComposeSettings, compose_preset
from hoijax.composition.stage_loop import Hooks
from hoijax.runtime import describe_device, enable_compilation_cache
from priors.models.composition import CompositionPriors, composition_priors
from scripts.baselines.compose_direct import DirectRender, standing_unknowns

SCENES = {
    "sit": "a person sitting on a chair",
    "hold": "a person holding a box",
    "ride": "a person riding a skateboard",
    "sofa": "a man sitting on a sofa",
}
TARGETS = {
    "psnr_db": (24.0, 1),
    "anchor_iou": (0.85, 1),
    "object_iou": (0.85, 1),
    "joint_error_cm": (7.0, -1),
    "scale_error_percent": (5.0, -1),
    "object_chamfer_cm": (3.0, -1),
    "seconds": (1200.0, -1),
}


def mean_of(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means of the metrics of several scenes."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def compose_scene(
    text: str, settings: ComposeSettings
) -> tuple[dict[str, float], Composition, CompositionPriors]:
    """Metrics of one scene, with everything that was made."""
    priors = composition_priors(
        text, "closed-form", noise=settings.noise, seed=settings.seed, steps=settings.coarse_steps
    )
    begun = time.perf_counter()
    observers = Observers(priors.guidance, priors.segment, priors.detect)
    hooks = Hooks(log=lambda message: print("   ", message, flush=True))
    composition = Composer(priors.prompts, settings, observers, load_body("anny"), hooks).run()
    scene = assemble(composition, settings, priors, None)
    return scene.metrics | {"seconds": time.perf_counter() - begun}, composition, priors


def direct(composition: Composition, priors: CompositionPriors, settings: ComposeSettings) -> float:
    """Joint error in cm of direct distillation into the pose, with the coarse field's budget of steps."""
    surface, look, known = composition.surface, composition.look, priors.known
    assert known is not None
    person = surface.person(look)
    pixel = 2.0 * settings.orbit.distance * np.tan(np.radians(settings.orbit.field_of_view) / 2)
    object_mesh = (
        np.asarray(known.object.vertices_world),
        np.asarray(known.object.faces),
        np.asarray(known.object.color),
    )  # the true object: the ablation is about the pose
    render = DirectRender(
        person, painted(surface, look.colors), object_mesh, settings, float(pixel / settings.size)
    )
    distiller = Distiller(render, priors.guidance, learning_rate=settings.learning_rate)
    state = distiller.init(standing_unknowns(person))
    size = (settings.size, settings.size)
    for step in range(settings.coarse_steps):
        cameras = random_cameras(settings.orbit, settings.views, size, settings.seed, step)
        prompts = [priors.prompts.interaction] * settings.views
        state, _ = distiller.step(state, None, prompts, cameras, settings.seed)
    joints = np.asarray(pose_motion(person, state.params).joints_world)[0]
    return 100.0 * float(np.linalg.norm(joints - known.joints_world, axis=1)[:22].mean())


def rays_per_second(
    entity: Entity, settings: ComposeSettings, repeats: int = 5
) -> dict[str, float]:
    """Forward and backward of one image: ours, and every sample in PyTorch; median of runs in turn."""
    import torch

    from scripts.baselines import torch_nerf

    size, pixels = (settings.size, settings.size), settings.size**2
    K, T = stack_cameras(ring_cameras(settings.orbit, 1, size, (20.0,), first=33.0))
    render = FieldRender(settings)
    pull = jnp.ones((1, *size, 3))

    @jax.jit
    def forward(params, entity):
        return render(params, (entity, None), K, T, jax.random.key(0))[0]

    @jax.jit
    def both(params, entity):
        return jax.grad(lambda p: jnp.sum(pull * render(p, (entity, None), K, T, jax.random.key(0))[0]))(params)  # fmt: skip

    origins, directions = camera_rays(intrinsics=K[0], T_world_camera=T[0], size=size)
    o, d = (torch.tensor(np.array(x)) for x in (origins, directions))
    weights = torch_nerf.to_torch_params(entity.params)

    def torch_forward() -> None:
        with torch.no_grad():
            torch_nerf.render(weights, entity.settings, o, d, settings.samples)

    def torch_both() -> None:
        torch_nerf.render(weights, entity.settings, o, d, settings.samples).sum().backward()

    runs = {
        "forward": lambda: jax.block_until_ready(forward(entity.params, entity)),
        "forward and backward": lambda: jax.block_until_ready(both(entity.params, entity)),
        "forward, PyTorch": torch_forward,
        "forward and backward, PyTorch": torch_both,
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()  # compile, warm up
    for _ in range(repeats):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begun)
    rates = {name: pixels / float(np.median(seconds)) for name, seconds in times.items()}
    for name in ("forward", "forward and backward"):
        rates[f"{name}, ratio"] = rates[name] / rates[f"{name}, PyTorch"]
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--scenes", default="sit,hold,ride")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip-ablation", action="store_true")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    enable_compilation_cache()
    print(f"device: {describe_device()}, preset {chosen.preset}", flush=True)
    settings = ComposeOptions("closed-form", preset=chosen.preset, seed=chosen.seed).settings()
    assert settings.coarse_steps <= compose_preset(chosen.preset).coarse_steps
    rows, speed = {}, {}
    for name in chosen.scenes.split(","):
        print(f"{name}: {SCENES[name]}", flush=True)
        row, composition, priors = compose_scene(SCENES[name], settings)
        if not chosen.skip_ablation:
            row["direct_joint_error_cm"] = direct(composition, priors, settings)
        rows[name] = row
        speed = speed or rays_per_second(composition.coarse, settings)
        for key, value in row.items():
            target, sign = TARGETS.get(key, (None, 1))
            verdict = "" if target is None else ("ok" if sign * (value - target) >= 0 else "MISSED")
            print(
                f"    {key:26s} {value:10.3f}  {target if target else '':>7}  {verdict}", flush=True
            )
        if chosen.out:
            chosen.out.write_text(json.dumps({"rows": rows, "rays_per_second": speed}, indent=2))
    print("mean:", {key: round(value, 3) for key, value in mean_of(list(rows.values())).items()})
    print("rays per second:", {key: round(value, 2) for key, value in speed.items()})


if __name__ == "__main__":
    main()
