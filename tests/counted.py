"""How often a program is made: chex counts traces, and one that was kept on disk is not traced again."""

import contextlib
from collections.abc import Iterator
from typing import Any

from hoijax.solver import resumable


@contextlib.contextmanager
def programs_made(most: int, function: Any = None) -> Iterator[None]:
    """At most so many programs of `function` are traced or loaded in this block.

    `function` is one of `hoijax.programs`; by default the one that every descent runs.
    """
    function = resumable._segment if function is None else function
    before = function._cache_size()
    yield
    made = function._cache_size() - before
    assert made <= most, f"{made} programs of {function.__name__}"
