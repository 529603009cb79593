"""`hoijax align`: a photograph's person and object in one metric frame."""

from dataclasses import dataclass
from pathlib import Path

from hoijax.cli.console import Reporter
from hoijax.cli.flags import OutputFlags


@dataclass(frozen=True, kw_only=True)
class Align(OutputFlags):
    """A photograph's person and object (SAM 3D) on one floor, in metres."""

    image: Path
    """The photograph."""
    person: Path
    """Mesh of the person in the camera's axes, metres."""
    object: Path
    """Mesh of the object, at any size."""
    person_mask: Path
    """Where the person is in the image: white."""
    object_mask: Path
    """Where the object is seen in the image: white."""
    out: Path
    """Folder to write: person.glb, object.glb, scene.glb, overlay.png, alignment.json."""
    focal: str | None = None
    """Focal length in pixels, or numbers or a file as `observe` takes its intrinsics; by default the
    *focal_length.json beside the person, else the image's diagonal."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.api.align import align

        found = align(
            self.image,
            self.person,
            self.object,
            self.person_mask,
            self.object_mask,
            self.out,
            focal=self.focal,
            log=reporter.log,
        )
        rows = [
            ["IoU with its mask", f"{found.person_iou:.3f}", f"{found.object_iou:.3f}"],
            ["mask covered", f"{found.person_covered:.3f}", f"{found.object_covered:.3f}"],
        ]
        reporter.table(["measure", "person", "object"], rows)
        reporter.say(
            f"the object's file times {found.object_scale:.3g} is in metres; floors {100 * found.floor_gap:.1f} cm apart; "
            f"look at {self.out / 'overlay.png'}"
        )
        reporter.add(
            out=self.out,
            person_iou=found.person_iou,
            object_iou=found.object_iou,
            object_scale=found.object_scale,
            floor_gap=found.floor_gap,
        )
