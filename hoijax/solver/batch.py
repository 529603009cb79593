"""Scenes x weights x candidates in one compiled program, sharded over the local devices.

Scenes of equal shapes form a bucket and share a program (`staging` pads them so that few shapes
exist); each device solves its own scenes and never talks to another. How many scenes go at once is
read off the compiled program's own account of its memory, and halves where the device says that it
is not enough after all. A single CPU gains nothing from several at once: there, scenes and weights may
be solved one by one, by the program that a scene alone has (`BatchSolver.alone`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from hoijax.errors import UserError
from hoijax.progress import Log, silent
from hoijax.runtime import available_memory
from hoijax.solver.problem import Solution

MAX_SCENES = 64
"""Scenes a device is given at once: more makes no step faster, and progress rarer."""
MEMORY_SHARE = 0.6
"""Of what is free: allocators fragment, and the host needs some."""
AXIS = "scenes"

Solve = Callable[[Any, Any, Any, Any], Solution]
"""(scene, initial (K, ...), neighbors (K, ...), settings) -> Solution of K candidates."""


@dataclass(frozen=True)
class Job:
    """One scene with its K starts. Any pytrees of arrays."""

    scene: Any
    initial: Any
    neighbors: Any

    @property
    def tree(self) -> tuple[Any, Any, Any]:
        """What is stacked over scenes."""
        return self.scene, self.initial, self.neighbors


def bucket_of(tree: Any) -> tuple:
    """Equal for trees that can share a compiled program."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple((x.shape, str(x.dtype)) for x in leaves)


def buckets_of(jobs: Sequence[Job]) -> list[list[int]]:
    """Indices of the jobs of each bucket."""
    buckets: dict[tuple, list[int]] = {}
    for index, job in enumerate(jobs):
        buckets.setdefault(bucket_of(job.tree), []).append(index)
    return list(buckets.values())


def free_memory(device: Any) -> int:
    """Bytes that a device has left; a CPU device's share of the machine's."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return available_memory() // jax.local_device_count()


def needed_memory(compiled: Any) -> int:
    """Bytes that one device needs to run a program, as its compiler counts them."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    return int(
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
    )


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that a device's memory is not enough."""
    text = str(error)
    return isinstance(error, MemoryError) or any(
        phrase in text for phrase in ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory")
    )


def _each(function: Callable[[Any], Any], stacked: Any) -> Any:
    """`function` of every row. Of a single row without vmap, under which all is traced again: two
    such axes of length one made tracing take three times as long."""
    if all(len(x) == 1 for x in jax.tree.leaves(stacked)):
        solution = function(jax.tree.map(lambda x: x[0], stacked))
        return jax.tree.map(lambda x: x[None], solution)
    return jax.vmap(function)(stacked)


@dataclass
class BatchSolver:
    """Solves many scenes; keeps its compiled programs."""

    solve: Solve
    devices: Sequence[Any] = field(default_factory=jax.local_devices)
    log: Log = silent
    max_scenes: int = MAX_SCENES
    compiled: dict[tuple, Any] = field(default_factory=dict)
    """Programs by bucket and chunk: `len` counts compilations."""
    alone: Solve | None = None
    """Solves one scene under one row of settings; where it is given, all are solved by it, in turn."""
    _chunks: dict[tuple, int] = field(default_factory=dict)

    def run(self, jobs: Sequence[Job], settings: Any) -> list[Solution]:
        """A Solution for every job, with leading axes (W, K), on the host.

        settings: weights and other numbers, every leaf with a leading axis W: all W are solved from
        the same starts. Changing them compiles nothing.
        Raises UserError where one scene alone does not fit a device.
        """
        if self.alone is not None:
            return self._one_by_one(jobs, settings)
        out: list[Solution | None] = [None] * len(jobs)
        for indices in buckets_of(jobs):
            left = list(indices)
            while left:
                chunk = self._chunk(jobs[left[0]], settings, len(left))
                now = left[:chunk]
                try:
                    solutions = self._run_chunk([jobs[i] for i in now], settings, chunk)
                except (jax.errors.JaxRuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    self._halve(jobs[left[0]], settings, chunk)
                    continue
                for row, index in enumerate(now):
                    out[index] = jax.tree.map(lambda x, row=row: x[row], solutions)
                left = left[chunk:]
                self.log(f"{len(jobs) - sum(x is None for x in out)}/{len(jobs)} scenes solved")
        return [solution for solution in out if solution is not None]

    def _one_by_one(self, jobs: Sequence[Job], settings: Any) -> list[Solution]:
        assert self.alone is not None
        count, out = len(jax.tree.leaves(settings)[0]), []
        for job in jobs:
            rows = []
            for w in range(count):
                design = jax.tree.map(lambda x, w=w: x[w], settings)
                self.compiled.setdefault((bucket_of((job.tree, design)), 1))
                try:
                    rows.append(jax.device_get(self.alone(*job.tree, design)))
                except (jax.errors.JaxRuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    raise self._too_large() from error
            out.append(jax.tree.map(lambda *xs: np.stack(xs), *rows))
            self.log(f"{len(out)}/{len(jobs)} scenes solved")
        return out

    def _chunk(self, job: Job, settings: Any, count: int) -> int:
        """Scenes to solve at once: a multiple of the devices whose program fits their memory."""
        key = bucket_of((job.tree, settings))
        devices = len(self.devices)
        if key not in self._chunks:
            each = min(math.ceil(count / devices), self.max_scenes)
            budget = MEMORY_SHARE * min(free_memory(device) for device in self.devices)
            while True:
                needed = needed_memory(self.program(job, settings, each * devices))
                if needed <= budget or each == 1:
                    break
                smaller = max(min(each // 2, int(each * budget / needed)), 1)
                self.log(f"{each} scenes a device would take {needed / 1e9:.1f} GB: {smaller}")
                each = smaller
            self._chunks[key] = each * devices
        return self._chunks[key]

    def _halve(self, job: Job, settings: Any, chunk: int) -> None:
        devices = len(self.devices)
        if chunk <= devices:
            raise self._too_large()
        smaller = max(chunk // devices // 2, 1) * devices
        self._chunks[bucket_of((job.tree, settings))] = smaller
        self.log(f"out of memory with {chunk} scenes at once: {smaller} from now on")

    def _too_large(self) -> UserError:
        return UserError(
            "one scene with all its candidates and weights does not fit the memory of "
            f"{self.devices[0].device_kind}. Give fewer --inits or fewer weights at a time."
        )

    def program(self, job: Job, settings: Any, chunk: int) -> Any:
        """The compiled program of a bucket for `chunk` scenes at once."""
        key = (bucket_of((job.tree, settings)), chunk)
        if key not in self.compiled:
            shape = partial(jax.tree.map, lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype))
            stacked = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct((chunk, *x.shape), x.dtype), job.tree
            )
            self.compiled[key] = self._jitted().lower(stacked, shape(settings)).compile()
        return self.compiled[key]

    def _jitted(self) -> Any:
        def scenes_of_a_device(stacked, settings):
            def one(tree):
                scene, initial, neighbors = tree
                return _each(lambda design: self.solve(scene, initial, neighbors, design), settings)

            return _each(one, stacked)

        mesh = Mesh(np.array(self.devices), (AXIS,))
        split, same = NamedSharding(mesh, Spec(AXIS)), NamedSharding(mesh, Spec())
        mapped = jax.shard_map(
            scenes_of_a_device,
            mesh=mesh,
            in_specs=(Spec(AXIS), Spec()),
            out_specs=Spec(AXIS),
            check_vma=False,
        )
        return jax.jit(mapped, in_shardings=(split, same), out_shardings=split)

    def _run_chunk(self, jobs: list[Job], settings: Any, chunk: int) -> Solution:
        # The last chunk is filled up with its last scene: another size would be another program.
        filled = jobs + [jobs[-1]] * (chunk - len(jobs))
        stacked = jax.tree.map(
            lambda *xs: np.stack([np.asarray(x) for x in xs]), *(job.tree for job in filled)
        )
        program = self.program(jobs[0], settings, chunk)
        placed = jax.device_put((stacked, settings), program.input_shardings[0])
        return jax.device_get(program(*placed))
