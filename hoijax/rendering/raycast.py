"""Ray-cast images of posed meshes on the CPU: depth, instance and part masks, normals (embree).

No display, no OpenGL. One image is one embree scene of all meshes merged; `hoijax.rendering.shading`
turns it into colors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float, Int, Int8, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera

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
        self._embree = _embree_scene(self.vertices, self.faces)

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
    def corner_normals(self) -> ndarray:
        """(F, 3, 3) unit normals per face corner: smooth over soft edges, flat at hard ones."""
        return corner_normals(self.vertices, self.faces)

    def smooth_normals(self, hits: RayHits) -> ndarray:
        """(N, 3) unit shading normals of hits that all met a face."""
        corners = self.corner_normals[hits.face_ids]
        second, third = hits.barycentric[:, :1], hits.barycentric[:, 1:]
        first = 1 - second - third
        return _unit(first * corners[:, 0] + second * corners[:, 1] + third * corners[:, 2])


@dataclass(frozen=True)
class CastImage:
    """What every pixel of a camera sees. H x W pixels; nothing is antialiased."""

    depth: Float[ndarray, "H W"]
    """Depth along the optical axis in metres (not the length of the ray), 0 where nothing is seen."""
    instance_ids: UInt8[ndarray, "H W"]
    """`RenderMesh.instance_id`, 0 background."""
    part_ids: Int8[ndarray, "H W"]
    """Part index within the seen mesh, -1 where it has none and on the background."""
    points_camera: Float[ndarray, "H W 3"]
    """Seen surface points, OpenCV camera frame, zero where nothing is seen."""
    normals_world: Float[ndarray, "H W 3"]
    """Unit normals of the seen faces, turned towards the camera, zero where nothing is seen."""
    camera: PinholeCamera
    T_world_camera: Float[ndarray, "4 4"]
    scene: RayScene = field(repr=False)
    hits: RayHits = field(repr=False)


def corner_normals(
    vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]
) -> Float[ndarray, "F 3 3"]:
    """Unit normal of every face corner: the vertex normal over soft edges, the face's at hard ones."""
    corners = vertices[faces]
    area_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    spread = np.repeat(area_normals, 3, axis=0)
    vertex_normals = np.stack(
        [np.bincount(faces.ravel(), spread[:, i], len(vertices)) for i in range(3)], axis=-1
    )
    face_normals = _unit(area_normals)[:, None, :]
    smooth = _unit(vertex_normals)[faces]
    is_smooth = (smooth * face_normals).sum(-1, keepdims=True) > SMOOTH_LIMIT
    return np.where(is_smooth, smooth, face_normals).astype(np.float32)


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
    shape, count = (camera.height, camera.width), camera.height * camera.width
    rotation = np.asarray(T_world_camera[:3, :3], np.float32)
    eye = np.asarray(T_world_camera[:3, 3], np.float32)
    if pixels is None:
        pixels = _pixels_that_may_hit((scene.vertices - eye) @ rotation, camera)
    rays_camera = _ray_directions(camera)[pixels]
    rays_world = np.einsum("ni,ji->nj", rays_camera, rotation)  # BLAS threads are slower at 3 x 3
    hits = scene.intersect(np.broadcast_to(eye, rays_camera.shape), rays_world)
    hit = np.flatnonzero(hits.face_ids >= 0)
    seen, hits, rays_camera, rays_world = (
        pixels[hit],
        hits.subset(hit),
        rays_camera[hit],
        rays_world[hit],
    )

    def image(values: np.ndarray, background: int = 0) -> np.ndarray:
        pixels = np.full((count, *values.shape[1:]), background, values.dtype)
        pixels[seen] = values
        return pixels

    corners = scene.vertices[scene.faces[hits.face_ids]]
    normals = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    away = (normals * rays_world).sum(-1, keepdims=True) > 0
    return CastImage(
        depth=image(hits.distance).reshape(shape),  # rays have z = 1 in the camera frame
        instance_ids=image(scene.instance_ids[hits.face_ids]).reshape(shape),
        part_ids=image(scene.part_ids[hits.face_ids], NO_HIT).reshape(shape),
        points_camera=image(rays_camera * hits.distance[:, None]).reshape(*shape, 3),
        normals_world=image(np.where(away, -normals, normals)).reshape(*shape, 3),
        camera=camera,
        T_world_camera=np.asarray(T_world_camera, np.float32),
        scene=scene,
        hits=RayHits(image(hits.face_ids, NO_HIT), image(hits.distance), image(hits.barycentric)),
    )


@lru_cache(maxsize=8)
def _ray_directions(camera: PinholeCamera) -> np.ndarray:
    rays = camera.ray_directions().reshape(-1, 3)
    rays.flags.writeable = False
    return rays


def _pixels_that_may_hit(vertices_camera: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """Flat indices of the pixels inside the bounding rectangle of all projected vertices."""
    if len(vertices_camera) == 0:
        return np.zeros(0, np.int64)
    lower, upper = np.zeros(2, int), np.array([camera.width, camera.height])
    if vertices_camera[:, 2].min() > 1e-3:  # else something reaches behind the camera
        focal, center = np.array([camera.fx, camera.fy]), np.array([camera.cx, camera.cy])
        uv = vertices_camera[:, :2] / vertices_camera[:, 2:] * focal + center
        lower, upper = (
            np.clip(edge, 0, upper).astype(int) for edge in (uv.min(0) - 1, uv.max(0) + 2)
        )
    rows = np.arange(lower[1], upper[1])[:, None] * camera.width
    return (rows + np.arange(lower[0], upper[0])).ravel()


def _embree_scene(vertices: np.ndarray, faces: np.ndarray):
    if len(faces) == 0:
        return None  # embree answers an empty scene with garbage
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    TriangleMesh(scene, vertices, faces)
    return scene


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


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-20)
