"""What of the frozen priors is on this machine: packages, weights, and what each model needs.

No network is used: weights are looked for in the hub's own cache folder. Memory is computed from
numbers of parameters, not measured.
"""

import importlib.util
import os
from pathlib import Path

from hoijax.runtime import cache_home
from priors.models.catalog import CHOICES, DEFAULTS, Choice

__all__ = ["gib", "hub_cache", "is_cached", "lacks", "memory_text", "report", "weights_text"]

PACKAGES = {
    "torch": 'pip install "hoijax[priors]"',
    "transformers": 'pip install "hoijax[priors]"',
    "diffusers": 'pip install "hoijax[priors]"',
    "accelerate": 'pip install "hoijax[priors]"',
    "ftfy": 'pip install "hoijax[priors]"',
    "sentencepiece": 'pip install "hoijax[priors]"',
    "openai": 'pip install "hoijax[priors]"',
    "einops": 'pip install "hoijax[priors]"',
    "addict": 'pip install "hoijax[priors]"',
    "av": "pip install av",
    "depth_estimation": "pip install --no-deps depth-estimation",
    "xgrammar": "pip install --no-deps xgrammar apache-tvm-ffi",
    "mediapipe": "pip install --no-deps mediapipe==0.10.21",
    "ai_edge_litert": 'pip install "hoijax[video]"',
    "gvhmr": "optional, non-commercial licence: docs/priors.md",
    "cv2": 'pip install "hoijax[video]"',
    "ray": 'pip install "hoijax[cluster]"',
}
BYTES = 2  # float16 or bfloat16, as models run on a GPU
GIB = 2**30


def report() -> dict[str, str]:
    """Finding by name: packages, then every model with its weights and its memory."""
    rows = {}
    for name, remedy in PACKAGES.items():
        is_there = importlib.util.find_spec(name) is not None
        rows[f"prior: {name}"] = "installed" if is_there else f"not installed ({remedy})"
    rows["prior weights kept in"] = str(hub_cache())
    for role, choices in CHOICES.items():
        for name, choice in choices.items():
            if choice.source and (choice.parts or choice.needs):
                star = " (default)" if DEFAULTS[role] == name else ""
                rows[f"{role}: {name}{star}"] = _model_text(choice)
    rows["prior memory"] = "computed from parameters at 2 bytes each, not measured"
    return rows


def _model_text(choice: Choice) -> str:
    missing = [p for p in choice.needs if importlib.util.find_spec(p) is None]
    parts = [f"needs {', '.join(missing)}"] if missing else []
    if "/" in choice.id and not choice.takes.endswith("body"):
        parts.append(weights_text(choice))
    if choice.parts:
        parts.append(memory_text(choice))
    if choice.licence:
        parts.append(choice.licence)
    return "; ".join(parts)


def lacks(choice: Choice, *, own_weights: bool) -> list[str]:
    """What a model needs and this machine does not have: packages, and weights where the network is
    switched off (HF_HUB_OFFLINE).

    own_weights: the user named other weights than the choice's.
    """
    needed = list(choice.needs)
    if choice.takes == "model_id":
        needed += ["torch", "transformers"]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    problems = [f"{name} is not installed ({PACKAGES[name]})" for name in missing]
    is_offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    if is_offline and choice.takes == "model_id" and not own_weights:
        problems += [
            f"{hub_id} is not on this machine, and HF_HUB_OFFLINE is set: "
            f"`hf download {hub_id}` where there is a network"
            for hub_id in (choice.id, *choice.also)
            if not is_cached(hub_id)
        ]
    return problems


def is_cached(hub_id: str) -> bool:
    """Whether the hub's cache has all files of a repository that were asked for."""
    folder = hub_cache() / f"models--{hub_id.replace('/', '--')}"
    snapshots = folder / "snapshots"
    is_whole = snapshots.is_dir() and any(snapshots.iterdir())
    return is_whole and not list((folder / "blobs").glob("*.incomplete"))


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it fetched."""
    if chosen := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(chosen)
    home = os.environ.get("HF_HOME")
    return (cache_home() / "huggingface" if home is None else Path(home)) / "hub"


def weights_text(choice: Choice) -> str:
    """Whether a model's weights are in the hub's cache, and how large what is there is."""
    texts = []
    for hub_id in (choice.id, *choice.also):
        folder = hub_cache() / f"models--{hub_id.replace('/', '--')}"
        is_whole = is_cached(hub_id)
        blobs = [p for p in (folder / "blobs").glob("*") if p.is_file()]
        size = sum(p.stat().st_size for p in blobs) / GIB
        state = f"{size:.1f} GiB cached" if is_whole else "not cached"
        if not is_whole and blobs:
            state = f"only part of it cached ({size:.1f} GiB)"
        texts.append(f"{hub_id}: {state}")
    return ", ".join(texts)


def memory_text(choice: Choice) -> str:
    """GPU memory of the weights: all of them at once, and the largest network alone."""
    total, largest = gib(sum(choice.parts.values())), gib(max(choice.parts.values()))
    text = f"{total} GiB of weights"
    return text if len(choice.parts) == 1 else f"{text}, {largest} GiB with --memory model"


def gib(billions: float) -> str:
    """Memory of so many 1e9 parameters."""
    size = billions * 1e9 * BYTES / GIB
    return f"{size:.0f}" if size >= 10 else f"{size:.2g}"
