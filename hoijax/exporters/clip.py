"""What every exporter takes: people and objects moving through a clip."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, Float, Int
from numpy import ndarray

from hoijax.bodies.posed_person import pose_clip
from hoijax.bodies.skinned_body import JOINT_PARENTS, ShapedBody, SkinnedBody, as_numpy
from hoijax.geometry.transforms import compose_rigid
from hoijax.objects.articulated.joints import Joint
from hoijax.objects.asset import Asset
from hoijax.programs import program
from hoijax.runtime import on_device

if TYPE_CHECKING:
    from scipy.spatial import KDTree

    from hoijax.results.observed import FoundBundle
    from hoijax.results.result import Result

PERSON_COLORS = ((0.50, 0.60, 0.76), (0.74, 0.56, 0.66), (0.52, 0.70, 0.58), (0.72, 0.68, 0.50))
OBJECT_COLORS = ((0.86, 0.46, 0.20), (0.20, 0.58, 0.52), (0.80, 0.66, 0.22), (0.62, 0.36, 0.62))
"""Linear RGB of masks and points, one per person and object, from the first again when there are more."""
CLAYS = ((0.46, 0.42, 0.36), (0.30, 0.27, 0.24), (0.60, 0.56, 0.50), (0.37, 0.34, 0.29))
"""Linear greys of objects whose files have no colors, one per object."""


@dataclass(frozen=True)
class PersonClip:
    """One person's motion. Axis-angle local to the parent, translation as in SMPL-X."""

    body_name: str
    """Name of the body model: "anny", "smplx" ..."""
    shaped: ShapedBody
    """Rest mesh, joints and skin, on the host."""
    betas: Float[ndarray, "B"]
    joint_rotations: Float[ndarray, "T 55 3"]
    translations: Float[ndarray, "T 3"]

    @cached_property
    def Ts_world_joint(self) -> Float[ndarray, "T 55 4 4"]:
        """Joint frames of every frame, float64; at rest they are aligned with the world."""
        from scipy.spatial.transform import Rotation

        rest = np.asarray(self.shaped.joints_rest, np.float64)
        vectors = self.joint_rotations.astype(np.float64).reshape(-1, 3)
        local = np.zeros((len(self.joint_rotations), len(rest), 4, 4))
        local[..., :3, :3] = (
            Rotation.from_rotvec(vectors).as_matrix().reshape(*local.shape[:2], 3, 3)
        )
        local[..., 3, 3] = 1.0
        local[:, 0, :3, 3] = rest[0] + self.translations
        for joint, parent in enumerate(JOINT_PARENTS[1:], start=1):
            local[:, joint, :3, 3] = rest[joint] - rest[parent]
            local[:, joint] = local[:, parent] @ local[:, joint]  # parents come first
        return local

    @cached_property
    def vertices_world(self) -> Float[ndarray, "T V 3"]:
        """Skin in every frame, metres."""
        shaped = jax.device_put(self.shaped)
        rotations = on_device(self.joint_rotations, np.float32)
        translations = on_device(self.translations, np.float32)
        return np.asarray(pose_clip(shaped, rotations, translations).vertices_world)


@dataclass(frozen=True)
class ClipView:
    """The video that a clip was read off, and the camera that saw it."""

    video: Path
    intrinsics: Float[ndarray, "T 3 3"]
    """Of the video's pixels."""
    Ts_world_camera: Float[ndarray, "T 4 4"]


@dataclass(frozen=True)
class Clip:
    """People and objects over T frames at `fps`; world frame, metres, y up, ground at y = 0."""

    fps: float
    people: tuple[PersonClip, ...]
    assets: tuple[Asset, ...]
    Ts_world_object: Float[ndarray, "O T 4 4"]
    joints: tuple[Joint, ...] = ()
    """Joints between objects, by index: links of articulated objects."""
    joint_values: Float[ndarray, "D T"] | None = None
    """Radians or metres."""
    view: ClipView | None = None
    """Where a clip comes from a video that is still there."""

    @property
    def frame_count(self) -> int:
        return int(self.Ts_world_object.shape[1])

    @cached_property
    def sample_trees(self) -> tuple["KDTree", ...]:
        """Nearest surface sample of every object, in its own frame."""
        from scipy.spatial import KDTree

        return tuple(KDTree(asset.samples) for asset in self.assets)

    def to_world(
        self, points: Float[ndarray, "V 3"], index: int, frame: int
    ) -> Float[ndarray, "V 3"]:
        """Points of an object's own frame where they are in one frame of the clip."""
        T_world_object = self.Ts_world_object[index, frame].astype(np.float32)
        return points @ T_world_object[:3, :3].T + T_world_object[:3, 3]


def make_person(
    body: SkinnedBody,
    joint_rotations: Float[ndarray, "T 55 3"],
    translations: Float[ndarray, "T 3"],
    betas: Float[ndarray, "B"],
    rest_joints: Float[ndarray, "55 3"] | None = None,
) -> PersonClip:
    """A person from body parameters; `rest_joints` replace the bone lengths that the betas give."""
    rest = None if rest_joints is None else on_device(rest_joints, np.float32)
    shaped = _shaped(jax.device_put(body), on_device(betas, np.float32), rest)
    return PersonClip(body.name, as_numpy(shaped), betas, joint_rotations, translations)


@program
def _shaped(
    body: SkinnedBody, betas: Float[Array, " B"], rest_joints: Float[Array, "J 3"] | None
) -> ShapedBody:
    shaped = body.shape(betas[: body.shape_directions.shape[-1]])
    return shaped if rest_joints is None else shaped.with_rest_joints(rest_joints)


def clip_from_result(result: "Result", body: SkinnedBody) -> Clip:
    """The winner of a result, on the body it was solved with."""
    people = [
        make_person(
            body,
            result.body_rotations[p],
            result.body_translations[p],
            result.body_betas[p],
            result.body_rest_joints[p],
        )
        for p in range(len(result.body_betas))
    ]
    values = None if result.joint_values is None else result.joint_values[result.winner]
    joints = (result.joints, values)
    return Clip(result.fps, tuple(people), result.assets, result.Ts_world_object, *joints)


def clip_view(result: "Result", source: "FoundBundle | None") -> ClipView | None:
    """How the video of a result's bundle saw it; None where there is no video."""
    from hoijax.results.observed import camera_poses

    if source is None or source.video is None:
        return None
    rotations, positions = camera_poses(result.Ts_world_pointmap)
    intrinsics = np.asarray(source.bundle.observations.intrinsics, np.float64)
    return ClipView(source.video, intrinsics, compose_rigid(rotations, positions))


def turn_world(
    joint_rotations: Float[ndarray, "T 55 3"],
    translations: Float[ndarray, "T 3"],
    rest_pelvis: Float[ndarray, "3"],
    rotation: Float[ndarray, "3 3"],
) -> tuple[Float[ndarray, "T 55 3"], Float[ndarray, "T 3"]]:
    """The same motion in a world turned by `rotation`.

    SMPL-X rotates the body about the rest pelvis and then adds the translation, so the pelvis is at
    rest_pelvis + translation, and that sum is what turns.
    """
    from scipy.spatial.transform import Rotation

    turned = joint_rotations.copy()
    root = Rotation.from_matrix(rotation) * Rotation.from_rotvec(joint_rotations[:, 0])
    turned[:, 0] = root.as_rotvec()
    return turned, (translations + rest_pelvis) @ rotation.T - rest_pelvis


def turned_clip(clip: Clip, rotation: Float[ndarray, "3 3"]) -> Clip:
    """People and objects in a world turned by `rotation` (such as Z_UP_FROM_Y_UP)."""
    rotation = np.asarray(rotation, np.float64)

    def person(who: PersonClip) -> PersonClip:
        rotations, translations = turn_world(
            who.joint_rotations.astype(np.float64),
            who.translations.astype(np.float64),
            np.asarray(who.shaped.joints_rest, np.float64)[0],
            rotation,
        )
        return dataclasses.replace(
            who,
            joint_rotations=rotations.astype(np.float32),
            translations=translations.astype(np.float32),
        )

    T_turned_world = np.eye(4)
    T_turned_world[:3, :3] = rotation
    poses = (T_turned_world @ clip.Ts_world_object.astype(np.float64)).astype(np.float32)
    people = tuple(person(who) for who in clip.people)
    return dataclasses.replace(clip, people=people, Ts_world_object=poses, view=None)


def part_colors(asset: Asset, index: int) -> Float[ndarray, "Q 3"]:
    """Linear RGB for every part of object `index`, and in the last row for faces without part.

    Shades of one grey clay, so that parts can be told apart and still look like one object.
    """
    base = np.array(CLAYS[index % len(CLAYS)], np.float32)
    shades = 1.0 - 0.45 * np.arange(len(asset.part_names)) / max(len(asset.part_names), 1)
    return np.concatenate([shades[:, None] * base, base[None]]).astype(np.float32)


def face_part_runs(face_parts: Int[ndarray, "F"]) -> Sequence[int]:
    """Part indices that occur on an asset's faces, -1 last."""
    parts = np.unique(face_parts).tolist()
    return [p for p in parts if p >= 0] + ([-1] if -1 in parts else [])
