"""HOI-PAGE's object fit in plain PyTorch, as research code of the field is written.

The same losses and weights as `hoijax.methods.hoi_page.method.PUBLISHED_TERMS`, for one person and one object:
every frame in a Python loop, nearest neighbors by `torch.cdist` between observed points and the 4,096 posed
object samples, body vertices looked up in the signed distance grid by `grid_sample`, candidates one after the
other, autograd, Adam on 6D rotations. Nothing is slowed down on purpose: what does not change
(subsets, masks, camera matrices) is prepared once, and nothing leaves the device inside a step.

This is what `benchmark_speed.py` compares with, and an independent twin that the tests hold hoijax's
losses against. `torch_grids.py` is the same fit as an optimized PyTorch program.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from scripts.baselines.torch_problem import (
    PIXEL_COUNT,
    Edge,
    Schedules,
    TorchProblem,
    geman_mcclure,
    project,
    rotation_from_6d,
    side_shares,
    slip,
    smoothness,
    weighted_total,
)

LEARNING_RATE = 0.01
FRAME_TERMS = ("object_points", "object_pixels", "part_points", "part_pixels", "penetration")


class PublishedStyle:
    """Losses of one candidate, frame by frame, with pairwise distances."""

    def __init__(self, problem: TorchProblem):
        self.problem = p = problem
        seen = range(p.frames)
        self.points = [p.points_world[t, p.point_mask[t]] for t in seen]
        mask = p.point_mask[:, :PIXEL_COUNT]
        self.pixels = [p.pixels[t, :PIXEL_COUNT][mask[t]] for t in seen]
        labels = p.part_shares > 0
        parts = range(p.part_shares.shape[-1])
        self.part_points = [[p.points_world[t, labels[t, :, q]] for q in parts] for t in seen]
        few = labels[:, :PIXEL_COUNT]
        self.part_pixels = [[p.pixels[t, :PIXEL_COUNT][few[t, :, q]] for q in parts] for t in seen]
        self.is_detected = p.detected.tolist()
        nodes = corner_nodes(p.corners[0])
        self.volume = nodes.permute(2, 1, 0)[None, None]  # grid_sample orders (z, y, x)
        self.cells = p.corners.shape[1]

    def losses(self, six: Tensor, translation: Tensor) -> dict[str, Tensor]:
        """Unweighted terms: mean over frames, sum over entities. six (T, 6), translation (T, 3)."""
        p = self.problem
        rotations = rotation_from_6d(six)
        sums = {name: six.new_zeros(()) for name in FRAME_TERMS}
        contact_frames: list[list[Tensor]] = []
        for t in range(p.frames):
            posed = p.samples @ rotations[t].T + translation[t]
            parts = [posed[index] for index in p.samples_of_part]
            if self.is_detected[t]:
                self._add_fit(sums, posed, parts, t)
            sums["penetration"] = sums["penetration"] + self._penetration(
                rotations[t], translation[t], t
            )
            contact_frames.append([_part_distances(edge, parts[edge.part], t) for edge in p.edges])
        sums["contact"], sums["contact_drift"] = self._contacts(
            contact_frames, rotations, translation
        )
        sums |= smoothness(rotations, translation, p)
        return {name: value / p.frames for name, value in sums.items()}

    def _add_fit(self, sums: dict[str, Tensor], posed: Tensor, parts: list[Tensor], t: int) -> None:
        p = self.problem
        distance = torch.cdist(self.points[t], posed).min(dim=1).values
        sums["object_points"] = sums["object_points"] + geman_mcclure((distance**2).mean())
        pixels = self._project(posed, t)
        distance = torch.cdist(self.pixels[t], pixels).min(dim=1).values
        sums["object_pixels"] = sums["object_pixels"] + (distance**2).mean()
        for q, part in enumerate(parts):
            points, seen = self.part_points[t][q], self.part_pixels[t][q]
            if len(points) and len(part):
                distance = torch.cdist(points, part).min(dim=1).values
                sums["part_points"] = sums["part_points"] + geman_mcclure((distance**2).mean())
            if len(seen) and len(part):
                projected = pixels[p.samples_of_part[q]]
                distance = torch.cdist(seen, projected).min(dim=1).values
                sums["part_pixels"] = sums["part_pixels"] + (distance**2).mean()

    def _project(self, points_world: Tensor, t: int) -> Tensor:
        camera = self.problem.pointmap_world[t]
        points = points_world @ camera[:3, :3].T + camera[:3, 3]
        return project(points, self.problem.intrinsics[t])

    def _penetration(self, rotation: Tensor, translation: Tensor, t: int) -> Tensor:
        p = self.problem
        local = (p.vertices_world[t] - translation) @ rotation + p.center
        unit = (local - p.grid_lower) / (p.grid_spacing * self.cells)
        at = (2.0 * unit - 1.0)[None, None, None]
        inside = ((unit > 0.0) & (unit < 1.0)).all(-1)
        distance = functional.grid_sample(
            self.volume, at, mode="bilinear", padding_mode="border", align_corners=True
        )[0, 0, 0, 0]
        return torch.where(inside, (-distance).clamp(min=0.0), 0.0).sum() / 1000.0

    def _contacts(
        self, frames: list[list[Tensor]], rotations: Tensor, translation: Tensor
    ) -> tuple[Tensor, Tensor]:
        contact, drift = translation.new_zeros(()), translation.new_zeros(())
        for e, edge in enumerate(self.problem.edges):
            distances = torch.stack([row[e] for row in frames], dim=-1)
            shares = side_shares(distances, edge)
            squared = (shares[:, None] * distances**2).sum(0)
            best = squared.min() * len(frames)
            contact = contact + (squared.sum() if edge.every_frame else best)
            points = torch.stack(edge.points_world) - translation[:, None]
            drift = drift + (shares * slip(points @ rotations, edge)).sum()
        return contact, drift


def _part_distances(edge: Edge, part: Tensor, t: int) -> Tensor:
    """Distance of each slot's points to the posed samples of the part, (slots,)."""
    nearest = [torch.cdist(points[t], part).min(dim=1).values for points in edge.points_world]
    return torch.stack([x.mean() if edge.use_mean else x.min() for x in nearest])


def corner_nodes(corners: Tensor) -> Tensor:
    """Node values (n+1, n+1, n+1) of one grid stored as eight corners a cell."""
    n = corners.shape[0]
    nodes = corners.new_empty((n + 1,) * 3)
    for corner in range(8):
        i, j, k = corner >> 2, corner >> 1 & 1, corner & 1
        nodes[i : n + i, j : n + j, k : n + k] = corners[..., corner]
    return nodes


class PublishedFit:
    """Adam on every candidate in turn: `step` moves all K of them once."""

    def __init__(self, problem: TorchProblem, starts: Any, weights: Schedules):
        self.losses = PublishedStyle(problem).losses
        self.weights = weights
        device = problem.samples.device

        def leaves(array: Any) -> list[Tensor]:
            candidates = np.asarray(array)[:, 0]  # (K, O, T, d), one object
            return [torch.tensor(x, device=device, requires_grad=True) for x in candidates]

        self.unknowns = list(
            zip(leaves(starts.rotation_6d), leaves(starts.translation), strict=True)
        )
        self.adams = [torch.optim.Adam(pair, lr=LEARNING_RATE) for pair in self.unknowns]

    def step(self, progress: float) -> None:
        for pair, adam in zip(self.unknowns, self.adams, strict=True):
            adam.zero_grad()
            weighted_total(self.losses(*pair), self.weights, progress).backward()
            adam.step()
