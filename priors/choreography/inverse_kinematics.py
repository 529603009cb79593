"""Inverse kinematics of a whole clip at once: every frame's joint rotations are the unknowns.

Levenberg-Marquardt on contacts, planted feet, balance, gaze, joint limits, a reference pose and
collisions; velocities and accelerations join consecutive frames, so that each step is one banded solve.
On the host, in double precision: there is nothing to compile.

Unknowns of a frame (69): see `kinematic_chain`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from threadpoolctl import threadpool_limits

from hoijax.objects.distance_grid import DistanceGrids
from priors.choreography.banded_steps import damped_step, smoothness
from priors.choreography.kinematic_chain import body_transforms
from priors.choreography.pose_residuals import point_residuals, pose_prior
from priors.choreography.pose_targets import PoseTargets, Skeleton
from priors.choreography.skin_collisions import deep_rows, deep_skin

MAX_STEPS = 36
LARGEST_CHANGE = 0.6  # of an unknown in a step
FIRST_DAMPING, MIN_DAMPING, MAX_DAMPING = 1.0, 1e-4, 1e6
STALLED, PATIENCE = 1e-3, 3  # share of the cost that a step should gain; steps that may gain less


@dataclass(frozen=True)
class _System:
    """Normal equations without damping, and the cost (sum of squares)."""

    cost: float
    blocks: Float[ndarray, "T 69 69"]
    gradient: Float[ndarray, "T 69"]
    bands: list[Float[ndarray, "T 69"]]


def solve_poses(
    start: Float[ndarray, "T 69"],
    targets: PoseTargets,
    skeleton: Skeleton,
    grids: DistanceGrids,
    max_steps: int = MAX_STEPS,
) -> tuple[Float[ndarray, "T 69"], float, int]:
    """Best unknowns that were seen, their cost, and the number of steps.

    grids: one per object, stacked on a leading axis; grid 0 is the signed distance.
    """
    # Threads cost such small matrices far more than they save.
    with threadpool_limits(1, user_api="blas"):
        return _descend(start, lambda x: _system(x, targets, skeleton, grids), max_steps)


def _descend(
    start: Float[ndarray, "T 69"], system_of: Callable[[ndarray], _System], max_steps: int
) -> tuple[Float[ndarray, "T 69"], float, int]:
    """Levenberg-Marquardt; steps that do not lower the cost are taken back."""
    best = system_of(start)
    x, damping, stalled = start, FIRST_DAMPING, 0
    for count in range(1, max_steps + 1):
        curvature = np.diagonal(best.blocks, axis1=1, axis2=2)
        bands = [best.bands[0] + damping * (1.0 + 0.1 * curvature), *best.bands[1:]]
        step = damped_step(best.blocks, best.gradient, bands)
        proposal = x + np.clip(step, -LARGEST_CHANGE, LARGEST_CHANGE)
        proposed = system_of(proposal)
        gain = 1.0 - proposed.cost / best.cost
        if gain > 0.0:
            x, best = proposal, proposed
        damping = float(np.clip(damping * (0.3 if gain > 0.0 else 5.0), MIN_DAMPING, MAX_DAMPING))
        stalled = 0 if gain >= STALLED else stalled + 1
        if stalled == PATIENCE:
            return x, best.cost, count
    return x, best.cost, max_steps


def _system(
    x: Float[ndarray, "T 69"], targets: PoseTargets, skeleton: Skeleton, grids: DistanceGrids
) -> _System:
    chain = body_transforms(x, targets.heading, skeleton.rest_joints)
    values, rows = point_residuals(chain, x, targets, skeleton)
    prior, slopes = pose_prior(x, targets)
    smooth = smoothness(x)
    deep = deep_skin(chain, targets, skeleton, grids)
    cost = np.sum(values**2) + np.sum(prior**2) + np.sum(deep.depth**2) + smooth.cost
    blocks = np.swapaxes(rows, 1, 2) @ rows
    gradient = np.einsum("tr,trn->tn", values, rows) + np.sum(slopes * prior, axis=0)
    ends = np.searchsorted(deep.frames, np.arange(len(x) + 1))
    inside = deep_rows(deep, chain, skeleton)
    for t in np.unique(deep.frames):
        own = slice(ends[t], ends[t + 1])
        blocks[t] += inside[own].T @ inside[own]
        gradient[t] += deep.depth[own] @ inside[own]
    bands = [smooth.bands[0] + np.sum(slopes**2, axis=0), *smooth.bands[1:]]
    return _System(float(cost), blocks, gradient + smooth.gradient, bands)
