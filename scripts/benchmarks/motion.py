"""What an animator would look at in made motions: fifteen verbs with three meshes each.

    python -m scripts.benchmarks.motion --json docs/results/motion.json --sheets /tmp/sheets

Every second clip may be looked at while motions are tuned (`--half tuned`); the rest only reports
(`--half held-out`). A mesh has no part names: what is a handle, an opening, the strings is
for the choreographer to find, and known here.
"""

import itertools
import json
import time
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from jaxtyping import Float
from numpy import ndarray
from PIL import Image
from rich.console import Console

from hoijax.affordance.graph import BODY_PARTS
from hoijax.objects.asset import Asset, asset_from_arrays
from hoijax.rendering.raycast import RenderMesh, cast
from hoijax.rendering.shading import shade
from hoijax.runtime import describe_device, enable_compilation_cache
from priors.choreography.choreographer import Choreography, choreograph, joint_transforms
from priors.choreography.exact_distance import signed_distance
from priors.choreography.joint_limits import JOINT_LOWER, JOINT_UPPER
from priors.choreography.person import (
    Person,
    dense_weights,
    finger_joints,
    make_person,
    skin_of,
    vertex_normals,
)
from priors.choreography.pose_targets import HEAD, WRISTS
from priors.language.script import script_from_text
from scripts.benchmarks.motion_meshes import CASES, Case

CHEST = 9
TOUCHING = 0.006  # metres between a finger's skin and the object
OPPOSING = -0.3  # cosine between the skin normals of two fingers on opposing sides
STANDING = 0.004  # metres of foot skin above the floor
FLAGS = {
    "head_cm": 15.0,
    "chest_cm": 12.0,
    "acceleration": 60.0,
    "wrist_beyond_deg": 5.0,
    "goal_cm": 2.0,
    "skate_cm": 1.0,
    "depth_cm": 1.0,
}
"""Above these a value is one that an animator would have to mend."""


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    half: Literal["all", "tuned", "held-out"] = "all"
    only: tuple[str, ...] = ("",)
    """Only sentences that contain one of these."""
    frames: int = 49
    seed: int = 0
    sheets: Path | None = None
    """Folder for an image of every clip."""
    json: Path | None = None


@dataclass(frozen=True)
class Row:
    """One clip. Per frame: at 12 frames a second."""

    text: str
    is_tuned: bool
    head_cm: float
    """Largest displacement of the head in a frame; of the chest below."""
    chest_cm: float
    acceleration: float
    """Largest of a body joint, m/s^2."""
    wrist_beyond_deg: float
    """Of an unknown of a wrist beyond its range."""
    goal_cm: float | None
    """From where lips or fingers are meant to be, where the sentence has such a goal."""
    fingers: float | None
    """Mean number of fingers that touch, of a hand in contact, where there is a handle."""
    opposed: float | None
    """Share of frames in which two of them touch from opposing sides."""
    skate_cm: float
    """Farthest that foot skin on the floor slides in a frame."""
    depth_cm: float
    """Deepest skin in the object."""
    cpu_seconds: float


def main(options: Options) -> None:
    """Make the clips, measure them, write the table and the images."""
    enable_compilation_cache()
    console, rows = Console(width=170), []
    for index, case in enumerate(CASES):
        is_tuned = index % 2 == 0
        chosen = options.half == "all" or (options.half == "tuned") == is_tuned
        if not chosen or not any(word in case.text for word in options.only):
            continue
        rows.append(_measure(case, index, is_tuned, options))
        console.print(_line(rows[-1]))
    for name, part in (("tuned", True), ("held out", False)):
        of_part = [row for row in rows if row.is_tuned == part]
        if of_part:
            console.print(f"{name}: {_summary(of_part)}")
    if options.json:
        halves = {
            name: _summary([r for r in rows if r.is_tuned == part])
            for name, part in (("tuned", True), ("held_out", False))
        }
        report = {
            "date": str(date.today()),
            "device": describe_device(),
            "frames": options.frames,
            "seed": options.seed,
            "worse_than": FLAGS,
            "summary": halves,
            "clips": [asdict(row) for row in rows],
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def _measure(case: Case, index: int, is_tuned: bool, options: Options) -> Row:
    mesh = case.build()
    asset = asset_from_arrays(case.name, np.asarray(mesh.vertices), np.asarray(mesh.faces))
    script = script_from_text(case.text, [asset])
    began = time.process_time()
    scene = choreograph(script, [asset], frames=options.frames, seed=options.seed)
    seconds = time.process_time() - began
    person = make_person(scene.betas[0])
    skin = skin_of(person, scene.joint_rotations[0], scene.translation[0]).astype(float)
    local = _in_object(scene, skin)
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
        name = f"{index:02d}_{case.verb}_{case.name}.png"
        _sheet(scene, asset, person, skin).save(options.sheets / name)
    joints = joint_transforms(person, scene.joint_rotations[0], scene.translation[0])
    positions = joints[:, :22, :3, 3].astype(float)
    fingers, opposed = _fingers(case, scene, script, asset, person, local)
    return Row(
        text=case.text,
        is_tuned=is_tuned,
        head_cm=_speed(positions[:, HEAD]),
        chest_cm=_speed(positions[:, CHEST]),
        acceleration=float(
            np.linalg.norm(np.diff(positions, n=2, axis=0), axis=-1).max() * scene.fps**2
        ),
        wrist_beyond_deg=_wrist_beyond(scene),
        goal_cm=_goal(case, scene, person, local),
        fingers=fingers,
        opposed=opposed,
        skate_cm=_skate(person, skin),
        depth_cm=100 * _depth(asset, local),
        cpu_seconds=round(seconds, 2),
    )


def _in_object(scene: Choreography, skin: Float[ndarray, "T V 3"]) -> Float[ndarray, "T V 3"]:
    Ts = scene.Ts_world_object[0].astype(float)
    return (skin - Ts[:, None, :3, 3]) @ Ts[:, :3, :3]


def _speed(path: Float[ndarray, "T 3"]) -> float:
    return float(100 * np.linalg.norm(np.diff(path, axis=0), axis=-1).max())


def _wrist_beyond(scene: Choreography) -> float:
    joints = list(WRISTS)
    turns = scene.joint_rotations[0][:, joints]
    beyond = np.maximum(turns - JOINT_UPPER[joints], JOINT_LOWER[joints] - turns)
    return float(np.degrees(max(0.0, beyond.max())))


def _goal(case: Case, scene: Choreography, person: Person, local: ndarray) -> float | None:
    """The least over frames for a mouth, which arrives; the median for fingers, which stay."""
    if case.opening is not None:
        lips = local[:, _lips(person)]
        offset = lips - np.asarray(case.opening)
        around = np.hypot(offset[:, 0], offset[:, 2]) - case.ring
        return float(100 * np.hypot(around, offset[:, 1]).min())
    if case.strings is None or case.neck is None:
        return None
    right = np.linalg.norm(_hand(person, local, 1) - np.asarray(case.strings), axis=-1).min(axis=1)
    start, end = np.asarray(case.neck, float)
    left = _hand(person, local, 0)
    fraction = np.clip((left - start) @ (end - start) / np.sum((end - start) ** 2), 0.0, 1.0)
    apart = np.linalg.norm(left - start - fraction[..., None] * (end - start), axis=-1).min(axis=1)
    return float(100 * max(np.median(right), np.median(apart)))


def _lips(person: Person) -> int:
    """The skin vertex at the middle of the mouth."""
    vertices = np.asarray(person.shaped.vertices_rest)
    return int(np.argmin(np.linalg.norm(vertices - person.rest_joints[HEAD] - person.lips, axis=1)))


def _hand(person: Person, local: ndarray, hand: int) -> ndarray:
    ids = np.asarray(person.body.part_ids)
    return local[:, ids == BODY_PARTS.index(("left_hand", "right_hand")[hand])]


def _fingers(
    case: Case, scene: Choreography, script, asset: Asset, person: Person, local: ndarray
) -> tuple[float | None, float | None]:
    if not case.handle:
        return None, None
    weights = dense_weights(person.body)
    faces = np.asarray(person.body.faces)
    counts, opposed = [], []
    for edge, active in zip(script.graph.edges, scene.contact, strict=True):
        ends = [end for end in (edge.first, edge.second) if end.part.endswith("_hand")]
        if not ends:
            continue
        members = [
            np.flatnonzero(weights[:, joints].sum(1) > 0.5)
            for joints in finger_joints(ends[0].part.removesuffix("_hand")).values()
        ]
        for t in np.flatnonzero(active)[::4]:
            normals = vertex_normals(local[t], faces)
            touching = [
                finger[np.abs(signed_distance(asset, local[t, finger])) < TOUCHING]
                for finger in members
            ]
            touching = [normals[finger] for finger in touching if len(finger)]
            counts.append(len(touching))
            pairs = itertools.combinations(touching, 2)
            opposed.append(any((a @ b.T).min() < OPPOSING for a, b in pairs))
    return float(np.mean(counts)), float(np.mean(opposed))


def _skate(person: Person, skin: ndarray) -> float:
    ids, worst = np.asarray(person.body.part_ids), 0.0
    for foot in ("left_foot", "right_foot"):
        sole = skin[:, ids == BODY_PARTS.index(foot)]
        stays = (sole[:-1, :, 1] < STANDING) & (sole[1:, :, 1] < STANDING)
        slide = np.linalg.norm(np.diff(sole[..., [0, 2]], axis=0), axis=-1)
        worst = max(worst, float(slide[stays].max(initial=0.0)))
    return 100 * worst


def _depth(asset: Asset, local: ndarray) -> float:
    points = local[::6].reshape(-1, 3)
    inside = ((points > asset.vertices.min(0)) & (points < asset.vertices.max(0))).all(axis=1)
    if not inside.any():
        return 0.0
    return float(max(0.0, -signed_distance(asset, points[inside]).min()))


def _sheet(scene: Choreography, asset: Asset, person: Person, skin: ndarray) -> Image.Image:
    """Eight frames beside each other."""
    faces, tiles = np.asarray(person.body.faces), []
    for t in np.linspace(0, len(skin) - 1, 8).round().astype(int):
        T = scene.Ts_world_object[0, t]
        object_vertices = asset.vertices @ T[:3, :3].T + T[:3, 3]
        meshes = [
            RenderMesh(skin[t].astype(np.float32), faces, 1, color=(0.65, 0.55, 0.48)),
            RenderMesh(object_vertices, asset.faces, 2, color=(0.9, 0.35, 0.1)),
        ]
        image = shade(cast(meshes, scene.camera, scene.T_world_camera))
        tiles.append(image)
    rows = [np.concatenate(tiles[i : i + 4], axis=1) for i in (0, 4)]
    return Image.fromarray(np.concatenate(rows, axis=0))


def _line(row: Row) -> str:
    values = asdict(row)
    flagged = [key for key, most in FLAGS.items() if (values[key] or 0.0) > most]
    goal = "-" if row.goal_cm is None else f"{row.goal_cm:.1f}"
    grip = "-" if row.fingers is None else f"{row.fingers:.1f}/{row.opposed:.2f}"
    return (
        f"{row.text[9:49]:41}{'' if row.is_tuned else '*':2} head {row.head_cm:5.1f} chest {row.chest_cm:5.1f} "
        f"acc {row.acceleration:5.0f} wrist {row.wrist_beyond_deg:4.0f} goal {goal:>5} grip {grip:>8} "
        f"skate {row.skate_cm:4.1f} depth {row.depth_cm:4.1f} {row.cpu_seconds:4.1f} s  {' '.join(flagged)}"
    )


def _summary(rows: list[Row]) -> dict[str, float]:
    """Medians, the worst, and how many clips are worse than asked."""
    summary: dict[str, float] = {}
    for key, most in FLAGS.items():
        values = [v for v in (getattr(row, key) for row in rows) if v is not None]
        if values:
            summary |= {
                key: round(float(np.median(values)), 2),
                f"{key}_max": round(float(np.max(values)), 2),
                f"{key}_worse": float(np.sum(np.array(values) > most)),
            }
    grips = [(row.fingers, row.opposed) for row in rows if row.fingers is not None]
    if grips:
        fingers, opposed = np.array(grips, float).T
        summary |= {
            "fingers": round(float(fingers.mean()), 2),
            "opposed": round(float(opposed.mean()), 2),
        }
    return summary


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
