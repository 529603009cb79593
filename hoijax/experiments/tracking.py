"""Runs recorded with Weights & Biases or TensorBoard: off unless asked for, nothing sent otherwise."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hoijax.errors import UserError
from hoijax.results.result import Result

Tracker = Callable[[Result, list[dict[str, float]], Path], None]
"""Records a result with the metrics of its candidates and the folder that it is in."""


def open_tracker(name: str | None) -> Tracker | None:
    """What records runs, by name. Raises UserError, before work starts, where it is missing."""
    if name is None:
        return None
    known = {"wandb": _wandb, "tensorboard": _tensorboard}
    if name not in known:
        raise UserError(f"--track {name}: known are {', '.join(known)}.")
    return known[name]()


def scalars(result: Result) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, unweighted terms of the winner) over the optimization."""
    for step, values in enumerate(result.history[result.winner]):
        names = (f"term/{name}" for name in result.term_names)
        yield step, dict(zip(names, map(float, values), strict=True))


def summary(result: Result, rows: list[dict[str, float]]) -> dict[str, float]:
    """The winner's loss and metrics."""
    numbers = {f"metric/{name}": float(value) for name, value in rows[result.winner].items()}
    return {"loss": float(result.losses[result.winner]), **numbers}


def _missing(name: str, error: ImportError) -> UserError:
    return UserError(f"--track {name} needs {name}: pip install {name} ({error}).")


def _wandb() -> Tracker:
    try:
        import wandb  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise _missing("wandb", error) from error

    def track(result: Result, rows: list[dict[str, float]], out: Path) -> None:
        keys = ("method", "settings", "weights", "device", "versions", "bundle_hash")
        config: dict[str, Any] = {k: result.run[k] for k in keys if k in result.run}
        run = wandb.init(
            project="hoijax", name=out.name, config=config | {"prompt": result.prompt}, dir=str(out)
        )
        for step, values in scalars(result):
            run.log(values, step=step)
        run.summary.update(summary(result, rows))
        run.finish()

    return track


def _tensorboard() -> Tracker:
    try:
        from tensorboard.summary import Writer  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise _missing("tensorboard", error) from error

    def track(result: Result, rows: list[dict[str, float]], out: Path) -> None:
        writer = Writer(str(out / "tensorboard"))
        for step, values in scalars(result):
            for name, value in values.items():
                writer.add_scalar(name, value, step)
        for name, value in summary(result, rows).items():
            writer.add_scalar(name, value, len(result.history[result.winner]) - 1)
        writer.close()

    return track
