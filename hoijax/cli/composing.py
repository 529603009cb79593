"""`hoijax compose`: a sentence to a static scene of one person and one object."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hoijax.cli.console import Reporter
from hoijax.cli.flags import OutputFlags, Text
from hoijax.errors import UserError


@dataclass(frozen=True)
class Compose(OutputFlags):
    """Sentence to a static scene of a person and an object, by score distillation."""

    text: Text
    """One person, what they do, one object: "a man sitting on a sofa"."""
    out: Path
    """Result folder to write; OUT.work beside it holds checkpoints and images while it runs."""
    guidance: Literal["closed-form", "deepfloyd", "mvdream", "both"] = "deepfloyd"
    """deepfloyd, mvdream or both (weights and a GPU), or closed-form (none; CPU; known objects and verbs)."""
    object: str | None = None
    """Your mesh (glb, obj, ply, stl) or a procedural object: only its pose and scale are solved."""
    preset: Literal["tiny", "small", "gpu"] | None = None
    """Sizes: small with closed-form guidance, else gpu."""
    steps: int | None = None
    """Steps of the coarse field; the other stages in proportion."""
    seed: int = 0
    """The same seed gives the same scene on the same machine."""
    pag: Path | None = None
    """Part affordance graph (JSON), for sentences whose verb the rules do not know."""
    weights: tuple[str, ...] = ()
    """ROLE=DIRECTORY or ROLE=owner/name@revision; roles: deepfloyd, mvdream, detector,
    segmenter, keypoints."""
    keypoints: str | None = None
    """Model that finds skeletons in renders: vitpose or blazepose. Closed-form: the projected truth."""
    device: str = "auto"
    """Of the frozen models: auto, cpu, cuda or cuda:N."""
    memory: Literal["resident", "model", "sequential"] = "model"
    """Of the frozen models, as in `hoijax observe`."""
    precision: str = "auto"
    """auto, float32, float16 or bfloat16; auto runs guidance in float16 on a GPU."""
    restart: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Start again instead of resuming an interrupted run of this --out."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.api.compose import ComposeOptions, compose_to_folder

        options = ComposeOptions(
            guidance=self.guidance,
            object=self.object,
            preset=self.preset,
            seed=self.seed,
            steps=self.steps,
            pag=self.pag,
            weights=tuple(_role(item) for item in self.weights),
            keypoints=self.keypoints,
            device=self.device,
            memory=self.memory,
            precision=self.precision,
            restart=self.restart,
        )
        try:
            scene = compose_to_folder(self.text, self.out, options, log=reporter.log)
        except KeyboardInterrupt:
            reporter.say(f"the same command continues at the checkpoints in {self.out}.work")
            raise
        if scene.metrics:
            rows = [[name, f"{value:.4g}"] for name, value in scene.metrics.items()]
            reporter.table(["against the known scene", "value"], rows)
        files = sorted(path for path in self.out.iterdir())
        reporter.add(out=self.out, metrics=scene.metrics, files=[path.name for path in files])
        for path in files:
            reporter.say(f"  {path}")


def _role(item: str) -> tuple[str, str]:
    role, equals, value = item.partition("=")
    if not equals or not value:
        raise UserError(f"--weights: cannot read {item!r}. Write ROLE=DIRECTORY.")
    return role, value
