"""What a command starts before it is parsed: reading the programs that its last run used.

Imports keep one core busy for more than a second; programs are read on another meanwhile.
"""

from collections.abc import Sequence

from hoijax.settings import DEFAULT_METHOD

COMMANDS = ("solve", "generate")
OTHERWISE = (
    "-h",
    "--help",
    "--prior",
    "--static",
    "--distributed",
    "--cluster",
    "--shard",
    "--workers",
)
"""Flags of runs that start JAX in a way of their own, in other processes, or not at all."""


def load_early(words: Sequence[str]) -> None:
    """Start to read programs, where the command line is one of a solve in this process."""
    run = run_of(words)
    if run is None:
        return
    from hoijax.programs import load_for
    from hoijax.runtime import enable_compilation_cache

    enable_compilation_cache()
    load_for(run)


def run_of(words: Sequence[str]) -> str | None:
    """The command and its method; None where nothing is to be read."""
    names = [word.partition("=")[0] for word in words]
    if len(words) < 2 or words[0] not in COMMANDS or set(names) & set(OTHERWISE):
        return None
    method = DEFAULT_METHOD
    if "--method" in names:
        at = names.index("--method")
        _, equals, method = words[at].partition("=")
        method = method if equals else next(iter(words[at + 1 :]), "")
    return None if method.startswith("anchor") else f"{words[0]} {method}"
