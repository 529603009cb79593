"""Signed distance to a posed body without learned weights: rest-pose grids that ride on the joints.

The skin is cut into pieces whose vertices hang on the joints in nearly the same way: one piece per joint, and
between two joints a few pieces that follow a blend of both. Every piece carries a grid, made once from the
rest mesh with exact distances, and a rigid frame that follows the pose. A point is brought into the frames of
the few pieces near it, looked up there (one gather of eight contiguous corner values each), and a smooth
minimum joins the pieces. Compared with COAP (Mihajlovic et al., 2022) nothing is learned, and any body on the
SMPL-X tree works.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hoijax.bodies.field_pieces import build_pieces, movement_weights, self_contact_samples
from hoijax.bodies.kinematics import AnyArray
from hoijax.bodies.skinned_body import ShapedBody, SkinnedBody
from hoijax.errors import UserError
from hoijax.objects.distance_grid import trilinear

NEARBY_PIECES = 4
"""Pieces looked up per point; see `nearby_pieces`."""
TEMPERATURE = 1e-3
"""Default temperature of the smooth minimum, metres: two equal distances come out 0.7 mm smaller."""
SELF_PIECES = 3
FAR = 1.0
"""Distance of skin that has no piece to stay out of, metres."""
POLAR_STEPS = 6
CELLS_STEP = 2**15
"""The table of cells is filled up to a multiple of this."""


@flax.struct.dataclass
class BodyField:
    """Grids of the pieces of one shaped body. P pieces, C cells in all.

    Attributes:
        cells: (C, 8) signed distances at the corners of each cell, corner (i, j, k) at 4 i + 2 j + k.
        layout: (P, 8) per piece: lower corner of its grid in the piece's frame (3), number of cells per
            axis (3), cell size in metres, row of its first cell.
        blend: (P, 55) how a piece follows the joints; rows sum to one.
        centers_rest: (P, 3) origin of a piece's frame in the rest pose; axes are the rest pose's.
        radii: (P,) radius around the center that holds the piece's skin.
        joints_rest: (55, 3) the rest joints the grids were made for.
        sample_vertices: (M,) vertices spread over the skin, for self-penetration.
        sample_pieces: (M, P) which pieces each of them must stay out of: none that it is near at rest,
            none that hangs on the same or on a neighboring joint.
    """

    cells: Float[AnyArray, "... C 8"]
    layout: Float[AnyArray, "... P 8"]
    blend: Float[AnyArray, "... P 55"]
    centers_rest: Float[AnyArray, "... P 3"]
    radii: Float[AnyArray, "... P"]
    joints_rest: Float[AnyArray, "... 55 3"]
    sample_vertices: Int[AnyArray, "... M"]
    sample_pieces: Bool[AnyArray, "... M P"]

    def frames(self, Ts_world_joint: Float[AnyArray, "55 4 4"]) -> Float[Array, "P 3 4"]:
        """[R | t] of every piece in the world: the nearest rotation of the blend of its joints."""
        rotation, position = Ts_world_joint[:, :3, :3], Ts_world_joint[:, :3, 3]
        turned = jnp.sum(rotation * jnp.asarray(self.joints_rest)[:, None, :], axis=-1)
        palette = jnp.concatenate([rotation, (position - turned)[..., None]], axis=-1)
        # Full precision: accelerators would round positions to bfloat16.
        blended = jnp.matmul(self.blend, palette.reshape(-1, 12), precision="highest")
        blended = blended.reshape(-1, 3, 4)
        center = jnp.asarray(self.centers_rest)
        origin = jnp.sum(blended[..., :3] * center[:, None, :], axis=-1) + blended[..., 3]
        return jnp.concatenate([_nearest_rotation(blended[..., :3]), origin[..., None]], axis=-1)

    def nearby_pieces(
        self,
        points_world: Float[AnyArray, "n 3"],
        Ts_world_joint: Float[AnyArray, "55 4 4"],
        count: int = NEARBY_PIECES,
    ) -> Int[Array, "n {count}"]:
        """The pieces that may be nearest to each point, by the distance to their spheres; no gradient.

        It moves slowly: compute it every few steps and hand it to `distance`.
        """
        frames = jax.lax.stop_gradient(self.frames(Ts_world_joint))
        points = jax.lax.stop_gradient(jnp.asarray(points_world))
        return _smallest(self._sphere_gaps(points, frames), count)

    def _sphere_gaps(self, points: Array, frames: Array) -> Array:
        """Distance of points to the pieces' spheres, (n, P)."""
        x, y, z = (points[:, None, a] - frames[:, a, 3] for a in range(3))
        return jnp.sqrt(x * x + y * y + z * z) - jnp.asarray(self.radii)

    def distance(
        self,
        points_world: Float[AnyArray, "*batch 3"],
        Ts_world_joint: Float[AnyArray, "55 4 4"],
        pieces: Int[AnyArray, "*batch k"] | None = None,
        temperature: Float[AnyArray, ""] | float = TEMPERATURE,
    ) -> Float[Array, "*batch"]:
        """Signed distance (metres, negative inside) of world points to the posed body, one frame.

        Differentiable (reverse mode) in the points, the joint frames and the temperature (metres, positive).
        `pieces` from `nearby_pieces` saves the search. More than a few centimetres from the body the value
        is an upper bound whose gradient points home. NaN points give NaN.
        """
        shape = points_world.shape[:-1]
        points = jnp.reshape(jnp.asarray(points_world), (-1, 3))
        frames = self.frames(Ts_world_joint)
        if pieces is None:
            pieces = self.nearby_pieces(points, Ts_world_joint)
        pieces = jnp.reshape(jnp.asarray(pieces), (len(points), -1))
        distances = self._look_up(frames, points, pieces)
        return jnp.reshape(smooth_minimum(distances, temperature), shape)

    def self_distances(
        self,
        samples_world: Float[AnyArray, "M 3"],
        Ts_world_joint: Float[AnyArray, "55 4 4"],
        temperature: Float[AnyArray, ""] | float = TEMPERATURE,
    ) -> Float[Array, " M"]:
        """Distance of the body's own `sample_vertices` to the pieces they must stay out of, metres.

        Negative: that skin lies inside another part of the body. Skin that may touch everything near it
        (there is some between the legs) is FAR from the rest.
        """
        frames = self.frames(Ts_world_joint)
        samples = jnp.asarray(samples_world)
        gaps = self._sphere_gaps(*jax.lax.stop_gradient((samples, frames)))
        allowed = jnp.asarray(self.sample_pieces)
        pieces = _smallest(jnp.where(allowed, gaps, jnp.inf), SELF_PIECES)
        distances = self._look_up(frames, samples, pieces)
        distances = jnp.where(jnp.take_along_axis(allowed, pieces, axis=1), distances, FAR)
        return smooth_minimum(distances, temperature)

    def _look_up(self, frames: Array, points: Array, pieces: Array) -> Array:
        return _distances(jnp.asarray(self.cells), jnp.asarray(self.layout), frames, points, pieces)


def smooth_minimum(
    values: Float[Array, "*batch k"], temperature: Float[AnyArray, ""] | float
) -> Float[Array, "*batch"]:
    """-t log(sum(exp(-v / t))) over the last axis: at most t log(k) below the minimum."""
    temperature = jnp.asarray(temperature, values.dtype)
    return -temperature * jax.nn.logsumexp(-values / temperature, axis=-1)


def _smallest(values: Float[Array, "n P"], count: int) -> Int[Array, "n {count}"]:
    """Columns of the smallest values. A few passes over them are cheaper than a sort.

    Two minima instead of an argmin, which XLA does not vectorize on CPU.
    """
    last = values.shape[-1] - 1
    chosen, columns = [], jnp.arange(last + 1)
    for _ in range(count):
        least = jnp.min(values, axis=-1, keepdims=True)
        best = jnp.min(jnp.where(values == least, columns, last), axis=-1)
        chosen.append(best)
        values = jnp.where(columns == best[:, None], jnp.inf, values)
    return jnp.stack(chosen, axis=-1).astype(jnp.int32)


def _nearest_rotation(matrices: Float[Array, "P 3 3"]) -> Float[Array, "P 3 3"]:
    """Rotation factor of blends of rotations, by Newton-Schulz steps: products only, smooth gradients.

    Blends have singular values in (0, 1], where it converges; joints turned by 180 degrees against each other
    (a singular blend) give a finite matrix that is no rotation.
    """

    def step(m: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], None]:
        # Entry by entry: XLA on CPU fuses this, where small products run many times slower.
        square = [
            [sum(m[3 * i + a] * m[3 * i + b] for i in range(3)) for b in range(3)] for a in range(3)
        ]
        cubed = [
            sum(m[3 * i + a] * square[a][j] for a in range(3)) for i in range(3) for j in range(3)
        ]
        return tuple(1.5 * x - 0.5 * y for x, y in zip(m, cubed, strict=True)), None

    # A loop, not unrolled: fused into one expression the steps would double it each time.
    entries = tuple(matrices[:, i, j] for i in range(3) for j in range(3))
    entries, _ = jax.lax.scan(step, entries, None, length=POLAR_STEPS)
    return jnp.stack(entries, axis=-1).reshape(matrices.shape)


def _values_and_slopes(
    cells: Array, layout: Array, frames: Array, points: Array, pieces: Array
) -> tuple[Array, list[Array]]:
    """Distances (n, k) and their slopes along the axes of the pieces' frames."""
    table = jnp.concatenate([frames.reshape(-1, 12), layout], axis=1)
    # The barrier keeps the frames' arithmetic out of the loop over points.
    entry = (
        jax.lax.optimization_barrier(table).at[pieces].get(mode="promise_in_bounds")
    )  # (n, k, 20)
    r = [entry[..., i] for i in range(12)]
    size, first = entry[..., 18], entry[..., 19]
    offset = [points[:, None, a] - r[4 * a + 3] for a in range(3)]
    local, clamped, cell, count = [], [], [], []
    for a in range(3):
        x = offset[0] * r[a] + offset[1] * r[4 + a] + offset[2] * r[8 + a]
        n = entry[..., 15 + a]
        x = (x - entry[..., 12 + a]) / size
        local.append(x)
        clamped.append(jnp.clip(x, 0.0, n))
        cell.append(jnp.clip(jnp.floor(x), 0.0, n - 1.0))
        count.append(n.astype(jnp.int32))
    i, j, k = (c.astype(jnp.int32) for c in cell)
    row = first.astype(jnp.int32) + (i * count[1] + j) * count[2] + k
    corners = cells.at[row].get(mode="promise_in_bounds")
    fractions = [x - c for x, c in zip(clamped, cell, strict=True)]
    value, slopes = trilinear([corners[..., c] for c in range(8)], fractions)
    beyond = [(x - c) * size for x, c in zip(local, clamped, strict=True)]
    squared = beyond[0] * beyond[0] + beyond[1] * beyond[1] + beyond[2] * beyond[2]
    outside = squared > 0.0
    gap = jnp.sqrt(jnp.where(outside, squared, 1.0))
    slopes = [
        jnp.where(b == 0.0, s / size, jnp.where(outside, b / gap, 0.0))
        for b, s in zip(beyond, slopes, strict=True)
    ]
    return value + jnp.where(outside, gap, 0.0), slopes


@jax.custom_vjp
def _distances(
    cells: Float[Array, "C 8"],
    layout: Float[Array, "P 8"],
    frames: Float[Array, "P 3 4"],
    points: Float[Array, "n 3"],
    pieces: Int[Array, "n k"],
) -> Float[Array, "n k"]:
    """Distance of every point to its k pieces; continued outside a grid as in `distance_grid.query`."""
    return _values_and_slopes(cells, layout, frames, points, pieces)[0]


def _distances_forward(cells, layout, frames, points, pieces):
    value, slopes = _values_and_slopes(cells, layout, frames, points, pieces)
    # Side by side behind a barrier: otherwise XLA looks up again in every sum of the backward pass.
    packed = jax.lax.optimization_barrier(jnp.stack([value, *slopes], axis=-1))
    return packed[..., 0], (packed[..., 1:], frames, points, pieces)


def _distances_backward(saved, cotangent):
    """With x = R^T (p - t) and slope g = dv/dx: dv/dR = (p - t) g^T, dv/dt = -R g, dv/dp = R g."""
    slopes, frames, points, pieces = saved
    g = [slopes[..., a] * cotangent for a in range(3)]
    moments = [points[:, None, a] * g[b] for a in range(3) for b in range(3)]
    rows = jnp.stack([*moments, *g], axis=-1)
    sums = jnp.zeros((len(frames), 12)).at[pieces].add(rows)
    rotation, translation, pull = frames[..., :3], frames[..., 3], sums[:, None, 9:]
    d_rotation = sums[:, :9].reshape(-1, 3, 3) - translation[..., None] * pull
    d_translation = -jnp.sum(rotation * pull, axis=-1)
    r = rotation.reshape(-1, 9).at[pieces].get(mode="promise_in_bounds")
    r = [r[..., i] for i in range(9)]
    pulls = [r[a] * g[0] + r[a + 1] * g[1] + r[a + 2] * g[2] for a in (0, 3, 6)]
    d_points = [jnp.sum(pull, axis=-1) for pull in pulls]
    d_frames = jnp.concatenate([d_rotation, d_translation[..., None]], axis=-1)
    return None, None, d_frames, jnp.stack(d_points, axis=-1), None


_distances.defvjp(_distances_forward, _distances_backward)


_CACHE: OrderedDict[bytes, BodyField] = OrderedDict()
CACHE_SIZE = 8
DEFAULT_RESOLUTION = 0.012


def build_body_field(
    body: SkinnedBody, shaped: ShapedBody, *, resolution: float = DEFAULT_RESOLUTION
) -> BodyField:
    """The distance field of one shaped body (host, a few seconds; kept for the last few bodies).

    `resolution` is the cell size in metres (fingers: finer). Pose correctives are left out. UserError where
    the resolution makes no sense or the body has no faces.
    """
    if not 0.002 <= resolution <= 0.05:
        raise UserError(
            f"the cells of a body field must measure 0.002 to 0.05 m, got {resolution:g} m"
        )
    vertices, joints = np.asarray(shaped.vertices_rest), np.asarray(shaped.joints_rest)
    faces = np.asarray(shaped.faces)
    if len(faces) == 0:
        raise UserError(
            f"the body {body.name!r} has no faces here: build its field from the whole body"
        )
    key = hashlib.sha256(f"{body.name} {resolution:g}".encode())
    for array in (vertices, joints, faces):
        key.update(np.ascontiguousarray(array).tobytes())
    digest = key.digest()
    if digest not in _CACHE:
        weights = movement_weights(np.asarray(shaped.skin_indices), np.asarray(shaped.skin_weights))
        pieces = build_pieces(vertices, faces, weights, resolution)
        samples, apart = self_contact_samples(pieces, vertices, weights, np.asarray(body.template))
        _CACHE[digest] = BodyField(
            # Filled up, never looked up: people of different shape then share compiled programs.
            cells=np.pad(pieces.cells, ((0, -len(pieces.cells) % CELLS_STEP), (0, 0))),
            layout=pieces.layout,
            blend=pieces.blend,
            centers_rest=pieces.centers,
            radii=pieces.radii,
            joints_rest=joints,
            sample_vertices=samples,
            sample_pieces=apart,
        )
        while len(_CACHE) > CACHE_SIZE:
            _CACHE.popitem(last=False)
    _CACHE.move_to_end(digest)
    return jax.tree.map(jnp.asarray, _CACHE[digest])
