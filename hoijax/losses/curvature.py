"""Gauss-Newton curvature of a loss term over the poses of rigid objects: what a Newton step needs.

A pose is moved by a *twist* (omega, tau) about the object's center, in world axes:
R <- exp(omega) R, t <- t + tau. A term whose value is a sum of weighted squared residuals has the
curvature 2 sum w J^T J, with J the derivative of a residual by the six twist parameters. Terms
that tie frames together also have blocks beside the diagonal; coupling between objects is left out
(the gradient is exact, so only the path of the descent depends on it, not where it ends).
"""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hoijax.scene.posed import PosedScene


@flax.struct.dataclass
class Curvature:
    """Blocks of a symmetric matrix over the frames of every object; rows are the earlier frame."""

    diagonal: Float[Array, "O T 6 6"]
    to_next: Float[Array, "O T-1 6 6"] | None = None
    """Coupling of frame t (rows) with t + 1 (columns); None: there is none."""
    to_second: Float[Array, "O T-2 6 6"] | None = None


def gram(jacobian: Float[Array, "*batch n 6"], weight: Float[Array, "*batch n"]) -> Array:
    """2 sum over n of w J^T J: (*batch, 6, 6)."""
    return 2.0 * jnp.einsum("...ni,...nj->...ij", weight[..., None] * jacobian, jacobian)


def robust_weight(squared: Float[Array, "*n"], rho: float | Float[Array, ""]) -> Float[Array, "*n"]:
    """Slope of `geman_mcclure`: the weight of a residual in the reweighted least squares."""
    return (rho**2 / (squared + rho**2)) ** 2


def distance_rows(
    posed: PosedScene, points_world: Float[Array, "O T n 3"], grid: Array
) -> tuple[Float[Array, "O T n"], Float[Array, "O T n 6"]]:
    """Distance of fixed world points to each object, and its derivative by the object's twist.

    The derivative is by the twist in the *object's* axes: `to_world_axes` turns what `gram` makes
    of it, which is cheaper than turning every row. grid: rows of the table, broadcast against
    (O, T, n) from the left.
    """
    scene = posed.scene
    points = posed.to_asset(points_world)
    owner = jnp.arange(scene.object_count)
    distance, slope = scene.distance_with_gradient(points, grid, owner)
    # Behind a barrier: otherwise XLA interpolates again for every entry of every row.
    packed = jax.lax.optimization_barrier(jnp.concatenate([distance[..., None], slope], axis=-1))
    distance, slope = packed[..., 0], packed[..., 1:]
    arm = points - scene.objects.centers[:, None, None]
    return distance, twist_rows(slope, arm, -slope)


def twist_rows(
    a: Float[Array, "*batch 3"], b: Float[Array, "*batch 3"], shift: Float[Array, "*batch 3"]
) -> Float[Array, "*batch 6"]:
    """(a x b, shift), component by component: XLA then fuses it with what made a and b."""
    x, y = ([v[..., i] for i in range(3)] for v in (a, b))
    turn = [x[i - 2] * y[i - 1] - x[i - 1] * y[i - 2] for i in range(3)]
    return jnp.stack([*turn, *(shift[..., i] for i in range(3))], axis=-1)


def to_world_axes(
    blocks: Float[Array, "O T 6 6"], rotations: Float[Array, "O T 3 3"]
) -> Float[Array, "O T 6 6"]:
    """Curvature by twists in world axes from curvature by twists in the object's axes."""
    zero = jnp.zeros_like(rotations)
    both = jnp.concatenate(
        [
            jnp.concatenate([rotations, zero], axis=-1),
            jnp.concatenate([zero, rotations], axis=-1),
        ],
        axis=-2,
    )
    return both @ blocks @ jnp.swapaxes(both, -1, -2)


def moving_points(
    posed: PosedScene, points_world: Float[Array, "O T n 3"], slope_world: Float[Array, "O T n 3"]
) -> Float[Array, "O T n 6"]:
    """Derivative, by the twist in world axes, of a function of points that move with an object."""
    return twist_rows(
        points_world - posed.object_translations[:, :, None], slope_world, slope_world
    )
