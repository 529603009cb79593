"""`hoijax physics`: can this motion happen?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hoijax.cli.console import Reporter
from hoijax.cli.flags import Folder, OutputFlags


@dataclass(frozen=True)
class Physics(OutputFlags):
    """Whether body and ground can carry the object as it moves; feet and balance."""

    result: Folder
    """Result folder, or a motion file that `evaluate` measures by protocols."""
    mass: float | None = None
    """Kilograms of the object; by default --density times the volume of its convex hull."""
    density: float = 100.0
    """kg/m3 of the object's convex hull: 40 a wooden chair, 100 a filled box, 600 solid wood."""
    friction: float = 0.6
    """Friction coefficient of skin and ground."""
    margin: float = 0.02
    """Metres from the surface within which skin or ground touches."""
    objects: tuple[Path, ...] = ()
    """Meshes of an AMASS, OMOMO or InterAct motion, in its order."""
    body: str = "anny"
    """The body such a motion moves, "anny" or an SMPL-X file."""
    ground_truth: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Judge the truth of the bundle a result was solved from."""
    out: Path | None = None
    """JSON file to write; a result folder's physics.json by default."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.api.physics import physics
        from hoijax.physics.support import SupportSettings

        verdicts = physics(
            self.result,
            mass=self.mass,
            density=self.density,
            settings=SupportSettings(margin=self.margin, friction=self.friction),
            objects=self.objects,
            body=self.body,
            ground_truth=self.ground_truth,
            out=self.out,
        )
        names = dict.fromkeys(name for verdict in verdicts for name in verdict.values)
        rows = [
            [name, *(f"{v.values[name]:.3g}" if name in v.values else "" for v in verdicts)]
            for name in names
        ]
        pairs = ["value"] if len(verdicts) == 1 else [f"pair {i + 1}" for i in range(len(verdicts))]
        reporter.table(["measure", *pairs], rows)
        for verdict in verdicts:
            reporter.say(verdict.sentence)
        reporter.add(
            result=self.result,
            verdicts=[v.sentence for v in verdicts],
            values=[v.values for v in verdicts],
            assumed=[v.assumed for v in verdicts],
        )
