"""What is said to come after: walking away from what was put down, and motions that are not joined."""

from collections.abc import Sequence

from priors.language.sentence import Words, departures, library
from priors.language.unsaid import PUT_WORDS

AT_ONCE = {"while", "as"}


def reasons(
    words: Words, subjects: Sequence[tuple[int, ...]], owners: Sequence[Sequence[int]]
) -> list[str]:
    """Sequences that no motion shows.

    subjects, owners: people and objects of each clause.
    """
    told = []
    for clause, positions in departures(words).items():
        verb = words.verbs[clause]
        phrase = " ".join(words.tokens[i] for i in positions)
        if verb.verb not in ("carry", "lift") or len(subjects[clause]) > 1:
            told.append(f"{phrase!r}: one person walks away from what was put down, or with it")
    for i, first in enumerate(words.verbs):
        for j, then in enumerate(words.verbs[i + 1 :], i + 1):
            if _is_joined(words, i, j) or subjects[i] != subjects[j] or owners[i] == owners[j]:
                continue
            ends = first.word in PUT_WORDS or first.verb in ("lift", "throw", "kick")
            if ends and library()["verbs"][then.verb].get("is_support"):
                told.append(
                    f"{first.word!r} and then {then.word!r}: one after the other is not made; say "
                    f"'sitting on' or 'standing on' for what lasts all the time"
                )
    return told


def _is_joined(words: Words, first: int, then: int) -> bool:
    """Whether two clauses are said to happen at once: 'while', or one of them in -ing."""
    start, end = words.verbs[first].position, words.verbs[then].position
    is_lasting = any(words.tokens[i].endswith("ing") for i in (start, end))
    return is_lasting or bool(AT_ONCE & set(words.tokens[start:end]))
