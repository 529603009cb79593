"""What a sentence asks a guidance for: the interaction, the person alone, the object alone."""

from hoijax.composition.fields.guidance import Prompts
from hoijax.errors import UserError
from priors.language.sentence import (
    DETERMINERS,
    find_people,
    find_verbs,
    library,
    singular,
    tokenize,
)

__all__ = ["object_noun", "read_prompts"]

EXAMPLE = 'Write, for example, "a man sitting on a sofa".'
STANDING = "standing straight with the arms held out to the sides"


def read_prompts(text: str) -> Prompts:
    """The three prompts of a sentence. UserError where it names no person or no object."""
    tokens = tokenize(text)
    people = find_people(tokens)
    if not people:
        raise UserError(
            f"{text!r} names no person. A composition is of one person and one object. {EXAMPLE}"
        )
    count = 1 + max(p for mention in people for p in mention.people)
    if count > 1:
        raise UserError(f"{text!r} names {count} people; a composition is of one. {EXAMPLE}")
    noun = object_noun(text)
    position = people[0].position
    start = next((i for i in range(position, -1, -1) if tokens[i] in DETERMINERS), position)
    human = " ".join(tokens[start : position + 1])
    if tokens[start] not in DETERMINERS:
        human = f"a {human}"
    return Prompts(text, f"{human} {STANDING}", f"{_article(noun)} {noun}")


def object_noun(text: str) -> str:
    """The object of a sentence: a known noun, else the last noun phrase after the verb; UserError."""
    tokens = tokenize(text)
    nouns = {word for words in library()["nouns"].values() for word in words}
    people = {mention.position for mention in find_people(tokens)}
    known = [i for i, t in enumerate(tokens) if singular(t) in nouns and i not in people]
    if known:
        return singular(tokens[known[-1]])
    verbs = find_verbs(tokens)
    after = verbs[-1].position if verbs else max(people, default=-1)
    starts = [i for i in range(after + 1, len(tokens) - 1) if tokens[i] in DETERMINERS]
    starts = [i for i in starts if i + 1 not in people]
    if not starts:
        raise UserError(f"{text!r} names no object that the person acts with. {EXAMPLE}")
    return " ".join(tokens[starts[-1] + 1 :][:3])


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"
