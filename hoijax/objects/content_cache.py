"""Remember what was computed from an asset, by its content: one solve asks for the same grids thrice.

Beside the compiled programs, where these are kept, the next process finds them too.
"""

import functools
import hashlib
import inspect
import json
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax
import numpy as np

from hoijax.objects.asset import Asset
from hoijax.programs.names import (
    Unkept,
    describe_outputs,
    describe_static,
    name_of,
    outputs_from,
)
from hoijax.programs.store import STORE

Given = ParamSpec("Given")
Found = TypeVar("Found")


def content_key(asset: Asset) -> bytes:
    """Digest of everything about an asset but its name."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (
        asset.vertices,
        asset.faces,
        asset.face_parts,
        asset.samples,
        asset.sample_normals,
        asset.sample_parts,
    ):
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(array.tobytes())
    digest.update(str(len(asset.part_names)).encode())
    return digest.digest()


@dataclass
class _Memory:
    """What one function found of the latest assets and options."""

    function: Callable
    count: int
    resized: Callable[[Any, float], Any] | None
    found: OrderedDict[tuple, Any] = field(default_factory=OrderedDict)
    lock: Any = field(default_factory=Lock)

    def get(self, key: tuple, compute: Callable[[], Any]) -> Any:
        with self.lock:
            if key in self.found:
                self.found.move_to_end(key)
                return self.found[key]
        result = _kept(self.function, key, compute)
        for array in jax.tree.leaves(result):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
        with self.lock:
            self.found[key] = result
            while len(self.found) > self.count:
                self.found.popitem(last=False)
        return result


_memories: list[_Memory] = []


def remember(
    count: int, resized: Callable[[Any, float], Any] | None = None
) -> Callable[
    [Callable[Concatenate[Asset, Given], Found]], Callable[Concatenate[Asset, Given], Found]
]:
    """Decorator: keep the results of the last `count` assets (and options), as read-only arrays.

    resized: (found, factor) -> what would be found of the asset so many times as large.
    """

    def decorate(function: Callable[Concatenate[Asset, Given], Found]):
        memory, signature = _Memory(function, count, resized), inspect.signature(function)
        _memories.append(memory)

        @functools.wraps(function)
        def remembering(asset: Asset, *args: Given.args, **options: Given.kwargs) -> Found:
            given = signature.bind(asset, *args, **options)
            given.apply_defaults()
            key = (content_key(asset), *list(given.arguments.values())[1:])
            return memory.get(key, lambda: function(asset, *args, **options))

        return remembering

    return decorate


def remember_resized(asset: Asset, resized: Asset, factor: float) -> None:
    """What was found of an asset, for the same one `factor` times as large about its origin."""
    old, new = content_key(asset), content_key(resized)
    for memory in _memories:
        if memory.resized is None:
            continue
        with memory.lock:
            known = [(key, found) for key, found in memory.found.items() if key[0] == old]
        for key, found in known:
            memory.get((new, *key[1:]), partial(memory.resized, found, factor))


def _kept(function: Callable, key: tuple, compute: Callable[[], Found]) -> Found:
    """What an earlier process computed under this key, or else computed and kept for the next."""
    if STORE.folder is None:
        return compute()
    try:
        described = [name_of(function), key[0].hex(), describe_static(key[1:])]
        path = STORE.entry(function.__name__, described, "arrays")
        stored = STORE.read(path, _tree_from)
        if stored is None:
            stored = compute()
            STORE.write(path, _tree_bytes(stored))
    except Unkept:
        return compute()
    return stored


def _tree_bytes(tree: Any) -> bytes:
    """A line of JSON, then the arrays' bytes. Unkept: it holds other things."""
    arrays = jax.tree.leaves(tree)
    if not all(isinstance(array, np.ndarray) and array.dtype.kind in "biuf" for array in arrays):
        raise Unkept
    types = [(array.dtype.str, array.shape) for array in arrays]
    head = json.dumps({"structure": describe_outputs(tree), "types": types})
    return b"".join([head.encode(), b"\n", *(array.tobytes() for array in arrays)])


def _tree_from(content: bytes) -> Any:
    head = json.loads(content[: content.index(b"\n")])
    arrays, start = [], content.index(b"\n") + 1
    for name, shape in head["types"]:
        kind, count = np.dtype(name), math.prod(shape)
        array = np.frombuffer(content, kind, count, start)
        arrays.append(array.reshape(shape).copy())  # aligned
        start += array.nbytes
    return jax.tree.structure(outputs_from(head["structure"])).unflatten(arrays)
