"""What retargeting to robots reads: joint places, stature, the object's pose, and where who touches it.

Keys of holosoma's own npz (`global_joint_positions`, `height`, and `object_poses` beside them), z up, metres,
30 frames a second; contacts beside them are ours. One file for each person and object.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.bodies.kinematics import BODY_JOINT_COUNT, JOINT_NAMES
from hoijax.exporters.clip import Clip, turned_clip
from hoijax.exporters.intermimic import MUJOCO_ORDER, owning_joint
from hoijax.exporters.options import ExportOptions
from hoijax.exporters.resample import resample_clip
from hoijax.exporters.skin_contact import skin_near_object
from hoijax.geometry.transforms import Z_UP_FROM_Y_UP

FORMAT = "holosoma"
FPS = 30.0
THRESHOLDS = (0.01, 0.02, 0.05)
"""Metres within which a link touches."""
REACH = 0.10
"""Metres beyond which no distance is looked for."""


def save_holosoma(path: str | Path, clip: Clip, *, person: int = 0, object_: int = 0) -> Path:
    """Write one person with one object, or with none where the clip has none.

    global_joint_positions (T, 22, 3), joint_names; height: of the body at rest, metres; object_poses (T, 7):
    quaternion wxyz and place. Ours: contact_1cm, contact_2cm, contact_5cm (T, 52) by link of `link_names`
    (the order of the MuJoCo humanoid); contact_distance (T, 52), infinite beyond 10 cm; contact_points
    (T, 52, 3), on the object's surface in the object's own frame, NaN where nothing is within 5 cm.
    """
    from scipy.spatial.transform import Rotation

    clip = resample_clip(clip, FPS)
    turned = turned_clip(clip, Z_UP_FROM_Y_UP)
    who = turned.people[person]
    rest = np.asarray(who.shaped.vertices_rest)
    arrays = {
        "global_joint_positions": who.Ts_world_joint[:, :BODY_JOINT_COUNT, :3, 3].astype(
            np.float32
        ),
        "height": np.float64(np.ptp(rest[:, 1])),
        "fps": np.float64(FPS),
        "joint_names": np.array(JOINT_NAMES[:BODY_JOINT_COUNT]),
    }
    if clip.assets:
        poses = turned.Ts_world_object[object_].astype(np.float64)
        turns = Rotation.from_matrix(poses[:, :3, :3]).as_quat(scalar_first=True)
        distance, points = link_contacts(clip, person, object_)
        arrays |= {
            "object_poses": np.concatenate([turns, poses[:, :3, 3]], axis=1).astype(np.float32),
            "object_name": np.array(clip.assets[object_].name),
            "link_names": np.array([JOINT_NAMES[joint] for joint in MUJOCO_ORDER]),
            "contact_distance": distance.astype(np.float32),
            "contact_points": points.astype(np.float32),
            **contact_labels(distance),
        }
    path = Path(path)
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def contact_labels(distance: Float[ndarray, "T 52"]) -> dict[str, Bool[ndarray, "T 52"]]:
    """contact_1cm ...: which links touch, by how near counts."""
    return {f"contact_{round(100 * limit)}cm": distance < limit for limit in THRESHOLDS}


def link_contacts(
    clip: Clip, person: int, object_: int
) -> tuple[Float[ndarray, "T 52"], Float[ndarray, "T 52 3"]]:
    """(distance of every link's skin to an object, nearest point of its surface in the object's frame).

    Infinite and NaN where no skin of the link is near; points only within the largest threshold.
    """
    near = skin_near_object(clip, person, object_, REACH)
    columns = np.full(len(JOINT_NAMES), -1)
    columns[list(MUJOCO_ORDER)] = np.arange(len(MUJOCO_ORDER))
    links = columns[owning_joint(clip.people[person])][near.vertices]
    distance = np.full((clip.frame_count, len(MUJOCO_ORDER)), np.inf)
    points = np.full((*distance.shape, 3), np.nan)
    gaps = near.on_object.distances
    touching = np.argsort(-gaps)[gaps[np.argsort(-gaps)] < REACH]  # the nearest is written last
    for i in touching:
        frame, link = near.frames[i], links[i]
        distance[frame, link] = gaps[i]
        points[frame, link] = near.on_object.closest[i] if gaps[i] < max(THRESHOLDS) else np.nan
    return distance, points


def write(clip: Clip, folder: Path, options: ExportOptions) -> list[Path]:
    """holosoma.npz, and one more for every further object and person."""
    paths = []
    for p in range(len(clip.people)):
        for o in range(max(len(clip.assets), 1)):
            name = "holosoma" if o == 0 else f"holosoma_object_{o + 1}"
            name = name if p == 0 else f"{name}_person_{p + 1}"
            paths.append(save_holosoma(folder / f"{name}.npz", clip, person=p, object_=o))
    return paths
