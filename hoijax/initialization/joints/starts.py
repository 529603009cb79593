"""Where joint values start: the best path over a grid of values, given where one link seems to be.

The search finds every object alone, and those of symmetric shape (the base of a laptop, its lid) only up
to their symmetry. Here every link of a tree is trusted in turn, in each of its symmetric poses; the other
links follow from it joint by joint. Then links and frames are fitted together (`joint_refine`), and the
start is kept under which all links fit what was seen and move smoothly.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hoijax.bundle.write import Bundle
from hoijax.geometry.bilinear import bilinear
from hoijax.geometry.camera import project
from hoijax.geometry.rotations import matrix_to_rotation_6d, rotation_6d_to_matrix
from hoijax.geometry.safe_math import geman_mcclure
from hoijax.geometry.transforms import compose_rigid
from hoijax.initialization.joints.paths import best_path
from hoijax.initialization.joints.refine import FEW_POINTS, refine_paths, refine_tree
from hoijax.initialization.joints.tree import placed_links, tree_from
from hoijax.initialization.starts import Starts, find_starts, search_object
from hoijax.initialization.tracks import fill_gaps
from hoijax.initialization.trajectory_paths import best_paths
from hoijax.objects.asset import Asset
from hoijax.objects.symmetry import find_symmetries
from hoijax.programs import program
from hoijax.scene.joints import ObjectJoints, joint_transforms, jointed, object_joints
from hoijax.scene.objects import WHOLE_UNSIGNED
from hoijax.scene.scene import Scene, Unknowns
from hoijax.settings import SceneSettings

PATHS = 4
"""Paths of each link that are tried."""
COST_SCALE = 1e3
"""Of squared metres beside the costs of `PathCosts`: the weight of seen points in the method."""
REFINED = 24
"""Poses of a link, in a frame, that are refined by all links."""
GRID = 31
"""Values tried of a joint."""
POINTS, SAMPLES = 128, 96
FREE_TURN, FREE_SLIDE = np.pi, 0.5
"""Range of a joint without limits, to both sides: radians, metres."""
POINT_RHO = 0.10  # metres; a seen point further from its link than this says little
MASK_RHO = 8.0  # pixels; a sample further outside the mask than this says little
MASK_SHARE = 2e-5
"""Of a squared pixel beside a squared metre: as in the terms of the method."""
NEW_TURN, NEW_SLIDE = 0.35, 0.08
"""Radians and metres from which on two starts are different ones."""


@dataclass(frozen=True)
class _Fit:
    """One way to place a tree: costs of the frames, joint values by joint, T_world_asset by link."""

    costs: Float[np.ndarray, " T"]
    values: dict[int, Float[np.ndarray, " T"]]
    poses: dict[int, Float[np.ndarray, "T 4 4"]]
    price: float = 0.0
    """By which fits of the whole clip compare: what was seen, and how they move."""


def start_joints(scene: Scene, bundle: Bundle, settings: SceneSettings) -> Starts:
    """Starts of all objects, those on joints where joints allow, with joint values where there are any.

    A link that looks alike from several sides is told apart by the others: its paths are searched anew,
    by how well all links fit.
    """
    joints = object_joints(bundle.joints, bundle.assets)
    starts = find_starts(scene, bundle, settings)
    if joints is None:
        return starts
    count = len(starts.labels)
    rotations = np.array(rotation_6d_to_matrix(starts.unknowns.object_rotation_6d))
    shifts = np.array(starts.unknowns.object_translation)
    values = np.zeros((count, len(joints.parents), scene.frame_count), np.float32)
    for tree in _trees(joints):
        fits = [
            _fit_tree(scene, joints, anchor, T)
            for anchor in sorted(tree)
            for T in _anchor_paths(scene, joints, anchor, bundle.assets[anchor], settings)
        ]
        fits = _smoothed(scene, joints, fits)
        for k, fit in enumerate(_distinct(fits, count)):
            for d, of_joint in fit.values.items():
                values[k, d] = of_joint
            for link, T in fit.poses.items():
                rotations[k, link] = T[:, :3, :3]
                center = np.asarray(scene.objects.centers[link])
                shifts[k, link] = T[:, :3, 3] + T[:, :3, :3] @ center
    pose = jax.vmap(partial(jointed, joints, scene.objects.centers))
    six = np.concatenate([rotations[..., 0], rotations[..., 1]], axis=-1)
    matrices = rotation_6d_to_matrix(jnp.asarray(six))
    posed, moved = pose(matrices, jnp.asarray(shifts), jnp.asarray(values))
    unknowns = Unknowns(matrix_to_rotation_6d(posed), moved, joint_values=jnp.asarray(values))
    return Starts(unknowns, starts.labels)


def _anchor_paths(
    scene: Scene, joints: ObjectJoints, anchor: int, asset: Asset, settings: SceneSettings
) -> list[Float[np.ndarray, "T 4 4"]]:
    """Paths of one link through what the search found in each frame, chosen by how all links fit."""
    turns = find_symmetries(asset)
    hypotheses = search_object(scene, anchor, settings.search, turns)
    seen = np.asarray(np.isfinite(hypotheses[2]).any(axis=1))
    rotation = np.einsum("thij,sjk->thsik", hypotheses[0], turns).astype(np.float32)
    rotation = rotation.reshape(len(seen), -1, 3, 3)
    center = np.repeat(hypotheses[1], len(turns), axis=1).astype(np.float32)
    shift = center - rotation @ asset.center
    poses = compose_rigid(rotation, shift)
    allowed = np.isfinite(np.repeat(hypotheses[2], len(turns), axis=1))
    poses, unary = _refined(scene, joints, anchor, poses, allowed)
    rotation, center = poses[..., :3, :3], poses[..., :3, 3] + poses[..., :3, :3] @ asset.center
    one = np.eye(3)[None]
    paths, _ = best_paths(rotation, center, unary, count=PATHS, symmetries=one)
    frames, out = np.arange(len(seen)), []
    for path in paths:
        turned, moved = fill_gaps(rotation[frames, path], center[frames, path], seen, one)
        turned = np.asarray(turned, np.float32)
        out.append(compose_rigid(turned, moved - turned @ asset.center))
    return out


def _refined(
    scene: Scene,
    joints: ObjectJoints,
    anchor: int,
    poses: Float[np.ndarray, "T H 4 4"],
    allowed: Bool[np.ndarray, "T H"],
) -> tuple[Float[np.ndarray, "T h 4 4"], Float[np.ndarray, "T h"]]:
    """The hypotheses of a link, with the best of them refined by all links, and how all links fit.

    Those that were not refined stay: where a link is hidden, what fits best is noise, and the path keeps
    to where it was.
    """

    def fitted(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = np.zeros((*poses.shape[:2], len(joints.parents)), np.float32)
        costs = np.zeros(poses.shape[:2])
        for h in range(poses.shape[1]):
            fit = _fit_tree(scene, joints, anchor, poses[:, h], smooth=False)
            costs[:, h] = fit.costs
            for d, fit_values in fit.values.items():
                values[:, h, d] = fit_values
        return values, costs

    values, costs = fitted(poses)
    order = np.argsort(np.where(allowed, costs, np.inf), axis=1, kind="stable")[:, :REFINED]
    rows = np.arange(len(poses))[:, None]
    refined, _ = refine_tree(
        scene,
        joints,
        tree_from(joints, anchor),
        jnp.asarray(poses[rows, order]),
        jnp.asarray(values[rows, order]),
    )
    refined = np.asarray(refined)
    both = np.concatenate([poses, refined], axis=1)
    costs = np.concatenate([costs, fitted(refined)[1]], axis=1)
    allowed = np.concatenate([allowed, allowed[rows, order]], axis=1)
    return both, np.where(allowed, COST_SCALE * costs, np.inf)


def _smoothed(scene: Scene, joints: ObjectJoints, fits: list[_Fit]) -> list[_Fit]:
    """All links of a tree and the whole clip fitted at once, from where each fit starts."""
    out = []
    for anchor in dict.fromkeys(next(iter(fit.poses)) for fit in fits):
        of_anchor = [fit for fit in fits if next(iter(fit.poses)) == anchor]
        tree = tree_from(joints, anchor)
        values = np.zeros(
            (len(of_anchor), *of_anchor[0].costs.shape, len(joints.parents)), np.float32
        )
        for k, fit in enumerate(of_anchor):
            for d, path in fit.values.items():
                values[k, :, d] = path
        first = jnp.asarray(np.stack([fit.poses[anchor] for fit in of_anchor]))
        Ts, refined_values, prices = refine_paths(scene, joints, tree, first, jnp.asarray(values))
        placed = placed_links(joints, tree, Ts, refined_values)
        for k, fit in enumerate(of_anchor):
            poses = {link: np.asarray(T[k]) for link, T in placed.items()}
            moved = {d: np.asarray(refined_values[k, :, d]) for d in fit.values}
            out.append(_Fit(fit.costs, moved, poses, float(prices[k])))
    return out


def _distinct(fits: list[_Fit], count: int) -> list[_Fit]:
    """The best fits that differ from better ones; where there are too few, the best again."""
    chosen: list[_Fit] = []
    for fit in sorted(fits, key=lambda f: f.price):
        if len(chosen) < count and all(_apart(fit, other) for other in chosen):
            chosen.append(fit)
    return [chosen[k % len(chosen)] for k in range(count)]


def _apart(a: _Fit, b: _Fit) -> bool:
    """Whether some link is turned by NEW_TURN or moved by NEW_SLIDE in the middle of the frames."""
    for link, T in a.poses.items():
        relative = np.einsum("tji,tjk->tik", T[:, :3, :3], b.poses[link][:, :3, :3])
        cosine = 0.5 * (np.trace(relative, axis1=1, axis2=2) - 1.0)
        angle = np.median(np.arccos(np.clip(cosine, -1.0, 1.0)))
        moved = np.median(np.linalg.norm(T[:, :3, 3] - b.poses[link][:, :3, 3], axis=-1))
        if angle > NEW_TURN or moved > NEW_SLIDE:
            return True
    return False


def _trees(joints: ObjectJoints) -> list[set[int]]:
    """Links that hang together, tree by tree."""
    trees: list[set[int]] = []
    for pair in zip(joints.parents, joints.children, strict=True):
        touched = [tree for tree in trees if tree & set(pair)]
        trees = [tree for tree in trees if tree not in touched]
        trees.append(set(pair).union(*touched))
    return trees


def _fit_tree(
    scene: Scene,
    joints: ObjectJoints,
    anchor: int,
    Ts_world_anchor: Float[np.ndarray, "T 4 4"],
    *,
    smooth: bool = True,
) -> _Fit:
    """The other links of a tree where they fit best, given one of them; smooth: along the frames."""
    values: dict[int, np.ndarray] = {}
    poses = {anchor: Ts_world_anchor}
    total = np.asarray(_costs(scene, Ts_world_anchor, np.eye(4, dtype=np.float32)[None], anchor))
    total = total[:, 0]
    pairs = list(zip(joints.parents, joints.children, strict=True))
    while ready := [d for d, pair in enumerate(pairs) if len(poses.keys() & set(pair)) == 1]:
        d, (parent, child) = ready[0], pairs[ready[0]]
        known, other = (parent, child) if parent in poses else (child, parent)
        grid = _grid(joints, d)
        step = np.asarray(joint_transforms(joints, d, jnp.asarray(grid)))
        step = step if known == parent else np.linalg.inv(step).astype(np.float32)
        cost = np.asarray(_costs(scene, poses[known], step, other))
        path = cost.argmin(axis=1)
        if smooth:
            corners = _corners(scene, other)
            path = best_path(cost, _placed(poses[known][:, None] @ step, corners))
        values[d] = grid[path]
        poses[other] = poses[known] @ step[path]
        total = total + cost[np.arange(len(path)), path]
    return _Fit(total, values, poses)


def _corners(scene: Scene, link: int) -> Float[np.ndarray, "8 3"]:
    """Corners of the box around a link, in its asset's frame."""
    samples = np.asarray(scene.objects.samples[link] + scene.objects.centers[link])
    low, high = samples.min(axis=0), samples.max(axis=0)
    return np.stack(np.meshgrid(*zip(low, high, strict=True)), axis=-1).reshape(-1, 3)


def _placed(
    Ts_world_link: Float[np.ndarray, "*a 4 4"], points: Float[np.ndarray, "p 3"]
) -> Float[np.ndarray, "*a p 3"]:
    turned = np.einsum("...ij,pj->...pi", Ts_world_link[..., :3, :3], points)
    return turned + Ts_world_link[..., None, :3, 3]


def _grid(joints: ObjectJoints, d: int) -> Float[np.ndarray, " n"]:
    free = FREE_SLIDE if joints.slides[d] else FREE_TURN
    low, high = (float(x[d]) for x in (joints.lower, joints.upper))
    low, high = low if np.isfinite(low) else -free, high if np.isfinite(high) else free
    return np.linspace(low, high, GRID).astype(np.float32)


@program
def _costs(
    scene: Scene,
    Ts_world_known: Float[Array, "T 4 4"] | Float[np.ndarray, "T 4 4"],
    Ts_known_link: Float[Array, "n 4 4"] | Float[np.ndarray, "n 4 4"],
    link: Array | int,
) -> Float[Array, "T n"]:
    """How badly a link fits what was seen of it, for every pose it may have beside a known link."""
    seen, link = scene.observed, jnp.asarray(link)
    points, mask = seen.points_world[link, :, :POINTS], seen.point_mask[link, :, :POINTS]
    samples = scene.objects.samples[link, :SAMPLES] + scene.objects.centers[link]
    row = scene.objects.first_grid[link] + WHOLE_UNSIGNED
    count = jnp.sum(mask, axis=-1, dtype=jnp.float32) + FEW_POINTS
    cameras = scene.cameras
    # What was missed in a frame leaves a hole in it, on which things behind may well lie.
    sure = MASK_SHARE * jnp.all(seen.detected, axis=0)

    def of_step(step: Array) -> Array:
        T = jnp.einsum("tij,jk->tik", jnp.asarray(Ts_world_known), step)
        away = points - T[:, None, :3, 3]
        local = jnp.einsum("tnj,tjk->tnk", away, T[:, :3, :3])
        distance = scene.distance(local, row, link)
        near = jnp.where(mask, geman_mcclure(distance**2, POINT_RHO), 0.0)
        T_camera = jnp.einsum("tij,tjk->tik", cameras.Ts_pointmap_world, T)
        posed = jnp.einsum("sj,tij->tsi", samples, T_camera[:, :3, :3]) + T_camera[:, None, :3, 3]
        pixels = project(posed, cameras.intrinsics) / cameras.cell_size - 0.5
        beside = geman_mcclure(jax.vmap(bilinear)(seen.mask_distance[link], pixels) ** 2, MASK_RHO)
        cost = jnp.sum(near, axis=-1) / count + sure * jnp.mean(beside, axis=-1)
        return jnp.where(seen.detected[link], cost, 0.0)

    return jnp.swapaxes(jax.lax.map(of_step, jnp.asarray(Ts_known_link)), 0, 1)
