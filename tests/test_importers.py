"""Imported files stand where their makers' body model puts them; made by numpy, or by our exporters."""

import numpy as np
import pytest
from export_scene import FRAMES, export_clip
from scipy.spatial.transform import Rotation

from hoijax.bodies.anny import load_anny
from hoijax.bodies.skinned_body import JOINT_PARENTS
from hoijax.errors import UserError
from hoijax.exporters.amass import save_amass
from hoijax.exporters.formats import ExportOptions, write_formats
from hoijax.exporters.interact import save_interact_human, save_interact_object
from hoijax.exporters.omomo import save_omomo
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP
from hoijax.importers import (
    body_arrays,
    ground_truth_of,
    import_amass,
    import_gvhmr,
    import_interact,
    import_omomo,
)


@pytest.fixture(scope="module")
def anny():
    return load_anny()


def joints(person) -> np.ndarray:
    return person.Ts_world_joint[..., :3, 3]


def smplh_file(path, up_matrix, rest, **more):
    """An AMASS-like SMPL-H npz in axes `up_matrix` @ ours, and the body joints it means, in ours.

    In the file's world the body is upright: what the body does in our axes is turned as a whole.
    """
    rng = np.random.default_rng(1)
    poses = rng.normal(0, 0.3, (4, 52, 3))
    trans = rng.normal(0, 1, (4, 3))
    turns, places = [Rotation.from_rotvec(poses[:, 0])], [rest[0] + trans]
    for joint in range(1, 22):
        parent = JOINT_PARENTS[joint]
        places.append(places[parent] + turns[parent].apply(rest[joint] - rest[parent]))
        turns.append(turns[parent] * Rotation.from_rotvec(poses[:, joint]))
    np.savez(path, poses=poses.reshape(4, 156), trans=trans, betas=np.zeros(16), **more)
    return np.stack(places, 1) @ up_matrix


@pytest.mark.parametrize("up", ["y", "z"])
def test_a_file_of_another_program_is_turned_about_its_own_pelvis(tmp_path, anny, up):
    """The oracle is forward kinematics in the file's axes, turned afterwards."""
    body = anny.replace(
        name="smplx_neutral"
    )  # stands for the SMPL-X file that the npz was made with
    rest = np.asarray(body.shape(np.zeros(10, np.float32)).joints_rest, np.float64)
    matrix = np.eye(3) if up == "y" else Z_UP_FROM_Y_UP.astype(np.float64)
    expected = smplh_file(
        tmp_path / "a.npz", matrix, rest, mocap_framerate=120.0, gender=np.array(b"male")
    )
    motion = import_amass(tmp_path / "a.npz", up=up)
    assert (motion.fps, motion.gender) == (120.0, "male")
    np.testing.assert_allclose(joints(motion.person(body))[:, :22], expected, atol=1e-5)
    with pytest.raises(UserError, match="another"):
        motion.person(anny)


def test_standing_on_the_ground_needs_no_rest_pelvis(tmp_path, anny):
    rest = np.asarray(anny.shape(np.zeros(10, np.float32)).joints_rest, np.float64)
    smplh_file(tmp_path / "a.npz", np.eye(3), rest, mocap_frame_rate=60.0)
    person = import_amass(tmp_path / "a.npz").person(anny, on_ground=True)
    assert abs(person.vertices_world[..., 1].min()) < 1e-4


@pytest.mark.parametrize("z_up", [False, True])
def test_our_amass_comes_back_with_its_objects(tmp_path, anny, z_up):
    clip = export_clip()
    motion = import_amass(save_amass(tmp_path / "a.npz", clip, z_up=z_up))
    again = motion.clip(anny, clip.assets)
    np.testing.assert_allclose(joints(again.people[0]), joints(clip.people[0]), atol=1e-5)
    np.testing.assert_allclose(again.Ts_world_object, clip.Ts_world_object, atol=1e-5)
    with pytest.raises(UserError, match="moves 2 objects"):
        motion.clip(anny, clip.assets[:1])


def test_interact_and_omomo_come_back(tmp_path, anny):
    clip = export_clip()
    human = save_interact_human(tmp_path / "human.npz", clip)
    things = [save_interact_object(tmp_path / f"object{o}.npz", clip, object_=o) for o in range(2)]
    motion = import_interact(human, things)
    assert motion.object_names == ("box", "chair")
    again = motion.clip(anny, clip.assets)
    kept = [*range(22), *range(25, 55)]
    np.testing.assert_allclose(
        joints(again.people[0])[:, kept], joints(clip.people[0])[:, kept], atol=1e-5
    )
    np.testing.assert_allclose(again.Ts_world_object, clip.Ts_world_object, atol=1e-5)

    motion = import_omomo(save_omomo(tmp_path / "omomo.npz", clip, object_=1))
    assert (motion.object_names, motion.fps) == (("chair",), 30.0)
    again = motion.clip(anny, clip.assets[1:])
    np.testing.assert_allclose(
        joints(again.people[0])[:, :22], joints(clip.people[0])[:, :22], atol=1e-5
    )
    np.testing.assert_allclose(again.Ts_world_object, clip.Ts_world_object[1:], atol=1e-5)


def test_gvhmr_parameters_are_y_up(tmp_path, anny):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    params = {
        "body_pose": torch.tensor(rng.normal(0, 0.2, (5, 63)), dtype=torch.float32),
        "global_orient": torch.tensor([[0.0, 0.5, 0.0]] * 5),
        "transl": torch.tensor(rng.normal(0, 1, (5, 3)), dtype=torch.float32),
        "betas": torch.ones(5, 10) * 0.25,
    }
    torch.save({"smpl_params_global": params}, tmp_path / "hmr4d_results.pt")
    motion = import_gvhmr(tmp_path / "hmr4d_results.pt", fps=25.0)
    np.testing.assert_allclose(motion.betas, 0.25)
    person = motion.person(anny.replace(name="smplx_neutral"))
    np.testing.assert_allclose(person.translations, params["transl"].numpy(), atol=1e-6)
    np.testing.assert_allclose(person.joint_rotations[:, 0, 1], 0.5, atol=1e-6)


def test_imports_become_bodies_and_truth(anny):
    clip = export_clip()
    arrays = body_arrays(clip.people)
    assert arrays["body_rotations"].shape == (1, FRAMES, 55, 3)
    assert all(array.dtype == np.float32 for array in arrays.values())
    ground_truth = ground_truth_of(clip, np.ones((1, FRAMES), bool))
    np.testing.assert_array_equal(ground_truth.Ts_world_object, clip.Ts_world_object)
    np.testing.assert_array_equal(
        ground_truth.body_rest_joints[0], clip.people[0].shaped.joints_rest
    )


def test_bad_files_are_refused_by_name(tmp_path):
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(UserError, match=r"text\.npz: expected an npz"):
        import_amass(tmp_path / "text.npz")
    with pytest.raises(UserError, match="cannot be read"):
        import_omomo(tmp_path / "missing.npz")
    np.savez(tmp_path / "pickled.npz", poses=np.array([{}], object), trans=np.zeros((1, 3)))
    with pytest.raises(UserError, match="never read"):
        import_amass(tmp_path / "pickled.npz")
    good = {"poses": np.zeros((2, 156)), "trans": np.zeros((2, 3)), "mocap_frame_rate": 30.0}
    for key, value, match in (
        ("poses", np.zeros((2, 72)), r"\(2, 72\)"),
        ("trans", np.full((2, 3), np.nan), "NaN or infinite"),
        ("mocap_frame_rate", 0.0, "frame rate"),
    ):
        np.savez(tmp_path / "bad.npz", **(good | {key: value}))
        with pytest.raises(UserError, match=match):
            import_amass(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", **good)
    with pytest.raises(UserError, match="up axis"):
        import_amass(tmp_path / "bad.npz", up="x")
    sequence = {
        "trans": np.zeros((2, 3)), "root_orient": np.zeros((2, 3)), "pose_body": np.zeros((2, 63)),
        "obj_trans": np.zeros((2, 3, 1)), "obj_rot": np.tile(np.eye(3), (2, 1, 1)),
    }  # fmt: skip
    np.savez(tmp_path / "scaled.npz", **sequence, obj_scale=np.full(2, 0.5))
    with pytest.raises(UserError, match=r"obj_scale is 0\.5"):
        import_omomo(tmp_path / "scaled.npz")
    np.savez(tmp_path / "skewed.npz", **(sequence | {"obj_rot": np.ones((2, 3, 3))}))
    with pytest.raises(UserError, match="not rotations"):
        import_omomo(tmp_path / "skewed.npz")


def test_a_body_without_objects_goes_on_to_other_formats(tmp_path, anny):
    """The example of docs/exports.md, and the formats that need no object."""
    rest = np.asarray(anny.shape(np.zeros(10, np.float32)).joints_rest, np.float64)
    smplh_file(tmp_path / "walk_poses.npz", np.eye(3), rest, mocap_frame_rate=60.0)
    clip = import_amass(tmp_path / "walk_poses.npz").clip(anny, on_ground=True)
    formats = ["amass", "glb", "bvh", "interact", "mjcf"]
    paths = write_formats(clip, tmp_path, formats, ExportOptions(fps=24.0))
    assert [path.name for path in paths if not path.stat().st_size] == []
    again = import_amass(tmp_path / "amass.npz")
    assert again.object_names == ()
    first = joints(again.person(anny))[0]
    np.testing.assert_allclose(first, joints(clip.people[0])[0], atol=1e-5)
    np.savez(
        tmp_path / "gvhmr.npz",
        body_pose=np.zeros((3, 63)),
        global_orient=np.zeros((3, 3)),
        transl=np.zeros((3, 3)),
    )
    still = import_gvhmr(tmp_path / "gvhmr.npz").clip(anny, on_ground=True)
    assert still.Ts_world_object.shape == (0, 3, 4, 4)
