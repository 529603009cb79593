"""A result as a MuJoCo scene (MJCF) with its motion as keyframes and as an npz of qpos.

World z up, metres, quaternions wxyz (MuJoCo's own). Every object is a body in the mesh's own frame: free,
with its pose as qpos, or a link on its parent's body by a hinge or slide, with its angle or way. MuJoCo collides convex hulls only, so a mesh that is not convex collides as if filled;
`convex` in the npz says which are (volume at least 95 % of their hull's). Mass is density times volume
(of the hull where the mesh is open).

A person is the SMPL-X tree of the person's own bone lengths: a free pelvis, 54 ball joints, capsules
without collisions. Body frames are the joint frames of SMPL-X, so qpos is the pelvis' place and the joint
rotations. It is a reference to look at or to track, not a controlled humanoid.
"""

import itertools
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bodies.kinematics import JOINT_NAMES, JOINT_PARENTS
from hoijax.errors import UserError
from hoijax.exporters.bvh import depth_first
from hoijax.exporters.clip import CLAYS, PERSON_COLORS, Clip, PersonClip, turned_clip
from hoijax.exporters.mujoco_looks import COLLIDING_GROUP, add_looks
from hoijax.exporters.options import ExportOptions
from hoijax.geometry.transforms import GRAVITY, Z_UP_FROM_Y_UP
from hoijax.objects.articulated.joints import FIXED, PRISMATIC, Joint
from hoijax.objects.asset import Asset
from hoijax.objects.colored_triangles import colored_triangles

DENSITY = 200.0
"""kg/m^3 of objects: furniture and boxes, mostly air."""
CONVEX_SHARE = 0.95
BONE_RADIUS, BONE_DENSITY = 0.02, 1000.0
SHORTEST_BONE = 0.005  # metres; a shorter one has only its joint's ball, which gives it mass


def save_mujoco(folder: str | Path, clip: Clip, *, density: float = DENSITY) -> list[Path]:
    """Write scene.xml, scene_object_N.obj for every object, what they look like, and scene_motion.npz into a folder.

    scene_motion.npz: qpos (T, nq) of scene.xml, body_names and joint_names in MuJoCo's order, fps,
    object_names, mass (kg), convex, density. The same
    rows are the model's keyframes, frame_0 and on. Raises UserError unless density is positive.
    """
    if not density > 0.0:
        raise UserError(f"a density must be positive, got {density}.")
    folder, clip = Path(folder), turned_clip(clip, Z_UP_FROM_Y_UP)
    root = ElementTree.Element("mujoco", model="hoijax")
    ElementTree.SubElement(root, "compiler", angle="radian", autolimits="true")
    ElementTree.SubElement(root, "option", timestep="0.002", gravity=f"0 0 {GRAVITY[1]}")
    headlight = {"ambient": "0.4 0.4 0.4", "diffuse": "0.4 0.4 0.4"}
    ElementTree.SubElement(ElementTree.SubElement(root, "visual"), "headlight", headlight)
    assets = ElementTree.SubElement(root, "asset")
    world = ElementTree.SubElement(root, "worldbody")
    ElementTree.SubElement(world, "light", pos="0 0 4", dir="0 0 -1")
    ElementTree.SubElement(world, "geom", name="floor", type="plane", size="10 10 0.1")
    for index, person in enumerate(clip.people):
        _add_person(world, person, index)
    scene, motion = folder / "scene.xml", folder / "scene_motion.npz"
    written, masses, convex = [], np.zeros(len(clip.assets)), np.zeros(len(clip.assets), bool)
    bodies: dict[int, ElementTree.Element] = {}
    for index, joint in objects_depth_first(clip):
        asset, name = clip.assets[index], f"scene_object_{index + 1}.obj"
        written.append(write_obj(folder / name, asset))
        volume, closed, convex[index] = _volume(asset)
        masses[index] = density * volume
        above = world if joint is None else bodies[joint.parent]
        bodies[index] = _add_object(assets, above, asset, index, (name, closed, masses[index]))
        _hang(bodies[index], f"object_{index + 1}", joint)
        if asset.appearance is not None:
            name = f"object_{index + 1}"
            written += add_looks(assets, bodies[index], name, asset.appearance, scene)
    _exclude_siblings(root, clip)
    qpos = motion_qpos(clip)
    keys = ElementTree.SubElement(root, "keyframe")
    for frame, row in enumerate(qpos):
        time = f"{frame / clip.fps:.9g}"
        ElementTree.SubElement(keys, "key", name=f"frame_{frame}", time=time, qpos=_text(row))
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(scene, encoding="utf-8", xml_declaration=True)
    arrays = {
        "qpos": qpos,
        "fps": np.asarray(clip.fps),
        "body_names": np.array([body.get("name", "") for body in world.iter("body")]),
        "joint_names": np.array(
            [e.get("name", "") for e in world.iter() if e.tag in ("joint", "freejoint")]
        ),
        "object_names": np.array([asset.name for asset in clip.assets], np.str_),
        "mass": masses,
        "convex": convex,
        "density": np.asarray(density),
    }
    np.savez_compressed(motion, **arrays)  # pyright: ignore[reportArgumentType]
    return [scene, motion, *written]


def motion_qpos(clip: Clip) -> Float[ndarray, "T nq"]:
    """Generalised positions of a z-up clip: people (7 + 54 * 4 each), then objects (7, or 1 on a joint).

    Joints follow each other as bodies do in the file: depth first.
    """
    from scipy.spatial.transform import Rotation

    def quaternions(rotations: Rotation) -> ndarray:
        return rotations.as_quat(scalar_first=True).reshape(clip.frame_count, -1)

    columns = [np.zeros((clip.frame_count, 0))]
    for person in clip.people:
        rest = np.asarray(person.shaped.joints_rest, np.float64)
        columns.append(rest[0] + person.translations.astype(np.float64))
        vectors = person.joint_rotations[:, depth_first()].astype(np.float64).reshape(-1, 3)
        columns.append(quaternions(Rotation.from_rotvec(vectors)))
    for index, joint in objects_depth_first(clip):
        poses = clip.Ts_world_object[index].astype(np.float64)
        if joint is None:
            columns += [poses[:, :3, 3], quaternions(Rotation.from_matrix(poses[:, :3, :3]))]
        elif joint.kind != FIXED:
            columns.append(joint_path(clip, joint)[:, None])
    return np.concatenate(columns, axis=1)


def objects_depth_first(clip: Clip) -> list[tuple[int, Joint | None]]:
    """Objects, each with the joint that it hangs on, in the order of MuJoCo's bodies."""
    hanging = {joint.child: joint for joint in clip.joints}
    ordered: list[tuple[int, Joint | None]] = []

    def add(index: int) -> None:
        ordered.append((index, hanging.get(index)))
        for child in sorted(c for c, joint in hanging.items() if joint.parent == index):
            add(child)

    for root in range(len(clip.assets)):
        if root not in hanging:
            add(root)
    return ordered


def joint_path(clip: Clip, joint: Joint) -> Float[ndarray, "T"]:
    """A joint's value in every frame by the poses of its links: radians without jumps, or metres."""
    from scipy.spatial.transform import Rotation

    T_parent_joint = np.asarray(joint.T_parent_joint, np.float64)
    T_world_joint = clip.Ts_world_object[joint.parent].astype(np.float64) @ T_parent_joint
    T_joint_child = np.linalg.inv(T_world_joint) @ clip.Ts_world_object[joint.child]
    axis = np.asarray(joint.axis, np.float64)
    if joint.kind == PRISMATIC:
        return T_joint_child[:, :3, 3] @ axis
    turns = Rotation.from_matrix(T_joint_child[:, :3, :3]).as_quat()
    return np.unwrap(2 * np.arctan2(turns[:, :3] @ axis, turns[:, 3]))


def _add_person(world: ElementTree.Element, person: PersonClip, index: int) -> None:
    rest = np.asarray(person.shaped.joints_rest, np.float64)
    color = _text([*PERSON_COLORS[index % len(PERSON_COLORS)], 1.0])
    bodies: list[ElementTree.Element] = []
    for joint, (name, parent) in enumerate(zip(JOINT_NAMES, JOINT_PARENTS, strict=True)):
        above = bodies[parent] if joint else world
        offset = rest[joint] - rest[parent] if joint else rest[0]
        name = f"person_{index + 1}_{name}"
        body = ElementTree.SubElement(above, "body", name=name, pos=_text(offset))
        bodies.append(body)
        if joint:
            ElementTree.SubElement(body, "joint", name=name, type="ball")
        else:
            ElementTree.SubElement(body, "freejoint", name=name)
        common = {"contype": "0", "conaffinity": "0", "rgba": color, "density": str(BONE_DENSITY)}
        ball = {"type": "sphere", "size": str(BONE_RADIUS / 2)}
        ElementTree.SubElement(body, "geom", common | ball)
        for child in np.flatnonzero(np.array(JOINT_PARENTS) == joint):
            bone = rest[child] - rest[joint]
            length = float(np.linalg.norm(bone))
            if length < SHORTEST_BONE:
                continue
            radius = f"{min(BONE_RADIUS, 0.25 * length):.6g}"
            ends = _text([0.0, 0.0, 0.0, *bone])
            capsule = {"type": "capsule", "fromto": ends, "size": radius}
            ElementTree.SubElement(body, "geom", common | capsule)


def _add_object(
    assets: ElementTree.Element,
    world: ElementTree.Element,
    asset: Asset,
    index: int,
    mesh: tuple[str, bool, float],
) -> ElementTree.Element:
    """An object's body, which collides. mesh: (file, is the surface closed, mass)."""
    file, closed, mass = mesh
    name = f"object_{index + 1}"
    inertia = "exact" if closed else "convex"
    ElementTree.SubElement(assets, "mesh", name=name, file=file, inertia=inertia)
    body = ElementTree.SubElement(world, "body", name=name)
    group = "0" if asset.appearance is None else COLLIDING_GROUP
    color = _text([*_mean_color(asset, index) ** (1 / 2.2), 1.0])
    geom = {"name": name, "type": "mesh", "mesh": name, "mass": f"{mass:.9g}", "rgba": color}
    ElementTree.SubElement(body, "geom", geom | {"group": group})
    ElementTree.SubElement(body, "site", name=f"{name}: {asset.name}", size="0.005")
    return body


def _hang(body: ElementTree.Element, name: str, joint: Joint | None) -> None:
    """Give a body its place in its parent and its joint: MuJoCo wants joints before geoms."""
    from scipy.spatial.transform import Rotation

    if joint is None:
        body.insert(0, ElementTree.Element("freejoint", name=name))
        return
    T_parent_joint = np.asarray(joint.T_parent_joint, np.float64)
    body.set("pos", _text(T_parent_joint[:3, 3]))
    turn = Rotation.from_matrix(T_parent_joint[:3, :3])
    body.set("quat", _text(turn.as_quat(scalar_first=True)))
    if joint.kind == FIXED:
        return
    kind = "slide" if joint.kind == PRISMATIC else "hinge"
    hinge = {"name": name, "type": kind, "axis": _text(joint.axis)}
    if np.isfinite([joint.lower, joint.upper]).all() and joint.lower < joint.upper:
        hinge["range"] = _text([joint.lower, joint.upper])
    body.insert(0, ElementTree.Element("joint", hinge))


def _exclude_siblings(root: ElementTree.Element, clip: Clip) -> None:
    """Links of one articulated object do not collide: their hulls are filled."""
    trees: list[list[int]] = []
    for index, joint in objects_depth_first(clip):
        if joint is None:
            trees.append([])
        trees[-1].append(index)
    pairs = [pair for tree in trees for pair in itertools.combinations(sorted(tree), 2)]
    if pairs:
        contact = ElementTree.SubElement(root, "contact")
        for a, b in pairs:
            bodies = {"body1": f"object_{a + 1}", "body2": f"object_{b + 1}"}
            ElementTree.SubElement(contact, "exclude", bodies)


def _mean_color(asset: Asset, index: int) -> Float[ndarray, "3"]:
    """Mean linear RGB over what the object's file shows; clay where it has no colors."""
    if asset.appearance is None:
        return np.array(CLAYS[index % len(CLAYS)])
    vertices, faces, colors = colored_triangles(asset.appearance)
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return areas @ colors / max(float(areas.sum()), 1e-12)


def _volume(asset: Asset) -> tuple[float, bool, bool]:
    """(volume in m^3: of the hull where the mesh is open, is it closed, is it convex)."""
    import trimesh

    mesh = trimesh.Trimesh(asset.vertices, asset.faces, process=True)
    hull = float(mesh.convex_hull.volume)
    closed = bool(mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0)
    volume = float(mesh.volume) if closed else hull
    return volume, closed, closed and volume >= CONVEX_SHARE * hull


def write_obj(path: Path, asset: Asset) -> Path:
    """Wavefront OBJ in the mesh's own frame; vertices of equal place are one, so that MuJoCo sees it closed."""
    vertices, inverse = np.unique(asset.vertices, axis=0, return_inverse=True)
    faces = inverse.reshape(-1)[asset.faces] + 1
    lines = [f"v {_text(vertex)}" for vertex in vertices.astype(np.float64)]
    lines += ["f " + " ".join(map(str, face)) for face in faces.tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path


def _text(values) -> str:
    return " ".join(f"{float(value):.9g}" for value in values)


FORMAT = "mjcf"


def write(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    """As `hoijax export --to mjcf` does."""
    return save_mujoco(folder, options.resampled(clip))
