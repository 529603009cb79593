"""Inverse kinematics of a whole clip at once: every frame's joint rotations are the unknowns.

Levenberg-Marquardt on contacts, planted feet, balance, gaze, joint limits, a reference pose and
collisions; velocities and accelerations join consecutive frames, so that each step is one banded solve.
On the host, in double precision: there is nothing to compile.

Unknowns of a frame (69): see `kinematic_chain`.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from threadpoolctl import threadpool_limits

from hoijax.objects.distance_grid import DistanceGrids
from priors.choreography.banded_steps import (
    Smoothness,
    damped_step,
    independence,
    no_columns,
    smoothness,
)
from priors.choreography.kinematic_chain import body_transforms
from priors.choreography.pose_residuals import point_residuals, pose_prior
from priors.choreography.pose_targets import ANKLES, PoseTargets, Skeleton
from priors.choreography.skin_collisions import deep_rows, deep_skin

MAX_STEPS, REACHING_STEPS = 48, 6
LARGEST_CHANGE = 0.6  # of an unknown in a step
FIRST_DAMPING, MIN_DAMPING, MAX_DAMPING = 1.0, 1e-4, 1e6
EASE, HARDEN = 0.3, 4.0  # of the damping, after a step that is taken and one that is refused
SETTLED_DAMPING = 1e2  # from which a refused step says that nothing is to be gained
STALLED, PATIENCE = 1e-3, 3  # share of the cost that a step should gain; steps that may gain less


@dataclass(frozen=True)
class Solution:
    """The best poses that were seen."""

    unknowns: Float[ndarray, "T 69"]
    costs: Float[ndarray, "T"]
    """Of each frame, without smoothness: how hard its pose is."""
    cost: float
    """Of the clip."""


@dataclass(frozen=True)
class _System:
    """Normal equations without damping, and costs (sums of squares)."""

    costs: Float[ndarray, "T"]
    """Of each frame, without smoothness."""
    cost: float
    """Of the clip."""
    blocks: Float[ndarray, "T 69 69"]
    gradient: Float[ndarray, "T 69"]
    bands: list[Float[ndarray, "T 69"]]


def solve_poses(
    start: Float[ndarray, "T 69"],
    targets: PoseTargets,
    skeleton: Skeleton,
    grids: DistanceGrids,
    *,
    max_steps: int = MAX_STEPS,
    are_joined: bool = True,
    is_reached: bool = False,
) -> Solution:
    """Minimize the cost of a clip, or of poses that have nothing to do with each other.

    grids: one per object, stacked on a leading axis; grid 0 is the signed distance. are_joined: frames
    follow each other. is_reached: hands are at their places already.
    """

    free = dataclasses.replace(targets, collision_weight=0.0 * targets.collision_weight)

    def system_of(x: ndarray, asked: PoseTargets = targets) -> _System:
        joined = smoothness(x) if are_joined else independence(x)
        return _system(x, asked, skeleton, grids, joined)

    # Threads cost such small matrices far more than they save.
    with threadpool_limits(1, user_api="blas"):
        # Hands that come through an object would stay on its wrong side: they reach their places first.
        steps = 0 if is_reached else REACHING_STEPS
        reached = _descend(start, partial(system_of, asked=free), steps)
        return _descend(reached.unknowns, system_of, max_steps)


def start_of(targets: PoseTargets, skeleton: Skeleton) -> Float[ndarray, "T 69"]:
    """The planned pelvis and the reference pose, legs bent as far as the pelvis is low."""
    pose = targets.reference.copy()
    for foot, ankle in enumerate(ANKLES):
        hip, knee = ankle - 6, ankle - 3
        rest = skeleton.rest_joints
        thigh, shank = (np.linalg.norm(rest[b] - rest[a]) for a, b in ((hip, knee), (knee, ankle)))
        top = targets.pelvis[:, 1] + rest[hip, 1] - rest[0, 1]
        length = np.clip(top - targets.ankle[:, foot, 1], 0.3, 0.999 * (thigh + shank))
        above = np.arccos((thigh**2 + length**2 - shank**2) / (2.0 * thigh * length))
        below = np.arccos((shank**2 + length**2 - thigh**2) / (2.0 * shank * length))
        pose[:, [hip, knee, ankle], 0] += np.stack([-above, above + below, -below], axis=1)
    return np.concatenate([targets.pelvis, pose.reshape(len(pose), -1)], axis=1)


def _descend(
    start: Float[ndarray, "T 69"], system_of: Callable[[ndarray], _System], max_steps: int
) -> Solution:
    """Levenberg-Marquardt; steps that do not lower the cost are taken back."""
    best = system_of(start)
    x, damping, stalled, refused = start, FIRST_DAMPING, 0, 0
    columns = no_columns(*start.shape)
    for _ in range(max_steps):
        curvature = np.diagonal(best.blocks, axis1=1, axis2=2)
        bands = [best.bands[0] + damping * (1.0 + 0.1 * curvature), *best.bands[1:]]
        step = damped_step(best.blocks, best.gradient, bands, columns)
        proposal = x + np.clip(step, -LARGEST_CHANGE, LARGEST_CHANGE)
        proposed = system_of(proposal)
        gain = 1.0 - proposed.cost / best.cost
        if gain > 0.0:
            x, best = proposal, proposed
            damping, refused = max(damping * EASE, MIN_DAMPING), 0
        else:  # faster and faster: limits that begin to count may ask for far more
            damping, refused = min(damping * HARDEN * 2.0**refused, MAX_DAMPING), refused + 1
        if gain >= STALLED:
            stalled = 0
        elif gain > 0.0 or damping > SETTLED_DAMPING:
            stalled += 1
        if stalled == PATIENCE:
            break
    return Solution(x, best.costs, best.cost)


def _system(
    x: Float[ndarray, "T 69"],
    targets: PoseTargets,
    skeleton: Skeleton,
    grids: DistanceGrids,
    smooth: Smoothness,
) -> _System:
    chain = body_transforms(x, targets.heading, skeleton.rest_joints)
    values, rows = point_residuals(chain, x, targets, skeleton)
    prior, slopes = pose_prior(x, targets)
    deep = deep_skin(chain, targets, skeleton, grids)
    costs = np.sum(values**2, axis=1) + np.sum(prior**2, axis=(0, 2))
    costs += np.bincount(deep.frames, deep.depth**2, minlength=len(x))
    blocks = np.swapaxes(rows, 1, 2) @ rows
    gradient = np.einsum("tr,trn->tn", values, rows) + np.sum(slopes * prior, axis=0)
    ends = np.searchsorted(deep.frames, np.arange(len(x) + 1))
    inside = deep_rows(deep, chain, skeleton)
    for t in np.unique(deep.frames):
        of_frame = slice(ends[t], ends[t + 1])
        blocks[t] += inside[of_frame].T @ inside[of_frame]
        gradient[t] += deep.depth[of_frame] @ inside[of_frame]
    bands = [smooth.bands[0] + np.sum(slopes**2, axis=0), *smooth.bands[1:]]
    cost = float(np.sum(costs) + smooth.cost)
    return _System(costs, cost, blocks, gradient + smooth.gradient, bands)
