"""Gauss-Newton curvature: derived against dense Jacobians, written by hand against derived."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from residual_twins import BY_HAND, DERIVED, contact_drift, part_contact
from scene_factory import FRAMES, OBJECTS, make_scene

from hoijax.geometry.rotations import axis_angle_to_matrix, rotation_6d_to_matrix
from hoijax.losses.curvature import Curvature, LeastSquares, curvature_of, moved_by, roots_of
from hoijax.losses.fit import model_mask
from hoijax.losses.smoothness import translation_smoothness
from hoijax.scene.posed import PosedScene, pose_objects

LEAVE_OUT_TURNS = ("rotation_smoothness", "contact_drift")
"""Written by hand with the turn between neighboring frames left out of what they share."""


@pytest.fixture(scope="module")
def posed() -> PosedScene:
    """A touch off the ground truth: at it, absolute distances have kinks."""
    made = make_scene(resolution=24, noise=0.0)
    rotations = rotation_6d_to_matrix(made.ground_truth.object_rotation_6d)
    rotations = rotations @ axis_angle_to_matrix(jnp.full((OBJECTS, FRAMES, 3), 0.004))
    return pose_objects(made.scene, rotations, made.ground_truth.object_translation, made.neighbors)


def blocks_of(curvature: Curvature) -> list[np.ndarray]:
    """On the diagonal and beside it; zero where there are none."""
    count = curvature.diagonal.shape[1]
    given = curvature.diagonal, curvature.to_next, curvature.to_second
    return [
        np.zeros((OBJECTS, count - offset, 6, 6)) if block is None else np.asarray(block)
        for offset, block in enumerate(given)
    ]


@pytest.mark.parametrize("loss", BY_HAND, ids=lambda loss: loss.__name__)
def test_by_hand_is_what_is_derived(loss, posed):
    """To rounding; where turns are left out, to a quarter of the largest entry beside the diagonal."""
    by_hand, derived = jax.jit(lambda posed: (curvature_of(loss)(posed), BY_HAND[loss](posed)))(
        posed
    )
    assert not isinstance(curvature_of(loss), LeastSquares)
    for offset, (ours, expected) in enumerate(
        zip(blocks_of(by_hand), blocks_of(derived), strict=True)
    ):
        rough = loss.__name__ in LEAVE_OUT_TURNS and (
            offset or loss.__name__.startswith("rotation")
        )
        tolerance = 0.25 if rough else 1e-5
        np.testing.assert_allclose(ours, expected, atol=tolerance * np.abs(expected).max() + 1e-7)
    assert np.abs(blocks_of(by_hand)[0]).max() > 1e-3, "nothing to compare"


def dense_blocks(residuals, posed: PosedScene) -> list[np.ndarray]:
    """2 J^T W J by the whole Jacobian, and its blocks within each object."""
    zero = jnp.zeros((OBJECTS, FRAMES, 6))
    J = jax.jit(jax.jacrev(lambda twist: residuals(moved_by(posed, twist)).values.ravel()))(zero)
    J = np.asarray(J, np.float64)
    weights = np.asarray(jax.jit(residuals)(posed).weights, np.float64).ravel()
    whole = 2.0 * np.einsum("r,roti,rosj->otsij", weights, J, J)
    frame = np.arange(FRAMES)
    return [whole[:, frame[: FRAMES - k], frame[k:]] for k in range(3)]


DENSE = {
    **{loss.__name__: curvature_of(loss) for loss in DERIVED},
    "part_contact": LeastSquares(part_contact, ties_frames=False),
    "contact_drift": LeastSquares(contact_drift),
    "values of a loss": LeastSquares(roots_of(translation_smoothness)),
}


@pytest.mark.parametrize("curvature", DENSE.values(), ids=DENSE)
def test_derived_is_the_product_of_jacobians(curvature, posed):
    """Frames three at a time, objects together or one by one: the same as every pose alone."""
    expected = dense_blocks(curvature.residuals, posed)
    for ours, block in zip(blocks_of(jax.jit(curvature)(posed)), expected, strict=True):
        np.testing.assert_allclose(ours, block, atol=1e-5 * np.abs(expected[0]).max())


def test_values_that_are_squares_have_the_curvature_of_their_roots(posed):
    """One residual a value: nothing is lost; where a value is zero, there is no curvature, and no NaN."""

    def height(posed):
        values = (posed.object_translations[..., 1] - 0.3) ** 2
        return values, posed.scene.observed.detected

    flat = replace(posed, object_translations=posed.object_translations.at[0, 0, 1].set(0.3))
    found = blocks_of(jax.jit(curvature_of(height))(flat))
    expected = np.zeros((OBJECTS, FRAMES, 6, 6))
    expected[..., 4, 4] = 2.0 * np.asarray(posed.scene.observed.detected)
    expected[0, 0] = 0.0
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    assert not np.any(found[1:][0])


def test_a_robust_scale_is_passed_on(posed):
    curvature = jax.jit(curvature_of(model_mask))
    gentle, usual = (curvature(posed, jnp.asarray(rho)).diagonal for rho in (1e3, 8.0))
    np.testing.assert_allclose(usual, curvature(posed).diagonal, rtol=1e-5, atol=1e-5)
    assert float(jnp.max(gentle)) > float(jnp.max(usual))
