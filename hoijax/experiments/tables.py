"""Tables of a sweep: means with confidence intervals; CSV, Markdown, LaTeX."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
KEYS = ("bundle", "seed", "design")
"""What says which solve a row is of; not averaged."""


def mean_row(group: Sequence[Row], labels: Row) -> Row:
    """Means of one design's rows, with the half width of their 95 % interval ("NAME +-").

    Scenes are what was sampled: seeds of one scene are averaged first, and the interval is over
    scenes; where there is one scene only, it is over its seeds.
    """
    row: Row = dict(labels)
    scenes: dict[str, list[Row]] = {}
    for single in group:
        scenes.setdefault(str(single["bundle"]), []).append(single)
    for column in group[0]:
        if column in KEYS or column in labels:
            continue
        groups = [[float(single[column]) for single in rows] for rows in scenes.values()]
        values = np.array([np.mean(g) for g in groups] if len(groups) > 1 else groups[0])
        row[column] = float(values.mean())
        row[f"{column} +-"] = half_width(values)
    return row


def half_width(values: np.ndarray) -> float:
    """Half of the 95 % interval of a mean, by Student's t; 0 for a single value."""
    from scipy.stats import t

    count = len(values)
    if count < 2:
        return 0.0
    return float(t.ppf(0.975, count - 1) * values.std(ddof=1) / count**0.5)


def csv_text(rows: Sequence[Row]) -> str:
    """The rows as they are."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and rows for people: means with their confidence where there is one."""
    columns = [name for name in rows[0] if not name.endswith(" +-")]
    body = []
    for row in rows:
        line = []
        for name in columns:
            value, spread = row[name], row.get(f"{name} +-", 0.0)
            text = value if isinstance(value, str) else f"{value:.4g}"
            line.append(f"{text} \u00b1 {spread:.2g}" if spread else text)
        body.append(line)
    return columns, body


def markdown(rows: Sequence[Row]) -> str:
    """The table for a page."""
    columns, body = cells(rows)
    lines = [columns, ["---"] * len(columns), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(rows: Sequence[Row]) -> str:
    """The table for a paper (booktabs)."""
    columns, body = cells(rows)

    def line(texts: Sequence[str]) -> str:
        plain = (text.replace("_", r"\_").replace("%", r"\%") for text in texts)
        return " & ".join(text.replace("\u00b1", r"$\pm$") for text in plain) + r" \\" + "\n"

    inner = line(columns) + "\\midrule\n" + "".join(map(line, body))
    return (
        f"\\begin{{tabular}}{{{'r' * len(columns)}}}\n\\toprule\n{inner}"
        "\\bottomrule\n\\end{tabular}\n"
    )


def pareto_front(costs: np.ndarray, gains: np.ndarray) -> list[int]:
    """Indices of what no other row beats in one without losing in the other, by rising cost."""
    front, best = [], -np.inf
    for index in np.lexsort((-gains, costs)):
        if gains[index] > best:
            front.append(int(index))
            best = gains[index]
    return front
