"""Error budget: how each way in which priors err, at four strengths, moves the answer.

    python -m scripts.benchmarks.robustness --json out/robustness.json
    python -m scripts.benchmarks.robustness --families all --strengths 1 --only woodchair
    python -m scripts.benchmarks.robustness --families all --strengths 1 --only sub --without-depth
    python -m scripts.benchmarks.robustness --families all-but-mesh --strengths 1 --only sub --other-exemplar
    python -m scripts.benchmarks.robustness --families all all-but-body all-but-mesh --strengths 1 --only sub

Every family of `priors.synthetic.error_families` alone, all together ("all"), and all but those of one
prior ("all-but-body": what a perfect recovery of bodies would bring), on known scenes whose truth the solver never sees: eight synthetic ones and, where ../shared/data/omomo is there, six captured.
Only `tuned_families()` and the first half of each kind of scene may be looked at when weights are chosen;
a row says to which half it belongs. Scenes of a length share compiled programs: errors are data.
"""

import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tyro
from rich.console import Console

import hoijax
from hoijax.bodies import load_body
from hoijax.bodies.kinematics import BODY_JOINT_COUNT
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.evidence import GROUPS
from hoijax.bundle.schema import GroundTruth
from hoijax.bundle.write import Bundle, read_bundle, write_bundle
from hoijax.results.evaluation import Evaluator
from hoijax.results.geometry_queries import joints_of
from hoijax.results.result import Result
from hoijax.runtime import describe_device, enable_compilation_cache
from priors.synthetic.erring_observations import erring_bundle
from priors.synthetic.error_families import FAMILIES, check_families, tuned_families
from priors.synthetic.from_text import BODY, scene_of_text
from scripts.benchmarks.exemplars import other_exemplar
from scripts.benchmarks.quality import FLOOR_CM, MADE, NEAR_BEST
from scripts.bundles.omomo_to_bundle import Options as CaptureOptions
from scripts.bundles.omomo_to_bundle import captured_scene

ALL, NONE, ALL_BUT = "all", "none", "all-but-"
SEVERAL = {
    "two people": ("two people carry a table", ("table",)),
    "two of each": ("two people sit on two chairs", ("chair", "chair")),
}
"""More scenes, which only report: sentences and their objects."""
KINDS = tuple(dict.fromkeys(name.partition("_")[0] for name in FAMILIES))
"""Families by the first word of their names: body, depth, ..."""
DEPTH = ("object points", "part labels", "person points")
MEASURED = (
    "translation_cm",
    "rotation_deg",
    "adds_cm",
    "contact_f1@5cm",
    "contact_f1@2cm",
    "mpjpe_mm",
    "foot_skate_cm_s@5cm",
    "body_ground_penetration_cm",
)


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    families: tuple[str, ...] = (NONE, *FAMILIES, ALL)
    """Families of errors, "all" together, "none", or all but those of a prior: "all-but-body", ..."""
    strengths: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    """1: as real priors err."""
    methods: tuple[str, ...] = ("joint", "hoi-page")
    data: Path = Path(__file__).resolve().parents[3] / "shared" / "data" / "omomo"
    frames: int = 49
    only: tuple[str, ...] = ("",)
    """Only scenes whose name contains one of these."""
    without_depth: bool = False
    """Take all point maps away: masks, keypoints, the body's motion and meshes are left."""
    other_exemplar: bool = False
    """Give the solver the shipped mesh of the object's category in place of its own (captured scenes)."""
    azimuth: float = 35.0
    """Degrees between the world's +z axis and the camera of captured scenes: weights were chosen at 35."""
    seed: int = 0
    """Of errors and views."""
    json: Path | None = None
    """Rows and summary; rows that are there already are kept and not measured again."""
    plot: Path | None = None
    """A picture of the first method's errors by family, at the largest strength."""


def known_scenes(options: Options) -> Iterator[tuple[str, bool, dict]]:
    """(name, whether weights may be chosen on it, arguments of `erring_bundle`) of every scene."""
    made = {name: (text, (name,)) for name, text in MADE.items()} | SEVERAL
    for index, (name, (text, objects)) in enumerate(made.items()):
        if any(part in name for part in options.only):
            assets = hoijax.load_objects(objects)
            scene, script, fps = scene_of_text(text, assets, frames=options.frames, seed=0)
            given = {"graph": script.graph, "prompt": text, "fps": fps, "body": BODY}
            yield name, index < len(MADE) // 2, {"scene": scene, **given}
    sequences = sorted(options.data.glob("*.npz"))
    for index, path in enumerate(sequences):
        if any(part in path.stem for part in options.only):
            view = CaptureOptions(
                path, Path("-"), frames=options.frames, azimuth=options.azimuth, seed=options.seed
            )
            captured = captured_scene(view)
            given = {"graph": captured.graph, "prompt": captured.caption, "fps": captured.fps}
            tuned = index < len(sequences) // 2
            yield path.stem, tuned, {"scene": captured.scene, "body": BODY, **given}


def strengths_of(family: str, strength: float) -> dict[str, float]:
    """Strength of every family for a row of the table. Raises UserError for one that does not exist."""
    if family == NONE:
        return {}
    names = tuple(FAMILIES) if family == ALL or family.startswith(ALL_BUT) else (family,)
    left_out = family.removeprefix(ALL_BUT)
    if family.startswith(ALL_BUT) and left_out not in KINDS:
        raise hoijax.UserError(f"{family}: leave out one of {', '.join(KINDS)}.")
    strengths = {n: strength for n in names if n.partition("_")[0] != left_out or n == family}
    check_families(strengths)
    return strengths


def named_row(family: str, options: Options) -> str:
    """The family as rows name it."""
    words = {"no depth": options.without_depth, "other exemplar": options.other_exemplar}
    return ", ".join([family, *(word for word, used in words.items() if used)])


def without_depth(bundle: Bundle) -> Bundle:
    """The bundle as it is read where nobody measured depth."""
    absent = tuple(key for group in DEPTH for key in GROUPS[group])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        write_bundle(path, dataclasses.replace(bundle, absent=absent))
        return read_bundle(path)


def against_body(
    result: Result, ground_truth: GroundTruth, body: SkinnedBody
) -> tuple[float, float]:
    """(median object error against the body's nearest joint; 95th percentile in the world), cm.

    Of object 0 and person 0. The nearest joint is the true one.
    """
    asset, T = result.assets[0], ground_truth.Ts_world_object[0]
    estimate = result.Ts_world_object[0]
    center = np.append(asset.center, 1.0)
    estimated, true = (estimate @ center)[:, :3], (T @ center)[:, :3]
    joints, true_joints = (
        joints_of(body, x)[0, :, :BODY_JOINT_COUNT] for x in (result, ground_truth)
    )
    frames = np.arange(len(true))
    nearest = np.linalg.norm(true_joints - true[:, None], axis=-1).argmin(axis=1)
    away = (estimated - joints[frames, nearest]) - (true - true_joints[frames, nearest])
    world = np.linalg.norm(estimated - true, axis=-1)
    relative = float(np.median(np.linalg.norm(away, axis=-1)))
    return 100.0 * relative, 100.0 * float(np.percentile(world, 95))


def measure(bundle: Bundle, ground_truth: GroundTruth, method: str) -> dict[str, float | bool]:
    """Solve and measure; object errors modulo the asset's symmetries."""
    begun = time.perf_counter()
    result = hoijax.solve(bundle, method=method)
    seconds = time.perf_counter() - begun
    body = load_body(bundle.body)
    evaluator = Evaluator(result, body, ground_truth)
    rows = [evaluator.measure(k) for k in range(len(result.losses))]
    winner, best = rows[result.winner], min(row["adds_cm"] for row in rows)
    relative, world95 = against_body(result, ground_truth, body)
    values: dict[str, float | bool] = {
        name: round(float(winner[name]), 3) for name in MEASURED if name in winner
    }
    right = [bool(row["adds_cm"] <= max(NEAR_BEST * best, best + FLOOR_CM)) for row in rows]
    twins = result.run.get("confidence", {}).get("twins", ())
    return values | {
        "object_against_body_cm": round(relative, 3),
        "translation_p95_cm": round(world95, 3),
        "winner_right": right[result.winner],
        "winner_right_or_twin_named": any(right[k] for k in (result.winner, *twins)),
        "seconds": round(seconds, 1),
    }


def summarize(rows: list[dict]) -> list[dict]:
    """Medians over scenes by method, family and strength; the half that only reports by itself."""
    keys = sorted({(r["method"], r["family"], r["strength"], r["tuned"]) for r in rows})
    names = [n for n in rows[0] if isinstance(rows[0][n], float) and n not in ("strength",)]
    out = []
    for method, family, strength, tuned in keys:
        mine = [
            r
            for r in rows
            if (r["method"], r["family"], r["strength"], r["tuned"])
            == (method, family, strength, tuned)
        ]
        medians = {n: round(float(np.median([r[n] for r in mine])), 3) for n in names}
        head = {"method": method, "family": family, "strength": strength, "tuned": tuned}
        shares = {
            name: round(float(np.mean([r[name] for r in mine])), 3)
            for name in ("winner_right", "winner_right_or_twin_named")
        }
        out.append({**head, "scenes": len(mine), **medians, **shares})
    return out


def plot(rows: list[dict], path: Path, method: str) -> None:
    """Median errors of object and body by family, the worst on top, beside those without any error."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    def median(family: str, key: str) -> float:
        mine = [r for r in rows if r["method"] == method and r["family"] == family]
        strongest = max(r["strength"] for r in mine)
        return float(np.median([r[key] for r in mine if r["strength"] == strongest]))

    families = sorted({r["family"] for r in rows}, key=lambda f: median(f, "translation_cm"))
    figure, panels = pyplot.subplots(1, 3, figsize=(10, 0.25 * len(families) + 1), sharey=True)
    shown = (
        ("translation_cm", "object, cm"),
        ("rotation_deg", "object, degrees"),
        ("mpjpe_mm", "body, mm"),
    )
    for panel, (key, label) in zip(panels, shown, strict=True):
        panel.barh(families, [median(f, key) for f in families], color="tab:blue")
        if NONE in families:
            panel.axvline(median(NONE, key), color="gray", linestyle=":")
        panel.set_xlabel(label)
        panel.tick_params(labelsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Command line."""
    options = tyro.cli(Options, description=__doc__)
    for name in options.families:
        strengths_of(name, 1.0)
    console = Console(width=220)
    enable_compilation_cache()
    rows: list[dict] = []
    if options.json and options.json.is_file():
        rows = json.loads(options.json.read_text())["rows"]
    done = {(r["method"], r["scene"], r["family"], r["strength"]) for r in rows}
    for name, tuned_scene, scene in known_scenes(options):
        for family in options.families:
            for strength in (0.0,) if family == NONE else options.strengths:
                wanted = strengths_of(family, strength)
                named = named_row(family, options)
                row = (name, named, strength)
                methods = [m for m in options.methods if (m, *row) not in done]
                if not methods:
                    continue  # nothing is rendered for rows that are there
                bundle, ground_truth = erring_bundle(**scene, strengths=wanted, seed=options.seed)
                if options.without_depth:
                    bundle = without_depth(bundle)
                if options.other_exemplar:
                    assets = tuple(other_exemplar(a) for a in scene["scene"].assets)
                    bundle = dataclasses.replace(bundle, assets=assets)
                for method in methods:
                    tuned = tuned_scene and family in tuned_families()
                    head = {"method": method, "scene": name, "family": named}
                    head |= {"strength": strength, "tuned": tuned}
                    rows.append(head | measure(bundle, ground_truth, method))
                    console.print(rows[-1], soft_wrap=True)
                    _write(options, rows)
    if options.plot:
        plot(rows, options.plot, options.methods[0])


def _write(options: Options, rows: list[dict]) -> None:
    if options.json:
        content = {
            "device": describe_device(),
            "date": time.strftime("%Y-%m-%d"),
            "options": {k: str(v) for k, v in dataclasses.asdict(options).items()},
            "rows": rows,
            "summary": summarize(rows),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
