"""Names of arguments that mean the same in another process, and structures that JSON holds."""

import dataclasses
import functools
import inspect
from enum import Enum
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp

OWN = "hoijax"
BUILT = (OWN, "optax")
"""Packages whose classes may be built from a file."""


class Unkept(Exception):
    """Something without a name that means the same in another process."""


def type_of(leaf: Any) -> tuple:
    """Shape, type, and whether the type gives way to others. Unkept: it lies elsewhere than most."""
    try:
        kind = jax.typeof(leaf)
    except TypeError as error:
        raise Unkept from error
    if isinstance(leaf, jax.Array) and leaf.sharding.device_set != {jax.devices()[0]}:
        raise Unkept
    if jnp.issubdtype(kind.dtype, jax.dtypes.extended):
        raise Unkept
    return kind.shape, kind.dtype.name, kind.weak_type


def describe(tree: Any) -> Any:
    """An argument for JSON: classes by name, arrays by their types. Unkept: it has no name."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        if not all(isinstance(key, str) for key in tree):
            raise Unkept
        return {key: describe(tree[key]) for key in sorted(tree)}
    if isinstance(tree, tuple | list):
        return [name_of(type(tree)), *map(describe, tree)]
    if hasattr(tree, "_flax_dataclass"):
        fields = [
            [name, describe(x) if is_traced else describe_static(x)]
            for name, x, is_traced in _fields(tree)
        ]
        return [name_of(type(tree)), *fields]
    return list(type_of(tree))


def describe_static(value: Any) -> Any:
    """The same for what a program is made of."""
    if isinstance(value, Enum):
        return [name_of(type(value)), value.name]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): describe_static(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, tuple | list):
        return [name_of(type(value)), *map(describe_static, value)]
    if isinstance(value, functools.partial):
        return ["partial", *map(describe_static, (value.func, value.args, value.keywords))]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
        return [name_of(type(value)), *([name, describe_static(x)] for name, x in fields)]
    function = inspect.unwrap(value) if callable(value) else None
    if inspect.isfunction(function) and function.__closure__ is None:
        return name_of(function)
    raise Unkept


def name_of(named: Any) -> str:
    """ "module:name" of a class or function that can be imported by it."""
    module, name = named.__module__ or "", named.__qualname__  # none: written by `exec`
    known = (OWN,) if inspect.isfunction(named) else (*BUILT, "builtins")
    if module.partition(".")[0] not in known or "<" in name:
        raise Unkept
    return f"{module}:{name}"


def _fields(value: Any) -> list[tuple[str, Any, bool]]:
    return [
        (f.name, getattr(value, f.name), f.metadata.get("pytree_node", True))
        for f in dataclasses.fields(value)
    ]


def describe_outputs(tree: Any) -> Any:
    """Structure of what a program returns for JSON, from which `outputs_from` makes it; arrays are 0."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        if not all(isinstance(key, str | int) for key in tree):
            raise Unkept
        # Rows, not an object: JSON makes strings of an object's keys.
        return {"dict": [[key, describe_outputs(tree[key])] for key in tree]}
    if type(tree) in (tuple, list):
        return {type(tree).__name__: [describe_outputs(x) for x in tree]}
    if isinstance(tree, tuple):
        return {"class": name_of(type(tree)), "items": [describe_outputs(x) for x in tree]}
    if not hasattr(tree, "_flax_dataclass"):
        return 0
    fields = {
        name: describe_outputs(x) if is_traced else _static_output(x)
        for name, x, is_traced in _fields(tree)
    }
    return {"class": name_of(type(tree)), "fields": fields}


def _static_output(value: Any) -> Any:
    if type(value) is tuple:
        return {"tuple": [_static_output(x) for x in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"static": value}
    raise Unkept


def outputs_from(described: Any) -> Any:
    """The same structure again, with 0 for every array."""
    if described in (None, 0):
        return described
    if "static" in described:
        return described["static"]
    if "dict" in described:
        return {key: outputs_from(x) for key, x in described["dict"]}
    if "class" in described:
        owner = _class_named(described["class"])
        items = map(outputs_from, described.get("items", ()))
        return owner(*items, **{n: outputs_from(x) for n, x in described.get("fields", {}).items()})
    ((kind, items),) = described.items()
    return {"tuple": tuple, "list": list}[kind](map(outputs_from, items))


def _class_named(name: str) -> type:
    module, _, path = name.partition(":")
    if module.partition(".")[0] not in BUILT:
        raise ValueError(f"no class of a program: {name}")
    owner = functools.reduce(getattr, path.split("."), import_module(module))
    if not isinstance(owner, type):
        raise ValueError(f"no class: {name}")
    return owner
