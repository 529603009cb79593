"""Contacts between bodies and objects, told one by one: the graph's edges without a graph."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hoijax.affordance.contact_table import ContactKind, ContactTable
from hoijax.affordance.graph import BODY_PARTS
from hoijax.errors import UserError

__all__ = ["Contact", "contact_table"]


@dataclass(frozen=True)
class Contact:
    """A body part, or an object, that touches an object."""

    first: str
    """A body part (`hoijax.bodies.BODY_PARTS`), or the name of an object."""
    second: str
    """The name of an object."""
    part: str | None = None
    """Part of the second; None: all of it."""
    person: int = 0
    always: bool = True
    """In every frame; False: in the best frame."""
    sliding: bool = False
    """The two may move against each other while they touch."""


def contact_table(
    contacts: Sequence[Contact], objects: Sequence[tuple[str, Sequence[str]]], people: int
) -> ContactTable:
    """Names to indices, once. objects: (name, part names). Raises UserError for names not among them."""
    names = [name for name, _ in objects]
    rows = [_row(contact, names, objects, people) for contact in contacts]
    columns = {key: np.array([row[key] for row in rows], np.int32) for key in rows[0]}
    count = len(contacts)
    return ContactTable(
        **columns,
        mirrored_body_part=np.full(count, -1, np.int32),
        either_side=np.zeros(count, bool),
        other_part=np.full(count, -1, np.int32),
        is_continuous=np.array([contact.always for contact in contacts]),
        is_rel_static=np.array([not contact.sliding for contact in contacts]),
        group=np.arange(count, dtype=np.int32),
        object_is_translational=np.ones(len(names), bool),
        object_is_rotational=np.ones(len(names), bool),
    )


def _row(
    contact: Contact,
    names: Sequence[str],
    objects: Sequence[tuple[str, Sequence[str]]],
    people: int,
) -> dict[str, int]:
    if contact.second not in names:
        raise UserError(f"{contact}: no object '{contact.second}'. Objects: {', '.join(names)}.")
    target = names.index(contact.second)
    parts = objects[target][1]
    if contact.part is not None and contact.part not in parts:
        raise UserError(
            f"{contact}: no part '{contact.part}'. Parts: {', '.join(parts) or 'none'}."
        )
    row = {
        "object": target,
        "part": -1 if contact.part is None else list(parts).index(contact.part),
    }
    if contact.first in BODY_PARTS:
        if not 0 <= contact.person < people:
            raise UserError(f"{contact}: the scene has {people} bodies; give body=.")
        kind, part = ContactKind.BODY_OBJECT, BODY_PARTS.index(contact.first)
        return row | {
            "kind": kind,
            "person": contact.person,
            "body_part": part,
            "other_object": -1,
        }
    if contact.first not in names or contact.first == contact.second:
        known = ", ".join([*BODY_PARTS, *(name for name in names if name != contact.second)])
        raise UserError(
            f"{contact}: no body part or other object '{contact.first}'. Known: {known}."
        )
    other = names.index(contact.first)
    return row | {
        "kind": ContactKind.OBJECT_OBJECT,
        "person": -1,
        "body_part": -1,
        "other_object": other,
    }
