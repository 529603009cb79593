"""`jax.jit`, whose compiled programs are kept whole between processes: a second one does not trace.

JAX's own cache keeps binaries under the program's text, which every process has to trace and lower anew:
a third of a warm solve. Here they are found by what decides that text: the function, its static arguments,
structure and types of the others; the source code of all that these import; versions, device and flags.
What has no such name (a user's own loss, arrays on several devices) is left to `jax.jit`, and so is
everything that runs inside another program.
"""

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from hoijax.programs.names import (
    Unkept,
    describe,
    describe_outputs,
    describe_static,
    name_of,
    outputs_from,
    type_of,
)
from hoijax.programs.store import STORE, configuration


def program(
    function: Callable | None = None, *, static: Sequence[str] = (), donate: Sequence[str] = ()
) -> Any:
    """Decorator for functions of modules: `jax.jit` with static_argnames and donate_argnames."""
    if function is None:
        return functools.partial(program, static=static, donate=donate)
    return Program(function, tuple(static), tuple(donate))


_loaded: dict[Any, "_Executable"] = {}


def forget_programs() -> None:
    """Drop all that is loaded; the files stay."""
    _loaded.clear()


def loaded_count() -> int:
    """How many programs are loaded."""
    return len(_loaded)


class Program:
    """A jitted function; inside another program, and where nothing is kept, just that."""

    def __init__(
        self, function: Callable, static: tuple[str, ...], donate: tuple[str, ...]
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.static, self.donate = function, static, donate
        self.jitted = jax.jit(function, static_argnames=static, donate_argnames=donate)
        self.signature = inspect.signature(function)

    def __call__(self, *args: Any, **options: Any) -> Any:
        if STORE.folder is None or not _is_plain_call():
            return self.jitted(*args, **options)
        given = self.signature.bind(*args, **options).arguments
        fixed = {name: x for name, x in given.items() if name in self.static}
        traced = {name: x for name, x in given.items() if name not in self.static}
        leaves, tree = jax.tree.flatten(traced)
        try:
            types = tuple(map(type_of, leaves))
            key = self, STORE.folder, configuration(), tree, types, *fixed.items()
            if key not in _loaded:
                _loaded[key] = self._load(fixed, traced, leaves)
            executable = _loaded[key]
        except Unkept:
            return self.jitted(*args, **options)
        return executable(leaves)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __getattr__(self, name: str) -> Any:
        if name == "jitted":  # not yet there
            raise AttributeError(name)
        return getattr(self.jitted, name)

    def _cache_size(self) -> int:
        """Programs of this function that were traced or loaded, as `jax.jit` counts."""
        traced = self.jitted._cache_size()  # pyright: ignore[reportAttributeAccessIssue]
        return traced + sum(key[0] is self for key in _loaded)

    def _load(self, fixed: Mapping, traced: Mapping, leaves: Sequence) -> "_Executable":
        name = self.function.__name__.strip("_")
        described = (
            (name_of(inspect.unwrap(self.function)), self.donate, configuration()),
            describe_static(dict(fixed)),
            describe(dict(traced)),
        )
        entry = STORE.entry(name, described)
        about = STORE.read(entry)
        if about is not None:
            binary = STORE.binary(name, about["binary"])
            if binary is not None:
                return _Executable(binary, about["outputs"], about["types"])
        lowered = self._traced(fixed, traced, leaves).lower()
        outputs = describe_outputs(lowered.out_info)
        types = [(list(x.shape), x.dtype.name) for x in jax.tree.leaves(lowered.out_info)]
        digest, binary = STORE.compiled(name, lowered)
        if len(binary.get_parameter_layouts()) != len(leaves):  # constants beside the arguments
            raise Unkept
        about = {"outputs": outputs, "types": types, "binary": digest}
        STORE.write(entry, json.dumps(about).encode())
        return _Executable(binary, outputs, types)

    def _traced(self, fixed: Mapping, traced: Mapping, leaves: Sequence) -> Any:
        tree = jax.tree.structure(dict(traced))

        def flat(*leaves: Any) -> Any:
            values = {**tree.unflatten(leaves), **fixed}
            ordered = {n: values[n] for n in self.signature.parameters if n in values}
            bound = inspect.BoundArguments(self.signature, ordered)  # pyright: ignore[reportArgumentType]
            return self.function(*bound.args, **bound.kwargs)

        flat.__name__ = flat.__qualname__ = self.function.__name__
        owners = [name for name in sorted(traced) for _ in jax.tree.leaves(traced[name])]
        donated = tuple(i for i, name in enumerate(owners) if name in self.donate)
        return jax.jit(flat, keep_unused=True, donate_argnums=donated).trace(*leaves)


def _is_plain_call() -> bool:
    """Outside of every other program, and none of JAX's modes that look into one."""
    from jax._src.core import trace_state_clean

    modes = ("jax_disable_jit", "jax_debug_nans")
    return trace_state_clean() and not any(getattr(jax.config, name) for name in modes)


class _Executable:
    """What runs a binary: leaves of the arguments to outputs, without JAX's own dispatch."""

    def __init__(self, binary: Any, outputs: Any, types: Sequence) -> None:
        from jax._src.array import ArrayImpl
        from jax.core import ShapedArray

        self.binary, self.make = binary, ArrayImpl
        self.tree = jax.tree.structure(outputs_from(outputs))
        self.types = [ShapedArray(tuple(shape), np.dtype(name)) for shape, name in types]

    def __call__(self, leaves: Sequence) -> Any:
        arrays = [x if isinstance(x, jax.Array) else jax.device_put(x) for x in leaves]
        shards = self.binary.execute_sharded(arrays).disassemble_into_single_device_arrays()
        # As `jit` returns them: free to go along to another device.
        outputs = [
            self.make(kind, shard.sharding, [shard], committed=False, _skip_checks=True)
            for kind, (shard,) in zip(self.types, shards, strict=True)
        ]
        return self.tree.unflatten(outputs)
