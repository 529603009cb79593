"""The physics verdict on a result, its truth, or other people's motion (`hoijax physics`)."""

from collections.abc import Sequence
from pathlib import Path

from hoijax.api.protocols import read_pairs
from hoijax.errors import UserError
from hoijax.io.json_files import write_json
from hoijax.physics.support import SupportSettings
from hoijax.physics.verdict import Verdict, judge


def physics(
    path: str | Path,
    *,
    mass: float | None = None,
    density: float = 100.0,
    settings: SupportSettings | None = None,
    objects: Sequence[str | Path] = (),
    body: str = "anny",
    ground_truth: bool = False,
    out: str | Path | None = None,
) -> tuple[Verdict, ...]:
    """A verdict for every person-object pair; a result folder gets them as physics.json, or `out` does.

    path, objects, body: as for `evaluate_protocols`. mass: of every object in kg; else density (kg/m3)
    times the volume of its convex hull. ground_truth: judge the truth of a result's bundle instead, which
    is written only to `out`. Raises UserError for what cannot be read or judged.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"'{path}' does not exist.")
    pairs, truth = read_pairs(path, objects, body)
    if ground_truth:
        if truth is None:
            raise UserError(
                f"'{path}' has no ground truth: its bundle is gone, changed, or has none."
            )
        pairs = truth
    verdicts = tuple(
        judge(motion, mass=mass, density=density, settings=settings) for motion in pairs
    )
    is_result = (path / "run.json").is_file() and not ground_truth
    target = Path(out) if out is not None else path / "physics.json" if is_result else None
    if target is not None:
        rows = [
            {"verdict": v.sentence, "assumed": v.assumed, "values": v.values, "frames": v.frames}
            for v in verdicts
        ]
        write_json(target, {"pairs": rows})
    return verdicts
