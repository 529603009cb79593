"""URDF files: links, joints and meshes of an articulated object. The file is data and is trusted with nothing.

No document type, no entities (so no expansion, no external files), and meshes only from the folder the file
is in, below it, after links are resolved.
"""

import dataclasses
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hoijax.errors import UserError
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP
from hoijax.objects.articulated.joints import FIXED, KINDS, REVOLUTE
from hoijax.objects.articulated.looks import (
    Colors,
    Shape,
    link_appearance,
    material_color,
    named_colors,
)
from hoijax.objects.articulated.model import ArticulatedAsset, assemble
from hoijax.objects.asset import Asset, asset_from_arrays, check_mesh
from hoijax.objects.mesh_files import orient_outward, read_mesh

LARGEST_FILE = 8 * 2**20
LARGEST_TREE = 256


def read_urdf(path: Path, *, samples: int = 2048) -> ArticulatedAsset:
    """Links, joints and meshes of a URDF file, turned from its z-up axes to y up.

    Visual geometry is read where there is any, else collision geometry: mesh, box, cylinder, sphere; with
    the colors of its materials, or those of the mesh files where it names none.
    "continuous" joints become revolute ones without limits. Raises UserError for anything unsafe, missing
    or unsupported (planar, floating and mimic joints), with the element's name.
    """
    robot = _parse(path)
    links: dict[str, Asset | None] = {}
    colors = named_colors(robot, str(path))
    for element in robot.findall("link"):
        name = _name(element, path, "link")
        if name in links:
            raise UserError(f"{path}: two links are called '{name}'")
        links[name] = _read_link(element, name, path, samples, colors)
    if len(links) > LARGEST_TREE:
        raise UserError(f"{path}: {len(links)} links; at most {LARGEST_TREE} are read")
    joints = [_read_joint(element, path) for element in robot.findall("joint")]
    T_asset_root = np.eye(4)
    T_asset_root[:3, :3] = Z_UP_FROM_Y_UP.T
    name = robot.get("name") or path.stem
    return assemble(name, links, joints, T_asset_root, where=str(path))


def _parse(path: Path) -> ElementTree.Element:
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(
            f"{path}: larger than {LARGEST_FILE // 2**20} MB; this is no URDF of an object"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a UTF-8 text file; save the URDF as UTF-8") from error
    if "<!doctype" in text.lower() or "<!entity" in text.lower():
        raise UserError(
            f"{path}: document types and entities are not read; remove the <!DOCTYPE ...> part"
        )
    try:
        robot = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: not well-formed XML ({error})") from error
    if robot.tag != "robot":
        raise UserError(f"{path}: the outermost element is <{robot.tag}>, a URDF file has <robot>")
    return robot


def _name(element: ElementTree.Element, path: Path, what: str) -> str:
    name = element.get("name")
    if not name:
        raise UserError(f"{path}: a <{what}> has no name")
    return name


def _numbers(text: str | None, count: int, default: Sequence[float], where: str) -> np.ndarray:
    if text is None:
        return np.array(default, np.float64)
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError as error:
        raise UserError(f"{where}: '{text}' is not a list of numbers") from error
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise UserError(f"{where}: expected {count} finite numbers, found '{text}'")
    return numbers


def _origin(element: ElementTree.Element, where: str) -> np.ndarray:
    """T_outer_inner of an element's <origin>: roll, pitch, yaw about fixed axes, then xyz."""
    origin = element.find("origin")
    T = np.eye(4)
    if origin is None:
        return T
    roll, pitch, yaw = _numbers(origin.get("rpy"), 3, (0.0, 0.0, 0.0), f"{where}, origin rpy")
    c, s = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    about_x = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
    about_y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
    about_z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
    T[:3, :3] = about_z @ about_y @ about_x
    T[:3, 3] = _numbers(origin.get("xyz"), 3, (0.0, 0.0, 0.0), f"{where}, origin xyz")
    return T


def _read_joint(element: ElementTree.Element, path: Path) -> tuple:
    name = _name(element, path, "joint")
    where = f"{path}: joint '{name}'"
    kind = element.get("type", "")
    if element.find("mimic") is not None:
        raise UserError(f"{where} mimics another joint, which is not supported; remove <mimic>")
    ends = []
    for end in ("parent", "child"):
        tag = element.find(end)
        link = None if tag is None else tag.get("link")
        if not link:
            raise UserError(f"{where} has no <{end} link=...>")
        ends.append(link)
    axis_element, limit = element.find("axis"), element.find("limit")
    text = None if axis_element is None else axis_element.get("xyz")
    axis = _numbers(text, 3, (1.0, 0.0, 0.0), f"{where}, axis")
    limits = (-np.inf, np.inf)
    if kind == "continuous":
        kind = REVOLUTE
    elif kind not in KINDS:
        raise UserError(
            f"{where} is of type '{kind}'; supported are {', '.join(KINDS)}, continuous"
        )
    elif kind != FIXED:
        if limit is None:
            raise UserError(f"{where} has no <limit lower=... upper=...>")
        limits = tuple(
            float(_numbers(limit.get(key), 1, (0.0,), f"{where}, limit {key}")[0])
            for key in ("lower", "upper")
        )
    return name, kind, *ends, _origin(element, where), axis, limits


def _read_link(
    element: ElementTree.Element, name: str, path: Path, samples: int, colors: Colors
) -> Asset | None:
    where = f"{path}: link '{name}'"
    elements = element.findall("visual") or element.findall("collision")
    shapes = [_read_shape(shape, path, where, colors) for shape in elements]
    if not shapes:
        return None
    starts = np.cumsum([0] + [len(shape.vertices) for shape in shapes[:-1]])
    merged = np.concatenate([shape.vertices for shape in shapes])
    faces = [shape.faces + start for shape, start in zip(shapes, starts, strict=True)]
    merged_faces = np.concatenate(faces)
    check_mesh(merged, merged_faces, where)
    merged_faces = orient_outward(merged, merged_faces)
    asset = asset_from_arrays(name, merged, merged_faces, samples=samples, where=where)
    return dataclasses.replace(asset, appearance=link_appearance(shapes))


def _read_shape(element: ElementTree.Element, path: Path, where: str, colors: Colors) -> Shape:
    vertices, faces, file, scale = _read_geometry(element.find("geometry"), path, where)
    T = _origin(element, where)
    color = material_color(element.find("material"), colors, where)
    T_link_file = T @ np.diag([*scale, 1.0])
    return Shape(vertices @ T[:3, :3].T + T[:3, 3], faces, color, file, T_link_file)


def _read_geometry(
    geometry: ElementTree.Element | None, path: Path, where: str
) -> tuple[np.ndarray, np.ndarray, Path | None, np.ndarray]:
    """Vertices and faces, and of a mesh its file and scale."""
    import trimesh

    shape = None if geometry is None or len(geometry) == 0 else geometry[0]
    if shape is None:
        raise UserError(f"{where} has a visual or collision without <geometry>")
    if shape.tag == "mesh":
        file = mesh_path(shape.get("filename", ""), path, where)
        vertices, faces, _, _ = read_mesh(file)
        scale = _numbers(shape.get("scale"), 3, (1.0, 1.0, 1.0), f"{where}, mesh scale")
        return vertices * scale, faces if np.prod(scale) > 0 else faces[:, ::-1], file, scale
    keys = {"box": ("size",), "cylinder": ("radius", "length"), "sphere": ("radius",)}
    if shape.tag not in keys:
        raise UserError(f"{where}: geometry <{shape.tag}>; supported are mesh, {', '.join(keys)}")
    sizes = []
    for key in keys[shape.tag]:
        count = 3 if key == "size" else 1
        sizes.append(_numbers(shape.get(key), count, (0.0,) * count, f"{where}, {shape.tag} {key}"))
        if sizes[-1].min() <= 0.0:
            raise UserError(f"{where}: the {key} of a {shape.tag} must be positive")
    if shape.tag == "box":
        mesh = trimesh.creation.box(sizes[0])
    elif shape.tag == "cylinder":
        mesh = trimesh.creation.cylinder(radius=float(sizes[0][0]), height=float(sizes[1][0]))
    else:
        mesh = trimesh.creation.icosphere(subdivisions=3, radius=float(sizes[0][0]))
    return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64), None, np.ones(3)


def mesh_path(filename: str, urdf: Path, where: str) -> Path:
    """The mesh file a URDF names, in the URDF's folder or below; UserError for any other place.

    "package://NAME/rest" is read as "rest" in that folder.
    """
    folder = urdf.resolve().parent
    rest = filename
    if filename.startswith("package://"):
        rest = filename.removeprefix("package://").partition("/")[2]
    if not rest or "://" in rest or "\\" in rest or "\0" in rest or Path(rest).is_absolute():
        raise UserError(f"{where}: mesh '{filename}' is not a path relative to the URDF file")
    path = (folder / rest).resolve()
    if not path.is_relative_to(folder):
        raise UserError(
            f"{where}: mesh '{filename}' lies outside the folder of the URDF file; copy it there"
        )
    if not path.is_file():
        raise UserError(f"{where}: mesh '{filename}' does not exist ({path})")
    return path
