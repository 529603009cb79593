"""AMASS files: keys, axes, resampling; posing what was read gives what was written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoijax.bodies.anny import load_anny
from hoijax.errors import UserError
from hoijax.exporters.amass import SMPLX_REST_PELVIS, load_amass, save_amass
from hoijax.exporters.clip import Clip, make_person
from hoijax.exporters.resample import resample_positions, resample_rotations, resampled_times
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP, compose_rigid
from hoijax.objects.asset import load_asset

FRAMES = 9


@pytest.fixture(scope="module")
def clip() -> Clip:
    rng = np.random.default_rng(0)
    rotations = np.cumsum(rng.normal(0, 0.05, (FRAMES, 55, 3)), axis=0).astype(np.float32)
    translations = np.cumsum(rng.normal(0, 0.05, (FRAMES, 3)), axis=0).astype(np.float32)
    person = make_person(load_anny(), rotations, translations, np.zeros(10, np.float32))
    turn = Rotation.from_rotvec(np.cumsum(rng.normal(0, 0.1, (FRAMES, 3)), axis=0)).as_matrix()
    poses = compose_rigid(turn, rng.normal(0, 1, (FRAMES, 3)))
    return Clip(10.0, (person,), (load_asset("box"),), poses[None])


def joints(clip, rotations, translations):
    posed = jax.vmap(clip.people[0].shaped.pose_joints)(
        jnp.asarray(rotations, jnp.float32), jnp.asarray(translations, jnp.float32)
    )
    return np.asarray(posed)[..., :3, 3]


def test_reading_back_gives_the_motion(clip, tmp_path):
    motion = load_amass(save_amass(tmp_path / "amass.npz", clip))
    person = clip.people[0]
    np.testing.assert_allclose(motion.joint_rotations, person.joint_rotations, atol=1e-6)
    pelvis = person.Ts_world_joint[:, 0, :3, 3]
    np.testing.assert_allclose(motion.translations + SMPLX_REST_PELVIS, pelvis, atol=1e-6)
    assert (motion.fps, motion.gender, motion.surface_model_type) == (10.0, "neutral", "smplx")
    with np.load(tmp_path / "amass.npz", allow_pickle=False) as stored:
        assert stored["poses"].shape == (FRAMES, 165)
        np.testing.assert_array_equal(
            np.concatenate(
                [
                    stored[key]
                    for key in ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")
                ],
                axis=1,
            ),
            stored["poses"],
        )
        assert stored["object_names"].tolist() == ["box"]
        # as AMASS and the SMPL-X add-on count: frames over rate
        assert stored["mocap_time_length"] == FRAMES / 10.0
        np.testing.assert_allclose(
            stored["object_rotations"], clip.Ts_world_object[..., :3, :3], atol=1e-6
        )


def test_z_up_turns_every_joint_and_object_about_the_world_origin(clip, tmp_path):
    motion = load_amass(save_amass(tmp_path / "amass.npz", clip, z_up=True))
    person = clip.people[0]
    expected = joints(clip, person.joint_rotations, person.translations) @ Z_UP_FROM_Y_UP.T
    rest = np.asarray(person.shaped.joints_rest)[0]
    moved = motion.translations + np.array(SMPLX_REST_PELVIS) - rest
    found = joints(clip, motion.joint_rotations, moved)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with np.load(tmp_path / "amass.npz") as stored:
        assert stored["up_axis"] == "z"
        corner = clip.assets[0].vertices[0]
        world = clip.Ts_world_object[0, :, :3, :3] @ corner + clip.Ts_world_object[0, :, :3, 3]
        np.testing.assert_allclose(
            stored["object_rotations"][0] @ corner + stored["object_translations"][0],
            world @ Z_UP_FROM_Y_UP.T,
            atol=1e-5,
        )


def test_resampling_keeps_duration_and_source_frames(clip, tmp_path):
    motion = load_amass(save_amass(tmp_path / "amass.npz", clip, fps=30.0))
    assert motion.fps == 30.0
    assert len(motion.translations) == (FRAMES - 1) * 3 + 1
    person = clip.people[0]
    pelvis = person.Ts_world_joint[:, 0, :3, 3]
    np.testing.assert_allclose(motion.translations[::3] + SMPLX_REST_PELVIS, pelvis, atol=1e-6)
    np.testing.assert_allclose(motion.joint_rotations[::3], person.joint_rotations, atol=1e-5)


def test_slerp_moves_at_constant_speed_along_the_shorter_arc():
    ends = np.array([[[0.0, 3.0, 0.0]], [[0.0, -3.0, 0.0]]])  # 0.28 rad apart, across pi
    steps = Rotation.from_rotvec(resample_rotations(ends, np.linspace(0, 1, 5))[:, 0])
    angles = (steps[:-1].inv() * steps[1:]).magnitude()
    np.testing.assert_allclose(angles, (2 * np.pi - 6) / 4, rtol=1e-6)


@pytest.mark.parametrize(("frames", "fps", "target"), [(49, 8, 30), (49, 10, 30), (3, 30, 24)])
def test_resampled_times_stay_inside_the_clip(frames, fps, target):
    times = resampled_times(frames, float(fps), float(target))
    assert times[0] == 0
    assert times[-1] <= frames - 1
    assert (len(times) - 1) / target <= (frames - 1) / fps + 1e-9
    assert len(times) / target > (frames - 1) / fps
    ramp = np.arange(frames)[:, None].astype(np.float64)
    np.testing.assert_allclose(resample_positions(ramp, times)[:, 0], times)


def test_betas_of_another_body_are_not_passed_off_as_smplx(clip, tmp_path):
    import dataclasses

    person = dataclasses.replace(clip.people[0], betas=np.full(10, 0.5, np.float32))
    path = save_amass(tmp_path / "a.npz", dataclasses.replace(clip, people=(person,)))
    assert not load_amass(path).betas.any()
    with np.load(path) as stored:
        assert (stored["body_betas"] == 0.5).all()
        assert stored["body_model"] == "anny"
    smplx = dataclasses.replace(person, body_name="smplx_neutral")
    path = save_amass(tmp_path / "b.npz", dataclasses.replace(clip, people=(smplx,)))
    assert (load_amass(path).betas[:10] == 0.5).all()


def test_a_file_that_is_no_amass_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("not a zip")
    with pytest.raises(UserError, match="expected an npz"):
        load_amass(tmp_path / "text.npz")
    with pytest.raises(UserError, match="cannot be read"):
        load_amass(tmp_path / "missing.npz")
    np.savez(tmp_path / "other.npz", poses=np.zeros((3, 165)))
    with pytest.raises(UserError, match=r"trans': is missing; .*betas': is missing"):
        load_amass(tmp_path / "other.npz")
    np.savez(
        tmp_path / "h.npz", poses=np.zeros((3, 156)), trans=np.zeros((3, 3)), betas=np.zeros(1)
    )
    with pytest.raises(UserError, match=r"\(3, 156\)"):
        load_amass(tmp_path / "h.npz")


def test_an_smplx_body_stands_where_the_person_stood(clip, tmp_path):
    """SMPL-X's own forward kinematics, with its rest pelvis half a metre from that of our body."""
    import dataclasses

    anny = load_anny()
    away = np.array(SMPLX_REST_PELVIS) - np.asarray(clip.people[0].shaped.joints_rest)[0]
    assert np.linalg.norm(away) > 0.4
    elsewhere = dataclasses.replace(
        anny,
        name="smplx_neutral",
        joints_template=np.asarray(anny.joints_template) + away.astype(np.float32),
    )
    smplx = make_person(elsewhere, *_still(clip), np.zeros(10, np.float32))
    motion = load_amass(save_amass(tmp_path / "anny.npz", clip))
    driven = dataclasses.replace(
        smplx, joint_rotations=motion.joint_rotations, translations=motion.translations
    )
    expected = clip.people[0].Ts_world_joint[..., :3, 3]
    np.testing.assert_allclose(driven.Ts_world_joint[..., :3, 3], expected, atol=1e-4)
    # solved on that body itself, its file drives it too
    own = dataclasses.replace(clip, people=(driven,))
    again = load_amass(save_amass(tmp_path / "smplx.npz", own))
    np.testing.assert_allclose(again.translations, driven.translations, atol=1e-6)


def _still(clip):
    return np.zeros((FRAMES, 55, 3), np.float32), np.zeros((FRAMES, 3), np.float32)


def test_the_default_is_what_the_smplx_add_on_takes(clip, tmp_path):
    from hoijax.exporters.formats import ExportOptions, write_formats

    (path,) = write_formats(clip, tmp_path, ["amass"])
    with np.load(path) as stored:
        rate, frames = float(stored["mocap_frame_rate"]), len(stored["poses"])
        assert stored["up_axis"] == "z"
        assert rate >= 30.0
        assert stored["mocap_time_length"] == pytest.approx(frames / rate)
        assert str(stored["gender"]) in ("female", "male", "neutral")
        assert stored["poses"].shape == (frames, 165)
        assert stored["betas"].shape == (16,)
    (path,) = write_formats(clip, tmp_path, ["amass"], ExportOptions(fps=10.0, up="y"))
    with np.load(path) as stored:
        assert (float(stored["mocap_frame_rate"]), str(stored["up_axis"])) == (10.0, "y")
