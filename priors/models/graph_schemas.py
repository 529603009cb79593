"""The two questions whose answers make a Part Affordance Graph: forms, prompts, and what is wrong.

First the inventory: people, and for every object whether it moves, turns, and which parts it has (where
its mesh names none). Then the contacts, in a form that can only name those people, objects and parts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any, Literal, Protocol, Union, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, create_model

from hoijax.affordance.graph import BODY_PARTS, MAX_VIDEO_PROMPT_WORDS, graph_problems
from priors.models.image_choice import prompt_text

__all__ = ["Nodes", "contacts_schema", "inventory_schema", "nodes_of"]

MAX_PEOPLE, MAX_CONTACTS = 4, 12
_PartName = Annotated[str, Field(pattern="^[a-z][a-z -]{1,28}[a-z]$")]
_Words = Annotated[str, Field(min_length=3, max_length=160)]
_VideoPrompt = Annotated[str, Field(min_length=10, max_length=900)]
Sentence = Annotated[str, Field(min_length=3, max_length=300)]


@runtime_checkable
class Meshed(Protocol):
    """What the questions need of an asset."""

    @property
    def name(self) -> str: ...
    @property
    def part_names(self) -> tuple[str, ...]: ...


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class PersonNote(_Form):
    description: _Words


class ObjectNote(_Form):
    """An object whose mesh brings its parts."""

    is_translational: bool
    is_rotational: bool
    description: _Words


class PartedNote(ObjectNote):
    """An object whose parts the model names."""

    parts: Annotated[list[_PartName], Field(min_length=2, max_length=6)]


@dataclass(frozen=True)
class Nodes:
    """The nodes of a graph, before its edges."""

    people: tuple[dict[str, Any], ...]
    objects: tuple[dict[str, Any], ...]

    def data(self) -> dict[str, Any]:
        return {"objects": list(self.objects), "people": list(self.people)}


def example_text() -> str:
    """The in-context examples, as JSON."""
    return (files("priors") / "prompts" / "graph_examples.json").read_text(encoding="utf-8")


# ---- first question


def inventory_schema(assets: Sequence[Meshed]) -> type[BaseModel]:
    """{"people": [...], "objects": {NAME: note}}."""
    fields: dict[str, Any] = {
        f"object_{o}": (ObjectNote if asset.part_names else PartedNote, Field(alias=asset.name))
        for o, asset in enumerate(assets)
    }
    objects = create_model("Objects", __base__=_Form, **fields)
    people = Annotated[list[PersonNote], Field(min_length=1, max_length=MAX_PEOPLE)]
    return create_model("Inventory", __base__=_Form, people=(people, ...), objects=(objects, ...))


def inventory_messages(
    text: str, assets: Sequence[Meshed], examples: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """System prompt, examples, and the question."""
    messages = [{"role": "system", "content": prompt_text("graph_inventory")}]
    for example in examples:
        asked = _inventory_question(example["text"], example["meshes"])
        messages += _turn(asked, example["inventory"])
    meshes = {asset.name: list(asset.part_names) for asset in assets}
    return [*messages, {"role": "user", "content": _inventory_question(text, meshes)}]


def _inventory_question(text: str, meshes: dict[str, list[str]]) -> str:
    lines = [f"Sentence: {text}", "Objects:"]
    for name, parts in meshes.items():
        lines.append(f"- {name}" + (f" (its parts are known: {', '.join(parts)})" if parts else ""))
    return "\n".join(lines)


def nodes_of(inventory: Any, assets: Sequence[Meshed]) -> Nodes:
    """The graph's nodes from a validated inventory; people are numbered."""
    people = tuple(
        {"name": f"person {p + 1}", "description": _cut(note.description, 20)}
        for p, note in enumerate(inventory.people)
    )
    objects = []
    for o, asset in enumerate(assets):
        note = getattr(inventory.objects, f"object_{o}")
        parts = list(asset.part_names) or list(dict.fromkeys(note.parts))
        objects.append(
            {
                "name": asset.name,
                "parts": parts,
                "is_translational": note.is_translational,
                "is_rotational": note.is_rotational,
                "description": _cut(note.description, 20),
            }
        )
    return Nodes(people, tuple(objects))


def _cut(text: str, words: int) -> str:
    return " ".join(text.split()[:words])


# ---- second question


def contacts_schema(nodes: Nodes) -> type[BaseModel]:
    """{"contacts": [...], "video_prompt": ...}, where every name is one of the nodes'."""
    people = tuple(person["name"] for person in nodes.people)
    flags: dict[str, Any] = {"is_continuous": (bool, ...), "is_rel_static": (bool, ...)}
    forms: list[Any] = []
    for o, item in enumerate(nodes.objects):
        fields: dict[str, Any] = {
            "person": (Literal[people], ...),
            "body_part": (Literal[BODY_PARTS], ...),
            "object": (Literal[item["name"]], ...),
            "object_part": (Literal[tuple(item["parts"])], ...),
        }
        forms.append(create_model(f"Touch{o + 1}", __base__=_Form, **fields, **flags))
        for q, other in enumerate(nodes.objects[o + 1 :], start=o + 1):
            pair: dict[str, Any] = {
                "object": (Literal[item["name"]], ...),
                "object_part": (Literal[tuple(item["parts"])], ...),
                "other_object": (Literal[other["name"]], ...),
                "other_part": (Literal[tuple(other["parts"])], ...),
            }
            forms.append(create_model(f"Support{o + 1}_{q + 1}", __base__=_Form, **pair, **flags))
    edge = Union[tuple(forms)] if len(forms) > 1 else forms[0]  # noqa: UP007 - made at run time
    edges = Annotated[list[edge], Field(min_length=1, max_length=MAX_CONTACTS)]
    answer: dict[str, Any] = {"contacts": (edges, ...), "video_prompt": (_VideoPrompt, ...)}
    return create_model("Contacts", __base__=_Form, **answer)


def contacts_messages(
    text: str, nodes: Nodes, examples: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """System prompt, examples, and the question."""
    messages = [{"role": "system", "content": prompt_text("graph_contacts")}]
    for example in examples:
        messages += _turn(
            _contacts_question(example["text"], example["nodes"]), example["contacts"]
        )
    listed = {item["name"]: item["parts"] for item in nodes.objects}
    listed |= {person["name"]: [] for person in nodes.people}
    return [*messages, {"role": "user", "content": _contacts_question(text, listed)}]


def _contacts_question(text: str, nodes: dict[str, list[str]]) -> str:
    lines = [f"Sentence: {text}"]
    lines += [f"- {name}: {', '.join(parts)}" for name, parts in nodes.items() if parts]
    lines += [f"- {name}" for name, parts in nodes.items() if not parts]
    return "\n".join(lines)


def _turn(asked: str, answer: Any) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": json.dumps(answer, separators=(",", ":"))},
    ]


def graph_data(answer: Any, nodes: Nodes) -> dict[str, Any]:
    """The whole graph as plain data. Repeated contacts are said once."""
    edges: dict[frozenset[tuple[str, str]], dict[str, Any]] = {}
    for contact in answer.contacts:
        first = {"entity": contact.object, "part": contact.object_part}
        if hasattr(contact, "person"):
            second = {"entity": contact.person, "part": contact.body_part}
        else:
            second = {"entity": contact.other_object, "part": contact.other_part}
        key = frozenset((end["entity"], end["part"]) for end in (first, second))
        edges.setdefault(
            key,
            {
                "first": first,
                "second": second,
                "is_continuous": contact.is_continuous,
                "is_rel_static": contact.is_rel_static,
            },
        )
    prompt = _cut(answer.video_prompt, MAX_VIDEO_PROMPT_WORDS)
    return {**nodes.data(), "edges": list(edges.values()), "video_prompt": prompt}


def contact_problems(answer: Any, nodes: Nodes) -> list[str]:
    """What the graph's own rules find, and objects and people that nobody has to do with."""
    data = graph_data(answer, nodes)
    problems = graph_problems(data)
    used = {edge[end]["entity"] for edge in data["edges"] for end in ("first", "second")}
    for kind, group in (("object", nodes.objects), ("person", nodes.people)):
        for node in group:
            if node["name"] not in used:
                problems.append(f"contacts: the {kind} {node['name']!r} is in no contact")
    return problems
