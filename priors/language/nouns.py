"""Which words of a sentence mean which object."""

import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Int
from numpy import ndarray

from priors.language.sentence import library, singular


@runtime_checkable
class PartedObject(Protocol):
    """What is used of a `hoijax.objects.Asset`."""

    @property
    def name(self) -> str: ...
    @property
    def part_names(self) -> tuple[str, ...]: ...
    @property
    def sample_parts(self) -> Int[ndarray, " S"]: ...


def find_objects(tokens: list[str], objects: Sequence[PartedObject]) -> list[list[int]]:
    """Positions where each object is mentioned: by its name, else by a word for its kind."""
    names = [compact_name(node.name) for node in objects]
    exact = [positions_of_name(tokens, name) for name in names]
    claimed = {position for positions in exact for position in positions}
    mentions: list[list[int]] = []
    for name, match in zip(names, exact, strict=True):
        kind = kind_of(name)
        synonyms = library()["nouns"].get(kind, [])
        by_kind = [i for i, t in enumerate(tokens) if singular(t) in synonyms and i not in claimed]
        mentions.append(match or by_kind)
    for o in range(len(names)):  # two boxes: the first mention is the first, and so on
        alike = [i for i, m in enumerate(mentions) if m and m == mentions[o] and i >= o]
        if len(alike) > 1 and len(mentions[o]) >= len(alike):
            for position, i in zip(list(mentions[o]), alike, strict=False):
                mentions[i] = [position]
    return mentions


def compact_name(name: str) -> str:
    """'Large-Box.002' and 'large box 2' are 'largebox'."""
    letters = re.sub(r"[^a-z]", "", re.sub(r"[\W_]*\d+$", "", name.lower()))
    return singular(letters)


def positions_of_name(tokens: list[str], name: str) -> list[int]:
    """Positions of the last word of the name, written as one word or several."""
    return [
        i
        for i in range(len(tokens))
        for length in (1, 2, 3, 4)
        if length <= i + 1 and name == "".join(tokens[i + 1 - length : i]) + singular(tokens[i])
    ]


def kind_of(name: str) -> str:
    """The noun group of an object's name: 'largebox' is a box, 'suitcasehull' a suitcase; "" for none."""
    ranked = [
        (name.endswith(word), len(word), kind)
        for kind, words in library()["nouns"].items()
        for word in words
        if word in name
    ]
    return max(ranked)[2] if ranked else ""


def is_one_handed(name: str) -> bool:
    """Whether people take such an object with one hand, by the handle."""
    kind = kind_of(compact_name(name))
    return any(word == kind or word in compact_name(name) for word in library()["one_hand_objects"])
