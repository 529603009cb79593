"""What a sentence says about places, numbers and other actions that no motion shows.

Each function gives reasons, for people. They stop a motion from being made, not a graph from being read:
a video model may well show what rules cannot.
"""

from collections.abc import Sequence
from itertools import pairwise

from priors.language.nouns import compact_name
from priors.language.part_words import BODY_NOUNS
from priors.language.sentence import (
    CATCHING,
    DETERMINERS,
    FORWARD,
    NUMBERS,
    ON,
    PREPOSITIONS,
    Words,
    departures,
    library,
    singular,
)

PLACES = {"under", "below", "beneath", "underneath", "behind", "between", "inside", "into", "out"}
"""Where nothing is put by rules: they put things on top."""
BESIDE = {"next", "beside", "near", "front", "around", "by", "past"}
"""Where objects that nothing happens with may stand."""
UPON = {None, *ON, *FORWARD, "from", "off"} - PLACES
"""What one sits, rides and stands."""
SPOKEN = {"out": "out of", "next": "next to", "front": "in front of"}
CANOPIES = ("umbrella", "parasol")
PUT_WORDS = {"put", "place", "set", "lay", "stack", "load", "deliver", "lower"}
TO_AND_FRO = ({"back", "forth"}, {"to", "fro"})
SWAYING = ("swing", "sweep", "play")
"""Verbs whose motion goes to and fro."""
REPEATED = {"times", "twice", "thrice", "again", "repeatedly", "alternately"}
OVERHEAD = {"over", "above"}
LIFTED = ("lift",)
"""Verbs that end overhead where the sentence says so."""
STAYING = ("walk", "stroll", "wander", "stand", "look", "smile", "turn", "wait", "stay", "stop", "go", "move", "step",
           "come", "bend", "crouch", "squat", "straighten", "watch", "talk", "wear", "begin", "start",
           "continue", "keep", "run", "approach", "lean", "rest", "relax", "pause", "does")  # fmt: skip
"""Of what one does beside an action: it is passed over, and told."""
ARTICLES = {"a", "an", "the"}
MORE_BODY_NOUNS = {"tooth", "teeth", "hair", "face", "nose", "finger", "mouth"}
USED = {"hand": "hands", "hands": "hands", "foot": "feet", "feet": "feet"}


def places(words: Words, owners: list[list[int]], used: set[int]) -> list[str]:
    """Objects somewhere else than on top of something, and those that nothing happens with.

    owners: objects of each clause; used: objects of some action or of a relation.
    """
    reasons = []
    for o, positions in enumerate(words.mentions):
        for position in positions:
            clause = words.clause_of(position)
            preposition = words.preposition(position)
            verb, noun = words.verbs[clause], words.tokens[position]
            somewhere = PLACES | (BESIDE if verb.word in PUT_WORDS else set())
            is_support = library()["verbs"][verb.verb].get("is_support")
            if is_support and o in owners[clause] and preposition not in UPON:
                where = f"{SPOKEN.get(preposition or '', preposition)} the {noun}"
                reasons.append(f"{where!r}: {verb.word!r} is animated on things")
            elif o not in owners[clause] and preposition in ("around", "past"):
                reasons.append(f"{f'{preposition} the {noun}'!r}: no such path is planned")
            elif o not in owners[clause] and _is_under_limbs(words, position):
                reasons.append(f"{noun!r}: limbs are not put on other objects")
            elif o not in owners[clause] and preposition in somewhere:
                where = f"{SPOKEN.get(preposition or '', preposition)} the {noun}"
                reasons.append(f"{where!r}: things are put on top of others, and taken from there")
            elif o not in used and preposition not in BESIDE:
                reasons.append(f"{noun!r}: nothing happens with it; say what does")
    return reasons


def _is_under_limbs(words: Words, position: int) -> bool:
    """'with feet on the chair'."""
    before = words.tokens[max(0, position - 4) : position]
    return any(
        {word, singular(word)} & {*BODY_NOUNS} and after in ON for word, after in pairwise(before)
    )


def beside_limbs(words: Words) -> list[str]:
    """'Holds it between the knees'."""
    reasons = []
    for i, token in enumerate(words.tokens):
        where = {"between", "behind", "below", "beneath"} & {*words.tokens[max(0, i - 2) : i]}
        if where and {token, singular(token)} & {*BODY_NOUNS}:
            reasons.append(f"'{where.pop()} {token}': things are held in the hands")
    return reasons


def is_overhead(words: Words) -> bool:
    """Whether the sentence says "over the head" or "overhead"."""
    heads = [i for i, token in enumerate(words.tokens) if token == "head"]
    is_said = any(OVERHEAD & set(words.tokens[max(0, i - 2) : i]) for i in heads)
    return is_said or "overhead" in words.tokens


def overhead(words: Words, actions: Sequence[tuple[str, str]]) -> list[str]:
    """What is held over the head by a motion that does not do that. actions: verbs, names of objects."""
    if not is_overhead(words):
        return []
    return [
        f"'overhead': what people {verb} stays before them"
        for verb, name in actions
        if verb not in LIFTED and not compact_name(name).endswith(CANOPIES)
    ]


def counts(words: Words) -> list[str]:
    """More things of a kind than meshes, and actions that are to be repeated."""
    reasons = [f"{t!r}: actions are not repeated" for t in words.tokens if t in REPEATED]
    if not any(verb.verb in SWAYING for verb in words.verbs):
        said = {*words.tokens}
        reasons += ["'back and forth': things go one way" for pair in TO_AND_FRO if pair <= said]
    for verb, following in zip(words.verbs, _clauses(words), strict=True):
        if verb.verb in ("throw", "kick") and "back" in following[:3]:
            reasons.append(f"'{verb.word} back': what is thrown or kicked does not come back")
    for position in sorted({p for positions in words.mentions for p in positions}):
        asked = [NUMBERS[t] for t in words.tokens[max(0, position - 2) : position] if t in NUMBERS]
        noun = words.tokens[position]
        given = sum(any(words.tokens[p] == noun for p in positions) for positions in words.mentions)
        if not asked and given > 1 and noun == singular(noun):
            reasons.append(f"'the {noun}': {given} meshes are called so; say 'the {given} {noun}s'")
        if asked and asked[-1] > given:
            reasons.append(f"'{asked[-1]} {noun}': {given} mesh is given; give one for each")
    return reasons


def _clauses(words: Words) -> list[list[str]]:
    """What follows each verb, up to the next."""
    ends = [verb.position for verb in words.verbs[1:]] + [len(words.tokens)]
    return [
        words.tokens[verb.position + 1 : end] for verb, end in zip(words.verbs, ends, strict=True)
    ]


def passing_on(words: Words, receivers: Sequence[int]) -> list[str]:
    """What is done towards somebody, or caught by somebody, and is not thrown there."""
    if any(verb.verb == "throw" for verb in words.verbs):
        return []
    catchers = [
        f"'{mention.noun} catches': say that it is thrown to the {mention.noun}"
        for mention in words.people
        if set(mention.people) & set(receivers)
        and CATCHING & set(words.tokens[mention.position + 1 : mention.position + 3])
    ]
    return catchers + [
        f"'to {mention.noun}': only what is thrown arrives at somebody"
        for mention in words.people
        if set(mention.people) & set(receivers)
        and words.preposition(mention.position) in ("to", "toward", "towards", "for")
    ]


def other_actions(words: Words) -> list[str]:
    """Verbs that no rule knows, after a person or 'and', or before an object: 'dances', 'opens it'."""
    reasons = []
    read = words.stops | {i for positions in departures(words).values() for i in positions}
    after = {"and", "then", "while"}
    people = {mention.position for mention in words.people}
    for i, token in enumerate(words.tokens):
        before = words.tokens[i - 1] if i else ""
        is_rising = token.startswith(("stand", "stood", "get", "got"))
        is_unknown = i not in read and token.endswith(("s", "ing", "ed")) and len(token) > 3
        following = words.tokens[i + 1] if i + 1 < len(words.tokens) else ""
        is_acting = i - 1 in people or following in ARTICLES | {"it", "them"}
        if before not in after and not (is_acting and is_unknown and before not in PREPOSITIONS):
            continue
        if not (is_unknown or (is_rising and i not in read)):
            continue
        is_seated = any(verb.verb == "sit" for verb in words.verbs)
        if token.startswith(STAYING) and not (is_rising and is_seated):
            continue
        if token.startswith("catch") and {"throw", "play"} & {verb.verb for verb in words.verbs}:
            continue
        if token not in DETERMINERS | PREPOSITIONS | set(NUMBERS):
            reasons.append(f"{token!r}: this action is not known")
    return reasons


def own_limbs(words: Words) -> list[str]:
    """Limbs that are moved themselves: 'raises both arms'."""
    between = DETERMINERS | {"both", "two", "left", "right"}
    reasons = []
    for verb in words.verbs:
        i = verb.position + 1
        while words.tokens[i : i + 1] and words.tokens[i] in between:
            i += 1
        noun = words.tokens[i] if i < len(words.tokens) else ""
        is_limb = {noun, singular(noun)} & {*BODY_NOUNS, *MORE_BODY_NOUNS}
        if is_limb and i not in words.stops:
            reasons.append(f"{f'{verb.word} {noun}'!r}: limbs move with objects here")
    return reasons


def body_parts(actions: Sequence[tuple[str, str]]) -> list[str]:
    """Body parts that an action is not done with. actions: verbs with the parts that the text names."""
    reasons = []
    for verb, part in actions:
        entry = library()["verbs"][verb]
        with_what = [USED[c["body"]] for c in entry["contacts"] if c["body"] in USED]
        named = {"hand": "hands", "foot": "feet"}.get(part.rsplit("_", 1)[-1], part)
        if not entry.get("is_support") and with_what and named not in with_what:
            spoken = part.replace("_", " ")
            reasons.append(f"{spoken!r}: people {verb} with their {with_what[0]}")
    return reasons


def reasons(
    words: Words,
    owners: list[list[int]],
    used: set[int],
    receivers: Sequence[int],
) -> list[str]:
    """Places, numbers, people and actions that the words name and no motion shows."""
    return [
        *places(words, owners, used),
        *counts(words),
        *passing_on(words, receivers),
        *other_actions(words),
        *own_limbs(words),
        *beside_limbs(words),
    ]
