"""Resampling, trimming and looping of whole clips."""

import numpy as np
import pytest
from export_scene import vertices_world
from scipy.spatial.transform import Rotation

from hoijax.bodies.anny import load_anny
from hoijax.errors import UserError
from hoijax.exporters.clip import Clip, make_person, turned_clip
from hoijax.exporters.resample import loop_clip, resample_clip, trim_clip
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP, compose_rigid
from hoijax.objects.asset import load_asset

FRAMES, FPS = 25, 12.0


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A steady motion: what lies between frames is known exactly."""
    t = np.arange(FRAMES) / FPS
    rotations = np.zeros((FRAMES, 55, 3), np.float32)
    rotations[:, 0, 1] = 1.0 * t
    rotations[:, 16, 2] = -0.5 * t
    translations = np.stack([t, 0 * t, -2 * t], -1).astype(np.float32)
    person = make_person(load_anny(), rotations, translations, np.zeros(10, np.float32))
    turn = Rotation.from_rotvec(np.outer(2.0 * t, [1.0, 0, 0])).as_matrix()
    return Clip(FPS, (person,), (load_asset("box"),), compose_rigid(turn, translations * 3)[None])


def test_a_steady_motion_stays_steady_at_any_rate(clip):
    for fps in (30.0, 7.0):
        again = resample_clip(clip, fps)
        t = np.arange(again.frame_count) / fps
        assert again.fps == fps
        assert t[-1] <= 2.0 < t[-1] + 1 / fps + 1e-6
        np.testing.assert_allclose(again.people[0].joint_rotations[:, 0, 1], t, atol=1e-5)
        np.testing.assert_allclose(again.people[0].translations[:, 2], -2 * t, atol=1e-5)
        expected = Rotation.from_rotvec(np.outer(2.0 * t, [1.0, 0, 0])).as_matrix()
        np.testing.assert_allclose(again.Ts_world_object[0, :, :3, :3], expected, atol=1e-5)
        np.testing.assert_allclose(again.Ts_world_object[0, :, 2, 3], -6 * t, atol=1e-5)


def test_trimming_keeps_the_frames_between(clip):
    part = trim_clip(clip, 0.5, 1.0)
    assert part.frame_count == 7
    np.testing.assert_array_equal(part.people[0].translations, clip.people[0].translations[6:13])
    np.testing.assert_allclose(part.Ts_world_object, clip.Ts_world_object[:, 6:13], atol=1e-6)
    assert trim_clip(clip).frame_count == FRAMES


def test_a_loop_closes_with_the_clips_own_step(clip):
    """A steady motion jumps by its whole length when repeated; looped, no step exceeds what the blend needs."""
    loop = loop_clip(clip, 1.0)
    assert loop.frame_count == FRAMES - 12
    places = loop.people[0].translations
    seam = places[0] - places[-1]
    np.testing.assert_allclose(seam, clip.people[0].translations[1] - 0, atol=1e-5)
    around = np.concatenate([places, places[:1]])
    largest = np.linalg.norm(np.diff(around, axis=0), axis=-1).max()
    plain = np.linalg.norm(clip.people[0].translations[0] - clip.people[0].translations[-1])
    assert largest < plain / 12
    turns = Rotation.from_rotvec(np.concatenate([loop.people[0].joint_rotations[:, 0]] * 2))
    assert (turns[:-1].inv() * turns[1:]).magnitude().max() < 0.15


def test_turning_the_world_turns_skin_and_objects(clip):
    turned = turned_clip(clip, Z_UP_FROM_Y_UP)
    np.testing.assert_allclose(
        turned.people[0].vertices_world, clip.people[0].vertices_world @ Z_UP_FROM_Y_UP.T, atol=2e-5
    )
    np.testing.assert_allclose(
        vertices_world(turned, 0, 5),
        vertices_world(clip, 0, 5) @ Z_UP_FROM_Y_UP.T,
        atol=2e-5,
    )


def test_joint_frames_are_those_of_the_body_model(clip):
    import jax
    import jax.numpy as jnp

    person = clip.people[0]
    posed = jax.vmap(person.shaped.pose_joints)(
        jnp.asarray(person.joint_rotations), jnp.asarray(person.translations)
    )
    np.testing.assert_allclose(person.Ts_world_joint, np.asarray(posed), atol=2e-5)


def test_what_cannot_be_done_is_refused(clip):
    for fps in (0.0, -1.0, float("nan"), 1e6):
        with pytest.raises(UserError, match="--fps"):
            resample_clip(clip, fps)
    with pytest.raises(UserError, match="the clip has 2 s"):
        trim_clip(clip, 1.0, 3.0)
    with pytest.raises(UserError, match="a loop over"):
        loop_clip(clip, 1.5)
    with pytest.raises(UserError, match="a loop over"):
        loop_clip(clip, 0.0)
