"""Contacts between people and objects in the body pass: what touches moves together.

A contact is a row: a body part of a person and an object. In frames in which it touches, the vertices of
the part that are nearest to the object lie on planes fixed to the object, which touch its surface where
these vertices are nearest to it (point to plane, as in ICP). A part that does not slip stays where it is
on the object. Where objects are, relative to the point map, is known as well as the descent of objects
found it: depth of an object against that of a person is what it cannot see.
"""

from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray

from hoijax.affordance.contact_table import ContactTable
from hoijax.geometry.rotations import axis_angle_to_matrix
from hoijax.geometry.rows import dot
from hoijax.programs import program
from hoijax.runtime import on_device
from hoijax.scene.build_bodies import edge_ends
from hoijax.scene.build_constants import pad_to
from hoijax.scene.scene import Scene

ROWS_STEP = 4
"""Rows are padded to a multiple of it, so that scenes share programs."""
TOUCHING = 3
"""Vertices of a part that touch in a frame."""


@flax.struct.dataclass
class ContactRows:
    """Who may touch what: one row for each body part and object. Padding never touches."""

    person: Int[Array, " C"]
    object: Int[Array, " C"]
    edge: Int[Array, " C"]
    """Row of the scene's `ContactEdges`, ..."""
    slot: Int[Array, " C"]
    """and its side."""
    vertices: Int[Array, "C n"]
    """Of the body part: indices into a skin."""
    real: Bool[Array, " C"]
    """False: padding."""


@flax.struct.dataclass
class HeldFrame:
    """Objects and contacts of one frame; with a leading axis T of all."""

    rotations: Float[Array, "*T O 3 3"]
    """Of the centerd frames in the point map's axes, ..."""
    centers: Float[Array, "*T O 3"]
    """and their origins there."""
    outlined: Float[Array, "*T O"]
    """1: of the object only an outline was seen, no depth."""
    vertices: Int[Array, "*T C m"]
    """Touching ones, indices into the skin of the body pass."""
    planes: Float[Array, "*T C m 4"]
    """Outward normal and offset, in the object's centerd frame."""
    touch: Float[Array, "*T C"]
    """1: touches, 0: does not."""
    sticks: Float[Array, "*T C"]
    """The same for contacts that do not slip."""


def contact_rows(
    table: ContactTable, of_part: Callable[[str], Int[ndarray, " n"]], count: int
) -> ContactRows:
    """Rows of all contacts between people and objects. of_part: candidates of a body part (host)."""
    groups = max(table.group_count, 1)
    vertices, person, of_body = edge_ends(table, of_part, groups, count)
    sides = [(e, s) for e in np.flatnonzero(of_body) for s in range(2) if vertices[e, s].any()]
    real = np.arange(pad_to(len(sides), ROWS_STEP)) < len(sides)
    sides += [(0, 0)] * (len(real) - len(sides))
    edge, slot = np.array(sides, np.int32).T
    target = np.zeros(groups, np.int32)
    target[table.group] = table.object
    columns = person[edge], target[edge], edge, slot, vertices[edge, slot], real
    return ContactRows(*(on_device(column) for column in columns))


def nothing_held(frames: int, objects: int, rows: int) -> HeldFrame:
    """Before objects are known: the same shapes, and no contact."""
    members = {
        "rotations": np.broadcast_to(np.eye(3), (frames, objects, 3, 3)),
        "centers": np.broadcast_to([0.0, 0.0, 3.0], (frames, objects, 3)),
        "outlined": np.zeros((frames, objects)),
        "vertices": np.zeros((frames, rows, TOUCHING), np.int32),
        "planes": np.zeros((frames, rows, TOUCHING, 4)),
        "touch": np.zeros((frames, rows)),
        "sticks": np.zeros((frames, rows)),
    }
    whole = {"vertices": np.int32}
    return HeldFrame(
        **{name: on_device(x, whole.get(name, np.float32)) for name, x in members.items()}
    )


def pose_held(
    held: HeldFrame,
    change: Float[Array, "O 6"],
    centers: Float[Array, "O 3"],
    R: Float[Array, "3 3"],
    t: Float[Array, " 3"],
) -> tuple[Float[Array, "O 3 3"], Float[Array, "O 3"]]:
    """Objects of one frame in the world. change: turn and shift in camera axes; centers: without it
    (`body_problem.held_in_camera`); R, t: the camera."""
    rotations = R @ axis_angle_to_matrix(change[:, :3]) @ held.rotations
    return rotations, (centers + change[:, 3:]) @ R.T + t


def in_object(
    skins: Float[Array, "P C m 3"],
    rows: ContactRows,
    rotations: Float[Array, "O 3 3"],
    centers: Float[Array, "O 3"],
) -> Float[Array, "C m 3"]:
    """World points of each row's person in the centerd frame of its object; skins: the rows' of everybody."""
    points = skins[rows.person, jnp.arange(len(rows.person))]
    turned, center = rotations[rows.object], centers[rows.object]
    away = points - center[:, None]
    axes = [dot(turned[:, None, :, j], away) for j in range(3)]
    return jnp.stack(axes, axis=-1)


def plane_distances(
    points: Float[Array, "C m 3"], planes: Float[Array, "C m 4"]
) -> Float[Array, "C m"]:
    """Of points in the centerd frames to the planes."""
    return dot(planes[..., :3], points) + planes[..., 3]


@program
def touching_planes(
    scene: Scene, rows: ContactRows, points: Float[Array, "T C n 3"]
) -> tuple[Int[Array, "T C m"], Float[Array, "T C m 4"]]:
    """(which of the candidates are nearest to the object, planes there). points: centerd frames."""
    center = scene.objects.centers[rows.object][None, :, None]
    grid = jnp.broadcast_to(scene.edges.grid[rows.edge], points.shape[:2])
    owner = jnp.broadcast_to(rows.object, points.shape[:2])
    distance, slope = scene.distance_with_gradient(points + center, grid, owner)
    _, nearest = jax.lax.top_k(-distance, TOUCHING)

    def chosen(array: Array) -> Array:
        return jnp.take_along_axis(
            array, nearest.reshape(nearest.shape + (1,) * (array.ndim - 3)), 2
        )

    length = jnp.linalg.norm(chosen(slope), axis=-1, keepdims=True)
    normal = chosen(slope) / jnp.maximum(length, 1e-6)
    offset = chosen(distance) - jnp.sum(normal * chosen(points), axis=-1)
    return nearest, jnp.concatenate([normal, offset[..., None]], axis=-1)


def where_it_touches(
    scene: Scene, rows: ContactRows, shares: Float[ndarray, "E 2"], states: Float[ndarray, "E T"]
) -> tuple[Float[ndarray, "T C"], Float[ndarray, "T C"]]:
    """(whether each row touches in each frame, the same of rows that do not slip) (host)."""
    e, slot = np.asarray(rows.edge), np.asarray(rows.slot)
    either = np.asarray(scene.edges.select_side)[e]
    counts = np.asarray(rows.real) & (~either | (shares[e, slot] > 0.5))
    touch = ((states[e] > 0.5) & counts[:, None]).T.astype(np.float32)
    return touch, touch * np.asarray(scene.edges.is_rel_static)[e]
