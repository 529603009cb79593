"""Sentences about joints: who opens or closes which part of an object."""

from collections.abc import Sequence
from dataclasses import dataclass

from hoijax.errors import UserError
from priors.language.nouns import PartedObject, compact_name, find_objects
from priors.language.sentence import (
    DETERMINERS,
    PREPOSITIONS,
    Words,
    find_people,
    find_verbs,
    singular,
    tokenize,
)
from priors.language.understanding import GLUE, ignored_positions, refuse_turned_meaning

OPEN = {"open", "opens", "opening", "opened"}
CLOSE = {"close", "closes", "closing", "closed", "shut", "shuts", "shutting"}
BY_HAND = ("pull", "lift", "push", "hold")
"""Known verbs that may stand beside: 'pulls the drawer open'."""


@dataclass(frozen=True)
class Opening:
    """A joint that a hand moves."""

    link: int
    """Index of the link that moves."""
    closes: bool
    hand: int
    """0 left, 1 right."""
    ignored: tuple[str, ...]
    """Words that no rule has read."""

    def summary(self, name: str) -> str:
        """What was understood, for people. name: of the link."""
        rest = f". Ignored: {', '.join(self.ignored)}" if self.ignored else ""
        verb = "close" if self.closes else "open"
        return f"understood: person 1: {verb} {name}, {('left', 'right')[self.hand]} hand{rest}"


def read_opening(
    text: str, name: str, links: Sequence[PartedObject], moving: Sequence[int]
) -> Opening | None:
    """What a sentence says of the joints of an object; None where it is not about them.

    links: the parts of the object, the first its body. moving: indices of those that can be moved.
    Raises UserError where more is said than one person opening one part.
    """
    tokens = tokenize(text)
    said = [i for i, t in enumerate(tokens) if t in OPEN | CLOSE and not _is_adjective(tokens, i)]
    spoken = {singular(token) for token in tokens} - {"left", "right"}
    own = [compact_name(link.name).removeprefix(compact_name(name)) for link in links]
    named = [i for i in moving if own[i] in spoken]
    whole = [i for i in named if own[i] != compact_name(name)]
    verbs = find_verbs(tokens)
    if not said and not (whole and verbs and all(verb.word in ("pull", "lift") for verb in verbs)):
        return None
    choice = named or list(moving)
    if len(choice) != 1:
        parts = " or ".join(repr(own[i]) for i in moving)
        raise UserError(
            f"{text!r} does not say which part of {name!r} moves: {parts or 'it has no joint that moves'}."
        )
    words = Words(tokens, verbs, find_people(tokens), find_objects(tokens, links))
    refuse_turned_meaning(text, words, links)
    others = [verb.word for verb in verbs if verb.word not in BY_HAND and verb.position not in said]
    people = {person for mention in words.people for person in mention.people}
    if others or len(people) > 1:
        also = repr(others[0]) if others else "several people"
        raise UserError(
            f"{text!r} cannot be animated as it is said. {also}: one person opens or closes one part. Leave "
            "that out, or observe a video (--prior diffusion)."
        )
    read = {compact_name(name), *own, "out", "left", "right", "hand"} | GLUE
    positions = [
        i
        for i in (ignored_positions(words, links, False) if verbs else range(len(tokens)))
        if i not in said
        and singular(tokens[i]) not in read
        and tokens[i] not in DETERMINERS | PREPOSITIONS
        and i not in {mention.position for mention in words.people}
    ]
    return Opening(
        choice[0],
        any(tokens[i] in CLOSE for i in said),
        0 if "left" in tokens else 1,
        tuple(tokens[i] for i in positions),
    )


def _is_adjective(tokens: Sequence[str], i: int) -> bool:
    """'an open box'."""
    return i > 0 and tokens[i - 1] in DETERMINERS
