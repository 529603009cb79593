"""Gauss-Newton curvature of a loss term over the poses of rigid objects: what a Newton step needs.

A pose is moved by a *twist* (omega, tau) about the object's center, in world axes:
R <- exp(omega) R, t <- t + tau. A term whose value is a sum of weighted squared residuals has the
curvature 2 sum w J^T J, with J the derivative of a residual by the six twist parameters. Terms
that tie frames together also have blocks beside the diagonal; coupling between objects is left out
(the gradient is exact, so only the path of the descent depends on it, not where it ends).

The curvature is derived (`LeastSquares`) from a term's residuals, where its module declares them, and
otherwise from its values. A curvature written by hand is an override beside its loss, where it is
measured faster.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hoijax.geometry.point_transforms import axes_of, crossed, in_one_array
from hoijax.geometry.rotations import axis_angle_to_matrix
from hoijax.scene.posed import PosedScene

SMALLEST_VALUE = 1e-12
"""Of a term: below it, its root has no slope."""


@flax.struct.dataclass
class Curvature:
    """Blocks of a symmetric matrix over the frames of every object; rows are the earlier frame."""

    diagonal: Float[Array, "O T 6 6"]
    to_next: Float[Array, "O T-1 6 6"] | None = None
    """Coupling of frame t (rows) with t + 1 (columns); None: there is none."""
    to_second: Float[Array, "O T-2 6 6"] | None = None


@flax.struct.dataclass
class Residuals:
    """A term as weighted least squares around the current poses: in every frame sum of w r^2.

    Weights are held constant: masks, shares, the reweighting of a robust kernel (`robust_weight`).
    """

    values: Float[Array, "*entities T n"]
    weights: Float[Array, "*entities T n"]


@dataclass(frozen=True)
class LeastSquares:
    """Curvature from residuals by forward derivatives: six for every group of poses moved at once."""

    residuals: Callable[..., Residuals]
    """Called as the term's function."""
    ties_frames: bool = True
    """Residuals of frame t may read frames t - 1, t and t + 1 (then every third frame is moved at once);
    otherwise frame t alone. What reads others is attributed wrongly: the descent is slower, not wrong."""
    by_object: bool = False
    """Entities lead with O, and those of an object read its poses alone (then all objects are moved at
    once)."""

    def __call__(self, posed: PosedScene, *scale: Float[Array, ""]) -> Curvature:
        objects, frames = posed.object_translations.shape[:2]
        groups = 3 if self.ties_frames else 1
        group_of = jnp.arange(frames) % groups

        def moved(twist: Float[Array, "O T 6"]) -> tuple[Array, Array]:
            there = moved_by(posed, twist)
            residuals = self.residuals(there, *scale)
            return residuals.values, residuals.weights

        # Look-ups define their reverse derivative (`custom_vjp`): the forward one is its transpose.
        values, pull, weights = jax.vjp(moved, jnp.zeros((objects, frames, 6)), has_aux=True)
        _, push = jax.vjp(lambda cotangent: pull(cotangent)[0], values)

        def columns(chosen: Array, group: Array) -> Float[Array, "*entities T n 6"]:
            moves = chosen[:, None] & (group_of == group)
            tangents = moves[..., None].astype(jnp.float32) * jnp.eye(6)[:, None, None]
            return jnp.moveaxis(jax.vmap(push)(tangents)[0], 0, -1)

        def blocks_of(chosen: Array) -> list[Array]:
            jacobian = jax.vmap(lambda group: columns(chosen, group))(jnp.arange(groups))
            return _blocks(jacobian, weights, self.by_object)

        if self.by_object or objects == 1:
            blocks = blocks_of(jnp.ones(objects, bool))
            if not self.by_object:
                blocks = [block[None] for block in blocks]
        else:
            blocks = jax.vmap(blocks_of)(jnp.eye(objects, dtype=bool))
        return Curvature(*blocks)


def _blocks(
    jacobian: Float[Array, "groups *entities T n 6"],
    weights: Float[Array, "*entities T n"],
    by_object: bool,
) -> list[Array]:
    """Blocks on the diagonal and beside it, (T - offset, 6, 6) each, or (O, T - offset, 6, 6)."""
    groups, frames = jacobian.shape[0], jacobian.shape[-3]
    entities = range(by_object, weights.ndim - 2)
    frame = jnp.arange(frames)

    def by(offset: int) -> Float[Array, "*entities T n 6"]:
        """Derivative of the residuals of frame t by the pose of frame t + offset."""
        of_group = jnp.moveaxis(jacobian, -3, 0)
        taken = jnp.moveaxis(of_group[frame, (frame + offset) % groups], 0, -3)
        inside = (frame + offset >= 0) & (frame + offset < frames)
        return jnp.where(inside[:, None, None], taken, 0.0)

    def product(a: Array, b: Array) -> Array:
        pairs = 2.0 * jnp.einsum("...n,...ni,...nj->...ij", weights, a, b)
        return jnp.sum(pairs, axis=tuple(entities))

    if groups == 1:
        return [product(jacobian[0], jacobian[0])]
    before, here, after = by(-1), by(0), by(1)
    later = product(before, before)[..., 1:, :, :], product(after, after)[..., :-1, :, :]
    rest = [(0, 0)] * (later[0].ndim - 3), [(0, 0), (0, 0)]
    diagonal = (
        product(here, here)
        + jnp.pad(later[0], [*rest[0], (0, 1), *rest[1]])
        + jnp.pad(later[1], [*rest[0], (1, 0), *rest[1]])
    )
    to_next = product(here, after)[..., :-1, :, :] + product(before, here)[..., 1:, :, :]
    return [diagonal, to_next, product(before, after)[..., 1:-1, :, :]]


def moved_by(posed: PosedScene, twist: Float[Array, "O T 6"]) -> PosedScene:
    """The scene with every object moved by its twist."""
    return replace(
        posed,
        object_rotations=axis_angle_to_matrix(twist[..., :3]) @ posed.object_rotations,
        object_translations=posed.object_translations + twist[..., 3:],
    )


def roots_of(function: Callable[..., tuple[Array, Array]]) -> Callable[..., Residuals]:
    """The values of a term as squares: one residual for every value, its root.

    The root's slope is that of the value over twice the root: J_r^T J_r is J_v^T J_v / (4 v). Of a value
    that sums many squares this knows the curvature along the gradient alone.
    """

    def residuals(posed: PosedScene, *scale: Float[Array, ""]) -> Residuals:
        values, mask = function(posed, *scale)
        counts = mask & (values > SMALLEST_VALUE)
        weights = jnp.where(counts, 0.25 / jnp.where(counts, values, 1.0), 0.0)
        return Residuals(values[..., None], weights[..., None])

    return residuals


def declare_curvature(
    function: Callable[..., tuple[Array, Array]], curvature: Callable[..., Curvature]
) -> None:
    """The curvature of a loss function: a `LeastSquares` of its residuals, or written by hand.

    It is called as the loss, and is that of its values summed over entities and frames.
    """
    function.curvature = curvature  # pyright: ignore[reportFunctionMemberAccess]


def curvature_of(function: Callable[..., tuple[Array, Array]]) -> Callable[..., Curvature]:
    """What a loss function declares, or what its values tell."""
    return getattr(function, "curvature", None) or LeastSquares(roots_of(function))


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
    # Kept: otherwise XLA interpolates again for every entry of every row.
    distance, *axes = in_one_array([distance, *axes_of(slope)])
    slope = jnp.stack(axes, axis=-1)
    arm = points - scene.objects.centers[:, None, None]
    return distance, twist_rows(slope, arm, -slope)


def twist_rows(
    a: Float[Array, "*batch 3"], b: Float[Array, "*batch 3"], shift: Float[Array, "*batch 3"]
) -> Float[Array, "*batch 6"]:
    """(a x b, shift), component by component: XLA then fuses it with what made a and b."""
    return jnp.stack([*crossed(axes_of(a), axes_of(b)), *axes_of(shift)], axis=-1)


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
