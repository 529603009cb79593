"""How near a composition comes to a scene that is known."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.composition.field_stages import render_views
from hoijax.composition.fields.cameras import ring_cameras
from hoijax.composition.fields.composition import Entity
from hoijax.composition.fields.guidance import ViewCameras
from hoijax.composition.fields.known_scene import KnownScene, known_images, silhouettes
from hoijax.composition.method import Composition
from hoijax.composition.settings import ComposeSettings
from hoijax.rendering.raycast import RenderMesh

__all__ = ["chamfer", "compare", "field_psnr", "held_out_cameras", "silhouette_iou"]

HELD_OUT, HELD_OUT_ELEVATIONS = 5, (2.0, 22.0)
LIMBS = ((1, 4), (4, 7), (2, 5), (5, 8), (16, 18), (18, 20), (17, 19), (19, 21), (0, 12))
"""Bones whose lengths together are a person's size."""


def held_out_cameras(settings: ComposeSettings, size: int) -> ViewCameras:
    """Views that no step renders (random cameras are never these exactly)."""
    return ring_cameras(settings.orbit, HELD_OUT, (size, size), HELD_OUT_ELEVATIONS, first=11.0)


def compare(
    composition: Composition,
    known: KnownScene,
    settings: ComposeSettings,
    mesh: tuple[Float[ndarray, "V 3"], Int[ndarray, "F 3"]],
) -> dict[str, float]:
    """Held-out PSNR, silhouettes of the split, joints, size, and the object's surface against the ground truth.

    mesh: the composed object in the world.
    """
    cameras = held_out_cameras(settings, 64)
    joints = composition.fit.joints_world
    true = known.joints_world
    rest = np.asarray(known.ground_truth["rest_joints"])
    shaped = composition.surface.person(composition.look)
    scaled_joints = composition.fit.scale * np.asarray(shaped.joints_rest)
    to_mesh, to_ground_truth = chamfer(mesh, (known.object.vertices_world, known.object.faces))
    return {
        "psnr_db": field_psnr(composition.coarse, known, settings, cameras),
        "anchor_iou": silhouette_iou(composition.anchor, known.human, settings, cameras),
        "object_iou": silhouette_iou(composition.object, known.object, settings, cameras),
        "joint_error_cm": 100.0 * float(np.linalg.norm(joints - true, axis=1)[:22].mean()),
        "scale_error_percent": 100.0 * abs(_size(scaled_joints) / _size(rest) - 1.0),
        "object_chamfer_cm": 50.0 * (to_mesh + to_ground_truth),
        "object_accuracy_cm": 100.0 * to_mesh,
        "object_completeness_cm": 100.0 * to_ground_truth,
    }


def _size(joints: Float[ndarray, "55 3"]) -> float:
    return float(sum(np.linalg.norm(joints[a] - joints[b]) for a, b in LIMBS))


def field_psnr(
    entity: Entity, known: KnownScene, settings: ComposeSettings, cameras: ViewCameras
) -> float:
    """Mean PSNR in dB of a field's renders of the interaction, linear RGB."""
    count = len(cameras.Ts_world_camera)
    size = int(2 * cameras.intrinsics[0, 1, 2])
    seen = np.asarray(render_views(entity, cameras, settings, size).color)
    prompts = [known.prompts.interaction] * count
    true = known_images([known])(prompts, cameras, (size, size))[:, 0]
    error = np.mean((seen.reshape(true.shape) - true) ** 2, axis=(1, 2, 3))
    return float(np.mean(-10.0 * np.log10(np.maximum(error, 1e-12))))


def silhouette_iou(
    entity: Entity, mesh: RenderMesh, settings: ComposeSettings, cameras: ViewCameras
) -> float:
    """Mean intersection over union of a field's silhouette (opacity over one half) with a mesh's."""
    size = int(2 * cameras.intrinsics[0, 1, 2])
    seen = np.asarray(render_views(entity, cameras, settings, size).opacity) > 0.5
    true = silhouettes((mesh,), cameras, (size, size)).reshape(seen.shape)
    both, either = (seen & true).sum(axis=1), (seen | true).sum(axis=1)
    return float(np.mean(both / np.maximum(either, 1)))


def chamfer(
    first: tuple[ndarray, ndarray], second: tuple[ndarray, ndarray], count: int = 20_000
) -> tuple[float, float]:
    """Mean distance of points of one surface to the other, and back, metres."""
    from scipy.spatial import KDTree

    a, b = (_spread_points(*mesh, count) for mesh in (first, second))
    return float(KDTree(b).query(a)[0].mean()), float(KDTree(a).query(b)[0].mean())


def _spread_points(
    vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"], count: int
) -> Float[ndarray, "n 3"]:
    from hoijax.objects.surface_samples import sample_surface

    return sample_surface(np.asarray(vertices, np.float32), np.asarray(faces), count, 0)[0]
