"""Bodies that other programs recovered: every layout reads back, and stands where keypoints see it."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoijax.bodies.anny import load_anny
from hoijax.errors import UserError
from hoijax.geometry.transforms import invert_rigid, look_at
from hoijax.importers.body_tracks import REST_PELVIS, camera_path, read_body_tracks
from hoijax.io.video import Video
from priors.models.body_from_file import FileBody, limb_offsets
from priors.models.camera_search import camera_of_world
from priors.protocols import PointMaps

DATA = Path(__file__).parents[1].parent / "shared/data/video"
T = 5
K = np.tile(np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]]), (T, 1, 1))
HEIGHT, WIDTH = 240, 320
MASK = np.ones((T, HEIGHT, WIDTH), bool)
CLIP = Video(np.zeros((T, HEIGHT, WIDTH, 3), np.uint8), 10.0)


class Motion:
    """A person in a world that is y up, before a camera that stands still; random, but upright."""

    def __init__(self, joints: int):
        rng = np.random.default_rng(joints)
        self.body = rng.normal(0, 0.2, (T, joints - 1, 3))
        self.betas = rng.normal(0, 0.5, 10)
        model = {22: "smplx", 24: "smpl", 52: "smplh", 55: "smplx"}[joints]
        heading = Rotation.from_euler("y", np.linspace(0, 1, T)[:, None])
        self.world_root = (heading * Rotation.from_rotvec(rng.normal(0, 0.1, (T, 3)))).as_rotvec()
        self.rest = REST_PELVIS[model]
        pelvis = np.array([0, 0.95, 0]) + rng.normal(0, 0.05, (T, 3))
        self.world_transl = pelvis - self.rest
        self.T_world_camera = look_at(np.array([0.5, 1.4, 4.0]), np.array([0, 0.9, 0])).astype(
            float
        )
        back = Rotation.from_matrix(self.T_world_camera[:3, :3]).inv()
        self.camera_root = (back * Rotation.from_rotvec(self.world_root)).as_rotvec()
        self.camera_transl = back.apply(pelvis - self.T_world_camera[:3, 3]) - self.rest

    def table(self, root: np.ndarray) -> np.ndarray:
        """(T, 3J)"""
        return np.concatenate([root, self.body.reshape(T, -1)], 1)

    def matrices(self, root: np.ndarray) -> np.ndarray:
        rows = self.table(root).reshape(-1, 3)
        return Rotation.from_rotvec(rows).as_matrix().reshape(T, -1, 3, 3)


def smplx_keys(motion: Motion, root, transl, prefix: str) -> dict:
    body = motion.body.reshape(T, -1)
    rows = {"body_pose": body, "global_orient": root, "transl": transl}
    rows["betas"] = np.tile(motion.betas, (T, 1))
    return {f"{prefix}{key}": value for key, value in rows.items()}


def gvhmr(motion, folder):
    world = smplx_keys(motion, motion.world_root, motion.world_transl, "smpl_params_global/")
    camera = smplx_keys(motion, motion.camera_root, motion.camera_transl, "smpl_params_incam/")
    return world | camera | {"K_fullimg": K}


def wham(motion, folder):
    return {
        "0/pose": motion.table(motion.camera_root),
        "0/trans": motion.camera_transl,
        "0/pose_world": motion.table(motion.world_root),
        "0/trans_world": motion.world_transl,
        "0/betas": np.tile(motion.betas, (T, 1)),
        "0/frame_ids": np.arange(T),
        "0/verts": np.zeros((T, 4, 3)),
    }


def prompt_hmr(motion, folder):
    return {
        "people/1/frames": np.arange(T),
        "people/1/smplx_cam/rotmat": motion.matrices(motion.camera_root),
        "people/1/smplx_cam/shape": np.tile(motion.betas, (T, 1)),
        "people/1/smplx_cam/trans": motion.camera_transl,
        "people/1/smplx_world/pose": motion.table(motion.world_root),
        "people/1/smplx_world/shape": np.tile(motion.betas, (T, 1)),
        "people/1/smplx_world/trans": motion.world_transl,
        "camera/img_focal": np.array(300.0),
        "camera/img_center": np.array([160.0, 120.0]),
    }


def tram(motion, folder):
    return {
        "pred_rotmat": motion.matrices(motion.camera_root),
        "pred_shape": np.tile(motion.betas, (T, 1)),
        "pred_trans": motion.camera_transl[:, None],
        "frame": np.arange(T),
        "img_focal": np.array(300.0),
        "img_center": np.array([160.0, 120.0]),
    }


def humans_4d(motion, folder):
    matrices = motion.matrices(motion.camera_root)
    return {
        "pred_smpl_params/global_orient": matrices[:, :1],
        "pred_smpl_params/body_pose": matrices[:, 1:],
        "pred_smpl_params/betas": np.tile(motion.betas, (T, 1)),
        "pred_cam_t_full": motion.camera_transl,
        "focal_length": np.array(300.0),
    }


def amass(motion, folder):
    to_z_up = Rotation.from_euler("x", 90, degrees=True)
    root = (to_z_up * Rotation.from_rotvec(motion.world_root)).as_rotvec()
    transl = to_z_up.apply(motion.world_transl + motion.rest) - motion.rest
    table = motion.table(root)
    return {
        "poses": table,
        "trans": transl,
        "betas": motion.betas,
        "mocap_framerate": np.array(10.0),
    }


LAYOUTS = {
    "GVHMR": (gvhmr, 22, "both"),
    "WHAM": (wham, 24, "both"),
    "PromptHMR": (prompt_hmr, 55, "both"),
    "TRAM": (tram, 24, "camera"),
    "4D-Humans": (humans_4d, 24, "camera"),
    "AMASS": (amass, 52, "world"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_reads_back(tmp_path, layout):
    write, joints, frames = LAYOUTS[layout]
    motion = Motion(joints)
    np.savez(tmp_path / "a.npz", **write(motion, tmp_path))
    (track,) = read_body_tracks(tmp_path / "a.npz")
    assert track.layout == layout
    np.testing.assert_allclose(track.betas, motion.betas, rtol=1e-5)
    np.testing.assert_allclose(track.joint_rotations[:, 1:22], motion.body[:, :21], atol=1e-5)
    assert not track.joint_rotations[:, 0].any()
    if frames != "world":
        assert track.camera is not None
        np.testing.assert_allclose(track.camera.orientations, motion.camera_root, atol=1e-6)
        np.testing.assert_allclose(track.camera.translations, motion.camera_transl, atol=1e-6)
    if frames != "camera":
        assert track.world is not None
        pelvis = (track.world.translations + track.rest_pelvis) @ track.world.turn.T
        np.testing.assert_allclose(pelvis, motion.world_transl + motion.rest, atol=1e-6)
        up = Rotation.from_matrix(track.world.turn) * Rotation.from_rotvec(track.world.orientations)
        off = up * Rotation.from_rotvec(motion.world_root).inv()
        np.testing.assert_allclose(off.magnitude(), 0, atol=1e-6)
    path = camera_path(track)
    if frames == "both":
        np.testing.assert_allclose(path, np.tile(motion.T_world_camera, (T, 1, 1)), atol=1e-4)


def test_a_torch_file_and_several_people(tmp_path):
    torch = pytest.importorskip("torch")
    motion = Motion(22)
    nested: dict = {}
    for key, value in gvhmr(motion, tmp_path).items():
        *outer, name = key.split("/")
        (nested.setdefault(outer[0], {}) if outer else nested)[name] = torch.from_numpy(value)
    torch.save(nested, tmp_path / "a.pt")
    (track,) = read_body_tracks(tmp_path / "a.pt")
    assert track.camera is not None
    np.testing.assert_allclose(track.camera.translations, motion.camera_transl, atol=1e-6)
    rows = wham(Motion(24), tmp_path)
    both = rows | {f"1{key[1:]}": value for key, value in rows.items()}
    np.savez(tmp_path / "b.npz", **both)
    assert len(read_body_tracks(tmp_path / "b.npz")) == 2


def test_damage_and_the_unknown_are_refused(tmp_path):
    rows = gvhmr(Motion(22), tmp_path)
    rows["smpl_params_incam/transl"] = rows["smpl_params_incam/transl"] * np.nan
    np.savez(tmp_path / "a.npz", **rows)
    with pytest.raises(UserError, match="not finite"):
        read_body_tracks(tmp_path / "a.npz")
    spoiled = {
        "transl": np.zeros((T + 1, 3)),
        "body_pose": np.array(["a"]),
        "global_orient": np.zeros(3),
    }
    for key, value in spoiled.items():
        np.savez(
            tmp_path / "a.npz",
            **(gvhmr(Motion(22), tmp_path) | {f"smpl_params_incam/{key}": value}),
        )
        with pytest.raises(UserError, match=r"GVHMR|frames"):
            read_body_tracks(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", poses=np.zeros((T, 30)), trans=np.zeros((T, 3)))
    with pytest.raises(UserError, match="10 joints"):
        read_body_tracks(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", speed=np.zeros(3))
    with pytest.raises(UserError, match="speed"):
        read_body_tracks(tmp_path / "c.npz")


def seen(motion: Motion, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """(keypoints of our mean body of another size in the motion's pose, its limb joints in the camera)."""
    rest = np.asarray(load_anny().joints_template) * scale
    rotations = np.zeros((T, 55, 3))
    rotations[:, 1:22] = motion.body[:, :21]
    pelvis = motion.camera_transl + motion.rest
    joints = pelvis[:, None] + limb_offsets(rest, rotations, motion.camera_root)
    keypoints = np.zeros((T, 18, 3))
    keypoints[:, 2:14, :2] = joints[..., :2] / joints[..., 2:] * 300 + [160, 120]
    keypoints[:, 2:14, 2] = 1
    return keypoints, joints


@pytest.mark.parametrize("known", ["both", "camera", "world", "another focal length"])
def test_the_body_stands_where_the_keypoints_see_it(tmp_path, known):
    """The size is found from keypoints, whatever frames the file knows; the ground is at 0."""
    motion = Motion(22)
    rows = gvhmr(motion, tmp_path)
    drop = {"camera": "smpl_params_global", "world": "smpl_params_incam"}.get(known, "?")
    np.savez(tmp_path / "a.npz", **{k: v for k, v in rows.items() if not k.startswith(drop)})
    keypoints, joints = seen(motion, 1.08)
    cameras, factor = K.copy(), 1.0
    if known == "another focal length":
        factor = 1.5
        cameras[:, [0, 1], [0, 1]] *= factor
    body = FileBody(read_body_tracks(tmp_path / "a.npz"))
    body.check_clip(T, HEIGHT, WIDTH)
    found = body.recover(CLIP, keypoints, MASK, PointMaps.unknown(cameras.astype(np.float32), 2, 2))
    world = found.rest_joints[0] + found.translations
    placed = world[:, None] + limb_offsets(
        found.rest_joints, found.rotations, found.rotations[:, 0]
    )
    back = invert_rigid(found.Ts_world_camera)
    local = np.einsum("tij,tnj->tni", back[:, :3, :3], placed) + back[:, None, :3, 3]
    pixels = local[..., :2] / local[..., 2:] * 300 * factor + [160, 120]
    np.testing.assert_allclose(pixels, keypoints[:, 2:14, :2], atol=2.0 if factor == 1 else 6.0)
    if known in ("both", "camera"):  # else size and distance go together
        np.testing.assert_allclose(local, joints, atol=0.03)
    if known in ("both", "world"):
        pitch = found.Ts_world_camera[0, 1, 2]
        assert abs(pitch - motion.T_world_camera[1, 2]) < 0.02
    assert -0.03 < placed[..., 1].min() < 0.2  # ankles


def test_a_person_is_told_by_the_mask(tmp_path):
    motion = Motion(24)
    rows = wham(motion, tmp_path)
    aside = {f"1{key[1:]}": value.copy() for key, value in rows.items()}
    aside["1/trans"] += [1.2, 0, 0]
    np.savez(tmp_path / "a.npz", **rows, **aside)
    body = FileBody(read_body_tracks(tmp_path / "a.npz"))
    mask = np.zeros_like(MASK)
    mask[:, :, WIDTH * 2 // 3 :] = True
    keypoints, _ = seen(motion, 1.0)
    for where, x in ((mask, 1.2), (~mask, 0.0)):
        found = body.recover(
            CLIP, keypoints * 0, where, PointMaps.unknown(K.astype(np.float32), 2, 2)
        )
        back = invert_rigid(found.Ts_world_camera)
        pelvis = np.einsum("tij,tj->ti", back[:, :3, :3], found.rest_joints[0] + found.translations)
        np.testing.assert_allclose(
            pelvis[:, 0] + back[:, 0, 3], motion.camera_transl[:, 0] + motion.rest[0] + x, atol=1e-3
        )


def test_frames_that_a_track_lacks_are_between_its_neighbors(tmp_path):
    motion = Motion(24)
    rows = {key: value[[0, 1, 3, 4]] for key, value in wham(motion, tmp_path).items()}
    np.savez(tmp_path / "a.npz", **rows)
    found = FileBody(read_body_tracks(tmp_path / "a.npz")).recover(
        CLIP, np.zeros((T, 18, 3)), MASK, PointMaps.unknown(K.astype(np.float32), 2, 2)
    )
    turn = Rotation.from_rotvec(found.rotations[:, 5].astype(float))
    between = (turn[1].inv() * turn[3]).magnitude()
    np.testing.assert_allclose((turn[1].inv() * turn[2]).magnitude(), between / 2, rtol=1e-3)


def test_a_camera_is_found_from_points_and_their_pixels():
    rng = np.random.default_rng(3)
    wanted = look_at(np.array([-2.0, 1.7, -3.0]), np.array([0.1, 0.9, 0.2])).astype(float)
    points = rng.normal(0, 0.4, (T, 12, 3)) + np.array([0, 1, 0])
    local = (points - wanted[:3, 3]) @ wanted[:3, :3]
    pixels = np.concatenate(
        [local[..., :2] / local[..., 2:] * 300 + [160, 120], np.ones((T, 12, 1))], -1
    )
    pixels[0, 0] = [5, 5, 1]  # an outlier
    np.testing.assert_allclose(camera_of_world(points, pixels, K), wanted, atol=0.02)


@pytest.mark.skipif(not DATA.is_dir(), reason="the clips are not here")
@pytest.mark.parametrize("name", ["hmr4d_results.pt", "hmr4d_results.npz"])
def test_the_real_gvhmr_files_reproject_onto_the_real_vitpose_file(name):
    from hoijax.importers.keypoints import read_keypoints

    (track,) = read_body_tracks(DATA / "tennis" / name)
    assert (track.layout, len(track.joint_rotations)) == ("GVHMR", 312)
    assert track.camera is not None
    assert track.world is not None
    assert track.intrinsics is not None
    keypoints = read_keypoints(DATA / "tennis/vitpose.pt").points[:, 0]
    cameras = track.intrinsics.at(812, 720).astype(float)
    found = FileBody([track]).recover(
        Video(np.zeros((312, 2, 2, 3), np.uint8), 30.0),
        keypoints,
        np.zeros((312, 720, 812), bool),
        PointMaps.unknown(cameras.astype(np.float32), 2, 2),
    )
    world = found.rest_joints[0] + found.translations
    joints = world[:, None] + limb_offsets(
        found.rest_joints, found.rotations, found.rotations[:, 0]
    )
    back = invert_rigid(found.Ts_world_camera)
    local = np.einsum("tij,tnj->tni", back[:, :3, :3], joints) + back[:, None, :3, 3]
    pixels = local[..., :2] / local[..., 2:] * cameras[0, 0, 0] + cameras[0, :2, 2]
    off = np.linalg.norm(pixels - keypoints[:, 2:14, :2], axis=-1)[keypoints[:, 2:14, 2] > 0.5]
    assert np.median(off) < 0.015 * 720


def test_a_motion_of_another_rate_plays_at_the_clips(tmp_path):
    """AMASS at 40 frames a second with a clip of 10: every fourth row."""
    rows = amass(Motion(52), tmp_path)
    np.savez(tmp_path / "clip.npz", **rows)
    times = np.arange(4 * (T - 1) + 1) / 4
    first = np.minimum(times.astype(int), T - 2)
    share = (times - first)[:, None]
    fast = {
        k: (1 - share) * rows[k][first] + share * rows[k][first + 1] for k in ("poses", "trans")
    }
    np.savez(tmp_path / "fast.npz", **rows | fast | {"mocap_framerate": np.array(40.0)})
    body, lines = FileBody(read_body_tracks(tmp_path / "fast.npz")), []
    body.played_at(10.0, lines.append)
    assert "40 frames a second" in lines[0]
    (wanted,), (found,) = read_body_tracks(tmp_path / "clip.npz"), body.tracks
    assert found.world is not None
    assert wanted.world is not None
    np.testing.assert_allclose(found.joint_rotations, wanted.joint_rotations, atol=1e-5)
    np.testing.assert_allclose(found.world.orientations, wanted.world.orientations, atol=1e-5)
    np.testing.assert_allclose(found.world.translations, wanted.world.translations, atol=1e-5)


NOMINAL = 5000 / 256 * WIDTH
"""Focal length that HMR2 assumes of the clip."""


def through_hmr2(motion: Motion) -> dict:
    """A motion as HMR2 sees it: much farther off through its long lens, on the same pixels, turned alike."""
    pelvis = motion.camera_transl + motion.rest
    far = pelvis * [1, 1, NOMINAL / K[0, 0, 0]]
    turns = [
        Rotation.align_vectors([b / np.linalg.norm(b)], [a / np.linalg.norm(a)])[0]
        for a, b in zip(pelvis, far, strict=True)
    ]
    root = (Rotation.concatenate(turns) * Rotation.from_rotvec(motion.camera_root)).as_rotvec()
    return humans_4d(motion, None) | {
        "pred_smpl_params/global_orient": motion.matrices(root)[:, :1],
        "pred_cam_t_full": far - motion.rest,
    }


def phalp(motion: Motion) -> dict:
    """The same as the tracks of `track.py`, flattened as the docs say; a second person comes late."""
    rows, flat = through_hmr2(motion), {}
    for t in range(T):
        image = f"outputs//_DEMO/clip/img/{t + 1:06d}.jpg"
        flat[f"{image}/time"] = np.array(t)
        for n, (number, unseen) in enumerate([(7, 0), (9, int(t == T - 1))][: 1 if t < 2 else 2]):
            flat[f"{image}/tid/{n}"], flat[f"{image}/tracked_time/{n}"] = number, unseen
            flat[f"{image}/camera/{n}"] = rows["pred_cam_t_full"][t] + [8.0 * n, 0, 0]
            for name in ("global_orient", "body_pose", "betas"):
                flat[f"{image}/smpl/{n}/{name}"] = rows[f"pred_smpl_params/{name}"][t]
    return flat


def test_hmr2s_lens_is_not_the_clips(tmp_path):
    """4D-Humans assumes one focal length of all images: its people come near, and stay on their pixels."""
    motion = Motion(24)
    np.savez(tmp_path / "a.npz", **phalp(motion))
    tracks = read_body_tracks(tmp_path / "a.npz")
    assert [len(t.joint_rotations) for t in tracks] == [T, T - 3]
    assert tracks[1].frames is not None
    assert tracks[1].frames.tolist() == [2, 3]
    hmr2 = {key: value for key, value in through_hmr2(motion).items() if key != "focal_length"}
    np.savez(tmp_path / "b.npz", **hmr2)
    keypoints, joints = seen(motion, 1.0)
    for people in (tracks[:1], read_body_tracks(tmp_path / "b.npz")):
        body = FileBody(people)
        assert body.intrinsics is None
        found = body.recover(CLIP, keypoints, MASK, PointMaps.unknown(K.astype(np.float32), 2, 2))
        world = found.rest_joints[0] + found.translations
        placed = world[:, None] + limb_offsets(
            found.rest_joints, found.rotations, found.rotations[:, 0]
        )
        back = invert_rigid(found.Ts_world_camera)
        local = np.einsum("tij,tnj->tni", back[:, :3, :3], placed) + back[:, None, :3, 3]
        np.testing.assert_allclose(local, joints, atol=0.01)
