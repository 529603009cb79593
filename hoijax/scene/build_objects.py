"""Bundle to Scene: names become integers, meshes become grids, masks become distance transforms."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy import ndarray

from hoijax.bodies import load_body
from hoijax.bodies.posed_person import pose_measured
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.observations import Observations
from hoijax.bundle.write import Bundle
from hoijax.geometry.bilinear import pack_corners
from hoijax.objects.asset import Asset
from hoijax.objects.distance_grid import FIRST_PART
from hoijax.runtime import on_device
from hoijax.scene.build_constants import (
    MASK_CELL,
    object_constants,
    pad_cells,
    pad_points,
    padded_parts,
    stack_grids,
)
from hoijax.scene.build_constants import mask_distances as mask_distances
from hoijax.scene.build_constants import pad_to as pad_to
from hoijax.scene.build_contacts import contact_edges
from hoijax.scene.fragments import show_parts, without_reach
from hoijax.scene.image_contact import contacts_possible, in_front_of_people
from hoijax.scene.objects import (
    WHOLE_UNSIGNED,
    Cameras,
    ObjectConstants,
    ObservedObjects,
)
from hoijax.scene.scene import Scene
from hoijax.scene.silhouettes import (
    Outline,
    Silhouettes,
    build_outlines,
    hull_points,
    with_own_borders,
)
from hoijax.settings import SceneSettings

NO_POINTS = 1
"""Of every object in a frame, all unseen, where there is no depth: losses need an axis, not its length."""


def observed_objects(
    observations: Observations,
    assets: tuple[Asset, ...],
    constants: ObjectConstants,
    Ts_world_pointmap: Float[ndarray, "T 4 4"],
    points: int,
    mask_distance: Float[Array, "O T h w 4"] | None = None,
) -> ObservedObjects:
    """Observed points brought into the world, part labels as one-hot shares, mask distances (where they are
    known, those)."""
    o = observations.object_count
    linear, shift = Ts_world_pointmap[None, :, :3, :3], Ts_world_pointmap[None, :, None, :3, 3]
    seen = pad_points(observations.object_points, points)
    world = seen @ np.swapaxes(linear, -1, -2) + shift
    mask = pad_points(observations.object_point_mask, points)
    labels = pad_points(observations.object_point_parts, points)
    parts = padded_parts(assets)
    one_hot = (labels[..., None] == np.arange(parts)) & mask[..., None]
    shares = one_hot / np.maximum(one_hot.sum(axis=2, keepdims=True), 1)
    first = np.asarray(constants.first_grid)[:, None, None]
    grids = np.where((labels >= 0) & mask, first + FIRST_PART + labels, first + WHOLE_UNSIGNED)
    if mask_distance is None:
        distances = mask_distances(observations.instance_ids, observations.person_count, o)
        mask_distance = on_device(pack_corners(pad_cells(distances)))
    sample_parts = np.asarray(constants.sample_parts)
    return ObservedObjects(
        points_world=on_device(np.where(mask[..., None], world, 0.0), jnp.float32),
        pixels=on_device(pad_points(observations.object_pixels, points)),
        point_mask=on_device(mask),
        part_shares=on_device(shares, jnp.float32),
        part_grids=on_device(grids, jnp.int32),
        part_of_sample=on_device(sample_parts[:, None] == np.arange(parts)[None, :, None]),
        detected=on_device(observations.object_detected),
        mask_distance=mask_distance,
    )


def with_space_for_points(observed: ObservedObjects, count: int) -> ObservedObjects:
    """With at least `count` points of every object in a frame, those that are added unseen."""
    if observed.point_mask.shape[2] >= count:
        return observed
    names = "points_world", "pixels", "point_mask", "part_shares", "part_grids"
    return dataclasses.replace(
        observed,
        **{
            name: on_device(pad_points(np.asarray(getattr(observed, name)), count))
            for name in names
        },
    )


def posed_bodies(body: SkinnedBody, observations: Observations) -> Float[Array, "P T V 3"]:
    """Skin vertices of every person in every frame, in the world."""
    people = [
        pose_measured(
            body,
            observations.body_betas[p],
            observations.body_rest_joints[p],
            observations.body_rotations[p],
            observations.body_translations[p],
        )
        for p in range(observations.person_count)
    ]
    return on_device(np.stack([np.asarray(person.vertices_world) for person in people]))


def build_scene(
    bundle: Bundle,
    Ts_world_pointmap: Float[ndarray, "T 4 4"],
    vertices_world: Float[Array, "P T V 3"],
    settings: SceneSettings,
    *,
    palm_contact: bool = True,
    before: Scene | None = None,
) -> Scene:
    """Everything the losses read of a bundle, whose point maps are aligned by `Ts_world_pointmap`.

    palm_contact: contact candidates (palm, sole, seat) touch, instead of every vertex of a body part.
    before: a scene of the same masks; they are not measured again.
    """
    assets, observations, table = bundle.assets, bundle.observations, bundle.contact_table
    grids, first_grid = stack_grids(assets, settings.grid_resolution)
    constants = object_constants(assets, table, first_grid, settings.seed)
    known = None if before is None else before.observed.mask_distance
    points = settings.points if observations.object_point_mask.any() else NO_POINTS
    observed = observed_objects(observations, assets, constants, Ts_world_pointmap, points, known)
    edges = contact_edges(
        table,
        assets,
        load_body(bundle.body),
        np.asarray(vertices_world),
        first_grid,
        settings,
        palm_contact,
    )
    cameras = Cameras(
        Ts_pointmap_world=on_device(np.linalg.inv(Ts_world_pointmap), jnp.float32),
        intrinsics=on_device(observations.intrinsics),
        cell_size=on_device((MASK_CELL, MASK_CELL), jnp.float32),
    )
    outline, silhouettes = _outlines(observations, assets, before), None
    if outline is not None:
        possible, hulls = None, np.stack([hull_points(asset) for asset in assets])
        if (alone := np.asarray(outline.alone) > 0.0).any():
            front = in_front_of_people(observations, vertices_world, cameras)
            outline = with_own_borders(outline, front & alone)
            seen = contacts_possible(observations, assets, edges, cameras, outline)
            outline = without_reach(outline, show_parts(outline, hulls, edges, cameras, seen))
            possible = on_device(seen, jnp.float32)
        silhouettes = Silhouettes(on_device(hulls), outline, possible)
    drops = np.zeros((len(assets), observations.frame_count), np.float32)
    return Scene(
        grids,
        constants,
        observed,
        cameras,
        vertices_world,
        edges,
        silhouettes=silhouettes,
        drops=on_device(drops),
    )


def _outlines(o: Observations, assets: tuple[Asset, ...], before: Scene | None) -> Outline | None:
    """As masks have them; those of a scene of the same masks where bodies have not changed them since."""
    if before is None or before.silhouettes is None or before.lacks_depth:
        return build_outlines(o, assets)
    return before.silhouettes.outline
