"""Problems of a graph that no field has by itself: names that do not agree, impossible edges.

They read raw JSON, so that they are found also where the form is wrong in other places.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def _items(data: Any, key: str) -> list[tuple[int, dict[str, Any]]]:
    """(position, item) of the well-formed dicts of a list; anything else is reported elsewhere."""
    items = data.get(key) if isinstance(data, dict) else None
    items = items if isinstance(items, list | tuple) else []
    return [(i, item) for i, item in enumerate(items) if isinstance(item, dict)]


def _text(item: Any, key: str) -> str | None:
    value = item.get(key) if isinstance(item, dict) else None
    return value.strip() or None if isinstance(value, str) else None


def with_body_part_spelling(data: Any) -> Any:
    """The raw graph with 'Left hand' and 'left-hand' as 'left_hand': models write all three.

    Only at the person's end of an edge; an object may well have a part named "Left-hand grip".
    """
    people = {_text(item, "name") for _, item in _items(data, "people")} - {None}
    if not people:
        return data

    def spelled(edge: Any) -> Any:
        if not isinstance(edge, dict):
            return edge
        ends = {
            key: {**edge[key], "part": "_".join(re.split(r"[\s_-]+", part.lower()))}
            for key in ("first", "second")
            if _text(edge.get(key), "entity") in people and (part := _text(edge[key], "part"))
        }
        return {**edge, **ends}

    edges = data.get("edges")
    if not isinstance(edges, list | tuple):
        return data
    return {**data, "edges": [spelled(edge) for edge in edges]}


def reference_problems(data: Any, body_parts: Sequence[str]) -> list[str]:
    """Names that do not agree: duplicates, unknown entities and parts, impossible edges.

    Reads raw JSON, so that these are found also where the form is wrong in other places.
    """
    problems: list[str] = []
    parts_of: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for key in ("objects", "people"):
        for i, item in _items(data, key):
            name = _text(item, "name")
            if name is None:
                continue
            if name in owner:
                problems.append(f"{key}[{i}].name: {name!r} is already used; make names unique")
                continue
            owner[name] = key
            parts = item.get("parts") if key == "objects" else body_parts
            parts = parts if isinstance(parts, list | tuple) else []
            parts_of[name] = [part.strip() for part in parts if isinstance(part, str)]
            for j, part in enumerate(parts_of[name]):
                if part in parts_of[name][:j]:
                    problems.append(f"{key}[{i}].parts[{j}]: {part!r} is listed twice")
    return problems + _edge_problems(data, owner, parts_of)


def _edge_problems(
    data: Any, owner: Mapping[str, str], parts_of: Mapping[str, list[str]]
) -> list[str]:
    problems: list[str] = []
    seen: dict[frozenset[tuple[str, str]], int] = {}
    held: dict[tuple[str, str], tuple[str, int]] = {}  # body part in continuous contact -> object
    for i, edge in _items(data, "edges"):
        ends = []
        for key in ("first", "second"):
            entity, part = _text(edge.get(key), "entity"), _text(edge.get(key), "part")
            place = f"edges[{i}].{key}"
            if entity is not None and entity not in owner:
                problems.append(
                    f"{place}.entity: {unknown_name(entity, 'object or person', owner)}"
                )
            elif entity is not None and part is not None:
                is_person = owner[entity] == "people"
                kind = "body part" if is_person else f"part of {entity!r}"
                if part not in parts_of[entity]:
                    problems.append(f"{place}.part: {unknown_name(part, kind, parts_of[entity])}")
                ends.append((entity, part))
        if len(ends) < 2:
            continue
        people = [end for end in ends if owner[end[0]] == "people"]
        if len(people) == 2 or ends[0][0] == ends[1][0]:
            problems.append(
                f"edges[{i}]: joins {ends[0][0]!r} with {ends[1][0]!r}; an edge is an object part "
                "with a body part, or with a part of another object"
            )
            continue
        pair = frozenset(ends)
        if pair in seen:
            problems.append(f"edges[{i}]: repeats edges[{seen[pair]}]; remove one")
        seen.setdefault(pair, i)
        if people and edge.get("is_continuous") is True:
            object_name = next(end[0] for end in ends if end not in people)
            other, j = held.setdefault(people[0], (object_name, i))
            if other != object_name:
                problems.append(
                    f"edges[{i}]: {people[0][1]} of {people[0][0]!r} touches {object_name!r} throughout, "
                    f"and in edges[{j}] {other!r}; set is_continuous to false in one, or use "
                    "another body part"
                )
    return problems


def unknown_name(name: str, kind: str, known: Iterable[str]) -> str:
    """What is wrong with a name that is none of the known ones, and the one that is meant."""
    known = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{name!r} is no known {kind}; {hint}known: {', '.join(known) or 'none'}"
