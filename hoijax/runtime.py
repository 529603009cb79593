"""Process-wide runtime: the persistent compilation cache and what device is really used."""

import functools
import os
import platform
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hoijax.errors import UserError

if TYPE_CHECKING:
    import jax
    from numpy.typing import ArrayLike

A = TypeVar("A")
B = TypeVar("B")
PACKAGES = ("jax", "jaxlib", "numpy", "optax", "flax", "trimesh", "libigl", "embreex")


def on_device(values: "ArrayLike", dtype: Any = None) -> "jax.Array":
    """Host values as an array of the device (float32, int32).

    `jnp.asarray` compiles a program that copies them for every new shape; a scene has a hundred.
    """
    import jax
    import numpy as np

    return jax.device_put(np.asarray(values, dtype))


def on_all_cores(function: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """The function of every item, in threads: for what leaves Python's lock to others.

    Programs that the items share should be there already, or each thread compiles them.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        return list(threads.map(function, items))


def one_ahead(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """The function of every item; the next one is computed in a thread while one is used."""
    with ThreadPoolExecutor(1) as thread:
        coming: list[Future[B]] = []
        for item in items:
            coming.append(thread.submit(function, item))
            if len(coming) > 1:
                yield coming.pop(0).result()
        for last in coming:
            yield last.result()


def cache_folder() -> Path:
    """Where compiled programs are kept: $JAX_COMPILATION_CACHE_DIR, else $XDG_CACHE_HOME/hoijax/jax."""
    if chosen := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(chosen)
    return cache_home() / "hoijax" / "jax"


@functools.cache
def _homeless_cache() -> Path:
    """Of a user without a home: a folder among the temporary ones that nobody else may write."""
    own = Path(tempfile.gettempdir()) / f"hoijax-{os.getuid()}"
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
        is_ours = found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) == 0o700
        return own if is_ours else Path(tempfile.mkdtemp(prefix="hoijax-"))
    except OSError:  # nothing is kept: whoever writes there finds out
        return own


def cache_home() -> Path:
    """$XDG_CACHE_HOME, else ~/.cache; a temporary folder for a user id that has no home."""
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen)
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # $HOME is not set, and nobody is known by this number
        return _homeless_cache()


def enable_compilation_cache() -> Path | None:
    """Keep compiled programs between runs; None where the folder cannot be written.

    Called by the entry points, never at import.
    """
    import jax

    from hoijax.programs import keep_programs

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            return None
    except OSError:
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Everything: a solve runs over a hundred small programs, seconds of compiling in all.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    keep_programs(folder / "programs")
    return folder


def share_gpu() -> None:
    """Leave room for PyTorch on JAX's GPU; called before JAX starts. The user's own value stands.

    By default JAX takes three quarters of the memory when it starts, and frozen models get the rest.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def check_device() -> None:
    """Raises UserError where there is no device of the kind that $JAX_PLATFORMS asks for."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        asked = os.environ.get("JAX_PLATFORMS") or "any"
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"no device of the kind asked for, JAX_PLATFORMS={asked}{': ' + reason if reason else ''}. "
            "Install JAX for it (pip install 'jax[cuda12]' or 'jax[tpu]'), or set JAX_PLATFORMS=cpu."
        ) from error


def describe_device() -> str:
    """The device computations really run on, e.g. "cpu (x86_64, 2 cores)"."""
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"cpu ({platform.machine()}, {os.cpu_count()} cores)"
    return f"{device.platform} ({device.device_kind}, {jax.device_count()} devices)"


def available_memory() -> int:
    """Bytes that this machine has left."""
    table = Path("/proc/meminfo")
    for line in table.read_text().splitlines() if table.exists() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 2**31


def peak_memory_gb() -> float | None:
    """The most memory this process has held so far; of the host, where a device has its own."""
    try:
        import resource
    except ImportError:  # not POSIX
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (1e9 if sys.platform == "darwin" else 1e6), 3)


def versions() -> dict[str, str]:
    """Versions of hoijax and what its results depend on."""
    known = {"python": platform.python_version(), "hoijax": _version("hoijax") or "source tree"}
    return known | {name: _version(name) or "missing" for name in PACKAGES}


@functools.cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
