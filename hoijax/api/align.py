"""A photograph's person and object, as SAM 3D Body and SAM 3D Objects give them, in one metric frame."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from hoijax.bundle.evidence import guessed_intrinsics
from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.importers.body_meshes import BodyMeshes, read_body_meshes
from hoijax.importers.intrinsics import read_intrinsics
from hoijax.initialization.image_alignment import ImageAlignment, align_to_image
from hoijax.initialization.photo import PhotoMasks, PhotoMesh, moved
from hoijax.io.atomic import check_output, output_folder
from hoijax.io.photographs import read_photograph
from hoijax.progress import Log, silent
from hoijax.rendering.raycast import RenderMesh, cast

__all__ = ["align"]

PERSON_COLOR, OBJECT_COLOR = (0.2, 0.45, 0.9), (0.95, 0.5, 0.1)
MAX_SIDE = 1600


def align(
    image: str | Path,
    person: str | Path,
    object_: str | Path,
    person_mask: str | Path,
    object_mask: str | Path,
    out: str | Path,
    *,
    occluder_masks: Sequence[str | Path] = (),
    focal: str | None = None,
    log: Log = silent,
) -> ImageAlignment:
    """Write person.glb, object.glb, scene.glb (world, y up, metres, one floor), overlay.png, alignment.json.

    person: a mesh in the camera, metres. object_: a mesh of any size and pose. occluder_masks: where other
    things hide either. focal: as `--intrinsics` of `observe`; by default of the *focal_length.json beside
    the person, else guessed, which `log` hears.
    UserError for files that cannot be read or do not fit each other.
    """
    check_output(out)
    photo = read_photograph(image, "--image")
    masks = PhotoMasks(
        _mask(Path(person_mask), "--person-mask", photo.shape[:2]),
        _mask(Path(object_mask), "--object-mask", photo.shape[:2]),
        tuple(_mask(Path(mask), "--occluder-mask", photo.shape[:2]) for mask in occluder_masks),
    )
    meshes = read_body_meshes(person)
    if len(meshes.vertices) != 1:
        raise UserError(f"--person {person}: {len(meshes.vertices)} meshes; a photograph has one.")
    scene, mesh, in_camera = _object(Path(object_))
    camera = _camera(photo, meshes, focal, log)
    body = PhotoMesh(meshes.vertices[0], meshes.faces)
    alignment = align_to_image(body, mesh, masks, camera, known_pose=in_camera)
    stands = moved(meshes.vertices[0], alignment.T_world_camera)
    with output_folder(out) as folder:
        _write(folder, alignment, scene, in_camera, stands, meshes.faces)
        _overlay(photo, camera, alignment, stands, meshes.faces, mesh).save(folder / "overlay.png")
        record = {key: _plain(value) for key, value in asdict(alignment).items()}
        record |= {"object_scale": alignment.object_scale, "focal": camera.fx}
        (folder / "alignment.json").write_text(json.dumps(record, indent=2) + "\n")
    return alignment


def _mask(path: Path, flag: str, shape: tuple[int, ...]) -> Bool[ndarray, "H W"]:
    """Where an image of the photograph's (height, width) is bright. UserError for another size, and for none."""
    mask = read_photograph(path, flag).max(-1) > 127
    if mask.shape != shape:
        raise UserError(
            f"{flag} {path}: {mask.shape[1]} x {mask.shape[0]} pixels, the image has {shape[1]} x {shape[0]}."
        )
    if not mask.any():
        raise UserError(f"{flag} {path}: is empty.")
    return mask


def _object(path: Path) -> tuple[Any, PhotoMesh, bool]:
    """(the file's scene, its mesh in a camera as in OpenCV or its own axes, whether it stands before a camera)."""
    import trimesh

    try:
        scene: Any = trimesh.load(path, force="scene")
        mesh = scene.to_geometry()
    except Exception as error:  # of any of trimesh's readers
        raise UserError(f"--object {path}: cannot be read as a mesh ({error}).") from error
    if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
        raise UserError(f"--object {path}: holds no triangles.")
    vertices = np.asarray(mesh.vertices, np.float64)
    behind = bool((vertices[:, 2] < 0).all())  # SAM 3D Objects: before a camera that looks along -z
    if behind:
        vertices = vertices * [1.0, -1.0, -1.0]
    return scene, PhotoMesh(vertices, np.asarray(mesh.faces)), bool((vertices[:, 2] > 0).all())


def _camera(image: ndarray, meshes: BodyMeshes, focal: str | None, log: Log) -> PinholeCamera:
    height, width = image.shape[:2]
    if focal is not None:
        matrix = read_intrinsics(focal).at(width, height)[0]
    elif meshes.intrinsics is not None:
        matrix = meshes.intrinsics.at(width, height)[0]
    else:
        matrix = guessed_intrinsics(height, width)
        log(f"no --focal: {matrix[0, 0]:.0f} pixels are guessed, the image's diagonal")
    numbers = (float(matrix[row]) for row in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return PinholeCamera(*numbers, width=width, height=height)


def _write(
    folder: Path,
    alignment: ImageAlignment,
    scene: Any,
    in_camera: bool,
    stands: ndarray,
    faces: ndarray,
) -> None:
    """The meshes in the world; the object with the materials of its file."""
    import trimesh

    flip = np.diag([1.0, -1.0, -1.0, 1.0]) if in_camera else np.eye(4)
    scene.apply_transform(alignment.T_world_object @ flip)
    person = trimesh.Trimesh(stands, faces, process=False)
    scene.export(folder / "object.glb")
    person.export(folder / "person.glb")
    scene.add_geometry(person, node_name="person", geom_name="person")
    scene.export(folder / "scene.glb")


def _overlay(
    photo, camera: PinholeCamera, alignment: ImageAlignment, stands, faces, mesh: PhotoMesh
):
    """The photograph with both meshes over it."""
    from PIL import Image

    placed = moved(mesh.vertices, alignment.T_world_object)
    meshes = [
        RenderMesh(stands.astype(np.float32), faces, 1, color=PERSON_COLOR),
        RenderMesh(placed.astype(np.float32), mesh.faces, 2, color=OBJECT_COLOR),
    ]
    seen = cast(meshes, camera, alignment.T_world_camera.astype(np.float32))
    toward = np.abs(seen.normals_world @ alignment.T_world_camera[:3, 2])[..., None]
    colors = np.array([(0, 0, 0), PERSON_COLOR, OBJECT_COLOR])[seen.instance_ids]
    shown = 255 * (colors * (0.3 + 0.7 * toward)) ** (1 / 2.2)
    drawn = np.where(seen.instance_ids[..., None] > 0, 0.65 * shown + 0.35 * photo, photo)
    image = Image.fromarray(drawn.astype(np.uint8))
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    return image


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
