"""Contact keypoints of a static scene (AnchorHOI eq. 3): pairs of object points and body vertices that touch.

Normals point outwards on both surfaces, so at a contact they are antiparallel: n_o . n_h = -1. The
paper's 1 - n_o . n_h is written for one of them turned inwards; here the criterion reads 1 + n_o . n_h.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hoijax.affordance.contact_table import ContactKind, ContactTable
from hoijax.affordance.graph import BODY_PARTS
from hoijax.bodies.contact import vertex_normals
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.write import Bundle
from hoijax.programs import program
from hoijax.runtime import on_device
from hoijax.scene.bodies import ContactPairs
from hoijax.scene.build_bodies import SkinSubset, StaticScene
from hoijax.settings import PairSettings


@flax.struct.dataclass
class PairThresholds:
    """Numbers of eq. 3 (traced)."""

    normal: Float[Array, ""] | float
    """tau_n, on 1 + n_o . n_h."""
    distance: Float[Array, ""] | float
    """tau_d in metres, on rho-robust distance."""
    rho: Float[Array, ""] | float

    @classmethod
    def of(cls, settings: PairSettings) -> "PairThresholds":
        return cls(
            jnp.asarray(settings.normal_threshold),
            jnp.asarray(settings.distance_threshold),
            jnp.asarray(settings.rho),
        )


@program(static=("count",))
def farthest_point_sampling(points: Float[Array, "n 3"], count: int) -> Int[Array, " {count}"]:
    """Indices of `count` points, each the farthest from those before it; the first is point 0.

    With fewer points than `count` the last ones repeat.
    """

    def add(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        last, distance = carry
        away = jnp.sum((points - points[last]) ** 2, axis=-1)
        distance = jnp.minimum(distance, away)
        following = jnp.argmax(distance).astype(jnp.int32)
        return (following, distance), last

    first = (jnp.asarray(0, jnp.int32), jnp.full(points.shape[0], jnp.inf))
    _, chosen = jax.lax.scan(add, first, None, length=count)
    return chosen


@program
def find_pairs(
    object_points: Float[Array, "n 3"],
    object_normals: Float[Array, "n 3"],
    body_points: Float[Array, "m 3"],
    body_normals: Float[Array, "m 3"],
    thresholds: PairThresholds,
) -> tuple[Int[Array, " n"], Bool[Array, " n"]]:
    """Nearest body point of every object point, and whether the two are contact keypoints.

    All in one frame, metres, unit outward normals.
    """
    squared = jnp.sum((object_points[:, None] - body_points[None]) ** 2, axis=-1)
    nearest = jnp.argmin(squared, axis=-1).astype(jnp.int32)
    against = 1.0 + jnp.sum(object_normals * body_normals[nearest], axis=-1)
    distance_squared = jnp.take_along_axis(squared, nearest[:, None], axis=-1)[:, 0]
    robust = jnp.sqrt(distance_squared / (1.0 + distance_squared / thresholds.rho**2))
    valid = (against < thresholds.normal) & (robust < thresholds.distance)
    return nearest, valid


def stage_pairs(
    still: StaticScene,
    bundle: Bundle,
    body: SkinnedBody,
    subset: SkinSubset,
    settings: PairSettings,
) -> tuple[ContactPairs, int]:
    """Contact keypoints of a static scene that the affordance graph knows of, and how many there are.

    A pair counts where an edge of the graph joins its body part (or, where the graph leaves the side
    open, the mirrored one) to its object part.
    """
    thresholds = PairThresholds.of(settings)
    blocks: list[np.ndarray] = []
    for p in range(bundle.observations.person_count):
        points, normals, places, parts = _candidates(still, bundle, body, subset, p)
        for o, asset in enumerate(bundle.assets):
            count = min(settings.object_points, len(asset.samples))
            chosen = np.asarray(farthest_point_sampling(jnp.asarray(asset.samples), count))
            local = asset.samples[chosen]
            rotation, shift = still.Ts_world_object[o, :3, :3], still.Ts_world_object[o, :3, 3]
            world, facing = local @ rotation.T + shift, asset.sample_normals[chosen] @ rotation.T
            near, valid = find_pairs(
                *(on_device(x, jnp.float32) for x in (world, facing, points, normals)), thresholds
            )
            index = np.asarray(near)
            edge = _edge_of(bundle.contact_table, p, parts[index], o, asset.sample_parts[chosen])
            paired = np.flatnonzero(np.asarray(valid) & (edge >= 0))
            away = np.linalg.norm(world[paired] - points[index[paired]], axis=-1)
            columns = [np.full(len(paired), p), places[index[paired]], np.full(len(paired), o)]
            rows = np.column_stack([*columns, local[paired] - asset.center, edge[paired], away])
            blocks.append(rows)
    rows = np.concatenate(blocks) if blocks else np.zeros((0, 8))
    rows = rows[np.argsort(rows[:, 7], kind="stable")][: settings.object_points]
    return _padded(rows, settings.object_points), len(rows)


def _candidates(
    still: StaticScene, bundle: Bundle, body: SkinnedBody, subset: SkinSubset, person: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """World points, outward normals, places in the subset and part ids of all contact candidates."""
    o = bundle.observations
    shaped = body.shape(o.body_betas[person])
    shaped = shaped.with_rest_joints(o.body_rest_joints[person])
    posed = shaped.pose(
        jnp.asarray(still.rotations[person], jnp.float32),
        jnp.asarray(still.translations[person], jnp.float32),
    )
    vertices = np.asarray(posed.vertices_world)
    normals = vertex_normals(vertices, np.asarray(body.faces))
    places = np.concatenate([subset.of_part(part) for part in BODY_PARTS])
    parts = np.repeat(np.arange(len(BODY_PARTS)), subset.candidates)
    index = subset.indices[places]
    return vertices[index], normals[index], places, parts


def _edge_of(
    table: ContactTable, person: int, body_parts: np.ndarray, target: int, object_parts: np.ndarray
) -> np.ndarray:
    """Contact row of every (body part, object part) pair, -1 where the graph has none."""
    row = np.full(len(body_parts), -1)
    for e in range(table.edge_count):
        if table.kind[e] != ContactKind.BODY_OBJECT or table.person[e] != person:
            continue
        if table.object[e] != target:
            continue
        fits = body_parts == table.body_part[e]
        if table.either_side[e]:
            fits |= body_parts == table.mirrored_body_part[e]
        if table.part[e] >= 0:
            fits &= object_parts == table.part[e]
        row[fits & (row < 0)] = table.group[e]
    return row


def _padded(rows: np.ndarray, count: int) -> ContactPairs:
    shares = np.zeros(len(rows))
    for group in np.unique(rows[:, 6]):
        in_group = rows[:, 6] == group
        shares[in_group] = 1.0 / in_group.sum()
    missing = count - len(rows)

    def whole(column: np.ndarray) -> Array:
        return on_device(np.pad(column, (0, missing)), jnp.int32)

    return ContactPairs(
        person=whole(rows[:, 0]),
        vertex=whole(rows[:, 1]),
        object=whole(rows[:, 2]),
        point=on_device(np.pad(rows[:, 3:6], ((0, missing), (0, 0))), jnp.float32),
        edge=whole(rows[:, 6]),
        share=on_device(np.pad(shares, (0, missing)), jnp.float32),
    )
