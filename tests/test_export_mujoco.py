"""MuJoCo itself loads the scene and, frame by frame, puts every body where we have it."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from export_scene import FPS, FRAMES, export_clip, vertices_world
from scipy.spatial import KDTree

from hoijax.bodies.skinned_body import JOINT_NAMES
from hoijax.errors import UserError
from hoijax.exporters.mujoco import save_mujoco
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP

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
    import dataclasses

    clip = export_clip()
    odd = dataclasses.replace(clip.assets[0], name='a "box" <&> ../x')
    paths = save_mujoco(tmp_path, dataclasses.replace(clip, assets=(odd, clip.assets[1])))
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir())
    ElementTree.parse(tmp_path / "scene.xml")
    mujoco.MjModel.from_xml_path(str(tmp_path / "scene.xml"))
    with pytest.raises(UserError, match="density"):
        save_mujoco(tmp_path, clip, density=0.0)
