"""The physics verdict on captured truth, on negative controls, and against ADD-S.

    python -m scripts.benchmarks.physics --json docs/results/physics.json
    python -m scripts.benchmarks.physics_solved --out out/solved             # solved results, to rank too:
    python -m scripts.benchmarks.physics --results out/solved/results --no-controls --no-ranking

Truth: the captured sequences of ../shared/data/omomo (or --data), 49 frames around the contact, the
free body on the captured bones. All clips were looked at
when margins were chosen: HALF splits them to show the spread, it holds nothing out.
Controls: the object 5 cm off along the six axes, nobody near, the object hovering, tenfold mass; thrown
to the ground, and that backwards. Frames of a shift are "normal" where it mostly leads along the forces
that bear the true object, else "along" the surface. Ranking: the object's true motion disturbed in graded
ways, and with --results folders of solved bundles that know their truth.
"""

import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy import ndarray
from rich.console import Console
from rich.table import Table

from hoijax.api.protocols import read_pairs
from hoijax.bodies import load_body
from hoijax.errors import UserError
from hoijax.exporters.clip import Clip, make_person
from hoijax.geometry.transforms import compose_rigid
from hoijax.importers.mesh_motions import motions_of_clip
from hoijax.physics.rigid_motion import rigid_motion
from hoijax.physics.support import Support, find_support
from hoijax.physics.verdict import Weight, by_object, judge
from hoijax.results.protocols.mesh_motion import MeshMotion
from hoijax.runtime import describe_device, enable_compilation_cache
from scripts.bundles.omomo_to_bundle import (
    captured_motion,
    chosen_frames,
    labeled_asset,
    read_sequence,
)

HALF = ("sub2_largetable_003", "sub2_woodchair_001", "sub8_plasticbox_000")
OFF = 0.05
LEVELS = (0.01, 0.03, 0.08, 0.2)
"""Metres, and radians over 0.3 m, that true motion is disturbed by."""
DISTURBANCES = ("offset", "drift", "jitter", "turn")
WEIGHTS = {"woodchair": 4.5, "largetable": 8.0, "largebox": 2.0, "plasticbox": 2.0, "suitcase": 4.0}
"""Kilograms of such things; the recordings have none."""


@dataclass(frozen=True)
class Options:
    data: Path = Path("../shared/data/omomo")
    json: Path | None = None
    frames: int = 49
    controls: bool = True
    """Truth and negative controls."""
    replay: bool = True
    """Let go in the simulator too."""
    ranking: bool = True
    """Disturbed truths against ADD-S."""
    results: tuple[Path, ...] = ()
    """Folders of result folders to rank too."""


def captured(path: Path, frames: int) -> MeshMotion:
    """A window of a captured sequence as meshes in time."""
    data = read_sequence(path)
    chosen = chosen_frames(data["contact_object"], frames, 3)
    asset = labeled_asset(path.parent / str(data["object_mesh"]), str(data["object_name"]))
    Ts = compose_rigid(data["object_rotation"][chosen], data["object_translation"][chosen])
    known = captured_motion(data, chosen)
    body = load_body("anny")
    person = make_person(
        body, known.rotations[0], known.translations[0], known.betas[0], known.rest_joints[0]
    )
    fps = float(data["fps"]) / int(chosen[1] - chosen[0])
    (motion,) = motions_of_clip(Clip(fps, (person,), (asset,), Ts[None].astype(np.float32)), body)
    return motion


def moved(motion: MeshMotion, steps: ndarray) -> MeshMotion:
    return dataclasses.replace(motion, object_vertices=motion.object_vertices + steps)


def controls(motion: MeshMotion) -> Iterator[tuple[str, MeshMotion, float]]:
    """(name, motion, times the mass) of the ground truth and of what must not be held."""
    yield "truth", motion, 1.0
    for axis, name in enumerate("xyz"):
        for sign, side in ((1, "+"), (-1, "-")):
            yield f"5 cm {side}{name}", moved(motion, sign * OFF * np.eye(3)[axis]), 1.0
    away = dataclasses.replace(
        motion, body_vertices=motion.body_vertices + np.array([5.0, 0, 0]), body_joints=None
    )
    yield "nobody near", away, 1.0
    yield "hovers", moved(away, np.array([0, 0.5, 0])), 1.0
    yield "tenfold mass", motion, 10.0
    fall = thrown(away)
    yield "thrown", fall, 1.0
    backwards = dataclasses.replace(fall, object_vertices=fall.object_vertices[::-1])
    yield "thrown, backwards", backwards, 1.0


def thrown(motion: MeshMotion) -> MeshMotion:
    """The object thrown from 1 m above the ground, and as it lies there; 1.5 s."""
    motion = motion.frames(slice(0, round(1.5 * motion.fps)))
    start = motion.object_vertices[0]
    start = start - [*start.mean(axis=0)[:1], start[:, 1].min(), start.mean(axis=0)[2]]
    landing = (2 + np.sqrt(4 + 2 * 9.81)) / 9.81  # upward at 2 m/s
    times = np.minimum(np.arange(motion.frame_count) / motion.fps, landing)
    heights = np.maximum(1 + 2 * times - 9.81 / 2 * times**2, 0)
    steps = np.stack([times, heights, 0 * times], axis=1)
    return dataclasses.replace(motion, object_vertices=start + steps[:, None])


def leads_into_bearing(motion: MeshMotion, step: ndarray, support: Support) -> ndarray:
    """Frames (T,) in which a step leads mostly along the normals of the forces that bear the object."""
    rigid = rigid_motion(motion)
    way = step / np.linalg.norm(step)
    into = np.zeros(motion.frame_count)
    for t, (contacts, force) in enumerate(zip(support.contacts, support.forces, strict=True)):
        normals = contacts.normals @ rigid.rotations[t].T
        pressing = (force * normals).sum(axis=-1)
        into[t] = (pressing * np.abs(normals @ way)).sum() / max(pressing.sum(), 1e-9)
    return into > 0.5


def disturbed(motion: MeshMotion, kind: str, size: float, seed: int) -> MeshMotion:
    """The object off by about `size`: everywhere, growing and waning, from frame to frame, or turned."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    way = rng.normal(size=3)
    way /= np.linalg.norm(way)
    frames = motion.frame_count
    if kind == "turn":
        center = motion.object_vertices.mean(axis=1, keepdims=True)
        rotation = Rotation.from_rotvec(way * size / 0.3).as_matrix()
        return dataclasses.replace(
            motion, object_vertices=(motion.object_vertices - center) @ rotation.T + center
        )
    if kind == "offset":
        steps = np.tile(size * way, (frames, 1))
    elif kind == "drift":
        phase = 2 * np.pi * (np.arange(frames) / frames + rng.random())
        steps = np.sqrt(2) * size * np.sin(2 * phase)[:, None] * way
    else:
        steps = rng.normal(size=(frames, 3)) * size / np.sqrt(3)
    return moved(motion, steps[:, None])


def adds_cm(motion: MeshMotion, true: MeshMotion) -> float:
    """Median over frames of the mean distance of true object vertices to the nearest of the motion's."""
    from scipy.spatial import KDTree

    frames = zip(motion.object_vertices, true.object_vertices, strict=True)
    return float(100 * np.median([KDTree(a).query(b)[0].mean() for a, b in frames]))


def measure_controls(name: str, motion: MeshMotion, log: Console, replays: bool) -> list[dict]:
    rows = []
    support = find_support(motion, rigid_motion(motion, WEIGHTS[motion.object_name]))
    for control, changed, times in controls(motion):
        weight = Weight(mass=times * WEIGHTS[motion.object_name])
        begun = time.perf_counter()
        fast = judge(changed, weight)
        between = time.perf_counter()
        shifted = control.startswith("5 cm")
        simulate = replays and not shifted  # its contacts are those of the support
        again = judge(changed, weight, simulate=True) if simulate else fast
        done = time.perf_counter()
        split = {}
        if shifted:
            step = (changed.object_vertices - motion.object_vertices)[0, 0]
            normal = leads_into_bearing(motion, step, support)
            held = np.asarray(fast.frames["explained"])
            split = {"normal": held[normal].tolist(), "along": held[~normal].tolist()}
        rows.append(
            {
                "clip": name,
                "half": name in HALF,
                "control": control,
                "held": fast.values["explained_share@1cm"],
                "bone_inside": fast.values["bone_inside_share"],
                "grip_offset_cm": fast.values["grip_offset_cm"],
                "replay_carried": again.values.get("replay_held_share_carried@1s"),
                "replay": again.values.get("replay_held_share@1s"),
                "seconds": between - begun,
                "replay_seconds": done - between,
                "verdict": again.sentence,
                **split,
            }
        )
        log.print(name, control, again.sentence, highlight=False)
    return rows


def measure_ranking(name: str, motion: MeshMotion) -> list[dict]:
    rows = []
    for k, kind in enumerate(DISTURBANCES):
        for level in LEVELS:
            changed = disturbed(motion, kind, level, seed=k)
            verdict = judge(changed, Weight(mass=WEIGHTS[motion.object_name]))
            rows.append(
                {
                    "clip": name,
                    "kind": kind,
                    "level": level,
                    "adds_cm": adds_cm(changed, motion),
                    "score": verdict.values["score"],
                    "held": verdict.values["explained_share@1cm"],
                }
            )
    return rows


def measure_results(folder: Path) -> list[dict]:
    """Every result below a folder whose bundle knows its truth."""
    rows = []
    for run in sorted(folder.rglob("run.json")):
        try:
            pairs, true = read_pairs(run.parent, (), "anny")
        except UserError:
            continue
        if true is None:
            continue
        for carried, truth in zip(by_object(pairs), by_object(true), strict=True):
            kilograms = WEIGHTS.get(carried.motion.object_name)
            verdict = judge(carried, Weight(mass=kilograms))
            rows.append(
                {
                    "clip": str(run.parent.relative_to(folder)),
                    "kind": "solved",
                    "adds_cm": adds_cm(carried.motion, truth.motion),
                    "score": verdict.values["score"],
                    "held": verdict.values["explained_share@1cm"],
                }
            )
    return rows


def spearman(rows: list[dict]) -> float:
    """Rank correlation of the score with ADD-S, turned so that 1 is agreement."""
    from scipy.stats import spearmanr

    return -float(
        np.asarray(spearmanr([r["score"] for r in rows], [r["adds_cm"] for r in rows]))[0]
    )


def summary(control_rows: list[dict], rank_rows: list[dict]) -> dict[str, float]:
    """The numbers of docs/metrics.md."""
    values = {}
    for part, chosen in (("half", True), ("others", False)):
        rows = [r for r in control_rows if r["half"] == chosen]
        for control in dict.fromkeys(r["control"] for r in rows):
            of = [r for r in rows if r["control"] == control]
            values[f"{part}: held: {control}"] = float(np.mean([r["held"] for r in of]))
            carried = [r["replay_carried"] for r in of if r["replay_carried"] is not None]
            if carried:
                values[f"{part}: replay carried: {control}"] = float(np.mean(carried))
        for way in ("normal", "along"):
            held = [frame for r in rows for frame in r.get(way, ())]
            if held:
                values[f"{part}: held: 5 cm {way} ({len(held)} frames)"] = float(np.mean(held))
    groups = {
        kind: [r for r in rank_rows if r["kind"] == kind] for kind in (*DISTURBANCES, "solved")
    }
    for kind, rows in groups.items():
        if len(rows) > 2:
            values[f"spearman: {kind}"] = spearman(rows)
    if len(rank_rows) > 2:
        values["spearman: all"] = spearman(rank_rows)
    return values


def main(options: Options) -> None:
    enable_compilation_cache()
    log = Console()
    control_rows, rank_rows = [], []
    for path in sorted(options.data.glob("*.npz")):
        motion = captured(path, options.frames)
        if options.controls:
            control_rows += measure_controls(path.stem, motion, log, options.replay)
        if options.ranking:
            rank_rows += measure_ranking(path.stem, motion)
    for folder in options.results:
        rank_rows += measure_results(folder)
    values = summary(control_rows, rank_rows)
    table = Table("measure", "value")
    for name, value in values.items():
        table.add_row(name, f"{value:.2f}")
    log.print(table)
    if options.json is not None:
        content = {"device": describe_device(), "date": time.strftime("%Y-%m-%d")}
        content |= {"summary": values}
        content |= {"controls": control_rows, "ranking": rank_rows}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
