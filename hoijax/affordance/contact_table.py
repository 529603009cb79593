"""The contacts of a Part Affordance Graph as integer tables: names are looked up here, once."""

import dataclasses
from collections.abc import Mapping, Sequence
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from hoijax.affordance.graph import (
    BODY_PARTS,
    PartAffordanceGraph,
    PartReference,
    mirrored_body_part,
)
from hoijax.errors import UserError
from hoijax.io.validation import numbered


class ContactKind(IntEnum):
    """What an edge joins."""

    BODY_OBJECT = 0
    OBJECT_OBJECT = 1


@dataclasses.dataclass(frozen=True)
class ContactTable:
    """The edges of a graph as integers, one row an edge, in the graph's order. -1: does not apply.

    Objects are counted in the order of the assets given to `compile_contacts`, parts in the order
    of their asset, people in the order of the graph, body parts in the order of `BODY_PARTS`.
    """

    kind: Int[ndarray, " E"]
    """A `ContactKind`."""
    person: Int[ndarray, " E"]
    body_part: Int[ndarray, " E"]
    mirrored_body_part: Int[ndarray, " E"]
    """The same part of the other side; -1 for head and hips."""
    either_side: Bool[ndarray, " E"]
    """The graph names one side only and leaves the other free: the side that ends up closer
    counts (HOI-PAGE). A video shows that a hand holds the handle, seldom surely which one."""
    object: Int[ndarray, " E"]
    part: Int[ndarray, " E"]
    """-1 also where the object has no labeled parts: the contact is with all of it."""
    other_object: Int[ndarray, " E"]
    other_part: Int[ndarray, " E"]
    is_continuous: Bool[ndarray, " E"]
    is_rel_static: Bool[ndarray, " E"]
    group: Int[ndarray, " E"]
    """Edges of one group are one set of body vertices: both sides of a pair on the same object
    part, with the same flags. Counted from 0 without gaps."""
    object_is_translational: Bool[ndarray, " O"]
    object_is_rotational: Bool[ndarray, " O"]

    @property
    def edge_count(self) -> int:
        return len(self.kind)

    @property
    def group_count(self) -> int:
        return int(self.group.max()) + 1 if len(self.group) else 0


def compile_contacts(
    graph: PartAffordanceGraph, part_names: Mapping[str, Sequence[str]]
) -> ContactTable:
    """Turn names into indices, once.

    part_names: part names of every asset, by object name, in the order of the scene's objects.
    Raises UserError listing every name that the assets do not have.
    """
    problems = graph.check_against(part_names)
    if problems:
        raise UserError(
            f"the part affordance graph does not fit the objects:\n{numbered(problems)}"
        )
    object_index = {name: i for i, name in enumerate(part_names)}
    person_index = {node.name: i for i, node in enumerate(graph.people)}
    rows = []
    for edge in graph.edges:
        ends = sorted((edge.first, edge.second), key=lambda end: end.entity not in person_index)
        body, target = (ends[0], ends[1]) if ends[0].entity in person_index else (None, ends[0])
        other = None if body else ends[1]
        part = BODY_PARTS.index(body.part) if body else -1
        mirror = mirrored_body_part(BODY_PARTS[part]) if body else None
        rows.append(
            {
                "kind": ContactKind.BODY_OBJECT if body else ContactKind.OBJECT_OBJECT,
                "person": person_index[body.entity] if body else -1,
                "body_part": part,
                "mirrored_body_part": BODY_PARTS.index(mirror) if mirror else -1,
                "object": object_index[target.entity],
                "part": _part_index(target, part_names),
                "other_object": object_index[other.entity] if other else -1,
                "other_part": _part_index(other, part_names) if other else -1,
                "is_continuous": edge.is_continuous,
                "is_rel_static": edge.is_rel_static,
            }
        )
    nodes = {node.name: node for node in graph.objects}
    columns = {
        name: np.array([row[name] for row in rows], bool if name.startswith("is_") else np.int32)
        for name in rows[0]
    }
    return ContactTable(
        **columns,
        either_side=_either_side(columns),
        group=_groups(columns),
        object_is_translational=np.array([nodes[n].is_translational for n in part_names], bool),
        object_is_rotational=np.array([nodes[n].is_rotational for n in part_names], bool),
    )


def _part_index(end: PartReference, part_names: Mapping[str, Sequence[str]]) -> int:
    """-1, the whole object, where its mesh has no labeled parts."""
    known = part_names[end.entity]
    return list(known).index(end.part) if known else -1


def _either_side(columns: Mapping[str, ndarray]) -> Bool[ndarray, " E"]:
    """A sided body part whose other side no edge of that person uses: it is free to stand in."""
    used = set(zip(columns["person"].tolist(), columns["body_part"].tolist(), strict=True))
    mirrored = zip(columns["person"].tolist(), columns["mirrored_body_part"].tolist(), strict=True)
    return np.array([side >= 0 and (who, side) not in used for who, side in mirrored], bool)


def _groups(columns: Mapping[str, ndarray]) -> Int[ndarray, " E"]:
    """Group ids: the left and the right of a pair on one object part share one."""
    ids: dict[tuple[int, ...], int] = {}
    groups = []
    for i in range(len(columns["kind"])):
        side, mirror = int(columns["body_part"][i]), int(columns["mirrored_body_part"][i])
        pair = min(side, mirror) if mirror >= 0 else side
        names = ("kind", "person", "object", "part", "other_object", "other_part")
        flags = (int(columns["is_continuous"][i]), int(columns["is_rel_static"][i]))
        key = (*(int(columns[name][i]) for name in names), pair, *flags)
        groups.append(ids.setdefault(key, len(ids)))
    return np.array(groups, np.int32)
