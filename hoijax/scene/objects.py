"""Scene (constants), Unknowns (optimized), PosedScene (derived once a step).

Every object is optimized in its *centerd* frame: the asset's frame moved to its bounding-box center,
so that rotation and translation do not fight. `Ts_world_asset` converts at the end.
"""

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hoijax.geometry.point_transforms import to_local, to_world
from hoijax.geometry.rotations import rotation_6d_to_matrix
from hoijax.objects.distance_grid import FIRST_PART, DistanceGrids, query, query_with_gradient
from hoijax.objects.distance_grid import SIGNED as WHOLE_SIGNED
from hoijax.objects.distance_grid import UNSIGNED as WHOLE_UNSIGNED

__all__ = [
    "FIRST_PART",
    "WHOLE_SIGNED",
    "WHOLE_UNSIGNED",
    "Cameras",
    "ContactEdges",
    "Neighbors",
    "ObjectConstants",
    "ObservedObjects",
    "PosedScene",
    "Scene",
    "Unknowns",
    "edge_points_in_target",
    "pose_scene",
]


@flax.struct.dataclass
class ObjectConstants:
    """What never changes about the O objects. Frame `centerd`: asset frame minus its center."""

    centers: Float[Array, "O 3"]
    samples: Float[Array, "O S 3"]
    """Surface samples, centerd frame, in random order: a prefix is a uniform subsample."""
    sample_parts: Int[Array, "O S"]
    first_grid: Int[Array, " O"]
    """Row of the object's signed grid in the table; unsigned and part grids follow it."""
    is_translational: Bool[Array, " O"]
    is_rotational: Bool[Array, " O"]


@flax.struct.dataclass
class ObservedObjects:
    """What was seen of the objects, in the world after point-map alignment."""

    points_world: Float[Array, "O T N 3"]
    pixels: Float[Array, "O T N 2"]
    point_mask: Bool[Array, "O T N"]
    part_shares: Float[Array, "O T N Q"]
    """One-hot part label divided by that part's number of points in the frame; 0 without label."""
    part_grids: Int[Array, "O T N"]
    """Grid row of the labelled part (of the whole object where there is no label)."""
    part_of_sample: Bool[Array, "O Q S"]
    detected: Bool[Array, "O T"]
    mask_distance: Float[Array, "O T h w 4"]
    """Pixels to the object's mask or an occluder, four corner values of each cell contiguous."""


@flax.struct.dataclass
class Cameras:
    """Point-map cameras: world -> pixels goes through the *inverse* of T_world_pointmap."""

    Ts_pointmap_world: Float[Array, "T 4 4"]
    intrinsics: Float[Array, "T 3 3"]
    cell_size: Float[Array, " 2"]
    """Image pixels in a cell of `mask_distance`, (u, v)."""


@flax.struct.dataclass
class ContactEdges:
    """PAG edges as arrays. Slot axis 2: the left and right side of one body-part pair.

    Points are in the source frame: the world for a body part (source = O), else the centerd frame
    of object `source`.
    """

    points: Float[Array, "E 2 T C 3"]
    slot_mask: Bool[Array, "E 2"]
    select_side: Bool[Array, " E"]
    """True: only the closer side counts (the graph named one side). False: the sides are one set."""
    source: Int[Array, " E"]
    target: Int[Array, " E"]
    grid: Int[Array, " E"]
    use_mean: Bool[Array, " E"]
    every_frame: Bool[Array, " E"]
    """True: contact counts in every frame, by its contact state. False: in the best frame only."""
    is_rel_static: Bool[Array, " E"]
    mask: Bool[Array, " E"]
    """False for padding."""


@flax.struct.dataclass
class Scene:
    """Constants of one problem; arrays only, so scenes of equal shapes share compiled programs."""

    grids: DistanceGrids
    """One table for all objects: corners (G, n, n, n, 8), but lower and spacing (O, 3)."""
    objects: ObjectConstants
    observed: ObservedObjects
    cameras: Cameras
    body_vertices_world: Float[Array, "P T V 3"]
    edges: ContactEdges

    @property
    def frame_count(self) -> int:
        return self.body_vertices_world.shape[1]

    @property
    def object_count(self) -> int:
        return self.objects.centers.shape[0]

    def distance(
        self, points_asset: Float[Array, "*batch 3"], grid: Array, owner: Array
    ) -> Float[Array, "*batch"]:
        """Distance of points in the asset frame of objects `owner` to rows `grid` of the table.

        `owner` and `grid` must broadcast against the batch shape from the left: axes missing on
        the right are added.
        """
        table, grid = self._table(points_asset, grid, owner)
        return query(table, points_asset, grid)

    def distance_with_gradient(
        self, points_asset: Float[Array, "*batch 3"], grid: Array, owner: Array
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch 3"]]:
        """As `distance`, with its gradient in the asset frames."""
        table, grid = self._table(points_asset, grid, owner)
        return query_with_gradient(table, points_asset, grid)

    def _table(self, points: Array, grid: Array, owner: Array) -> tuple[DistanceGrids, Array]:
        batch = points.ndim - 1
        owner = owner.reshape(owner.shape + (1,) * (batch - owner.ndim))
        grid = grid.reshape(grid.shape + (1,) * (batch - grid.ndim))
        grids = self.grids
        return DistanceGrids(grids.corners, grids.lower[owner], grids.spacing[owner]), grid


@flax.struct.dataclass
class Unknowns:
    """Object poses of one candidate: T_world_centred of every object and frame."""

    rotation_6d: Float[Array, "O T 6"]
    translation: Float[Array, "O T 3"]


@flax.struct.dataclass
class Neighbors:
    """Look-ups that change slowly: refreshed every few steps under stop_gradient (as in MD)."""

    active_vertices: Int[Array, "O P T A"]
    """Body vertices nearest to (or deepest inside) each object: the only ones that can penetrate."""
    nearest_sample: Int[Array, "O T M"]
    """Nearest projected surface sample of each observed pixel."""
    nearest_part_sample: Int[Array, "O T M"]
    contact_state: Float[Array, "E T"]
    """Weight of each edge in each frame: 1 in contact, 0 apart."""


@flax.struct.dataclass
class PosedScene:
    """Everything a loss may read, posed once a step."""

    scene: Scene
    rotations: Float[Array, "O T 3 3"]
    translations: Float[Array, "O T 3"]
    neighbors: Neighbors

    def to_asset(self, points_world: Float[Array, "O T n 3"]) -> Float[Array, "O T n 3"]:
        """World points into each object's asset frame, where its grids live."""
        centered = to_local(self.rotations, self.translations, points_world)
        return centered + self.scene.objects.centers[:, None, None]

    def samples_world(self, count: int) -> Float[Array, "O T {count} 3"]:
        """The first `count` surface samples of every object, posed."""
        samples = self.scene.objects.samples[:, None, :count]
        shape = (*self.translations.shape[:2], count, 3)
        return to_world(self.rotations, self.translations, jnp.broadcast_to(samples, shape))

    def object_distance(
        self, points_world: Float[Array, "O T n 3"], kind: int
    ) -> Float[Array, "O T n"]:
        """Distance of world points to each object; kind WHOLE_SIGNED or WHOLE_UNSIGNED."""
        owner = jnp.arange(self.scene.object_count)
        grid = self.scene.objects.first_grid + kind
        return self.scene.distance(self.to_asset(points_world), grid, owner)


def pose_scene(scene: Scene, unknowns: Unknowns, neighbors: Neighbors) -> PosedScene:
    """Derive rotations once; losses receive the posed scene and cannot recompute it."""
    rotations = rotation_6d_to_matrix(unknowns.rotation_6d)
    return PosedScene(scene, rotations, unknowns.translation, neighbors)


def edge_points_in_target(posed: PosedScene) -> Float[Array, "E 2 T C 3"]:
    """Contact points of every edge in the asset frame of the edge's target object."""
    edges = posed.scene.edges
    shape = edges.points.shape[:3]
    identity = jnp.broadcast_to(jnp.eye(3), (1, *posed.rotations.shape[1:]))
    rotations = jnp.concatenate([posed.rotations, identity])
    translations = jnp.concatenate([posed.translations, jnp.zeros_like(posed.translations[:1])])

    def pose_of(index: Array) -> tuple[Array, Array]:
        rotation, translation = rotations[index][:, None], translations[index][:, None]
        return jnp.broadcast_to(rotation, (*shape, 3, 3)), jnp.broadcast_to(
            translation, (*shape, 3)
        )

    world = to_world(*pose_of(edges.source), edges.points)
    centered = to_local(*pose_of(edges.target), world)
    return centered + posed.scene.objects.centers[edges.target][:, None, None, None]
