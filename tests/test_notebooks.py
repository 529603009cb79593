"""Every notebook runs from its first cell to its last, and draws what it says."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[str]:
    """The source of every code cell."""
    content = json.loads(path.read_text())
    return ["".join(c["source"]) for c in content["cells"] if c["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    content = json.loads(path.read_text())
    assert all(not cell.get("outputs") for cell in content["cells"])
    for number, source in enumerate(cells(path)):
        ast.parse(source, filename=f"{path.name}, code cell {number}")


@pytest.mark.slow
def test_reading_a_bundle(monkeypatch, tmp_path):
    """The cells run in order; the pictures go to files and are not empty."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    (path,) = [path for path in NOTEBOOKS if path.stem == "reading_a_bundle"]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names: dict = {"__name__": "__main__"}
    for number, source in enumerate(cells(path)):
        exec(compile(source, f"{path.name}, code cell {number}", "exec"), names)
    numbers = plt.get_fignums()
    assert len(numbers) == 5
    for number in numbers:
        figure = plt.figure(number)
        file = tmp_path / f"figure_{number}.png"
        figure.savefig(file)
        pixels = plt.imread(file)
        assert pixels.std() > 0.02, figure.axes[0].get_title()
    plt.close("all")
    seen, shown = names["seen"], names["SHOWN"]
    drawn_person = (names["frame"] != 0).any()
    assert drawn_person
    # What is drawn and what was seen are the same scene: the exact silhouette fits the noisy mask.
    exact = names["drawn"](names["skin"](names["truth"])).instance_ids == 1
    noisy = seen.instance_ids[shown] == 1
    assert (exact & noisy).sum() / (exact | noisy).sum() > 0.75
    assert 0 < names["off"] < 0.3
    u, v = seen.keypoints[0, shown, :, :2].T
    sure = seen.keypoints[0, shown, :, 2] > 0.5
    inside = exact[v[sure].astype(int), u[sure].astype(int)]
    assert np.mean(inside) > 0.6
