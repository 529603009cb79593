"""Arrays and meshes to the members of a scene: no bundle, no disk, every kind of evidence optional (host)."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy import ndarray

from hoijax.affordance.contacts import Contact, contact_table
from hoijax.bodies.posed_person import PosedPerson
from hoijax.errors import UserError
from hoijax.geometry.bilinear import pack_corners
from hoijax.geometry.transforms import invert_rigid
from hoijax.objects.asset import Asset
from hoijax.objects.distance_grid import FIRST_PART
from hoijax.scene.build_constants import (
    EDGES_STEP,
    MASK_CELL,
    mask_distances,
    pad_cells,
    padded_parts,
    stack_grids,
)
from hoijax.scene.build_contacts import contact_edges
from hoijax.scene.objects import (
    WHOLE_UNSIGNED,
    Cameras,
    ContactEdges,
    ObjectConstants,
    ObservedObjects,
)
from hoijax.settings import SceneSettings

SETTINGS = SceneSettings(infer_contact=False)


def scene_members(
    objects: Sequence[Asset],
    body: PosedPerson | Sequence[PosedPerson] | None,
    evidence: dict[str, Any],
    contacts: Sequence[Contact],
    fps: float | None,
    frames: int | None,
) -> dict[str, Any]:
    """Members of `Scene`; see `Scene.from_arrays`."""
    assets = tuple(objects)
    if not assets:
        raise UserError("a scene needs at least one object: objects=[hoijax.load_object(...)].")
    names = [asset.name for asset in assets]
    if len(set(names)) < len(names):
        raise UserError(
            f"objects need names of their own, got {names}: load_object(..., name=...)."
        )
    people = [body] if isinstance(body, PosedPerson) else list(body or ())
    count = _frame_count(people, evidence, frames)
    skin = jnp.stack([p.vertices_world for p in people]) if people else jnp.zeros((0, count, 1, 3))
    grids, first_grid = stack_grids(assets, SETTINGS.grid_resolution)
    constants = _constants(assets, first_grid)
    return {
        "grids": grids,
        "objects": constants,
        "observed": _observed(assets, constants, evidence, count),
        "cameras": _cameras(evidence, count),
        "body_vertices_world": skin,
        "edges": _edges(contacts, assets, people, np.asarray(skin), first_grid),
        "fps": None if fps is None else jnp.asarray(fps, jnp.float32),
    }


def _frame_count(people: list[PosedPerson], evidence: dict[str, Any], frames: int | None) -> int:
    """T, which everything must agree on."""
    counts = {"frames": frames}
    counts |= {f"body {p}": len(person.vertices_world) for p, person in enumerate(people)}
    for name in ("points", "masks"):
        for o, array in enumerate(evidence[name] or ()):
            counts[f"{name}[{o}]"] = len(array)
    known = {name: count for name, count in counts.items() if count is not None}
    if not known:
        raise UserError("how many frames? Give a body, points, masks, or frames=.")
    if len(set(known.values())) > 1:
        raise UserError(f"numbers of frames differ: {known}.")
    return next(iter(known.values()))


def _constants(assets: tuple[Asset, ...], first_grid: ndarray) -> ObjectConstants:
    """As `build_constants.object_constants`, of objects that may move freely."""
    fewest = min(len(asset.samples) for asset in assets)
    orders = [np.random.default_rng(0).permutation(len(asset.samples))[:fewest] for asset in assets]
    pairs = list(zip(assets, orders, strict=True))
    moves = jnp.ones(len(assets), bool)
    return ObjectConstants(
        centers=jnp.asarray(np.stack([a.center for a in assets]), jnp.float32),
        samples=jnp.asarray(np.stack([a.samples[i] - a.center for a, i in pairs]), jnp.float32),
        sample_parts=jnp.asarray(np.stack([a.sample_parts[i] for a, i in pairs]), jnp.int32),
        first_grid=jnp.asarray(first_grid),
        is_translational=moves,
        is_rotational=moves,
    )


def _observed(
    assets: tuple[Asset, ...], constants: ObjectConstants, evidence: dict[str, Any], frames: int
) -> ObservedObjects:
    """What is missing is masked: it costs nothing."""
    count, parts = len(assets), padded_parts(assets)
    points = _stacked("points", evidence["points"], count)
    points = np.zeros((count, frames, 1, 3)) if points is None else points
    mask = _stacked("point_mask", evidence["point_mask"], count)
    if mask is None:
        mask = np.full(points.shape[:3], evidence["points"] is not None)
    labels = _stacked("point_parts", evidence["point_parts"], count)
    labels = np.full(points.shape[:3], -1) if labels is None else labels
    for name, array in (("point_mask", mask), ("point_parts", labels)):
        if array.shape != points.shape[:3]:
            raise UserError(f"{name} is {array.shape}, points are {points.shape}.")
    mask = mask.astype(bool) & np.isfinite(points).all(-1)
    points = np.where(mask[..., None], points, 0.0).astype(np.float32)
    labels = np.where(mask, labels, -1)
    one_hot = labels[..., None] == np.arange(parts)
    first = np.asarray(constants.first_grid)[:, None, None]
    rows = np.where(labels >= 0, first + FIRST_PART + labels, first + WHOLE_UNSIGNED)
    masks = _stacked("masks", evidence["masks"], count)
    distances, visible = (
        np.zeros((count, frames, 2, 2), np.float32),
        np.zeros((count, frames), bool),
    )
    if masks is not None:
        masks = masks.astype(bool)
        ids = np.max(masks * np.arange(1, count + 1)[:, None, None, None], axis=0)
        distances, visible = pad_cells(mask_distances(ids, 0, count)), masks.any(axis=(2, 3))
    sample_parts = np.asarray(constants.sample_parts)[:, None]
    return ObservedObjects(
        points_world=jnp.asarray(points),
        pixels=jnp.zeros((*points.shape[:3], 2)),
        point_mask=jnp.asarray(mask),
        part_shares=jnp.asarray(
            one_hot / np.maximum(one_hot.sum(2, keepdims=True), 1), jnp.float32
        ),
        part_grids=jnp.asarray(rows, jnp.int32),
        part_of_sample=jnp.asarray(sample_parts == np.arange(parts)[None, :, None]),
        detected=jnp.asarray(mask.any(-1) | visible),
        mask_distance=jnp.asarray(pack_corners(distances)),
    )


def _stacked(name: str, arrays: Any, count: int) -> ndarray | None:
    """One array for all objects. Raises UserError where there is not one of equal shape for each."""
    if arrays is None:
        return None
    each = [np.asarray(array) for array in arrays]
    if len(each) != count or len({array.shape for array in each}) != 1:
        shapes = [array.shape for array in each]
        raise UserError(
            f"{name} needs one array of equal shape for each of {count} objects: {shapes}."
        )
    return np.stack(each)


def _cameras(evidence: dict[str, Any], frames: int) -> Cameras:
    """Points are in the world already: the point map's camera is the clip's."""
    intrinsics, pose = evidence["intrinsics"], evidence["Ts_world_camera"]
    if evidence["masks"] is not None and (intrinsics is None or pose is None):
        raise UserError("masks need a camera: give intrinsics and Ts_world_camera.")
    intrinsics = np.eye(3) if intrinsics is None else np.asarray(intrinsics)
    pose = np.eye(4) if pose is None else np.asarray(pose)
    return Cameras(
        Ts_pointmap_world=jnp.asarray(
            invert_rigid(np.broadcast_to(pose, (frames, 4, 4))), jnp.float32
        ),
        intrinsics=jnp.asarray(np.broadcast_to(intrinsics, (frames, 3, 3)), jnp.float32),
        cell_size=jnp.full(2, MASK_CELL, jnp.float32),
    )


def _edges(
    contacts: Sequence[Contact],
    assets: tuple[Asset, ...],
    people: list[PosedPerson],
    skin: ndarray,
    first_grid: ndarray,
) -> ContactEdges:
    if contacts:
        parts = [(asset.name, asset.part_names) for asset in assets]
        table = contact_table(contacts, parts, len(people))
        body = people[0].body if people else None
        return contact_edges(table, assets, body, skin, first_grid, SETTINGS)
    rows, none = EDGES_STEP, jnp.zeros(EDGES_STEP, bool)
    return ContactEdges(
        points=jnp.zeros((rows, 2, skin.shape[1], 1, 3)),
        slot_mask=jnp.zeros((rows, 2), bool),
        select_side=none,
        source=jnp.full(rows, len(assets), jnp.int32),
        target=jnp.zeros(rows, jnp.int32),
        grid=jnp.full(rows, int(first_grid[0]) + WHOLE_UNSIGNED, jnp.int32),
        use_mean=none,
        every_frame=none,
        is_rel_static=none,
        mask=none,
    )
