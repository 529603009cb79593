"""Words that no rule reads and that change what is said: unknown places, tools, parts, verbs, people.

An adverb or a color that is passed over leaves the motion what it is, and is only listed. A noun after a
preposition ('against the wall', 'with the crane'), a part that the object does not have ('by its
corner'), a verb ('opens it') or a particle ('over', 'open') does not. Each function gives reasons, for
people, as `priors.language.unsaid` does.
"""

from collections.abc import Sequence
from itertools import pairwise

from hoijax.errors import nearest_hint
from hoijax.objects.usual_sizes import usual_size_of
from priors.language.nouns import PartedObject, compact_name, kind_of
from priors.language.part_words import BODY_NOUNS
from priors.language.sentence import DETERMINERS, PREPOSITIONS, Words, singular

CLAUSE_ENDS = {"and", "then", "while", "who", "which", "that", "as", "but", "so", "when", "because"}
SCENERY = {"room", "kitchen", "garden", "park", "street", "road", "house", "office", "gym", "hall",
           "studio", "field", "court", "stage", "home", "yard", "path", "pavement", "sidewalk", "corridor",
           "garage", "warehouse", "shop", "beach", "lawn", "grass", "carpet", "rain", "snow", "sun",
           "background", "middle", "place", "position", "spot", "way"}  # fmt: skip
"""Where a scene is; nothing of it is shown, and the motion is the same."""
MANNER = {"care", "caution", "effort", "ease", "force", "strength", "power", "joy", "difficulty", "speed",
          "precision", "energy", "smile", "confidence", "hurry", "rush", "silence", "moment", "time",
          "morning", "evening", "night", "once", "last", "least", "distance"}  # fmt: skip
GENERIC = {"thing", "object", "item", "something", "load", "stuff", "everything", "mesh", "model"}
OF_THE_WHOLE = {"top", "side", "edge", "rim", "surface", "pair", "set", "number", "kind", "type", "weight",
                "out", "front", "hold", "all", "each", "one", "both"}  # fmt: skip
"""Before 'of' and after 'by': words for where hands are put anyway, and for no part at all."""
RESULTS = {"open", "shut", "apart", "loose"}
TOPPLING = {"over", "around", "round"}
"""At the end of a clause: 'pushes the chair over'."""
STRUCK = {"hit", "strike"}
PASSIVE = {"is", "are", "was", "were", "gets", "get", "got"}
HELPING = ("help", "assist")


PLACES_OF = {("out", "of"), ("off", "of"), ("top", "of"), ("inside", "of")}
"""Prepositions of two words, before a noun."""
DOING = {"does", "doing", "performs", "performing", "makes", "making"}


def _phrase(words: Words, start: int) -> list[int] | None:
    """Positions of the nouns and adjectives from a position on, up to what begins another phrase.

    None: it ends in an object, a person or a part of the body, and so is read.
    """
    phrase: list[int] = []
    for i in range(start, min(start + 5, len(words.tokens))):
        token = words.tokens[i]
        if i in words.stops and i not in {verb.position for verb in words.verbs}:
            return None
        if token in BODY_NOUNS or singular(token) in BODY_NOUNS:
            return None
        if i in words.stops or token in PREPOSITIONS | CLAUSE_ENDS | {"of"}:
            break
        is_manner = token.endswith("ly") and len(token) > 3
        if token not in DETERMINERS and not is_manner:
            phrase.append(i)
    return phrase


def _is_nameless(node: PartedObject) -> bool:
    """Whether an object's name says nothing of what it is: model.obj."""
    return not kind_of(compact_name(node.name)) and usual_size_of(node.name) is None


def nouns(words: Words, objects: Sequence[PartedObject], ignored: Sequence[int]) -> list[str]:
    """Nouns of things that are not there: 'throws the ball against the wall', 'presses the button'."""
    unnamed = [node for node, where in zip(objects, words.mentions, strict=True) if not where]
    if any(_is_nameless(node) for node in unnamed):
        return []  # the noun may be of that object
    starts = [i for i, t in enumerate(words.tokens) if t in (PREPOSITIONS | {"like"}) - {"by"}]
    first = words.verbs[0].position
    starts = [i for i in starts if i > first or words.tokens[i] != "in"]  # a man in a blue shirt
    starts += [i for i, t in enumerate(words.tokens) if t in DOING]
    starts += [i + 1 for i, pair in enumerate(pairwise(words.tokens)) if pair in PLACES_OF]
    if unnamed:
        starts += [verb.position for verb in words.verbs]
    reasons = []
    for start in sorted(set(starts)):
        phrase = _phrase(words, start + 1) or []
        if not phrase or phrase[-1] not in ignored:
            continue
        spoken = {singular(words.tokens[i]) for i in phrase}
        if spoken & (SCENERY | MANNER | GENERIC):
            continue
        noun = words.tokens[phrase[-1]]
        said = words.tokens[start] if start not in words.stops else ""
        said = f"{words.tokens[start - 1]} of" if said == "of" else said
        hint = nearest_hint(noun, [node.name for node in objects], 0.7)
        reasons.append(f"{f'{said} {noun}'.strip()!r}: no object here is called so{hint}")
    return reasons


def parts(
    words: Words, objects: Sequence[PartedObject], owners: Sequence[Sequence[int]]
) -> list[str]:
    """Parts that an object does not have: 'by its corner', 'half of the box', 'one end of the table'."""
    reasons, tokens = [], words.tokens
    for i, token in enumerate(tokens):
        noun = singular(token)
        if i in words.stops or noun in OF_THE_WHOLE | DETERMINERS | {"hand"}:
            continue
        before = tokens[max(0, i - 2) : i]
        owner = None
        if tokens[i + 1 : i + 2] == ["of"]:
            reach = range(i + 2, i + 6)
            owner = next((o for o, where in enumerate(words.mentions) if {*where} & {*reach}), None)
        elif before[-2:-1] == ["by"] and before[-1] in DETERMINERS:
            owner = next(iter(owners[words.clause_of(i)]), None)
        if owner is None or token in PREPOSITIONS:
            continue
        names = objects[owner].part_names
        if not any(noun in compact_name(name) for name in names):
            has = f"parts {', '.join(names)}" if names else "no named parts"
            reasons.append(f"{token!r}: the {objects[owner].name} has {has}")
    return reasons


def particles(words: Words) -> list[str]:
    """What becomes of the object: 'pulls it open', 'pushes the chair over', 'takes off the hat'."""
    reasons = []
    within = {v.position + 1 for v in words.verbs if len(v.word.split()) > 1}
    for i, token in enumerate(words.tokens):
        following = words.tokens[i + 1] if i + 1 < len(words.tokens) else "and"
        is_adjective = i > 0 and words.tokens[i - 1] in DETERMINERS
        if token in RESULTS and not is_adjective:
            reasons.append(f"{token!r}: objects stay as they are")
        if token in TOPPLING and following in CLAUSE_ENDS and i not in within:
            reasons.append(f"{token!r}: things are not toppled nor turned")
    for verb in words.verbs:
        following = words.tokens[verb.position + 1 :]
        clause = following[: next((k for k, t in enumerate(following) if t in CLAUSE_ENDS), None)]
        for particle in ("on", "off"):
            if verb.word in ("put", "take") and particle in (clause[:1] + clause[-1:]):
                reasons.append(f"'{verb.word} {particle}': clothes are not animated")
    return reasons


def struck(words: Words, owners: Sequence[Sequence[int]], ignored: Sequence[int]) -> list[str]:
    """What is hit, where rules would swing it: 'hits the ball', 'hits a nail with the hammer'."""
    reasons = []
    for verb in words.verbs:
        phrase = _phrase(words, verb.position + 1) or []
        if verb.word in STRUCK and phrase and phrase[-1] in ignored:
            noun = words.tokens[phrase[-1]]
            reasons.append(f"'{verb.word} {noun}': things are swung, not struck")
    for verb, owned in zip(words.verbs, owners, strict=True):
        where = [p for o in owned for p in words.mentions[o] if p > verb.position]
        if verb.word in STRUCK and where and words.preposition(where[0]) is None:
            noun = words.tokens[where[0]]
            reasons.append(
                f"'{verb.word} {noun}': things are swung, not struck; say 'swings the {noun}'"
            )
    return reasons


def moved_people(words: Words, acting: set[int]) -> list[str]:
    """People to whom something is done, and things that both do to 'each other'. acting: people with an action."""
    reasons = []
    for mention in words.people:
        before = [verb for verb in words.verbs if verb.position < mention.position]
        if not before or set(mention.people) & acting:
            continue
        between = set(words.tokens[before[-1].position + 1 : mention.position])
        is_object = not between & (CLAUSE_ENDS | PREPOSITIONS)
        if is_object or words.preposition(mention.position) == "from":
            reasons.append(f"{mention.noun!r}: nobody is moved by others nor has things taken away")
    pairs = set(pairwise(words.tokens))
    if pairs & {("each", "other"), ("one", "another")} and any(
        v.verb == "throw" for v in words.verbs
    ):
        reasons.append("'each other': one throws and another catches; say so")
    return reasons


def passive_people(words: Words) -> list[str]:
    """'A child is pushed by a man': people whom something is done to."""
    reasons = []
    for verb in words.verbs:
        i, earlier = verb.position, words.tokens[: verb.position]
        while earlier and (earlier[-1] in ("being", "been") or earlier[-1].endswith("ly")):
            earlier = earlier[:-1]
        is_active = words.tokens[i].endswith("ing") or verb.verb == "sit"  # 'is seated'
        if is_active or not PASSIVE & {*earlier[-1:]}:
            continue
        before = [m for m in words.people if m.position < i]
        things = [p for positions in words.mentions for p in positions if p < i]
        if before and not [p for p in things if p > before[-1].position]:
            reasons.append(f"'{before[-1].noun}': nobody is moved by others")
    return reasons


def company(words: Words) -> list[str]:
    """Somebody where a thing is carried: 'leaves with a woman'."""
    return [
        f"'{verb.word} {mention.noun}': say what is carried"
        for verb in words.verbs
        for mention in words.people
        if verb.word.endswith(" with")
        and "with" in words.tokens[verb.position : mention.position]
        and not words.stops & {*range(verb.position + 1, mention.position)}
    ]


def stances(words: Words) -> list[str]:
    """'stands on one leg', and actions that begin and do not go on: 'stops carrying'."""
    tokens, reasons = words.tokens, []
    for i, token in enumerate(tokens):
        if token.startswith(HELPING) and i not in words.stops:
            reasons.append(f"{token!r}: say who does it together, as in 'two people lift the box'")
        if token in ("leg", "foot") and tokens[max(0, i - 2) : i] == ["on", "one"]:
            reasons.append(f"'on one {token}': people stand on both")
    for verb in words.verbs:
        before = tokens[verb.position - 1] if verb.position else ""
        if usual_size_of(before) is not None and verb.position - 1 not in words.stops:
            reasons.append(f"'{before} {tokens[verb.position]}': this action is not known")
        if before.startswith(("stop", "quit")) and tokens[verb.position].endswith("ing"):
            reasons.append(f"{before!r}: say what happens, not what ends")
    return reasons


def reasons(
    words: Words,
    objects: Sequence[PartedObject],
    owners: list[list[int]],
    ignored: Sequence[int],
    acting: set[int],
) -> list[str]:
    """Words that no rule reads and that change what is said."""
    return [
        *nouns(words, objects, ignored),
        *parts(words, objects, owners),
        *particles(words),
        *struck(words, owners, ignored),
        *moved_people(words, acting),
        *passive_people(words),
        *company(words),
        *stances(words),
    ]
