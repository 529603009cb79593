"""Simple language rules: who does what with which object, from one English sentence.

No parser and no model: words are looked up in `priors/data/pag_library.json`, and their order
decides. It reads the sentences people type at a command line; what it cannot read it refuses.
"""

import functools
import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import Any

NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "couple": 2, "both": 2}
NUMBERS |= {
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "dozen": 12,
    "hundred": 100,
    "thousand": 1000,
}
DETERMINERS = {"a", "an", "the", "his", "her", "their", "its", "this", "that", "my", "your", "our"}
DETERMINERS |= {"some", "one"}
FORWARD = {"with", "using"}
ON = {"on", "onto", "upon", "atop", "in", "into", "inside"}
OFF = {"from", "off", "out"}
NEAR = {"at", "to", "toward", "towards", "near", "beside", "behind", "under", "below", "beneath"}
NEAR |= {"around", "against", "by", "next", "front", "past", "through", "across", "over", "along"}
PREPOSITIONS = FORWARD | ON | OFF | NEAR


@functools.cache
def library() -> dict[str, Any]:
    """The word lists and rules; read once."""
    path = resources.files("priors") / "data" / "pag_library.json"
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class VerbMention:
    """One known verb of a sentence."""

    verb: str
    """The canonical verb, a key of the library."""
    word: str
    """The base form of the word that was found, such as 'put' for 'carry'."""
    position: int


@dataclass(frozen=True)
class PersonMention:
    """A noun for one or more people."""

    people: tuple[int, ...]
    position: int
    noun: str


def tokenize(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?|\d+", text.lower())


CATCHING = {"catch", "catches", "catching", "caught"}
UPWARDS = re.compile(
    r"(?:up )?(?:high )?(?:(?:in|into|through|to) the (?:air|sky)|upwards?)(?= |$)"
)
RISES = {"throw", "play", "lift"}
"""Verbs whose object may go up."""


def with_plain_up(tokens: list[str]) -> list[str]:
    """'throws it into the air', 'throws it upwards' as 'throws up it'; of other verbs it stays as it is."""
    verbs = find_verbs(tokens)
    if not verbs:
        return tokens
    ends = [verb.position for verb in verbs[1:]] + [len(tokens)]
    plain = tokens[: verbs[0].position]
    for verb, end in zip(verbs, ends, strict=True):
        word, *rest = tokens[verb.position : end]
        others, count = UPWARDS.subn("", " ".join(rest))
        rises = count > 0 and verb.verb in RISES
        plain = [*plain, word, *(["up", *others.split()] if rises else rest)]
    return plain


def singular(word: str) -> str:
    """'boxes' -> 'box', 'tables' -> 'table'; other words unchanged."""
    if re.search(r"(x|ch|sh|ss)es$", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def inflections(verb: str) -> set[str]:
    """Forms of an English verb: base, third person, participles, and the irregular ones."""
    forms = {verb, *library()["irregular"].get(verb, [])}
    if re.search(r"[^aeiou]y$", verb):
        forms |= {verb[:-1] + "ies", verb[:-1] + "ied", verb + "ing"}
    elif verb.endswith("e"):
        forms |= {verb + "s", verb + "d", verb[:-1] + "ing"}
    elif re.fullmatch(r"[^aeiou]*[aeiou][bdgmnprt]", verb):  # sit, drag, mop: the last is doubled
        forms |= {verb + "s", verb + verb[-1] + "ing", verb + verb[-1] + "ed"}
    else:
        ending = "es" if re.search(r"(s|x|ch|sh)$", verb) else "s"
        forms |= {verb + ending, verb + "ing", verb + "ed"}
    return forms


@functools.cache
def _verb_forms() -> dict[str, list[tuple[str, str, tuple[str, ...]]]]:
    """first word's form -> (canonical verb, phrase, the words that must follow), longest first."""
    table: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {}
    for verb, entry in library()["verbs"].items():
        for phrase in entry["words"]:
            first, *rest = phrase.split()
            for form in inflections(first):
                table.setdefault(form, []).append((verb, phrase, tuple(rest)))
    for entries in table.values():
        entries.sort(key=lambda entry: -len(entry[2]))
    return table


def known_verb_forms() -> tuple[str, ...]:
    """First words of all forms of all known verbs."""
    return tuple(_verb_forms())


def find_verbs(tokens: list[str]) -> list[VerbMention]:
    """Known verbs in order. A word after a determiner is a noun ('a drink'), unless nothing else is
    left to be the verb ('a barbell lift')."""
    mentions, nouns = [], []
    for i, token in enumerate(tokens):
        for verb, phrase, rest in _verb_forms().get(token, []):
            if _follows(tokens, i, rest):
                is_noun = i > 0 and tokens[i - 1] in DETERMINERS and not _is_somebody(tokens, i - 1)
                (nouns if is_noun else mentions).append(VerbMention(verb, phrase, i))
                break
    return mentions or nouns


def _follows(tokens: list[str], i: int, rest: tuple[str, ...]) -> bool:
    """Whether the other words of a phrase follow; a particle may stand after a short object."""
    if not rest:
        return True
    if len(rest) == 1:  # 'picks the heavy box up', but no preposition in between
        window = tokens[i + 1 : i + 6]
        between = window[: window.index(rest[0])] if rest[0] in window else None
        limit = 4 if rest[0] == "up" else 1  # 'steps slowly on'
        return between is not None and len(between) <= limit and not PREPOSITIONS & set(between)
    return tuple(tokens[i + 1 : i + 1 + len(rest)]) == rest


def find_people(tokens: list[str]) -> list[PersonMention]:
    """Nouns for people, each with the indices of the people it introduces or refers to."""
    mentions: list[PersonMention] = []
    count = 0
    for i, token in enumerate(tokens):
        before = tokens[max(0, i - 3) : i]
        if token in library()["person_words"].split():
            noun, number = token, 1
        elif token in library()["people_words"].split():
            noun, number = token, 2
            if token == "couple" and tokens[i + 1 : i + 2] == ["of"]:
                continue  # counts the noun that follows
            for word in before:
                number = NUMBERS.get(word, int(word) if word.isdigit() else number)
        elif token in ("they", "we") and not mentions:
            noun, number = "people", 2
        elif _is_somebody(tokens, i):
            noun, number = mentions[-1].noun if mentions else "person", 1
        else:
            continue
        known = [m for m in mentions if singular(m.noun) == singular(noun)]
        if token == "one" and known and len(known[-1].people) > 1:  # two people: one ...
            group = known[-1]
            mentions[-1] = PersonMention(group.people[:1], i, noun)
            continue
        others = [p for p in range(count) if p != mentions[0].people[0]] if mentions else []
        if "other" in (token, *before) and others:
            mentions.append(PersonMention((others[-1],), i, noun))
            continue
        if before[-1:] == ["the"] and "other" not in (token, *before) and known:
            mentions.append(PersonMention(known[-1].people, i, noun))
            continue
        mentions.append(PersonMention(tuple(range(count, count + number)), i, noun))
        count += number
    return mentions


def _is_somebody(tokens: list[str], i: int) -> bool:
    """Whether 'one', 'another' or 'the other' stands for a person: a verb follows."""
    following = tokens[i + 1 : i + 2]
    acts = [w for w in following if w == "is" or (w in _verb_forms() and w.endswith(("s", "ing")))]
    is_other = tokens[i] == "other" and tokens[i - 1 : i] == ["the"]
    return bool(acts) and (tokens[i] in ("one", "another") or is_other)


def preposition_before(tokens: list[str], position: int, stops: set[int]) -> str | None:
    """The preposition a noun hangs on, over its determiner and adjectives; None for a direct object.

    stops: positions of verbs and other nouns, which end the phrase.
    """
    for i in range(position - 1, max(-1, position - 7), -1):
        if tokens[i] == "top" and i > 0 and tokens[i - 1] == "on":
            return "on"
        if (
            tokens[i] == "to"
            and i > 0
            and tokens[i - 1] in ("next", "close", "closer", "near", "nearer")
        ):
            return "next"
        if tokens[i] in PREPOSITIONS:
            return tokens[i]
        if i in stops or tokens[i] in ("and", "then", "while"):
            return None
    return None


@dataclass(frozen=True)
class Words:
    """A sentence taken apart."""

    tokens: list[str]
    verbs: list[VerbMention]
    people: list[PersonMention]
    mentions: list[list[int]]
    """Positions where each object is mentioned."""

    @property
    def stops(self) -> set[int]:
        nouns = {position for positions in self.mentions for position in positions}
        return nouns | {m.position for m in (*self.verbs, *self.people)}

    def preposition(self, position: int) -> str | None:
        return preposition_before(self.tokens, position, self.stops)

    def clause_of(self, position: int) -> int:
        """Index of the last verb at or before a position; the first verb where none is."""
        return max((i for i, v in enumerate(self.verbs) if v.position <= position), default=0)


WALKING = {"walk", "walks", "walking", "walked", "strolls", "strolling", "go", "goes", "going"}
GOING = ("walk", "go", "goes", "going", "run")
AWAY = ("away", "off")
LEAVING = ("leave", "leaves", "leaving")


def departures(words: Words) -> dict[int, tuple[int, ...]]:
    """Positions of 'walks away' and 'leaves' by the clause that they follow."""
    verbs = {verb.position for verb in words.verbs}
    found: dict[int, tuple[int, ...]] = {}
    for i, token in enumerate(words.tokens):
        if i in verbs or words.verbs[0].position > i:
            continue
        following = words.tokens[i + 1 : i + 2]
        if token.startswith(GOING) and following and following[0] in AWAY:
            found[words.clause_of(i)] = (i, i + 1)
        elif token in LEAVING and words.tokens[i - 1] in ("and", "then", "person", "he", "she"):
            found[words.clause_of(i)] = (i,)
    return found
