"""One step of a first contact: one model on one image, in a process of its own."""

import dataclasses
import gc
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.io.json_files import write_json
from priors.models.catalog import CHOICES

__all__ = ["MODES", "Step", "StepOptions", "planned", "run_step"]

MODES = ("weights", "tiny", "random weights")
GIB = 2**30
ROLES = ("score", "keypoints", "segmenter", "detector", "geometry", "language", "image", "video")
MEASURES = ROLES[:5]
"""Roles of perception: run in float32 and in the default precision."""
QUESTION = [{"role": "user", "content": "Is a chair to sit on? Answer in JSON."}]
FORM = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
PROMPT = "A person lifts a cardboard box from the floor, in full view, before a plain wall."
SHORT_PROMPT = "a man lifts a box"
STEPS = 2
TINY_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "flux": {"prompt_tokens": 48},
    "flux-schnell": {"prompt_tokens": 48},
    "wan": {"area": 64 * 64, "prompt_tokens": 48},
    "wan2.2": {"area": 64 * 64},
    "wan2.2-a14b": {"area": 64 * 64},
    "framepack": {"area": 64 * 64, "latent_window": 3, "prompt_template": ("{}", 0)},
    "ltx2": {"area": 32 * 64, "recompression": 0},
}
"""What tiny networks need beside few steps: small images, and texts that their tokenizers hold."""


@dataclass(frozen=True)
class Step:
    """A model of a role."""

    role: str
    name: str

    @property
    def key(self) -> str:
        return f"{self.role}={self.name}"

    @property
    def parameters(self) -> float:
        """In 1e9."""
        return sum(CHOICES[self.role][self.name].parts.values())


@dataclass(frozen=True)
class StepOptions:
    """How steps run."""

    mode: str = "weights"
    device: str = "auto"
    precision: str = "auto"
    memory: str = "model"
    image: str | None = None


def planned(mode: str = "weights") -> list[Step]:
    """Every model with weights of its own, smallest first; without them, those that can be made."""
    from scripts.contact.checkpoints import is_known

    steps = [
        Step(role, name)
        for role in ROLES
        for name, choice in CHOICES[role].items()
        if "/" in choice.id and choice.takes in ("model_id", "language")
    ]
    steps = [step for step in steps if mode == "weights" or is_known(step.key, mode)]
    return sorted(steps, key=lambda step: step.parameters)


def run_step(role: str, name: str, options: StepOptions, path: str) -> None:
    """Run a step and write its row to `path`; a failure is a row too."""
    started = time.perf_counter()
    try:
        row: dict[str, Any] = {"status": "ok"} | _measured(Step(role, name), options)
    except UserError as error:
        row = {"status": "failed", "error": str(error)}
    except Exception as error:  # whatever a library raises is what a first contact looks for
        row = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    row |= {"step": f"{role}={name}", "mode": options.mode}
    row["seconds"] = round(time.perf_counter() - started, 2)
    write_json(Path(path), row)


def _measured(step: Step, options: StepOptions) -> dict[str, Any]:
    if options.mode != "weights":
        os.environ["HF_HUB_OFFLINE"] = "1"
    precisions = ["float32", options.precision] if step.role in MEASURES else [options.precision]
    image = _picture(options)
    with tempfile.TemporaryDirectory(prefix="first-contact-") as scratch:
        runs: list[dict[str, Any]] = []
        for number, precision in enumerate(precisions):
            folder = Path(scratch, str(number))
            folder.mkdir()
            with _weights(step, options.mode, folder) as weights:
                runs.append(_one_run(step, options, precision, weights, image))
    row = {k: v for k, v in runs[-1].items() if k != "output"}
    if len(runs) == 2:
        row["float32"] = {k: v for k, v in runs[0].items() if k not in ("output", "shape")}
        row["difference"] = _difference(step.role, runs[0]["output"], runs[1]["output"])
    return row


def _weights(step: Step, mode: str, folder: Path) -> Any:
    if mode == "weights":
        return nullcontext(None)
    from scripts.contact.checkpoints import checkpoint

    return checkpoint(step.key, mode, folder)


def _one_run(
    step: Step, options: StepOptions, precision: str, weights: Path | None, image: ndarray
) -> dict[str, Any]:
    """Seconds and memory of loading and of running, and what came out."""
    from priors.models.registry import ModelChoices, RegisteredModels
    from priors.models.torch_runtime import torch_settings

    choices = ModelChoices(
        {step.role: step.name},
        {} if weights is None else {step.role: str(weights)},
        runtime=torch_settings(options.device, precision, options.memory),
    )
    models = RegisteredModels(choices)
    model = models.get(step.role)
    if step.role in ("image", "video"):
        model.settings = _few_steps(step, model.settings, options.mode == "tiny")
    with _measuring() as loading:
        networks = _loaded(model)
    with _measuring() as running:
        output, shape = _answer(step.role, model, image, options.mode == "tiny")
    parameters = [p for network in networks for p in network.parameters()]
    row = {
        "load": loading,
        "run": running,
        "parameters": round(sum(p.numel() for p in parameters) / 1e9, 6),
        "dtypes": sorted({str(p.dtype).removeprefix("torch.") for p in parameters}),
        "device": str(next((p.device for p in parameters), "")),
        "shape": shape,
        "output": output,
    }
    del model, networks, parameters
    models.release([step.role])
    gc.collect()
    return row


def _few_steps(step: Step, settings: Any, is_tiny: bool) -> Any:
    known = {field.name for field in dataclasses.fields(settings)}
    changed: dict[str, Any] = {"steps": STEPS}
    if is_tiny:
        changed |= {"seconds": None, "prompt_suffix": "", "negative_prompt": "blur"}
        changed |= dict(TINY_SETTINGS.get(step.name, {}))
    return dataclasses.replace(settings, **{k: v for k, v in changed.items() if k in known})


@contextmanager
def _measuring() -> Iterator[dict[str, float]]:
    """Seconds, and the most memory of the GPU (GiB, PyTorch's tensors) and of the process (GiB)."""
    import torch

    has_gpu = torch.cuda.is_available()
    if has_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    measured: dict[str, float] = {}
    started = time.perf_counter()
    yield measured
    if has_gpu:
        torch.cuda.synchronize()
        measured["gpu_gib"] = round(torch.cuda.max_memory_allocated() / GIB, 3)
    measured["seconds"] = round(time.perf_counter() - started, 3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measured["ram_gib"] = round(peak * (1 if sys.platform == "darwin" else 1024) / GIB, 3)


def _loaded(model: Any) -> list[Any]:
    """The networks of a model, which are loaded by this."""
    chat = getattr(model, "chat", None)
    if chat is None and hasattr(model, "_ask"):  # a detector that asks a chat model
        chat = model._ask.__self__.chat
    owner = chat or model
    for name in ("pipeline", "network", "_network"):
        if hasattr(type(owner), name):
            loaded = getattr(owner, name)
            parts = loaded.components.values() if hasattr(loaded, "components") else [loaded]
            return [part for part in parts if hasattr(part, "parameters")]
    raise UserError(f"{type(model).__name__} has no network that is known here")


def _answer(role: str, model: Any, image: ndarray, is_tiny: bool) -> tuple[Any, str]:
    """What a model of a role says about the image, and its shape in words."""
    if hasattr(model, "chat") or hasattr(model, "_ask"):
        return _said(model, image if role != "language" else None)
    height, width = image.shape[:2]
    prompt = SHORT_PROMPT if is_tiny else PROMPT
    box = np.array([0.3 * width, 0.1 * height, 0.7 * width, 0.95 * height])
    if role == "score":
        scores = model.score(image[None], prompt)
        return scores, f"{scores.shape}"
    if role == "keypoints":
        points = model.keypoints(image[None], box[None], np.ones(1, bool))
        return points, f"{points.shape}"
    if role == "segmenter":
        from priors.protocols import Prompt

        tracks = model.track(np.stack([image, image]), [Prompt(0, box)])
        return tracks.masks, f"{tracks.masks.shape}"
    if role == "detector":
        detections = model.detect(image, ["person", "cardboard box"])
        return np.array([[*d.box, d.score] for d in detections]).reshape(
            -1, 5
        ), f"{len(detections)} boxes"
    if role == "geometry":
        maps = model.point_maps(image[None])
        return maps, f"{maps.points.shape}, {100 * maps.valid.mean():.0f} % valid"
    if role == "image":
        size = (32, 48) if is_tiny else (480, 720)
        images = model.generate(prompt, height=size[0], width=size[1], seeds=[0])
        return images, f"{images.shape}"
    clip = model.generate(image, prompt, frames=5 if is_tiny else 49, seed=0)
    return clip.frames, f"{clip.frames.shape} at {clip.fps:.3g} fps"


def _said(model: Any, image: ndarray | None) -> tuple[str, str]:
    from priors.models.chat_endpoint import image_part

    chat = model.chat if hasattr(model, "chat") else model._ask.__self__.chat
    messages: list[Any] = list(QUESTION)
    if image is not None:
        text = {"type": "text", "text": messages[0]["content"]}
        messages = [{"role": "user", "content": [text, image_part(image)]}]
    answer = chat.complete(messages, FORM, name="answer", seed=0)
    return answer, f"{answer.strip()[:40]}"


def _difference(role: str, exact: Any, default: Any) -> str:
    """How far the default precision is from float32, in the role's own unit."""
    if isinstance(exact, str):
        return "the same answer" if exact == default else "another answer"
    if role == "geometry":
        both = exact.valid & default.valid
        depths = [maps.points[..., 2][both] for maps in (exact, default)]
        distinct = len(np.unique(depths[1]))
        if not both.any():
            return "no pixel is valid in both"
        off = np.abs(depths[1] - depths[0]) / np.maximum(depths[0], 1e-6)
        return f"depth {100 * np.median(off):.3g} % in the median, {distinct} distinct depths"
    if role == "segmenter":
        union = (exact | default).sum()
        return f"IoU {(exact & default).sum() / union:.4f}" if union else "both masks are empty"
    if role == "detector":
        if exact.shape != default.shape:
            return f"{len(exact)} boxes in float32, {len(default)} in the default"
        return f"{np.abs(exact - default).max(initial=0):.3g} px at most"
    off = float(np.abs(np.asarray(exact) - np.asarray(default)).max(initial=0))
    return f"{off:.3g}{' px' if role == 'keypoints' else ''} at most"


def _picture(options: StepOptions) -> UInt8[ndarray, "H W 3"]:
    """The user's, or a drawn figure before a wall; small for tiny networks."""
    from PIL import Image, ImageDraw

    size = (96, 64) if options.mode == "tiny" else (720, 480)
    if options.image is not None:
        return np.asarray(Image.open(options.image).convert("RGB"))
    wall = np.linspace(200, 120, 480, dtype=np.uint8)[:, None, None]
    drawn = Image.fromarray(np.broadcast_to(wall, (480, 720, 3)).copy())
    draw = ImageDraw.Draw(drawn)
    draw.rectangle((0, 400, 720, 480), fill=(120, 100, 80))
    draw.ellipse((335, 60, 385, 120), fill=(220, 180, 150))
    draw.rectangle((320, 120, 400, 270), fill=(40, 80, 160))
    draw.rectangle((325, 270, 355, 440), fill=(50, 50, 60))
    draw.rectangle((365, 270, 395, 440), fill=(50, 50, 60))
    draw.rectangle((400, 180, 500, 260), fill=(170, 120, 70))
    return np.asarray(drawn.resize(size))
