"""`BodyRecovery` of a file: what another program recovered, on our body, over the ground of this clip.

The camera frame rules: a body that stands right in the image stays there. The file's world says which
way is up; without one the point maps do, else upright edges of the scene, else the camera is taken to be level.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial.transform import Rotation

from hoijax.bodies.fitting.person import resized
from hoijax.bodies.keypoints import OPENPOSE_18
from hoijax.bodies.kinematics import JOINT_NAMES
from hoijax.errors import UserError
from hoijax.geometry.transforms import compose_rigid
from hoijax.importers.body_tracks import BodyTrack, camera_path
from hoijax.importers.intrinsics import GivenIntrinsics
from hoijax.progress import Log, silent
from priors.models.body_recovery import UP_FROM, BodyRecoverer, SeenPerson, lowest_point
from priors.models.camera_search import camera_of_world
from priors.models.frame_rate import rotations_at, track_at_rate, values_at
from priors.models.from_files import check_length, entries_of, file_id, part_id
from priors.models.hands import swing
from priors.protocols import BodyMotion

__all__ = ["FileBody"]

LIMBS = np.array([JOINT_NAMES.index(name) for name in OPENPOSE_18[2:14]])
LIMB_KEYPOINTS = slice(2, 14)
SURE = 0.3
MAX_SCALE = 1.6
"""And its inverse: a person's size over our mean body's; outside, keypoints and body do not belong together."""
STANDS_STILL = np.radians(15.0)
"""A recovered camera that turns less than this drifts; one that turns more moves."""


@dataclass(frozen=True)
class _Placed:
    """Orientation of the root and place of the pelvis in every frame of the clip."""

    orientations: Float[ndarray, "T 3"]
    pelvis: Float[ndarray, "T 3"]


class FileBody(BodyRecoverer):
    """The people of a file, told apart by their masks; one `recover` a person.

    On an SMPL-X or SMPL-H file of the user the betas hold; on our own body the size is that which
    brings the limbs nearest to the keypoints.
    """

    def __init__(self, tracks: Sequence[BodyTrack], body_name: str = "anny"):
        """body_name: "anny", or the path of the user's SMPL-X or SMPL-H file."""
        self.tracks, self.body_name = tuple(tracks), body_name
        self.model_id = file_id(tracks[0].source)
        self._numbers: Int[ndarray, " T"] | None = None
        self._log: Log = silent

    def measured_at(self, size: tuple[int, int], scale: float) -> None:
        """The file is of a larger clip (width, height), which is read at `scale` times its size."""
        self.tracks = tuple(
            dataclasses.replace(t, intrinsics=t.intrinsics and t.intrinsics.measured_at(size))
            for t in self.tracks
        )

    def of_frames(self, numbers: Int[ndarray, " T"], log: Log = silent) -> None:
        """Only some frames of the file's clip are read, of these numbers. UserError where they are not there."""
        whole = [len(track.joint_rotations) for track in self.tracks if track.frames is None]
        if whole:
            numbers = entries_of("--body", self.tracks[0].source, min(whole), numbers, log)
        self._numbers, self.model_id = numbers, part_id(self.model_id, numbers)

    def played_at(self, fps: float, log: Log = silent) -> None:
        """The clip has this many frames a second: tracks that say another rate are brought to it."""
        before, self.tracks = self.tracks, tuple(track_at_rate(t, fps) for t in self.tracks)
        if before[0].fps != self.tracks[0].fps:
            log(f"body: {before[0].fps:g} frames a second, resampled to the clip's {fps:.4g}")

    @property
    def intrinsics(self) -> GivenIntrinsics | None:
        """Of the file, where it has estimated them."""
        if self.tracks[0].nominal_focal:
            return None
        camera = self.tracks[0].intrinsics
        return camera if self._numbers is None else camera and camera.of_frames(self._numbers)

    def check_clip(self, frames: int, height: int, width: int, log: Log = silent) -> None:
        """UserError where nobody of the file is long enough for the clip."""
        self._log, source = log, self.tracks[0].source
        log(
            f"--body {source}: {len(self.tracks)} of {self.tracks[0].layout} ({self.tracks[0].model})"
        )
        if self.tracks[0].nominal_focal:
            log(
                f"body: the focal length of {self.tracks[0].layout} is a convention; bodies are moved along their "
                "rays into the clip's own camera (--intrinsics, --points, or a guess)"
            )
        whole = [track for track in self.tracks if track.frames is None]
        for track in whole if self._numbers is None else ():
            check_length("--body", source, len(track.joint_rotations), frames, log)
        for track in self.tracks:
            if track.intrinsics is not None:
                track.intrinsics.at(width, height)

    def _check(self, keypoints: ndarray, masks: ndarray) -> None:
        """The file has the body: nobody need be seen."""

    def _recover(self, seen: SeenPerson) -> BodyMotion:
        """The motion of the person whose mask it is."""
        keypoints, person_masks, maps = seen.keypoints, seen.masks, seen.maps
        count, height, width = person_masks.shape
        cameras = np.asarray(maps.intrinsics, np.float64)
        track = self._of_mask(person_masks, cameras)
        rows = self._rows(track, count)
        rotations = rotations_at(track.joint_rotations, rows)
        betas = np.zeros(1, np.float32)
        if self._body.name.startswith("smpl"):
            betas = track.betas[: self._body.shape_directions.shape[-1]]
        rest = np.asarray(self._body.shape(betas).joints_rest, np.float32)
        placed = self._in_camera(track, rows, cameras, height, width)
        if placed is None:
            placed, turns = self._seen_from_world(track, rows, keypoints, cameras, rest, rotations)
        else:
            turns = self._turns(track, rows, seen)
        if not self._body.name.startswith("smpl"):
            scale = fitted_scale(
                rest, rotations, placed.orientations, placed.pelvis, keypoints, cameras
            )
            self._log(f"body: our mean body scaled by {scale:.3f}, by the keypoints")
            betas, rest = resized(self._body, rest, scale)
        return self._grounded(rotations, placed, turns, betas, rest)

    def _rows(self, track: BodyTrack, count: int) -> Float[ndarray, " T"]:
        """For every frame of the clip the row of the track, between rows where it has none."""
        numbers = np.arange(count) if self._numbers is None else self._numbers[:count]
        if track.frames is None:
            return numbers.astype(float)
        return np.interp(numbers, track.frames, np.arange(len(track.frames)))

    def _of_mask(self, masks: Bool[ndarray, "T H W"], cameras: ndarray) -> BodyTrack:
        """The track whose pelvis is in the mask in most frames."""
        if len(self.tracks) == 1:
            return self.tracks[0]
        count, height, width = masks.shape
        shares = []
        for track in self.tracks:
            placed = self._in_camera(track, self._rows(track, count), cameras, height, width)
            if placed is None:
                shares.append(0.0)
                continue
            pixels = _project(placed.pelvis[:, None], cameras)[:, 0]
            u, v = np.clip(pixels.astype(int), 0, (width - 1, height - 1)).T
            shares.append(float(masks[np.arange(count), v, u].mean()))
        return self.tracks[int(np.argmax(shares))]

    def _in_camera(
        self, track: BodyTrack, rows: ndarray, cameras: ndarray, height: int, width: int
    ) -> _Placed | None:
        """In this clip's camera: with another focal length than the file's the depth is another."""
        if track.camera is None:
            return None
        pelvis = self._pelvis(track, track.camera.translations)
        pelvis = values_at(pelvis, rows)
        orientations = rotations_at(track.camera.orientations[:, None], rows)[:, 0]
        if track.intrinsics is not None:
            file_camera = track.intrinsics.at(width, height)
            file_camera = (
                values_at(file_camera, rows)
                if len(file_camera) > 1
                else np.repeat(file_camera, len(rows), 0)
            )
            pixels = _project(pelvis[:, None], file_camera)[:, 0]
            depth = pelvis[:, 2] * cameras[:, 0, 0] / file_camera[:, 0, 0]
            focal = np.stack([cameras[:, 0, 0], cameras[:, 1, 1]], -1)
            xy = (pixels - cameras[:, :2, 2]) / focal * depth[:, None]
            moved = np.concatenate([xy, depth[:, None]], -1)
            if track.nominal_focal:  # estimated as seen along the ray: turned with it
                ray_turns = swing(pelvis, moved)
                orientations = (ray_turns * Rotation.from_rotvec(orientations)).as_rotvec()
            pelvis = moved
        return _Placed(orientations, pelvis)

    def _pelvis(self, track: BodyTrack, translations: ndarray) -> ndarray:
        """Where the pelvis is, in the file's axes: rest pelvis and `transl`."""
        if self._body.name.startswith("smpl"):
            betas = track.betas[: self._body.shape_directions.shape[-1]]
            return np.asarray(self._body.shape(betas).joints_rest)[0] + translations
        return track.rest_pelvis + translations

    def _seen_from_world(
        self, track: BodyTrack, rows: ndarray, keypoints: ndarray, cameras: ndarray, rest, rotations
    ) -> tuple[_Placed, Rotation]:
        """A motion that knows only its world in a camera that stands where the keypoints see it, and the
        rotations from that camera to the world."""
        assert track.world is not None
        rotation = Rotation.from_matrix(track.world.turn)
        world = rotation * Rotation.from_rotvec(
            rotations_at(track.world.orientations[:, None], rows)[:, 0]
        )
        pelvis = values_at(self._pelvis(track, track.world.translations) @ track.world.turn.T, rows)
        joints = pelvis[:, None] + limb_offsets(rest, rotations, world.as_rotvec())
        camera = camera_of_world(joints, keypoints[:, LIMB_KEYPOINTS], cameras)
        self._log(
            "body: the file knows no camera; the one that sees its joints at the keypoints is taken"
        )
        rotation = Rotation.from_matrix(camera[:3, :3])
        placed = _Placed(
            (rotation.inv() * world).as_rotvec(), rotation.inv().apply(pelvis - camera[:3, 3])
        )
        return placed, Rotation.concatenate([rotation] * len(rows))

    def _turns(self, track: BodyTrack, rows: ndarray, seen: SeenPerson) -> Rotation:
        """Rotations from the camera to a world whose y is up, one a frame."""
        path = camera_path(track)
        if path is not None:
            turns = Rotation.from_matrix(path[:, :3, :3])
            away = (turns.mean().inv() * turns).magnitude().max()
            if away < STANDS_STILL:
                self._log(
                    f"body: the file's camera turns by up to {np.degrees(away):.1f} degrees; it is taken to stand still"
                )
                return Rotation.concatenate([turns.mean()] * len(rows))
            vectors = rotations_at(turns.as_rotvec()[:, None], rows)[:, 0]
            return Rotation.from_rotvec(vectors)
        self._log(f"body: the file has no world; up is that of {UP_FROM[seen.ground.source]}")
        return Rotation.concatenate(
            [Rotation.from_matrix(seen.ground.T_world_camera[:3, :3])] * len(rows)
        )

    def _grounded(self, rotations, seen: _Placed, turns: Rotation, betas, rest) -> BodyMotion:
        """In the world: the camera above the origin, the lowest point of the clip on the ground."""
        moved = rotations.astype(np.float32).copy()
        moved[:, 0] = (turns * Rotation.from_rotvec(seen.orientations)).as_rotvec()
        translations = (turns.apply(seen.pelvis) - rest[0]).astype(np.float32)
        lowest = lowest_point(self._body, betas, moved, translations, rest)
        up = np.array([0.0, lowest, 0.0], np.float32)
        positions = np.repeat(-up[None], len(moved), axis=0)
        return BodyMotion(
            rotations=moved,
            translations=translations - up,
            betas=np.asarray(betas, np.float32),
            rest_joints=np.asarray(rest, np.float32),
            Ts_world_camera=compose_rigid(turns.as_matrix(), positions),
        )


def fitted_scale(
    rest: Float[ndarray, "55 3"],
    rotations: Float[ndarray, "T 55 3"],
    orientations: Float[ndarray, "T 3"],
    pelvis: Float[ndarray, "T 3"],
    keypoints: Float[ndarray, "T 18 3"],
    cameras: Float[ndarray, "T 3 3"],
) -> float:
    """Size of the body at which the limbs are nearest to the keypoints, the pelvis where it is (camera frame).

    Robust least squares in one unknown. UserError where the keypoints are not of this motion.
    """
    from scipy.optimize import least_squares

    seen = keypoints[:, LIMB_KEYPOINTS]
    sure = np.sqrt(np.where(seen[..., 2] > SURE, seen[..., 2], 0.0))
    if not sure.any():
        return 1.0
    arms = limb_offsets(rest, rotations, orientations)

    def error(scale: ndarray) -> ndarray:
        off = _project(pelvis[:, None] + scale[0] * arms, cameras) - seen[..., :2]
        return (off * sure[..., None])[sure > 0].ravel()

    pixel = 0.005 * float(cameras[0, 0, 0])
    scale = float(least_squares(error, [1.0], loss="soft_l1", f_scale=pixel).x[0])
    if not 1 / MAX_SCALE < scale < MAX_SCALE:
        raise UserError(
            f"the body of the file would have to be {scale:.2f} times our mean body to fit the keypoints. Are "
            "file, clip and intrinsics of one another?"
        )
    return scale


def limb_offsets(
    rest: ndarray, rotations: ndarray, orientations: ndarray
) -> Float[ndarray, "T 12 3"]:
    """Limb joints relative to the pelvis, of a root orientation."""
    from hoijax.bodies.kinematics import JOINT_PARENTS

    turns = [Rotation.from_rotvec(orientations)]
    places = [np.zeros((len(orientations), 3))]
    for joint in range(1, 22):
        parent = JOINT_PARENTS[joint]
        places.append(
            places[parent] + turns[parent].apply((rest[joint] - rest[parent]).astype(float))
        )
        turns.append(turns[parent] * Rotation.from_rotvec(rotations[:, joint]))
    return np.stack([places[joint] for joint in LIMBS], 1)


def _project(
    points: Float[ndarray, "T N 3"], cameras: Float[ndarray, "T 3 3"]
) -> Float[ndarray, "T N 2"]:
    depth = np.maximum(points[..., 2:], 0.05)
    focal = np.stack([cameras[:, 0, 0], cameras[:, 1, 1]], -1)[:, None]
    return points[..., :2] / depth * focal + cameras[:, None, :2, 2]
