"""OMOMO and InterAct files posed as those data sets' own code poses them: SMPL-X forward, then the object."""

import dataclasses

import igl
import numpy as np
import pytest
from export_scene import FRAMES, export_clip, vertices_world
from scipy.spatial.transform import Rotation
from small_scene import generated, run

from hoijax.bodies.skinned_body import JOINT_NAMES, JOINT_PARENTS
from hoijax.errors import UserError
from hoijax.exporters.formats import FORMATS, ExportOptions, write_formats
from hoijax.exporters.holosoma import save_holosoma
from hoijax.exporters.interact import save_interact_human, save_interact_object
from hoijax.exporters.omomo import save_omomo
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP

TURN = Z_UP_FROM_Y_UP.astype(np.float64)


def smplx_joints(rest, rotations, trans):
    """Forward kinematics by scipy alone, for joints 0 .. rotations.shape[1] - 1."""
    turns, places = [Rotation.from_rotvec(rotations[:, 0])], [rest[0] + trans]
    for joint in range(1, rotations.shape[1]):
        parent = JOINT_PARENTS[joint]
        places.append(places[parent] + turns[parent].apply(rest[joint] - rest[parent]))
        turns.append(turns[parent] * Rotation.from_rotvec(rotations[:, joint]))
    return np.stack(places, 1)


def test_interact_gives_joints_and_object_back(tmp_path):
    clip = export_clip()
    save_interact_human(tmp_path / "human.npz", clip)
    save_interact_object(tmp_path / "object.npz", clip, object_=1)
    with np.load(tmp_path / "human.npz") as human, np.load(tmp_path / "object.npz") as thing:
        assert human["poses"].shape == (FRAMES, 156)
        assert human["betas"].shape == (16,)
        body = human["poses"][:, :66].reshape(-1, 22, 3)
        fingers = human["poses"][:, 66:].reshape(-1, 30, 3)
        rotations = np.concatenate([body, np.zeros((FRAMES, 3, 3)), fingers], 1)
        rest = human["rest_joints"] - human["rest_joints"][0] + human["rest_pelvis"]
        joints = smplx_joints(rest, rotations, human["trans"])
        angles, trans = thing["angles"], thing["trans"]
        assert thing["name"] == "chair"
    expected = clip.people[0].Ts_world_joint[..., :3, 3]
    for side in ("left_thumb3", "right_pinky3", "head"):
        joint = JOINT_NAMES.index(side)
        np.testing.assert_allclose(joints[:, joint], expected[:, joint], atol=1e-5)
    corner = clip.assets[1].vertices[7]
    np.testing.assert_allclose(
        Rotation.from_rotvec(angles).apply(corner) + trans,
        [vertices_world(clip, 1, t)[7] for t in range(FRAMES)],
        atol=1e-5,
    )


def test_omomo_gives_joints_and_object_back(tmp_path):
    clip = export_clip()
    with np.load(save_omomo(tmp_path / "omomo.npz", clip), allow_pickle=False) as stored:
        data = dict(stored)
    rotations = np.concatenate([data["root_orient"], data["pose_body"]], 1).reshape(-1, 22, 3)
    rest = np.asarray(clip.people[0].shaped.joints_rest)
    joints = smplx_joints(rest, rotations, data["trans"])
    expected = clip.people[0].Ts_world_joint[:, :22, :3, 3] @ TURN.T
    np.testing.assert_allclose(joints, expected, atol=1e-5)
    # the same through OMOMO's own tree of offsets: its pelvis is at trans - trans2joint
    offsets, parents = data["rest_offsets"], [*JOINT_PARENTS[:22], 20, 21]
    assert offsets.shape == (24, 3)
    summed = np.zeros((24, 3))
    for joint in range(24):
        summed[joint] = offsets[joint] + (summed[parents[joint]] if joint else 0)
    hands = [JOINT_NAMES.index(f"{side}_index1") for side in ("left", "right")]
    np.testing.assert_allclose(summed, rest[[*range(22), *hands]], atol=1e-6)
    np.testing.assert_allclose(data["trans"] - data["trans2joint"], expected[:, 0], atol=1e-5)
    corner = clip.assets[0].vertices[3]
    scaled = data["obj_scale"][:, None] * (data["obj_rot"] @ corner)
    found = scaled + data["obj_trans"][:, :, 0]
    world = [vertices_world(clip, 0, t)[3] @ TURN.T for t in range(FRAMES)]
    np.testing.assert_allclose(found, world, atol=1e-5)
    assert data["seq_name"] == "sub1_box_000"


def test_robots_get_places_stature_and_contacts(tmp_path):
    clip = export_clip()
    with np.load(save_holosoma(tmp_path / "holosoma.npz", clip), allow_pickle=False) as stored:
        data = dict(stored)
    who = clip.people[0]
    expected = who.Ts_world_joint[:, :22, :3, 3] @ TURN.T
    np.testing.assert_allclose(data["global_joint_positions"], expected, atol=1e-5)
    assert 1.4 < data["height"] < 2.0
    corner = clip.assets[0].vertices[3]
    turned = Rotation.from_quat(data["object_poses"][:, :4], scalar_first=True).apply(corner)
    world = [vertices_world(clip, 0, t)[3] @ TURN.T for t in range(FRAMES)]
    np.testing.assert_allclose(turned + data["object_poses"][:, 4:], world, atol=1e-5)
    names = data["link_names"].tolist()
    wrist, foot = names.index("left_wrist"), names.index("right_foot")
    assert data["contact_1cm"][:, wrist].all()
    assert not data["contact_5cm"][:, foot].any()
    near = data["contact_distance"]
    for limit in (1, 2, 5):
        np.testing.assert_array_equal(data[f"contact_{limit}cm"], near < np.float32(limit / 100))
    mesh = clip.assets[0].vertices.astype(np.float64), clip.assets[0].faces.astype(np.int64)
    points = data["contact_points"][np.isfinite(data["contact_points"]).all(-1)]
    assert len(points) > FRAMES
    squared = igl.point_mesh_squared_distance(points.astype(np.float64), *mesh)[0]
    assert np.max(np.asarray(squared)) < 1e-10
    # a point of the skin is as far from it as said
    T = clip.Ts_world_object[0, 2]
    local = (who.vertices_world[2] - T[:3, 3]) @ T[:3, :3]
    gap = np.linalg.norm(local - data["contact_points"][2, wrist], axis=1).min()
    np.testing.assert_allclose(gap, near[2, wrist], atol=1e-5)


def test_every_format_is_written_flat_and_by_its_own_names(tmp_path):
    pytest.importorskip("pxr")
    clip = export_clip()
    formats = [name for name in FORMATS if name not in ("mp4", "overlay", "fbx")]
    paths = write_formats(clip, tmp_path, formats, ExportOptions(fps=60.0, up="z"))
    names = sorted(path.name for path in paths)
    assert names == sorted(path.name for path in tmp_path.iterdir())
    assert len(set(names)) == len(names)
    with np.load(tmp_path / "amass.npz") as amass, np.load(tmp_path / "human.npz") as human:
        assert len(amass["trans"]) == 2 * FRAMES - 1
        assert len(human["trans"]) == FRAMES
        assert amass["up_axis"] == "z"


def test_refusals_come_before_any_file(tmp_path):
    clip = export_clip()
    bare = dataclasses.replace(clip, assets=(), Ts_world_object=clip.Ts_world_object[:0])
    for formats, options, match in (
        (["dxf"], None, "Known: amass"),
        (["amass"], ExportOptions(fps=0.0), "--fps"),
        (["amass"], ExportOptions(up="x"), "--up"),
    ):
        with pytest.raises(UserError, match=match):
            write_formats(clip, tmp_path, formats, options)
        assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="needs an object"):
        write_formats(bare, tmp_path, ["omomo"])


@pytest.mark.slow
def test_the_command_writes_a_result_in_every_format(tmp_path, tmp_path_factory):
    """A real result by the command line, and its body places agree between formats."""
    pytest.importorskip("pxr")
    folder, _ = generated(tmp_path_factory)
    formats = ",".join(name for name in FORMATS if name not in ("mp4", "overlay", "fbx"))
    ran = run("export", folder, "--to", formats, "--fps", "30", "--up", "z", "--out", tmp_path)
    assert ran.code == 0, ran.err
    assert len(ran.out.split("wrote ")) - 1 == len(list(tmp_path.iterdir()))
    with np.load(tmp_path / "amass.npz") as amass, np.load(tmp_path / "intermimic.npz") as tensor:
        rest = amass["rest_joints"] - amass["rest_joints"][0] + amass["rest_pelvis"]
        joints = smplx_joints(rest, amass["poses"].reshape(-1, 55, 3), amass["trans"])
        np.testing.assert_allclose(tensor["motion"][:, :3], joints[:, 0], atol=1e-5)
        np.testing.assert_allclose(
            tensor["motion"][:, 318:321], amass["object_translations"][0], atol=1e-5
        )
    again = run("export", folder, "--to", "bvh", "--fps", "-3", "--out", tmp_path / "none")
    assert (again.code, (tmp_path / "none").exists()) == (2, False)
