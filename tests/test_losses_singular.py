"""Loss terms at their singular points: finite values and gradients, whatever is missing or coincides."""

import jax.numpy as jnp
import numpy as np
import pytest
from loss_twins import make_twin
from scene_factory import FRAMES, OBJECTS, make_scene
from test_losses import OF_DETECTIONS, Outcome, with_poses, with_scene


@pytest.fixture(scope="module")
def made():
    return make_scene()


def test_points_exactly_on_the_surface(made):
    """Distance zero: the unsigned distance has a fold there."""
    twin = make_twin(made)
    samples = np.asarray(made.scene.objects.samples, np.float64)
    points = np.array(made.scene.observed.points_world)
    bodies = np.array(made.scene.body_vertices_world)
    contacts = np.array(made.scene.edges.points)
    for t in range(FRAMES):
        for o in range(OBJECTS):
            points[o, t] = twin.to_world(samples[o, : points.shape[2]], o, t)
        for p in range(2):
            bodies[p, t] = twin.to_world(samples[p, : bodies.shape[2]], p, t)
        contacts[:, :, t] = twin.to_world(samples[0, : contacts.shape[3]], 0, t)
    found = Outcome(with_scene(made, observed={"points_world": points}, edges={"points": contacts}))
    found.assert_finite()
    assert found.totals["object_points"] < 2e-4


def test_points_on_grid_nodes_and_at_the_center(made):
    """Where cells meet the gradient jumps, but it is one of the two."""
    grids, twin = made.scene.grids, make_twin(made)
    points = np.array(made.scene.observed.points_world)
    n = grids.corners.shape[1]
    for o in range(OBJECTS):
        steps = np.linspace(0, n, points.shape[2]).round()[:, None]
        nodes = np.asarray(grids.lower)[o] + steps * np.asarray(grids.spacing)[o]
        for t in range(FRAMES):
            points[o, t] = twin.to_world(nodes - np.asarray(made.scene.objects.centers)[o], o, t)
            points[o, t, 0] = np.asarray(made.unknowns.object_translation)[o, t]
    Outcome(with_scene(made, observed={"points_world": points})).assert_finite()


def test_zero_detections(made):
    shape = np.asarray(made.scene.observed.point_mask).shape
    empty = {
        "detected": np.zeros(shape[:2], bool),
        "point_mask": np.zeros(shape, bool),
        "part_shares": np.zeros(made.scene.observed.part_shares.shape, np.float32),
        "points_world": np.zeros((*shape, 3), np.float32),
        "pixels": np.zeros((*shape, 2), np.float32),
        "mask_distance": np.zeros(made.scene.observed.mask_distance.shape, np.float32),
    }
    found = Outcome(with_scene(made, observed=empty))
    found.assert_finite()
    for name in OF_DETECTIONS:
        assert found.totals[name] == 0.0
        np.testing.assert_array_equal(found.slopes[name].object_translation, 0.0)


def test_detected_frames_without_a_single_point(made):
    """A detection whose points were all dropped: a cost of zero, not 0 / 0."""
    mask = np.zeros(made.scene.observed.point_mask.shape, bool)
    shares = np.zeros(made.scene.observed.part_shares.shape, np.float32)
    found = Outcome(with_scene(made, observed={"point_mask": mask, "part_shares": shares}))
    found.assert_finite()
    for name in OF_DETECTIONS[:-1]:
        assert found.totals[name] == 0.0


def test_all_edges_masked(made):
    edges = made.scene.edges
    nothing = {
        "mask": np.zeros(edges.mask.shape, bool),
        "slot_mask": np.zeros(edges.slot_mask.shape, bool),
        "select_side": np.ones(edges.select_side.shape, bool),
    }
    found = Outcome(with_scene(made, edges=nothing))
    found.assert_finite()
    for name in ("contact", "contact_drift"):
        assert found.totals[name] == 0.0
        np.testing.assert_array_equal(found.slopes[name].object_translation, 0.0)


def test_no_frame_in_contact(made):
    states = np.zeros(made.neighbors.contact_state.shape)
    found = Outcome(with_scene(made, neighbors={"contact_state": states}))
    found.assert_finite()
    assert found.totals["contact_drift"] == 0.0


def test_objects_in_one_place_and_orientation(made):
    """All poses identical, objects inside each other, consecutive rotations equal."""
    six = np.broadcast_to([1.0, 0, 0, 0, 1, 0], (OBJECTS, FRAMES, 6))
    found = Outcome(with_poses(made, six, np.zeros((OBJECTS, FRAMES, 3))))
    found.assert_finite()
    assert found.totals["object_penetration"] > 0.0


def test_half_turns_between_frames(made):
    """Opposite rotations: the mid-point and the angle are at their branch cuts."""
    flip = np.array([[1.0, 0, 0, 0, 1, 0], [-1.0, 0, 0, 0, 1, 0]])
    six = np.broadcast_to(flip[np.arange(FRAMES) % 2], (OBJECTS, FRAMES, 6))
    found = Outcome(with_poses(made, six, made.unknowns.object_translation))
    found.assert_finite()
    # 10 x 4 sin^2(90 degrees) for the one that may not rotate.
    np.testing.assert_allclose(found.counted("rotation_smoothness")[0, 1:], 40.0, rtol=1e-5)


@pytest.mark.parametrize(
    "six", [[0.0] * 6, [1.0, 0, 0, 2.0, 0, 0], [0.0, 0, 0, 0, 1, 0], [1e-20] * 6]
)
def test_degenerate_6d_rotations(made, six):
    broken = np.broadcast_to(np.asarray(six), (OBJECTS, FRAMES, 6))
    Outcome(with_poses(made, broken, made.unknowns.object_translation)).assert_finite()


@pytest.mark.parametrize("offset", [[100.0, 0, 0], [0, 0, 2.2], [0, 0, 50.0], [0, -1e4, 0]])
def test_objects_far_away_and_behind_the_camera(made, offset):
    """Outside the grids, out of the image, through and behind the camera."""
    found = Outcome(
        with_poses(
            made,
            made.unknowns.object_rotation_6d,
            made.unknowns.object_translation + jnp.asarray(offset),
        )
    )
    found.assert_finite()


def test_an_object_metres_away_is_still_pulled_home(made):
    """The gradient of the point term points back, however far the start."""
    away = np.asarray(made.unknowns.object_translation) + np.array([1.0, 0.5, -1.0])
    slopes = Outcome(with_poses(made, made.unknowns.object_rotation_6d, away)).slopes[
        "object_points"
    ]
    detected = np.asarray(made.scene.observed.detected)
    along = slopes.object_translation @ np.array([1.0, 0.5, -1.0])
    assert (along[detected] > 0.0).all()
