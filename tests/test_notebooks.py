"""Every notebook runs from its first cell to its last, and draws what it says.

`python_api` is the program of docs/python.md: test_python_api.
"""

import ast
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from small_scene import as_users_run, generated, small_presets

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


@pytest.fixture
def executed(monkeypatch, tmp_path, tmp_path_factory):
    """Runs a notebook's cells in order; its pictures go to files and must not be empty.

    Gives the names it leaves, and how many pictures there were.
    """
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    plt.close("all")

    def execute(stem: str, shared: bool = False) -> tuple[dict, int]:
        if shared:
            monkeypatch.setenv("HOIJAX_RESULT", str(generated(tmp_path_factory)[0]))
        (path,) = [path for path in NOTEBOOKS if path.stem == stem]
        names: dict = {"__name__": "__main__"}
        with as_users_run(), small_presets(), warnings.catch_warnings():
            # Axes of matplotlib warn of fonts and layouts; pictures are looked at below.
            warnings.simplefilter("ignore", UserWarning)
            for number, source in enumerate(cells(path)):
                exec(compile(source, f"{path.name}, code cell {number}", "exec"), names)
        numbers = plt.get_fignums()
        for number in numbers:
            figure = plt.figure(number)
            file = tmp_path / f"figure_{number}.png"
            figure.savefig(file)
            assert plt.imread(file).std() > 0.02, figure.axes[0].get_title()
        plt.close("all")
        return names, len(numbers)

    return execute


@pytest.mark.slow
def test_first_interaction(executed, capsys):
    names, images = executed("first_interaction", shared=True)
    assert images == 3
    assert "noncollision" in names["metrics"]
    assert "* path" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.thorough
def test_your_mesh_and_pag(executed, capsys):
    names, images = executed("your_mesh_and_pag")
    assert images == 2
    assert set(names["bucket"].part_names) == {"body", "handle"}
    assert "lid" in capsys.readouterr().out  # the mistake in the graph is named
    assert np.median(names["error"]) < 0.08


@pytest.mark.slow
@pytest.mark.thorough
def test_loss_weight_ablation(executed):
    names, images = executed("loss_weight_ablation", shared=True)
    assert images == 2
    losses = [row["penetration_mean_cm"] for row in names["rows"]]
    assert len(set(losses)) > 1  # the weight does something
    mean = names["weighted"].mean(axis=1).sum()
    assert mean == pytest.approx(float(names["solution"].losses[0]), rel=0.1)


@pytest.mark.slow
def test_result_to_robot(executed):
    pytest.importorskip("mujoco")
    names, images = executed("result_to_robot", shared=True)
    assert images == 2
    assert names["rows"].shape[1] == 591
    assert np.abs(names["places"] - names["ours"]).max() < 1e-3


@pytest.mark.slow
@pytest.mark.thorough
def test_composition_closed_form(executed):
    names, images = executed("composition_closed_form")
    assert images == 1
    assert names["psnr"](names["found"]) > 22.0
    assert names["psnr"](names["blank"]) < 18.0


@pytest.mark.slow
def test_reading_a_bundle(executed):
    """What is drawn and what was seen are the same scene."""
    names, images = executed("reading_a_bundle")
    assert images == 5
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
