"""Files of compiled programs: entries by what decides a program, binaries by its text.

An entry (JSON: structure and types of the outputs, name of the binary) is found without tracing. Where
there is none, as after a change of a module that the program is made of, it is traced and lowered, and
its binary may still be there. Binaries are no more and no less trusted than JAX's cache beside which
they lie: both are machine code.
"""

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import Future
from importlib import metadata
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import uuid4

import jax
import numpy as np

from hoijax.programs.names import Unkept
from hoijax.programs.sources import Sources, modules_named

MAX_BYTES = {"entries": 16 << 20, "arrays": 1 << 30}
"""What is kept of a kind: what was used last."""
CLEAN_EVERY = 32
"""Writes of a process."""
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
    "jax_optimization_level",
    "jax_exec_time_optimization_effort",
    "jax_memory_fitting_level",
    "jax_memory_fitting_effort",
    "jax_disable_most_optimizations",
)
ENVIRONMENT = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
CPU_OPTIONS = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 4}
"""Compiling takes half the time on all cores, and what comes out is as fast. $XLA_FLAGS go before them."""


class Store:
    """Where programs are kept."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._sources: Sources | None = None
        self._platform = ""
        self._writes = 0
        self.ahead: dict[str, Future] = {}
        """Binaries by file name that are being loaded (`programs.ahead`)."""
        self.used: dict[str, None] = {}
        """Names of binaries in the order in which they were asked for."""

    def keep(self, folder: Path | None) -> None:
        if folder != self.folder:
            self.folder, self._sources, self._writes = folder, None, 0
            self.ahead.clear()  # of another folder

    def entry(self, name: str, described: Any, kind: str = "entries") -> Path:
        """Where something is kept by what decides it: the description, the source code of all modules
        that it names, the platform. Unkept: nothing can be written."""
        sources = self._prepared()
        assert self.folder is not None
        code = sources.digest(modules_named(described))
        if sources.is_new:
            _write(self.folder / "imports", json.dumps(sources.known).encode())
            sources.is_new = False
        digest = digest_of(json.dumps(described) + code + self._platform)
        return self.folder / kind / f"{name}-{digest}"

    def read(self, path: Path, parse: Callable[[bytes], Any] = json.loads) -> Any:
        """What a file holds; None where it is not there, or broken."""
        try:
            content = _checked(path.read_bytes(), parse)
            os.utime(path)
        except (OSError, ValueError, RuntimeError):
            return None
        return content

    def write(self, path: Path, body: bytes) -> None:
        _write(path, body)
        if self._writes % CLEAN_EVERY == 0:
            self._clean()
        self._writes += 1

    def binary(self, name: str, digest: str) -> Any:
        """A loaded binary; None where it is not there, or cannot be loaded."""
        path = self._path(name, digest)
        coming, found = self.ahead.pop(path.name, None), None
        if coming is not None and not coming.cancel():
            found = coming.result()
        if found is None:
            found = self.read(path, loaded)
        if found is not None:
            self.used[path.name] = None
        return found

    def compiled(self, name: str, lowered: Any) -> tuple[str, Any]:
        """The binary of a lowered program and its digest: loaded, or compiled and kept.

        Without JAX's cache: what that loads on CPU cannot be written again.
        """
        options = _cpu_options() if jax.devices()[0].platform == "cpu" else {}
        decided_by = [lowered.as_text(), configuration(), self._platform, options]
        digest = digest_of(json.dumps(decided_by))
        binary = self.binary(name, digest)
        if binary is not None:
            return digest, binary
        try:
            binary = _compiled(lowered, options)
        except jax.errors.JaxRuntimeError as error:
            if "No such compile option" not in str(error):
                raise
            binary = _compiled(lowered, {})  # another version of XLA
        path = self._path(name, digest)
        _write(path, binary.serialize())
        self.used[path.name] = None
        return digest, binary

    def _path(self, name: str, digest: str) -> Path:
        assert self.folder is not None
        return self.folder / "binaries" / f"{name}-{digest}"

    def _prepared(self) -> Sources:
        """What is the same for all that a process asks for. Unkept: no folders can be made."""
        if self._sources is None:
            assert self.folder is not None
            if jax.process_count() > 1:
                raise Unkept
            try:
                for kind in (*MAX_BYTES, "binaries"):
                    (self.folder / kind).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise Unkept from error
            self._platform = _platform()
            self._sources = Sources(HOME, self.read(self.folder / "imports"))
        return self._sources

    def _clean(self) -> None:
        """Remove what was not used for long, or is too much."""
        with contextlib.suppress(OSError):
            for kind, most in MAX_BYTES.items():
                files = sorted(self._files(kind), key=_last_used, reverse=True)
                for path, total in zip(files, accumulate(map(_size, files)), strict=True):
                    if total > most:
                        path.unlink(missing_ok=True)
            for path in self._files("binaries"):
                if time.time() - _last_used(path) > MAX_IDLE_SECONDS:
                    path.unlink(missing_ok=True)

    def _files(self, kind: str) -> list[Path]:
        assert self.folder is not None
        return [path for path in (self.folder / kind).iterdir() if path.is_file()]


STORE = Store()


def keep_programs(folder: Path | None) -> None:
    """Keep compiled programs below `folder` from now on; None: leave all to `jax.jit`."""
    STORE.keep(folder)


def _last_used(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):  # another process removed it
        return path.stat().st_mtime
    return time.time()


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


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
    """Settings of JAX that change what is traced or compiled; some are changed for a block of code."""
    return tuple(str(_setting(name)) for name in CONFIG)


def _setting(name: str) -> Any:
    """None where this JAX has no such setting. Some are attributes, the others can only be read."""
    try:
        return getattr(jax.config, name)
    except AttributeError:
        with contextlib.suppress(AttributeError):
            return jax.config.read(name)


def _cpu_options() -> dict[str, Any]:
    flags = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in CPU_OPTIONS.items() if name not in flags}


def _compiled(lowered: Any, options: dict[str, Any]) -> Any:
    from jax._src import compiler
    from jax._src.lib import xla_client  # pyright: ignore[reportPrivateImportUsage]

    device = jax.devices()[0]
    settings = compiler.get_compile_options(1, 1, env_options_overrides=options)
    devices = xla_client.DeviceList((device,))
    return compiler.backend_compile_and_load(
        device.client, lowered.compiler_ir(), devices, settings, []
    )


def _instructions() -> str:
    """Instructions of the CPU, where the system says so: programs use what there is."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def loaded(code: bytes) -> Any:
    """The executable of a binary."""
    from jax._src.lib import xla_client  # pyright: ignore[reportPrivateImportUsage]

    device = jax.devices()[0]
    if (
        device.platform == "cpu"
    ):  # which lowering does otherwise; without it a call of LAPACK is the end
        from jaxlib import lapack

        lapack.prepare_lapack_call("potrf_ffi", np.dtype(np.float32))
    return device.client.deserialize_executable(code, xla_client.DeviceList((device,)))


def digest_of(content: str | bytes) -> str:
    """A name for a content."""
    content = content.encode() if isinstance(content, str) else content
    return hashlib.blake2b(content, digest_size=20).hexdigest()


def _checked(content: bytes, parse: Any) -> Any:
    """What lies behind a line with its checksum. Raises ValueError where it does not fit."""
    checksum, _, body = content.partition(b"\n")
    if checksum.decode(errors="replace") != digest_of(body):
        raise ValueError("broken file")
    return parse(body)


def _write(path: Path, body: bytes) -> None:
    partial = path.with_name(f".{uuid4().hex}")
    try:
        partial.write_bytes(digest_of(body).encode() + b"\n" + body)
        os.replace(partial, path)
    except OSError:  # a full disk: the next process compiles it again
        partial.unlink(missing_ok=True)
