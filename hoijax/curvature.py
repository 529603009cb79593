"""Gauss-Newton curvature of a loss term over the poses of rigid objects: what a Newton step needs.

A pose is moved by a *twist* (omega, tau) about the object's centre, in world axes:
R <- exp(omega) R, t <- t + tau. A term whose value is a sum of weighted squared residuals has the
curvature 2 sum w J^T J, with J the derivative of a residual by the six twist parameters. Terms
that tie frames together also have blocks beside the diagonal; coupling between objects is left out
(the gradient is exact, so only the path of the descent depends on it, not where it ends).
"""

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float

from hoijax.objects.distance_grid import DistanceGrids, query_with_gradient
from hoijax.scene import PosedScene


@flax.struct.dataclass
class Curvature:
    """Blocks of a symmetric matrix over the frames of every object; rows are the earlier frame."""

    diagonal: Float[Array, "O T 6 6"]
    to_next: Float[Array, "O T-1 6 6"] | None = None
    """Coupling of frame t (rows) with t + 1 (columns); None: there is none."""
    to_second: Float[Array, "O T-2 6 6"] | None = None


def gram(jacobian: Float[Array, "*batch n 6"], weight: Float[Array, "*batch n"]) -> Array:
    """2 sum over n of w J^T J: (*batch, 6, 6)."""
    return 2.0 * jnp.einsum("...n,...ni,...nj->...ij", weight, jacobian, jacobian)


def robust_weight(squared: Float[Array, "*n"], rho: float) -> Float[Array, "*n"]:
    """Slope of `geman_mcclure`: the weight of a residual in the reweighted least squares."""
    return (rho**2 / (squared + rho**2)) ** 2


def distance_rows(
    posed: PosedScene, points_world: Float[Array, "O T n 3"], grid: Array
) -> tuple[Float[Array, "O T n"], Float[Array, "O T n 6"]]:
    """Distance of fixed world points to each object, and its derivative by the object's twist.

    grid: rows of the table, broadcast against (O, T, n) from the left.
    """
    scene = posed.scene
    owner = jnp.arange(scene.object_count)[:, None, None]
    table = DistanceGrids(scene.grids.corners, scene.grids.lower[owner], scene.grids.spacing[owner])
    grid = grid.reshape(grid.shape + (1,) * (3 - grid.ndim))
    distance, slope = query_with_gradient(table, posed.to_asset(points_world), grid)
    return distance, moving_target(posed, points_world, slope)


def moving_target(
    posed: PosedScene, points_world: Float[Array, "O T n 3"], slope_object: Float[Array, "O T n 3"]
) -> Float[Array, "O T n 6"]:
    """Derivative by the twist of an object of a function of world points seen from that object."""
    slope = jnp.einsum("otij,otnj->otni", posed.rotations, slope_object)
    arm = points_world - posed.translations[:, :, None]
    return jnp.concatenate([jnp.cross(slope, arm), -slope], axis=-1)


def moving_points(
    posed: PosedScene, points_world: Float[Array, "O T n 3"], slope_world: Float[Array, "O T n 3"]
) -> Float[Array, "O T n 6"]:
    """Derivative by the twist of an object of a function of points that move with that object."""
    arm = points_world - posed.translations[:, :, None]
    return jnp.concatenate([jnp.cross(arm, slope_world), slope_world], axis=-1)
