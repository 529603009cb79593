"""What of a sentence was understood, which words were not, and where that changes what is said.

The rules look for the words they know and pass over the rest. Words that are passed over are listed, so
that nobody takes a scene for more than was read; where one of them turns the meaning round, the sentence
is refused.
"""

from collections.abc import Sequence

from hoijax.errors import UserError, nearest_hint
from hoijax.objects.usual_sizes import USUAL_SIZES, usual_size_of
from priors.language.nouns import PartedObject, compact_name, kind_of
from priors.language.part_words import BODY_NOUNS
from priors.language.sentence import (
    CATCHING,
    DETERMINERS,
    NUMBERS,
    PREPOSITIONS,
    WALKING,
    VerbMention,
    Words,
    departures,
    known_verb_forms,
    library,
    singular,
)
from priors.language.unsaid import is_overhead

NEGATIONS = {"not", "never", "without", "no", "nobody", "neither", "nor", "cannot", "hardly"}
NEGATIONS |= {"refuses", "refuse", "fails", "fail", "unable", "avoids", "avoid", "instead", "none"}
NEGATIONS |= {
    "nothing",
    "except",
    "everything",
    "forgets",
    "forget",
    "rarely",
    "seldom",
    "scarcely",
}
UNREAL = {"almost", "nearly", "barely", "could", "might", "may", "should", "must", "if", "unless"}
UNREAL |= {"about", "pretends", "pretend", "imagines", "maybe", "perhaps"}
"""What may happen, and does not."""
ANIMALS = {
    "dog",
    "cat",
    "horse",
    "cow",
    "bird",
    "monkey",
    "ape",
    "bear",
    "elephant",
    "puppy",
    "kitten",
}
ANIMALS |= {
    "goat",
    "sheep",
    "pig",
    "lion",
    "tiger",
    "rabbit",
    "mouse",
    "donkey",
    "chimpanzee",
    "robot",
}
MOVING_PARTS = {"drawer", "door", "lid", "hinge"}
"""Of rigid meshes these do not move."""
BACKWARDS = {"backward", "backwards"}
DIRECTIONS = {
    "sideways",
    "upwards",
    "downwards",
    "upstairs",
    "downstairs",
    "clockwise",
    "anticlockwise",
}
DIRECTIONS |= {
    "counterclockwise",
    "diagonally",
    "horizontally",
    "vertically",
    "upside",
    "reverse",
    "circle",
    "circles",
    "zigzag",
}
DIRECTIONS |= {"stairs", "staircase", "ramp", "ladder", "hill", "slope", "air"}
ON_FOOT = ("carry", "push", "pull", "drag")
"""Verbs whose motion is a walk: 'walks away carrying it'."""
ORDER = {"before", "after", "until"}
GLUE = {
    "and",
    "then",
    "while",
    "as",
    "who",
    "which",
    "that",
    "is",
    "are",
    "be",
    "being",
    "it",
    "its",
    "of",
}
GLUE |= {
    "he",
    "she",
    "they",
    "them",
    "him",
    "himself",
    "herself",
    "itself",
    "each",
    "other",
    "another",
}
GLUE |= {
    "another's",
    "up",
    "down",
    "for",
    "both",
    "top",
    "away",
    "ground",
    "floor",
    "forward",
    "forwards",
}
GLUE |= {
    "together",
    "where",
    "there",
    "does",
    "do",
    "has",
    "have",
    "was",
    "were",
    "before",
    "first",
}
GLUE |= {"will", "would", "can", "has", "had", "been", "going", "to", "begins", "starts"}
GLUE |= {"gets", "get", "got", "getting", "second", "so", "when", "her", "end", "start"}


def refuse_turned_meaning(text: str, words: Words, objects: Sequence[PartedObject]) -> None:
    """Raises UserError where words that no rule reads turn round what the sentence says."""
    tokens = words.tokens
    names = {compact_name(node.name) for node in objects}
    for token in tokens:
        if (token in NEGATIONS or token.endswith("n't")) and token not in names:
            raise UserError(
                f"{text!r} says what does not happen ({token!r}); say what does. Negations are not read."
            )
        if token in UNREAL and token not in names:
            raise UserError(
                f"{text!r} says what may happen ({token!r}); say what does. Wishes are not read."
            )
        if singular(token) in ANIMALS and singular(token) not in names:
            raise UserError(f"{text!r} speaks of a {singular(token)}: only people are animated.")
    _refuse_other_objects(text, words, objects)
    parts = {compact_name(part) for node in objects for part in node.part_names}
    for token in map(singular, tokens):
        if token in MOVING_PARTS and not any(token in name for name in names | parts):
            raise UserError(
                f"{text!r}: no object here has a {token} that moves. Objects with joints are URDF files, or "
                "the shipped drawer, door, chest, laptop and scissors."
            )


def _refuse_other_objects(text: str, words: Words, objects: Sequence[PartedObject]) -> None:
    """A noun of a known kind that no object has, beside an object of another kind that is not named."""
    unnamed = [node for o, node in enumerate(objects) if not words.mentions[o]]
    known = _nouns()
    taken = {position for positions in words.mentions for position in positions}
    taken |= {verb.position for verb in words.verbs}
    nouns = [
        singular(token)
        for i, token in enumerate(words.tokens)
        if i not in taken and singular(token) in known
    ]
    for node in unnamed:
        usual = usual_size_of(node.name)
        kind = kind_of(compact_name(node.name)) or (usual.noun if usual else "")
        if kind and nouns and kind not in {known[noun] for noun in nouns}:
            raise UserError(
                f"{text!r} speaks of a {nouns[0]}, but the object is {node.name!r}. Give the mesh that is "
                f"meant: --objects {nouns[0]}=FILE, or say {node.name!r}."
            )


def _noun_of_the_object(words: Words, objects: Sequence[PartedObject]) -> list[int]:
    """Where the sentence calls the only object by its one noun, though its file is called model.obj."""
    if len(objects) != 1 or words.mentions[0]:
        return []
    verbs = {verb.position for verb in words.verbs}
    named = [
        i for i, token in enumerate(words.tokens) if i not in verbs and singular(token) in _nouns()
    ]
    return named if len({singular(words.tokens[i]) for i in named}) == 1 else []


def _nouns() -> dict[str, str]:
    """Kind by noun, of all things that rules or usual sizes know."""
    kinds = {word: kind for kind, group in library()["nouns"].items() for word in group}
    return {noun: noun for noun in USUAL_SIZES} | kinds


def unknown_verb_hint(tokens: Sequence[str]) -> str:
    """The nearest known word where some word of a sentence without a verb looks like a misspelt one."""
    known = known_verb_forms()
    others = {*PREPOSITIONS, *DETERMINERS, *library()["person_words"].split()}
    others |= set(BODY_NOUNS) | {word for group in library()["nouns"].values() for word in group}
    hints = []
    for token in tokens:  # people misspell letters within a word, seldom its first
        alike = [form for form in known if form[0] == token[0] and abs(len(form) - len(token)) < 2]
        swapped = [form for form in alike if sorted(form) == sorted(token)]
        if token not in others and token not in known:
            hints.append(nearest_hint(token, swapped, 0.7) or nearest_hint(token, alike, 0.82))
    return next((hint for hint in hints if hint), "")


def unplayed(
    words: Words, dropped: Sequence[VerbMention], touched: Sequence[str], backwards: bool
) -> list[str]:
    """What the sentence says that no motion shows, as reasons."""
    reasons = []
    for i, token in enumerate(words.tokens):
        if token in DIRECTIONS or (token in BACKWARDS and not backwards):
            reasons.append(f"{token!r}: this motion has no such direction")
        if token in ORDER:
            reasons.append(f"{token!r}: say what happens in the order in which it does")
        if token in ("left", "right") and not _is_side_of_body(words.tokens, i):
            reasons.append(f"{token!r}: turns and places to the {token} are not animated")
    reasons += [
        f"{verb.word!r}: of several actions with one object only the last is animated"
        for verb in dropped
    ]
    reasons += [f"{part!r}: things are not carried there" for part in touched]
    return reasons


def _is_side_of_body(tokens: Sequence[str], i: int) -> bool:
    after = tokens[i + 1 : i + 4]
    return any(word in BODY_NOUNS or singular(word) in BODY_NOUNS for word in after)


def ignored_positions(
    words: Words, objects: Sequence[PartedObject], backwards: bool
) -> tuple[int, ...]:
    """Positions of words that no rule has read, in order; articles and the like left out."""
    read = {m.position for m in words.people}
    read |= {i for positions in departures(words).values() for i in positions}
    if any(verb.verb in ON_FOOT for verb in words.verbs):
        read |= {i for i, token in enumerate(words.tokens) if token in WALKING}
    for verb in words.verbs:
        read.add(verb.position)
        rest = set(verb.word.split()[1:])
        read |= {
            i
            for i in range(verb.position, verb.position + 6)
            if words.tokens[i : i + 1] and words.tokens[i] in rest
        }
    for node, positions in zip(objects, words.mentions, strict=True):
        name = compact_name(node.name)
        for position in positions:
            before = range(max(0, position - 3), position)
            read |= {position, *(i for i in before if words.tokens[i] in name)}
    parts = {compact_name(part) for node in objects for part in node.part_names}
    read |= set(_noun_of_the_object(words, objects))
    known = GLUE | DETERMINERS | PREPOSITIONS | set(NUMBERS) | parts | CATCHING
    known |= {"left", "right", "hand", "hands"} | (BACKWARDS if backwards else set())
    known |= {"overhead", "above"} if is_overhead(words) else set()
    return tuple(
        i
        for i, token in enumerate(words.tokens)
        if i not in read
        and token not in known
        and (singular(token) not in known or token == "seconds")
        and token not in BODY_NOUNS
        and singular(token) not in BODY_NOUNS
        and not token.isdigit()
    )
