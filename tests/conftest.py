"""Strict session: shape checks on (pyproject), warnings are errors, strict dtype promotion, seeds fixed.

Shape checks of a function are built at its first call. Tests marked slow, which are whole runs, go
without them: the functions have them in the other tests, and tracing takes a quarter less.
"""

import ctypes
import functools
import gc
import os
import types

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiling takes longer than running here, so programs are hardly optimized, but for tests marked
# optimized and for what `.ci/run` generates. Processes that tests start inherit it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # lowering is a little faster
os.environ["XLA_FLAGS"] = " ".join(
    dict.fromkeys(
        (
            "--xla_cpu_use_fusion_emitters=false",
            "--xla_cpu_parallel_codegen_split_count=1",
            *os.environ.get("XLA_FLAGS", "").split(),
        )
    )
)

import flax.struct
import jax
import jaxtyping
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
gc.set_threshold(50_000, 20, 100)  # tracing makes millions of small objects

_flax_dataclass = flax.struct.dataclass
_jaxtyped = jaxtyping.jaxtyped


def _pytree_without_field_checks(*args, **kwargs):
    """JAX rebuilds pytrees with batch axes, None and tracers in them: functions are checked, fields not."""
    made = _flax_dataclass(*args, **kwargs)
    if isinstance(made, type):
        made.__no_type_check__ = True  # type: ignore[attr-defined]  # read by jaxtyping's import hook
    return made


def _checked_when_called(function=None, *, typechecker):
    """jaxtyping's decorator, built at the first call that is checked: most functions are never called."""
    if function is None:
        return functools.partial(_checked_when_called, typechecker=typechecker)
    if not isinstance(function, types.FunctionType):
        return _jaxtyped(function, typechecker=typechecker)
    checked = None

    @functools.wraps(function)
    def call(*args, **kwargs):
        nonlocal checked
        if jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        if checked is None:
            checked = _jaxtyped(function, typechecker=typechecker)
        return checked(*args, **kwargs)

    return call


# before anything imports hoijax
flax.struct.dataclass = _pytree_without_field_checks
jaxtyping.jaxtyped = _checked_when_called


_OPTIMIZED_LESS = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "true"


def _is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    jaxtyping.config.update("jaxtyping_disable", _is_slow(item))
    plain = item.get_closest_marker("optimized") is None and _OPTIMIZED_LESS
    jax.config.update("jax_disable_most_optimizations", plain)
    return (yield)


def pytest_collection_finish():
    """What was imported stays: no need to look through it again and again."""
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Files with slow tests first, so that two workers end together (--no-loadscope-reorder)."""
    slow = dict.fromkeys((item.path for item in items if _is_slow(item)), 0)
    items.sort(key=lambda item: slow.get(item.path, 1))  # stable


@pytest.fixture(scope="session", autouse=True)
def _kept_programs():
    """As every command does. Otherwise what a file compiled before its first command is compiled again."""
    from hoijax.runtime import enable_compilation_cache

    enable_compilation_cache()


_most_resident = 3e9


@pytest.fixture(scope="module", autouse=True)
def _bounded_memory():
    """Compiled programs pile up: past 3 GB a module's end forgets them (the disk still has them).

    What is left, of torch and others, counts no more: else every later module would forget them too.
    """
    global _most_resident
    yield
    if _resident() > _most_resident:
        from hoijax.programs import forget_programs

        forget_programs()
        jax.clear_caches()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        _most_resident = max(_most_resident, _resident() + 1.5e9)


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    if not os.path.exists("/proc/self/statm"):
        return 0
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def rng():
    import numpy as np

    return np.random.default_rng(0)
