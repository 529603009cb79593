"""From a field to a colored, closed mesh: marching cubes (Lorensen and Cline 1987) on the host."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from hoijax.composition.fields.composition import Entity, values_at
from hoijax.errors import UserError

__all__ = ["density_grid", "extract_surface", "place_on_field", "surface_of_grid"]

CHUNK = 1 << 17
GAP = 2  # cells
SMOOTHING = 0.7  # cells
SMALL_PART = 0.02  # of the largest piece's volume: specks in the air


def density_grid(
    entity: Entity, resolution: int
) -> tuple[Float[np.ndarray, "n n n"], Float[np.ndarray, " n"]]:
    """Densities at the corners of a grid over the field's cube, and the corners' unit places -1 to 1."""
    axis = np.linspace(-1.0, 1.0, resolution, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    points = np.asarray(entity.settings.center, np.float32) + entity.settings.half_side * grid
    read = jax.jit(lambda e, p: values_at(e, p).density)
    padded = np.pad(points, ((0, -len(points) % CHUNK), (0, 0)))
    parts = [
        np.asarray(read(entity, jnp.asarray(padded[i : i + CHUNK])))
        for i in range(0, len(padded), CHUNK)
    ]
    density = np.concatenate(parts)[: len(points)].reshape((resolution,) * 3)
    cells = np.asarray(entity.occupancy.occupied)
    nearest = np.clip(((axis + 1.0) / 2.0 * cells.shape[0]).astype(int), 0, cells.shape[0] - 1)
    seen = cells[np.ix_(nearest, nearest, nearest)]
    return np.where(seen, density, 0.0), axis  # what is never rendered is not there


def surface_of_grid(
    density: Float[np.ndarray, "n n n"], level: float
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]:
    """Closed surface of {density > level}, outward faces; vertices in units of grid steps.

    Hollows that light never reaches are filled, specks dropped, and the border counts as empty. UserError
    where nothing, or everything, is over the level.
    """
    import igl
    from scipy import ndimage

    solid: np.ndarray = density > level
    if not solid.any() or solid.mean() > 0.9:
        state = "empty" if not solid.any() else "full"
        raise UserError(
            f"the field is {state} at a density of {level:g} per metre: there is no surface to mesh. "
            "Distil it for longer, or with another --seed."
        )
    labeled: Any = ndimage.label(solid, np.ones((3, 3, 3)))
    labels, count = labeled
    sizes = ndimage.sum_labels(solid, labels, np.arange(1, count + 1))
    large: Any = np.isin(labels, 1 + np.flatnonzero(sizes >= SMALL_PART * sizes.max()))
    values = np.where(solid & ~large, 0.0, density)
    values = np.where(_bulk(large) & ~large, np.maximum(values, 2.0 * level), values)
    values = np.pad(np.minimum(values, 4.0 * level), 2)
    values = np.asarray(ndimage.gaussian_filter(values, SMOOTHING))
    n = values.shape[0]
    coordinate = np.arange(n, dtype=np.float64) - 2.0
    corners = np.stack(np.meshgrid(coordinate, coordinate, coordinate, indexing="ij"), axis=-1)
    # igl runs x fastest; its inside is below the level.
    flat = (level - values).transpose(2, 1, 0).reshape(-1).astype(np.float64)
    where = np.ascontiguousarray(corners.transpose(2, 1, 0, 3).reshape(-1, 3))
    labeled = igl.marching_cubes(np.ascontiguousarray(flat), where, n, n, n, 0.0)
    vertices, faces = np.asarray(labeled[0]), np.asarray(labeled[1])
    if len(faces) == 0:
        raise UserError(
            f"the field is empty at a density of {level:g} per metre once it is smoothed: what is there is "
            "thinner than a cell. Distil it for longer, or with another --seed."
        )
    return _outward(vertices, faces)


def _bulk(solid: Bool[np.ndarray, "n n n"]) -> Bool[np.ndarray, "n n n"]:
    """The inside of whatever is thick: a field is a shell with pinholes, for light never gets further.

    Gaps are closed, hollows filled, and of that only what is at least GAP cells thick on all sides is taken,
    so that films across real openings go again.
    """
    from scipy import ndimage

    wide = np.pad(solid, 2 * GAP)
    closed: Any = ndimage.binary_closing(wide, iterations=GAP)
    filled: Any = ndimage.binary_fill_holes(closed)
    thick: Any = ndimage.binary_opening(filled, iterations=GAP)
    inside: Any = ndimage.binary_erosion(thick)
    cut = slice(2 * GAP, -2 * GAP)
    return inside[cut, cut, cut]


def _outward(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weld what coincides, drop what collapsed, and turn faces so that the volume is positive."""
    _, first, inverse = np.unique(
        np.round(vertices, 6), axis=0, return_index=True, return_inverse=True
    )
    vertices, faces = vertices[first], inverse.reshape(-1)[faces]
    whole = np.all(faces != np.roll(faces, 1, axis=1), axis=1)
    faces = faces[whole]
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    if np.sum(a * np.cross(b, c)) < 0.0:
        faces = faces[:, ::-1]
    return vertices.astype(np.float32), faces.astype(np.int32)


def place_on_field(
    entity: Entity, vertices: Float[np.ndarray, "V 3"], axis: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "V 3"]:
    """Vertices in grid steps of `density_grid` to the field's frame, metres."""
    center = np.asarray(entity.settings.center, np.float32)
    places = vertices * (axis[1] - axis[0]) - 1.0
    return (center + entity.settings.half_side * places).astype(np.float32)


def extract_surface(
    entity: Entity, *, resolution: int, level: float
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"], Float[np.ndarray, "V 3"]]:
    """Vertices (field's frame, metres), faces and vertex colors (linear RGB) of a field's surface."""
    density, axis = density_grid(entity, resolution)
    vertices, faces = surface_of_grid(density, level)
    points = place_on_field(entity, vertices, axis)
    padded = np.pad(points, ((0, -len(points) % 8192), (0, 0))).astype(np.float32)
    read = jax.jit(lambda e, p: values_at(e, p).color)
    color = np.concatenate(
        [
            np.asarray(read(entity, jnp.asarray(padded[i : i + 8192])))
            for i in range(0, len(padded), 8192)
        ]
    )[: len(points)]
    return points.astype(np.float32), faces, color
