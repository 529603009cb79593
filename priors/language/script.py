"""The offline prior for part affordance graphs: common verbs x object parts, by language rules.

`script_from_text` reads a sentence and says who does what with which object (a `Script`, for the
choreographer), with the part affordance graph that follows from it. `script_from_graph` makes the
same of a graph given by hand or by a language model. No weights, no network, no randomness.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hoijax.affordance.graph import (
    BODY_PARTS,
    MAX_VIDEO_PROMPT_WORDS,
    WHOLE_PART,
    AffordanceObject,
    AffordancePerson,
    PartAffordanceGraph,
)
from hoijax.errors import UserError
from hoijax.io.validation import numbered
from priors.language.contact_rules import EdgeCollector
from priors.language.nouns import PartedObject
from priors.language.parser import Action, Reading, Relation, read_sentence
from priors.language.sentence import library

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
    unplayed: tuple[str, ...] = ()
    """What the text says that no motion shows, as reasons."""
    ignored: tuple[str, ...] = ()
    """Words of the text that no rule has read."""

    def summary(self) -> str:
        """What was understood, for people."""
        names = [node.name for node in self.graph.objects]
        nouns = [person.description.removeprefix("a ") for person in self.graph.people]
        lines = []
        for action in self.actions:
            who = " and ".join(f"{nouns[p]} {p + 1}" for p in action.people)
            how = "".join(f", {manner}" for manner in action.manners)
            lines.append(f"{who}: {action.verb} {names[action.object]}{how}")
        busy = {p for action in self.actions for p in action.people}
        if self.verb == "throw":
            catching = [p for p in range(self.person_count) if p not in busy]
            lines += [f"{nouns[p]} {p + 1}: catch {names[self.object]}" for p in catching]
        for relation in self.relations:
            when = {"start": "at the start", "end": "at the end", "throughout": "throughout"}
            lines.append(
                f"{names[relation.upper]} on {names[relation.lower]} {when[relation.phase]}"
            )
        rest = f". Ignored: {', '.join(self.ignored)}" if self.ignored else ""
        return f"understood: {'; '.join(lines)}{rest}"

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
    edges = EdgeCollector(assets, reading)
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
    return Script(
        text, graph, reading.actions, reading.relations, reading.unplayed, reading.ignored
    )


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
    verbs = {a.object: (a.verb, a.word) for a in reversed(reading.actions)} if reading else {}
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
    for (target, person), parts in touches.items():
        verb = _verb_of_contacts(parts, graph.objects[target])
        verb, word = verbs.get(target, (verb, verb))
        actors.setdefault((target, verb, word), []).append(person)
    actions = [Action(v, w, tuple(sorted(p)), target) for (target, v, w), p in actors.items()]
    primary = reading.actions[0].object if reading else actions[0].object
    actions.sort(key=lambda action: action.object != primary)
    if reading:  # the text knows better which way up and when
        stated = {frozenset((r.upper, r.lower)): r for r in reading.relations}
        relations = [stated.get(frozenset((r.upper, r.lower)), r) for r in relations]
    return Script(text, graph, tuple(actions), tuple(dict.fromkeys(relations)))


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
