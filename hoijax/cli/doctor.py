"""`hoijax doctor`: what is really there, and what is not as it should be."""

import importlib.util
import os
import shutil
import socket
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from hoijax.api.observe import prior_report
from hoijax.runtime import cache_folder, describe_device, enable_compilation_cache, versions

EXTRAS = {"viewer": "viser", "cluster": "ray", "export": "pxr", "notebooks": "matplotlib"}
TRACKERS = ("wandb", "tensorboard")
PLUGINS = ("jax_cuda13_plugin", "jax_cuda12_plugin", "jax_rocm7_plugin", "jax_rocm60_plugin")
BODY_FOLDERS = (".", "bodies", "models", "body_models", "~/body_models", "~/smplx")
"""Where body files are looked for, beside what the variable HOIJAX_BODIES names."""
GPU, BACKEND, BODIES = "graphics card", "jax backend", "body: SMPL-X, SMPL-H"


def report() -> dict[str, str]:
    """Name to finding, in the order printed."""
    import jax

    facts = {"device": describe_device(), BACKEND: jax.default_backend(), GPU: graphics_card()}
    facts["memory"] = _memory()
    folder = enable_compilation_cache()
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) if folder else 0
    facts["compiled programs"] = (
        f"{folder} ({size / 1e6:.0f} MB)" if folder else f"{cache_folder()} (cannot be written)"
    )
    anny = Path(str(files("hoijax") / "data" / "anny.npz"))
    facts["body: anny"] = f"{anny} ({anny.stat().st_size / 1e6:.1f} MB)"
    facts[BODIES] = "; ".join(body_files()) or (
        "none found: not included, get SMPLX_NEUTRAL.npz from smpl-x.is.tue.mpg.de and name its "
        "path as a bundle's body"
    )
    facts |= prior_report()
    for extra, name in EXTRAS.items():
        facts[f"extra: {extra}"] = _installed(name, extra)
    facts["viewer port"] = viewer_port()
    facts["run records (--track)"] = ", ".join(
        f"{name} {'installed' if _find(name) else 'not installed'}" for name in TRACKERS
    )
    facts["no-weights prior"] = (
        "ready" if _find("priors") else "missing: install hoijax from source"
    )
    facts["video encoder"] = _ffmpeg()
    return facts | {f"version: {name}": value for name, value in versions().items()}


def warnings_of(facts: Mapping[str, str]) -> list[str]:
    """What a user should know at once: a GPU that is not used, body files that cannot be."""
    told = []
    if facts[BACKEND] == "cpu" and not facts[GPU].startswith("none"):
        forced = os.environ.get("JAX_PLATFORMS")
        if forced:
            remedy = f"JAX_PLATFORMS={forced} keeps JAX off it: unset the variable."
        elif any(_find(name) for name in PLUGINS):
            remedy = "JAX's GPU plugin is installed but did not start: check the driver's version."
        else:
            remedy = 'JAX is installed without GPU support: pip install -U "jax[cuda13]".'
        told.append(f"THE GPU IS NOT USED: {facts[GPU]} is here, but JAX runs on the CPU. {remedy}")
    if "not usable" in facts[BODIES]:
        told.append(f"body files were found that cannot be used: {facts[BODIES]}")
    return told


def graphics_card() -> str:
    """The first NVIDIA or AMD card of the machine, whether JAX uses it or not."""
    import subprocess

    if (tool := shutil.which("nvidia-smi")) is not None:
        asked = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
        try:
            answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            return "nvidia-smi does not answer: the driver is not running"
        if names := answer.stdout.strip().splitlines():
            return "; ".join(names)
    if Path("/dev/kfd").exists():
        return "AMD GPU (/dev/kfd)"
    return "none seen"


def body_files() -> list[str]:
    """SMPL-X and SMPL-H files in the usual folders, with what is wrong with their names or kinds."""
    folders = [os.environ.get("HOIJAX_BODIES"), *BODY_FOLDERS]
    told, seen = [], set()
    for folder in filter(None, folders):
        try:
            base = Path(folder).expanduser()
        except RuntimeError:  # of a user without a home
            continue
        below = [base, base / "smplx", base / "smplh"] if base.is_dir() else []
        for path in sorted(p for f in below if f.is_dir() for p in f.iterdir()):
            if (
                path.is_file()
                and path.resolve() not in seen
                and path.stem.upper().startswith(("SMPLX", "SMPLH"))
            ):
                seen.add(path.resolve())
                told.append(f"{path} ({_body_verdict(path)})")
    return told


def _body_verdict(path: Path) -> str:
    from hoijax.bodies import load_body
    from hoijax.errors import UserError

    if path.suffix != ".npz":
        return "not usable: an npz is needed, not " + (path.suffix or "a folder")
    try:
        body = load_body(str(path))
    except UserError as error:
        return f"not usable: {error}"
    return f"usable, {body.template.shape[0]} vertices"


def viewer_port() -> str:
    """Whether the viewer's own port is free."""
    from hoijax.viewer.server import HOST, PORT

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, PORT))
        except OSError:
            return f"{PORT} is taken: hoijax view RESULT --port 0"
    return f"{PORT} is free"


def _memory() -> str:
    from hoijax.methods.memory import free_bytes, max_candidates

    free = free_bytes()
    count = max_candidates(free)
    if not count:
        return f"{free / 1e9:.1f} GB free: too little for one candidate of a 49-frame clip"
    return f"{free / 1e9:.1f} GB free: K = {count} fits (candidates of 49 frames, one object)"


def _find(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _installed(name: str, extra: str) -> str:
    return "installed" if _find(name) else f"not installed (pip install 'hoijax[{extra}]')"


def _ffmpeg() -> str:
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        return f"missing: {error}"
