"""A person's mesh and an object's mesh of one photograph in one metric frame, on one floor.

The person is metric and stands in the camera. The object rests on the same floor: what is left are the
heading, the place on the floor and the size, which its mask tells, and the floor's own slope in the
camera, which both share.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.geometry.camera import PinholeCamera
from hoijax.initialization.photo import PhotoMasks, PhotoMesh, moved, visible_ious
from hoijax.initialization.silhouette_search import (
    FINE_WIDTH,
    SEARCH_WIDTH,
    cover_mask,
    search_setup,
)
from hoijax.rendering.raycast import RayScene, RenderMesh, cast

__all__ = ["ImageAlignment", "align_to_image", "resting_ups"]

MAX_UPS = 4
SAME_SIDE = np.cos(np.radians(4.0))
"""Cosine between normals of one side of an object."""


@dataclass(frozen=True)
class ImageAlignment:
    """World: y up, the floor at y = 0, metres; the camera above the origin."""

    T_world_camera: Float[ndarray, "4 4"]
    T_world_object: Float[ndarray, "4 4"]
    """A similarity: it gives the object its size."""
    person_iou: float
    object_iou: float
    """Of what the camera sees of each beside the other, and its mask, where no occluder is named."""
    floor_gap: float
    """Metres between the lowest point of the person and of the object."""
    person_covered: float
    object_covered: float
    """Share of each mask that is covered: what an IoU loses to clothes, and to things in front that no
    mask names, it does not."""

    @property
    def object_scale(self) -> float:
        """Metres a unit of the object's file."""
        return float(np.cbrt(np.linalg.det(self.T_world_object[:3, :3])))


def align_to_image(
    person: PhotoMesh,
    object_: PhotoMesh,
    masks: PhotoMasks,
    camera: PinholeCamera,
    *,
    known_pose: bool = False,
) -> ImageAlignment:
    """The object on the person's floor, at the size and place at which it covers its mask.

    known_pose: the object's file stands in the camera too (OpenCV axes), at whatever scale: its
    orientation is then tried first. UserError where the masks hide all of the object.
    """
    search, fine = (
        search_setup(person, object_, masks, camera, width) for width in (SEARCH_WIDTH, FINE_WIDTH)
    )
    scene = RayScene([RenderMesh(object_.vertices.astype(np.float32), object_.faces, 1)])
    poses = cover_mask(search, fine, scene, resting_ups(object_, known_pose), known_pose)
    return _measured(poses, person, object_, masks, camera)


def resting_ups(object_: PhotoMesh, known_pose: bool) -> list[Float[ndarray, " 3"]]:
    """Which directions of the file may point up: the file's own (y, or that of its camera), then those of
    the sides that the object can rest on, in the camera the most alike, else the broadest first."""
    import trimesh

    hull = trimesh.Trimesh(object_.vertices, object_.faces, process=False).convex_hull
    mesh_up = np.array([0.0, -1.0, 0.0] if known_pose else [0.0, 1.0, 0.0])
    sides: list[tuple[ndarray, float]] = []
    rest = np.argsort(-hull.area_faces)
    while len(rest):
        normal = hull.face_normals[rest[0]]
        alike = hull.face_normals[rest] @ normal > SAME_SIDE
        side, rest = rest[alike], rest[~alike]
        if _carries(hull.triangles[side], normal, hull.center_mass):
            sides.append((-normal, float(hull.area_faces[side].sum())))
    sides.sort(key=lambda side: -float(side[0] @ mesh_up) if known_pose else -side[1])
    return [mesh_up, *(up for up, _ in sides if up @ mesh_up < SAME_SIDE)][:MAX_UPS]


def _carries(triangles: ndarray, normal: ndarray, center: ndarray) -> bool:
    """Whether the center of mass is over a side: inside the outline of its corners."""
    from scipy.spatial import Delaunay, QhullError

    across = np.linalg.svd(normal[None])[2][1:]
    flat = triangles.reshape(-1, 3) @ across.T
    try:
        return bool(Delaunay(flat).find_simplex(center @ across.T) >= 0)
    except QhullError:  # a line
        return False


def _measured(
    poses: tuple[ndarray, ndarray],
    person: PhotoMesh,
    object_: PhotoMesh,
    masks: PhotoMasks,
    camera: PinholeCamera,
) -> ImageAlignment:
    """The alignment with what is reached at the image's own size, by what the camera sees of both."""
    T_world_camera, T_world_object = poses
    placed = moved(object_.vertices, T_world_object)
    low = float(placed[:, 1].min())  # of all vertices, not of the sampled points
    T_world_object = T_world_object.copy()
    T_world_object[1, 3] -= low
    stands = moved(person.vertices, T_world_camera)
    meshes = [
        RenderMesh(stands.astype(np.float32), person.faces, 1),
        RenderMesh((placed - [0.0, low, 0.0]).astype(np.float32), object_.faces, 2),
    ]
    ids = cast(meshes, camera, T_world_camera.astype(np.float32)).instance_ids
    person_iou, object_iou = visible_ious(ids, masks)
    return ImageAlignment(
        T_world_camera,
        T_world_object,
        person_iou=person_iou,
        object_iou=object_iou,
        floor_gap=abs(float(stands[:, 1].min())),
        person_covered=float((ids == 1)[masks.person].mean()),
        object_covered=float((ids == 2)[masks.object_ & ~masks.person].mean()),
    )
