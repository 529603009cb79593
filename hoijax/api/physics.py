"""The physics verdict on a result, its truth, or other people's motion (`hoijax physics`)."""

from collections.abc import Sequence
from pathlib import Path

from hoijax.api.protocols import read_pairs
from hoijax.errors import UserError
from hoijax.physics.files import VERDICTS, write_verdicts
from hoijax.physics.support import SupportSettings
from hoijax.physics.verdict import Verdict, Weight, by_object, judge


def physics(
    path: str | Path,
    *,
    mass: float | None = None,
    density: float | None = None,
    material: str | None = None,
    settings: SupportSettings | None = None,
    simulate: bool = True,
    objects: Sequence[str | Path] = (),
    body: str = "anny",
    fps: float | None = None,
    ground_truth: bool = False,
    out: str | Path | None = None,
) -> tuple[Verdict, ...]:
    """A verdict for every object; a result folder gets them as physics.json, or `out` does.

    path, objects, body, fps: as for `evaluate_protocols`. mass: of every object in kg; else density (kg/m3)
    times the volume of its convex hull; else by material, a row of hoijax.physics.materials, or by what
    the object's name says. simulate: replay it in MuJoCo too (extra `physics`). ground_truth: judge the
    truth of a result's bundle instead, which is written only to `out`.
    Raises UserError for what cannot be read or judged, and for a simulator that is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"'{path}' does not exist.")
    pairs, truth = read_pairs(path, objects, body, fps, with_truth=ground_truth)
    if ground_truth:
        if truth is None:
            raise UserError(
                f"'{path}' has no ground truth: its bundle is gone, changed, or has none."
            )
        pairs = truth
    weight = Weight(mass, density, material)
    verdicts = tuple(
        judge(carried, weight, settings, simulate=simulate) for carried in by_object(pairs)
    )
    is_result = (path / "run.json").is_file() and not ground_truth
    target = Path(out) if out is not None else path / VERDICTS if is_result else None
    if target is not None:
        write_verdicts(target, verdicts)
    return verdicts
