"""The offline prior for part affordance graphs: common verbs x object parts, by language rules.

`script_from_text` reads a sentence and says who does what with which object (a `Script`, for the
choreographer), with the part affordance graph that follows from it. `script_from_graph` makes the
same of a graph given by hand or by a language model. No weights, no network, no randomness.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hoijax.affordance import (
    BODY_PARTS,
    MAX_VIDEO_PROMPT_WORDS,
    WHOLE_PART,
    AffordanceEdge,
    AffordanceObject,
    AffordancePerson,
    PartAffordanceGraph,
    PartReference,
    mirrored_body_part,
)
from hoijax.errors import UserError
from hoijax.schema_errors import numbered
from priors.object_nouns import PartedObject, is_one_handed
from priors.reading import HOW_TO_GIVE_A_GRAPH, Action, Reading, Relation, read_sentence
from priors.sentence import library

__all__ = [
    "KNOWN_VERBS",
    "Action",
    "Relation",
    "Script",
    "affordance_from_text",
    "script_from_graph",
    "script_from_text",
]

KNOWN_VERBS = tuple(library()["verbs"])
"""Canonical verbs that a `Script` may have; the choreographer has a motion for each."""

VIDEO_SUFFIX = (
    "Fixed camera at shoulder height, slight three-quarter view, the whole body and the whole "
    "object in the frame throughout."
)
_GROUPS = {
    "hands": ("left_hand", "right_hand"),
    "feet": ("left_foot", "right_foot"),
    "hand": ("right_hand",),
    "foot": ("right_foot",),
}


@dataclass(frozen=True)
class Script:
    """What is asked for: the hint that a motion is planned from, beside its graph.

    The graph's objects have the order of the assets.
    """

    text: str
    graph: PartAffordanceGraph
    actions: tuple[Action, ...]
    """The first is the primary one; no two are of the same people with the same object."""
    relations: tuple[Relation, ...]

    @property
    def verb(self) -> str:
        """The primary verb, one of `KNOWN_VERBS`."""
        return self.actions[0].verb

    @property
    def object(self) -> int:
        """Index of the primary object."""
        return self.actions[0].object

    @property
    def person_count(self) -> int:
        return len(self.graph.people)


def affordance_from_text(text: str, assets: Sequence[PartedObject]) -> PartAffordanceGraph:
    """The part affordance graph of a sentence and objects; see `script_from_text`."""
    return script_from_text(text, assets).graph


def script_from_text(text: str, assets: Sequence[PartedObject]) -> Script:
    """Read an English sentence over the given objects.

    Raises UserError, with the way to give a graph by hand, where the sentence has no known verb,
    leaves an object out, or asks for more hands than there are.
    """
    _check_names(assets)
    reading = read_sentence(text, assets)
    edges = _Edges(assets, reading)
    for i, action in enumerate(reading.actions):
        for person in action.people:
            edges.add_action(i, action, person)
    for person in reading.receivers:
        if reading.actions[0].verb == "throw":  # the one it is thrown to catches it
            edges.add_contact(person, "left_hand", reading.actions[0].object, None, False, True)
            edges.add_contact(person, "right_hand", reading.actions[0].object, None, False, True)
    for relation in reading.relations:
        edges.add_relation(relation)
    graph = PartAffordanceGraph(
        objects=_object_nodes(assets, reading),
        people=tuple(
            AffordancePerson(name=f"person {p + 1}", description=f"a {noun}")
            for p, noun in enumerate(reading.person_nouns)
        ),
        edges=tuple(edges.edges),
        video_prompt=_video_prompt(text),
    )
    return Script(text, graph, reading.actions, reading.relations)


def script_from_graph(
    graph: PartAffordanceGraph, text: str, assets: Sequence[PartedObject]
) -> Script:
    """The script of a given graph: verbs from the text where it has known ones, else from the contacts.

    Raises UserError where the graph does not fit the assets, or where nobody touches anything.
    """
    _check_names(assets)
    problems = graph.check_against({asset.name: asset.part_names for asset in assets})
    if problems:
        raise UserError(
            f"the part affordance graph does not fit the objects:\n{numbered(problems)}"
        )
    nodes = {node.name: node for node in graph.objects}
    graph = graph.model_copy(update={"objects": tuple(nodes[asset.name] for asset in assets)})
    try:
        reading = read_sentence(text, assets)
    except UserError:  # a graph by hand is there to go beyond the known verbs
        reading = None
    said = {a.object: (a.verb, a.word) for a in reversed(reading.actions)} if reading else {}
    people = {node.name: p for p, node in enumerate(graph.people)}
    indices = {node.name: o for o, node in enumerate(graph.objects)}
    touches: dict[tuple[int, int], list[str]] = {}
    relations = []
    for edge in graph.edges:
        ends = sorted((edge.first, edge.second), key=lambda end: end.entity not in people)
        if ends[0].entity in people:
            key = (indices[ends[1].entity], people[ends[0].entity])
            touches.setdefault(key, []).append(ends[0].part)
        else:
            phase = "throughout" if edge.is_continuous else "end"
            first, second = edge.first, edge.second
            if _is_support(first.part) and not _is_support(second.part):
                first, second = second, first
            relations.append(Relation(indices[first.entity], indices[second.entity], phase))
    if not touches:
        raise UserError(
            "the part affordance graph has no edge between a body part and an object; add one, so "
            "that there is a motion to plan"
        )
    actors: dict[tuple[int, str, str], list[int]] = {}
    for (thing, person), parts in touches.items():
        verb = _verb_of_contacts(parts, graph.objects[thing])
        verb, word = said.get(thing, (verb, verb))
        actors.setdefault((thing, verb, word), []).append(person)
    actions = [Action(v, w, tuple(sorted(p)), thing) for (thing, v, w), p in actors.items()]
    primary = reading.actions[0].object if reading else actions[0].object
    actions.sort(key=lambda action: action.object != primary)
    if reading:  # the text knows better which way up and when
        stated = {frozenset((r.upper, r.lower)): r for r in reading.relations}
        relations = [stated.get(frozenset((r.upper, r.lower)), r) for r in relations]
    return Script(text, graph, tuple(actions), tuple(dict.fromkeys(relations)))


def choose_part(asset: PartedObject, preferred: Sequence[str]) -> str:
    """The first part whose name holds a preferred word, else the one with the most surface."""
    part = _part_named(asset, preferred)
    if part is not None:
        return part
    if not asset.part_names:
        return WHOLE_PART
    labelled = asset.sample_parts[asset.sample_parts >= 0]
    return asset.part_names[int(np.bincount(labelled, minlength=1).argmax())]


def _part_named(asset: PartedObject, preferred: Sequence[str]) -> str | None:
    for word in preferred:
        for part in asset.part_names:
            if word in part.lower().replace("_", " "):
                return part
    return None


class _Edges:
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
                flags = (row["is_continuous"], row["is_rel_static"])
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
        thing: int,
        part: str | None,
        is_continuous: bool,
        is_rel_static: bool,
    ) -> None:
        """One body-object edge; on the other side of the body where this one is busy."""
        sides = (body_part, mirrored_body_part(body_part))
        free = [s for s in sides if s and self._busy.get((person, s), thing) == thing]
        free = [s for s in free if (person, s, thing) not in self._used]
        if not free or (free[0] != body_part and self._busy.get((person, body_part)) == thing):
            return
        if part is None:
            part = self._object_part(thing, [])
        if is_continuous:
            self._busy[person, free[0]] = thing
        self._used.add((person, free[0], thing))
        self.edges.append(
            AffordanceEdge(
                first=PartReference(entity=f"person {person + 1}", part=free[0]),
                second=PartReference(entity=self.assets[thing].name, part=part),
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
        return not row.get("is_optional") or _part_named(asset, row["parts"]) is not None

    def _object_part(self, thing: int, preferred: Sequence[str]) -> str:
        named = [part for o, part in self.reading.named_parts if o == thing]
        return named[0] if named else choose_part(self.assets[thing], preferred)

    def _body_parts(
        self, row: dict[str, Any], action: Action, person: int, part: str
    ) -> tuple[str, ...]:
        """The usual body parts of a rule; one hand for things with a handle, or one a thing."""
        group = row["body"]
        if group == "hands":
            things = [
                a.object
                for a in self.reading.actions
                if person in a.people and a.verb == action.verb
            ]
            by_handle = is_one_handed(self.assets[action.object].name) and "handle" in part
            if by_handle or len(things) > 1:
                group = "hand"
        return _GROUPS.get(group, (group,))


def _adds_to(named: list[str], rows: list[dict[str, Any]]) -> bool:
    """Whether the named body parts have no part in this (hands named while sitting)."""
    kinds = {part.split("_")[-1] for part in named}
    usual = {part for row in rows for part in _GROUPS.get(row["body"], (row["body"],))}
    return not named or (kinds == {"hand"} and not any("hand" in part for part in usual))


def _object_nodes(assets: Sequence[PartedObject], reading: Reading) -> tuple[AffordanceObject, ...]:
    rules = library()["verbs"]
    moving = {a.object for a in reading.actions if rules[a.verb]["moves"]}
    for relation in reading.relations:  # what stands on a moving thing moves with it
        if relation.phase == "throughout" and relation.lower in moving:
            moving.add(relation.upper)
    return tuple(
        AffordanceObject(
            name=asset.name,
            parts=asset.part_names or (WHOLE_PART,),
            is_translational=o in moving,
            is_rotational=o in moving,
            description=f"the {asset.name}",
        )
        for o, asset in enumerate(assets)
    )


def _video_prompt(text: str) -> str:
    words = text.split()[: MAX_VIDEO_PROMPT_WORDS - len(VIDEO_SUFFIX.split())]
    return f"{' '.join(words).rstrip('.')}. {VIDEO_SUFFIX}"


def _check_names(assets: Sequence[PartedObject]) -> None:
    names = [asset.name for asset in assets]
    if not names:
        raise UserError("there is no object; give at least one with --objects")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(
            f"several objects are called {', '.join(map(repr, repeated))}; name them apart, as in "
            f"'{repeated[0]} 1' and '{repeated[0]} 2'"
        )


def _is_support(part: str) -> bool:
    return any(word in part.lower() for word in library()["support_parts"])


def _verb_of_contacts(body_parts: Sequence[str], node: AffordanceObject) -> str:
    """The verb that a graph alone suggests for one person's contacts with one object."""
    assert set(body_parts) <= set(BODY_PARTS)
    kinds = {part.split("_")[-1] for part in body_parts}
    moves = node.is_translational or node.is_rotational
    if "hips" in kinds:
        return "ride" if moves else "sit"
    if kinds <= {"foot", "leg"}:
        if not moves:
            return "step on"
        return "ride" if len(body_parts) > 1 else "kick"
    if sorted(kinds) == ["hand", "head"] and len(body_parts) == 2:
        return "drink"
    return "carry" if node.is_translational else "hold"
