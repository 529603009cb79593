"""Files of compiled programs: entries by what decides a program, binaries by its text.

An entry (JSON: structure and types of the outputs, name of the binary) is found without tracing. Where
there is none, as after a change of the source code, the program is traced and lowered, and its binary
may still be there. Binaries are no more and no less trusted than JAX's cache beside which they lie: both
are machine code.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

import jax
import numpy as np

from hoijax.programs.names import Unkept

MAX_GENERATIONS = 16
"""Folders of entries that are kept: those of the states of source code used last."""
MAX_IDLE_SECONDS = 30 * 24 * 3600.0
"""Binaries that nobody read for so long are removed."""
HOME = Path(__file__).parents[1]
PACKAGES = ("jax", "jaxlib", "flax", "numpy", "optax")
CONFIG = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_threefry_partitionable",
)
ENVIRONMENT = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")


class Store:
    """Where programs are kept."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._generation: Path | None = None
        self._platform = ""

    def keep(self, folder: Path | None) -> None:
        if folder != self.folder:
            self.folder, self._generation = folder, None

    def entry(self, name: str, described: Any, kind: str = "json") -> Path:
        """Where something is kept by what decides it. Unkept: nothing can be written."""
        return self._entries() / f"{name}-{_digest(json.dumps(described))}.{kind}"

    def read(self, path: Path, parse: Callable[[bytes], Any] = json.loads) -> Any:
        """What a file holds; None where it is not there, or broken."""
        try:
            found = _checked(path.read_bytes(), parse)
            os.utime(path)
        except (OSError, ValueError, RuntimeError):
            return None
        return found

    def write(self, path: Path, body: bytes) -> None:
        _write(path, body)

    def drop_oldest(self, pattern: str, count: int) -> None:
        """Keep the last used `count` entries of a pattern."""
        with contextlib.suppress(OSError):
            files = sorted(self._entries().glob(pattern), key=lambda path: -path.stat().st_mtime)
            for path in files[count:]:
                path.unlink(missing_ok=True)

    def binary(self, name: str, digest: str) -> Any:
        """A loaded binary; None where it is not there, or cannot be loaded."""
        return self.read(self._path(name, digest), _loaded)

    def compiled(self, name: str, lowered: Any) -> tuple[str, Any]:
        """The binary of a lowered program and its digest: loaded, or compiled and kept.

        Without JAX's cache: what that loads on CPU cannot be written again.
        """
        from jax._src import compiler
        from jax._src.lib import xla_client  # pyright: ignore[reportPrivateImportUsage]

        digest = _digest(lowered.as_text() + self._platform)
        loaded = self.binary(name, digest)
        if loaded is not None:
            return digest, loaded
        device = jax.devices()[0]
        options = compiler.get_compile_options(num_replicas=1, num_partitions=1)
        devices = xla_client.DeviceList((device,))
        loaded = compiler.backend_compile_and_load(
            device.client, lowered.compiler_ir(), devices, options, []
        )
        _write(self._path(name, digest), loaded.serialize())
        return digest, loaded

    def _path(self, name: str, digest: str) -> Path:
        assert self.folder is not None
        return self.folder / "binaries" / f"{name}-{digest}"

    def _entries(self) -> Path:
        if self._generation is None:
            assert self.folder is not None
            if jax.process_count() > 1:
                raise Unkept
            self._platform = _platform()
            path = self.folder / "entries" / _digest(_source_code() + self._platform)
            try:
                is_new = not path.exists()
                path.mkdir(parents=True, exist_ok=True)
                (self.folder / "binaries").mkdir(exist_ok=True)
                os.utime(path)
                if is_new:
                    self._clean(path.parent)
            except OSError as error:
                raise Unkept from error
            self._generation = path
        return self._generation

    def _clean(self, entries: Path) -> None:
        assert self.folder is not None
        generations = sorted(entries.iterdir(), key=lambda path: -path.stat().st_mtime)
        for old in generations[MAX_GENERATIONS:]:
            shutil.rmtree(old, ignore_errors=True)
        for path in (self.folder / "binaries").iterdir():
            if time.time() - path.stat().st_mtime > MAX_IDLE_SECONDS:
                path.unlink(missing_ok=True)


STORE = Store()


def keep_programs(folder: Path | None) -> None:
    """Keep compiled programs below `folder` from now on; None: leave all to `jax.jit`."""
    STORE.keep(folder)


def _source_code() -> str:
    """Digest of everything that programs are made of; of data files, their sizes."""
    digest = hashlib.blake2b()
    for path in sorted(HOME.rglob("*.py")):
        digest.update(f"{path.relative_to(HOME)}\0".encode() + path.read_bytes())
    for path in sorted((HOME / "data").rglob("*")):
        digest.update(f"{path.relative_to(HOME)} {path.stat().st_size}\0".encode())
    return digest.hexdigest()


def _platform() -> str:
    """Versions, settings and device, on which text and binaries depend."""
    device = jax.devices()[0]
    return json.dumps(
        {
            "versions": [metadata.version(name) for name in PACKAGES],
            "python": platform.python_version(),
            "environment": [os.environ.get(name) for name in ENVIRONMENT],
            "device": [device.platform, device.device_kind, device.client.platform_version],
            "devices": jax.device_count(),
            "processor": [platform.machine(), _instructions()],
        }
    )


def configuration() -> tuple[str, ...]:
    """Settings of JAX that change what is traced; some are changed for a block of code."""
    return tuple(str(getattr(jax.config, name, None)) for name in CONFIG)


def _instructions() -> str:
    """Instructions of the CPU, where the system says so: programs use what there is."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _loaded(code: bytes) -> Any:
    from jax._src.lib import xla_client  # pyright: ignore[reportPrivateImportUsage]

    device = jax.devices()[0]
    if (
        device.platform == "cpu"
    ):  # which lowering does otherwise; without it a call of LAPACK is the end
        from jaxlib import lapack

        lapack.prepare_lapack_call("potrf_ffi", np.dtype(np.float32))
    return device.client.deserialize_executable(code, xla_client.DeviceList((device,)))


def _digest(content: str | bytes) -> str:
    content = content.encode() if isinstance(content, str) else content
    return hashlib.blake2b(content, digest_size=20).hexdigest()


def _checked(content: bytes, parse: Any) -> Any:
    """What lies behind a line with its checksum. Raises ValueError where it does not fit."""
    checksum, _, body = content.partition(b"\n")
    if checksum.decode(errors="replace") != _digest(body):
        raise ValueError("broken file")
    return parse(body)


def _write(path: Path, body: bytes) -> None:
    partial = path.with_name(f".{uuid4().hex}")
    try:
        partial.write_bytes(_digest(body).encode() + b"\n" + body)
        os.replace(partial, path)
    except OSError:  # a full disk: the next process compiles it again
        partial.unlink(missing_ok=True)
