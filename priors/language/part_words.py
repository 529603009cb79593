"""Which words of a sentence mean which part of the body, or which part of an object."""

from collections.abc import Sequence

from hoijax.affordance.graph import BODY_PARTS, WHOLE_PART
from priors.language.nouns import PartedObject, compact_name, positions_of_name
from priors.language.sentence import FORWARD, ON, Words, singular

EFFECTOR_PREPOSITIONS = {*FORWARD, "by", "in"}
CONTACT_PREPOSITIONS = {*ON, "against", "under", "over"}
BODY_NOUNS = {
    "hand": "hand",
    "palm": "hand",
    "fist": "hand",
    "arm": "arm",
    "elbow": "arm",
    "shoulder": "shoulder",
    "leg": "leg",
    "knee": "leg",
    "foot": "foot",
    "feet": "foot",
    "head": "head",
    "hip": "hips",
}


def find_body_parts(
    words: Words, action_of_clause: list[int]
) -> tuple[tuple[tuple[int, str], ...], tuple[tuple[int, str], ...]]:
    """(parts it is done with, parts the object is on) that the text names, by action."""
    effectors: list[tuple[int, str]] = []
    touched: list[tuple[int, str]] = []
    for i, token in enumerate(words.tokens):
        noun = BODY_NOUNS.get(token) or BODY_NOUNS.get(singular(token))
        before = words.tokens[max(0, i - 2) : i]
        is_owned = bool({"his", "her", "their", "my", "left", "right", "both", "two"} & set(before))
        is_place = before[-1:] in (["the"], ["a"]) and words.tokens[i + 1 : i + 2] != ["of"]
        is_place = is_place and words.tokens[max(0, i - 2)] in CONTACT_PREPOSITIONS | {"with"}
        if noun is None or not (is_owned or is_place or noun == "hand"):
            continue
        parts = [part for part in BODY_PARTS if part == noun or part.endswith(f"_{noun}")]
        sides = [side for side in ("left", "right") if side in before]
        if len(parts) == 2 and sides:
            parts = [f"{side}_{noun}" for side in sides]
        elif len(parts) == 2 and token == singular(token) and token != "feet":
            parts = parts[1:]  # one hand: the right; which one it is stays open in the solver
        action = action_of_clause[words.clause_of(i)]
        preposition = words.preposition(i)
        is_before_verb = i < words.verbs[0].position
        if noun == "hand" or preposition in EFFECTOR_PREPOSITIONS or is_before_verb:
            effectors += [(action, part) for part in parts]
        elif preposition in CONTACT_PREPOSITIONS and (noun, preposition) != ("head", "over"):
            touched += [(action, part) for part in parts]
    return tuple(dict.fromkeys(effectors)), tuple(dict.fromkeys(touched))


def find_object_parts(
    words: Words, objects: Sequence[PartedObject], owners: list[list[int]]
) -> tuple[tuple[int, str], ...]:
    """Object parts named as 'by its legs', 'the handle of the suitcase', 'grips the handle'."""
    tokens, verbs = words.tokens, {v.position for v in words.verbs}
    named: list[tuple[int, str]] = []
    for o, node in enumerate(objects):
        for part in node.part_names or (WHOLE_PART,):
            for i in positions_of_name(tokens, compact_name(part)):
                is_of = tokens[i + 1 : i + 2] == ["of"] and any(
                    i < position <= i + 5 for position in words.mentions[o]
                )
                is_own = i > 0 and o in owners[words.clause_of(i)]
                is_own = is_own and (
                    tokens[i - 1] == "its"
                    or "by" in tokens[max(0, i - 2) : i]
                    or (i > 1 and tokens[i - 1] == "the" and i - 2 in verbs)
                )
                if is_of or is_own:
                    named.append((o, part))
    return tuple(dict.fromkeys(named))
