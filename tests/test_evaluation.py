"""The evaluator against exact distances from libigl and errors known by construction."""

import dataclasses

import igl
import numpy as np
import pytest

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.bodies import load_body, part_vertex_indices
from hoijax.bundle.schema import GroundTruth
from hoijax.errors import UserError
from hoijax.geometry.transforms import compose_rigid
from hoijax.objects.asset import load_asset
from hoijax.objects.distance_grid import build_distance_grids
from hoijax.objects.resizing import resized
from hoijax.results.evaluation import Evaluator, evaluate
from hoijax.results.result import Result

FRAMES, FPS = 5, 10.0
GRAPH = """{
  "objects": [{"name": "box", "parts": PARTS, "is_translational": true, "is_rotational": false,
               "description": "a box"}],
  "people": [{"name": "person 1", "description": "a person"}],
  "edges": [
    {"first": {"entity": "box", "part": "PART"}, "second": {"entity": "person 1", "part": "left_hand"},
     "is_continuous": true, "is_rel_static": true},
    {"first": {"entity": "box", "part": "PART"}, "second": {"entity": "person 1", "part": "head"},
     "is_continuous": false, "is_rel_static": true}
  ],
  "video_prompt": "a person holds a box"
}"""


@pytest.fixture(scope="module")
def body():
    return load_body("anny")


@pytest.fixture(scope="module")
def result(body) -> Result:
    """A T-pose; candidate 0 holds the box at the left hand, 1 is 10 cm off, both move along x."""
    box = load_asset("box")
    graph = GRAPH.replace("PARTS", str(list(box.part_names)).replace("'", '"'))
    hand = np.asarray(body.template)[part_vertex_indices(body, "left_hand", 200)].mean(0)
    travel = np.linspace(0, 0.4, FRAMES)[:, None] * np.array([1.0, 0.0, 0.0])
    centers = hand + travel + np.array([0.1, 0.0, 0.0])
    translations = np.stack([centers, centers + np.array([0.0, 0.0, 0.1])])[:, None] - box.center
    return Result(
        prompt="a person holds a box",
        fps=FPS,
        affordance=PartAffordanceGraph.from_json(graph.replace("PART", "sides")),
        assets=(box,),
        body_name="anny",
        body_rotations=np.zeros((1, FRAMES, 55, 3), np.float32),
        body_translations=np.zeros((1, FRAMES, 3), np.float32),
        body_betas=np.zeros((1, 10), np.float32),
        body_rest_joints=np.asarray(body.joints_template)[None],
        object_rotations=np.tile(np.eye(3, dtype=np.float32), (2, 1, FRAMES, 1, 1)),
        object_translations=translations.astype(np.float32),
        losses=np.array([1.0, 2.0]),
        initial_losses=np.array([1.0, 2.0]),
        codes=np.zeros(2, np.int32),
        labels=("a", "b"),
        term_names=(),
        reports=np.zeros((2, 0)),
        history=np.zeros((2, 1, 0)),
        contact=np.zeros((2, 2, FRAMES), bool),
        Ts_world_pointmap=np.tile(np.eye(4), (FRAMES, 1, 1)),
    )


@pytest.fixture(scope="module")
def grids(result):
    return (build_distance_grids(result.assets[0]),)


@pytest.fixture(scope="module")
def ground_truth(result) -> GroundTruth:
    return GroundTruth(
        Ts_world_object=result.Ts_world_object,
        Ts_world_camera=np.tile(np.eye(4, dtype=np.float32), (FRAMES, 1, 1)),
        edge_contact=np.stack([np.ones(FRAMES, bool), np.zeros(FRAMES, bool)]),
        body_rotations=result.body_rotations,
        body_translations=result.body_translations,
        body_betas=result.body_betas,
        body_rest_joints=result.body_rest_joints,
    )


def test_another_result_is_measured_with_its_own_body_and_size(result, body, grids, ground_truth):
    """As by an evaluator of its own: the joint method moves bodies and resizes meshes."""
    other = dataclasses.replace(
        result,
        body_translations=result.body_translations + np.float32(0.1),
        assets=(resized(result.assets[0], 1.3),),
    )
    evaluator = Evaluator(result, body, ground_truth, grids)
    before = evaluator.measure(0)
    evaluator.take(other)
    after = evaluator.measure(0)
    assert after == Evaluator(other, body, ground_truth).measure(0)
    assert after["mpjpe_mm"] > before["mpjpe_mm"] + 50.0
    assert after["noncollision"] != before["noncollision"]


def test_edge_distances_are_those_of_libigl(result, body, grids):
    evaluator = Evaluator(result, body, grids=grids)
    poses = evaluator.object_poses(0)
    found = evaluator.edge_distances(poses)
    box = result.assets[0]
    faces = box.faces[box.face_parts == box.part_index("sides")].astype(np.int64)
    for edge, part in enumerate(("left_hand", "head")):
        points = np.asarray(body.template, np.float64)[part_vertex_indices(body, part, 768)]
        for t in range(FRAMES):
            surface = (box.vertices + poses[0, t, :3, 3]).astype(np.float64)
            squared = igl.point_mesh_squared_distance(points, surface, faces)[0]
            assert found[edge, t] == pytest.approx(np.sqrt(squared.min()), abs=0.01)


def test_collision_is_that_of_the_winding_number(result, body):
    values = evaluate(result, body)
    box, poses = result.assets[0], result.Ts_world_object
    outside = []
    for t in range(FRAMES):
        points = (np.asarray(body.template) - poses[0, t, :3, 3]).astype(np.float64)
        winding = igl.fast_winding_number(
            box.vertices.astype(np.float64), box.faces.astype(np.int64), points
        )
        outside.append((np.abs(winding) < 0.5).mean())
    assert np.mean(outside) < 0.999  # the hand is in the box at first
    assert values["noncollision"] == pytest.approx(np.mean(outside), abs=2e-3)
    assert values["contact_share@0cm"] == np.mean(np.array(outside) < 1)
    assert values["penetration_deepest_cm"] > 0.5


def test_errors_against_the_truth_are_what_was_put_in(result, body, ground_truth, grids):
    evaluator = Evaluator(result, body, ground_truth, grids, symmetries=(np.eye(3)[None],))
    exact, off = evaluator.measure(0), evaluator.measure(1)
    assert exact["translation_cm"] == pytest.approx(0, abs=1e-4)
    assert exact["adds_cm"] == pytest.approx(0, abs=1e-3)
    assert exact["rotation_deg"] == pytest.approx(0, abs=1e-2)
    assert off["translation_cm"] == pytest.approx(10, abs=1e-3)
    assert 1 < off["adds_cm"] < 10
    assert exact["object_diversity"] == pytest.approx(0.1, abs=1e-5)
    assert exact["object_smoothness"] == pytest.approx(0, abs=1e-6)
    touches = evaluator.edge_distances(evaluator.object_poses(0)) <= 0.05
    expected = touches[0].mean()
    assert expected > 0
    assert exact["contact_recall@5cm"] == pytest.approx(expected)
    assert exact["contact_precision@5cm"] == 1


def test_the_body_stands_below_ground_by_as_much_as_it_does(result, body, grids):
    values = Evaluator(result, body, grids=grids).measure(0)
    lowest = float(np.asarray(body.template)[:, 1].min())
    assert values["body_ground_penetration_cm"] == pytest.approx(max(-lowest, 0) * 100, abs=0.05)
    assert values["foot_skate_cm_s@5cm"] == 0
    assert values["body_jerk_m_s3"] == pytest.approx(0, abs=1e-3)
    assert all(np.isfinite(value) for value in values.values())


def test_several_objects_are_averaged_and_listed(result, body, ground_truth, grids):
    twice = dataclasses.replace(
        result,
        assets=(result.assets[0], dataclasses.replace(result.assets[0], name="crate")),
        affordance=PartAffordanceGraph.from_json(
            result.affordance.to_json().replace(
                '"objects": [',
                '"objects": [{"name": "crate", "parts": '
                + str(list(result.assets[0].part_names)).replace("'", '"')
                + ', "is_translational": true, "is_rotational": true, "description": "a crate"},',
                1,
            )
        ),
        object_rotations=np.repeat(result.object_rotations, 2, axis=1),
        object_translations=np.repeat(result.object_translations, 2, axis=1),
    )
    moved = np.repeat(ground_truth.Ts_world_object, 2, axis=0)
    moved[1, :, 1, 3] += 0.04
    both = dataclasses.replace(ground_truth, Ts_world_object=moved)
    evaluator = Evaluator(twice, body, both, grids * 2, symmetries=(np.eye(3)[None],) * 2)
    values = evaluator.measure(0)
    assert values["translation_cm"] == pytest.approx(2, abs=1e-3)
    assert values["translation_cm/crate"] == pytest.approx(4, abs=1e-3)
    assert values["translation_cm/box"] == pytest.approx(0, abs=1e-3)


def test_the_truth_of_another_clip_is_refused(result, body, ground_truth):
    short = dataclasses.replace(
        ground_truth,
        **{f.name: getattr(ground_truth, f.name) for f in dataclasses.fields(ground_truth)},
    )
    object.__setattr__(short, "Ts_world_object", compose_rigid(np.eye(3), np.zeros((1, 3, 3))))
    with pytest.raises(UserError, match="3 frames, the result 1 and 5"):
        Evaluator(result, body, short)
