"""The one exception users see: a sentence that says what is wrong, where, and the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input, refused before work starts. The command line prints the message and exits with 2."""


def nearest_hint(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """ " Did you mean 'solve'?" where a known name is like this one, else nothing."""
    near = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" Did you mean {near[0]!r}?" if near else ""
