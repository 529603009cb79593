"""HOI-PAGE's object fit as an optimized PyTorch program: the fair opponent of hoijax's own solver.

The distance grids of hoijax instead of pairwise distances, with value and gradient from one gather of eight
contiguous corners (a custom autograd function, so that backward is one product); all frames and candidates in
one batch; the choice of nearest pixels outside autograd; optionally torch.compile. `refresh_every` > 1
also takes over hoijax's neighbor lists, which leaves only the implementation to differ.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scripts.baselines.torch_problem import (
    PIXEL_COUNT,
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
PIXEL_SAMPLES = 1024
ACTIVE_VERTICES = 1024  # as hoijax.solver.neighbor_lists
VERTEX_ROUNDS = 7  # hoijax renews the vertex list in every 7th round of a 600-step run
WHOLE_SIGNED, WHOLE_UNSIGNED, FIRST_PART = 0, 1, 2


class GridDistance(torch.autograd.Function):
    """Trilinear distance of points in the asset frame, saving its gradient for backward."""

    @staticmethod
    def forward(
        context: Any, points: Tensor, rows: Any, table: Tensor, lower: Tensor, spacing: Tensor
    ) -> Tensor:
        """points (..., 3), rows (...) of the table (G, n, n, n, 8): distance (...)."""
        n = table.shape[1]
        local = (points - lower) / spacing
        clamped = local.clamp(0.0, float(n))
        cell = clamped.floor().clamp(0.0, float(n - 1))
        u, v, w = (clamped - cell).unbind(-1)
        i, j, k = cell.long().unbind(-1)
        flat = ((rows * n + i) * n + j) * n + k
        corners = table.view(-1, 8).index_select(0, flat.reshape(-1)).view(*flat.shape, 8)
        near, far = corners[..., 0::2], corners[..., 1::2]
        rise = far - near
        z00, z01, z10, z11 = (near + w[..., None] * rise).unbind(-1)
        low, high = z00 + v * (z01 - z00), z10 + v * (z11 - z10)
        value = low + u * (high - low)
        slope_y = (z01 - z00) + u * ((z11 - z10) - (z01 - z00))
        r00, r01, r10, r11 = rise.unbind(-1)
        front, back = r00 + v * (r01 - r00), r10 + v * (r11 - r10)
        slopes = torch.stack([high - low, slope_y, front + u * (back - front)], -1) / spacing
        # The lowest bit of the first corner flags a folded cell, which holds side * distance.
        folded = (corners[..., 0].contiguous().view(torch.int32) & 1) == 1
        sign = torch.where(folded & (value < 0.0), -1.0, 1.0)
        beyond = (local - clamped) * spacing
        gap = beyond.norm(dim=-1)
        home = beyond / gap.clamp(min=1e-12)[..., None]
        gradient = torch.where(beyond == 0.0, sign[..., None] * slopes, home)
        context.save_for_backward(gradient)
        return sign * value + gap

    @staticmethod
    def backward(context: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = context.saved_tensors
        return cotangents[0][..., None] * gradient, None, None, None, None


class GridStyle:
    """Losses of K candidates at once: rotations (K, T, 3, 3), translations (K, T, 3)."""

    def __init__(self, problem: TorchProblem):
        self.problem = p = problem
        self.pixels = p.pixels[:, :PIXEL_COUNT]
        self.pixel_mask = p.point_mask[:, :PIXEL_COUNT]
        self.samples = p.samples[:PIXEL_SAMPLES]
        shares = p.part_shares[:, : self.pixels.shape[1]]
        self.pixel_shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-6)
        owner = torch.full((len(p.samples),), -1, device=p.samples.device)
        for q, index in enumerate(p.samples_of_part):
            owner[index] = q
        labels = torch.where(shares.sum(-1) > 0, shares.argmax(-1), -2)  # (T, M)
        self.is_other_part = labels[:, :, None] != owner[: len(self.samples)]
        self.edge_points = torch.stack([x for edge in p.edges for x in edge.points_world])
        rows = [FIRST_PART + edge.part for edge in p.edges for _ in edge.points_world]
        self.edge_rows = torch.tensor(rows, device=p.samples.device)[:, None, None]
        self.slots, start = [], 0
        for edge in p.edges:
            self.slots.append(slice(start, start + len(edge.points_world)))
            start += len(edge.points_world)

    @torch.no_grad()
    def nearest_samples(self, six: Tensor, translation: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest projected sample of each pixel, (K, T, M), and the nearest of the pixel's own part."""
        projected = self._project(rotation_from_6d(six), translation)
        distance = torch.cdist(self.pixels[None], projected)
        nearest = distance.argmin(-1)
        return nearest, distance.masked_fill_(self.is_other_part, torch.inf).argmin(-1)

    @torch.no_grad()
    def active_vertices(self, six: Tensor, translation: Tensor) -> Tensor:
        """The body vertices closest to the object, (K, T, A)."""
        vertices = self.problem.vertices_world
        distance = self._distance(rotation_from_6d(six), translation, vertices, WHOLE_SIGNED)
        count = min(ACTIVE_VERTICES, vertices.shape[1])
        return distance.topk(count, dim=-1, largest=False).indices

    def losses(
        self,
        six: Tensor,
        translation: Tensor,
        nearest: Tensor,
        of_part: Tensor,
        active: Tensor | None,
    ) -> dict[str, Tensor]:
        """Unweighted terms of every candidate (K,); six (K, T, 6), translation (K, T, 3)."""
        p = self.problem
        rotations = rotation_from_6d(six)
        terms = smoothness(rotations, translation, p)
        terms |= self._points(rotations, translation) | self._pixels(
            self._project(rotations, translation), nearest, of_part
        )
        vertices = p.vertices_world.expand(len(six), -1, -1, -1)
        if active is not None:
            vertices = vertices.gather(2, active[..., None].expand(*active.shape, 3))
        signed = self._distance(rotations, translation, vertices, WHOLE_SIGNED)
        terms["penetration"] = (-signed).clamp(min=0.0).sum((-2, -1)) / 1000.0
        terms |= self._contacts(rotations, translation)
        return {name: value / p.frames for name, value in terms.items()}

    def _local(self, rotations: Tensor, translation: Tensor, points_world: Tensor) -> Tensor:
        return (points_world - translation[:, :, None]) @ rotations + self.problem.center

    def _distance(
        self, rotations: Tensor, translation: Tensor, points: Tensor, rows: Any
    ) -> Tensor:
        p = self.problem
        local = self._local(rotations, translation, points)
        return GridDistance.apply(local, rows, p.corners, p.grid_lower, p.grid_spacing)

    def _points(self, rotations: Tensor, translation: Tensor) -> dict[str, Tensor]:
        p = self.problem
        local = self._local(rotations, translation, p.points_world)
        rows = torch.stack([torch.full_like(p.part_grids, WHOLE_UNSIGNED), p.part_grids])
        both = GridDistance.apply(
            local[None], rows[:, None], p.corners, p.grid_lower, p.grid_spacing
        )
        whole, part = both**2
        mean = (whole * p.point_mask).sum(-1) / p.point_mask.sum(-1).clamp(min=1)
        of_part = torch.einsum("ktn,tnq->ktq", part, p.part_shares)
        return {
            "object_points": (geman_mcclure(mean) * p.detected).sum(-1),
            "part_points": (geman_mcclure(of_part).sum(-1) * p.detected).sum(-1),
        }

    def _project(self, rotations: Tensor, translation: Tensor) -> Tensor:
        p = self.problem
        linear, shift = p.pointmap_world[:, :3, :3], p.pointmap_world[:, :3, 3]
        rotation = linear @ rotations
        move = (linear @ translation[..., None])[..., 0] + shift
        return project(self.samples @ rotation.mT + move[:, :, None], p.intrinsics)

    def _pixels(self, projected: Tensor, nearest: Tensor, of_part: Tensor) -> dict[str, Tensor]:
        p = self.problem

        def squared(index: Tensor) -> Tensor:
            chosen = projected.gather(2, index[..., None].expand(*index.shape, 2))
            return ((chosen - self.pixels) ** 2).sum(-1)

        count = self.pixel_mask.sum(-1).clamp(min=1)
        whole = (squared(nearest) * self.pixel_mask).sum(-1) / count
        part = torch.einsum("ktm,tmq->kt", squared(of_part), self.pixel_shares)
        return {
            "object_pixels": (whole * p.detected).sum(-1),
            "part_pixels": (part * p.detected).sum(-1),
        }

    def _contacts(self, rotations: Tensor, translation: Tensor) -> dict[str, Tensor]:
        p = self.problem
        shift, turn = translation[:, None, :, None], rotations[:, None]
        local = (self.edge_points - shift) @ turn + p.center
        distance = GridDistance.apply(
            local, self.edge_rows, p.corners, p.grid_lower, p.grid_spacing
        ).clamp(min=0.0)
        contact, drift = [], []
        for edge, slots in zip(p.edges, self.slots, strict=True):
            points = distance[:, slots].movedim(1, 0)  # (slots, K, T, C)
            sides = points.mean(-1) if edge.use_mean else points.min(-1).values
            shares = side_shares(sides, edge)
            squared = (shares[..., None] * sides**2).sum(0)
            best = squared.min(-1).values * p.frames
            contact.append(squared.sum(-1) if edge.every_frame else best)
            slipped = slip(local[:, slots].movedim(1, 0), edge)
            drift.append((shares * slipped).sum(0))
        return {"contact": torch.stack(contact).sum(0), "contact_drift": torch.stack(drift).sum(0)}


class GridFit:
    """Adam on all candidates in one batch: `step` moves all K of them once."""

    def __init__(
        self,
        problem: TorchProblem,
        starts: Any,
        weights: Schedules,
        *,
        refresh_every: int = 1,
        compiled: bool = False,
    ):
        self.style, self.weights, self.refresh_every = GridStyle(problem), weights, refresh_every
        self.losses: Callable[..., dict[str, Tensor]] = self.style.losses
        device = problem.samples.device
        self.unknowns = [
            torch.tensor(np.asarray(x)[:, 0], device=device, requires_grad=True)
            for x in (starts.rotation_6d, starts.translation)
        ]
        self.adam = torch.optim.Adam(self.unknowns, lr=LEARNING_RATE)
        self.vertices: Tensor | None = None  # all of them
        self.count = 0
        self.is_compiled = compiled and self._compile()

    def _compile(self) -> bool:
        """Compile the losses and try them once; keep the eager ones where no compiler is found."""
        try:
            self.losses = torch.compile(self.style.losses)
            self.step(0.0)
        except Exception as error:  # whatever the compiler's back end raises on this machine
            warnings.warn(f"torch.compile failed, running eagerly: {error}", stacklevel=3)
            self.losses = self.style.losses
            return False
        return True

    def step(self, progress: float) -> None:
        if self.count % self.refresh_every == 0:
            self.nearest = self.style.nearest_samples(*self.unknowns)
        if self.refresh_every > 1 and self.count % (VERTEX_ROUNDS * self.refresh_every) == 0:
            self.vertices = self.style.active_vertices(*self.unknowns)
        self.count += 1
        self.adam.zero_grad()
        terms = self.losses(*self.unknowns, *self.nearest, self.vertices)
        weighted_total(terms, self.weights, progress).backward()
        self.adam.step()
