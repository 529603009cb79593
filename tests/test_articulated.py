"""Articulated objects: kinematics against an independent twin, URDF files good and bad."""

import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scene_factory import FRAMES, make_scene
from scipy.spatial.transform import Rotation
from trimesh.visual import ColorVisuals

from hoijax.errors import UserError
from hoijax.losses.articulation import object_joint_limits, object_joint_smoothness
from hoijax.objects.articulated.loading import load_articulated
from hoijax.objects.articulated.model import assemble, pose_links
from hoijax.objects.articulated.shapes import ARTICULATED_OBJECTS
from hoijax.objects.asset import Asset
from hoijax.objects.colored_triangles import colored_triangles
from hoijax.scene.joints import ObjectJoints
from hoijax.scene.posed import pose_scene

ARM = """<?xml version="1.0"?>
<robot name="arm">
  <link name="tip"><visual><origin xyz="0 0 0.1"/><geometry><sphere radius="0.02"/></geometry></visual></link>
  <link name="stand"><collision><geometry><box size="0.2 0.2 0.1"/></geometry></collision></link>
  <link name="mount"/>
  <link name="rod">
    <visual><origin xyz="0.1 0 0" rpy="0 1.5707963 0"/><geometry><cylinder radius="0.02" length="0.2"/></geometry></visual>
  </link>
  <joint name="push" type="prismatic">
    <parent link="rod"/><child link="tip"/><origin xyz="0.2 0 0" rpy="0.3 -0.2 0.5"/>
    <axis xyz="1 2 0"/><limit lower="-0.1" upper="0.2" effort="1" velocity="1"/>
  </joint>
  <joint name="spin" type="continuous">
    <parent link="mount"/><child link="rod"/><origin rpy="0 0 1"/><axis xyz="0 1 1"/>
  </joint>
  <joint name="bolt" type="fixed">
    <parent link="stand"/><child link="mount"/><origin xyz="0 0 0.05"/>
  </joint>
</robot>
"""


def write(folder, text, name="thing.urdf"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    return load_articulated(write(tmp_path_factory.mktemp("arm"), ARM), samples=200)


def twin(asset, values, T_world_asset):
    """Ts_world_link by scipy rotations, recursively from each link to the root."""
    moving = [joint.name for joint in asset.joints if joint.kind != "fixed"]
    by_name = dict(zip(moving, values, strict=True))
    joint_of = {joint.child: joint for joint in asset.joints}

    def world(link):
        if link == 0:
            return T_world_asset @ asset.T_asset_root
        joint = joint_of[link]
        motion = np.eye(4)
        if joint.kind == "revolute":
            motion[:3, :3] = Rotation.from_rotvec(joint.axis * by_name[joint.name]).as_matrix()
        elif joint.kind == "prismatic":
            motion[:3, 3] = joint.axis * by_name[joint.name]
        return world(joint.parent) @ joint.T_parent_joint @ motion

    return np.stack([world(link) for link in range(len(asset.links))])


def test_forward_kinematics_of_a_urdf(arm, rng):
    assert arm.link_names == ("stand", "mount", "rod", "tip")
    assert [joint.name for joint in arm.joints] == ["bolt", "spin", "push"]
    assert arm.links[1] is None
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix(), (0.3, -1.0, 2.0)
    values = rng.normal(size=(5, 2))
    pose = jax.jit(jax.vmap(lambda v: pose_links(arm.tree(), v, T.astype(np.float32))))
    ours = pose(jnp.asarray(values, jnp.float32))
    for mine, value in zip(np.asarray(ours), values, strict=True):
        np.testing.assert_allclose(mine, twin(arm, value, T), atol=2e-6)
    slope = jax.jit(jax.jacfwd(lambda v: pose_links(arm.tree(), v, T.astype(np.float32))[3, :3, 3]))
    expected = [
        (twin(arm, values[0] + s, T) - twin(arm, values[0] - s, T))[3, :3, 3] / 2e-6
        for s in 1e-6 * np.eye(2)
    ]
    np.testing.assert_allclose(
        slope(jnp.asarray(values[0], jnp.float32)), np.stack(expected, -1), atol=1e-4
    )


def test_urdf_axes_limits_and_surfaces(arm):
    tree = arm.tree()
    np.testing.assert_allclose(tree.lower, [-np.inf, -0.1])
    np.testing.assert_allclose(tree.upper, [np.inf, 0.2])
    Ts = pose_links(tree, jnp.zeros(2), jnp.eye(4))
    # The stand is 0.1 high along URDF's z, which is y here; the mount sits on top of it.
    np.testing.assert_allclose(Ts[1, :3, 3], [0.0, 0.05, 0.0], atol=1e-6)
    stand, _, rod, tip = arm.links
    np.testing.assert_allclose(stand.extents, [0.2, 0.2, 0.1], atol=1e-6)
    np.testing.assert_allclose(rod.center, [0.1, 0.0, 0.0], atol=1e-3)
    np.testing.assert_allclose(rod.extents, [0.2, 0.04, 0.04], atol=2e-3)
    np.testing.assert_allclose(tip.center, [0.0, 0.0, 0.1], atol=1e-3)


@pytest.mark.parametrize("name", sorted(ARTICULATED_OBJECTS))
def test_shipped_objects(name):
    asset = load_articulated(name, samples=300)
    tree = asset.tree()
    assert len(asset.links) == 2
    low, high = asset.joints[0].lower, asset.joints[0].upper
    assert low == 0.0 < high
    clouds = []
    for value in (low, high):
        Ts = np.asarray(pose_links(tree, jnp.full(1, value), jnp.eye(4)))
        points = [
            link.vertices @ T[:3, :3].T + T[:3, 3] for link, T in zip(asset.links, Ts, strict=True)
        ]
        clouds.append(points)
        assert np.concatenate(points)[:, 1].min() > -2e-3  # never below the ground
    assert np.abs(clouds[0][0] - clouds[1][0]).max() == 0.0  # the root stays
    assert np.linalg.norm(clouds[0][1] - clouds[1][1], axis=1).max() > 0.05


def test_open_laptop_stands_up():
    asset = load_articulated("laptop", samples=100)
    Ts = np.asarray(pose_links(asset.tree(), jnp.array([np.pi / 2]), jnp.eye(4)))
    lid = asset.links[1].vertices @ Ts[1, :3, :3].T + Ts[1, :3, 3]
    assert lid[:, 1].max() > 0.23
    assert np.ptp(lid[:, 2]) < 0.02


def test_limit_and_smoothness_terms(rng):
    values = rng.normal(size=(3, FRAMES)).astype(np.float32)
    values[2, 0] = 5.0
    lower, upper = (
        np.array([-0.5, -np.inf, 0.0], np.float32),
        np.array([0.5, np.inf, 1.0], np.float32),
    )
    levers = np.array([0.5, 2.0, 1.0], np.float32)
    made, none = make_scene(), jnp.zeros((3, 3))
    joints = ObjectJoints(
        jnp.zeros((3, 4, 4)), none, *map(jnp.asarray, (lower, upper, levers)), (), (), ()
    )
    here = pose_scene(made.scene.replace(joints=joints), made.unknowns, made.neighbors)

    def posed(values):
        return here.replace(joint_values=jnp.asarray(values))

    twin = np.zeros((3, FRAMES))
    bends = np.zeros((3, FRAMES))
    for d in range(3):
        for t in range(FRAMES):
            x = values[d, t]
            twin[d, t] = max(lower[d] - x, 0, x - upper[d]) ** 2
            if 0 < t < FRAMES - 1:
                bend = x - (values[d, t + 1] + values[d, t - 1]) / 2
                bends[d, t] = (levers[d] * bend) ** 2
    for function, expected in (
        (object_joint_limits, twin),
        (object_joint_smoothness, bends),
    ):
        found, mask = function(posed(jnp.asarray(values)))
        np.testing.assert_allclose(np.where(mask, found, 0.0), expected, atol=1e-4)

        def total(v, function=function):
            found, mask = function(posed(v))
            return jnp.sum(jnp.where(mask, found, 0.0))

        slope = jax.grad(total)(jnp.asarray(values))
        assert np.isfinite(slope).all()
        direction = rng.normal(size=values.shape).astype(np.float32)
        step = 1e-3
        difference = (total(values + step * direction) - total(values - step * direction)) / (
            2 * step
        )
        np.testing.assert_allclose(np.sum(slope * direction), difference, rtol=5e-3)
    assert (
        float(object_joint_limits(posed(jnp.asarray(values)))[0][1].max()) == 0.0
    )  # no limits, no cost


def refused(folder, text) -> str:
    with pytest.raises(UserError) as error:
        load_articulated(write(folder, text))
    return str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("<robot name", "<!DOCTYPE robot [<!ENTITY x 'y'>]><robot name", "entities are not read"),
        ("</robot>", "", "not well-formed"),
        ("<robot name=\"arm\">", "<robot name=\"arm\"><link name=\"tip\"/>", "two links are called 'tip'"),
        ('child link="tip"', 'child link="nowhere"', "names link 'nowhere'"),
        ('type="prismatic"', 'type="planar"', "of type 'planar'"),
        ('axis xyz="1 2 0"', 'axis xyz="0 0 0"', "axis of length zero"),
        ('axis xyz="1 2 0"', 'axis xyz="1 2"', "expected 3 finite numbers"),
        ('lower="-0.1"', 'lower="nan"', "expected 1 finite numbers"),
        ('lower="-0.1"', 'lower="1.0"', "limits 1.0 to 0.2"),
        ('radius="0.02" length', 'radius="-1" length', "must be positive"),
        ('parent link="stand"', 'parent link="tip"', "in a loop"),
        ('<link name="mount"/>', '<link name="mount"/><link name="loose"/>', "one root link"),
        ('<sphere radius="0.02"/>', '<mesh filename="../secret.obj"/>', "outside the folder"),
        ('<sphere radius="0.02"/>', '<mesh filename="/etc/passwd"/>', "not a path relative"),
        ('<sphere radius="0.02"/>', '<mesh filename="https://x.org/a.obj"/>', "not a path relative"),
        ('<sphere radius="0.02"/>', '<mesh filename="package://../../a.obj"/>', "outside the folder"),
        ('<sphere radius="0.02"/>', '<mesh filename="none.obj"/>', "does not exist"),
        ('<sphere radius="0.02"/>', '<torus radius="1"/>', "geometry <torus>"),
    ],
)  # fmt: skip
def test_bad_urdf_is_refused_by_name(tmp_path, old, new, expected):
    assert old in ARM
    assert expected in refused(tmp_path, ARM.replace(old, new, 1))


def test_links_out_of_the_folder_are_refused(tmp_path):
    import trimesh

    (tmp_path / "inside").mkdir()
    trimesh.creation.box((1, 1, 1)).export(tmp_path / "outside.obj")
    (tmp_path / "inside" / "link.obj").symlink_to(tmp_path / "outside.obj")
    text = ARM.replace('<sphere radius="0.02"/>', '<mesh filename="link.obj"/>')
    assert "outside the folder" in refused(tmp_path / "inside", text)


def test_meshes_beside_the_file_are_read_and_scaled(tmp_path):
    import trimesh

    (tmp_path / "meshes").mkdir()
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "meshes" / "box.obj")
    text = ARM.replace(
        '<sphere radius="0.02"/>',
        '<mesh filename="package://any/meshes/box.obj" scale="0.1 0.1 0.1"/>',
    )
    asset = load_articulated(write(tmp_path, text), samples=100)
    np.testing.assert_allclose(asset.links[3].extents, [0.1, 0.2, 0.3], atol=1e-6)


def test_what_is_no_articulated_object(tmp_path):
    with pytest.raises(UserError, match="laptop"):
        load_articulated(tmp_path / "nowhere.urdf")
    (tmp_path / "mesh.glb").write_bytes(b"glTF")
    with pytest.raises(UserError, match="not a readable glb"):
        load_articulated(tmp_path / "mesh.glb")
    (tmp_path / "mesh.obj").write_bytes(b"v 0 0 0")
    with pytest.raises(UserError, match=r"\.urdf and \.glb"):
        load_articulated(tmp_path / "mesh.obj")
    (tmp_path / "utf16.urdf").write_bytes(ARM.encode("utf-16"))
    with pytest.raises(UserError, match="UTF-8"):
        load_articulated(tmp_path / "utf16.urdf")


def test_a_loop_is_refused():
    box: dict[str, Asset | None] = dict.fromkeys(("a", "b", "c"))
    T, axis = np.eye(4), np.array([1.0, 0.0, 0.0])
    joints = [
        ("x", "fixed", "b", "c", T, axis, (0.0, 0.0)),
        ("y", "fixed", "c", "b", T, axis, (0.0, 0.0)),
    ]
    with pytest.raises(UserError, match="loop"):
        assemble("ring", box, joints)


def lid_glb(path, joint, scale=None):
    """A box with a lid on a turned hinge, written by trimesh; the joint goes into the file's JSON by hand."""
    import trimesh

    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_euler("y", 0.5).as_matrix(), (0.0, 0.1, -0.2)
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box((0.4, 0.2, 0.4)), node_name="case", geom_name="case")
    lid = trimesh.creation.box((0.4, 0.02, 0.4))
    lid.apply_translation((0.0, 0.01, 0.2))
    scene.add_geometry(lid, node_name="lid", geom_name="lid", transform=T)
    data = scene.export(file_type="glb")
    (length,) = struct.unpack_from("<I", data, 12)
    content = json.loads(data[20 : 20 + length])
    for node in content["nodes"]:
        if node.get("name") == "lid":
            node["extras"] = {"joint": joint}
            if scale:
                node["matrix"] = (np.asarray(node["matrix"]) * scale).tolist()
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    head = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
    path.write_bytes(head + text + rest)
    return T


def test_a_glb_with_a_joint(tmp_path):
    joint = {"type": "revolute", "axis": [-2, 0, 0], "lower": 0.0, "upper": 1.5}
    T = lid_glb(tmp_path / "chest.glb", joint)
    asset = load_articulated(tmp_path / "chest.glb", samples=100)
    assert asset.link_names == ("root", "lid")
    np.testing.assert_allclose(asset.joints[0].T_parent_joint, T, atol=1e-6)
    np.testing.assert_allclose(asset.joints[0].axis, [-1, 0, 0])
    assert asset.links[1] is not None
    np.testing.assert_allclose(asset.links[1].center, [0.0, 0.01, 0.2], atol=1e-6)
    found = pose_links(asset.tree(), jnp.array([0.9]), jnp.eye(4))
    np.testing.assert_allclose(found, twin(asset, [0.9], np.eye(4)), atol=1e-6)


def test_bad_joints_of_a_glb(tmp_path):
    for joint, scale, expected in (
        ({"type": "ball"}, None, "is ball"),
        ({"type": "revolute", "axis": [1, 2]}, None, "three numbers"),
        ({"type": "revolute", "lower": 2, "upper": 1}, None, "limits 2.0 to 1.0"),
        ({"type": "revolute"}, 2.0, "scaled or sheared"),
        ("revolute", None, "no joints"),
    ):
        lid_glb(tmp_path / "chest.glb", joint, scale)
        with pytest.raises(UserError, match=expected):
            load_articulated(tmp_path / "chest.glb")


def test_links_of_a_urdf_keep_their_materials(tmp_path):
    """By name, in place, from a mesh file; a robot that names no color has none."""
    painted = trimesh.creation.box((0.1, 0.1, 0.1))
    painted.visual = ColorVisuals(painted, vertex_colors=np.tile([0, 255, 0, 255], (8, 1)))
    painted.export(tmp_path / "green.ply")
    text = ARM.replace(
        '<link name="mount"/>',
        '<material name="sky"><color rgba="0 0 1 1"/></material><link name="mount"/>',
    )
    text = text.replace(
        '<sphere radius="0.02"/></geometry>',
        '<mesh filename="green.ply" scale="2 2 2"/></geometry>',
    )
    text = text.replace(
        'radius="0.02" length="0.2"/></geometry>',
        'radius="0.02" length="0.2"/></geometry><material name="sky"/>',
    )
    text = text.replace(
        '<box size="0.2 0.2 0.1"/></geometry>',
        '<box size="0.2 0.2 0.1"/></geometry><material name=""><color rgba="1 0.5 0 1"/></material>',
    )
    links = {link.name: link for link in load_articulated(write(tmp_path, text)).links if link}
    for name, color in (("tip", (0, 1, 0)), ("rod", (0, 0, 1)), ("stand", (1, 0.214, 0))):
        vertices, faces, colors = colored_triangles(links[name].appearance)
        np.testing.assert_allclose(colors, np.tile(color, (len(faces), 1)), atol=0.01)
        for edge in (np.min, np.max):
            expected = edge(links[name].vertices, axis=0)
            np.testing.assert_allclose(edge(vertices, axis=0), expected, atol=1e-6)
    bare = load_articulated(write(tmp_path, ARM, "bare.urdf"))
    assert all(link.appearance is None for link in bare.links if link)
    with pytest.raises(UserError, match="not a color"):
        load_articulated(write(tmp_path, text.replace("0 0 1 1", "blue"), "bad.urdf"))
