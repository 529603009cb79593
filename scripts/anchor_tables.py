"""The tables of docs/anchor-motion.md, written from the rows of the quality benchmark.

    python scripts/anchor_tables.py

reads docs/results/quality_anchor_motion.json and replaces what stands between the page's `table` comments.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "docs" / "results" / "quality_anchor_motion.json"
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
CAPTURED = "sub"  # how names of captured sequences begin


def table(rows: list[dict], label: str) -> str:
    """Markdown; `label` is the key that names a row."""
    head = ["", *(title for _, title, _, _ in COLUMNS)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [f"{row[name] * scale:.{digits}f}" for name, _, scale, digits in COLUMNS]
        lines.append("| " + " | ".join([str(row[label]), *cells]) + " |")
    return "\n".join(lines)


def tables(rows: list[dict]) -> dict[str, str]:
    """By the name of their comment: whole scenes, and ablations of the scenes that have them."""
    whole = [dict(row) for row in rows if row["preset"] == "whole"]
    whole.sort(key=lambda row: row["scene"].startswith(CAPTURED))
    for row in whole:
        kind = "captured: " if row["scene"].startswith(CAPTURED) else ""
        row["scene"] = kind + row["scene"].removesuffix("_0")
    ablated = {row["scene"] for row in rows if row["preset"] != "whole"}
    parts = [dict(row) for row in rows if row["scene"] in ablated]
    parts.sort(key=lambda row: row["scene"])
    for row in parts:
        row["scene"] = f"{row['scene'].removesuffix('_0')}, {row['preset']}"
    return {"scenes": table(whole, "scene"), "ablation": table(parts, "scene")}


def main() -> None:
    """Replace the tables of the page."""
    page = PAGE.read_text()
    for name, text in tables(json.loads(ROWS.read_text())["rows"]).items():
        begin, end = f"<!-- table: {name} -->", f"<!-- end of {name} -->"
        inside = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        assert inside.search(page), f"{PAGE} has no '{begin}'"
        page = inside.sub(lambda _, whole=f"{begin}\n{text}\n{end}": whole, page)
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
