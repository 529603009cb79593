"""Pose bodies with a known motion and assemble the scene that `synthetic.rendered_observations` renders."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.bodies import load_body
from hoijax.bodies.keypoints import openpose18_from
from hoijax.bodies.posed_person import pose_measured
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import look_at
from hoijax.objects.asset import Asset
from priors.synthetic.rendered_observations import RenderedGroundTruth

IMAGE_WIDTH, IMAGE_HEIGHT, VERTICAL_FIELD_OF_VIEW = 320, 240, 50.0


@dataclasses.dataclass(frozen=True)
class KnownMotion:
    """Motion of P people: SMPL-X parameters (see hoijax.bundle.observations) over T frames."""

    rotations: Float[ndarray, "P T 55 3"]
    translations: Float[ndarray, "P T 3"]
    betas: Float[ndarray, "P B"]
    rest_joints: Float[ndarray, "P 55 3"]


def rendered_ground_truth(
    body_name: str,
    motion: KnownMotion,
    assets: tuple[Asset, ...],
    Ts_world_object: Float[ndarray, "O T 4 4"],
    edge_contact: Bool[ndarray, "E T"],
    *,
    view: tuple[PinholeCamera, Float[ndarray, "4 4"]] | None = None,
    azimuth_degrees: float = 30.0,
) -> RenderedGroundTruth:
    """The moving scene with its skin, seen by `view` (camera, T_world_camera).

    Without a view: a fixed camera from `azimuth_degrees` that keeps all of it in the image.
    """
    body = load_body(body_name)
    arrays = (motion.betas, motion.rest_joints, motion.rotations, motion.translations)
    constants = jax.device_put(body)
    posed = [pose_measured(constants, *(x[p] for x in arrays)) for p in range(len(motion.betas))]
    vertices = np.stack([np.asarray(person.vertices_world) for person in posed])
    joints = np.stack([np.asarray(person.joints_world) for person in posed])
    camera, T_world_camera = view or framing_camera(
        vertices, assets, Ts_world_object, azimuth_degrees
    )
    return RenderedGroundTruth(
        person_vertices_world=vertices,
        person_faces=np.asarray(body.faces),
        keypoints_world=openpose18_from(joints, vertices[:, :, np.asarray(body.face_vertices)]),
        body_rotations=motion.rotations,
        body_translations=motion.translations,
        body_betas=motion.betas,
        body_rest_joints=motion.rest_joints,
        assets=assets,
        Ts_world_object=Ts_world_object,
        camera=camera,
        T_world_camera=T_world_camera,
        edge_contact=edge_contact,
    )


def framing_camera(
    vertices_world: Float[ndarray, "P T V 3"],
    assets: tuple[Asset, ...],
    Ts_world_object: Float[ndarray, "O T 4 4"],
    azimuth_degrees: float,
) -> tuple[PinholeCamera, Float[ndarray, "4 4"]]:
    """A camera at shoulder height, `azimuth_degrees` from the world's +z axis, that sees everything.

    It stands just far enough away that every vertex of every frame projects inside the image
    with a margin of 6 %.
    """
    camera = PinholeCamera.from_field_of_view(VERTICAL_FIELD_OF_VIEW, IMAGE_WIDTH, IMAGE_HEIGHT)
    clouds = [vertices_world[:, :, ::29].reshape(-1, 3)]
    for asset, Ts in zip(assets, Ts_world_object, strict=True):
        samples = asset.samples[::16]
        clouds.append(
            (samples @ np.swapaxes(Ts[:, :3, :3], 1, 2) + Ts[:, None, :3, 3]).reshape(-1, 3)
        )
    points = np.concatenate(clouds)
    target = 0.5 * (points.min(axis=0) + points.max(axis=0))
    azimuth = np.radians(azimuth_degrees)
    direction = np.array([np.sin(azimuth), 0.0, np.cos(azimuth)])
    for distance in np.arange(1.5, 12.0, 0.1):
        eye = target + distance * direction
        eye[1] = max(1.45, target[1])
        T_world_camera = look_at(eye, target)
        local = (points - eye) @ T_world_camera[:3, :3]
        if local[:, 2].min() < 0.3:
            continue
        pixels = local[:, :2] / local[:, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
        size = np.array([camera.width, camera.height])
        if np.all(np.abs(pixels / size - 0.5) < 0.47):
            break
    return camera, T_world_camera
