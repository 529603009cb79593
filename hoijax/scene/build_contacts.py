"""The affordance graph's edges as arrays of contact points (host)."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.affordance.contact_table import ContactKind, ContactTable
from hoijax.affordance.graph import BODY_PARTS
from hoijax.bodies.contact import contact_candidates
from hoijax.bodies.parts import part_vertex_indices
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.objects.asset import Asset
from hoijax.objects.distance_grid import FIRST_PART
from hoijax.runtime import on_device
from hoijax.scene.build_constants import EDGES_STEP, pad_to
from hoijax.scene.objects import (
    WHOLE_UNSIGNED,
    ContactEdges,
)
from hoijax.settings import SceneSettings

MEAN_PARTS = ("left_hand", "right_hand", "left_foot", "right_foot")
"""Published: contact is the mean over vertices for these, the minimum for all others."""


def contact_edges(
    table: ContactTable,
    assets: tuple[Asset, ...],
    body: SkinnedBody | None,
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
    # An asset without labeled parts has one part, its whole surface (affordance.WHOLE_PART).
    has_parts = np.array([len(asset.part_names) > 0 for asset in assets])[target]
    row = np.where(has_parts & (part >= 0), FIRST_PART + part, WHOLE_UNSIGNED)
    columns["grid"] = (first_grid[target] + row).astype(np.int32)
    assert columns["points"].shape == (padded, 2, frames, count, 3)
    return ContactEdges(**{key: on_device(value) for key, value in columns.items()})


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
        source, target, part, source_points = _smaller_to_larger(table, e, assets)
        points[0] = source_points[np.linspace(0, len(source_points) - 1, count).astype(int)]
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
        of_part = asset.samples[asset.sample_parts == part]
        clouds.append((of_part if len(of_part) else asset.samples) - asset.center)
    extents = [float(np.prod(np.ptp(cloud, axis=0) + 0.01)) for cloud in clouds]
    small = int(np.argmin(extents))
    source, (target, part) = ends[small][0], ends[1 - small]
    return source, target, np.int32(part), clouds[small].astype(np.float32)
