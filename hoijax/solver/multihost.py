"""One program over the devices of many processes (`--distributed`): a TPU slice, a multi-node GPU job.

Scenes are sharded over one global mesh; each process brings its own scenes and takes its own solutions
home, and no array of a scene ever crosses the network. What processes do tell each other, before every
run, is how many scenes of which shapes they have, so that all of them run the same programs equally
often.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from hoijax.solver.batch import AXIS, BatchSolver, Job
from hoijax.solver.problem import Solution

Shapes = tuple[tuple[tuple[int, ...], str], ...]


def tell_all(content: Any) -> list[Any]:
    """What every process says (JSON), in the order of the processes. All of them must call this."""
    if jax.process_count() == 1:
        return [content]
    content_bytes = np.frombuffer(json.dumps(content).encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.array([len(content_bytes)], np.int32)).reshape(
        -1
    )
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: len(content_bytes)] = content_bytes
    everyone = multihost_utils.process_allgather(padded).reshape(len(lengths), -1)
    return [json.loads(bytes(row[:length])) for row, length in zip(everyone, lengths, strict=True)]


def shapes_of(job: Job) -> Shapes:
    """What tells buckets apart, in an order and form that all processes share."""
    return tuple((tuple(x.shape), str(x.dtype)) for x in jax.tree.leaves(job.tree))


@dataclass
class GlobalBatch:
    """Solves the scenes of all processes together; every process must call `run` equally often."""

    solve: Callable[..., Solution]
    scenes_at_once: int = 1
    """Scenes of a device at a time; the same number in every process."""
    solver: BatchSolver = field(init=False)

    def __post_init__(self) -> None:
        devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
        self.solver = BatchSolver(self.solve, devices=devices)
        mesh = Mesh(np.array(devices), (AXIS,))
        self.split, self.same = NamedSharding(mesh, Spec(AXIS)), NamedSharding(mesh, Spec())

    @property
    def compiled(self) -> dict[tuple, Any]:
        """Programs by bucket, as in `BatchSolver`."""
        return self.solver.compiled

    def run(self, jobs: Sequence[Job], template: Job, settings: Any) -> list[Solution]:
        """A Solution for each of this process's jobs, with leading axes (W, K), on the host.

        jobs: may be empty, and of any shapes. template: any job, for the structure of the pytrees.
        """
        by_shapes: dict[Shapes, list[int]] = {}
        for index, job in enumerate(jobs):
            by_shapes.setdefault(shapes_of(job), []).append(index)
        told = tell_all([[list(shapes), len(indices)] for shapes, indices in by_shapes.items()])
        most: dict[Shapes, int] = {}
        for buckets in told:
            for shapes, count in buckets:
                key = tuple((tuple(shape), dtype) for shape, dtype in shapes)
                most[key] = max(most.get(key, 0), count)
        out: dict[int, Solution] = {}
        chunk = jax.local_device_count() * self.scenes_at_once
        for shapes in sorted(most):
            mine = by_shapes.get(shapes, [])
            blank = _blank(template, shapes)
            for begin in range(0, most[shapes], chunk):
                now = mine[begin : begin + chunk]
                solutions = self._run_chunk([jobs[i] for i in now], blank, settings, chunk)
                out |= {
                    i: jax.tree.map(lambda x, row=row: x[row], solutions)
                    for row, i in enumerate(now)
                }
        return [out[i] for i in range(len(jobs))]

    def _run_chunk(self, jobs: list[Job], blank: Job, settings: Any, chunk: int) -> Solution:
        # Who has fewer scenes than others solves its last one again, or nothing at all.
        filled = [*jobs, *[jobs[-1] if jobs else blank] * (chunk - len(jobs))]
        stacked = jax.tree.map(
            lambda *xs: np.stack([np.asarray(x) for x in xs]), *(job.tree for job in filled)
        )
        everyone = chunk * jax.process_count()
        program = self.solver.program(filled[0], settings, everyone)

        def place(x: Any) -> jax.Array:
            return jax.make_array_from_process_local_data(self.split, x, (everyone, *x.shape[1:]))

        def copy(x: Any) -> jax.Array:
            x = np.asarray(x)
            return jax.make_array_from_process_local_data(self.same, x, x.shape)

        solutions = program(jax.tree.map(place, stacked), jax.tree.map(copy, settings))
        return jax.tree.map(_own_rows, solutions)


def _blank(template: Job, shapes: Shapes) -> Job:
    structure = jax.tree.structure(template.tree)
    leaves = [np.zeros(shape, dtype) for shape, dtype in shapes]
    return Job(*jax.tree.unflatten(structure, leaves))


def _own_rows(array: jax.Array) -> np.ndarray:
    """This process's part of an array that is split along its first axis."""
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])
