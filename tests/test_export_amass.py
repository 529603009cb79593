"""AMASS files: keys, axes, resampling; posing what was read gives what was written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoijax.bodies.anny import load_anny
from hoijax.exporters.amass import SMPLX_REST_PELVIS, save_amass
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
    motion = np.load(save_amass(tmp_path / "amass.npz", clip))
    person = clip.people[0]
    np.testing.assert_allclose(
        motion["poses"].reshape(-1, 55, 3), person.joint_rotations, atol=1e-6
    )
    pelvis = person.Ts_world_joint[:, 0, :3, 3]
    np.testing.assert_allclose(motion["trans"] + SMPLX_REST_PELVIS, pelvis, atol=1e-6)
    about = [motion[key] for key in ("mocap_frame_rate", "gender", "surface_model_type")]
    assert about == [10.0, "neutral", "smplx"]
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
    motion = np.load(save_amass(tmp_path / "amass.npz", clip, z_up=True))
    person = clip.people[0]
    expected = joints(clip, person.joint_rotations, person.translations) @ Z_UP_FROM_Y_UP.T
    rest = np.asarray(person.shaped.joints_rest)[0]
    moved = motion["trans"] + np.array(SMPLX_REST_PELVIS) - rest
    found = joints(clip, motion["poses"].reshape(-1, 55, 3), moved)
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
    motion = np.load(save_amass(tmp_path / "amass.npz", clip, fps=30.0))
    assert motion["mocap_frame_rate"] == 30.0
    assert len(motion["trans"]) == (FRAMES - 1) * 3 + 1
    person = clip.people[0]
    pelvis = person.Ts_world_joint[:, 0, :3, 3]
    np.testing.assert_allclose(motion["trans"][::3] + SMPLX_REST_PELVIS, pelvis, atol=1e-6)
    np.testing.assert_allclose(
        motion["poses"].reshape(-1, 55, 3)[::3], person.joint_rotations, atol=1e-5
    )


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
    assert not np.load(path)["betas"].any()
    with np.load(path) as stored:
        assert (stored["body_betas"] == 0.5).all()
        assert stored["body_model"] == "anny"
    smplx = dataclasses.replace(person, body_name="smplx_neutral")
    path = save_amass(tmp_path / "b.npz", dataclasses.replace(clip, people=(smplx,)))
    assert (np.load(path)["betas"][:10] == 0.5).all()
