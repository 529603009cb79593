"""Skin that is inside objects: how deep, and how that changes with the pose. numpy, all frames at once."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.geometry.rows import cross
from hoijax.objects.asset import Asset
from hoijax.objects.distance_grid import (
    DistanceGrids,
    build_distance_grids,
    pack_corners,
    trilinear,
)
from priors.choreography.keyframes import forward_of
from priors.choreography.kinematic_chain import ANCESTORS, UNKNOWN_COUNT, Chain
from priors.choreography.pose_targets import PoseTargets, Seat, Skeleton

COLLISION = 90.0
"""Square-root weight of a metre of depth."""

BACK_ABOVE = 0.08  # metres above the seat from which what stands there is its back
GRID_RESOLUTION = 40


def stacked_grids(assets: Sequence[Asset]) -> DistanceGrids:
    """Signed distance grids of all objects on one leading axis."""
    grids = [build_distance_grids(asset, resolution=GRID_RESOLUTION) for asset in assets]
    return DistanceGrids(
        corners=np.stack([grid.corners[:1] for grid in grids]),
        lower=np.stack([grid.lower for grid in grids]),
        spacing=np.stack([grid.spacing for grid in grids]),
    )


def solid_seats(grids: DistanceGrids, seats: Sequence[Seat]) -> DistanceGrids:
    """The grids with what is sat on solid down to the ground, and backs solid to the rear.

    Skin that is past the middle of a thin seat would be pushed through it.
    """
    from scipy.ndimage import distance_transform_edt

    corners = np.array(grids.corners)
    for seat in seats:
        spacing, lower = (
            np.asarray(grids.spacing)[seat.object],
            np.asarray(grids.lower)[seat.object],
        )
        nodes = _nodes(corners[seat.object, 0])
        solid = _swept(nodes < 0.0, np.array([0, -1, 0]))
        heights = lower[1] + spacing[1] * np.arange(nodes.shape[1])
        is_back = (nodes < 0.0) & (heights > seat.height + BACK_ABOVE)[:, None]
        solid |= _swept(is_back, -np.rint(forward_of(seat.front)).astype(int))
        depth = float(np.max(spacing)) - np.asarray(distance_transform_edt(solid, sampling=spacing))
        corners[seat.object, 0] = pack_corners(np.minimum(nodes, np.where(solid, depth, np.inf)))
    return dataclasses.replace(grids, corners=corners)


def _swept(inside: Bool[ndarray, "m m m"], way: Int[ndarray, "3"]) -> Bool[ndarray, "m m m"]:
    """Everything that lies in a direction along an axis of the grid from what is inside, and that itself."""
    axis = int(np.argmax(np.abs(way)))
    ahead = np.flip(inside, axis) if way[axis] < 0 else inside
    swept = np.logical_or.accumulate(ahead, axis=axis)
    return np.flip(swept, axis) if way[axis] < 0 else swept


def _nodes(corners: Float[ndarray, "n n n 8"]) -> Float[ndarray, "m m m"]:
    """Node values of packed cells."""
    n = len(corners)
    nodes = np.empty((n + 1, n + 1, n + 1), np.float32)
    for corner, (i, j, k) in enumerate(itertools.product((0, 1), repeat=3)):
        nodes[i : i + n, j : j + n, k : k + n] = corners[..., corner]
    return nodes


@dataclass(frozen=True)
class Deep:
    """Skin points inside an object (with their margin), each in the object it is deepest in."""

    frames: Int[ndarray, " N"]
    """Ascending."""
    points: Int[ndarray, " N"]
    depth: Float[ndarray, " N"]
    """Weighted."""
    slope: Float[ndarray, "N 3"]
    """Of the weighted depth, by the point's world position."""


def deep_skin(chain: Chain, targets: PoseTargets, skeleton: Skeleton, grids: DistanceGrids) -> Deep:
    """Points whose distance to an object is less than their margin.

    grids: one per object, stacked on a leading axis; grid 0 is the signed distance.
    """
    skin = np.tensordot(chain.positions, skeleton.skin_weights, axes=(1, 1)).transpose(0, 2, 1)
    affine = chain.rotations.transpose(0, 2, 1, 3)  # T 3 22 3
    flat = skeleton.skin_offsets.reshape(len(skeleton.skin_weights), -1)
    skin = skin + (affine.reshape(len(skin), 3, -1) @ flat.T).transpose(0, 2, 1)
    worst, slope = np.zeros(skin.shape[:2]), np.zeros_like(skin)
    for o in range(targets.Ts_world_object.shape[1]):
        R, p = targets.Ts_world_object[:, o, :3, :3], targets.Ts_world_object[:, o, :3, 3]
        weight = COLLISION * targets.collision_weight[:, o]
        local = (skin - p[:, None]) @ R
        lower, upper = _box(grids, o)
        margin = skeleton.skin_margin[:, None]
        is_near = ((local > lower - margin) & (local < upper + margin)).all(axis=-1)
        t, v = np.nonzero(is_near & (weight > 0.0)[:, None])
        distance, gradient = look_up(grids, o, local[t, v])
        depth = weight[t] * (skeleton.skin_margin[v] - distance)
        deeper = depth > worst[t, v]
        t, v = t[deeper], v[deeper]
        worst[t, v] = depth[deeper]
        slope[t, v] = -weight[t, None] * np.einsum("nij,nj->ni", R[t], gradient[deeper])
    frames, points = np.nonzero(worst)
    return Deep(frames, points, worst[frames, points], slope[frames, points])


def deep_rows(deep: Deep, chain: Chain, skeleton: Skeleton) -> Float[ndarray, "N 69"]:
    """Jacobian of the weighted depths.

    A spin of joint a moves what hangs on it: the sum over joints j at or below a of the point's
    share in j, relative to a; its part along the slope is spin . (arm x slope).
    """
    t, weights = deep.frames, skeleton.skin_weights[deep.points]
    turned = np.einsum("njab,njb->nja", chain.rotations[t], skeleton.skin_offsets[deep.points])
    shares = turned + weights[..., None] * chain.positions[t]
    below = ANCESTORS.astype(float).T
    arms = np.einsum("aj,njc->nac", below, shares)
    arms = arms - (weights @ below.T)[..., None] * chain.positions[t]
    torque = cross(arms, deep.slope[:, None])
    rows = np.empty((len(t), UNKNOWN_COUNT))
    rows[:, :3] = deep.slope
    rows[:, 3:] = np.einsum("naci,nac->nai", chain.spins[t], torque).reshape(
        len(t), UNKNOWN_COUNT - 3
    )
    return rows


def _box(grids: DistanceGrids, index: int) -> tuple[Float[ndarray, "3"], Float[ndarray, "3"]]:
    """Lower and upper corner of a grid, in its object's frame."""
    lower, spacing = np.asarray(grids.lower)[index], np.asarray(grids.spacing)[index]
    return lower, lower + spacing * np.asarray(grids.corners).shape[2]


def look_up(
    grids: DistanceGrids, index: int, points: Float[ndarray, "*batch 3"]
) -> tuple[Float[ndarray, "*batch"], Float[ndarray, "*batch 3"]]:
    """Signed distance and gradient in the object's frame; far outside the box at least so far away."""
    corners = np.asarray(grids.corners)[index, 0]
    lower, spacing = np.asarray(grids.lower)[index], np.asarray(grids.spacing)[index]
    local = (points - lower) / spacing
    n = corners.shape[0]
    clamped = np.clip(local, 0.0, n)
    cell = np.clip(np.floor(clamped), 0, n - 1).astype(int)
    gathered = corners[cell[..., 0], cell[..., 1], cell[..., 2]]
    fractions = np.moveaxis(clamped - cell, -1, 0)
    value, slopes = trilinear(list(np.moveaxis(gathered, -1, 0)), list(fractions))
    beyond = np.linalg.norm((local - clamped) * spacing, axis=-1)
    return value + beyond, np.stack(slopes, axis=-1) / spacing
