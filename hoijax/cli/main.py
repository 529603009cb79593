"""The command line: `hoijax generate | observe | solve | compose | evaluate | physics | export | view | ablate | doctor | bundle check`."""

import sys
import warnings
from typing import Annotated

import tyro

from hoijax.cli.composing import Compose
from hoijax.cli.console import Reporter
from hoijax.cli.physics import Physics
from hoijax.cli.results import Ablate, BundleCommand, Doctor, Evaluate, Export, View
from hoijax.cli.solving import Generate, Observe, Solve
from hoijax.errors import UserError
from hoijax.io import sigterm

DESCRIPTION = "4D human-object interaction from a sentence and object meshes."
COMMANDS = {
    "generate": Generate,
    "observe": Observe,
    "solve": Solve,
    "compose": Compose,
    "evaluate": Evaluate,
    "physics": Physics,
    "export": Export,
    "view": View,
    "ablate": Ablate,
    "doctor": Doctor,
    "bundle": BundleCommand,
}
Command = (
    Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Observe, tyro.conf.subcommand("observe")]
    | Annotated[Solve, tyro.conf.subcommand("solve")]
    | Annotated[Compose, tyro.conf.subcommand("compose")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Physics, tyro.conf.subcommand("physics")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[View, tyro.conf.subcommand("view")]
    | Annotated[Ablate, tyro.conf.subcommand("ablate")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
    | Annotated[BundleCommand, tyro.conf.subcommand("bundle")]
)


def main() -> None:
    """Entry point of `hoijax`. Exit codes: 0 done, 2 bad input, 130 interrupted, 143 terminated."""
    if sys.argv[1:] == ["--version"]:
        from hoijax.runtime import versions

        print(f"hoijax {versions()['hoijax']}")
        return
    # A scheduler's SIGTERM must unwind like Ctrl-C, or half a result folder stays behind.
    sigterm.listen()
    command = tyro.cli(Command, prog="hoijax", description=DESCRIPTION)
    (name,) = (name for name, kind in COMMANDS.items() if type(command) is kind)
    reporter = Reporter(name, quiet=command.quiet, as_json=command.json)
    warnings.showwarning = lambda message, *_: reporter.warn(str(message))
    try:
        command.run(reporter)
    except UserError as error:
        reporter.finish(2, str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        reporter.finish(130, "interrupted: nothing was written.")
        sys.exit(130)
    except SystemExit as stop:
        if stop.code != sigterm.EXIT_CODE:
            raise
        reporter.finish(
            sigterm.EXIT_CODE, "terminated: the same command goes on from what is kept."
        )
        sys.exit(sigterm.EXIT_CODE)
    except BaseException:
        reporter.log.stop(remember=False)
        raise
    reporter.finish()


if __name__ == "__main__":
    main()
