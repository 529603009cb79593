"""The "why" of a result as small drawings: html with inline svg, for the viewer and the static page."""

from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

MET, VIOLATED, APART, UNASKED = "#3a9d5d", "#d1383d", "#e6e6e6", "#a9c7e8"
"""An edge that should touch and does; should and does not; need not and does not; need not and does."""
LINES = ("#1f77b4", "#d1383d", "#3a9d5d", "#9467bd", "#e08214", "#17a2b8", "#8c564b", "#e377c2")
LINES += ("#7f7f7f", "#b5a900", "#101010")
_WIDTH, _ROW, _LABEL = 300, 14, 108


def _strip(rows: Sequence[tuple[str, Sequence[str], Sequence[str], str]], frame: int | None) -> str:
    """Rows of (label, colors, tool tips, note at the right) as cells, one column a frame."""
    count = max(len(rows[0][1]), 1) if rows else 1
    cell = (_WIDTH - _LABEL - 44) / count
    height = _ROW * len(rows) + 2
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="100%" xmlns="http://www.w3.org/2000/svg" '
        'font-family="sans-serif" font-size="8" fill="currentColor">'
    ]
    for r, (label, colors, tips, note) in enumerate(rows):
        y = r * _ROW
        short = label if len(label) <= 24 else label[:23] + "…"
        parts.append(
            f'<text x="0" y="{y + 10}">{escape(short)}<title>{escape(label)}</title></text>'
        )
        parts += [
            f'<rect x="{_LABEL + i * cell:.2f}" y="{y + 1}" width="{cell + 0.05:.2f}" '
            f'height="{_ROW - 2}" fill="{color}"><title>{escape(tip)}</title></rect>'
            for i, (color, tip) in enumerate(zip(colors, tips, strict=True))
        ]
        parts.append(f'<text x="{_WIDTH - 41}" y="{y + 10}">{escape(note)}</text>')
    if frame is not None:
        parts.append(
            f'<rect x="{_LABEL + frame * cell:.2f}" y="0" width="{cell:.2f}" height="{height}" '
            'fill="none" stroke="currentColor" stroke-width="1"/>'
        )
    return "".join(parts) + "</svg>"


def heat(fraction: float) -> str:
    """White at 0 over orange to dark red at 1."""
    stops = np.array([[250, 250, 247], [253, 174, 97], [165, 0, 38]], float)
    at = float(np.clip(fraction, 0, 1)) * 2
    low = min(int(at), 1)
    r, g, b = (stops[low] + (stops[low + 1] - stops[low]) * (at - low)).astype(int)
    return f"#{r:02x}{g:02x}{b:02x}"


def term_strip(
    names: Sequence[str], values: Float[ndarray, "n T"], frame: int | None = None
) -> str:
    """Weighted loss of every term in every frame; colors are shares of the largest value."""
    most = max(float(np.nanmax(values, initial=0.0)), 1e-12)
    rows = [
        (
            name.replace("_", " "),
            [heat(float(np.sqrt(max(v, 0.0) / most))) for v in row],
            [f"{name}, frame {t}: {v:.3g}" for t, v in enumerate(row)],
            f"{row.mean():.3g}",
        )
        for name, row in zip(names, values, strict=True)
    ]
    return _strip(rows, frame)


def edge_state(expected: bool, met: bool) -> str:
    """What a cell of `edge_strip` says, by its color."""
    if expected:
        return MET if met else VIOLATED
    return UNASKED if met else APART


_SAID = {
    MET: "touches, as asked",
    VIOLATED: "should touch",
    APART: "apart, not asked",
    UNASKED: "touches unasked",
}


def edge_strip(
    labels: Sequence[str],
    expected: Bool[ndarray, "E T"],
    met: Bool[ndarray, "E T"],
    distances: Float[ndarray, "E T"],
    frame: int | None = None,
) -> str:
    """Every edge of the graph in every frame: met or violated, with the distance as tool tip."""
    rows = []
    for e, label in enumerate(labels):
        colors = [edge_state(bool(a), bool(b)) for a, b in zip(expected[e], met[e], strict=True)]
        tips = [
            f"{label}, frame {t}: {_SAID[color]}, {distances[e, t] * 100:.1f} cm"
            for t, color in enumerate(colors)
        ]
        asked = int(expected[e].sum())
        note = f"{int((expected[e] & met[e]).sum())}/{asked} met" if asked else "not asked"
        rows.append((label, colors, tips, note))
    return _strip(rows, frame) + _legend(list(_SAID.items()), "each cell one frame; touching: 5 cm")


def force_strip(
    labels: Sequence[str],
    held: Sequence[Sequence[bool]],
    missing: Sequence[Sequence[float]],
    forces: Sequence[Sequence[float]],
    frame: int | None = None,
) -> str:
    """Every object in every frame: held by what touches it or not; body force and what is missing as tip."""
    rows = [
        (
            label,
            [MET if h else VIOLATED for h in held[o]],
            [
                f"{label}, frame {t}: {m:.2f} weights missing, body force {f:.1f} weights"
                for t, (m, f) in enumerate(zip(missing[o], forces[o], strict=True))
            ],
            f"{sum(held[o])}/{len(held[o])} held",
        )
        for o, label in enumerate(labels)
    ]
    legend = [(MET, "held"), (VIOLATED, "not held")]
    return _strip(rows, frame) + _legend(legend, "arrows: 30 cm an object weight; red is missing")


UNSEEN = "#9e9e9e"
MAX_SPREAD = 0.15
"""Metres that are drawn darkest."""


def spread_strip(
    labels: Sequence[str],
    position: Float[ndarray, "O T"],
    rotation: Float[ndarray, "O T"],
    unseen: Bool[ndarray, "O T"],
    frame: int | None = None,
) -> str:
    """How uncertain every object is in every frame; gray: it was not seen there. Metres, radians."""
    rows = []
    for o, label in enumerate(labels):
        tips = [
            f"{label}, frame {t}: within {164.5 * p:.1f} cm and {np.degrees(1.645 * r):.0f} deg (90 %)"
            + (", not seen here" if hidden else "")
            for t, (p, r, hidden) in enumerate(
                zip(position[o], rotation[o], unseen[o], strict=True)
            )
        ]
        colors = [
            UNSEEN if hidden else heat(float(p) / MAX_SPREAD)
            for p, hidden in zip(position[o], unseen[o], strict=True)
        ]
        rows.append((label, colors, tips, f"{164.5 * np.median(position[o]):.1f} cm"))
    legend = [(heat(0.0), "sure"), (heat(1.0), "15 cm"), (UNSEEN, "not seen")]
    return _strip(rows, frame) + _legend(legend, "at the right: half of a 90 % interval, median")


def _legend(entries: Sequence[tuple[str, str]], note: str) -> str:
    items = "".join(
        f'<span style="white-space:nowrap;margin-right:8px"><span style="display:inline-block;'
        f'width:9px;height:9px;background:{color};margin-right:3px"></span>{escape(text)}</span>'
        for color, text in entries
    )
    return f'<div style="font:10px sans-serif">{items}<br>{escape(note)}</div>'


def weighted_history(
    history: Float[ndarray, "steps n"], weights: Float[ndarray, " n"]
) -> Float[ndarray, "steps n"]:
    """Weighted terms over the steps that were taken, never below 1e-8: a logarithm can be drawn."""
    taken = history[~np.isnan(history).all(axis=-1)]  # a candidate that was stopped early has fewer
    return np.maximum(np.nan_to_num(taken * weights), 1e-8)


def loss_curves(names: Sequence[str], curves: Float[ndarray, "steps n"]) -> str:
    """Weighted terms over the optimization, logarithmic, as an svg for the static page."""
    logs = np.log10(curves)
    high = float(logs.max())
    low = max(float(logs.min()), high - 6)
    height, steps = 120, max(len(logs) - 1, 1)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="100%" xmlns="http://www.w3.org/2000/svg" '
        'font-family="sans-serif" font-size="8" fill="currentColor">'
    ]
    for i in range(logs.shape[1]):
        y = 4 + (height - 8) * (high - np.clip(logs[:, i], low, high)) / max(high - low, 1e-9)
        points = " ".join(
            f"{26 + (_WIDTH - 30) * s / steps:.1f},{v:.1f}" for s, v in enumerate(y.tolist())
        )
        color = LINES[i % len(LINES)]
        parts.append(
            f'<polyline fill="none" stroke="{color}" points="{points}">'
            f"<title>{escape(names[i])}</title></polyline>"
        )
    parts += [
        f'<text x="0" y="10">1e{high:.0f}</text>',
        f'<text x="0" y="{height - 4}">1e{low:.0f}</text></svg>',
    ]
    entries = [(LINES[i % len(LINES)], name.replace("_", " ")) for i, name in enumerate(names)]
    return "".join(parts) + _legend(entries, "weighted terms over the optimization steps")
