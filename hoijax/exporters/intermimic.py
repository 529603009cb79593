"""Motion of one person and one object as InterMimic's (T, 591) tensor, in an npz.

The columns are those that InterMimic reads and InterAct's converter writes (the code of both, and
holosoma's retargeting, which takes body places and the object's pose): see COLUMNS. World z up, metres,
30 frames a second, quaternions xyzw. The 52 SMPL-H joints come in the order of the MuJoCo humanoid
(MUJOCO_ORDER). Rotations are those of a humanoid whose links stand upright at rest: a joint's world
rotation R becomes R Q^-1 with Q = xyzw (1/2, 1/2, 1/2, 1/2), and dof_pos are axis-angles between a
link and its parent.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bodies.kinematics import JOINT_NAMES, JOINT_PARENTS, SMPLH_JOINTS
from hoijax.errors import UserError
from hoijax.exporters.clip import Clip, PersonClip, turned_clip
from hoijax.exporters.resample import resample_clip
from hoijax.exporters.skin_contact import skin_near_object
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP

FPS = 30.0
COLUMNS = {
    "root_pos": slice(0, 3),
    "root_rot": slice(3, 7),
    "dof_pos": slice(9, 162),
    "body_pos": slice(162, 318),
    "obj_pos": slice(318, 321),
    "obj_rot": slice(321, 325),
    "contact_obj": slice(330, 331),
    "contact_human": slice(331, 383),
    "body_rot": slice(383, 591),
}
"""Columns 7-8 and 325-329 are read by nobody and are zero."""
WIDTH = 591
MUJOCO_ORDER = (
    *(0, 1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12, 15, 13, 16, 18, 20),
    *range(25, 40),
    *(14, 17, 19, 21),
    *range(40, 55),
)
"""Places of the 52 joints among SMPL-X's 55: each limb to its end, left before right."""
UPRIGHT_QUATERNION = (0.5, 0.5, 0.5, 0.5)
TOUCHING, APART = 0.02, 0.10
"""Metres: a link with skin within the first touches, one with no skin within the second does not."""
FEET = (7, 8, 10, 11)


def save_intermimic(path: str | Path, clip: Clip, *, person: int = 0, object_: int = 0) -> Path:
    """Write `motion` (T, 591) float32 with fps, object_name, joint_names and rest_joints.

    contact_human is 1 for touching, -1 for apart, 0 for not to say (near, or a foot at the ground);
    contact_obj is 1 in frames in which any skin touches. Hands are relative to the flat hand.
    As a .pt: `torch.save(torch.from_numpy(np.load(path)["motion"]), "sub1_box_000.pt")`.
    Raises UserError when the clip has no such object: InterMimic has no scene without one.
    """
    arrays = {
        "motion": intermimic_motion(clip, person, object_),
        "fps": np.float64(FPS),
        "object_name": np.array(clip.assets[object_].name),
        "joint_names": np.array([JOINT_NAMES[j] for j in MUJOCO_ORDER]),
        "rest_joints": np.asarray(clip.people[person].shaped.joints_rest, np.float32),
    }
    path = Path(path)
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def intermimic_motion(clip: Clip, person: int, object_: int) -> Float[ndarray, "T 591"]:
    """All columns, float32, 30 frames a second. Raises UserError when the clip has no such object."""
    if object_ >= len(clip.assets):
        raise UserError(
            "intermimic needs an object, and this result has none. Leave it out of --to."
        )
    clip = resample_clip(clip, FPS)
    distances = skin_distances(clip, person, object_)
    contact_obj, contact_human = _contacts(clip.people[person], distances)
    turned = turned_clip(clip, Z_UP_FROM_Y_UP)
    motion = _motion(turned.people[person], turned.Ts_world_object[object_])
    motion[:, COLUMNS["contact_obj"]] = contact_obj[:, None]
    motion[:, COLUMNS["contact_human"]] = contact_human
    return motion.astype(np.float32)


def _motion(
    person: PersonClip, Ts_world_object: Float[ndarray, "T 4 4"]
) -> Float[ndarray, "T 591"]:
    """All columns but the contacts, from a clip that is z up already."""
    from scipy.spatial.transform import Rotation

    frames = len(person.translations)
    Ts = person.Ts_world_joint[:, MUJOCO_ORDER]
    upright = Ts[..., :3, :3] @ Rotation.from_quat(UPRIGHT_QUATERNION).as_matrix().T
    parents = [MUJOCO_ORDER.index(JOINT_PARENTS[joint]) for joint in MUJOCO_ORDER[1:]]
    local = upright[:, parents].swapaxes(-1, -2) @ upright[:, 1:]
    quaternions = Rotation.from_matrix(upright.reshape(-1, 3, 3)).as_quat().reshape(frames, -1)
    motion = np.zeros((frames, WIDTH))
    motion[:, COLUMNS["root_pos"]] = Ts[:, 0, :3, 3]
    motion[:, COLUMNS["root_rot"]] = quaternions[:, :4]
    motion[:, COLUMNS["dof_pos"]] = (
        Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(frames, -1)
    )
    motion[:, COLUMNS["body_pos"]] = Ts[..., :3, 3].reshape(frames, -1)
    motion[:, COLUMNS["body_rot"]] = quaternions
    poses = Ts_world_object.astype(np.float64)
    motion[:, COLUMNS["obj_pos"]] = poses[:, :3, 3]
    motion[:, COLUMNS["obj_rot"]] = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    return motion


def skin_distances(clip: Clip, person: int, object_: int) -> Float[ndarray, "T V"]:
    """Distance of every vertex of a person to an object's surface, exact below APART, else infinite."""
    near = skin_near_object(clip, person, object_, APART)
    distances = np.full(clip.people[person].vertices_world.shape[:2], np.inf)
    distances[near.frames, near.vertices] = near.on_object.distances
    return distances


def _contacts(
    person: PersonClip, distances: Float[ndarray, "T V"]
) -> tuple[Float[ndarray, "T"], Float[ndarray, "T 52"]]:
    """(object touched, label of each link) from a person in y up and the distances of the skin."""
    owner = owning_joint(person)
    labels = np.zeros((len(distances), len(MUJOCO_ORDER)))
    for column, joint in enumerate(MUJOCO_ORDER):
        of_joint = owner == joint
        nearest = distances[:, of_joint].min(axis=1, initial=np.inf)
        label = np.where(nearest < TOUCHING, 1.0, np.where(nearest > APART, -1.0, 0.0))
        if joint in FEET:
            lowest = person.vertices_world[:, of_joint, 1].min(axis=1, initial=np.inf)
            label = np.where((label < 0) & (lowest < APART), 0.0, label)
        labels[:, column] = label
    return (distances.min(axis=1) < TOUCHING).astype(np.float64), labels


def owning_joint(person: PersonClip) -> ndarray:
    """The joint with most weight in every vertex; jaw and eyes belong to the head."""
    indices, weights = (
        np.asarray(person.shaped.skin_indices),
        np.asarray(person.shaped.skin_weights),
    )
    owner = np.take_along_axis(indices, weights.argmax(1)[:, None], 1)[:, 0]
    head = JOINT_NAMES.index("head")
    return np.where(np.isin(owner, SMPLH_JOINTS), owner, head)
