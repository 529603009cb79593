"""Bundle to Scene: names become integers, meshes become grids, masks become distance transforms."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy import ndarray
from scipy.ndimage import distance_transform_edt

from hoijax.affordance.contact_table import ContactKind, ContactTable, compile_contacts
from hoijax.affordance.graph import BODY_PARTS, PartAffordanceGraph
from hoijax.bodies import load_body
from hoijax.bodies.contact import contact_candidates
from hoijax.bodies.parts import part_vertex_indices
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.observations import Observations
from hoijax.geometry.bilinear import pack_corners
from hoijax.objects.asset import Asset
from hoijax.objects.distance_grid import FIRST_PART, DistanceGrids, build_distance_grids
from hoijax.scene.objects import (
    WHOLE_UNSIGNED,
    Cameras,
    ContactEdges,
    ObjectConstants,
    ObservedObjects,
)
from hoijax.scene.scene import Scene
from hoijax.settings import SceneSettings

MASK_CELL = 4  # image pixels in a cell of the mask distance transform
PARTS_STEP, EDGES_STEP, CELLS_STEP = 4, 4, 32
"""Parts, contact edges and mask cells are padded to multiples of these, points to what the settings
ask for, grids to what the parts imply: so scenes of one frame, person and object count share a few
compiled programs. Whatever is padded is masked, or never looked up."""
MEAN_PARTS = ("left_hand", "right_hand", "left_foot", "right_foot")
"""Published: contact is the mean over vertices for these, the minimum for all others."""


def pad_to(count: int, multiple: int) -> int:
    """Bucketed size: scenes of one bucket share compiled programs."""
    return -(-max(count, 1) // multiple) * multiple


def padded_parts(assets: tuple[Asset, ...]) -> int:
    """Length of the part axis."""
    return pad_to(max(len(asset.part_names) for asset in assets), PARTS_STEP)


def pad_points(array: ndarray, count: int) -> ndarray:
    """Axis 2 (points of a frame) cut or filled with zeros to `count`: False in masks."""
    array = array[:, :, :count]
    missing = count - array.shape[2]
    return np.pad(array, ((0, 0), (0, 0), (0, missing), *((0, 0),) * (array.ndim - 3)))


def pad_cells(distances: Float[ndarray, "O T h w"]) -> Float[ndarray, "O T H W"]:
    """Repeat the last row and column: what a look-up outside the image gives in any case."""
    h, w = distances.shape[-2:]
    # Packing corners takes one away.
    below, right = (pad_to(size - 1, CELLS_STEP) + 1 - size for size in (h, w))
    return np.pad(distances, ((0, 0), (0, 0), (0, below), (0, right)), mode="edge")


def stack_grids(assets: tuple[Asset, ...], resolution: int) -> tuple[DistanceGrids, ndarray]:
    """One table with every object's grids and each object's first row.

    The table has as many rows as if every object had the padded number of parts: rows and parts then
    change together, and do not multiply the number of shapes.
    """
    built = [build_distance_grids(asset, resolution=resolution) for asset in assets]
    sizes = [len(grids.corners) for grids in built]
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    corners = np.concatenate([np.asarray(grids.corners) for grids in built])
    rows = len(assets) * (FIRST_PART + padded_parts(assets))
    padding = max(rows, len(corners)) - len(corners)
    corners = np.pad(corners, ((0, padding), *((0, 0),) * 4))
    lower = np.stack([np.asarray(grids.lower) for grids in built])
    spacing = np.stack([np.asarray(grids.spacing) for grids in built])
    return DistanceGrids(jnp.asarray(corners), jnp.asarray(lower), jnp.asarray(spacing)), first


def object_constants(
    assets: tuple[Asset, ...], table: ContactTable, first_grid: ndarray, seed: int
) -> ObjectConstants:
    """Centerd surface samples in random order (so that a prefix is a uniform subsample)."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(asset.samples)) for asset in assets]
    pairs = list(zip(assets, orders, strict=True))
    return ObjectConstants(
        centers=jnp.asarray(np.stack([a.center for a in assets])),
        samples=jnp.asarray(np.stack([a.samples[order] - a.center for a, order in pairs])),
        sample_parts=jnp.asarray(np.stack([a.sample_parts[order] for a, order in pairs])),
        first_grid=jnp.asarray(first_grid),
        is_translational=jnp.asarray(table.object_is_translational),
        is_rotational=jnp.asarray(table.object_is_rotational),
    )


def mask_distances(instance_ids: ndarray, persons: int, objects: int) -> Float[ndarray, "O T h w"]:
    """Pixels to each object's mask or to anything that may hide it, at the centers of coarse cells.

    One pixel beside the mask still costs nothing: boundaries flicker by that much.
    """
    t, height, width = instance_ids.shape
    h, w = -(-height // MASK_CELL), -(-width // MASK_CELL)
    ids = np.pad(instance_ids, ((0, 0), (0, h * MASK_CELL - height), (0, w * MASK_CELL - width)))
    out = np.zeros((objects, t, h, w), np.float32)
    for frame in range(t):
        present = np.unique(ids[frame])
        if not (present > persons).any():
            continue
        away = np.asarray(distance_transform_edt(ids[frame] == 0))
        cells = np.maximum(away - 1.0, 0.0).reshape(h, MASK_CELL, w, MASK_CELL).mean(axis=(1, 3))
        for o in range(objects):
            if persons + 1 + o in present:
                out[o, frame] = cells
    return out


def observed_objects(
    observations: Observations,
    assets: tuple[Asset, ...],
    constants: ObjectConstants,
    Ts_world_pointmap: Float[ndarray, "T 4 4"],
    points: int,
) -> ObservedObjects:
    """Observed points brought into the world, part labels as one-hot shares, mask distances."""
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
    distances = pad_cells(mask_distances(observations.instance_ids, observations.person_count, o))
    sample_parts = np.asarray(constants.sample_parts)
    return ObservedObjects(
        points_world=jnp.asarray(np.where(mask[..., None], world, 0.0), jnp.float32),
        pixels=jnp.asarray(pad_points(observations.object_pixels, points)),
        point_mask=jnp.asarray(mask),
        part_shares=jnp.asarray(shares, jnp.float32),
        part_grids=jnp.asarray(grids, jnp.int32),
        part_of_sample=jnp.asarray(sample_parts[:, None] == np.arange(parts)[None, :, None]),
        detected=jnp.asarray(observations.object_detected),
        mask_distance=jnp.asarray(pack_corners(distances)),
    )


def posed_bodies(body: SkinnedBody, observations: Observations) -> Float[Array, "P T V 3"]:
    """Skin vertices of every person in every frame, in the world."""
    return jnp.stack(
        [
            _posed_body(
                jax.tree.map(jnp.asarray, body),
                jnp.asarray(observations.body_betas[p]),
                jnp.asarray(observations.body_rest_joints[p]),
                jnp.asarray(observations.body_rotations[p]),
                jnp.asarray(observations.body_translations[p]),
            )
            for p in range(observations.person_count)
        ]
    )


@jax.jit
def _posed_body(
    body: SkinnedBody, betas: Array, rest_joints: Array, rotations: Array, translations: Array
) -> Float[Array, "T V 3"]:
    shaped = body.shape(betas).with_rest_joints(rest_joints)
    return jax.vmap(lambda r, t: jnp.asarray(shaped.pose(r, t).vertices_world))(
        rotations, translations
    )


def contact_edges(
    table: ContactTable,
    assets: tuple[Asset, ...],
    body: SkinnedBody,
    vertices_world: Float[ndarray, "P T V 3"],
    first_grid: ndarray,
    settings: SceneSettings,
    palm_contact: bool = True,
) -> ContactEdges:
    """One row per group of PAG edges; see ContactEdges for the two slots of a row."""
    count, frames = settings.contact_points, vertices_world.shape[1]
    rows = [
        _edge_row(table, g, assets, body, vertices_world, settings, palm_contact)
        for g in range(table.group_count)
    ]
    padded = pad_to(len(rows), EDGES_STEP)
    blank = dict(rows[0], mask=False, slot_mask=np.zeros(2, bool))
    rows += [blank] * (padded - len(rows))
    columns = {key: np.stack([np.asarray(row[key]) for row in rows]) for key in rows[0]}
    target, part = columns["target"], columns.pop("part")
    # An asset without labelled parts has one part, its whole surface (affordance.WHOLE_PART).
    has_parts = np.array([len(asset.part_names) > 0 for asset in assets])[target]
    row = np.where(has_parts, FIRST_PART + part, WHOLE_UNSIGNED)
    columns["grid"] = (first_grid[target] + row).astype(np.int32)
    assert columns["points"].shape == (padded, 2, frames, count, 3)
    return ContactEdges(**{key: jnp.asarray(value) for key, value in columns.items()})


def _edge_row(table, g, assets, body, vertices_world, settings, palm_contact) -> dict:
    edges = np.flatnonzero(table.group == g)
    e = int(edges[0])
    frames, count = vertices_world.shape[1], settings.contact_points
    points = np.zeros((2, frames, count, 3), np.float32)
    slot_mask = np.zeros(2, bool)
    common = {
        "every_frame": bool(table.is_continuous[e]) or settings.infer_contact,
        "is_rel_static": bool(table.is_rel_static[e]),
        "mask": True,
    }
    if table.kind[e] == ContactKind.OBJECT_OBJECT:
        source, target, part, own = _smaller_to_larger(table, e, assets)
        points[0] = own[np.linspace(0, len(own) - 1, count).astype(int)]
        slot_mask[0] = True
        place = {"source": np.int32(source), "target": np.int32(target), "part": part}
        return dict(
            common, **place, points=points, slot_mask=slot_mask, select_side=False, use_mean=False
        )
    names = [BODY_PARTS[table.body_part[i]] for i in edges]
    free = len(edges) == 1 and bool(table.either_side[e])
    if free:
        names.append(BODY_PARTS[table.mirrored_body_part[e]])
    for name in names:
        slot = 1 if name.startswith("right_") else 0
        index = _part_points(body, name, count, palm_contact)
        points[slot] = vertices_world[table.person[e]][:, index]
        slot_mask[slot] = True
    place = {
        "source": np.int32(len(assets)),
        "target": np.int32(table.object[e]),
        "part": np.int32(table.part[e]),
    }
    use_mean = names[0] in MEAN_PARTS
    return dict(
        common, **place, points=points, slot_mask=slot_mask, select_side=free, use_mean=use_mean
    )


def _part_points(body: SkinnedBody, part: str, count: int, palm_contact: bool) -> ndarray:
    if palm_contact:
        return np.asarray(contact_candidates(body, part, count))
    return np.asarray(part_vertex_indices(body, part, count, seed=0))


def _smaller_to_larger(table: ContactTable, e: int, assets: tuple[Asset, ...]):
    """Object-object contact is measured from the part with less surface to the other."""
    ends = [(table.object[e], table.part[e]), (table.other_object[e], table.other_part[e])]
    clouds = []
    for o, part in ends:
        asset = assets[o]
        own = asset.samples[asset.sample_parts == part]
        clouds.append((own if len(own) else asset.samples) - asset.center)
    extents = [float(np.prod(np.ptp(cloud, axis=0) + 0.01)) for cloud in clouds]
    small = int(np.argmin(extents))
    source, (target, part) = ends[small][0], ends[1 - small]
    return source, target, np.int32(part), clouds[small].astype(np.float32)


def stage_contacts(graph: PartAffordanceGraph, assets: tuple[Asset, ...]) -> ContactTable:
    """The graph as integers, in the order of the assets."""
    return compile_contacts(graph, {asset.name: asset.part_names for asset in assets})


def build_scene(
    graph: PartAffordanceGraph,
    assets: tuple[Asset, ...],
    observations: Observations,
    body_name: str,
    Ts_world_pointmap: Float[ndarray, "T 4 4"],
    vertices_world: Float[Array, "P T V 3"],
    settings: SceneSettings,
    *,
    palm_contact: bool = True,
) -> Scene:
    """Everything the losses read, from observations already aligned by `Ts_world_pointmap`.

    palm_contact: contact candidates (palm, sole, seat) touch, instead of every vertex of a body part.
    """
    table = stage_contacts(graph, assets)
    grids, first_grid = stack_grids(assets, settings.grid_resolution)
    constants = object_constants(assets, table, first_grid, settings.seed)
    observed = observed_objects(observations, assets, constants, Ts_world_pointmap, settings.points)
    edges = contact_edges(
        table,
        assets,
        load_body(body_name),
        np.asarray(vertices_world),
        first_grid,
        settings,
        palm_contact,
    )
    cameras = Cameras(
        Ts_pointmap_world=jnp.asarray(np.linalg.inv(Ts_world_pointmap), jnp.float32),
        intrinsics=jnp.asarray(observations.intrinsics),
        cell_size=jnp.full(2, MASK_CELL, jnp.float32),
    )
    return Scene(grids, constants, observed, cameras, vertices_world, edges)
