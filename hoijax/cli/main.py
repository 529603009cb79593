"""The command line: `hoijax generate | observe | mask | solve | compose | align | evaluate | physics | export | view | ablate | doctor | bundle check`."""

import operator
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Annotated, Any

import tyro

from hoijax.cli.ablating import Ablate
from hoijax.cli.aligning import Align
from hoijax.cli.bounds import check_bounds, environment_problem
from hoijax.cli.composing import Compose
from hoijax.cli.console import Reporter
from hoijax.cli.early import load_early
from hoijax.cli.endings import INTERRUPTED, INTERRUPTED_MESSAGE
from hoijax.cli.hints import own_options_first, slip_of
from hoijax.cli.masking import Mask
from hoijax.cli.observing import Observe
from hoijax.cli.physics import Physics
from hoijax.cli.results import BundleCommand, Doctor, Evaluate, Export, View
from hoijax.cli.solving import Generate, Solve
from hoijax.errors import UserError
from hoijax.io import sigterm

DESCRIPTION = """4D human-object interaction from a sentence and object meshes.

hoijax --version prints the version."""
COMMANDS: dict[str, type] = {
    "generate": Generate,
    "observe": Observe,
    "mask": Mask,
    "solve": Solve,
    "compose": Compose,
    "align": Align,
    "evaluate": Evaluate,
    "physics": Physics,
    "export": Export,
    "view": View,
    "ablate": Ablate,
    "doctor": Doctor,
    "bundle": BundleCommand,
}
for kind in COMMANDS.values():
    own_options_first(kind)
OF_METHODS = ("solve", "ablate")
"""Commands whose flags are, beside their own, the settings of all methods."""


def commands(words: Sequence[str] | None = None) -> dict[str, type]:
    """Every command by name. words: of a command line; flags of methods that these do not need are not
    looked up, for that imports the methods. None: all flags."""
    kinds: dict[str, type] = dict(COMMANDS)
    for name in OF_METHODS:
        if words is None or name in words:
            from hoijax.cli.method_flags import with_method_flags

            kinds[name] = with_method_flags(kinds[name])
    return kinds


def parsed(words: Sequence[str], kinds: Mapping[str, type] | None = None) -> Any:
    """The command of a command line. Exits with what is wrong with it, as with --help."""
    named = [
        Annotated[kind, tyro.conf.subcommand(name)]
        for name, kind in (kinds or commands(words)).items()
    ]
    every: Any = reduce(operator.or_, named)
    return tyro.cli(every, prog="hoijax", description=DESCRIPTION, args=words)


def stop_at_slip(words: Sequence[str], kinds: Mapping[str, type]) -> None:
    """Exit with what is wrong with a command line, where it is what `slip_of` knows."""
    if (slip := slip_of(words, kinds)) is not None:
        Reporter("hoijax", as_json="--json" in words).finish(2, slip)
        sys.exit(2)


def main() -> None:
    """Entry point of `hoijax`. Exit codes: 0 done, 2 bad input, 130 interrupted, 143 terminated."""
    if sys.argv[1:] == ["--version"]:
        from hoijax.runtime import versions

        print(f"hoijax {versions()['hoijax']}")
        return
    # A scheduler's SIGTERM must unwind like Ctrl-C, or half a result folder stays behind.
    sigterm.listen()
    words = sys.argv[1:]
    if not set(words) & set(OF_METHODS):
        stop_at_slip(words, COMMANDS)  # before anything that takes a second is imported
    load_early(words)
    kinds = commands(words)
    stop_at_slip(words, kinds)
    command = parsed(words, kinds)
    (name,) = (name for name, kind in kinds.items() if type(command) is kind)
    reporter = Reporter(name, quiet=command.quiet, as_json=command.json)
    warnings.showwarning = lambda message, *_: reporter.warn(str(message))
    try:
        check_bounds(command)
        command.run(reporter)
    except UserError as error:
        reporter.finish(2, str(error))
        sys.exit(2)
    except (RuntimeError, AssertionError) as error:
        problem = environment_problem(error)
        if problem is None:
            reporter.log.stop(remember=False)
            raise
        reporter.finish(2, problem)
        sys.exit(2)
    except KeyboardInterrupt:
        reporter.finish(INTERRUPTED, INTERRUPTED_MESSAGE)
        sys.exit(INTERRUPTED)
    except SystemExit as stop:
        if stop.code != sigterm.EXIT_CODE:
            raise
        reporter.finish(sigterm.EXIT_CODE, "terminated: the same command resumes.")
        sys.exit(sigterm.EXIT_CODE)
    except BaseException:
        reporter.log.stop(remember=False)
        raise
    reporter.finish()


if __name__ == "__main__":
    main()
