"""The benchmark's problem as PyTorch tensors, and the mathematics that both PyTorch baselines share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

ROBUST_RHO = 0.2
NEAR = 0.05
STATIC_FACTOR = 10.0
SIDE_TEMPERATURE = 0.02
PIXEL_COUNT = 256

Schedules = Mapping[str, tuple[float, float]]
"""Start and end weight of every term, linear over the run."""


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Edge:
    """One contact edge; the slots are the sides of a pair of body parts."""

    points_world: list[Tensor]
    """(T, C, 3) for every slot in use."""
    part: int
    select_side: bool
    use_mean: bool
    every_frame: bool
    is_rel_static: bool


@dataclass(frozen=True)
class TorchProblem:
    """The arrays of a `hoijax.scene.scene.Scene` with one person and one object, as tensors."""

    center: Tensor
    """(3,) origin of the centerd frame in the asset frame."""
    samples: Tensor
    """(S, 3) surface samples, centerd frame."""
    samples_of_part: list[Tensor]
    """Indices of the samples of each part."""
    points_world: Tensor
    """(T, N, 3)"""
    pixels: Tensor
    """(T, N, 2)"""
    point_mask: Tensor
    part_shares: Tensor
    """(T, N, Q)"""
    detected: Tensor
    pointmap_world: Tensor
    """(T, 4, 4) world to point-map camera."""
    intrinsics: Tensor
    vertices_world: Tensor
    """(T, V, 3)"""
    corners: Tensor
    """(G, n, n, n, 8) the eight-corner distance grids of hoijax."""
    grid_lower: Tensor
    grid_spacing: Tensor
    part_grids: Tensor
    """(T, N) row of the grid table for each point's part."""
    edges: list[Edge]
    is_translational: bool
    is_rotational: bool

    @classmethod
    def from_scene(cls, scene: Any, device: torch.device) -> "TorchProblem":
        """Copy a hoijax Scene. ValueError unless it holds one person and one object."""
        people, objects = scene.body_vertices_world.shape[0], scene.objects.centers.shape[0]
        if (people, objects) != (1, 1):
            raise ValueError(f"the baseline knows 1 person and 1 object, not {people}, {objects}")

        def tensor(array: Any) -> Tensor:
            return torch.tensor(np.asarray(array), device=device)

        observed, constants, cameras = scene.observed, scene.objects, scene.cameras
        parts = np.asarray(observed.part_of_sample)[0]
        return cls(
            center=tensor(constants.centers[0]),
            samples=tensor(constants.samples[0]),
            samples_of_part=[tensor(np.flatnonzero(row)) for row in parts],
            points_world=tensor(observed.points_world[0]),
            pixels=tensor(observed.pixels[0]),
            point_mask=tensor(observed.point_mask[0]),
            part_shares=tensor(observed.part_shares[0]),
            detected=tensor(observed.detected[0]),
            pointmap_world=tensor(cameras.Ts_pointmap_world),
            intrinsics=tensor(cameras.intrinsics),
            vertices_world=tensor(scene.body_vertices_world[0]),
            corners=tensor(scene.grids.corners),
            grid_lower=tensor(scene.grids.lower[0]),
            grid_spacing=tensor(scene.grids.spacing[0]),
            part_grids=tensor(observed.part_grids[0]).long(),
            edges=_edges(scene, tensor),
            is_translational=bool(constants.is_translational[0]),
            is_rotational=bool(constants.is_rotational[0]),
        )

    @property
    def frames(self) -> int:
        return self.points_world.shape[0]


def _edges(scene: Any, tensor: Any) -> list[Edge]:
    edges, first_part = scene.edges, int(scene.objects.first_grid[0]) + 2
    columns = {key: np.asarray(getattr(edges, key)) for key in edges.__dataclass_fields__}
    return [
        Edge(
            points_world=[tensor(columns["points"][e, s]) for s in np.flatnonzero(slots)],
            part=int(columns["grid"][e]) - first_part,
            select_side=bool(columns["select_side"][e]),
            use_mean=bool(columns["use_mean"][e]),
            every_frame=bool(columns["every_frame"][e]),
            is_rel_static=bool(columns["is_rel_static"][e]),
        )
        for e, slots in enumerate(columns["slot_mask"])
        if columns["mask"][e]
    ]


def rotation_from_6d(six: Tensor) -> Tensor:
    """Gram-Schmidt on two columns (Zhou et al. 2019), (..., 6) to (..., 3, 3)."""
    first = functional.normalize(six[..., :3], dim=-1)
    raw = six[..., 3:]
    second = functional.normalize(raw - (first * raw).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def quaternion_from_matrix(m: Tensor) -> Tensor:
    """Unit quaternion wxyz of rotations (..., 3, 3) from the largest row of 4 q q^T - I."""
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = (m[..., j, i] - m[..., i, j] for i, j in ((1, 2), (2, 0), (0, 1)))
    xy, xz, yz = (m[..., j, i] + m[..., i, j] for i, j in ((0, 1), (0, 2), (1, 2)))
    rows = [
        torch.stack([1 + xx + yy + zz, wx, wy, wz], -1),
        torch.stack([wx, 1 + xx - yy - zz, xy, xz], -1),
        torch.stack([wy, xy, 1 - xx + yy - zz, yz], -1),
        torch.stack([wz, xz, yz, 1 - xx - yy + zz], -1),
    ]
    table = torch.stack(rows, -2)
    best = table.diagonal(dim1=-2, dim2=-1).argmax(-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    return functional.normalize(table.gather(-2, index)[..., 0, :], dim=-1)


def matrix_from_quaternion(q: Tensor) -> Tensor:
    """Rotations of unit quaternions wxyz."""
    w, x, y, z = q.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).reshape(*q.shape[:-1], 3, 3)


def slerp_midpoint(a: Tensor, b: Tensor) -> Tensor:
    """Rotation half-way along the shorter arc."""
    qa, qb = quaternion_from_matrix(a), quaternion_from_matrix(b)
    sign = torch.where((qa * qb).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    return matrix_from_quaternion(functional.normalize(qa + sign * qb, dim=-1))


def geman_mcclure(squared: Tensor) -> Tensor:
    return ROBUST_RHO**2 * squared / (squared + ROBUST_RHO**2)


def project(points_camera: Tensor, intrinsics: Tensor) -> Tensor:
    """Pixels of points (..., n, 3) in the camera frame; intrinsics (..., 3, 3)."""
    depth = points_camera[..., 2:].clamp(min=NEAR)
    focal = intrinsics.diagonal(dim1=-2, dim2=-1)[..., None, :2]
    return points_camera[..., :2] / depth * focal + intrinsics[..., None, :2, 2]


def smoothness(rotations: Tensor, translations: Tensor, problem: TorchProblem) -> dict[str, Tensor]:
    """Motion states of the graph; rotations (..., T, 3, 3). Sums over frames."""
    t, r = translations, rotations
    if problem.is_translational:
        bend = t[..., 1:-1, :] - 0.5 * (t[..., :-2, :] + t[..., 2:, :])
        moving = (bend**2).sum((-2, -1))
    else:
        moving = STATIC_FACTOR * ((t[..., 1:, :] - t[..., :-1, :]) ** 2).sum((-2, -1))
    if problem.is_rotational:
        middle = slerp_midpoint(r[..., :-2, :, :], r[..., 2:, :, :])
        turning = 0.5 * ((r[..., 1:-1, :, :] - middle) ** 2).sum((-3, -2, -1))
    else:
        turning = (
            STATIC_FACTOR * 0.5 * ((r[..., 1:, :, :] - r[..., :-1, :, :]) ** 2).sum((-3, -2, -1))
        )
    return {"translation_smoothness": moving, "rotation_smoothness": turning}


def side_shares(distances: Tensor, edge: Edge) -> Tensor:
    """Share of each slot from its distances (slots, ..., T): equal, or the closer side where one is named."""
    if edge.select_side:
        return torch.softmax(-distances.detach().mean(-1) / SIDE_TEMPERATURE, dim=0)
    return torch.full_like(distances[..., 0], 1.0 / len(distances))


def slip(points: Tensor, edge: Edge) -> Tensor:
    """Drift of contact points (..., T, C, 3) in the object's frame, summed over frames: (...)."""
    if edge.is_rel_static:
        change = points[..., 1:, :, :] - points[..., :-1, :, :]
    else:
        middle = 0.5 * (points[..., :-2, :, :] + points[..., 2:, :, :])
        change = points[..., 1:-1, :, :] - middle
    return (change**2).sum(-1).mean(-1).sum(-1)


def weighted_total(terms: Mapping[str, Tensor], weights: Schedules, progress: float) -> Tensor:
    """Sum of the terms under their weights at `progress` in [0, 1] of the run."""
    ramps = {name: start + (end - start) * progress for name, (start, end) in weights.items()}
    return torch.stack([ramps[name] * terms[name] for name in ramps]).sum()
