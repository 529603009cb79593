"""A result folder is checked on load: every problem at once, and nothing absurd goes through."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.errors import UserError
from hoijax.io.npz import npz_bytes
from hoijax.objects.asset import load_asset
from hoijax.results.result import Result, load_result, save_result

K, COUNT, P, T, N = 2, 1, 1, 3, 2
GRAPH = {
    "objects": [
        {"name": "box", "parts": ["surface"], "is_translational": True, "is_rotational": True}
    ],
    "people": [{"name": "person"}],
    "edges": [
        {
            "first": {"entity": "box", "part": "surface"},
            "second": {"entity": "person", "part": "left_hand"},
            "is_continuous": True,
            "is_rel_static": True,
        }
    ],
}


def tiny_result(**changed) -> Result:
    """Two candidates, of which the second ended in NaN, as a solve may."""
    rotations = np.tile(np.eye(3, dtype=np.float32), (K, COUNT, T, 1, 1))
    rotations[1] = np.nan
    values = {
        "prompt": "a person holds a box",
        "fps": 12.0,
        "affordance": PartAffordanceGraph.from_json(json.dumps(GRAPH)),
        "assets": (load_asset("box", samples=16),),
        "body_name": "anny",
        "body_rotations": np.zeros((P, T, 55, 3), np.float32),
        "body_translations": np.zeros((P, T, 3), np.float32),
        "body_betas": np.zeros((P, 10), np.float32),
        "body_rest_joints": np.zeros((P, 55, 3), np.float32),
        "object_rotations": rotations,
        "object_translations": np.zeros((K, COUNT, T, 3), np.float32),
        "losses": np.array([1.0, np.nan], np.float32),
        "initial_losses": np.array([2.0, np.inf], np.float32),
        "codes": np.array([0, 2], np.int32),
        "labels": ("yaw 0", "yaw 90"),
        "term_names": ("contact", "smooth"),
        "reports": np.zeros((K, N), np.float32),
        "history": np.full((K, 4, N), np.nan, np.float32),
        "contact": np.ones((K, 1, T), bool),
        "Ts_world_pointmap": np.tile(np.eye(4, dtype=np.float32), (T, 1, 1)),
        "run": {"seconds": {"optimize": 1.5}, "nested": {"loss": float("nan")}},
    }
    return Result(**(values | changed))


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "result").mkdir()
    return save_result(tiny_result(), tmp_path / "result")


def spoil(folder: Path, header: dict | None = None, **arrays) -> None:
    """Change keys of run.json, and arrays."""
    path = folder / "result.npz"
    stored = dict(np.load(path).items())
    merged = {key: np.asarray(value) for key, value in (stored | arrays).items()}
    path.write_bytes(npz_bytes({key: v for key, v in merged.items() if v.dtype != object}))
    run = json.loads((folder / "run.json").read_text()) | (header or {})
    (folder / "run.json").write_text(json.dumps(run))


def test_a_result_with_a_candidate_that_ended_in_nan_opens(folder):
    result = load_result(folder)
    assert result.winner == 0
    assert result.run["seconds"] == {"optimize": 1.5}
    np.testing.assert_array_equal(result.losses, [1.0, np.nan])


GONE = np.array(None, object)
BAD_ARRAYS = [
    ("body_rotations", np.zeros((P, T, 54, 3), np.float32)),
    ("body_rotations", np.full((P, T, 55, 3), np.nan, np.float32)),
    ("body_rotations", np.zeros((2, T, 55, 3), np.float32)),
    ("body_translations", np.full((P, T, 3), 1e30, np.float32)),
    ("body_translations", np.zeros((P, T), np.float32)),
    ("body_betas", np.full((P, 10), "a")),
    ("body_rest_joints", np.full((P, 55, 3), np.inf, np.float32)),
    ("object_rotations", np.ones((K, COUNT, T, 3, 3), np.float32)),
    ("object_rotations", -np.tile(np.eye(3, dtype=np.float32), (K, COUNT, T, 1, 1))),
    ("object_rotations", np.full((K, COUNT, T, 3, 3), np.nan, np.float32)),
    ("object_translations", np.zeros((K, 2, T, 3), np.float32)),
    ("object_translations", np.full((K, COUNT, T, 3), np.nan, np.float32)),
    ("losses", np.zeros(1, np.float32)),
    ("losses", np.full(K, np.nan, np.float32)),
    ("losses", np.zeros(K, complex)),
    ("codes", np.array([0, 9])),
    ("codes", np.array([0.5, 1.0])),
    ("reports", np.zeros((K, 3), np.float32)),
    ("history", np.zeros((K, 4), np.float32)),
    ("contact", np.ones((K, 1, T + 1), bool)),
    ("contact", np.ones((K, 1, T), np.int32)),
    ("Ts_world_pointmap", np.zeros((T, 3, 3), np.float32)),
    ("Ts_world_pointmap", np.tile(-np.eye(4, dtype=np.float32), (T, 1, 1))),
    ("joint_values", np.zeros((K, 1), np.float32)),
    ("candidate_body_rotations", np.zeros((K, P, T, 3), np.float32)),
    ("history", GONE),
]


@pytest.mark.parametrize(("key", "value"), BAD_ARRAYS)
def test_arrays_that_no_solve_leaves_are_refused(folder, key, value):
    spoil(folder, **{key: value})
    with pytest.raises(UserError, match=f"result.npz: key '{key}': "):
        load_result(folder)


BAD_HEADERS = [
    ("prompt", 3),
    ("prompt", "a" * 1_000_000),
    ("fps", "12"),
    ("fps", 0.0),
    ("fps", 1e300),
    ("fps", float("nan")),
    ("body", None),
    ("objects", []),
    ("objects", ["../../secret"]),
    ("objects", [".."]),
    ("objects", ["a" * 254]),
    ("objects", ["\u00e9" * 125]),
    ("objects", "box"),
    ("objects", ["lamp"]),
    ("labels", "ab"),
    ("labels", [1, 2]),
    ("term_names", {"a": 1}),
    ("term_names", [["contact"], "smooth"]),
    ("joints", [{"name": "j"}]),
    ("joints", 5),
    ("bundle", 7),
    ("settings", [1]),
    ("weights", "contact"),
    ("seconds", {"optimize": "long"}),
    ("result_version", 99),
    ("body", "anny\x00"),
    ("bundle", "bundle\n"),
    ("device", []),
    ("device", -1),
    ("peak_memory_gb", "much"),
    ("peak_memory_gb", -1.0),
    ("versions", ["1.0"]),
    ("versions", {"jax": 1.0}),
    ("confidence", "high"),
    ("confidence", {"doubts": "none"}),
    ("confidence", {"twins": [99]}),
    ("corrections", ["focal length factor"]),
    ("corrections", {"focal length factor": "long"}),
    ("object_scale", {"box": [1.0]}),
    ("object_shifts", [[1.0]]),
    ("camera_change", [0.0, "left"]),
]


@pytest.mark.parametrize(("key", "value"), BAD_HEADERS)
def test_headers_that_no_solve_writes_are_refused(folder, key, value):
    spoil(folder, {key: value})
    with pytest.raises(UserError, match=r"is damaged, it has \d problems?:\n  - "):
        load_result(folder)


def test_a_winner_that_was_chosen_stays_the_winner(tmp_path):
    result = tiny_result()
    other = int(np.argsort(result.losses)[1])
    chosen = dataclasses.replace(result, chosen=other)
    assert load_result(save_result(chosen, tmp_path)).winner == other
    assert load_result(save_result(result, tmp_path)).chosen is None


def test_terms_of_old_folders_have_their_new_names(tmp_path):
    run = {"weights": {"rendered_colours": 2.0, "smooth": 1.0}}
    old = tiny_result(term_names=("rendered_colours", "smooth"), run=run)
    result = load_result(save_result(old, tmp_path))
    assert result.term_names == ("rendered_colors", "smooth")
    assert result.run["weights"] == {"rendered_colors": 2.0, "smooth": 1.0}


def test_all_problems_come_at_once(folder):
    spoil(folder, body_betas=np.full((P, 10), np.nan), codes=np.array([7, 7]))
    (folder / "objects" / "box.glb").write_bytes(b"glTF")
    (folder / "affordance.json").write_text("[" * 10_000)
    with pytest.raises(UserError, match="it has 4 problems") as refused:
        load_result(folder)
    for place in ("body_betas", "codes", "box.glb", "affordance.json"):
        assert place in str(refused.value)
