"""A known scene as a filmed clip: dressed person, textured object, room, sun and shadows, by Blender's Cycles.

    pip install bpy                                    # Blender as a package; one release of Python each
    python -m scripts.benchmarks.blender_render FOLDER --look 1

FOLDER/scene.npz holds the moving meshes and the camera (`scripts.benchmarks.video_truth` writes it);
FOLDER/frames/NNNN.png are left. Frames that are there are kept. `bpy` is one program with one state, so
that this runs in a process of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np
import tyro

SAMPLES = 5
"""Rays a pixel; Blender's denoiser does the rest."""
SUN, SKY = 2.5, 0.45
TO_BLENDER = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""From y up to z up."""
SHIRT, TROUSERS, SHOES = (3, 6, 9, 13, 14, 16, 17), (0, 1, 2, 4, 5), (7, 8, 10, 11)
"""SMPL-X joints whose skin is dressed; 15 is the head, the rest is bare."""
HEAD = 15
Color = Sequence[float]


@dataclass(frozen=True)
class Look:
    """Colors (linear RGB): of clothes one, of surfaces two that a texture mixes, with its kind and scale."""

    skin: Color
    shirt: Color
    trousers: Color
    thing: tuple[Color, Color, str, float]
    floor: tuple[Color, Color, str, float]
    wall: tuple[Color, Color, str, float]


LOOKS = (
    Look(
        (0.70, 0.42, 0.30),
        (0.50, 0.06, 0.05),
        (0.03, 0.05, 0.15),
        ((0.45, 0.27, 0.12), (0.25, 0.13, 0.05), "Wave", 3.0),
        ((0.35, 0.25, 0.16), (0.20, 0.14, 0.09), "Wave", 1.2),
        ((0.60, 0.58, 0.52), (0.50, 0.50, 0.47), "Noise", 2.0),
    ),
    Look(
        (0.35, 0.18, 0.10),
        (0.65, 0.65, 0.62),
        (0.08, 0.09, 0.10),
        ((0.10, 0.25, 0.45), (0.08, 0.18, 0.35), "Noise", 5.0),
        ((0.30, 0.31, 0.32), (0.22, 0.22, 0.23), "Noise", 3.0),
        ((0.35, 0.12, 0.08), (0.28, 0.10, 0.07), "Noise", 8.0),
    ),
    Look(
        (0.80, 0.55, 0.42),
        (0.05, 0.20, 0.10),
        (0.30, 0.25, 0.18),
        ((0.55, 0.40, 0.22), (0.42, 0.30, 0.16), "Noise", 6.0),
        ((0.16, 0.20, 0.10), (0.25, 0.27, 0.15), "Noise", 20.0),
        ((0.30, 0.40, 0.50), (0.50, 0.55, 0.60), "Noise", 1.0),
    ),
)


@dataclass(frozen=True)
class Options:
    """Options of the renderer."""

    folder: tyro.conf.Positional[Path]
    look: int = 0
    """Which colors, and the seed of what stands along the wall."""
    width: int = 480
    height: int = 360


def material(name: str, color: Color, other: Color | None = None, kind="Noise", scale=40.0):
    """Rough, of one color or of a texture between two."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    nodes, links = made.node_tree.nodes, made.node_tree.links
    surface = nodes["Principled BSDF"]
    surface.inputs["Roughness"].default_value = 0.7
    surface.inputs["Base Color"].default_value = (*color, 1.0)
    if other is not None:
        place, texture = nodes.new("ShaderNodeTexCoord"), nodes.new(f"ShaderNodeTex{kind}")
        mix = nodes.new("ShaderNodeMixRGB")
        texture.inputs["Scale"].default_value = scale
        texture.inputs["Detail"].default_value = 5.0
        mix.inputs["Color1"].default_value = (*color, 1.0)
        mix.inputs["Color2"].default_value = (*other, 1.0)
        links.new(place.outputs["Object"], texture.inputs["Vector"])
        links.new(texture.outputs["Fac"], mix.inputs["Fac"])
        links.new(mix.outputs[0], surface.inputs["Base Color"])
    return made


def add_mesh(name: str, vertices: np.ndarray, faces: np.ndarray, materials: list, smooth=False):
    """An object of y-up vertices."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata((vertices @ TO_BLENDER.T).tolist(), [], faces.tolist())
    mesh.polygons.foreach_set("use_smooth", np.full(len(faces), smooth))
    for one in materials:
        mesh.materials.append(one)
    made = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(made)
    return made


def move(made, vertices: np.ndarray) -> None:
    """Other y-up vertices for the next frame."""
    made.data.vertices.foreach_set("co", (vertices @ TO_BLENDER.T).astype(np.float32).ravel())
    made.data.update()


def dressed(joints: np.ndarray, template: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Slot of every face: skin, shirt, trousers, shoes, hair. joints: of each vertex, whose skin it is."""
    slots = np.zeros(len(joints), int)
    for slot, wearing in enumerate((SHIRT, TROUSERS, SHOES), 1):
        slots[np.isin(joints, wearing)] = slot
    head = joints == HEAD
    top, middle = template[head, 1].max(), template[head, 2].mean()
    above = template[:, 1] > top - 0.07
    behind = (template[:, 2] < middle) & (template[:, 1] > top - 0.17)
    slots[head & (above | behind)] = 4
    return np.median(slots[faces], axis=1).astype(np.int32)


def add_room(scene: dict, look: Look, rng: np.random.Generator) -> None:
    """Floor, a wall behind the scene, and boxes along it."""
    plane = np.array([[0, 3, 2, 1]])
    corners = np.array([[-12.0, 0, -12], [12, 0, -12], [12, 0, 12], [-12, 0, 12]])
    add_mesh("floor", corners, plane, [material("floor", *look.floor)])
    view = scene["T_world_camera"][:3, 2] * [1, 0, 1]
    view /= np.linalg.norm(view)
    aside = np.cross(view, [0, 1, 0])
    people = scene["vertices"].reshape(-1, 3)
    middle = people.mean(0) * [1, 0, 1]
    distance = max(4.0, 1.5 + float(((people - middle) @ view).max()))
    foot = middle + distance * view
    wall = np.stack([foot - 12 * aside, foot + 12 * aside])
    wall = np.concatenate([wall, wall[::-1] + np.array([0, 6, 0])])
    add_mesh("wall", wall, np.array([[0, 1, 2, 3]]), [material("wall", *look.wall)])
    cube = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (0, 1) for z in (-0.5, 0.5)])
    sides = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    for number in range(7):
        place = middle + view * (distance - 0.6) + aside * rng.uniform(-5, 5)
        colors = [tuple(rng.uniform(0.05, 0.6, 3)) for _ in range(2)]
        paint = material(f"box {number}", colors[0], colors[1], scale=rng.uniform(1, 6))
        add_mesh(f"box {number}", cube * rng.uniform(0.3, 1.0, 3) + place, np.array(sides), [paint])


def add_light_and_camera(scene: dict, options: Options, rng: np.random.Generator) -> None:
    """Sun, sky, and the pinhole camera of the scene."""
    from mathutils import Matrix  # pyright: ignore[reportMissingImports]

    blender = bpy.context.scene
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy, sun.data.angle = SUN, 0.1
    sun.rotation_euler = (0.7, 0.3, rng.uniform(0, 6))
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    T = np.eye(4)
    T[:3, :3] = TO_BLENDER @ scene["T_world_camera"][:3, :3] @ np.diag([1, -1, -1])
    T[:3, 3] = TO_BLENDER @ scene["T_world_camera"][:3, 3]
    camera.matrix_world = Matrix(T.tolist())
    camera.data.sensor_fit, camera.data.sensor_width = "HORIZONTAL", 36.0
    camera.data.lens = 36.0 * float(scene["focal"]) / options.width
    for made in (sun, camera):
        blender.collection.objects.link(made)
    blender.camera = camera
    blender.world = bpy.data.worlds.new("sky")
    blender.world.use_nodes = True
    sky = blender.world.node_tree.nodes["Background"]
    sky.inputs["Color"].default_value = (0.8, 0.87, 1.0, 1.0)
    sky.inputs["Strength"].default_value = SKY


def render(options: Options) -> None:
    """All frames that are missing."""
    with np.load(options.folder / "scene.npz") as stored:
        scene = dict(stored)
    rng, look = np.random.default_rng(options.look), LOOKS[options.look % len(LOOKS)]
    bpy.ops.wm.read_factory_settings(use_empty=True)
    clothes = [
        material("skin", look.skin),
        material("shirt", look.shirt, tuple(0.7 * c for c in look.shirt)),
        material("trousers", look.trousers, tuple(1.4 * c for c in look.trousers)),
        material("shoes", (0.05, 0.04, 0.04)),
        material("hair", (0.03, 0.02, 0.015), (0.06, 0.04, 0.03)),
    ]
    person = add_mesh("person", scene["vertices"][0], scene["faces"], clothes, smooth=True)
    slots = dressed(scene["skin_joints"], scene["template"], scene["faces"])
    person.data.polygons.foreach_set("material_index", slots)
    paint = material("thing", *look.thing)
    thing = add_mesh("thing", scene["object_vertices"][0], scene["object_faces"], [paint])
    add_room(scene, look, rng)
    add_light_and_camera(scene, options, rng)
    blender = bpy.context.scene
    blender.render.engine, blender.cycles.device = "CYCLES", "CPU"
    blender.cycles.samples, blender.cycles.max_bounces = SAMPLES, 3
    blender.cycles.use_denoising = True
    blender.render.resolution_x, blender.render.resolution_y = options.width, options.height
    blender.render.image_settings.file_format = "PNG"
    blender.view_settings.view_transform = "Standard"
    blender.render.use_persistent_data = True
    for t in range(len(scene["vertices"])):
        path = options.folder / "frames" / f"{t:04d}.png"
        if not path.exists():
            move(person, scene["vertices"][t])
            move(thing, scene["object_vertices"][t])
            blender.render.filepath = str(path)
            bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    render(tyro.cli(Options, description=__doc__))
