"""A finished composition as others read it: a result folder, an avatar, colored meshes, images."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from hoijax.affordance.contact_table import compile_contacts
from hoijax.composition.field_stages import render_views
from hoijax.composition.fields.cameras import OrbitSettings, ring_cameras
from hoijax.composition.fields.composition import Entity
from hoijax.composition.fields.known_scene import HUMAN, OBJECT, silhouettes
from hoijax.composition.fields.surface import (
    density_grid,
    extract_surface,
    place_on_field,
    surface_of_grid,
)
from hoijax.composition.method import Composition, posed_avatar
from hoijax.composition.metrics import compare
from hoijax.composition.object_placement import place_mesh
from hoijax.composition.settings import ComposeSettings
from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.io.checkpoints import DONE, Checkpoints
from hoijax.io.npz import npz_bytes
from hoijax.objects.asset import Asset, asset_from_arrays
from hoijax.rendering.raycast import RenderMesh, cast
from hoijax.rendering.shading import shade
from hoijax.results.result import Result, save_result

__all__ = ["ComposedScene", "assemble", "turntable", "write_composition"]

BODY = "anny"
TURNTABLE_FRAMES, TURNTABLE_FPS, TURNTABLE_SIZE = 48, 12.0, 288


@dataclass(frozen=True)
class ComposedScene:
    """What a composition is to the outside: metres, y up, ground at y = 0."""

    result: Result
    human: RenderMesh
    object: RenderMesh
    avatar: dict[str, ndarray]
    """betas, offsets, colors (linear RGB), scale, rotations, translation."""
    metrics: dict[str, float]


def assemble(
    composition: Composition, settings: ComposeSettings, priors: Any, asset: Asset | None
) -> ComposedScene:
    """Body, object and numbers of a finished composition, in metres.

    With a mesh of the user's, the mesh keeps its size and the world is scaled to it.
    """
    level = surface_level(composition.object, settings)
    vertices, faces, colors = extract_surface(
        composition.object, resolution=settings.mesh_resolution, level=level
    )
    metrics = {}
    if priors.known is not None:
        metrics = compare(composition, priors.known, settings, (vertices, faces))
    if asset is None:
        foot = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
        foot[1] = vertices[:, 1].min()
        asset = asset_from_arrays(priors.object_name, vertices - foot, faces)
        rotation, position, unit = np.eye(3), foot, 1.0
        paint = colors[faces].mean(axis=1)
    else:
        points = asset_from_arrays("target", vertices, faces).samples
        placed = place_mesh(asset.samples, points)
        metrics |= {"placement_residual_cm": 100.0 * placed.residual, "mesh_scale": placed.scale}
        unit = 1.0 / placed.scale
        rotation, position = placed.rotation, unit * placed.translation
        paint = np.asarray((0.72, 0.45, 0.30))
        if priors.known is not None:
            metrics |= _pose_error(rotation, position, asset, priors.known)
    fit, look, surface = composition.fit, composition.look, composition.surface
    shaped = surface.person(look)
    rest = unit * fit.scale * np.asarray(shaped.joints_rest, np.float32)
    translation = (unit * np.asarray(fit.translation)).astype(np.float32)
    result = _result(
        priors,
        asset,
        np.asarray(look.betas),
        rest,
        fit.rotations,
        translation,
        (rotation, position),
    )
    skin = unit * np.asarray(posed_avatar(surface, look, fit))
    object_vertices = (asset.vertices @ rotation.T + position).astype(np.float32)
    shown = np.asarray(look.colors)[np.asarray(surface.body.faces)].mean(axis=1)
    avatar = {
        "betas": np.asarray(look.betas),
        "offsets": np.asarray(look.offsets),
        "colors": np.asarray(look.colors),
        "scale": np.float32(unit * fit.scale),
        "rotations": fit.rotations,
        "translation": translation,
    }
    human = RenderMesh(skin.astype(np.float32), np.asarray(surface.body.faces), HUMAN, color=shown)
    object_mesh = RenderMesh(
        object_vertices, asset.faces, OBJECT, color=np.broadcast_to(paint, (len(asset.faces), 3))
    )
    return ComposedScene(result, human, object_mesh, avatar, metrics)


def surface_level(entity: Entity, settings: ComposeSettings) -> float:
    """The density whose surface looks most like the field: its silhouettes in a ring of views agree best.

    How dense a field becomes depends on how long it was distilled; half-way is at no fixed number.
    """
    cameras = ring_cameras(settings.orbit, 4, (96, 96), (5.0, 35.0), first=30.0)
    seen = np.asarray(render_views(entity, cameras, settings, 96).opacity) > 0.5
    density, axis = density_grid(entity, settings.mesh_resolution)
    agreement: dict[float, float] = {}
    for level in settings.mesh_densities:
        try:
            vertices, faces = surface_of_grid(density, level)
        except UserError:  # nothing, or everything, is over this level; another may do
            continue
        if not len(faces):  # specks only, and those are dropped
            continue
        points = place_on_field(entity, vertices, axis)
        mesh = RenderMesh(points, faces, OBJECT)
        shown = silhouettes((mesh,), cameras, (96, 96)).reshape(seen.shape)
        agreement[level] = float((shown & seen).sum() / max((shown | seen).sum(), 1))
    if not agreement:
        raise UserError(
            f"the object field has no surface at any density from {min(settings.mesh_densities):g} to "
            f"{max(settings.mesh_densities):g} per metre. Distil it for longer, or with another --seed."
        )
    return max(agreement, key=lambda level: agreement[level])


def _pose_error(
    rotation: ndarray, translation: ndarray, asset: Asset, known: Any
) -> dict[str, float]:
    """Mean distance of the mesh's samples from where they truly are, cm."""
    T = known.ground_truth["T_world_object"]
    ours = asset.samples @ rotation.T + translation
    true = asset.samples @ T[:3, :3].T + T[:3, 3]
    return {"mesh_pose_error_cm": 100.0 * float(np.linalg.norm(ours - true, axis=1).mean())}


def _result(priors, asset, betas, rest, rotations, translation, pose) -> Result:
    """One frame, one candidate."""
    graph = priors.graph(asset)
    groups = compile_contacts(graph, {asset.name: asset.part_names}).group_count
    return Result(
        prompt=priors.prompts.interaction,
        fps=1.0,
        affordance=graph,
        assets=(asset,),
        body_name=BODY,
        body_rotations=np.asarray(rotations, np.float32)[None, None],
        body_translations=np.asarray(translation, np.float32)[None, None],
        body_betas=np.asarray(betas, np.float32)[None],
        body_rest_joints=np.asarray(rest, np.float32)[None],
        object_rotations=np.asarray(pose[0], np.float32)[None, None, None],
        object_translations=np.asarray(pose[1], np.float32)[None, None, None],
        losses=np.zeros(1, np.float32),
        initial_losses=np.zeros(1, np.float32),
        codes=np.zeros(1, np.int32),
        labels=("composed",),
        term_names=("composition",),
        reports=np.zeros((1, 1), np.float32),
        history=np.zeros((1, 1, 1), np.float32),
        contact=np.ones((1, groups, 1), bool),
        Ts_world_pointmap=np.eye(4, dtype=np.float32)[None],
    )


def write_composition(
    scene: ComposedScene, composition: Composition, folder: Path, work: Path, spins: bool
) -> None:
    """Everything of a result folder; previews are taken from the work folder. spins: with a turntable video."""
    save_result(scene.result, folder)
    (folder / "avatar.npz").write_bytes(npz_bytes(scene.avatar))
    (folder / "metrics.json").write_text(json.dumps(scene.metrics, indent=2) + "\n")
    fields = Checkpoints(folder / "fields")
    for name, entity in (
        ("coarse", composition.coarse),
        ("anchor", composition.anchor),
        ("object", composition.object),
    ):
        fields.save(name, DONE, entity)
    write_scene_glb(scene, folder / "scene.glb")
    if (work / "previews").is_dir():
        shutil.copytree(work / "previews", folder / "previews")
    images = turntable(scene, TURNTABLE_FRAMES if spins else 1)
    from PIL import Image

    Image.fromarray(images[0]).save(folder / "preview.png")
    if spins:
        from hoijax.io.video import write_video

        write_video(folder / "turntable.mp4", images, TURNTABLE_FPS)


def turntable(scene: ComposedScene, frames: int) -> ndarray:
    """(frames, H, W, 3) shaded sRGB images from all around."""
    meshes = (scene.human, scene.object)
    points = np.concatenate([m.vertices_world for m in meshes])
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    radius = float(np.linalg.norm(points - middle, axis=1).max())
    orbit = OrbitSettings(
        center=(float(middle[0]), float(middle[1]), float(middle[2])),
        distance=3.3 * radius,
        field_of_view=40.0,
    )
    side = TURNTABLE_SIZE
    cameras = ring_cameras(orbit, frames, (2 * side, 2 * side), (14.0,), first=30.0)
    lens = PinholeCamera.from_field_of_view(orbit.field_of_view, 2 * side, 2 * side)
    images = []
    for T in cameras.Ts_world_camera:
        fine = shade(cast(meshes, lens, T)).astype(np.uint16)
        images.append(fine.reshape(side, 2, side, 2, 3).mean(axis=(1, 3)).astype(np.uint8))
    return np.stack(images)


def write_scene_glb(scene: ComposedScene, path: Path) -> None:
    """Both meshes with face colors, y up, metres."""
    import trimesh

    whole = trimesh.Scene()
    for name, mesh in (("person", scene.human), (scene.result.assets[0].name, scene.object)):
        whole.add_geometry(_colored(mesh), node_name=name, geom_name=name)
    content: Any = whole.export(file_type="glb")
    path.write_bytes(content)


def _colored(mesh: RenderMesh) -> Any:
    import trimesh

    faces: Int[ndarray, "F 3"] = np.asarray(mesh.faces)
    count = len(mesh.vertices_world)
    color, hits = np.zeros((count, 3)), np.zeros((count, 1))
    for corner in range(3):
        np.add.at(color, faces[:, corner], np.asarray(mesh.color))
        np.add.at(hits, faces[:, corner], 1.0)
    linear = np.clip(color / np.maximum(hits, 1.0), 0.0, 1.0)
    shown = np.concatenate([255.0 * linear ** (1 / 2.2), np.full((count, 1), 255.0)], axis=1)
    return trimesh.Trimesh(
        mesh.vertices_world, faces, vertex_colors=shown.astype(np.uint8), process=False
    )
