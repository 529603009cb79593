"""`hoijax physics`: can this motion happen?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hoijax.cli.console import Reporter
from hoijax.cli.flags import Folder, OutputFlags


@dataclass(frozen=True)
class Physics(OutputFlags):
    """Can this motion happen? Support by body and ground, a simulator, feet, balance."""

    result: Folder
    """Result folder, or a motion file that `evaluate` measures by protocols."""
    mass: float | None = None
    """Kilograms of the object."""
    density: float | None = None
    """kg/m3 of the object's convex hull: 40 a wooden chair, 150 a filled box, 600 solid wood."""
    material: str | None = None
    """cardboard, wood, plastic, fabric, filled, metal, ceramic, glass or stone: a density for things of
    it; by the object's name where nothing is given."""
    friction: float = 0.6
    """Friction coefficient of skin and ground."""
    margin: float = 0.01
    """Metres from the surface within which skin touches."""
    replay: bool = True
    """Let the object go in MuJoCo every half second too (extra "physics")."""
    objects: tuple[Path, ...] = ()
    """Meshes of an AMASS, OMOMO, InterAct or InterMimic motion, in its order."""
    body: str = "anny"
    """The body such a motion moves, "anny" or an SMPL-X file."""
    fps: float | None = None
    """Frames a second of folders of meshes, which have none."""
    ground_truth: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Judge the ground truth of the bundle a result was solved from."""
    out: Path | None = None
    """JSON file to write; a result folder's physics.json by default."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.api.physics import physics
        from hoijax.physics.contacts import ContactSettings
        from hoijax.physics.support import SupportSettings

        verdicts = physics(
            self.result,
            mass=self.mass,
            density=self.density,
            material=self.material,
            settings=SupportSettings(ContactSettings(self.margin), self.friction),
            simulate=self.replay,
            objects=self.objects,
            body=self.body,
            fps=self.fps,
            ground_truth=self.ground_truth,
            out=self.out,
        )
        names = dict.fromkeys(name for verdict in verdicts for name in verdict.values)
        rows = [
            [name, *(f"{v.values[name]:.3g}" if name in v.values else "" for v in verdicts)]
            for name in names
        ]
        headings = [v.object_name or f"object {i + 1}" for i, v in enumerate(verdicts)]
        reporter.table(["measure", *headings], rows)
        for verdict in verdicts:
            reporter.say(f"{verdict.object_name}: {verdict.sentence}".removeprefix(": "))
            reporter.say(f"  mass: {verdict.assumed['mass']}")
        reporter.add(
            result=self.result,
            verdicts=[v.sentence for v in verdicts],
            values=[v.values for v in verdicts],
            assumed=[v.assumed for v in verdicts],
        )


def say_verdict(reporter: Reporter, folder: Path) -> None:
    """A line an object, of the physics.json that a solve wrote; nothing where there is none."""
    from hoijax.physics.files import read_sentences

    sentences = read_sentences(folder)
    for sentence in sentences:
        reporter.say(f"physics: {sentence}")
    if sentences:
        reporter.add(physics=sentences)
