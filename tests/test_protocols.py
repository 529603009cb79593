"""Every evaluation protocol on scenes whose numbers are known by hand."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from hoijax.errors import UserError
from hoijax.geometry.mesh_queries import signed_distance
from hoijax.results.protocols import omomo, plausibility, reconstruction
from hoijax.results.protocols.mesh_motion import MeshMotion, NotGiven
from hoijax.results.protocols.registry import PROTOCOLS, mean_rows, measure, protocol_names

T, FPS = 6, 10.0
LEFT, RIGHT = 8, 9
"""The two hand vertices; the torso is a box of eight."""


def box(half: float) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.box(extents=[2 * half] * 3)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def still(points) -> np.ndarray:
    return np.tile(np.asarray(points, np.float64), (T, 1, 1))


@pytest.fixture
def held() -> MeshMotion:
    """A box of 40 cm at height 1 m; one hand 1 cm outside of it, the other 3 cm inside; feet planted."""
    torso, faces = box(0.2)
    thing, thing_faces = box(0.2)
    hands = [[-0.21, 1.0, 0.0], [0.17, 1.0, 0.0]]
    joints = np.tile([0.0, 1.0, -1.0], (24, 1)) + 0.1 * np.random.default_rng(0).normal(
        size=(24, 3)
    )
    joints[[7, 8]] = [[-0.1, 0.05, -1.0], [0.1, 0.05, -1.0]]
    joints[[10, 11]] = [[-0.1, 0.01, -0.9], [0.1, 0.01, -0.9]]
    joints[[22, 23]] = [[-0.23, 1.2, 0.2], [5.0, 1.2, 0.2]]
    return MeshMotion(
        fps=FPS,
        body_vertices=still(np.concatenate([torso + np.array([0, 1, -1]), hands])),
        body_faces=faces,
        object_vertices=still(thing + np.array([0, 1, 0])),
        object_faces=thing_faces,
        body_joints=still(joints),
        hand_vertices=np.array([LEFT, RIGHT]),
        body_parts=np.array([2] * 8 + [0, 1]),
    )


def with_body(motion: MeshMotion, **rows) -> MeshMotion:
    """Some arrays changed: name -> function of a copy."""
    changed = {}
    for name, change in rows.items():
        changed[name] = getattr(motion, name).copy()
        change(changed[name])
    return dataclasses.replace(motion, **changed)


def shift(step, frames: Any = slice(None), points: Any = slice(None)):
    def change(array):
        array[frames, points] += step

    return change


def turned_object(motion: MeshMotion, degrees: float, step=(0.0, 0.0, 0.0)) -> MeshMotion:
    center = motion.object_vertices.mean(axis=1, keepdims=True)
    R = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    vertices = (motion.object_vertices - center) @ R.T + center + np.asarray(step)
    return dataclasses.replace(motion, object_vertices=vertices)


def test_signed_distance_of_a_box():
    vertices, faces = box(0.2)
    points = np.array([[0.0, 0, 0], [0.17, 0, 0], [0.5, 0, 0], [0.23, 0.24, 0]])
    np.testing.assert_allclose(
        signed_distance(points, vertices, faces), [-0.2, -0.03, 0.3, 0.05], atol=1e-7
    )


def test_chois_contact_counts_frames(held):
    truth = with_body(
        held, body_joints=shift([-0.03, 0, 0], slice(4, None), 22)
    )  # 6 cm from there on
    values = omomo.contact(held, truth)
    assert values["contact_share@5cm"] == 1
    assert values["contact_precision@5cm"] == pytest.approx(4 / 6)
    assert values["contact_recall@5cm"] == 1
    assert values["contact_f1@5cm"] == pytest.approx(0.8)
    assert values["contact_accuracy@5cm"] == pytest.approx(4 / 6)
    assert values["hand_object_distance_cm"] == pytest.approx((3 + 480) / 2)


def test_chois_contact_of_wrists_has_its_own_threshold(held):
    joints = held.joints22.copy()
    joints[:, 20] = [-0.29, 1.2, 0.2]
    wrists = dataclasses.replace(held, body_joints=joints)
    assert omomo.contact(wrists, None) == {"contact_share@10cm": 1}


def test_chois_foot_sliding_is_weighted_by_height(held):
    # The floor is where toes rest (1 cm), the ankle is at half of 8 cm and moves 1 cm a frame.
    slide = np.arange(T)[:, None] * np.array([0.01, 0, 0])
    slides = with_body(held, body_joints=lambda j: j[:, 7].__iadd__(slide))
    values = omomo.foot_sliding(slides)
    expected = 5 * 0.01 * (2 - np.sqrt(2)) / T / 4 * 1000
    assert values["foot_sliding_mm@8cm_4cm"] == pytest.approx(expected)
    assert omomo.foot_sliding(held)["foot_sliding_mm@8cm_4cm"] == 0
    lifted = with_body(slides, body_joints=shift([0, 0.05, 0], points=7))
    assert omomo.foot_sliding(lifted)["foot_sliding_mm@8cm_4cm"] == 0


def test_lowest_vertex_slides(held):
    slides = with_body(held, body_vertices=shift([0.02, 0, 0], slice(3, None)))
    assert omomo.foot_sliding(slides)["lowest_vertex_slides_share@1cm"] == pytest.approx(1 / 5)


def test_chois_penetration_is_a_mean_over_all_hand_vertices(held):
    assert omomo.penetration(held)["hand_penetration_cm"] == pytest.approx(1.5)


def test_chois_pose_errors(held):
    predicted = turned_object(held, 90, (0.03, 0, 0.04))
    predicted = with_body(predicted, body_joints=shift([0, 0.02, 0]))
    values = omomo.pose_errors(predicted, held)
    assert values["mpjpe_root_relative_mm"] == pytest.approx(0, abs=1e-9)
    assert values["root_translation_mm"] == pytest.approx(20)
    assert values["object_translation_mm"] == pytest.approx(50)
    assert values["object_rotation_frobenius"] == pytest.approx(2)  # 2 sqrt(2) sin(45 degrees)


def test_behave_takes_one_similarity_of_the_first_body_away(held):
    R = Rotation.from_euler("xyz", [20, 30, 40], degrees=True).as_matrix()
    values = reconstruction.behave_surfaces(held.moved(1.3, R, np.ones(3)), held)
    for name in ("human", "object", "both"):
        assert values[f"chamfer_{name}_cm"] == pytest.approx(0, abs=1e-6)
        assert values[f"f_score_{name}@1cm"] == 1


@pytest.mark.slow
def test_behave_chamfer_is_the_mean_of_both_directions(held):
    dot, faces = box(1e-4)
    truth = dataclasses.replace(held, object_vertices=still(dot), object_faces=faces)
    values = reconstruction.behave_surfaces(
        with_body(truth, object_vertices=shift([0.03, 0, 0])), truth
    )
    assert values["chamfer_object_cm"] == pytest.approx(3, abs=0.03)
    assert values["chamfer_human_cm"] == pytest.approx(0, abs=1e-9)
    assert values["f_score_object@1cm"] == 0


def falling(motion: MeshMotion, acceleration: float) -> MeshMotion:
    """The object accelerates downwards (m/s2) from rest."""
    drop = np.zeros((T, 1, 3))
    drop[:, 0, 1] = -0.5 * acceleration * (np.arange(T) / FPS) ** 2
    return dataclasses.replace(motion, object_vertices=motion.object_vertices + drop)


def test_behave_acceleration_error_and_jitter(held):
    values = reconstruction.behave_motion(falling(held, 2.0), held)
    assert values["acceleration_error_object_m_s2"] == pytest.approx(2)
    assert values["acceleration_error_human_m_s2"] == pytest.approx(0, abs=1e-9)
    assert values["jitter_object_m_s3"] == pytest.approx(0, abs=1e-8)
    for name in ("v2v_mm", "mpjpe_mm"):
        assert values[name] == pytest.approx(0, abs=1e-9)
    jerks = with_body(held, object_vertices=shift([0.001, 0, 0], slice(3, 4)))
    # Third differences of one raised sample: 1, 3, 3 mm in three windows.
    expected = (1 + 3 + 3) / 3 * 1e-3 * FPS**3
    assert reconstruction.behave_motion(jerks, held)["jitter_object_m_s3"] == pytest.approx(
        expected
    )


def test_rhobin_measures_the_object_from_the_root(held):
    moved = turned_object(held, 60, (0.05, 0, 0))
    moved = with_body(moved, body_joints=shift([0.02, 0, 0]), body_vertices=shift([0.02, 0, 0]))
    values = reconstruction.rhobin(moved, held)
    assert values["object_rotation_deg"] == pytest.approx(60)
    assert values["object_translation_root_aligned_mm"] == pytest.approx(30)
    for name in ("mpjpe_root_aligned_mm", "pa_mpjpe_mm", "v2v_root_aligned_mm"):
        assert values[name] == pytest.approx(0, abs=1e-4)
    assert values["chamfer_object_of_pair_cm"] > 0.1
    assert reconstruction.rhobin(held, held)["chamfer_human_of_pair_cm"] == pytest.approx(
        0, abs=1e-6
    )


def test_v2d_sums_both_directions_and_scores_the_span_of_contact(held):
    small, faces = box(1e-3)
    truth = dataclasses.replace(held, object_vertices=still(small), object_faces=faces)
    near = shift(-truth.body_vertices[0, LEFT] + [0.02, 0, 0], slice(1, 5), LEFT)
    truth = with_body(truth, body_vertices=near)
    predicted = with_body(truth, object_vertices=shift([0, 0, 0.04], slice(1, 5)))
    predicted = with_body(predicted, object_vertices=shift([9.0, 0, 0], slice(0, 1)))  # not scored
    values = reconstruction.v2d(predicted, truth)
    assert values["cd_o_sum_cm"] == pytest.approx(8, abs=0.2)
    assert values["cd_h_sum_cm"] == pytest.approx(0, abs=1e-6)
    assert values["acc_o_cm_frame2"] == pytest.approx(0, abs=1e-6)
    assert values["pen_cm"] == 0


def test_v2d_acceleration_is_per_frame_and_penetration_over_all_points(held):
    values = reconstruction.v2d(falling(held, 2.0), held)
    assert values["acc_o_cm_frame2"] == pytest.approx(2 / FPS**2 * 100)
    assert reconstruction.v2d(held, held)["pen_cm"] == pytest.approx(1.5)


def test_hoi_page(held):
    values = plausibility.hoi_page(falling(held, 2.0))
    assert values["object_smoothness_m"] == pytest.approx(0.5 * 2 / FPS**2)
    values = plausibility.hoi_page(held)
    assert values["noncollision"] == pytest.approx(0.9)
    assert values["contact_share@0cm"] == 1


def test_omniretarget(held):
    away = shift([1.0, 0, 0], slice(2, None), [LEFT, RIGHT])
    predicted = with_body(held, body_vertices=away, body_joints=shift([0.02, 0, 0], slice(3, None)))
    values = plausibility.omniretarget(predicted, held)
    assert values["penetration_duration_share@1cm"] == pytest.approx(2 / 6)
    assert values["penetration_deepest_cm"] == pytest.approx(3)
    assert values["foot_skate_share@1cm_8cm"] == pytest.approx(1 / 5)
    assert values["contact_preserved_share@5cm"] == pytest.approx(2 / 6)


def test_hoi_retarget_measures_in_the_objects_frame(held):
    together = with_body(turned_object(held, 0, (0.3, 0, 0)), body_vertices=shift([0.3, 0, 0]))
    assert plausibility.hoi_retarget(together, held)["contact_point_gap_cm@2cm"] == pytest.approx(
        0, abs=1e-9
    )
    apart = with_body(held, body_vertices=shift([0, 0.03, 0.04], points=LEFT))
    assert plausibility.hoi_retarget(apart, held)["contact_point_gap_cm@2cm"] == pytest.approx(5)


@pytest.mark.parametrize(
    ("scene", "floats"), [("held", 0), ("hovers", 1), ("falls", 0), ("rests on the ground", 0)]
)
def test_repho_float_knows_free_fall_and_the_ground(held, scene, floats):
    motion = held
    if scene != "held":
        motion = with_body(held, body_vertices=shift([3.0, 0, 0], points=[LEFT, RIGHT]))
    if scene == "falls":
        motion = falling(with_body(motion, object_vertices=shift([0, 5.0, 0])), 9.81)
    if scene == "rests on the ground":
        motion = with_body(motion, object_vertices=shift([0, -0.8, 0]))
    values = plausibility.repho(motion)
    assert values["float_share@2cm"] == floats
    assert values["contact_rate@2cm"] == (scene == "held")
    assert values["penetration_cm"] == pytest.approx(3 if scene == "held" else 0)
    assert values["object_jerk_m_s3"] == pytest.approx(0, abs=1e-6)


def test_contact_of_vertices_and_parts_at_their_thresholds(held):
    # The left hand is 1.5 cm away instead of 1: outside ContactMimic's centimeter, inside the others.
    predicted = with_body(held, body_vertices=shift([-0.005, 0, 0], points=LEFT))
    truth = with_body(held, body_vertices=shift([0.005, 0, 0], points=LEFT))
    assert plausibility.contact_mimic(predicted, truth)["contact_recall_parts@1cm"] == 0.5
    assert plausibility.intermimic(predicted, truth)["contact_f1_parts@2cm"] == 1
    assert plausibility.deco(predicted, truth)["contact_f1_vertices@4cm"] == 1
    away = with_body(predicted, body_vertices=shift([-0.03, 0, 0], points=LEFT))
    values = plausibility.deco(away, truth)
    assert values["contact_recall_vertices@4cm"] == 0.5
    assert values["contact_precision_vertices@4cm"] == 1
    assert values["contact_accuracy_vertices@4cm"] == pytest.approx(0.9)


def test_what_a_motion_lacks_is_listed_with_its_reason(held):
    bare = dataclasses.replace(held, body_joints=None, hand_vertices=None)
    values, omitted = measure(bare, None, protocol_names("all"))
    assert values["hoi-page/noncollision"] == pytest.approx(0.9)
    assert "ground truth" in omitted["rhobin/rhobin"]
    assert "hand vertices" in omitted["chois/penetration"]
    assert "joints" in omitted["chois/foot_sliding"]


def test_every_protocol_measures_a_whole_motion(held):
    values, omitted = measure(held, held, protocol_names("all"))
    assert not omitted
    assert {name.partition("/")[0] for name in values} == set(PROTOCOLS)
    assert np.isfinite(list(values.values())).all()


def test_other_topology_is_omitted_not_compared(held):
    fewer = dataclasses.replace(
        held, object_vertices=held.object_vertices[:, :7], object_faces=np.array([[0, 1, 2]])
    )
    with pytest.raises(NotGiven, match="same object mesh"):
        omomo.pose_errors(fewer, held)


def test_unknown_protocols_are_refused():
    assert protocol_names("chois, v2d,chois") == ("chois", "v2d")
    for text in ("chios", "", "all,chois"):
        with pytest.raises(UserError, match="there are chois, behave"):
            protocol_names(text)
    assert protocol_names("V2D, chois") == ("v2d", "chois")


def test_means_count_clips_equally_and_skip_what_is_missing():
    assert mean_rows([{"a": 1.0, "b": 2.0}, {"a": 3.0}]) == {"a": 2.0, "b": 2.0}


def test_a_truth_of_another_rate_is_read_at_the_same_times(held):
    path = np.arange(T)[:, None] * np.array([[0.1, 0, 0]])
    truth = with_body(held, object_vertices=lambda v: v.__iadd__(path[:, None]))
    half = truth.frames(slice(None, None, 2))
    half = dataclasses.replace(half, fps=FPS / 2)
    again = half.at_frames_of(truth.frames(slice(0, 5)))
    np.testing.assert_allclose(again.object_vertices, truth.object_vertices[:5])
    with pytest.raises(UserError, match="cut both to the same stretch"):
        truth.frames(slice(0, 3)).at_frames_of(truth)
