"""Rotations that turn an object into itself, found by trying, and angles counted modulo them."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hoijax.geometry.rotations import axis_angle_to_matrix, super_fibonacci_rotations
from hoijax.objects.asset import Asset
from hoijax.objects.content_cache import remember
from hoijax.objects.distance_grid import (
    FIRST_PART,
    UNSIGNED,
    DistanceGrids,
    build_distance_grids,
    query,
    query_with_gradient,
)
from hoijax.programs import program
from hoijax.runtime import on_device

STEP_DEGREES = 15.0
"""Spacing of the rotations that stand for a continuous axis."""
SAME_DEGREES = 7.6
"""Rotations closer than this are one; a little over half a step."""
SPHERE_MEMBERS = 288
"""Even rotations that stand, beside turns about the axes, for a ball's symmetries."""
LARGEST_GROUP = 600
ALIKE_DEGREES, ALIKE_BUCKET = 20.0, 8

_CHUNK = 256
_GRIDS = 8
_STARTS, _SEARCH_POINTS, _TEST_POINTS = 2048, 192, 1024


@remember(64, resized=lambda symmetries, factor: symmetries)
def find_symmetries(
    asset: Asset, tolerance: float = 0.03, respect_parts: bool = True
) -> Float[np.ndarray, "S 3 3"]:
    """Rotations about `asset.center`, in the object's frame, that map its surface onto itself.

    A rotation counts when of the rotated surface samples 99 % lie within `tolerance` (a share of the
    radius) of the surface, and all lie within a third of it on average. With `respect_parts` every sample
    must find its own part there. The identity comes first; a continuous axis is sampled every 15 degrees
    (a ball: turns about the axes and an even spread). `T_world_object` composed with any of them from
    the right, about the center, looks the same.
    """
    tables = _padded(build_distance_grids(asset))
    points, rows = _probe_points(asset, respect_parts, _TEST_POINTS)
    center, limit = on_device(asset.center), tolerance * asset.radius

    def fits(rotations: np.ndarray) -> Bool[np.ndarray, " N"]:
        if len(rotations) == 0:
            return np.zeros(0, bool)
        mean, high = _in_chunks(
            lambda r: _misfits(tables, points, rows, center, r), np.asarray(rotations, np.float32)
        )
        return (high <= limit) & (mean <= limit / 3.0)

    starts = super_fibonacci_rotations(_STARTS)
    if fits(starts).mean() > 0.98:
        return _sphere_group()
    coarse_points, coarse_rows = _probe_points(asset, respect_parts, _SEARCH_POINTS)
    refined = _search(tables, coarse_points, coarse_rows, center, starts)
    refined = refined[fits(refined)]
    axes, inertia_axes = _likely_axes(asset)
    group = np.eye(3)[None]
    for batch in (_turns(axes), _turns(inertia_axes), _turns(_axes_of(refined)), refined):
        # Exact turns first and closed under products, so that refined ones only fill what is missing.
        group = _close(_extend(group, batch[fits(batch)]), fits)
    return group.astype(np.float32)


def symmetric_angle_degrees(
    estimate: Float[np.ndarray, "*batch 3 3"],
    ground_truth: Float[np.ndarray, "*batch 3 3"],
    symmetries: Float[np.ndarray, "S 3 3"],
) -> Float[np.ndarray, "*batch"]:
    """Angle between two rotations T_world_object modulo an object's symmetries, degrees.

    Sampled continuous axes count as continuous: turning about them costs nothing, and for a ball nothing
    does. `symmetries` come from `find_symmetries`.
    """
    estimate, ground_truth = np.asarray(estimate, np.float64), np.asarray(ground_truth, np.float64)
    relative = np.swapaxes(ground_truth, -1, -2) @ estimate
    axes = continuous_axes(symmetries)
    if len(axes) > 1:
        return np.zeros(relative.shape[:-2])
    # truth @ S and estimate differ by S^T truth^T estimate.
    relative = np.einsum("sji,...jk->...sik", np.asarray(symmetries, np.float64), relative)
    quaternion = _quaternions(relative)
    cosine = quaternion[..., 0] ** 2
    if len(axes) == 1:  # the best turn about the axis leaves only the swing of the axis itself
        cosine = cosine + (quaternion[..., 1:] @ axes[0]) ** 2
    half = np.arccos(np.sqrt(np.clip(cosine.max(axis=-1), 0.0, 1.0)))
    return 2.0 * np.degrees(half)


def without_alike(
    rotations: Float[np.ndarray, "N 3 3"], symmetries: Float[np.ndarray, "S 3 3"]
) -> Float[np.ndarray, "M 3 3"]:
    """Rotations T_world_object that show an object differently, by `ALIKE_DEGREES` or more, from those before.

    All of them where no axis is continuous: hardly any are alike then. Filled up to a multiple of
    `ALIKE_BUCKET` by others, so that few programs serve all objects.
    """
    axes = continuous_axes(symmetries)
    if not len(axes):
        return rotations
    chosen = [0]
    for i in range(1, len(rotations) if len(axes) == 1 else 0):
        relative = np.swapaxes(rotations[chosen], -1, -2) @ rotations[i]
        if _angle_to_nearest(relative, symmetries).min() > ALIKE_DEGREES:
            chosen.append(i)
    others = np.setdiff1d(np.arange(len(rotations)), chosen)
    return rotations[np.sort([*chosen, *others[: -len(chosen) % ALIKE_BUCKET]])]


def continuous_axes(symmetries: Float[np.ndarray, "S 3 3"]) -> Float[np.ndarray, "A 3"]:
    """Unit axes about which the set holds a turn for every step of 15 degrees."""
    return _continuous_axes(np.asarray(symmetries, np.float64).tobytes()).copy()


@functools.lru_cache(maxsize=64)
def _continuous_axes(symmetries: bytes) -> Float[np.ndarray, "A 3"]:
    """The same by content: metrics ask for every candidate and twin again."""
    group = np.frombuffer(symmetries).reshape(-1, 3, 3)
    steps = round(360.0 / STEP_DEGREES)
    axes = _axes_of(group, least=steps // 2)
    if len(axes) == 0:
        return axes
    turns = _turns(axes).reshape(len(axes), -1, 3, 3)
    gaps = np.stack([_angle_to_nearest(t, group) for t in turns])
    return axes[(gaps < SAME_DEGREES).all(axis=1)]


def _padded(grids: DistanceGrids) -> DistanceGrids:
    """Up to a multiple of `_GRIDS`, so that objects of few and of more parts share their programs."""
    corners = np.asarray(grids.corners)
    missing = -len(corners) % _GRIDS
    corners = np.pad(corners, [(0, missing), *[(0, 0)] * (corners.ndim - 1)])
    return jax.device_put(dataclasses.replace(grids, corners=corners))


def _probe_points(
    asset: Asset, respect_parts: bool, count: int
) -> tuple[Float[Array, "n 3"], Int[Array, " n"]]:
    """Surface points about the center and the grid each has to land on."""
    chosen = np.linspace(0, len(asset.samples) - 1, count).astype(int)
    rows = np.full(count, UNSIGNED)
    if respect_parts:
        parts = asset.sample_parts[chosen]
        rows = np.where(parts >= 0, FIRST_PART + parts, UNSIGNED)
    return on_device(asset.samples[chosen] - asset.center), on_device(rows)


@program
def _misfits(
    grids: DistanceGrids, points: Array, rows: Array, center: Array, rotations: Array
) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
    """Mean and 99th percentile of the distances of the rotated points to the surface."""

    def one(rotation: Array) -> tuple[Array, Array]:
        distance = jnp.abs(query(grids, points @ rotation.T + center, rows))
        worst = jax.lax.top_k(distance, points.shape[0] // 100 + 1)[0]
        return jnp.mean(distance), worst[-1]

    return jax.vmap(one)(rotations)


@program(static=("steps",))
def _refine(
    grids: DistanceGrids, points: Array, rows: Array, center: Array, rotations: Array, steps: int
) -> Float[Array, "N 3 3"]:
    """Damped Gauss-Newton on the squared distances, all candidates at once (ICP without pairing)."""

    def step(rotation: Array, _: None) -> tuple[Array, None]:
        turned = points @ rotation.T
        distance, slope = query_with_gradient(grids, turned + center, rows)
        jacobian = jnp.cross(turned, slope)
        normal = jacobian.T @ jacobian
        damping = 1e-3 * jnp.trace(normal) + 1e-9
        change = jnp.linalg.solve(normal + damping * jnp.eye(3), -jacobian.T @ distance)
        return axis_angle_to_matrix(change) @ rotation, None

    return jax.vmap(lambda r: jax.lax.scan(step, r, None, length=steps)[0])(rotations)


def _search(
    grids: DistanceGrids, points: Array, rows: Array, center: Array, starts: np.ndarray
) -> Float[np.ndarray, "N 3 3"]:
    """The most promising of evenly spread rotations, refined."""
    mean, _ = _in_chunks(lambda r: _misfits(grids, points, rows, center, r), starts)
    best = np.argsort(mean)[:_CHUNK]
    refined = _refine(grids, points, rows, center, on_device(starts[best]), steps=12)
    refined = np.asarray(refined, np.float64)
    return refined[np.isfinite(refined).all(axis=(1, 2))]


def _in_chunks(function, rotations: np.ndarray) -> tuple[np.ndarray, ...]:
    """Call a compiled function on batches of one size, so that it compiles once."""
    count = len(rotations)
    padded = np.concatenate(
        [rotations, np.tile(np.eye(3, dtype=np.float32), (-count % _CHUNK, 1, 1))]
    )
    results = [function(padded[i : i + _CHUNK]) for i in range(0, len(padded), _CHUNK)]
    return tuple(
        np.concatenate([np.asarray(r) for r in column])[:count]
        for column in zip(*results, strict=True)
    )


def _likely_axes(asset: Asset) -> tuple[Float[np.ndarray, "A 3"], Float[np.ndarray, "3 3"]]:
    """Coordinate axes and their diagonals; the axes of inertia of the surface."""
    eye = np.eye(3)
    diagonals = np.array([eye[a] + s * eye[b] for a in range(3) for b in range(a) for s in (1, -1)])
    _, inertia = np.linalg.eigh(np.cov((asset.samples - asset.center).T.astype(np.float64)))
    return np.concatenate([eye, diagonals / np.sqrt(2.0)]), inertia.T


def _turns(axes: Float[np.ndarray, "A 3"]) -> Float[np.ndarray, "N 3 3"]:
    """Turns about axes by every multiple of 15 degrees but none (which also holds 360 / 2, 3, 4, 6)."""
    angles = np.radians(np.arange(STEP_DEGREES, 360.0 - 1e-6, STEP_DEGREES))
    x, y, z = (axes[:, None, i] * np.ones(len(angles)) for i in range(3))
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    sine, cosine = np.sin(angles)[:, None, None], np.cos(angles)[:, None, None]
    return (np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)).reshape(-1, 3, 3)


def _quaternions(matrices: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 4"]:
    """Unit quaternions wxyz with w >= 0, float64."""
    from scipy.spatial.transform import Rotation

    xyzw = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_quat(canonical=True)
    return xyzw[:, [3, 0, 1, 2]].reshape(*matrices.shape[:-2], 4)


def _axes_of(rotations: Float[np.ndarray, "N 3 3"], least: int = 1) -> Float[np.ndarray, "A 3"]:
    """Distinct axes (sign ignored, 5 degrees) of rotations by more than 10 degrees, most used first.

    An axis is the average over its rotations; those used by fewer than `least` are left out.
    """
    if len(rotations) == 0:
        return np.zeros((0, 3))
    quaternions = _quaternions(np.asarray(rotations, np.float64))
    sines = np.linalg.norm(quaternions[:, 1:], axis=1)
    axes = quaternions[sines > np.sin(np.radians(5.0)), 1:]
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    distinct = []
    while len(axes):
        close = np.abs(axes @ axes.T) > np.cos(np.radians(5.0))
        members = close[close.sum(axis=1).argmax()]
        if members.sum() < least:
            break
        distinct.append(np.linalg.eigh(axes[members].T @ axes[members])[1][:, -1])
        axes = axes[~members]
    return np.array(distinct).reshape(-1, 3)


def _angle_to_nearest(
    rotations: Float[np.ndarray, "N 3 3"], group: Float[np.ndarray, "G 3 3"]
) -> Float[np.ndarray, " N"]:
    """Angle of each rotation to the nearest of a set, degrees; 180 for an empty set."""
    if len(group) == 0:
        return np.full(len(rotations), 180.0)
    traces = rotations.reshape(-1, 9) @ np.asarray(group).reshape(-1, 9).T
    return np.degrees(np.arccos(np.clip((traces.max(axis=1) - 1.0) / 2.0, -1.0, 1.0)))


def _extend(
    group: Float[np.ndarray, "G 3 3"], candidates: Float[np.ndarray, "N 3 3"]
) -> Float[np.ndarray, "M 3 3"]:
    """Add the candidates that are not near a member already, first come first served."""
    candidates = candidates[_angle_to_nearest(candidates, group) > SAME_DEGREES]
    while len(candidates):
        group = np.concatenate([group, candidates[:1]])
        candidates = candidates[_angle_to_nearest(candidates, group[-1:]) > SAME_DEGREES]
    return group


def _close(
    group: Float[np.ndarray, "G 3 3"], fits: Callable[[np.ndarray], np.ndarray]
) -> Float[np.ndarray, "M 3 3"]:
    """Add products of members that fit too, until none is new."""
    while len(group) <= LARGEST_GROUP:
        products = np.einsum("aij,bjk->abik", group, group).reshape(-1, 3, 3)
        products = products[_angle_to_nearest(products, group) > SAME_DEGREES]
        grown = _extend(group, products[fits(products)])
        if len(grown) == len(group):
            break
        group = grown
    return group


def _sphere_group() -> Float[np.ndarray, "S 3 3"]:
    """What stands for all rotations."""
    turns = [np.eye(3)[None], _turns(np.eye(3)), super_fibonacci_rotations(SPHERE_MEMBERS)]
    return np.concatenate(turns).astype(np.float32)
