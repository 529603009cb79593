"""Scores as CSV and LaTeX: a row a metric, a column a clip, the mean last where there are several."""

import csv
import io
from collections.abc import Mapping

_SPECIAL = str.maketrans({c: f"\\{c}" for c in "_%&#$"})


def score_rows(
    clips: Mapping[str, Mapping[str, float]], mean: Mapping[str, float]
) -> tuple[list[str], list[list[str]]]:
    """(columns, rows) of text; empty where a clip has no value."""
    columns = dict(clips) | ({"mean": mean} if len(clips) > 1 else {})
    rows = [
        [name, *(f"{values[name]:.4g}" if name in values else "" for values in columns.values())]
        for name in mean
    ]
    return ["metric", *columns], rows


def as_csv(columns: list[str], rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([columns, *rows])
    return out.getvalue()


def as_latex(columns: list[str], rows: list[list[str]]) -> str:
    """A booktabs table."""
    lines = [" & ".join(cell.translate(_SPECIAL) for cell in row) + r" \\" for row in rows]
    head = " & ".join(name.translate(_SPECIAL) for name in columns) + r" \\"
    columns_spec = "l" + "r" * (len(columns) - 1)
    parts = [rf"\begin{{tabular}}{{{columns_spec}}}", r"\toprule", head, r"\midrule", *lines]
    return "\n".join([*parts, r"\bottomrule", r"\end{tabular}"]) + "\n"
