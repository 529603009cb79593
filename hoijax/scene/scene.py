"""The constants of a problem, its unknowns, and look-ups that change slowly.

There is one set of types for every method: bodies are fixed or move, objects may hang on joints, and
whatever else a scene lacks is None. Structure is static, numbers are traced: scenes of equal shapes
share compiled programs.
"""

from collections.abc import Sequence
from typing import Any

import flax.struct
from jaxtyping import Array, Float, Int

from hoijax.affordance.contacts import Contact
from hoijax.bodies.posed_person import PosedPerson
from hoijax.objects.asset import Asset
from hoijax.objects.distance_grid import DistanceGrids, query, query_with_gradient
from hoijax.scene.bodies import ContactPairs, MovingBodies, ObservedPeople
from hoijax.scene.from_arrays import scene_members
from hoijax.scene.images import ObservedImages
from hoijax.scene.joints import ObjectJoints
from hoijax.scene.objects import Cameras, ContactEdges, ObjectConstants, ObservedObjects
from hoijax.scene.silhouettes import Silhouettes

__all__ = ["Neighbors", "Scene", "Unknowns"]


@flax.struct.dataclass
class Scene:
    """Constants of one problem: O objects, P people, T frames, E contact edges; arrays only."""

    grids: DistanceGrids
    """One table for all objects: corners (G, n, n, n, 8), but lower and spacing (O, 3)."""
    objects: ObjectConstants
    observed: ObservedObjects
    cameras: Cameras
    body_vertices_world: Float[Array, "P T V 3"]
    """Skin of fixed bodies; where bodies move, of where they start (see `PosedScene`)."""
    edges: ContactEdges
    bodies: MovingBodies | None = None
    """None: bodies are fixed."""
    pairs: ContactPairs | None = None
    observed_people: ObservedPeople | None = None
    observed_images: ObservedImages | None = None
    """None: nothing is rendered."""
    joints: ObjectJoints | None = None
    """None: all objects are free."""
    fps: Float[Array, ""] | None = None
    silhouettes: Silhouettes | None = None
    """None: no object has a mask."""
    drops: Float[Array, "O T"] | None = None
    """Metres that the mean of its neighbors lies below an object in free flight, 0 elsewhere
    (`initialization.flights`). None: nothing is known to fly."""

    @property
    def lacks_depth(self) -> bool:
        """Whether some object was seen without points somewhere: its outline tells where it is."""
        return self.silhouettes is not None and self.silhouettes.contact_possible is not None

    @property
    def frame_count(self) -> int:
        return self.body_vertices_world.shape[1]

    @property
    def object_count(self) -> int:
        return self.objects.centers.shape[0]

    @property
    def person_count(self) -> int:
        return self.body_vertices_world.shape[0]

    @classmethod
    def from_arrays(
        cls,
        objects: Sequence[Asset],
        body: PosedPerson | Sequence[PosedPerson] | None = None,
        *,
        points: Sequence[Any] | None = None,
        point_mask: Sequence[Any] | None = None,
        point_parts: Sequence[Any] | None = None,
        masks: Sequence[Any] | None = None,
        intrinsics: Any = None,
        Ts_world_camera: Any = None,
        contacts: Sequence[Contact] = (),
        fps: float | None = None,
        frames: int | None = None,
    ) -> "Scene":
        """A scene of fixed bodies from meshes and arrays in the world (metres, y up); all evidence optional.

        points: (T, N, 3) of each object. point_mask: (T, N), False: not observed. point_parts: (T, N),
        index of the object's part, -1 without label. masks: (T, H, W) of each object; they need
        intrinsics (3, 3) or (T, 3, 3) in pixels and Ts_world_camera (4, 4) or (T, 4, 4).
        frames: T, where nothing else says it. Raises UserError for shapes and names that do not fit.
        """
        evidence = {
            "points": points,
            "point_mask": point_mask,
            "point_parts": point_parts,
            "masks": masks,
            "intrinsics": intrinsics,
            "Ts_world_camera": Ts_world_camera,
        }
        return cls(**scene_members(objects, body, evidence, contacts, fps, frames))

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
    """What is optimized, of one candidate. None: not an unknown of this scene."""

    object_rotation_6d: Float[Array, "O T 6"]
    """T_world_centerd of every object and frame. Rows of objects that hang on a joint are not used."""
    object_translation: Float[Array, "O T 3"]
    body_rotation_6d: Float[Array, "P T J 6"] | None = None
    """Local rotations of the first J joints."""
    body_translation: Float[Array, "P T 3"] | None = None
    joint_values: Float[Array, "D T"] | None = None
    """Radians or metres, of the joints between objects."""


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
    nearest_vertex: Int[Array, "P T M"] | None = None
    """Skin vertex nearest to each observed point of a person. From here on None: bodies are fixed."""
    active_samples: Int[Array, "O P T A"] | None = None
    """Object samples nearest to (or deepest inside) each body."""
    plants: Int[Array, "P T 4"] | None = None
    """Number of the plant that ankles and toes' roots stand in; -1: none, or not known yet."""
