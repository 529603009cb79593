"""The support verdict on scenes whose answer is known by statics, and its negative controls."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import trimesh

from hoijax.errors import UserError
from hoijax.physics.balance import feet_and_balance, volume_centers
from hoijax.physics.contacts import ContactSettings
from hoijax.physics.decomposition import SHEET, thickened
from hoijax.physics.rigid_motion import rigid_motion, smoothed_derivative
from hoijax.physics.support import SupportSettings, find_support, solve_frame
from hoijax.physics.verdict import Weight, judge
from hoijax.results.protocols.mesh_motion import MeshMotion
from hoijax.viewer.forces import MISSING, PRESSES, arrows

T, FPS, MASS = 9, 10.0, 5.0
HALF = 0.2


@pytest.fixture
def held() -> MeshMotion:
    """A box of 40 cm and 5 kg at rest at height 1 m, between two palms of four points each."""
    torso = trimesh.creation.box(extents=[0.4, 1.7, 0.4])
    thing = trimesh.creation.box(extents=[2 * HALF] * 3)
    palm = np.array([[0, y, z] for y in (-0.05, 0.05) for z in (-0.05, 0.05)])
    palms = [palm + np.array([side * (HALF + 0.005), 1.0, 0.0]) for side in (-1, 1)]
    body = np.concatenate([torso.vertices + np.array([0, 0.85, -1]), *palms])
    return MeshMotion(
        fps=FPS,
        object_name="box",
        body_vertices=np.tile(body, (T, 1, 1)),
        body_faces=np.asarray(torso.faces),
        object_vertices=np.tile(thing.vertices + np.array([0, 1.0, 0]), (T, 1, 1)),
        object_faces=np.asarray(thing.faces),
        body_parts=np.array([7] * 8 + [0] * 4 + [1] * 4),
    )


def moved_object(motion: MeshMotion, step: Any) -> MeshMotion:
    return dataclasses.replace(motion, object_vertices=motion.object_vertices + np.asarray(step))


def along(path: np.ndarray, axis: int) -> np.ndarray:
    steps = np.zeros((T, 1, 3))
    steps[:, 0, axis] = path
    return steps


def share(motion: MeshMotion, mass: float = MASS, margin: float = 0.01, **numbers) -> float:
    rigid = rigid_motion(motion, mass)
    settings = SupportSettings(ContactSettings(margin), **numbers)
    return float(find_support(motion, rigid, settings).explained.mean())


def test_two_palms_hold_a_box_by_friction(held):
    support = find_support(held, rigid_motion(held, MASS), SupportSettings(friction=0.6))
    assert support.explained.all()
    # Each palm bears half the weight by friction, so presses with at least 0.5 / 0.6 weights.
    for part in (0, 1):
        np.testing.assert_allclose(support.part_force[part], 0.5 / 0.6, rtol=0.02)
    assert not support.ground_force.any()
    assert not support.free_flight.any()


@pytest.mark.parametrize("sink", [0.0, 0.01])
def test_skin_that_is_inside_pushes_outward_in(held, sink):
    inward = np.zeros(held.body_vertices.shape[1:])
    inward[8:12, 0], inward[12:, 0] = sink, -sink
    assert share(dataclasses.replace(held, body_vertices=held.body_vertices + inward)) == 1


def test_negative_controls(held):
    hands = np.arange(8, 16)
    away = held.body_vertices.copy()
    away[:, hands] += [0, 0, -1.0]
    assert share(dataclasses.replace(held, body_vertices=away)) == 0  # hovers
    assert share(moved_object(held, [0, 0, 0.31])) == 0  # out of the hands
    half = held.body_vertices.copy()
    half[4:, hands] += [0, 0, -1.0]  # contact is lost in the fifth frame
    assert share(dataclasses.replace(held, body_vertices=half)) == pytest.approx(4 / T)
    one = held.body_vertices.copy()
    one[:, hands[:4]] += [0, 0, -1.0]
    assert share(dataclasses.replace(held, body_vertices=one)) == 0  # one palm cannot press alone
    assert share(held, mass=10 * MASS * 2) == 0  # a hundred kilograms between two palms
    assert share(held, friction=1e-3) == 0
    assert share(held, margin=0.004) == 0  # the palms are half a centimeter away


def test_a_hovering_object_misses_its_whole_weight(held):
    support = find_support(
        moved_object(held, [0, 0, 5.0]), rigid_motion(held, MASS), SupportSettings()
    )
    np.testing.assert_allclose(support.missing, 1, atol=1e-6)
    np.testing.assert_allclose(support.missing_force, np.tile([0, 1, 0], (T, 1)), atol=1e-6)


def test_the_ground_carries_what_rests_on_it(held):
    on_ground = moved_object(held, [0, HALF - 1.0, 3.0])
    support = find_support(on_ground, rigid_motion(on_ground, MASS), SupportSettings())
    assert support.explained.all()
    np.testing.assert_allclose(support.ground_force, 1, rtol=1e-3)
    assert not support.body_force.any()


@pytest.mark.parametrize(
    ("axis", "speed", "holds"), [(1, -0.01, 1), (1, -0.1, 0), (2, 0.1, 0), (1, 0.1, 1)]
)
def test_palms_that_slide_drag_the_box_along(held, axis, speed, holds):
    """Friction of a sliding palm has the palm's way: only upward does it bear the weight."""
    sliding = held.body_vertices.copy()
    sliding[:, 8:, axis] += speed * (np.arange(T)[:, None] - T // 2) / FPS
    assert share(dataclasses.replace(held, body_vertices=sliding)) == holds


def test_the_ground_slows_what_slides_and_does_not_drive_it(held):
    times = np.arange(T) / FPS
    on_ground = moved_object(held, [0, HALF - 1.0, 3.0])
    slowing = 0.75 * 0.6 * 9.81 * (2 * times - 0.5 * times**2)
    assert share(moved_object(on_ground, along(slowing, 0))) == 1
    assert share(moved_object(on_ground, along(1.0 * times, 0))) == 0


def test_nothing_is_held_in_the_ground(held):
    sunk = moved_object(held, [0, HALF - 1.0 - 0.03, 3.0])
    verdict = judge(sunk, Weight(MASS))
    assert verdict.values["explained_share@1cm"] == 0
    assert "(3.0 cm in the ground)" in verdict.sentence
    assert share(moved_object(held, [0, HALF - 1.0 - 0.01, 3.0])) == 1


def test_the_ground_does_not_pull(held):
    """Rising from the ground faster than the contact could push is fine; being pulled down is not."""
    drop = along(-0.5 * 20.0 * (np.arange(T) / FPS) ** 2, 1)
    pulled = moved_object(held, drop + np.array([0, 20.0, 3.0]))
    assert share(pulled) == 0


def test_free_flight_needs_no_contact(held):
    thrown = moved_object(
        held, along(3 * np.arange(T) / FPS - 0.5 * 9.81 * (np.arange(T) / FPS) ** 2, 1)
    )
    thrown = moved_object(thrown, [0, 1.0, 5.0])
    support = find_support(thrown, rigid_motion(thrown, MASS), SupportSettings())
    assert support.free_flight.all()


def test_a_table_edge_needs_the_center_above_it():
    """Unit weight on two contacts: inside of them it is carried, outside the moment is missing."""
    up = np.tile([0.0, 1.0, 0.0], (2, 1))
    weight = np.array([0.0, 1, 0, 0, 0, 0])
    force, missing = solve_frame(up, np.array([[-0.1, 0, 0], [0.3, 0, 0]]), weight, 1e-6)
    np.testing.assert_allclose(force[:, 1], [0.75, 0.25], atol=1e-3)
    np.testing.assert_allclose(missing, 0, atol=1e-4)
    _, missing = solve_frame(up, np.array([[0.1, 0, 0], [0.3, 0, 0]]), weight, 1e-6)
    assert np.linalg.norm(missing) > 0.05


def test_spinning_about_a_main_axis_needs_no_moment_and_starting_does(held):
    center = np.array([0, 1.0, 0])

    def turned(angles):
        c, s = np.cos(angles), np.sin(angles)
        R = np.zeros((T, 3, 3))
        R[:, 0, 0], R[:, 0, 2], R[:, 1, 1], R[:, 2, 0], R[:, 2, 2] = c, s, 1, -s, c
        vertices = (held.object_vertices - center) @ R.swapaxes(-1, -2) + center
        return rigid_motion(dataclasses.replace(held, object_vertices=vertices), MASS)

    times = np.arange(T) / FPS
    inertia = MASS * (2 * HALF) ** 2 / 6  # of a cube
    np.testing.assert_allclose(turned(0.5 * times).torques, 0, atol=2e-3)
    started = turned(0.5 * 0.8 * times**2).torques[2:-2]
    np.testing.assert_allclose(started[:, 1], inertia * 0.8, rtol=0.05)
    np.testing.assert_allclose(started[:, [0, 2]], 0, atol=1e-6)


def test_derivatives_are_exact_for_cubics():
    times = np.arange(12) / FPS
    values = np.stack([times**3, 2 * times**2], axis=1)
    np.testing.assert_allclose(
        smoothed_derivative(values, FPS, 2),
        np.stack([6 * times, np.full(12, 4.0)], axis=1),
        atol=1e-9,
    )


def test_the_verdict_says_what_it_assumed(held):
    verdict = judge(held, Weight(MASS))
    assert verdict.sentence.startswith("held 9 of 9 frames; hand force up to 1.7 object weights")
    assert verdict.sentence.endswith("(assumed 5.0 kg)")
    assert verdict.values["explained_share@1cm"] == 1
    assert verdict.values["score"] == pytest.approx(1, abs=0.01)
    assert judge(held, Weight(density=100.0)).assumed["mass_kg"] == pytest.approx(6.4)
    apart = judge(moved_object(held, [0, 0, 3.0]), Weight(MASS))
    assert "held 0 of 9 frames; not at" in apart.sentence
    assert "(1.0 weights missing)" in apart.sentence


def test_the_arrows_of_forces_sum_to_the_weight(held):
    verdict = judge(held, Weight(MASS))
    points, colors = arrows([verdict], 4)
    np.testing.assert_allclose((points[:, 1] - points[:, 0]).sum(axis=0), [0, 0.3, 0], atol=0.02)
    np.testing.assert_allclose(np.abs(points[:, 1, 0]), HALF, atol=1e-6)  # end on the two sides
    assert (colors == PRESSES).all()
    apart = judge(moved_object(held, [0, 0, 3.0]), Weight(MASS))
    ((start, end),), (color,) = arrows([apart], 4)
    np.testing.assert_allclose([start, end], [[0, 1, 3.0], [0, 1.3, 3.0]], atol=1e-4)
    assert tuple(color) == MISSING


def test_feet_and_balance(held):
    values = feet_and_balance(held)
    assert values["foot_skate_cm_s@3cm"] == 0
    assert values["floor_penetration_cm"] == pytest.approx(0, abs=1e-9)
    assert values["balanced_share@3cm"] == 1
    centers = volume_centers(held.body_vertices, held.body_faces)
    np.testing.assert_allclose(centers[0], [0, 0.85, -1], atol=1e-9)
    leaning = held.body_vertices + held.body_vertices[..., 1:2] * np.array([0.5, 0, 0])
    assert (
        feet_and_balance(dataclasses.replace(held, body_vertices=leaning))["balanced_share@3cm"]
        == 0
    )
    slides = held.body_vertices + along(0.05 * np.arange(T) / FPS, 0) - np.array([0, 0.01, 0])
    values = feet_and_balance(dataclasses.replace(held, body_vertices=slides))
    assert values["foot_skate_cm_s@3cm"] == pytest.approx(5)
    assert values["floor_penetration_cm"] == pytest.approx(1)


@pytest.mark.parametrize(
    "numbers",
    [
        {"mass": 0.0},
        {"mass": -1.0},
        {"mass": 1e9},
        {"density": 0.0},
        {"density": float("nan")},
        {"density": 1e6},
    ],
)
def test_masses_are_positive(held, numbers):
    with pytest.raises(UserError, match="must be positive"):
        judge(held, Weight(**numbers))


def test_one_way_to_say_what_it_weighs(held):
    with pytest.raises(UserError, match="give one"):
        Weight(mass=1.0, material="wood")
    vast = dataclasses.replace(held, object_vertices=held.object_vertices * 100)
    with pytest.raises(UserError, match="give its mass"):
        judge(vast)


def test_what_changes_its_shape_is_refused(held):
    stretch = np.linspace(1, 2, held.frame_count)[:, None, None]
    with pytest.raises(UserError, match="changes its shape"):
        judge(dataclasses.replace(held, object_vertices=held.object_vertices * stretch))


def test_flat_objects_are_sheets(held):
    """A poster has no volume, so no hull: it ended in a traceback."""
    flat = dataclasses.replace(held, object_vertices=held.object_vertices * [1.0, 1.0, 0.0])
    rigid = rigid_motion(flat, density=1000.0)
    assert rigid.mass == pytest.approx(1000.0 * (2 * HALF) ** 2 * SHEET, rel=1e-3)
    assert np.isfinite(judge(flat).values["missing_mean_weights"])
    pieces = thickened(flat.object_vertices[0].astype(np.float64))
    assert trimesh.convex.convex_hull(pieces).volume == pytest.approx(rigid.mass / 1000, rel=1e-3)


def test_short_clips_and_bad_settings_are_refused(held):
    with pytest.raises(UserError, match="4 frames or more"):
        judge(held.frames(slice(0, 3)))
    with pytest.raises(UserError, match="must be positive"):
        SupportSettings(friction=0.0)
