"""The tables of docs/anchor-motion.md, written from the rows of the benchmarks.

    python -m scripts.docs.anchor_tables

reads quality_anchor_motion.json and body_start.json in docs/results and replaces what stands between the
page's `table` comments.
"""

import json
import re
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
PAGE = ROOT / "docs" / "anchor-motion.md"
COLUMNS = (
    ("mpjpe_mm", "MPJPE mm", 1.0, 1),
    ("pa_mpjpe_mm", "PA-MPJPE mm", 1.0, 1),
    ("translation_cm", "object cm", 1.0, 1),
    ("rotation_deg", "object deg", 1.0, 1),
    ("contact_f1@5cm", "contact F1@5cm", 1.0, 2),
    ("penetration_mean_cm", "body in object mm", 10.0, 1),
    ("object_in_body_mean_cm", "object in body mm", 10.0, 1),
    ("foot_skate_cm_s@5cm", "foot skate cm/s", 1.0, 2),
)
STARTS = (
    ("estimate_mm", "bundle's motion"),
    ("keypoints_mm", "`keypoints`"),
    ("fit_mm", "`fit`"),
    ("poor_mm", "poor motion"),
    ("poor_fit_mm", "`fit` given that"),
)
CAPTURED = "sub"  # how names of captured sequences begin


def markdown(titles: list[str], rows: list[list[str]]) -> str:
    """A table; the first cell of a row names it."""
    head = ["", *titles]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def table(rows: list[dict], label: str) -> str:
    """Of the quality benchmark; `label` is the key that names a row."""
    cells = [
        [str(row[label]), *(f"{row[name] * scale:.{d}f}" for name, _, scale, d in COLUMNS)]
        for row in rows
    ]
    return markdown([title for _, title, _, _ in COLUMNS], cells)


def named(scene: str) -> str:
    kind = "captured: " if scene.startswith(CAPTURED) else ""
    return kind + scene.removesuffix("_0")


def starts(rows: list[dict]) -> str:
    """Of the benchmark of body starts, with the medians of made and of captured scenes."""
    cells = [[named(row["scene"]), *(f"{row[key]:.0f}" for key, _ in STARTS)] for row in rows]
    for captured, name in ((False, "median of made"), (True, "median of captured")):
        chosen = [row for row in rows if row["scene"].startswith(CAPTURED) == captured]
        cells.append([name, *(f"{median(row[key] for row in chosen):.0f}" for key, _ in STARTS)])
    return markdown([title for _, title in STARTS], cells)


def tables(rows: list[dict]) -> dict[str, str]:
    """By the name of their comment: whole scenes, and ablations of the scenes that have them."""
    whole = [dict(row) for row in rows if row["preset"] == "whole"]
    whole.sort(key=lambda row: row["scene"].startswith(CAPTURED))
    for row in whole:
        row["scene"] = named(row["scene"])
    ablated = {row["scene"] for row in rows if row["preset"] != "whole"}
    parts = [dict(row) for row in rows if row["scene"] in ablated]
    parts.sort(key=lambda row: row["scene"])
    for row in parts:
        row["scene"] = f"{row['scene'].removesuffix('_0')}, {row['preset']}"
    return {"scenes": table(whole, "scene"), "ablation": table(parts, "scene")}


def main() -> None:
    """Replace the tables of the page."""
    page = PAGE.read_text()
    rows = json.loads((RESULTS / "quality_anchor_motion.json").read_text())["rows"]
    begun = json.loads((RESULTS / "body_start.json").read_text())["rows"]
    for name, text in {**tables(rows), "body start": starts(begun)}.items():
        begin, end = f"<!-- table: {name} -->", f"<!-- end of {name} -->"
        inside = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        assert inside.search(page), f"{PAGE} has no '{begin}'"
        page = inside.sub(lambda _, whole=f"{begin}\n{text}\n{end}": whole, page)
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
