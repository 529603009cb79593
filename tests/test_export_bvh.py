"""BVH files read by a parser of our own, and posed by forward kinematics, must give the joints."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoijax.bodies.anny import load_anny
from hoijax.exporters.bvh import euler_angles, euler_zxy, save_bvh
from hoijax.exporters.clip import Clip, make_person
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP

FRAMES, FPS = 6, 12.0


@pytest.fixture(scope="module")
def clip() -> Clip:
    rng = np.random.default_rng(0)
    rotations = rng.normal(0, 0.6, (FRAMES, 55, 3)).astype(np.float32)
    rotations[:, 1] = 0
    rotations[:, 1, 0] = np.linspace(np.pi / 2, 2.0, FRAMES)  # starts on the pole of ZXY
    rotations[:, 0, 1] = np.linspace(2.0, 4.5, FRAMES)
    translations = rng.normal(0, 0.5, (FRAMES, 3)).astype(np.float32)
    person = make_person(load_anny(), rotations, translations, np.zeros(10, np.float32))
    return Clip(FPS, (person,), (), np.zeros((0, FRAMES, 4, 4), np.float32))


def expected_joints(clip: Clip) -> np.ndarray:
    person = clip.people[0]
    posed = jax.vmap(person.shaped.pose_joints)(
        jnp.asarray(person.joint_rotations), jnp.asarray(person.translations)
    )
    return np.asarray(posed)[..., :3, 3]


def read_bvh(path) -> tuple[dict[str, np.ndarray], float, dict[str, np.ndarray]]:
    """(joint places per frame, seconds between frames, OFFSETs): channels are applied as declared."""
    words = iter(path.read_text().split())
    assert next(words) == "HIERARCHY"
    names, parents, offsets, channels = [], [], [], []
    stack, index, word = [], -1, next(words)
    while word != "MOTION":
        if word in ("ROOT", "JOINT", "End"):
            names.append(next(words))
            parents.append(stack[-1] if stack else -1)
            channels.append([])
            index = len(names) - 1
        elif word == "{":
            stack.append(index)
        elif word == "}":
            stack.pop()
        elif word == "OFFSET":
            offsets.append([float(next(words)) for _ in range(3)])
        elif word == "CHANNELS":
            channels[index] = [next(words) for _ in range(int(next(words)))]
        else:
            raise AssertionError(word)
        word = next(words)
    assert (next(words), not stack) == ("Frames:", True)
    frames = int(next(words))
    assert [next(words), next(words)] == ["Frame", "Time:"]
    seconds = float(next(words))
    rows = np.array([float(word) for word in words]).reshape(frames, -1)
    assert rows.shape[1] == sum(map(len, channels))
    places = {}
    for t in range(frames):
        values, world = iter(rows[t]), []
        for i, (parent, offset) in enumerate(zip(parents, offsets, strict=True)):
            T = np.eye(4)
            T[:3, 3] = offset
            for channel in channels[i]:
                step, axis = np.eye(4), "XYZ".index(channel[0])
                if channel.endswith("position"):
                    step[axis, 3] = next(values)
                else:
                    step[:3, :3] = Rotation.from_euler(
                        channel[0].lower(), next(values), degrees=True
                    ).as_matrix()
                T = T @ step
            world.append(T if parent < 0 else world[parent] @ T)
            places.setdefault(names[i], []).append(world[-1][:3, 3])
    rest = dict(zip(names, np.array(offsets), strict=False))
    return {name: np.array(place) for name, place in places.items()}, seconds, rest


@pytest.mark.parametrize(("unit", "scale", "z_up"), [("cm", 100.0, False), ("m", 1.0, True)])
def test_forward_kinematics_of_the_file_gives_the_joints(clip, tmp_path, unit, scale, z_up):
    from hoijax.bodies.skinned_body import JOINT_NAMES

    places, seconds, rest = read_bvh(save_bvh(tmp_path / "motion.bvh", clip, unit=unit, z_up=z_up))
    turn = Z_UP_FROM_Y_UP if z_up else np.eye(3)
    expected = expected_joints(clip) @ turn.T
    for joint, name in enumerate(JOINT_NAMES):
        np.testing.assert_allclose(places[name] / scale, expected[:, joint], atol=2e-5)
    np.testing.assert_allclose(seconds, 1 / FPS, rtol=1e-6)
    assert len(places) == 55 + 1  # and the ends, under one name
    assert rest["spine1"][2 if z_up else 1] > 0.02 * scale  # the rest pose stands upright


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_angles_go_through_a_pole_without_a_jump(sign):
    x = sign * np.array([70.0, 80.0, 90.0, 100.0, 110.0])
    steady = np.stack([np.full(5, 20.0), x, np.full(5, 47.0)], -1)
    rotations = Rotation.from_euler("ZXY", steady, degrees=True).as_rotvec()
    angles = euler_zxy(np.tile(rotations[:, None], (1, 55, 1)))
    np.testing.assert_allclose(angles[:, 7], steady, atol=1e-4)


def test_angles_do_not_jump():
    steady = np.zeros((200, 55, 3))
    steady[:, 0, 0] = np.linspace(0.0, 12.0, 200)  # twice around x, over the poles
    steady[:, 1, 1] = np.linspace(0.0, 12.0, 200)
    angles = euler_zxy(steady)
    assert np.abs(np.diff(angles, axis=0)).max() < 4.0
    matrices = Rotation.from_euler("ZXY", angles.reshape(-1, 3), degrees=True).as_matrix()
    expected = Rotation.from_rotvec(steady.reshape(-1, 3)).as_matrix()
    np.testing.assert_allclose(matrices, expected, atol=1e-9)


def test_a_small_turn_beside_a_pole_is_a_small_change_of_angles():
    """By half a degree past the pole of ZXY: its own angles would change by 90 degrees and more."""
    past = np.stack([np.zeros(40), np.full(40, 89.5), np.zeros(40)], -1)
    pole = Rotation.from_euler("ZXY", past, degrees=True)
    wave = Rotation.from_rotvec(np.outer(np.radians(np.linspace(-2.0, 2.0, 40)), [0.0, 1.0, 0.0]))
    steady = np.zeros((40, 55, 3))
    steady[:, 18] = (wave * pole).as_rotvec()
    assert np.abs(np.diff(euler_zxy(steady), axis=0)).max() > 5.0
    orders, angles = euler_angles(steady)
    assert orders[18] != "ZXY"
    assert orders[0] == "ZXY"
    assert np.abs(np.diff(angles, axis=0)).max() < 0.5
    again = Rotation.from_euler(orders[18], angles[:, 18], degrees=True)
    np.testing.assert_allclose(again.as_matrix(), (wave * pole).as_matrix(), atol=1e-9)


def test_the_second_person_has_a_file_of_their_own(clip, tmp_path):
    other = dataclasses.replace(clip.people[0], translations=clip.people[0].translations + 1)
    both = dataclasses.replace(clip, people=(clip.people[0], other))
    first, _, _ = read_bvh(save_bvh(tmp_path / "1.bvh", both, person=0))
    second, _, _ = read_bvh(save_bvh(tmp_path / "2.bvh", both, person=1))
    np.testing.assert_allclose(second["head"] - first["head"], 100.0, atol=1e-3)
