"""Links that look the same turned: of their equal poses, those that fit the joints (host)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.geometry.transforms import compose_rigid
from hoijax.objects.articulated.joints import Joint
from hoijax.objects.asset import Asset
from hoijax.objects.symmetry import find_symmetries

Poses = Float[ndarray, "K T 4 4"]
Misfit = Callable[[Joint, Poses, Poses], Float[ndarray, " K"]]
"""(joint, poses of its parent, poses of its child) -> how far the joint is from allowing them."""


def fitting_equivalents(
    joints: Sequence[Joint],
    assets: Sequence[Asset],
    free: Float[ndarray, "O K T 4 4"],
    misfit: Misfit,
) -> Float[ndarray, "O K T 4 4"]:
    """Every link turned into itself, all frames alike, so that the misfits of all joints add up to the least.

    A lid found by itself may as well be turned by half a turn: nothing but its hinge tells. Joints have
    parents before children and are trees: the least sum comes from the leaves up.
    """
    links = dict.fromkeys(link for joint in joints for link in (joint.parent, joint.child))
    turned = {link: _turned(assets[link], free[link]) for link in links}
    below = {link: np.zeros((len(poses), free.shape[1])) for link, poses in turned.items()}
    best_child: list[ndarray] = []
    for joint in reversed(joints):
        cost = np.array(
            [[misfit(joint, a, b) for b in turned[joint.child]] for a in turned[joint.parent]]
        )
        cost = cost + below[joint.child]  # (turns of the parent, of the child, K)
        best_child.insert(0, cost.argmin(axis=1))
        below[joint.parent] = below[joint.parent] + cost.min(axis=1)
    return _chosen(joints, free, turned, below, best_child)


def _chosen(
    joints: Sequence[Joint],
    free: Float[ndarray, "O K T 4 4"],
    turned: Mapping[int, Float[ndarray, "S K T 4 4"]],
    below: Mapping[int, Float[ndarray, "S K"]],
    best_child: Sequence[ndarray],
) -> Float[ndarray, "O K T 4 4"]:
    """From the roots down: the best turn of a root, and of each child that of its parent's turn."""
    every = np.arange(free.shape[1])
    children = {joint.child for joint in joints}
    turn = {link: cost.argmin(axis=0) for link, cost in below.items() if link not in children}
    for joint, best in zip(joints, best_child, strict=True):
        turn[joint.child] = best[turn[joint.parent], every]
    out = free.copy()
    for link, s in turn.items():
        out[link] = turned[link][s, every]
    return out


def _turned(asset: Asset, poses: Poses) -> Float[ndarray, "S K T 4 4"]:
    """Poses T_world_link that show the link alike."""
    turns = find_symmetries(asset).astype(np.float64)
    center = np.asarray(asset.center, np.float64)
    return poses @ compose_rigid(turns, center - turns @ center)[:, None, None]
