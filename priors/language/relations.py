"""Which objects stand on others, from the prepositions their nouns hang on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from priors.language import unsaid
from priors.language.nouns import compact_name
from priors.language.sentence import FORWARD, OFF, ON, VerbMention, Words

ALONG_THE_GROUND = {"push", "pull", "drag", "kick"}
"""Verbs of things that stand on the ground, not on what they are pulled from."""
FURNITURE = ("chair", "stool", "bench", "table", "desk", "sofa", "couch", "bed", "cabinet", "shelf")
TAKING = ("lift", "throw")
RELATIVE = {"that", "which", "standing", "lying", "resting"}
HELD_VERBS = ("hold", "drink", "play", "swing")
"""Verbs of what is in the hands for as long as they go on."""


@dataclass(frozen=True)
class Relation:
    """One object stands on (or in) another."""

    upper: int
    lower: int
    phase: Literal["start", "end", "throughout"]


def _is_brought(verb: VerbMention, name: str) -> bool:
    """Whether 'to the table' ends on the table: cups do, chairs stand beside it."""
    stands = any(compact_name(name).endswith(noun) for noun in FURNITURE)
    return verb.verb == "carry" and not stands


def find_relations(words: Words, owners: list[list[int]], names: Sequence[str]) -> list[Relation]:
    """Objects that stand on others, from the prepositions their nouns hang on."""
    relations: list[Relation] = []
    main = {o for group in owners for o in group}
    for o, positions in enumerate(words.mentions):
        for position in positions:
            clause = words.clause_of(position)
            verb, preposition = words.verbs[clause], words.preposition(position)
            partner = next((p for p in owners[clause] if p != o), None)
            if partner is None or o in owners[clause]:
                continue
            phase = None
            if preposition in OFF:
                phase = None if verb.verb in ALONG_THE_GROUND else "start"
            elif preposition == "to" and o not in main and _is_brought(verb, names[partner]):
                phase = "end"
            elif preposition in ON and o not in main:
                is_end = preposition in ("onto", "into") or verb.word in unsaid.PUT_WORDS
                phase = "end" if is_end or verb.verb in TAKING else "throughout"
                is_before = verb.verb in (*TAKING, "carry") and position < verb.position
                if is_before or verb.word == "take":  # 'the box on the table is lifted'
                    phase = "start"
                if verb.verb in TAKING and RELATIVE & {*words.tokens[verb.position : position]}:
                    phase = "start"  # 'lifts the box that stands on the table'
            if phase:
                relations.append(Relation(partner, o, phase))
            elif preposition in FORWARD and words.tokens[position + 1 : position + 2] == ["on"]:
                relations.append(Relation(o, partner, "throughout"))
    return list(dict.fromkeys(relations))


def pushed_upon(
    words: Words, relations: Sequence[Relation], actions: Sequence[tuple[str, int]]
) -> list[str]:
    """Reasons where what stands on something is moved along the ground: 'the box on the table is pushed'."""
    moved = {o for verb, o in actions if verb in ALONG_THE_GROUND}
    first = words.verbs[0].position
    return [
        f"'on the {words.tokens[p]}': things are pushed, pulled and kicked along the ground"
        for r in relations
        if r.upper in moved and r.lower not in moved
        for p in words.mentions[r.lower]
        if p < first
    ]


def held_upon(
    relations: Sequence[Relation], actions: Sequence[tuple[str, int]], names: Sequence[str]
) -> list[str]:
    """Reasons where what is held would stand on something. actions: verb and object of each."""
    held = {o for verb, o in actions if verb in HELD_VERBS}
    return [
        f"'on the {names[r.lower]}': what is held is not on it; say who sits or stands there"
        for r in relations
        if r.phase == "throughout" and r.upper in held
    ]
