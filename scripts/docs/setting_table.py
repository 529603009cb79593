"""Write the table of docs/cli.md that has the settings of all methods, from the code.

    python -m scripts.docs.setting_table

`tests/test_docs.py` fails when the page no longer says what the code does; run this then.
"""

from pathlib import Path

from hoijax.cli.method_flags import flags_of_methods
from hoijax.methods.base import METHODS, flag_of, method_named

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
HEADER = "| option | default | |\n|---|---|---|\n"
BEGIN, END = "<!-- settings of the methods -->\n", "<!-- end of the settings -->\n"


def default_of(name: str) -> str:
    """The default of a setting, by method where they differ."""
    every = [(m, method_named(m).presets["default"]) for m in METHODS]
    values = {m: getattr(s, name) for m, s in every if hasattr(s, name)}
    shown = {
        m: "" if v is None else f"{v:g}" if isinstance(v, float) else str(v)
        for m, v in values.items()
    }
    if len(set(shown.values())) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{value} ({method})" for method, value in shown.items())


def table() -> str:
    """One row for every flag."""
    rows = []
    for flag in flags_of_methods().values():
        option = f"`--{flag_of(flag.name)}`"
        if flag.kind == "bool":
            option += f", `--no-{flag_of(flag.name)}`"
        rows.append(f"| {option} | {default_of(flag.name)} | {flag.help} |\n")
    return HEADER + "".join(rows)


if __name__ == "__main__":
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2])
