"""`hoijax align`: a photograph's person and object in one metric frame."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from hoijax.cli.console import Reporter
from hoijax.cli.flags import OutputFlags

GOOD_IOU = 0.9
"""Below it, what is in the way is said."""


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
    occluder_mask: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Where another thing stands in front of either: white; one mask a thing, or one for all."""
    out: Path
    """Folder to write: person.glb, object.glb, scene.glb, overlay.png, alignment.json."""
    focal: str | None = None
    """Focal length in pixels, or numbers or a file as `observe` takes its intrinsics; by default the
    *focal_length.json beside the person, else the image's diagonal."""

    def run(self, reporter: Reporter) -> None:
        from hoijax.api.align import align

        alignment = align(
            self.image,
            self.person,
            self.object,
            self.person_mask,
            self.object_mask,
            self.out,
            occluder_masks=self.occluder_mask,
            focal=self.focal,
            log=reporter.log,
        )
        rows = [
            ["IoU with its mask", f"{alignment.person_iou:.3f}", f"{alignment.object_iou:.3f}"],
            ["mask covered", f"{alignment.person_covered:.3f}", f"{alignment.object_covered:.3f}"],
        ]
        reporter.table(["measure", "person", "object"], rows)
        for name, iou, covered in (
            ("person", alignment.person_iou, alignment.person_covered),
            ("object", alignment.object_iou, alignment.object_covered),
        ):
            if iou < GOOD_IOU:
                reporter.say(why_low(name, iou, covered))
        reporter.say(
            f"the object's file times {alignment.object_scale:.3g} is in metres; floors {100 * alignment.floor_gap:.1f} cm apart; "
            f"look at {self.out / 'overlay.png'}"
        )
        reporter.add(
            out=self.out,
            person_iou=alignment.person_iou,
            object_iou=alignment.object_iou,
            object_scale=alignment.object_scale,
            floor_gap=alignment.floor_gap,
        )


def why_low(name: str, iou: float, covered: float) -> str:
    """What keeps the IoU of a drawn mesh and its mask low. covered: the share of the mask that is drawn."""
    inside = covered / max(covered / max(iou, 1e-6) + covered - 1.0, 1e-6)
    found = f"{name}: {100 * inside:.0f} % of what is drawn lies in its mask, {100 * covered:.0f} % of the mask is drawn. "
    if inside >= covered:
        return found + "The mask shows more than the mesh has, such as clothes, hair or a part."
    return found + (
        "The mesh has more than the mask shows: give what stands in front a mask (--occluder-mask)."
    )
