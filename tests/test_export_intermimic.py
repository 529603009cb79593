"""The 591 columns read as InterMimic and holosoma read them: posed by their own rules they give our scene."""

import dataclasses

import numpy as np
import pytest
import trimesh
from export_scene import FRAMES, export_clip
from scipy.spatial.transform import Rotation

from hoijax.bodies.anny import load_anny
from hoijax.bodies.skinned_body import JOINT_NAMES, JOINT_PARENTS
from hoijax.errors import UserError
from hoijax.exporters import hoi_retarget
from hoijax.exporters.clip import turned_clip
from hoijax.exporters.intermimic import save_intermimic, skin_distances
from hoijax.exporters.options import ExportOptions
from hoijax.exporters.resample import resample_clip
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP
from hoijax.importers.intermimic import import_intermimic
from hoijax.importers.mesh_motions import read_mesh_motions

TURN = Z_UP_FROM_Y_UP.astype(np.float64)
# the order of the humanoid's links, by name: written down again, not imported
LIMBS = (
    "pelvis left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot spine1 "
    "spine2 spine3 neck head left_collar left_shoulder left_elbow left_wrist"
)
LINKS = LIMBS.split()
HAND = [
    f"{finger}{k}" for finger in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3)
]
LINKS += [f"left_{finger}" for finger in HAND]
LINKS += ["right_collar", "right_shoulder", "right_elbow", "right_wrist"]
LINKS += [f"right_{finger}" for finger in HAND]
JOINTS = [JOINT_NAMES.index(name) for name in LINKS]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = save_intermimic(tmp_path_factory.mktemp("im") / "intermimic.npz", export_clip())
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def test_the_tensor_is_read_back(tmp_path):
    """As a .pt of the bare tensor, which has no bone lengths but those between its joints."""
    torch = pytest.importorskip("torch")
    clip = export_clip()
    stored = dict(np.load(save_intermimic(tmp_path / "x.npz", clip), allow_pickle=False))
    path = tmp_path / "sub1_crate_000.pt"
    torch.save(torch.from_numpy(stored["motion"]), path)
    back, truth = import_intermimic(path), resample_clip(clip, 30.0)
    assert back.object_names == ("crate",)
    assert import_intermimic(tmp_path / "x.npz").object_names == ("box",)
    person = back.person(load_anny())
    joints = [j for j in range(55) if not 22 <= j < 25]
    np.testing.assert_allclose(
        person.Ts_world_joint[:, joints], truth.people[0].Ts_world_joint[:, joints], atol=2e-5
    )
    np.testing.assert_allclose(back.Ts_world_object[0], truth.Ts_world_object[0], atol=1e-5)
    (motion,) = read_mesh_motions(path, ["box"])
    assert motion.fps == 30
    assert motion.object_name == "box"


def test_tensors_of_another_width_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.zeros(4, 331), tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"\(T, 591\) tensor, found a tensor \(4, 331\)"):
        read_mesh_motions(tmp_path / "a.pt")
    torch.save(torch.zeros(4, 591), tmp_path / "b.pt")
    with pytest.raises(UserError, match="quaternions of length 0"):
        read_mesh_motions(tmp_path / "b.pt")


def test_places_and_object_pose_are_where_holosoma_reads_them(stored):
    motion, clip = stored["motion"], export_clip()
    assert motion.shape == (FRAMES, 591)
    assert motion.dtype == np.float32
    assert stored["joint_names"].tolist() == LINKS
    joints = clip.people[0].Ts_world_joint[..., :3, 3][:, JOINTS] @ TURN.T
    np.testing.assert_allclose(motion[:, 162 : 162 + 156].reshape(-1, 52, 3), joints, atol=1e-5)
    wxyz_xyz = motion[:, 318:325][:, [6, 3, 4, 5, 0, 1, 2]]
    corner = clip.assets[0].vertices[3]
    turned = Rotation.from_quat(wxyz_xyz[:, [1, 2, 3, 0]]).apply(corner) + wxyz_xyz[:, 4:]
    T = clip.Ts_world_object[0].astype(np.float64)
    np.testing.assert_allclose(turned, (T[:, :3, :3] @ corner + T[:, :3, 3]) @ TURN.T, atol=1e-5)
    assert not motion[:, [7, 8, *range(325, 330)]].any()


def test_the_humanoids_own_kinematics_give_the_joints(stored):
    """Links upright at rest, chained by dof_pos as a simulator would."""
    motion, rest = stored["motion"].astype(np.float64), stored["rest_joints"].astype(np.float64)
    upright = Rotation.from_quat([0.5, 0.5, 0.5, 0.5])
    rotations, places = {0: Rotation.from_quat(motion[:, 3:7])}, {0: motion[:, 0:3]}
    dofs = motion[:, 9:162].reshape(-1, 51, 3)
    for k, joint in enumerate(JOINTS[1:]):
        parent = JOINT_PARENTS[joint]
        rotations[joint] = rotations[parent] * Rotation.from_rotvec(dofs[:, k])
        offset = upright.apply(rest[joint] - rest[parent])
        places[joint] = places[parent] + rotations[parent].apply(offset)
    found = np.stack([places[joint] for joint in JOINTS], 1)
    np.testing.assert_allclose(found, motion[:, 162:318].reshape(-1, 52, 3), atol=1e-5)
    body_rot = Rotation.from_quat(motion[:, 383:591].reshape(-1, 4))
    chained = np.stack([rotations[joint].as_matrix() for joint in JOINTS], 1).reshape(-1, 3, 3)
    np.testing.assert_allclose(body_rot.as_matrix(), chained, atol=1e-5)


def test_contacts_are_labeled_by_distance(stored):
    clip, motion = export_clip(), stored["motion"]
    assert (motion[:, 330] == 1).all()
    labels = dict(zip(LINKS, motion[:, 331:383].T, strict=True))
    assert (labels["left_wrist"] == 1).all()
    assert (labels["right_wrist"] == -1).all()
    assert set(np.unique(motion[:, 331:383])) <= {-1.0, 0.0, 1.0}
    far = dataclasses.replace(clip, Ts_world_object=clip.Ts_world_object + _up(9.0))
    assert np.isinf(skin_distances(far, 0, 0)).all()


def test_distances_are_exact_where_they_count():
    clip = export_clip()
    distances = skin_distances(clip, 0, 0)[2]
    asset, T = clip.assets[0], clip.Ts_world_object[0, 2].astype(np.float64)
    local = (clip.people[0].vertices_world[2] - T[:3, 3]) @ T[:3, :3]
    chosen = np.flatnonzero(np.isfinite(distances))[::40]
    assert len(chosen) > 20
    mesh = trimesh.Trimesh(asset.vertices, asset.faces, process=False)
    _, expected, _ = trimesh.proximity.closest_point_naive(mesh, local[chosen])
    np.testing.assert_allclose(distances[chosen], expected, atol=1e-6)
    low, high = asset.vertices.min(0), asset.vertices.max(0)
    outside = np.linalg.norm(np.maximum(np.maximum(low - local, local - high), 0), axis=1)
    assert (outside[np.isinf(distances)] > 0.0999).all()


def test_a_pt_made_of_it_is_read_without_pickle(stored, tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.from_numpy(stored["motion"]), tmp_path / "sub1_box_000.pt")
    read = torch.load(tmp_path / "sub1_box_000.pt", weights_only=True)
    np.testing.assert_array_equal(read.numpy(), stored["motion"])


def test_without_an_object_it_is_refused(tmp_path):
    clip = export_clip()
    empty = dataclasses.replace(clip, assets=(), Ts_world_object=clip.Ts_world_object[:0])
    with pytest.raises(UserError, match="needs an object"):
        save_intermimic(tmp_path / "x.npz", empty)


def _up(metres: float) -> np.ndarray:
    shift = np.zeros((4, 4), np.float32)
    shift[1, 3] = metres
    return shift


def test_hoi_retarget_gets_the_tensor_and_meshes_about_their_centroids(tmp_path):
    """Read by its own rules: frame 0 dropped, the obj turned about the centroid of its vertices."""
    clip = export_clip()
    paths = hoi_retarget.write(clip, tmp_path, ExportOptions())
    assert {path.name for path in paths} >= {"hoi_retarget.npz", "hoi_retarget_object_1.obj"}
    with np.load(tmp_path / "hoi_retarget.npz", allow_pickle=False) as stored:
        motion = stored["motion"][1:]
    truth = turned_clip(resample_clip(clip, 30.0), Z_UP_FROM_Y_UP)
    assert motion.shape == (truth.frame_count, 591)
    mesh = trimesh.load_mesh(tmp_path / "hoi_retarget_object_1.obj", process=False)
    np.testing.assert_allclose(mesh.vertices.mean(axis=0), 0.0, atol=1e-6)
    R = Rotation.from_quat(motion[:, 321:325]).as_matrix()
    world = np.einsum("tij,vj->tvi", R, mesh.vertices) + motion[:, None, 318:321]
    T = truth.Ts_world_object[0].astype(np.float64)
    vertices = np.unique(truth.assets[0].vertices, axis=0)
    expected = np.einsum("tij,vj->tvi", T[:, :3, :3], vertices) + T[:, None, :3, 3]
    np.testing.assert_allclose(world, expected, atol=2e-5)
    with np.load(save_intermimic(tmp_path / "x.npz", clip)) as plain:
        np.testing.assert_allclose(motion[:, 331:383], plain["motion"][:, 331:383])
