"""Differentiable images of posed meshes in JAX: coverage, depth and any features, for small images.

Points are spread over the surface once, on the host. In an image each of them stands for a bit of projected
area, which it gives to the four pixel centers around it (a tent of one pixel). Summed over the front faces
that is the covered share of a pixel, antialiased, and its gradient is exact where it matters: at silhouettes.
Inside, the sum is saturated. Depth and features are means over the points that are nearest to the camera, with
weights that fall off behind the nearest one. Only gathers, scatters and elementwise work: static shapes, no
OpenGL, no loops; write it for one image and vmap.
"""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hoijax.geometry.camera import NEAR

DEPTH_FALL = 0.02
"""Metres behind the nearest point of a pixel at which a point counts 1 / e."""
MAX_HALVINGS = 24
SATURATION = 1.0
"""Summed area at which a pixel counts as fully covered is one over this."""


@flax.struct.dataclass
class SurfaceSamples:
    """Points fixed to the triangles of a mesh, S of them.

    Attributes:
        corners: (S, 3) vertices of the triangle that each point lies on.
        barycentric: (S, 3) place of the point in it.
        share: (S,) area that the point stands for, as a multiple of its triangle's.
        features: (S, C) what is rendered there: colors, one-hot instances.
    """

    corners: Int[Array | np.ndarray, "... S 3"]
    barycentric: Float[Array | np.ndarray, "... S 3"]
    share: Float[Array | np.ndarray, "... S"]
    features: Float[Array | np.ndarray, "... S C"]


@flax.struct.dataclass
class RenderedImage:
    """One rendered image, H x W pixels."""

    coverage: Float[Array, "... H W"]
    """Covered share of each pixel, 0 to 1."""
    depth: Float[Array, "... H W"]
    """Depth along the optical axis of what is visible, metres; 0 where nothing is."""
    features: Float[Array, "... H W C"]
    """Mean features of what is visible, not multiplied by coverage; 0 where nothing is."""

    def over(self, background: Float[Array, "H W C"] | Float[Array, " C"]) -> Float[Array, "H W C"]:
        """Features over a background, mixed by coverage."""
        coverage = self.coverage[..., None]
        return coverage * self.features + (1.0 - coverage) * background


def sample_mesh(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    features: Float[np.ndarray, "F C"],
    spacing: float,
) -> SurfaceSamples:
    """Points that tile a mesh (rest pose, metres), about `spacing` metres apart (host).

    A large triangle is split evenly into smaller ones, each with a point in its middle; of tiny triangles in
    one place and of one direction, the middle one stands for all. Half a pixel is a good spacing. Unlike
    points drawn at random the tiling has no noise.
    """
    a, b, c = np.moveaxis(np.asarray(vertices, np.float64)[faces], 1, 0)
    normal = np.cross(b - a, c - a)
    area = 0.5 * np.linalg.norm(normal, axis=1)
    standing = _merge_tiny(a + b + c, normal, area, spacing)
    chosen = np.flatnonzero(standing > 0.0)
    face, corners = _bisect(np.stack([a, b, c], axis=1), chosen, 1.5 * spacing)
    share = np.abs(np.linalg.det(corners))  # of a piece in its face
    return SurfaceSamples(
        corners=faces[face].astype(np.int32),
        barycentric=corners.mean(1).astype(np.float32),
        share=(share * standing[face] / area[face]).astype(np.float32),
        features=np.asarray(features, np.float32)[face],
    )


def _bisect(
    triangles: Float[np.ndarray, "F 3 3"], chosen: Int[np.ndarray, " m"], longest: float
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 3 3"]]:
    """Halve the longest edge of triangles until none is longer: face and barycentric corners of the pieces."""
    face, corners = chosen, np.broadcast_to(np.eye(3), (len(chosen), 3, 3))
    for _ in range(MAX_HALVINGS):
        places = corners @ triangles[face]
        edges = np.linalg.norm(places - np.roll(places, -1, axis=1), axis=2)
        split = edges.max(1) > longest
        if not split.any():
            break
        turn = (edges[split].argmax(1)[:, None] + np.arange(3)) % 3  # the longest edge comes first
        old = np.take_along_axis(corners[split], turn[:, :, None], axis=1)
        middle = 0.5 * (old[:, 0] + old[:, 1])
        halves = [
            np.stack(x, axis=1)
            for x in ((old[:, 0], middle, old[:, 2]), (middle, old[:, 1], old[:, 2]))
        ]
        corners = np.concatenate([corners[~split], *halves])
        face = np.concatenate([face[~split], face[split], face[split]])
    return face, corners


def _merge_tiny(
    sums: Float[np.ndarray, "F 3"],
    normal: Float[np.ndarray, "F 3"],
    area: np.ndarray,
    spacing: float,
) -> Float[np.ndarray, " F"]:
    """Area (F,) that each face stands for: its own, its neighbors' too, or zero (`sums` of corners)."""
    middle = sums / 3.0
    cell = np.floor(middle / spacing).astype(int)
    direction = np.abs(normal).argmax(1) * 2 + (
        np.take_along_axis(normal, np.abs(normal).argmax(1)[:, None], 1)[:, 0] > 0
    )
    tiny = area < 0.25 * spacing**2
    key = np.column_stack([cell, direction, np.where(tiny, -1, np.arange(len(area)))])
    _, group = np.unique(key, axis=0, return_inverse=True)
    group = group.reshape(-1)
    total = np.bincount(group, area)
    center = np.stack([np.bincount(group, area * middle[:, i]) for i in range(3)], axis=-1)
    off = np.linalg.norm(middle - (center / np.maximum(total, 1e-20)[:, None])[group], axis=1)
    off = np.where(area > 0.3 * (total / np.bincount(group))[group], off, np.inf)  # no slivers
    order = np.lexsort((off, group))
    first = order[np.unique(group[order], return_index=True)[1]]
    standing = np.zeros(len(area))
    standing[first] = total
    return np.where(area > 1e-14, standing, 0.0)


def join_samples(samples: list[SurfaceSamples], vertex_counts: list[int]) -> SurfaceSamples:
    """Samples of several meshes whose vertices are concatenated in this order (same features)."""
    starts = np.cumsum([0, *vertex_counts[:-1]])
    moved = [s.replace(corners=s.corners + int(o)) for s, o in zip(samples, starts, strict=True)]  # pyright: ignore
    return jax.tree.map(lambda *x: np.concatenate(x), *moved)


def pad_samples(samples: SurfaceSamples, multiple: int) -> SurfaceSamples:
    """As many points more as make their number a multiple: they stand for no area and are not seen."""
    extra = -samples.share.shape[0] % multiple
    first = np.tile(np.eye(3, dtype=np.float32)[0], (extra, 1))  # on a vertex: its depth is finite
    more = SurfaceSamples(
        corners=np.zeros((extra, 3), np.int32),
        barycentric=first,
        share=np.zeros(extra, np.float32),
        features=np.zeros((extra, samples.features.shape[1]), np.float32),
    )
    return jax.tree.map(lambda *x: np.concatenate(x), samples, more)


def render(
    samples: SurfaceSamples,
    vertices_world: Float[Array, "V 3"],
    intrinsics: Float[Array | np.ndarray, "3 3"],
    T_world_camera: Float[Array | np.ndarray, "4 4"],
    size: tuple[int, int],
    depth_fall: Float[Array, ""] | float = DEPTH_FALL,
) -> RenderedImage:
    """Image of size (height, width) of a posed mesh; differentiable in vertices and camera.

    `intrinsics` are in pixels of this image. Faces turned away from the camera are not seen: closed,
    outward meshes only. Points nearer than NEAR or beside the image are left out.
    """
    height, width = size
    pixel, weight, depth = _project(samples, vertices_world, intrinsics, T_world_camera)
    near, tent = _tent(pixel, height, width)
    area = weight[:, None] * tent
    summed = _scatter(near, area[..., None], height * width)[:, 0]
    counted = jax.lax.stop_gradient(area) > 0.0
    far = jnp.where(counted, jax.lax.stop_gradient(depth)[:, None], jnp.inf)
    nearest = jnp.full(height * width + 1, jnp.inf).at[near].min(far)
    behind = depth[:, None] - nearest[near]
    fall = jnp.exp(-jnp.where(counted, behind, 0.0) / depth_fall)
    seen = (area * fall)[..., None]
    painted = jnp.concatenate([depth[:, None], jnp.asarray(samples.features)], axis=-1)[:, None]
    sums = _scatter(near, jnp.concatenate([seen, seen * painted], axis=-1), height * width)
    total = sums[:, :1]
    empty = total <= 1e-8
    means = jnp.where(empty, 0.0, sums[:, 1:] / jnp.where(empty, 1.0, total))
    return RenderedImage(
        coverage=jnp.minimum(SATURATION * summed, 1.0).reshape(height, width),
        depth=means[:, 0].reshape(height, width),
        features=means[:, 1:].reshape(height, width, -1),
    )


def _project(samples, vertices_world, intrinsics, T_world_camera):
    """Pixel (S, 2), projected area in pixels (S,), zero on the far side, and depth (S,) of the points."""
    T, k = jnp.asarray(T_world_camera), jnp.asarray(intrinsics)
    offset = vertices_world - T[:3, 3]
    x, y, z = (jnp.sum(offset * T[:3, a], axis=-1) for a in range(3))
    depth = jnp.maximum(z, NEAR)
    u, v = x / depth * k[0, 0] + k[0, 2], y / depth * k[1, 1] + k[1, 2]
    corner = jnp.stack([u, v, z], axis=-1)[jnp.asarray(samples.corners)]
    a, b, c = corner[:, 0], corner[:, 1], corner[:, 2]
    # Outward faces run against the clock seen from outside, and v points down: negative when they face us.
    doubled = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    weight = 0.5 * jnp.maximum(-doubled, 0.0) * samples.share
    weight = jnp.where(jnp.min(corner[..., 2], axis=1) > NEAR, weight, 0.0)
    # Perspective: places in the image and inverse depths are what mixes linearly.
    mix = jnp.asarray(samples.barycentric)
    pixel = jnp.sum(corner[..., :2] * mix[..., None], axis=1)
    inverse = jnp.sum(mix / jnp.maximum(corner[..., 2], NEAR), axis=1)
    return pixel, weight, 1.0 / inverse


def _tent(pixel: Float[Array, "S 2"], height: int, width: int) -> tuple[Array, Array]:
    """Flat indices of the four pixel centers around each point, (S, 4), and their shares.

    Pixels beside the image become index height * width.
    """
    position = pixel - 0.5
    cell = jnp.floor(jax.lax.stop_gradient(position))
    fraction = position - cell
    cell = jnp.clip(cell, -2.0, float(max(height, width) + 1)).astype(jnp.int32)
    index, weight = [], []
    for right in (0, 1):
        for down in (0, 1):
            column, row = cell[:, 0] + right, cell[:, 1] + down
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            index.append(jnp.where(inside, row * width + column, height * width))
            along = fraction[:, 0] if right else 1.0 - fraction[:, 0]
            weight.append(along * (fraction[:, 1] if down else 1.0 - fraction[:, 1]))
    return jnp.stack(index, axis=-1), jnp.stack(weight, axis=-1)


def _scatter(index: Int[Array, "S 4"], values: Float[Array, "S 4 C"], count: int) -> Array:
    """Sums of the values by pixel, (count, C); what fell beside the image is dropped."""
    sums = jnp.zeros((count + 1, values.shape[-1]), values.dtype)
    return sums.at[index].add(values, mode="promise_in_bounds")[:count]
