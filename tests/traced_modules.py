"""Which modules run while a program is traced, and which of them its key counts."""

import contextlib
import cProfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import jax

import hoijax
from hoijax.programs import Program
from hoijax.programs.sources import Sources, modules_named
from hoijax.programs.store import Store

HOME = Path(hoijax.__file__).parent


@dataclass(frozen=True)
class Load:
    """A program that was loaded or compiled: with what arguments, and the modules its key counts."""

    program: Program
    given: tuple
    counted: set[str]

    def uncounted(self) -> set[str]:
        """Modules that run when it is traced and whose changes its key would not see."""
        return modules_run(lambda: self.program._traced(*self.given)) - self.counted


@contextlib.contextmanager
def watched_loads() -> Iterator[list[Load]]:
    """All that are loaded meanwhile."""
    loads: list[Load] = []
    sources, load, entry = Sources(HOME), Program._load, Store.entry

    def watched_entry(self, name, described, kind="entries"):
        keys.append(sources.closure(modules_named(described)))
        return entry(self, name, described, kind)

    def watched_load(self, *given):
        loaded = load(self, *given)
        loads.append(Load(self, given, keys[-1]))
        return loaded

    keys: list[set[str]] = []
    with (
        mock.patch.object(Program, "_load", watched_load),
        mock.patch.object(Store, "entry", watched_entry),
    ):
        yield loads


def of_each(loads: Sequence[Load]) -> list[Load]:
    """One of those of a program that count the same modules: tracing takes long, and shapes run no others."""
    return list({(load.program, frozenset(load.counted)): load for load in loads}.values())


def modules_run(trace: Callable[[], object]) -> set[str]:
    """Modules of hoijax whose functions run, helpers that leave no operation too.

    JAX first forgets all traces of functions within: of what was traced before, under another program,
    nothing would run, and its operations would name the stack of then.
    """
    jax.clear_caches()
    profile = cProfile.Profile()
    profile.runcall(trace)
    files = {Path(getattr(row.code, "co_filename", "")) for row in profile.getstats()}
    modules = {
        ".".join(file.relative_to(HOME.parent).with_suffix("").parts)
        for file in files
        if file.is_relative_to(HOME)
    }
    return {name.removesuffix(".__init__") for name in modules} - {"hoijax.programs.program"}
