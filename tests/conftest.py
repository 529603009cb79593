"""Strict session: shape checks on (pyproject), warnings are errors, strict dtype promotion, seeds fixed."""

import gc
import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import flax.struct
import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")

_flax_dataclass = flax.struct.dataclass


def _pytree_without_field_checks(*args, **kwargs):
    """JAX rebuilds pytrees with batch axes, None and tracers in them: functions are checked, fields not."""
    made = _flax_dataclass(*args, **kwargs)
    if isinstance(made, type):
        made.__no_type_check__ = True  # type: ignore[attr-defined]  # read by jaxtyping's import hook
    return made


flax.struct.dataclass = _pytree_without_field_checks  # before anything imports hoijax


@pytest.fixture(scope="module", autouse=True)
def _bounded_memory():
    """Compiled programs pile up: past 3 GB a module's end forgets them (the disk still has them)."""
    yield
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm") as stream:
            resident = int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if resident > 3e9:
            jax.clear_caches()
            gc.collect()


@pytest.fixture
def rng():
    import numpy as np

    return np.random.default_rng(0)
