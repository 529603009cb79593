"""Object motion states of the PAG: how an object may move (HOI-PAGE L_smo)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hoijax.geometry.rotations import slerp_midpoint, squared_chordal
from hoijax.losses.curvature import Curvature, declare_curvature
from hoijax.scene.posed import PosedScene
from hoijax.scene.scene import Scene

STRUCK = 2
"""Frames beside a flight that a touch may bend: one touch between two flights leaves three."""
STATIC_FACTOR = 10.0  # published: an object that does not move is held ten times harder
Values = Float[Array, "*entities frames"]
Mask = Bool[Array, "*entities frames"]


def translation_smoothness(posed: PosedScene) -> tuple[Values, Mask]:
    """Moving: squared distance to the neighbors' mid-point. Static: to the previous frame. (O, T)

    In free flight the mid-point of a path that nothing bends but gravity lies below it; where a touch begins or
    ends a flight, a path may bend as it likes.
    """
    t = posed.object_translations
    bend = unstruck(posed.scene) * jnp.sum(bends(posed) ** 2, axis=-1)
    step = STATIC_FACTOR * jnp.sum((t[:, 1:] - t[:, :-1]) ** 2, axis=-1)
    return _of_free_objects(posed, posed.scene.objects.is_translational, bend, step)


def bends(posed: PosedScene) -> Float[Array, "O t 3"]:
    """Metres from the neighbors' mid-point, less what gravity bends a flight by, from the second frame on."""
    t = posed.object_translations
    bend = t[:, 1:-1] - 0.5 * (t[:, :-2] + t[:, 2:])
    if posed.scene.drops is None:
        return bend
    return bend.at[..., 1].add(-posed.scene.drops[:, 1:-1])


def unstruck(scene: Scene) -> Float[Array, "O t"]:
    """0 beside a flight, where a kick or a bounce may turn its path at once; from the second frame on.

    To hold such a turn to smoothness would make an object smaller and nearer, for whom every path is shorter.
    """
    count = scene.object_count, max(scene.frame_count - 2, 0)
    if scene.drops is None:
        return jnp.ones(count)
    flies = scene.drops > 0.0
    around = jnp.pad(flies, ((0, 0), (STRUCK, STRUCK)))
    shifted = [around[:, i : i + scene.frame_count] for i in range(2 * STRUCK + 1)]
    struck = jnp.any(jnp.stack(shifted), axis=0) & ~flies
    return 1.0 - struck[:, 1:-1].astype(jnp.float32)


def rotation_smoothness(posed: PosedScene) -> tuple[Values, Mask]:
    """As translation_smoothness, with the slerp mid-point and the squared angle. (O, T)

    The squared angle is taken as 4 sin^2(angle / 2): the same to fourth order and smooth at pi.
    """
    r = posed.object_rotations
    bend = squared_chordal(r[:, 1:-1], slerp_midpoint(r[:, :-2], r[:, 2:]))
    step = STATIC_FACTOR * squared_chordal(r[:, 1:], r[:, :-1])
    return _of_free_objects(posed, posed.scene.objects.is_rotational, bend, step)


def _of_free_objects(
    posed: PosedScene, moves: Array, bend: Array, step: Array
) -> tuple[Array, Array]:
    """Bend or step, by how the object may move; what hangs on a joint has a term of its own."""
    bend = jnp.pad(bend, ((0, 0), (1, 1)))[:, : posed.scene.frame_count]
    step = jnp.pad(step, ((0, 0), (1, 0)))
    values = jnp.where(moves[:, None], bend, step)
    mask = jnp.ones_like(values, dtype=bool)
    if posed.scene.joints is not None:
        mask = mask.at[np.asarray(posed.scene.joints.children)].set(False)
    return values, mask


def translation_curvature(posed: PosedScene) -> Curvature:
    """Of `translation_smoothness`: constant."""
    moves, counts = posed.scene.objects.is_translational, unstruck(posed.scene)
    return _tie_frames(moves, counts, posed.scene.frame_count, slice(3, 6))


def rotation_curvature(posed: PosedScene) -> Curvature:
    """Of `rotation_smoothness`, for turns between frames well below 180 degrees.

    There the turns add up like vectors, and the residual is omega_t minus its neighbors' mean.
    """
    moves, frames = posed.scene.objects.is_rotational, posed.scene.frame_count
    counts = jnp.ones((len(moves), max(frames - 2, 0)))
    return _tie_frames(moves, counts, frames, slice(0, 3))


def _tie_frames(
    moves: Bool[Array, " O"], counts: Float[Array, "O t"], frames: int, axes: slice
) -> Curvature:
    """Curvature of the bend of moving objects, where it counts, and of the steps of static ones, on three axes."""
    step = np.diff(np.eye(frames, dtype=np.float32), axis=0)
    static = 2.0 * STATIC_FACTOR * step.T @ step
    chosen = np.zeros(6, np.float32)
    chosen[axes] = 1.0
    blocks = []
    for offset, moving in enumerate(_of_bends(counts, frames)):
        still = jnp.asarray(np.diagonal(static, offset))
        rows = jnp.where(moves[:, None], moving, still)
        blocks.append(rows[..., None, None] * jnp.asarray(np.diag(chosen)))
    return Curvature(*blocks)


def _of_bends(counts: Float[Array, "O t"], frames: int) -> list[Float[Array, "O n"]]:
    """Diagonals of twice the sum of squared bends (-1/2, 1, -1/2), each times its count."""
    if frames < 3:
        return [jnp.zeros((len(counts), max(frames - offset, 0))) for offset in range(3)]

    def placed(before: int, after: int) -> Float[Array, "O n"]:
        return jnp.pad(counts, ((0, 0), (before, after)))

    main = 0.25 * placed(0, 2) + placed(1, 1) + 0.25 * placed(2, 0)
    to_next = -0.5 * (placed(0, 1) + placed(1, 0))
    return [2.0 * main, 2.0 * to_next, 0.5 * counts]


# By hand, because they are constant: deriving the rotations' takes eighteen times as long.
declare_curvature(translation_smoothness, translation_curvature)
declare_curvature(rotation_smoothness, rotation_curvature)
