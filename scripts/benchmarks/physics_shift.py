"""Does the place where an object fits the hands best tell that it is 5 cm off?

    python -m scripts.benchmarks.physics_shift --json docs/results/physics_shift.json

One shift of the object over the whole clip that takes the skin of the hands that bear it out of it and
onto its surface: the mean squared depth of the skin plus the squared gap of each hand. Of the captured
clips of ../shared/data/omomo and of their objects 5 cm off along six axes; with all skin of the hands, and
with that of the palms. An object could be called off where the best shift is long.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy import ndarray
from rich.console import Console
from rich.table import Table

from hoijax.geometry.mesh_queries import signed_distance
from hoijax.importers.mesh_motions import HANDS
from hoijax.physics.contacts import ContactSettings, find_contacts
from hoijax.physics.rigid_motion import rigid_motion
from hoijax.results.protocols.mesh_motion import KNUCKLES, WRISTS, MeshMotion
from scripts.benchmarks.physics import HALF, captured
from scripts.benchmarks.physics_margins import motions

CELL, BORDER = 0.02, 0.3
"""Metres: of the grid of distances, and around the object."""
TRIED = np.linspace(-0.12, 0.12, 7)
"""Metres along each axis from which the best shift is refined."""
STRIDE, SKIN_STRIDE = 6, 3
PRICE = 0.01
"""Of the squared shift: where nothing tells, it is 0."""
LIMIT = 0.025
"""Metres of the best shift above which an object would be called off."""


@dataclass(frozen=True)
class Options:
    data: Path = Path("../shared/data/omomo")
    json: Path | None = None
    frames: int = 49


class Distances:
    """Signed distance to the object in its own frame, metres, linear between the cells of a grid."""

    def __init__(self, vertices: ndarray, faces: ndarray) -> None:
        self.low = vertices.min(axis=0) - BORDER
        counts = np.ceil((np.ptp(vertices, axis=0) + 2 * BORDER) / CELL).astype(int) + 1
        cells = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1)
        points = cells.reshape(-1, 3) * CELL + self.low
        self.values = signed_distance(points, vertices, faces).reshape(counts)

    def __call__(self, points: ndarray) -> ndarray:
        from scipy.ndimage import map_coordinates

        cells = ((points - self.low) / CELL).reshape(-1, 3).T
        return map_coordinates(self.values, cells, order=1, mode="nearest").reshape(
            points.shape[:-1]
        )


def palm_skin(motion: MeshMotion) -> ndarray:
    """(V,) skin of the hands up to the knuckles."""
    parts, joints, skin = np.asarray(motion.body_parts), motion.joints[0], motion.body_vertices[0]
    palm = np.zeros(len(parts), bool)
    for part, wrist, knuckle in zip(HANDS, WRISTS, KNUCKLES, strict=True):
        along = joints[knuckle] - joints[wrist]
        reach = (skin - joints[wrist]) @ along / (along @ along)
        palm |= (parts == part) & (reach < 1)
    return palm


def pressing_skin(motion: MeshMotion, chosen: ndarray) -> list[ndarray]:
    """Skin of every hand that touches the object in a frame, in the object's frame; (n, 3) each."""
    rigid = rigid_motion(motion)
    parts = np.asarray(motion.body_parts)
    skin = rigid.in_object(motion.body_vertices.astype(np.float64))
    contacts = find_contacts(motion, rigid, ContactSettings())
    return [
        skin[t, chosen & (parts == part)][::SKIN_STRIDE]
        for t in range(0, motion.frame_count, STRIDE)
        for part in HANDS
        if (contacts[t].parts == part).any()
    ]


def best_shift(distances: Distances, hands: list[ndarray]) -> ndarray:
    """(3,) metres by which the object would best be moved; 0 where no hand touches it."""
    from scipy.optimize import minimize

    def price(shift: ndarray) -> float:
        total = 0.0
        for skin in hands:
            apart = distances(skin - shift)
            total += float((np.minimum(apart, 0) ** 2).mean() + max(apart.min(), 0) ** 2)
        return total / len(hands) + PRICE * float(shift @ shift)

    if not hands:
        return np.zeros(3)
    starts = np.stack(np.meshgrid(TRIED, TRIED, TRIED, indexing="ij"), axis=-1).reshape(-1, 3)
    best = min(starts, key=price)
    return np.asarray(minimize(price, best, method="Nelder-Mead", options={"xatol": 1e-3}).x)


def measure(name: str, clip: MeshMotion) -> list[dict]:
    rows = []
    skins = {"hands": np.isin(np.asarray(clip.body_parts), HANDS), "palms": palm_skin(clip)}
    vertices = clip.object_vertices[0].astype(np.float64)
    distances = Distances(vertices, clip.object_faces)
    for true, motion in motions(clip):
        step = motion.object_vertices[0, 0] - clip.object_vertices[0, 0]
        for kind, chosen in skins.items():
            hands = [skin - step for skin in pressing_skin(motion, chosen)]
            shift = best_shift(distances, hands)
            rows.append(
                {
                    "clip": name,
                    "half": name in HALF,
                    "skin": kind,
                    "true": true,
                    "off_cm": np.round(100 * step, 1).tolist(),
                    "shift_cm": np.round(100 * shift, 1).tolist(),
                }
            )
    return rows


def main(options: Options) -> None:
    log, rows = Console(), []
    for path in sorted(options.data.glob("*.npz")):
        rows += measure(path.stem, captured(path, options.frames))
        log.print(f"{path.stem}: done", highlight=False)
    table = Table("clip", "skin", "truth, cm", "5 cm off, cm", f"off under {100 * LIMIT:g} cm")
    for name, kind in dict.fromkeys((row["clip"], row["skin"]) for row in rows):
        lengths: dict[bool, list[float]] = {True: [], False: []}
        for row in rows:
            if (row["clip"], row["skin"]) == (name, kind):
                lengths[row["true"]].append(float(np.linalg.norm(row["shift_cm"])))
        off = lengths[False]
        table.add_row(
            name,
            kind,
            f"{lengths[True][0]:.1f}",
            ", ".join(f"{length:.1f}" for length in off),
            f"{sum(length < 100 * LIMIT for length in off)} of {len(off)}",
        )
    log.print(table)
    if options.json is not None:
        content = {"date": time.strftime("%Y-%m-%d"), "rows": rows}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
