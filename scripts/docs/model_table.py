"""The table of models in docs/priors.md, of the catalog.

    python -m scripts.docs.model_table          # writes it between its marks

`tests/test_docs.py` fails when the page no longer says what the catalog does; run this then.
"""

from pathlib import Path

from priors.models.catalog import CHOICES, DEFAULTS, Choice
from priors.models.doctor import gib

__all__ = ["PAGE", "replaced", "table"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "priors.md"
START, END = "<!-- models: python -m scripts.docs.model_table -->", "<!-- end of models -->"


def table() -> str:
    """Markdown: role, name, weights, GiB of weights, licence."""
    lines = [
        "| role | name | weights | GiB, and with `--memory model` | licence |",
        "|---|---|---|---|---|",
    ]
    for role, choices in CHOICES.items():
        for name, choice in choices.items():
            star = " (default)" if DEFAULTS[role] == name else ""
            row = [role, f"`{name}`{star}", _weights(choice), _memory(choice), choice.licence]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _weights(choice: Choice) -> str:
    if not choice.id:
        return "none" if choice.takes == "none" else "any OpenAI-compatible endpoint"
    return ", ".join(f"`{hub_id}`" for hub_id in (choice.id, *choice.also))


def _memory(choice: Choice) -> str:
    if not choice.parts:
        return ""
    total, largest = gib(sum(choice.parts.values())), gib(max(choice.parts.values()))
    return total if len(choice.parts) == 1 else f"{total}, {largest}"


def replaced(page: str) -> str:
    """The page with the table of today between its marks."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
