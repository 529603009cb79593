"""`hoijax compose`: words to a static scene on disk, with checkpoints beside it while it is made."""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bodies import load_body
from hoijax.composition.method import Composer, Composition
from hoijax.composition.observers import Observers
from hoijax.composition.output import BODY, ComposedScene, assemble, write_composition
from hoijax.composition.settings import ComposeSettings, compose_preset
from hoijax.composition.stage_loop import Hooks
from hoijax.errors import UserError
from hoijax.io.atomic import check_output, output_folder
from hoijax.io.checkpoints import Checkpoints
from hoijax.objects.asset import Asset, asset_from_arrays
from hoijax.objects.specs import load_objects
from hoijax.progress import Log
from hoijax.runtime import (
    describe_device,
    enable_compilation_cache,
    peak_memory_gb,
    share_gpu,
    versions,
)

__all__ = ["ComposeOptions", "ComposedScene", "compose", "compose_to_folder"]


@dataclass(frozen=True)
class ComposeOptions:
    """What the command line says."""

    guidance: str = "deepfloyd"
    object: str | None = None
    """The user's mesh, or the name of a procedural object."""
    axes: Mapping[str, Any] = field(default_factory=dict)
    """What the mesh's numbers mean: scale, up and front, as in `load_objects`."""
    preset: str | None = None
    """"small" with closed-form guidance, else "gpu"."""
    seed: int = 0
    steps: int | None = None
    """Of the coarse field; the other stages in proportion."""
    pag: Path | None = None
    """A part affordance graph, for sentences beyond the language rules."""
    weights: tuple[tuple[str, str], ...] = ()
    """(role, directory or "owner/name@revision"): deepfloyd, mvdream, detector, segmenter, keypoints."""
    keypoints: str | None = None
    """Keypoint model for the anchor's skeletons; with closed-form guidance the projected truth."""
    device: str = "auto"
    """Of the frozen models; JAX chooses its own by $JAX_PLATFORMS."""
    precision: str = "auto"
    memory: str = "model"
    restart: bool = False
    """Start anew where an interrupted run left checkpoints."""
    turntable: bool = True

    def settings(self) -> ComposeSettings:
        """UserError for unknown presets and numbers that make no sense."""
        name = self.preset or ("small" if self.guidance == "closed-form" else "gpu")
        settings = dataclasses.replace(compose_preset(name), seed=self.seed)
        if self.steps is not None:
            if self.steps < 1:
                raise UserError(f"--steps must be at least 1, got {self.steps}.")
            fraction = self.steps / settings.coarse_steps
            scaled = {
                key: max(round(getattr(settings, key) * fraction), 1)
                for key in ("coarse_steps", "anchor_steps", "object_steps", "avatar_steps")
            }
            noise = dataclasses.replace(settings.noise, anneal_steps=self.steps)
            settings = dataclasses.replace(settings, noise=noise, **scaled)
        return settings.check()


def compose(
    text: str,
    options: ComposeOptions | None = None,
    *,
    hooks: Hooks | None = None,
    settings: ComposeSettings | None = None,
) -> tuple[ComposedScene, Composition]:
    """Compose a sentence. UserError for words without a person or an object, missing weights, bad numbers."""
    from priors.models.composition import (
        composition_priors,  # priors are joined lazily, as in pipeline
    )
    from priors.models.torch_runtime import torch_settings

    share_gpu()
    options, hooks = options or ComposeOptions(), hooks or Hooks()
    settings = settings or options.settings()
    asset = None
    if options.object is not None:
        asset = load_objects([options.object], text=text, **options.axes)[0]
    priors = composition_priors(
        text,
        options.guidance,
        asset=asset,
        seed=settings.seed,
        noise=settings.noise,
        steps=settings.coarse_steps,
        pag=options.pag,
        weights=dict(options.weights),
        keypoints=options.keypoints,
        runtime=torch_settings(options.device, options.precision, options.memory),
    )
    if asset is not None:
        asset = dataclasses.replace(asset, name=priors.object_name)
    # A graph that cannot be made is refused now, not after the fields.
    priors.graph(asset or placeholder(priors.object_name))
    body = load_body(BODY)
    observers = Observers(priors.guidance, priors.segment, priors.detect)
    composer = Composer(priors.prompts, settings, observers, body, hooks)
    composition = composer.run()
    scene = assemble(composition, settings, priors, asset)
    run = {
        "method": "compose",
        "settings": dataclasses.asdict(settings),
        "models": dict(priors.models),
        "seconds": composition.seconds,
        "skipped_steps": composition.skipped,
        "peak_memory_gb": peak_memory_gb(),
        "device": describe_device(),
        "versions": versions(),
    }
    scene = dataclasses.replace(scene, result=dataclasses.replace(scene.result, run=run))
    return scene, composition


def placeholder(name: str) -> Asset:
    """An object of a name, for what is checked before its mesh is there."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    return asset_from_arrays(name, corners, faces, samples=16)


def compose_to_folder(
    text: str, out: str | Path, options: ComposeOptions | None = None, *, log: Log = lambda m: None
) -> ComposedScene:
    """`compose`, then the folder: result, avatar, fields, scene.glb, turntable, metrics.

    While it runs, OUT.work beside it holds checkpoints and images; the same command continues there.
    """
    share_gpu()
    options = options or ComposeOptions()
    settings = options.settings()
    out = check_output(out)
    work = _work_folder(out, text, options, settings)
    cache = enable_compilation_cache()
    log(f"device: {describe_device()}; compiled programs kept in {cache or 'memory only'}")
    begun = time.perf_counter()
    checkpoints = Checkpoints(work / "checkpoints")
    hooks = Hooks(log, _previews(work), checkpoints)
    try:
        scene, composition = compose(text, options, hooks=hooks, settings=settings)
    except UserError:
        checkpoints.close()
        if not any(
            (work / "checkpoints").iterdir()
        ):  # refused before work began: nothing to resume
            shutil.rmtree(work, ignore_errors=True)
        raise
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            smaller = "tiny" if settings.preset == "small" else "small"
            raise UserError(
                f"compose: out of memory with the preset '{settings.preset}'. Take --preset {smaller}, which "
                "renders smaller images; checkpoints of the larger one are not used."
            ) from error
        raise
    checkpoints.close()
    with output_folder(out) as folder:
        write_composition(scene, composition, folder, work, options.turntable)
    shutil.rmtree(work, ignore_errors=True)
    memory = peak_memory_gb()
    peak = "" if memory is None else f", at most {memory:.1f} GB of memory"
    log(f"composed in {time.perf_counter() - begun:.0f} s{peak}")
    return scene


def _work_folder(out: Path, text: str, options: ComposeOptions, settings: ComposeSettings) -> Path:
    """Where an interrupted run continues. UserError where it holds one of other settings."""
    work = out.absolute().with_name(out.name + ".work")
    header = {
        "text": text,
        "guidance": options.guidance,
        "object": options.object,
        **({"axes": dict(options.axes)} if options.axes else {}),
        "keypoints": options.keypoints,
        "settings": dataclasses.asdict(settings),
    }
    content = json.dumps(header, indent=2, sort_keys=True) + "\n"
    path = work / "compose.json"
    if options.restart:
        shutil.rmtree(work, ignore_errors=True)
    if path.is_file() and path.read_text() != content:
        raise UserError(
            f"'{work}' holds an interrupted composition of other words or settings. Continue it with those, "
            "or start again with --restart."
        )
    work.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return work


def _previews(work: Path) -> Callable[[str, int, ndarray], None]:
    """Images of the stages in the work folder; preview.png is always the newest."""

    def write(stage: str, step: int, rendered: Float[ndarray, "H W 3"]) -> None:
        from PIL import Image

        shown = (255.0 * np.clip(rendered, 0.0, 1.0) ** (1 / 2.2) + 0.5).astype(np.uint8)
        image = Image.fromarray(shown)
        factor = max(192 // shown.shape[0], 1)
        image = image.resize(
            (shown.shape[1] * factor, shown.shape[0] * factor), Image.Resampling.NEAREST
        )
        folder = work / "previews"
        folder.mkdir(exist_ok=True)
        image.save(folder / f"{stage}_{step:06d}.png")
        partial = work / ".preview.png"
        image.save(partial)
        partial.replace(work / "preview.png")

    return write
