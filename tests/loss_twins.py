"""Plain numpy twins of every loss term, in float64, from the formulas of spec/hoi-page.md section 4.

Loops over objects, frames and edges; no shape tricks, no JAX. Each twin returns the values that
count, (entities..., frames), with zeros where the term's mask must be False, and that mask.
"""

from dataclasses import dataclass

import numpy as np
from scene_factory import CELL, MadeScene, as_numpy
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation, Slerp

from hoijax.scene.scene import Neighbors, Scene

FRAME_RHO, POINT_RHO, MASK_RHO = 0.2, 0.05, 8.0  # metres, metres, pixels
SIDE_TEMPERATURE = 0.02


@dataclass
class Twin:
    """A scene at one pose. `shares` fixes the side selection, which carries no gradient."""

    scene: Scene
    neighbors: Neighbors
    labels: np.ndarray
    mask_images: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    shares: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.translations.shape[:2]

    def distance(self, points_world, o: int, t: int, kind: int) -> np.ndarray:
        row = self.scene.objects.first_grid[o] + kind
        return self.grid_distance(self.to_asset(points_world, o, t), o, row)

    def to_asset(self, points_world, o: int, t: int) -> np.ndarray:
        centered = (points_world - self.translations[o, t]) @ self.rotations[o, t]
        return centered + self.scene.objects.centers[o]

    def to_world(self, points_centered, o: int, t: int) -> np.ndarray:
        return points_centered @ self.rotations[o, t].T + self.translations[o, t]

    def grid_distance(self, points_asset, o: int, row) -> np.ndarray:
        grids = self.scene.grids
        return trilinear(grids.corners[row], grids.lower[o], grids.spacing[o], points_asset)

    def pixels(self, points_world, t: int) -> np.ndarray:
        T, K = self.scene.cameras.Ts_pointmap_world[t], self.scene.cameras.intrinsics[t]
        points = points_world @ T[:3, :3].T + T[:3, 3]
        return points[:, :2] / points[:, 2:] * K[[0, 1], [0, 1]] + K[:2, 2]


def make_twin(made: MadeScene, unknowns=None, shares=None) -> Twin:
    unknowns = as_numpy(made.unknowns if unknowns is None else unknowns)
    return Twin(
        as_numpy(made.scene),
        as_numpy(made.neighbors),
        made.labels,
        made.mask_images.astype(np.float64),
        gram_schmidt(unknowns.object_rotation_6d),
        unknowns.object_translation,
        shares,
    )


def gram_schmidt(six: np.ndarray) -> np.ndarray:
    first = six[..., :3] / np.linalg.norm(six[..., :3], axis=-1, keepdims=True)
    second = six[..., 3:] - np.sum(first * six[..., 3:], axis=-1, keepdims=True) * first
    second /= np.linalg.norm(second, axis=-1, keepdims=True)
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def trilinear(corners, lower, spacing, points) -> np.ndarray:
    """Grid look-up: weights of the eight corners; folded cells; distance to the box beyond it."""
    n = corners.shape[0]
    local = (points - lower) / spacing
    inside = np.clip(local, 0, n)
    cell = np.minimum(np.floor(inside), n - 1).astype(int)
    values = corners[cell[..., 0], cell[..., 1], cell[..., 2]]
    fraction = inside - cell
    total = np.zeros(points.shape[:-1])
    for index in range(8):
        bits = np.array([index >> 2 & 1, index >> 1 & 1, index & 1])
        total += np.prod(np.where(bits == 1, fraction, 1 - fraction), axis=-1) * values[..., index]
    folded = (np.ascontiguousarray(values[..., 0], np.float32).view(np.int32) & 1) == 1
    total = np.where(folded, np.abs(total), total)
    return total + np.linalg.norm((local - inside) * spacing, axis=-1)


def robust(squared, rho: float = FRAME_RHO):
    return rho**2 * squared / (squared + rho**2)


def object_points(twin: Twin):
    seen = twin.scene.observed
    values = np.zeros(twin.shape)
    for o, t in np.argwhere(seen.detected):
        points = seen.points_world[o, t][seen.point_mask[o, t]]
        values[o, t] = robust(np.mean(twin.distance(points, o, t, 1) ** 2)) if len(points) else 0.0
    return values, seen.detected


def part_points(twin: Twin):
    seen = twin.scene.observed
    o_count, t_count = twin.shape
    values = np.zeros((o_count, seen.part_shares.shape[-1], t_count))
    mask = np.zeros(values.shape, bool)
    for o, q, t in np.ndindex(values.shape):
        points = seen.points_world[o, t][twin.labels[o, t] == q]
        if len(points) and seen.detected[o, t]:
            values[o, q, t] = robust(np.mean(twin.distance(points, o, t, 2 + q) ** 2))
            mask[o, q, t] = True
    return values, mask


def robust_object_points(twin: Twin):
    seen = twin.scene.observed
    values = np.zeros(twin.shape)
    for o, t in np.argwhere(seen.detected):
        points = seen.points_world[o, t][seen.point_mask[o, t]]
        if len(points):
            values[o, t] = np.mean(robust(twin.distance(points, o, t, 1) ** 2, POINT_RHO))
    return values, seen.detected


def robust_part_points(twin: Twin):
    seen = twin.scene.observed
    values = np.zeros(twin.shape)
    for o, t in np.argwhere(seen.detected):
        costs = []
        for point, part in zip(seen.points_world[o, t], twin.labels[o, t], strict=True):
            if part >= 0:
                distance = twin.distance(point[None], o, t, 2 + part)[0]
                costs.append(robust(distance**2, POINT_RHO))
        values[o, t] = np.mean(costs) if costs else 0.0
    return values, seen.detected


def _squared_pixels(twin: Twin, nearest, o: int, t: int) -> np.ndarray:
    projected = twin.pixels(twin.to_world(twin.scene.objects.samples[o], o, t), t)
    observed = twin.scene.observed.pixels[o, t, : nearest.shape[-1]]
    return np.sum((projected[nearest[o, t]] - observed) ** 2, axis=-1)


def object_pixels(twin: Twin):
    seen, nearest = twin.scene.observed, twin.neighbors.nearest_sample
    values = np.zeros(twin.shape)
    for o, t in np.argwhere(seen.detected):
        mask = seen.point_mask[o, t, : nearest.shape[-1]]
        squared = _squared_pixels(twin, nearest, o, t)[mask]
        values[o, t] = squared.mean() if len(squared) else 0.0
    return values, seen.detected


def part_pixels(twin: Twin):
    seen, nearest = twin.scene.observed, twin.neighbors.nearest_part_sample
    o_count, t_count = twin.shape
    values = np.zeros((o_count, seen.part_shares.shape[-1], t_count))
    mask = np.zeros(values.shape, bool)
    for o, q, t in np.ndindex(values.shape):
        labeled = twin.labels[o, t, : nearest.shape[-1]] == q
        if labeled.any() and seen.detected[o, t]:
            values[o, q, t] = _squared_pixels(twin, nearest, o, t)[labeled].mean()
            mask[o, q, t] = True
    return values, mask


def model_mask(twin: Twin):
    seen = twin.scene.observed
    values = np.zeros(twin.shape)
    for o, t in np.argwhere(seen.detected):
        samples = twin.to_world(twin.scene.objects.samples[o, :256], o, t)
        column, row = (twin.pixels(samples, t) / CELL - 0.5).T
        distance = map_coordinates(twin.mask_images[o, t], [row, column], order=1, mode="nearest")
        values[o, t] = np.mean(robust(distance**2, MASK_RHO))
    return values, seen.detected


def translation_smoothness(twin: Twin):
    values = np.zeros(twin.shape)
    for o, x in enumerate(twin.translations):
        for t in range(len(x)):
            if twin.scene.objects.is_translational[o]:
                if 0 < t < len(x) - 1:
                    values[o, t] = np.sum((x[t] - 0.5 * (x[t - 1] + x[t + 1])) ** 2)
            elif t > 0:
                values[o, t] = 10.0 * np.sum((x[t] - x[t - 1]) ** 2)
    return values, np.ones(values.shape, bool)


def _chordal(a: Rotation, b: Rotation) -> float:
    return 4.0 * np.sin((a.inv() * b).magnitude() / 2.0) ** 2


def rotation_smoothness(twin: Twin):
    values = np.zeros(twin.shape)
    for o in range(len(values)):
        r = Rotation.from_matrix(twin.rotations[o])
        for t in range(values.shape[1]):
            if twin.scene.objects.is_rotational[o]:
                if 0 < t < values.shape[1] - 1:
                    between = Slerp([0, 1], Rotation.concatenate([r[t - 1], r[t + 1]]))
                    values[o, t] = _chordal(r[t], between(0.5))
            elif t > 0:
                values[o, t] = 10.0 * _chordal(r[t], r[t - 1])
    return values, np.ones(values.shape, bool)


def penetration(twin: Twin):
    active, bodies = twin.neighbors.active_vertices, twin.scene.body_vertices_world
    values = np.zeros(active.shape[:3])
    for o, p, t in np.ndindex(values.shape):
        distance = twin.distance(bodies[p, t][active[o, p, t]], o, t, 0)
        values[o, p, t] = np.sum(np.maximum(-distance, 0.0)) / 1000.0
    return values, np.ones(values.shape, bool)


def object_penetration(twin: Twin):
    count, frames = twin.shape
    values = np.zeros((count, count, frames))
    for a, b, t in np.ndindex(values.shape):
        if a != b:
            samples = twin.to_world(twin.scene.objects.samples[a, :512], a, t)
            values[a, b, t] = np.mean(np.maximum(-twin.distance(samples, b, t, 0), 0.0))
    return values, np.broadcast_to(~np.eye(count, dtype=bool)[:, :, None], values.shape)


def ground(twin: Twin):
    values = np.zeros(twin.shape)
    for o, t in np.ndindex(values.shape):
        lowest = twin.to_world(twin.scene.objects.samples[o, :512], o, t)[:, 1].min()
        if lowest < 0.0 or not twin.scene.objects.is_translational[o]:
            values[o, t] = lowest**2
    return values, np.ones(values.shape, bool)


def contact_points(twin: Twin, e: int, side: int, t: int) -> np.ndarray:
    """Points of one side of an edge in the asset frame of its target."""
    edges = twin.scene.edges
    points = edges.points[e, side, t]
    if edges.source[e] < len(twin.translations):
        points = twin.to_world(points, edges.source[e], t)
    return twin.to_asset(points, edges.target[e], t)


def side_distances(twin: Twin) -> np.ndarray:
    edges = twin.scene.edges
    distances = np.zeros((*edges.slot_mask.shape, twin.shape[1]))
    for e, side, t in np.ndindex(distances.shape):
        points = contact_points(twin, e, side, t)
        distance = np.maximum(twin.grid_distance(points, edges.target[e], edges.grid[e]), 0.0)
        distances[e, side, t] = distance.mean() if edges.use_mean[e] else distance.min()
    return distances


def side_shares(twin: Twin) -> np.ndarray:
    """Share of each side: all of it to the (softly) closer one, or the same for each side there is."""
    if twin.shares is not None:
        return twin.shares
    edges, distances = twin.scene.edges, side_distances(twin)
    shares = np.zeros(edges.slot_mask.shape)
    for e, slots in enumerate(edges.slot_mask):
        there = np.flatnonzero(slots)
        if len(there) == 0:
            continue
        weight = np.ones(len(there))
        if edges.select_side[e]:
            mean = distances[e, there].mean(axis=-1)
            weight = np.exp(-(mean - mean.min()) / SIDE_TEMPERATURE)
        shares[e, there] = weight / weight.sum()
    return shares


def contact(twin: Twin):
    edges, states = twin.scene.edges, twin.neighbors.contact_state
    squared = np.einsum("es,est->et", side_shares(twin), side_distances(twin) ** 2)
    values = np.zeros(squared.shape)
    for e, row in enumerate(squared):
        if edges.every_frame[e]:
            values[e] = row * states[e]
        else:  # as much as the best frame would cost if it were every frame
            values[e, np.argmin(row)] = row.min() * len(row)
    mask = np.broadcast_to(edges.mask[:, None], values.shape)
    return np.where(mask, values, 0.0), mask


def contact_drift(twin: Twin):
    edges, states, shares = twin.scene.edges, twin.neighbors.contact_state, side_shares(twin)
    frames = twin.shape[1]
    values = np.zeros((len(edges.source), frames))
    for e, side in np.ndindex(shares.shape):
        path = np.stack([contact_points(twin, e, side, t) for t in range(frames)])
        for t in range(1, frames):
            if edges.is_rel_static[e]:
                slip = path[t] - path[t - 1]
            elif t < frames - 1:
                slip = path[t] - 0.5 * (path[t - 1] + path[t + 1])
            else:
                continue
            touching = min(states[e, t], states[e, t - 1])
            values[e, t] += shares[e, side] * touching * np.mean(np.sum(slip**2, axis=-1))
    mask = np.broadcast_to(edges.mask[:, None], values.shape)
    return np.where(mask, values, 0.0), mask


def reduced(values: np.ndarray) -> float:
    """Mean over frames, sum over entities; missing frames are zeros and count in the mean."""
    return float(values.sum() / values.shape[-1])


TWINS = {
    function.__name__: function
    for function in (
        object_points,
        part_points,
        robust_object_points,
        robust_part_points,
        object_pixels,
        part_pixels,
        model_mask,
        translation_smoothness,
        rotation_smoothness,
        penetration,
        object_penetration,
        ground,
        contact,
        contact_drift,
    )
}
