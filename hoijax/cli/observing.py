"""`hoijax observe`: what makes bundles."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from hoijax.cli.console import Reporter
from hoijax.cli.flags import ObjectFlags, OutputFlags
from hoijax.cli.many import parse_shard, say_progress
from hoijax.cli.prior_flags import PriorFlags
from hoijax.cli.solving import FRAMES
from hoijax.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Observe(PriorFlags, ObjectFlags, OutputFlags):
    """Sentence and object meshes to an observation bundle; or many, from a file."""

    text: tyro.conf.Positional[str | None] = None
    """What happens, in English. Not with --prompts."""
    objects: tuple[str, ...] = ()
    """Mesh files (glb, obj, ply, stl), or shipped objects; "mug=model.obj,up=z,scale=0.01"."""
    out: Path
    """Bundle folder (or .zip) to write; with --prompts the folder of all bundles."""
    prior: Literal["rules", "packaged", "diffusion"] = "diffusion"
    """diffusion (an image, a video and what large models see in it), packaged (your --video on the
    CPU, no download) or rules (no video)."""
    prompts: Path | None = None
    """A jsonl file of scenes: {"text": ..., "objects": [...]} and more, one a line."""
    frames: int | None = None
    """Length of the clip: 49 by default, all of your --video."""
    pieces: float | None = None
    """Seconds: a long --video is observed in pieces, each a bundle in the folder --out, in the memory of
    one; an object is handed on from piece to piece."""
    seed: int = 0
    """The same seed gives the same result on the same machine."""
    cluster: str | None = None
    """Many sentences (--prompts): "ray" observes by Ray tasks, on $RAY_ADDRESS or this machine."""
    shard: str | None = None
    """Many sentences (--prompts): I/N observes every N-th, from the I-th on (counted from 0)."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.api.observe import observe_prompts, observe_to_folder

        frames = FRAMES if self.frames is None else self.frames
        numbers = {"frames": frames, "seed": self.seed, **self.axes()}
        prior = "packaged" if self.prior == "packaged" else "diffusion"
        options = self.stage_options(prior, self.frames)
        if self.prompts is not None:
            if self.text is not None or self.objects or self.prior == "rules":
                raise UserError(
                    "--prompts brings texts and objects, and uses models: leave TEXT, --objects and "
                    "--prior rules away."
                )
            many = {"cluster": self.cluster, "shard": parse_shard(self.shard)}
            progress = observe_prompts(
                self.prompts, self.out, options, **many, **numbers, log=reporter.log
            )
            say_progress(reporter, progress, self.out, f"{progress.done} bundles in {self.out}")
            return
        if self.cluster or self.shard:
            raise UserError("--cluster and --shard are for many scenes: give them by --prompts.")
        if self.text is None:
            raise UserError('say what happens: hoijax observe "a person ..." --objects ...')
        if self.pieces is not None:
            self._observe_pieces(self.text, self.pieces, options, reporter)
            return
        path = observe_to_folder(
            self.text,
            self.objects,
            self.out,
            options,
            prior=self.prior,
            **numbers,
            log=reporter.log,
        )
        reporter.say(f"wrote {path}")
        reporter.add(files=[path])

    def _observe_pieces(
        self, text: str, seconds: float, options: dict[str, Any], reporter: Reporter
    ) -> None:
        """A bundle for every piece of a long clip."""
        from hoijax.api.observe import observe_pieces_to_folder

        if self.prior == "rules" or self.frames is not None:
            raise UserError("--pieces cuts a --video: omit --frames and --prior rules.")
        paths = observe_pieces_to_folder(
            text,
            self.objects,
            self.out,
            options,
            seconds,
            seed=self.seed,
            **self.axes(),
            log=reporter.log,
        )
        reporter.say(
            f"wrote {len(paths)} bundles in {self.out}; `hoijax solve {self.out}` takes them"
        )
        reporter.add(files=paths)
