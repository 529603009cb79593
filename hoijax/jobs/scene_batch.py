"""Many scenes through the batch program: staged in threads, solved together, written in threads.

What a scene gets is what `solve` gives it alone; on a CPU by the same compiled program. The
parts that run on the host (reading, grids, metrics, exports) are done beside the solving.
"""

import contextlib
import dataclasses
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from hoijax.api.result_folder import save_to_folder
from hoijax.api.solve import solve
from hoijax.bundle.object_store import fetch, is_remote
from hoijax.bundle.write import Bundle, bundle_hash, read_bundle
from hoijax.losses.term import LossTerm
from hoijax.methods.base import Method
from hoijax.methods.passes import Numbers, Overrides, Prepared
from hoijax.methods.running import MethodBatch, design_of, job_of, stacked, with_confidence
from hoijax.methods.running import Solved as SolvedPasses
from hoijax.physics.files import read_sentences
from hoijax.progress import Log, Stopwatch, silent
from hoijax.results.result import Result
from hoijax.runtime import available_memory, describe_device, versions
from hoijax.settings import SceneSettings
from hoijax.solver.batch import MAX_SCENES, BatchSolver, Job
from hoijax.solver.problem import ResultCode, Solution
from hoijax.work.folder import Item
from hoijax.work.runner import GroupWork

SCENES_OF_A_GROUP = 8
"""On CPU, where one program after the other keeps the cores busy; elsewhere a device's fill."""
HOST_SHARE = 0.2
"""Of the host's free memory that staged scenes may take."""


@dataclass(frozen=True)
class Ready:
    """A scene that can be solved."""

    source: str
    """Path or address of the bundle."""
    bundle: Bundle
    prepared: Prepared | None
    """None where the clip is so long that it is solved in windows, by itself."""
    bundle_hash: str
    seconds: dict[str, float]

    @property
    def job(self) -> Job | None:
        """What the batch program stacks."""
        return None if self.prepared is None else job_of(self.prepared)


@dataclass(frozen=True)
class Solved:
    """What a group's run gave one scene, with its share of the seconds; or the whole result."""

    outcome: SolvedPasses | Result
    seconds: float = 0.0
    together: int = 1


def on_cpu() -> bool:
    """Whether the default device is a CPU."""
    return jax.local_devices()[0].platform == "cpu"


def scenes_at_once() -> int:
    """Scenes of one run of a program on a device: on CPU a second one gains nothing (measured)."""
    return 1 if on_cpu() else MAX_SCENES


def thread_count() -> int:
    """Threads that stage and write beside the solving."""
    return 1 if on_cpu() else min(os.cpu_count() or 1, 8)


def _device_lock() -> Any:
    """What programs are run under. On CPU two at once, from two threads, have waited for each other
    forever (the pose search, jaxlib 0.10, two cores): one at a time there, and processes are what
    keeps several cores busy (`workers`)."""
    return threading.RLock() if on_cpu() else contextlib.nullcontext()


@dataclass
class SceneBatch:
    """Solves scenes of one method and one set of options, group by group."""

    method: Method
    settings: SceneSettings
    weights: Overrides | None
    terms: tuple[LossTerm, ...]
    out: Path
    formats: tuple[str, ...]
    log: Log = lambda message: None
    devices: Sequence[Any] | None = None
    physics: bool = True
    """Judge every motion."""
    run: dict[str, Any] = field(default_factory=dict)
    """What `run.json` says of every scene."""
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _device: Any = field(default_factory=_device_lock)

    def __post_init__(self) -> None:
        self.batch = MethodBatch(
            self.method,
            self.settings,
            devices=self.devices or jax.local_devices(),
            log=self._batch_log,
            max_scenes=scenes_at_once(),
        )
        self.run = {
            "method": self.method.name,
            "settings": dataclasses.asdict(self.settings),
            "weights": dict(self.weights or {}),
            "device": describe_device(),
            "versions": versions(),
        }

    def numbers(self, terms: Sequence[LossTerm]) -> Numbers:
        """Of the only design there is, with its leading axis."""
        return stacked([self.method.numbers(self.settings, terms, self.weights)])

    @property
    def solver(self) -> BatchSolver:
        """Of the first pass, for scenes that have all the terms."""
        return self.batch.solver(self.method.passes(self.settings)[0], self._terms)

    @property
    def stacked(self) -> Numbers:
        """What `solver` reads beside the scenes."""
        return self.numbers(self._terms)

    @property
    def _terms(self) -> tuple[LossTerm, ...]:
        return (*self.method.terms(self.settings), *self.terms)

    def _batch_log(self, message: str) -> None:
        if "scenes solved" not in message:  # the runner counts
            self.log(message)

    def work(self) -> GroupWork:
        """How scenes of a work folder are solved."""
        return GroupWork(self.prepare, self.solve, self.finish, self.group_size)

    def group_size(self) -> int:
        """Scenes to stage and solve together, as far as the host's memory reaches."""
        devices = len(self.batch.devices)
        wanted = devices * (SCENES_OF_A_GROUP if on_cpu() else MAX_SCENES)
        if self._bytes:
            wanted = min(wanted, int(HOST_SHARE * available_memory() / self._bytes))
        return max(wanted, 1)

    def prepare(self, item: Item) -> Ready:
        """Read and stage one scene. Raises UserError for a bundle that cannot be used."""
        times: dict[str, float] = {}
        watch = Stopwatch(times, silent)
        source, bundle, digest = _read(item.source)
        watch.lap("read")
        if self.method.window(bundle, self.settings, None, self.log) < bundle.frame_count:
            return Ready(source, bundle, None, digest, times)
        with self._device:
            watch.restart()
            prepared = self.method.prepare(bundle, self.settings, self.terms, watch.lap)
        with self._lock:
            size = sum(x.nbytes for x in jax.tree.leaves(job_of(prepared).tree))
            self._bytes = max(self._bytes, size)
        return Ready(source, bundle, prepared, digest, times)

    def solve(self, group: Sequence[Ready]) -> list[Solved]:
        """Solutions of a group, each with its share of the seconds and the size of the group."""
        scenes = [ready.prepared for ready in group if ready.prepared is not None]
        with self._device:
            begun = time.perf_counter()
            solved = iter(self.batch.run(scenes, self.numbers))
            each = (time.perf_counter() - begun) / max(len(scenes), 1)
            return [
                Solved(next(solved)[0], each, len(scenes))
                if ready.prepared is not None
                else Solved(self._in_windows(ready))
                for ready in group
            ]

    @staticmethod
    def first_weights(ready: Ready, solution: Solution) -> SolvedPasses:
        """What the only pass there is found under the only weights there are."""
        assert ready.prepared is not None
        return SolvedPasses(ready.prepared, design_of(solution, 0))

    def _in_windows(self, ready: Ready) -> Result:
        given = {"weights": self.weights, "terms": self.terms, "log": self.log}
        return solve(ready.bundle, method=self.method, settings=self.settings, **given)

    def result(self, ready: Ready, solved: Solved) -> Result:
        """The result of a scene as `solve` returns it."""
        if isinstance(solved.outcome, Result):
            return solved.outcome
        times = {**ready.seconds, "optimize": round(solved.seconds, 3)}
        prepared, solution = solved.outcome.prepared, solved.outcome.solution
        result = with_confidence(self.method.result(prepared, solution), prepared, solution)
        source = {"bundle": ready.source, "bundle_hash": ready.bundle_hash}
        run = {
            **source,
            **result.run,
            "seconds": times,
            **self.run,
            "solved_together": solved.together,
        }
        return dataclasses.replace(result, run=run)

    def finish(self, item: Item, ready: Ready, solution: Solved) -> Mapping[str, Any]:
        """Write the result folder of one scene; its row in the summary."""
        with self._device:
            result = self.result(ready, solution)
            folder, given = self.out / item.id, {"formats": self.formats, "physics": self.physics}
            rows = save_to_folder(result, folder, **given)
        return {**summary_of(result, rows), "physics": "; ".join(read_sentences(folder))}


def _read(source: str) -> tuple[str, Bundle, str]:
    """(where a bundle is, the bundle, its hash); what is in a store is fetched, read and dropped."""
    if not is_remote(source):
        path = Path(source)
        return str(path.absolute()), read_bundle(path), bundle_hash(path)
    with tempfile.TemporaryDirectory() as folder:
        path = fetch(source, Path(folder))
        return source, read_bundle(path), bundle_hash(path)


def summary_of(result: Result, rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """What `summary.csv` says of a solved scene."""
    winner = result.winner
    return {
        "loss": float(result.losses[winner]),
        "start": result.labels[winner],
        "code": ResultCode(int(result.codes[winner])).name.lower(),
        "frames": result.frame_count,
        "seconds": sum(result.run.get("seconds", {}).values()),
        "doubts": "; ".join(result.run.get("confidence", {}).get("doubts", [])),
        **rows[winner],
    }
