"""Write the tables of docs/method.md from the code: loss terms with their weights, and the settings.

    python -m scripts.docs.method_table

`tests/test_docs.py` fails when the page no longer says what the code does; run this then.
"""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoijax.losses.term import LossTerm
from hoijax.methods.hoi_page.settings import PRESETS
from hoijax.methods.hoi_page.terms import TERMS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "method.md"


def number(value: float) -> str:
    """1000.0 as 1000, 0.0001 as 1e-4."""
    if value and abs(value) < 1e-2:
        mantissa, _, exponent = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else f"{value:.0e}".replace("e-0", "e-")
    return f"{value:g}"


def weight(terms: dict[str, LossTerm], name: str) -> str:
    """The weight of a term, "start to end" where it moves, "-" where a preset lacks it."""
    if name not in terms:
        return "-"
    term = terms[name]
    ends = number(term.start), number(term.end)
    return ends[0] if term.start == term.end else f"{ends[0]} to {ends[1]}"


def functions(name: str) -> list[Callable[..., Any]]:
    """The functions behind a term's name, of all presets, the default's first."""
    matching = [term.function for table in TERMS.values() for term in table if term.name == name]
    return list(dict.fromkeys(matching))


def row(name: str, tables: dict[str, dict[str, LossTerm]]) -> str:
    """One row for every function of a term."""
    rows = []
    for function in functions(name):
        doc = (function.__doc__ or "").splitlines()[0]
        derived = {
            preset: {n: term for n, term in table.items() if term.function is function}
            for preset, table in tables.items()
        }
        place = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        cells = (f"`{name}`", weight(derived["hoi-page"], name), weight(derived["default"], name))
        rows.append(f"| {' | '.join(cells)} | `{place}` | {doc} |")
    return "\n".join(rows)


def terms_table() -> str:
    """Every loss term of the presets."""
    tables = {preset: {term.name: term for term in table} for preset, table in TERMS.items()}
    names = dict.fromkeys(term.name for table in TERMS.values() for term in table)
    head = "| term | `hoi-page` | `default` | function | what it is |\n|---|---|---|---|---|\n"
    return head + "\n".join(row(name, tables) for name in names)


def settings_table() -> str:
    """Every setting of the presets that is not a table of its own."""

    def flat(settings: Any, prefix: str = "") -> dict[str, str]:
        values: dict[str, str] = {}
        for f in dataclasses.fields(settings):
            value = getattr(settings, f.name)
            if dataclasses.is_dataclass(value):
                values |= flat(value, f"{f.name}.")
            else:
                values[prefix + f.name] = number(value) if type(value) is float else str(value)
        return values

    published, ours = flat(PRESETS["hoi-page"]), flat(PRESETS["default"])
    names = [name for name in ours if name not in ("preset", "seed")]
    rows = [f"| `{name}` | {published[name]} | {ours[name]} |" for name in names]
    return "| setting | `hoi-page` | `default` |\n|---|---|---|\n" + "\n".join(rows)


def updated(text: str) -> str:
    """The page with its tables as the code has them."""
    for name, table in (("terms", terms_table()), ("settings", settings_table())):
        pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text, count = re.subn(
            pattern, lambda match, t=table: match[1] + t + "\n" + match[2], text, flags=re.DOTALL
        )
        assert count == 1, f"docs/method.md has {count} places for the table of {name}"
    return text


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
