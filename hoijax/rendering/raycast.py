"""Ray-cast images of posed meshes on the CPU: depth, instance and part masks, normals (embree).

No display, no OpenGL. One image is one embree scene of all meshes merged; `hoijax.rendering.shading`
turns it into colors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, Int8, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.rows import dot, face_areas, unit

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NO_HIT = -1
SMOOTH_LIMIT = np.cos(np.radians(25.0))
"""A corner is shaded with the vertex normal when it lies within 25 degrees of the face's own normal."""


@dataclass(frozen=True)
class RenderMesh:
    """One posed mesh of an image."""

    vertices_world: Float[ndarray, "V 3"]
    faces: Int[ndarray, "F 3"]
    instance_id: int
    """1..255; 0 is the background. People come first, then objects."""
    face_parts: Int[ndarray, "F"] | None = None
    """Part index of every face, -1 none; None when the mesh has no parts."""
    color: tuple[float, float, float] | Float[ndarray, "F 3"] = (0.7, 0.7, 0.7)
    """Linear RGB in [0, 1], of the mesh or of every face."""


@dataclass(frozen=True)
class RayHits:
    """First triangle met by every ray of a batch."""

    face_ids: Int[ndarray, "N"]
    """Face of the merged scene, -1 where the ray leaves the scene."""
    distance: Float[ndarray, "N"]
    """Ray parameter of the hit in units of the direction's length, 0 where there is none."""
    barycentric: Float[ndarray, "N 2"]
    """Weights of the face's second and third corner."""

    def subset(self, chosen: ndarray) -> "RayHits":
        """Only some of the rays, by index or mask."""
        return RayHits(self.face_ids[chosen], self.distance[chosen], self.barycentric[chosen])


class RayScene:
    """All meshes of an image merged into one embree scene (static: build one per frame)."""

    def __init__(self, meshes: Sequence[RenderMesh]):
        self.vertices = _stacked([np.asarray(m.vertices_world, np.float32) for m in meshes], 3)
        offsets = np.cumsum([0] + [len(m.vertices_world) for m in meshes])
        faces = [
            np.asarray(m.faces, np.int32) + int(o) for m, o in zip(meshes, offsets, strict=False)
        ]
        self.faces = np.ascontiguousarray(_stacked(faces, 3), np.int32)
        counts = [len(m.faces) for m in meshes]
        self.part_ids = np.concatenate([_mesh_parts(m) for m in meshes] or [np.zeros(0, np.int8)])
        self.instance_ids = np.repeat(np.array([m.instance_id for m in meshes], np.uint8), counts)
        colors = [
            np.broadcast_to(np.asarray(m.color, np.float32), (len(m.faces), 3)) for m in meshes
        ]
        self.colors = _stacked(colors, 3)
        if not np.isfinite(self.vertices).all():
            raise UserError("cannot render: a mesh has vertices that are not finite numbers")

    @cached_property
    def _embree(self) -> Any:
        """The tree that rays need; None without faces."""
        return _embree_scene(self.vertices, self.faces)

    def intersect(
        self, origins: Float[ndarray, "N 3"], directions: Float[ndarray, "N 3"]
    ) -> RayHits:
        """First hit of every ray; world frame, directions of any length."""
        count = len(origins)
        if self._embree is None or count == 0:
            nothing = np.zeros((count, 2), np.float32)
            return RayHits(np.full(count, NO_HIT, np.int32), nothing[:, 0], nothing)
        hits = self._embree.run(
            np.ascontiguousarray(origins, np.float32),
            np.ascontiguousarray(directions, np.float32),
            output=1,
        )
        missed = hits["primID"] < 0
        distance = np.where(missed, np.float32(0), hits["tfar"])
        barycentric = np.stack([hits["u"], hits["v"]], axis=-1)
        return RayHits(hits["primID"].astype(np.int32), distance, barycentric)

    def occluded(
        self, origins: Float[ndarray, "N 3"], directions: Float[ndarray, "N 3"]
    ) -> ndarray:
        """(N,) bool: whether anything lies along each ray."""
        if self._embree is None or len(origins) == 0:
            return np.zeros(len(origins), bool)
        rays = (np.ascontiguousarray(x, np.float32) for x in (origins, directions))
        return self._embree.run(*rays, query="OCCLUDED") >= 0  # half the time of a first hit

    @cached_property
    def box_corners(self) -> Float[ndarray, "8 3"]:
        """Corners of the box around all vertices."""
        ends = np.stack([self.vertices.min(0), self.vertices.max(0)])
        return np.stack(np.meshgrid(*ends.T), -1).reshape(-1, 3)

    @cached_property
    def _normals(self) -> "_MeshNormals":
        return _MeshNormals.of(self.vertices, self.faces)

    def smooth_normals(self, hits: RayHits) -> ndarray:
        """(N, 3) unit shading normals of hits that all met a face."""
        corners = self._normals.of_corners(hits.face_ids)
        second, third = hits.barycentric[:, :1], hits.barycentric[:, 1:]
        first = 1 - second - third
        return unit(first * corners[:, 0] + second * corners[:, 1] + third * corners[:, 2])


@dataclass(frozen=True)
class CastImage:
    """What every pixel of a camera sees, as images made when they are asked for. Nothing is antialiased.

    H x W pixels, of which the rays of n met something.
    """

    pixels: Int[ndarray, "n"]
    """Flat indices of the pixels that see something, rising, ..."""
    pixel_hits: RayHits = field(repr=False)
    """and what their rays met."""
    camera: PinholeCamera
    T_world_camera: Float[ndarray, "4 4"]
    scene: RayScene = field(repr=False)

    @cached_property
    def hits(self) -> RayHits:
        """Of all H W pixels in reading order."""
        hits = self.pixel_hits
        return RayHits(
            self._flat(hits.face_ids, NO_HIT),
            self._flat(hits.distance),
            self._flat(hits.barycentric),
        )

    @cached_property
    def depth(self) -> Float[ndarray, "H W"]:
        """Depth along the optical axis in metres (not the length of the ray), 0 where nothing is seen."""
        return self._image(self.pixel_hits.distance)  # rays have z = 1 in the camera frame

    @cached_property
    def instance_ids(self) -> UInt8[ndarray, "H W"]:
        """`RenderMesh.instance_id`, 0 background."""
        return self._image(self.scene.instance_ids[self.pixel_hits.face_ids])

    @cached_property
    def part_ids(self) -> Int8[ndarray, "H W"]:
        """Part index within the seen mesh, -1 where it has none and on the background."""
        return self._image(self.scene.part_ids[self.pixel_hits.face_ids], NO_HIT)

    @cached_property
    def points_camera(self) -> Float[ndarray, "H W 3"]:
        """Seen surface points, OpenCV camera frame, zero where nothing is seen."""
        return self._image(self._rays_camera * self.pixel_hits.distance[:, None])

    @cached_property
    def normals_world(self) -> Float[ndarray, "H W 3"]:
        """Unit normals of the seen faces, turned towards the camera, zero where nothing is seen."""
        return self._image(self.pixel_normals)

    @cached_property
    def pixel_normals(self) -> Float[ndarray, "n 3"]:
        """`normals_world` of the pixels that see something."""
        faces = self.scene.faces.take(self.pixel_hits.face_ids, axis=0)
        normals = unit(face_areas(self.scene.vertices.take(faces, axis=0)))
        rays_world = _turned(self._rays_camera, self.T_world_camera)
        away = dot(normals, rays_world) > 0
        return np.where(away[:, None], -normals, normals)

    @property
    def _rays_camera(self) -> Float[ndarray, "n 3"]:
        return _ray_directions(self.camera).take(self.pixels, axis=0)

    def _flat(self, values: ndarray, background: int = 0) -> ndarray:
        count = self.camera.height * self.camera.width
        pixels = np.full((count, *values.shape[1:]), background, values.dtype)
        pixels[self.pixels] = values
        return pixels

    def _image(self, values: ndarray, background: int = 0) -> ndarray:
        flat = self._flat(values, background)
        return flat.reshape(self.camera.height, self.camera.width, *values.shape[1:])


@dataclass(frozen=True)
class _MeshNormals:
    faces: Int[ndarray, "F 3"]
    areas: Float[ndarray, "F 3"]
    """Normals of faces, twice their area long."""
    of_vertices: Float[ndarray, "V 3"]
    """Unit mean of a vertex's faces by area."""

    @classmethod
    def of(cls, vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]) -> "_MeshNormals":
        areas = face_areas(vertices.take(faces, axis=0))
        faces_of_vertices = _faces_of_vertices(faces.tobytes(), faces.dtype.str, len(vertices))
        return cls(faces, areas, unit(faces_of_vertices @ areas.astype(np.float64)))

    def of_corners(self, chosen: ndarray | slice) -> Float[ndarray, "f 3 3"]:
        """Of some faces: the vertex's over soft edges, the face's at hard ones."""
        flat = unit(self.areas[chosen])[:, None]
        smooth = self.of_vertices.take(self.faces[chosen], axis=0)
        is_smooth = dot(smooth, flat) > SMOOTH_LIMIT
        return np.where(is_smooth[..., None], smooth, flat).astype(np.float32)


@lru_cache(8)
def _faces_of_vertices(faces: bytes, kind: str, count: int) -> "csr_array":
    """(V, F) with a one wherever a face has a vertex: they are the same in all frames of a clip."""
    from scipy.sparse import csr_array

    corners = np.frombuffer(faces, kind)
    order = np.argsort(corners, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(corners, minlength=count))])
    shape = count, len(corners) // 3
    return csr_array((np.ones(len(corners)), order // 3, starts), shape)


def corner_normals(
    vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]
) -> Float[ndarray, "F 3 3"]:
    """Unit normal of every face corner: the vertex normal over soft edges, the face's at hard ones."""
    return _MeshNormals.of(vertices, faces).of_corners(slice(None))


def cast(
    meshes: Sequence[RenderMesh] | RayScene,
    camera: PinholeCamera,
    T_world_camera: Float[ndarray, "4 4"],
    pixels: Int[ndarray, "n"] | None = None,
) -> CastImage:
    """Cast one ray through every pixel center. An empty list of meshes gives an empty image.

    meshes: or the scene they make, where several cameras see it. pixels: flat indices of those that are
    wanted, by default all.
    Raises UserError for vertices that are not finite and parts or instances beyond 8 bits.
    """
    scene = meshes if isinstance(meshes, RayScene) else RayScene(meshes)
    T_world_camera = np.asarray(T_world_camera, np.float32)
    eye = T_world_camera[:3, 3]
    if pixels is None:
        pixels = _pixels_that_may_hit((scene.vertices - eye) @ T_world_camera[:3, :3], camera)
    rays = _turned(_ray_directions(camera).take(pixels, axis=0), T_world_camera)
    hits = scene.intersect(np.broadcast_to(eye, rays.shape), rays)
    hit = np.flatnonzero(hits.face_ids >= 0)
    return CastImage(pixels[hit], hits.subset(hit), camera, T_world_camera, scene)


def _turned(rays: Float[ndarray, "n 3"], T_world_camera: Float[ndarray, "4 4"]) -> ndarray:
    """Camera directions in the world."""
    return np.einsum("ni,ji->nj", rays, T_world_camera[:3, :3])  # BLAS threads are slower at 3 x 3


@lru_cache(maxsize=8)
def _ray_directions(camera: PinholeCamera) -> np.ndarray:
    rays = camera.ray_directions().reshape(-1, 3)
    rays.flags.writeable = False
    return rays


def window_around(
    points_camera: Float[ndarray, "N 3"], camera: PinholeCamera
) -> tuple[slice, slice]:
    """Rows and columns of the image outside which no ray meets what lies between some points."""
    lower, upper = np.zeros(2, int), np.array([camera.width, camera.height])
    if points_camera[:, 2].min() > 1e-3:  # else something reaches behind the camera
        focal, center = np.array([camera.fx, camera.fy]), np.array([camera.cx, camera.cy])
        slopes = [points_camera[:, i] / points_camera[:, 2] for i in (0, 1)]
        first = np.array([slope.min() for slope in slopes]) * focal + center
        last = np.array([slope.max() for slope in slopes]) * focal + center
        lower, upper = (np.clip(edge, 0, upper).astype(int) for edge in (first - 1, last + 2))
    return slice(lower[1], upper[1]), slice(lower[0], upper[0])


def _pixels_that_may_hit(vertices_camera: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """Flat indices of the pixels inside the bounding rectangle of all projected vertices."""
    if len(vertices_camera) == 0:
        return np.zeros(0, np.int64)
    window = window_around(vertices_camera, camera)
    rows, columns = (np.arange(side.start, side.stop) for side in window)
    return (rows[:, None] * camera.width + columns).ravel()


def _embree_scene(vertices: np.ndarray, faces: np.ndarray):
    if len(faces) == 0:
        return None  # embree answers an empty scene with garbage
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    # It copies element by element with Python's indexing, which takes a third of the time where rows
    # are tuples and coordinates Python's own floats. Faces are the same in all frames of a clip.
    scene = EmbreeScene()
    TriangleMesh(scene, vertices.astype(object), _rows(faces.tobytes()))
    return scene


@lru_cache(8)
def _rows(faces: bytes) -> np.ndarray:
    """(F,) tuples of vertex indices, of int32 faces."""
    triangles = np.frombuffer(faces, np.int32).reshape(-1, 3)
    rows = np.empty(len(triangles), object)
    rows[:] = list(map(tuple, triangles.tolist()))
    return rows


def _mesh_parts(mesh: RenderMesh) -> np.ndarray:
    if not 0 < mesh.instance_id < 256:
        raise UserError(f"cannot render: instance {mesh.instance_id} is not in 1..255")
    if mesh.face_parts is None:
        return np.full(len(mesh.faces), -1, np.int8)
    if np.size(mesh.face_parts) and np.max(mesh.face_parts) > 127:
        raise UserError("cannot render: more than 128 parts on one mesh; merge some of them")
    return np.asarray(mesh.face_parts, np.int8)


def _stacked(rows: list, width: int) -> np.ndarray:
    return np.concatenate(rows) if rows else np.zeros((0, width), np.float32)
