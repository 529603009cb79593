"""`hoijax mask`: masks of people and objects of a clip or photograph, by hints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from hoijax.cli.console import Reporter
from hoijax.cli.flags import OutputFlags
from hoijax.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Mask(OutputFlags):
    """Masks of a clip or photo: mark objects, follow them, correct frames, save."""

    video: tyro.conf.Positional[Path]
    """The clip, or one photograph."""
    objects: tuple[str, ...]
    """Names of the objects, as `observe` will know them: those of the mesh files, or these files."""
    out: Path
    """Folder to save to: PNGs in a folder for each person and object, as `observe` takes masks, and
    hints.json, as it takes hints."""
    hint: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Hints to begin with, as of `observe`: OBJECT=FRAME:x,y,width,height or OBJECT=FRAME:x,y, or an
    earlier hints.json."""
    people: int = 1
    """How many people to follow, those seen most surely; 0 for objects only."""
    seconds: str | None = None
    """START:END, the part of the clip; frames count from its start."""
    save: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Follow the hints, save and end, without a browser."""
    port: int = 8080
    """Port to serve at; 0 takes any free one."""
    host: str = "127.0.0.1"
    """Address to serve at; see `view`."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.api.masks import open_masks

        if self.save and not self.hint:
            raise UserError("--save needs a hint for every object: give --hint, or omit --save.")
        if self.json and not self.save:
            raise UserError(
                "--json needs an end: give --save, the page serves until it is stopped."
            )
        session = open_masks(
            self.video,
            [Path(one).stem if Path(one).is_file() else one for one in self.objects],
            self.out,
            people=self.people,
            hints=self.hint,
            seconds=self.seconds,
            log=reporter.log,
        )
        if self.save:
            session.propagate()
            path = session.save(self.out)
            reporter.say(f"wrote {path}")
            reporter.add(files=[path])
            return
        from hoijax.viewer.mask_editor import open_mask_editor

        editor = open_mask_editor(session, self.out, host=self.host, port=self.port)
        reporter.say(f"open {editor.url} in a browser; Ctrl-C ends")
        try:
            editor.run()
        except KeyboardInterrupt:
            reporter.say("closed.")
        finally:
            editor.server.stop()
