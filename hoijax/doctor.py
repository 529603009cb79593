"""`hoijax doctor`: what is really there."""

import importlib.util
from importlib.resources import files
from pathlib import Path

from hoijax.pipeline import prior_report
from hoijax.runtime import cache_folder, describe_device, enable_compilation_cache, versions

EXTRAS = {"viewer": "viser", "cluster": "ray"}


def report() -> dict[str, str]:
    """Name to finding, in the order printed."""
    import jax

    found = {"device": describe_device(), "jax backend": jax.default_backend()}
    folder = enable_compilation_cache()
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) if folder else 0
    found["compiled programs"] = (
        f"{folder} ({size / 1e6:.0f} MB)" if folder else f"{cache_folder()} (cannot be written)"
    )
    anny = Path(str(files("hoijax") / "data" / "anny.npz"))
    found["body: anny"] = f"{anny} ({anny.stat().st_size / 1e6:.1f} MB)"
    found["body: SMPL-X, SMPL-H"] = "not included: name your own npz as a bundle's body"
    found |= prior_report()
    for extra, name in EXTRAS.items():
        found[f"extra: {extra}"] = _installed(name, extra)
    found["no-weights prior"] = (
        "ready" if _find("priors") else "missing: install hoijax from source"
    )
    found["video encoder"] = _ffmpeg()
    return found | {f"version: {name}": value for name, value in versions().items()}


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
