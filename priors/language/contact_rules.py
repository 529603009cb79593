"""Which part of the body touches which part of an object, by verb: the rules of the PAG library."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hoijax.affordance.graph import WHOLE_PART, AffordanceEdge, PartReference, mirrored_body_part
from hoijax.errors import UserError
from priors.language.nouns import PartedObject, compact_name, is_one_handed, kind_of
from priors.language.parser import (
    HOW_TO_GIVE_A_GRAPH,
    WALKS_AWAY,
    Action,
    Reading,
    Relation,
)
from priors.language.sentence import library

_GROUPS = {
    "hands": ("left_hand", "right_hand"),
    "feet": ("left_foot", "right_foot"),
    "hand": ("right_hand",),
    "foot": ("right_foot",),
}


def choose_part(asset: PartedObject, preferred: Sequence[str]) -> str:
    """The first part whose name holds a preferred word, else the one with the most surface."""
    part = _part_named(asset, preferred)
    if part is not None:
        return part
    if not asset.part_names:
        return WHOLE_PART
    labeled = asset.sample_parts[asset.sample_parts >= 0]
    return asset.part_names[int(np.bincount(labeled, minlength=1).argmax())]


def _part_named(asset: PartedObject, preferred: Sequence[str]) -> str | None:
    for word in preferred:
        for part in asset.part_names:
            if word in part.lower().replace("_", " "):
                return part
    return None


class EdgeCollector:
    """Collects edges; a body part that is busy with another object throughout is not used twice."""

    def __init__(self, assets: Sequence[PartedObject], reading: Reading):
        self.assets, self.reading = assets, reading
        self.edges: list[AffordanceEdge] = []
        self._busy: dict[tuple[int, str], int] = {}
        self._used: set[tuple[int, str, int]] = set()

    def add_action(self, index: int, action: Action, person: int) -> None:
        """All contacts of one person with the action's object; UserError where no limb is free."""
        before = len(self.edges)
        rules = library()["verbs"][action.verb]
        asset = self.assets[action.object]
        rows = [row for row in rules["contacts"] if self._applies(row, asset)]
        rows = rows or [rules["fallback"]]
        replaced = [part for i, part in self.reading.effectors if i == index]
        replaced = [] if _adds_to(replaced, rows) else replaced
        for row in rows:
            is_by_foot = any("foot" in part or "leg" in part for part in replaced)
            low = library()["verbs"]["kick"]["contacts"][0]["parts"]
            preferred = low if is_by_foot and rules["moves"] else row["parts"]
            part = self._object_part(action.object, preferred)
            for body_part in replaced or self._body_parts(row, action, person, part):
                lasts = index not in self.reading.arrivals and WALKS_AWAY not in action.manners
                is_continuous = row["is_continuous"] and lasts
                flags = (is_continuous, row["is_rel_static"])
                self.add_contact(person, body_part, action.object, part, *flags)
            if replaced:
                break
        extra = [part for i, part in self.reading.touched if i == index]
        part = self._object_part(action.object, rows[0]["parts"])
        for body_part in extra:
            flags = (rows[0]["is_continuous"], rows[0]["is_rel_static"])
            self.add_contact(person, body_part, action.object, part, *flags)
        if len(self.edges) == before:
            raise UserError(
                f"{action.verb} {asset.name!r}: person {person + 1} has no hand or foot left for "
                f"it; ask for less at a time. {HOW_TO_GIVE_A_GRAPH}"
            )

    def add_contact(
        self,
        person: int,
        body_part: str,
        target: int,
        part: str | None,
        is_continuous: bool,
        is_rel_static: bool,
    ) -> None:
        """One body-object edge; on the other side of the body where this one is busy."""
        sides = (body_part, mirrored_body_part(body_part))
        free = [s for s in sides if s and self._busy.get((person, s), target) == target]
        free = [s for s in free if (person, s, target) not in self._used]
        if not free or (free[0] != body_part and self._busy.get((person, body_part)) == target):
            return
        if part is None:
            part = self._object_part(target, [])
        if is_continuous:
            self._busy[person, free[0]] = target
        self._used.add((person, free[0], target))
        self.edges.append(
            AffordanceEdge(
                first=PartReference(entity=f"person {person + 1}", part=free[0]),
                second=PartReference(entity=self.assets[target].name, part=part),
                is_continuous=is_continuous,
                is_rel_static=is_rel_static,
            )
        )

    def add_relation(self, relation: Relation) -> None:
        """One object-object edge: the underside of the upper with the support of the lower."""
        rules = library()
        upper, lower = self.assets[relation.upper], self.assets[relation.lower]
        under = choose_part(upper, rules["underside_parts"])
        over = self._object_part(relation.lower, rules["support_parts"])
        self.edges.append(
            AffordanceEdge(
                first=PartReference(entity=upper.name, part=under),
                second=PartReference(entity=lower.name, part=over),
                is_continuous=relation.phase == "throughout",
                is_rel_static=True,
            )
        )

    def _applies(self, row: dict[str, Any], asset: PartedObject) -> bool:
        """Optional rows want the part; on a mesh without parts it is there if such things have one."""
        if not row.get("is_optional") or _part_named(asset, row["parts"]) is not None:
            return True
        return not asset.part_names and kind_of(compact_name(asset.name)) in row.get("kinds", ())

    def _object_part(self, target: int, preferred: Sequence[str]) -> str:
        named = [part for o, part in self.reading.named_parts if o == target]
        return named[0] if named else choose_part(self.assets[target], preferred)

    def _body_parts(
        self, row: dict[str, Any], action: Action, person: int, part: str
    ) -> tuple[str, ...]:
        """The usual body parts of a rule; one hand for things with a handle, or one a thing."""
        group = row["body"]
        if group == "hands":
            targets = [
                a.object
                for a in self.reading.actions
                if person in a.people and a.verb == action.verb
            ]
            asset = self.assets[action.object]
            by_handle = is_one_handed(asset.name) and ("handle" in part or not asset.part_names)
            if by_handle or len(targets) > 1:
                group = "hand"
        return _GROUPS.get(group, (group,))


def _adds_to(named: list[str], rows: list[dict[str, Any]]) -> bool:
    """Whether the named body parts have no part in this (hands named while sitting)."""
    kinds = {part.split("_")[-1] for part in named}
    usual = {part for row in rows for part in _GROUPS.get(row["body"], (row["body"],))}
    return not named or (kinds == {"hand"} and not any("hand" in part for part in usual))
