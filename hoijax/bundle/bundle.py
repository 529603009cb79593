"""What a bundle holds, once it is read."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property

from hoijax.affordance.contact_table import ContactTable, compile_contacts
from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.bundle.evidence import absence_lines
from hoijax.bundle.observations import Observations
from hoijax.bundle.schema import Provenance
from hoijax.errors import UserError
from hoijax.objects.articulated.joints import Joint
from hoijax.objects.asset import Asset


@dataclasses.dataclass(frozen=True)
class Bundle:
    """All that the solver may know about a scene.

    Objects are counted in the order of `assets`, people in the order of `affordance.people`.
    """

    prompt: str
    """The sentence that was asked for."""
    fps: float
    affordance: PartAffordanceGraph
    assets: tuple[Asset, ...]
    bodies: tuple[str, ...]
    """Name of each person's body model, which the shape parameters belong to."""
    observations: Observations
    provenance: Mapping[str, Provenance]
    """By array of the observations; "*" stands for all others."""
    proposed_yaws: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    """Likely turns of objects about the world's y axis, by name, in degrees, best first: further
    starts of a solve. An object without any is found by the search alone."""
    joints: tuple[Joint, ...] = ()
    """Joints between objects (indices into `assets`), parents first: links of articulated objects."""
    absent: tuple[str, ...] = ()
    """Arrays that the file does not have; those in `observations` are padding, or a guess."""

    @property
    def frame_count(self) -> int:
        return self.observations.frame_count

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.observations.image_size

    @cached_property
    def contact_table(self) -> ContactTable:
        """The graph as integers, in the order of the assets."""
        return compile_contacts(self.affordance, self.part_names)

    @property
    def part_names(self) -> dict[str, tuple[str, ...]]:
        """Part names of every object, by name and in order, as `compile_contacts` takes them."""
        return {asset.name: asset.part_names for asset in self.assets}

    @property
    def absences(self) -> list[str]:
        """A line for everything that the bundle lacks, and what takes its place."""
        people = [person.name for person in self.affordance.people]
        names = [asset.name for asset in self.assets]
        return absence_lines(self.observations, self.absent, names, people)

    @property
    def body(self) -> str:
        """The one body model of all people. Raises UserError where they differ."""
        if len(set(self.bodies)) != 1:
            raise UserError(
                f"the bundle's people have different bodies: {', '.join(self.bodies)}; "
                "give all of them the same one"
            )
        return self.bodies[0]
