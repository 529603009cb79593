"""A dressed Anny body as pictures with the truth behind them, for models that read pictures."""

from dataclasses import dataclass
from functools import cache

import jax
import numpy as np

from hoijax.affordance.graph import BODY_PARTS
from hoijax.bodies import load_body, openpose18
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import look_at
from hoijax.objects.asset import load_asset
from hoijax.rendering.raycast import RenderMesh, cast
from hoijax.rendering.shading import make_backdrop, shade
from priors.choreography.choreographer import choreograph
from priors.language.script import script_from_text
from priors.protocols import PointMaps
from priors.synthetic.ground_truth import KnownMotion, rendered_ground_truth
from priors.synthetic.rendered_observations import RenderedGroundTruth

SHIRT, TROUSERS, SKIN = (0.25, 0.35, 0.60), (0.20, 0.20, 0.25), (0.75, 0.55, 0.45)
OBJECT = (0.60, 0.45, 0.30)
FARTHEST = 12.0  # metres that the made point maps reach
OCCLUDED = 0.12  # metres behind the seen surface from which a joint counts as hidden


@dataclass(frozen=True)
class Clip:
    """Rendered frames, exact masks, keypoints (pixels) and point maps of one person."""

    frames: np.ndarray  # (T, H, W, 3)
    labels: np.ndarray  # (T, H, W): 1 the person, 2.. objects
    keypoints: np.ndarray  # (T, 18, 2)
    hidden: np.ndarray  # (T, 18)
    maps: PointMaps
    camera: PinholeCamera
    T_world_camera: np.ndarray
    ground_truth: RenderedGroundTruth | None = None

    @property
    def boxes(self) -> np.ndarray:
        """Boxes of the person, (T, 4)."""
        from priors.models.packaged import mask_box

        return np.stack([mask_box(labels == 1) for labels in self.labels])

    @property
    def joints_world(self) -> np.ndarray:
        """(T, 22, 3) true body joints."""
        truth = self.ground_truth
        body = load_body("anny")
        shaped = body.shape(truth.body_betas[0]).with_rest_joints(truth.body_rest_joints[0])
        pose = jax.jit(jax.vmap(lambda r, t: shaped.pose_joints(r, t)[:22, :3, 3]))
        return np.asarray(pose(truth.body_rotations[0], truth.body_translations[0]))


def clothes() -> np.ndarray:
    """Color of every face of Anny."""
    body = load_body("anny")
    by_part = {"hips": TROUSERS, "head": SKIN, "left_hand": SKIN, "right_hand": SKIN}
    by_part |= {"left_foot": SKIN, "right_foot": SKIN, "left_leg": TROUSERS, "right_leg": TROUSERS}
    colors = np.array([by_part.get(part, SHIRT) for part in BODY_PARTS], np.float32)
    return colors[np.asarray(body.part_ids)[np.asarray(body.faces)[:, 0]]]


def project(points_world: np.ndarray, camera: PinholeCamera, T_world_camera: np.ndarray):
    """Pixels and depth."""
    seen = (points_world - T_world_camera[:3, 3]) @ T_world_camera[:3, :3]
    focal, center = (camera.fx, camera.fy), (camera.cx, camera.cy)
    return seen[..., :2] / seen[..., 2:] * focal + center, seen[..., 2]


def image(meshes, keypoints_world, camera, T_world_camera, backdrop):
    """(image, labels, keypoints, hidden, points, valid) of one frame."""
    seen = cast(meshes, camera, T_world_camera)
    ground = backdrop.to_ground.reshape(seen.depth.shape)
    depth = np.where(seen.depth > 0, seen.depth, ground)
    valid = depth < FARTHEST
    points = camera.ray_directions() * np.where(valid, depth, 0)[..., None]
    pixels, z = project(keypoints_world, camera, T_world_camera)
    column, row = (np.clip(pixels[:, i].astype(int), 0, n - 1)
                   for i, n in enumerate((camera.width, camera.height)))  # fmt: skip
    surface = seen.depth[row, column]
    hidden = (surface > 0) & (surface < z - OCCLUDED)
    return shade(seen, backdrop), seen.instance_ids, pixels, hidden, points, valid


def stacked(images, camera, T_world_camera, ground_truth=None) -> Clip:
    frames, labels, pixels, hidden, points, valid = (np.stack(x) for x in zip(*images, strict=True))
    intrinsics = np.tile(camera.matrix, (len(frames), 1, 1)).astype(np.float32)
    maps = PointMaps(points.astype(np.float32), valid, intrinsics)
    return Clip(frames, labels, pixels, hidden, maps, camera, T_world_camera, ground_truth)


@cache
def standing() -> tuple[np.ndarray, np.ndarray]:
    """Vertices and keypoints of a person with lowered, bent arms on the ground."""
    body = load_body("anny")
    rotations = np.zeros((55, 3), np.float32)
    rotations[16], rotations[17] = (0, 0, -1.1), (0, 0, 1.1)  # shoulders
    rotations[18], rotations[19] = (0, -0.5, 0), (0, 0.5, 0)  # elbows, bent ahead
    shaped = body.shape(np.zeros(10, np.float32))
    posed = jax.jit(shaped.pose)(rotations, np.zeros(3, np.float32))
    lift = np.array([0, -float(posed.vertices_world[:, 1].min()), 0], np.float32)
    keypoints = np.asarray(jax.jit(openpose18)(posed, body))
    return np.asarray(posed.vertices_world) + lift, keypoints + lift


def standing_person(azimuth: float, size: tuple[int, int] = (320, 400)) -> Clip:
    """One picture of a person standing with lowered arms, seen from `azimuth` degrees."""
    vertices, points = standing()
    camera = PinholeCamera.from_field_of_view(35.0, *size)
    a = np.radians(azimuth)
    T = look_at(np.array([4.2 * np.sin(a), 1.4, 4.2 * np.cos(a)]), np.array([0.0, 0.85, 0.0]))
    mesh = RenderMesh(vertices, np.asarray(load_body("anny").faces), 1, color=clothes())
    return stacked([image([mesh], points, camera, T, make_backdrop(camera, T))], camera, T)


def choreographed(text: str, names: tuple[str, ...], size: tuple[int, int] = (480, 360)) -> Clip:
    """A clip of 31 frames of the no-weights prior, rendered larger than it usually is."""
    assets = [load_asset(name) for name in names]
    made = choreograph(script_from_text(text, assets), assets, frames=31, seed=0)
    camera = PinholeCamera.from_field_of_view(42.0, *size)
    motion = KnownMotion(made.joint_rotations, made.translation, made.betas, made.rest_joints)
    truth = rendered_ground_truth(
        "anny", motion, tuple(assets), made.Ts_world_object, made.contact,
        view=(camera, made.T_world_camera),
    )  # fmt: skip
    T, colors, images = made.T_world_camera, clothes(), []
    backdrop = make_backdrop(camera, T)
    for t in range(31):
        meshes = [
            RenderMesh(truth.person_vertices_world[0, t], truth.person_faces, 1, color=colors)
        ]
        for o, asset in enumerate(assets):
            T_object = truth.Ts_world_object[o, t]
            vertices = (asset.vertices @ T_object[:3, :3].T + T_object[:3, 3]).astype(np.float32)
            meshes.append(RenderMesh(vertices, asset.faces, 2 + o, color=OBJECT))
        images.append(image(meshes, truth.keypoints_world[0, t], camera, T, backdrop))
    return stacked(images, camera, T, truth)
