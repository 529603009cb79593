"""Slips of the command line that the parser would only call unrecognized: what was probably meant."""

import dataclasses
from collections.abc import Mapping, Sequence

from hoijax.errors import nearest_hint

SENTENCES = ("generate", "observe", "compose")
"""Commands that take a sentence."""
ALWAYS = ("--help", "-h", "--version")


def slip_of(words: Sequence[str], kinds: Mapping[str, type]) -> str | None:
    """What is wrong with a command line's command, options or unquoted sentence; None where nothing is."""
    if not words or words[0].startswith("-"):
        return None
    name, rest = words[0], words[1:]
    if name not in kinds:
        known = ", ".join(kinds)
        return f"there is no command {name!r}.{nearest_hint(name, kinds)} Commands: {known}."
    bare = next((i for i, word in enumerate(rest) if word.startswith("-")), len(rest))
    if name in SENTENCES and bare > 1:
        typed = " ".join(rest[:bare])
        return f'the sentence must stand in quotes: hoijax {name} "{typed}" {" ".join(rest[bare:])}'.rstrip()
    options = options_of(kinds[name])
    for word in rest:
        given = word.partition("=")[0].replace("_", "-")
        if word.startswith("--") and given not in options and given not in ALWAYS:
            hint = nearest_hint(given, options)
            return f"hoijax {name} has no option {given}.{hint} All of them: hoijax {name} --help"
    return None


def options_of(kind: type) -> list[str]:
    """The options of a command, as they are written."""
    names = [field.name.rstrip("_").replace("_", "-") for field in dataclasses.fields(kind)]
    return [*(f"--{name}" for name in names), *(f"--no-{name}" for name in names)]


def own_options_first(kind: type) -> type:
    """Order a command's options for --help: its own, then those that it shares with others."""
    fields = vars(kind)["__dataclass_fields__"]
    declared = [name for name in vars(kind).get("__annotations__", {}) if name in fields]
    ordered = {
        name: fields[name] for name in [*declared, *(n for n in fields if n not in declared)]
    }
    fields.clear()
    fields.update(ordered)
    return kind
