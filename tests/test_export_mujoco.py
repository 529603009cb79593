"""MuJoCo itself loads the scene and, frame by frame, puts every body where we have it."""

import dataclasses
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import trimesh
from export_scene import FPS, FRAMES, export_clip, vertices_world
from PIL import Image
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

from hoijax.bodies.skinned_body import JOINT_NAMES
from hoijax.errors import UserError
from hoijax.exporters.clip import Clip
from hoijax.exporters.mujoco import save_mujoco
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP, compose_rigid
from hoijax.initialization.joints.hold import joint_motion
from hoijax.objects.articulated.loading import load_articulated
from hoijax.objects.asset import load_asset
from priors.synthetic.articulated_scenes import scene_objects

mujoco = pytest.importorskip("mujoco", reason="pip install 'hoijax[export]'")
TURN = Z_UP_FROM_Y_UP.astype(np.float64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mjcf")
    save_mujoco(folder, export_clip(), density=300.0)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return mujoco.MjModel.from_xml_path(str(folder / "scene.xml"))


def test_every_keyframe_poses_joints_and_objects_as_we_do(folder, model):
    clip, data = export_clip(), mujoco.MjData(model)
    with np.load(folder / "scene_motion.npz", allow_pickle=False) as motion:
        qpos, fps = motion["qpos"], float(motion["fps"])
        joints, bodies = motion["joint_names"].tolist(), motion["body_names"].tolist()
    assert joints == [model.joint(j).name for j in range(model.njnt)]
    assert bodies == [model.body(b).name for b in range(1, model.nbody)]
    assert (model.nkey, len(qpos), fps) == (FRAMES, FRAMES, FPS)
    bodies = [model.body(f"person_1_{name}").id for name in JOINT_NAMES]
    things = [model.body(f"object_{o + 1}").id for o in range(2)]
    for frame in range(FRAMES):
        mujoco.mj_resetDataKeyframe(model, data, frame)
        np.testing.assert_allclose(data.qpos, qpos[frame], atol=1e-7)
        np.testing.assert_allclose(data.time, frame / FPS, atol=1e-7)
        mujoco.mj_forward(model, data)
        ours = np.concatenate(
            [clip.people[0].Ts_world_joint[frame], clip.Ts_world_object[:, frame]]
        )
        found = data.xpos[bodies + things], data.xmat[bodies + things].reshape(-1, 3, 3)
        np.testing.assert_allclose(found[0], ours[:, :3, 3] @ TURN.T, atol=1e-5)
        np.testing.assert_allclose(found[1], TURN @ ours[:, :3, :3], atol=1e-5)


def test_surfaces_are_where_the_meshes_are(folder, model):
    """MuJoCo moves meshes to their centers of mass: vertices go through its own geom frames."""
    clip, data = export_clip(), mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 2)
    mujoco.mj_forward(model, data)
    for o in range(2):
        geom, mesh = model.geom(f"object_{o + 1}").id, model.mesh(f"object_{o + 1}").id
        start, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        vertices = model.mesh_vert[start : start + count].astype(np.float64)
        world = vertices @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
        expected = vertices_world(clip, o, 2) @ TURN.T
        assert KDTree(expected).query(world)[0].max() < 1e-5
        assert KDTree(world).query(expected)[0].max() < 1e-5


def test_mass_is_density_times_volume(folder, model):
    box = export_clip().assets[0]
    with np.load(folder / "scene_motion.npz") as motion:
        mass, convex, names = motion["mass"], motion["convex"], motion["object_names"]
    assert names.tolist() == ["box", "chair"]
    assert convex.tolist() == [True, False]
    expected = 300.0 * np.prod(box.extents)
    assert mass[0] == pytest.approx(expected, rel=0.02)
    for o in range(2):
        assert model.body(f"object_{o + 1}").mass[0] == pytest.approx(mass[o], rel=1e-6)


def test_objects_fall_onto_the_floor_and_stay_there(model):
    """The dynamics make sense: z is up and the hulls collide with the ground."""
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    start = data.body("object_2").xpos[2]
    for _ in range(750):
        mujoco.mj_step(model, data)
    assert np.isfinite(data.qpos).all()
    assert -0.1 < data.body("object_2").xpos[2] < max(start, 1.2)


def test_names_with_markup_do_no_harm(tmp_path):
    clip = export_clip()
    odd = dataclasses.replace(clip.assets[0], name='a "box" <&> ../x')
    paths = save_mujoco(tmp_path, dataclasses.replace(clip, assets=(odd, clip.assets[1])))
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir())
    ElementTree.parse(tmp_path / "scene.xml")
    mujoco.MjModel.from_xml_path(str(tmp_path / "scene.xml"))
    with pytest.raises(UserError, match="density"):
        save_mujoco(tmp_path, clip, density=0.0)


def jointed_clip() -> Clip:
    """A laptop that turns while its lid opens by more than half a turn, and a drawer that slides."""
    pieces = [scene_objects(load_articulated(name, samples=64)) for name in ("laptop", "drawer")]
    assets, joints, values, poses = [], [], [], []
    for o, (objects, links) in enumerate(pieces):
        start = len(assets)
        turn = Rotation.from_rotvec(np.outer(np.linspace(0, 1, FRAMES), [0.3, 1.0, 0.2]))
        T_world_root = compose_rigid(turn.as_matrix(), np.tile([o, 0.5, 0.3], (FRAMES, 1)))
        amounts = np.linspace(0.1, 4.0 if o == 0 else 0.3, FRAMES)
        (joint,) = links
        assets += objects
        poses += [T_world_root, T_world_root @ joint_motion(joint, amounts)]
        values.append(amounts)
        ends = {"parent": joint.parent + start, "child": joint.child + start}
        joints.append(dataclasses.replace(joint, **ends))
    return Clip(
        FPS, (), tuple(assets), np.stack(poses).astype(np.float32), tuple(joints), np.stack(values)
    )


def test_joints_are_hinges_and_slides(tmp_path):
    clip = jointed_clip()
    assert clip.joint_values is not None
    save_mujoco(tmp_path, clip)
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "scene.xml"))
    kinds = [mujoco.mjtJoint(kind).name for kind in model.jnt_type]
    assert kinds == ["mjJNT_FREE", "mjJNT_HINGE", "mjJNT_FREE", "mjJNT_SLIDE"]
    assert model.nq == 2 * 7 + 2
    data = mujoco.MjData(model)
    bodies = [model.body(f"object_{o + 1}").id for o in range(4)]
    for frame in range(FRAMES):
        mujoco.mj_resetDataKeyframe(model, data, frame)
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(data.qpos[[7, 15]], clip.joint_values[:, frame], atol=1e-5)
        poses = clip.Ts_world_object[:, frame]
        np.testing.assert_allclose(data.xpos[bodies], poses[:, :3, 3] @ TURN.T, atol=1e-5)
        matrices = data.xmat[bodies].reshape(-1, 3, 3)
        np.testing.assert_allclose(matrices, TURN @ poses[:, :3, :3], atol=1e-5)
        assert not data.ncon  # a drawer inside the filled hull of its frame pushes nothing


def test_objects_show_their_textures_and_collide_as_before(tmp_path):
    """A texture, one color and colors of vertices: MuJoCo's own lookup gives the colors back."""
    quad = np.array([[0, 0, 0], [0.4, 0, 0], [0.4, 0.4, 0], [0, 0.4, 0]], float)
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0], image[1, 1] = (255, 0, 0), (0, 0, 255)  # upper left red, lower right blue
    scene = trimesh.Scene()
    material = PBRMaterial(baseColorTexture=Image.fromarray(image))
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    textured = trimesh.Trimesh(quad, [[0, 1, 2], [0, 2, 3]], process=False)
    textured.visual = TextureVisuals(uv, material=material)
    painted = trimesh.Trimesh(quad + np.array([0, 0, 0.4]), [[0, 1, 2], [0, 2, 3]], process=False)
    painted.visual = ColorVisuals(painted, vertex_colors=[[0, 128, 0, 255]] * 4)
    box = trimesh.creation.box((0.2, 0.2, 0.2))
    box.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=[255, 255, 0, 255]))
    for name, mesh in (("sheet", textured), ("leaf", painted), ("body", box)):
        scene.add_geometry(mesh, geom_name=name)
    path = tmp_path / "cube.glb"
    path.write_bytes(scene.export(file_type="glb"))
    poses = np.tile(np.eye(4, dtype=np.float32), (1, 2, 1, 1))
    clip = Clip(FPS, (), (load_asset(path, has_appearance=True),), poses)
    (tmp_path / "out").mkdir()
    files = {file.name for file in save_mujoco(tmp_path / "out", clip)}
    assert files == {file.name for file in (tmp_path / "out").iterdir()}
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "out" / "scene.xml"))
    assert model.ntex == 2
    corners = {(0.0, 0.4): (255, 0, 0), (0.4, 0.0): (0, 0, 255), (0.0, 0.0): (0, 0, 0)}
    assert _texels(model, "object_1_look_1", quad) == pytest.approx(
        np.array([corners.get((x, y), (0, 0, 0)) for x, y, _ in quad])
    )
    green = 255 * (128 / 255) ** (1 / 2.2)
    leaf = _texels(model, "object_1_look_2", quad + np.array([0, 0, 0.4]))
    assert leaf == pytest.approx(np.tile([0, green, 0], (4, 1)), abs=2)
    assert model.mat("object_1_look_3").rgba[:3] == pytest.approx([1, 1, 0])
    shown = [model.geom(f"object_1_look_{k}") for k in (1, 2, 3)]
    assert not any(int(geom.contype[0]) or int(geom.conaffinity[0]) for geom in shown)
    assert int(model.geom("object_1").contype[0]) == 1
    with np.load(tmp_path / "out" / "scene_motion.npz") as motion:
        assert model.body("object_1").mass[0] == pytest.approx(motion["mass"][0], rel=1e-6)


def _texels(model, name: str, points: np.ndarray) -> np.ndarray:
    """The texture's color at each of a mesh's points, by the arrays that MuJoCo renders from."""
    mesh, texture = model.mesh(name), model.tex(name)
    vertices = model.mesh_vert[mesh.vertadr[0] :][: mesh.vertnum[0]].astype(np.float64)
    R = Rotation.from_quat(model.mesh_quat[mesh.id], scalar_first=True).as_matrix()
    vertices = vertices @ R.T + model.mesh_pos[mesh.id]
    rows = slice(mesh.faceadr[0], mesh.faceadr[0] + mesh.facenum[0])
    corners, uv_corners = model.mesh_face[rows].ravel(), model.mesh_facetexcoord[rows].ravel()
    uv = model.mesh_texcoord[mesh.texcoordadr[0] :][uv_corners]
    wide, tall, channels = int(texture.width[0]), int(texture.height[0]), int(texture.nchannel[0])
    pixels = model.tex_data[texture.adr[0] :][: wide * tall * channels]
    pixels = pixels.reshape(tall, wide, channels)
    column = np.clip(uv[:, 0] * wide, 0, wide - 1).astype(int)
    row = np.clip(uv[:, 1] * tall, 0, tall - 1).astype(int)
    nearest = KDTree(vertices[corners]).query(points)[1]
    return pixels[row[nearest], column[nearest], :3].astype(float)
