"""What every importer gives: rotations on the SMPL-X tree, the pelvis' way, the objects beside it."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.bundle.schema import GroundTruth
from hoijax.errors import UserError
from hoijax.exporters.clip import Clip, PersonClip, make_person
from hoijax.objects.asset import Asset


@dataclass(frozen=True)
class ImportedMotion:
    """One person and any objects, as a file has them; `person` and `clip` put them into our world (y up).

    `translations` are SMPL-X's: in the file's axes the pelvis is at rest_pelvis + translation.
    """

    source: str
    """The file, for messages."""
    fps: float
    joint_rotations: Float[ndarray, "T 55 3"]
    """Axis-angle local to the parent; the root in the file's axes."""
    translations: Float[ndarray, "T 3"]
    betas: Float[ndarray, "B"]
    """Of SMPL-X or SMPL-H."""
    gender: str
    turn: Float[ndarray, "3 3"]
    """Rotation from the file's axes to ours."""
    rest_pelvis: Float[ndarray, "3"] | None = None
    """Where the file's body has its pelvis at rest; None where the file does not say."""
    rest_joints: Float[ndarray, "55 3"] | None = None
    """The person's own, where the file has them."""
    object_names: tuple[str, ...] = ()
    Ts_file_object: Float[ndarray, "O T 4 4"] = dataclasses.field(
        default_factory=lambda: np.zeros((0, 0, 4, 4), np.float32)
    )

    @property
    def Ts_world_object(self) -> Float[ndarray, "O T 4 4"]:
        """Object poses in our axes."""
        T_world_file = np.eye(4)
        T_world_file[:3, :3] = self.turn
        frames = len(self.translations)
        poses = self.Ts_file_object.reshape(-1, frames, 4, 4).astype(np.float64)
        return (T_world_file @ poses).astype(np.float32)

    def person(self, body: SkinnedBody, *, on_ground: bool = False) -> PersonClip:
        """The person on a body of ours, or of the user's SMPL-X file.

        The pelvis goes its own way whatever the body. That needs the rest pelvis of the file's body:
        from the file, else from `body` where it is SMPL-X or SMPL-H itself. Else a UserError says so,
        unless on_ground=True, which puts the lowest vertex of the clip at height 0 instead; then the
        body is displaced by some centimetres against objects. SMPL's betas shape SMPL-X bodies only.
        """
        from scipy.spatial.transform import Rotation

        is_smpl = body.name.startswith("smpl")
        count = body.shape_directions.shape[-1]
        betas = np.zeros(count, np.float32)
        if is_smpl:
            beta_count = min(count, len(self.betas))
            betas[:beta_count] = self.betas[:beta_count]
        rotations = self.joint_rotations.astype(np.float64)
        root = Rotation.from_matrix(self.turn) * Rotation.from_rotvec(rotations[:, 0])
        rotations[:, 0] = root.as_rotvec()
        turned = rotations.astype(np.float32)
        person = make_person(
            body, turned, np.zeros_like(self.translations), betas, self.rest_joints
        )
        pelvis = np.asarray(person.shaped.joints_rest, np.float64)[0]
        pelvis_at_rest = self.rest_pelvis
        if pelvis_at_rest is None and is_smpl:
            pelvis_at_rest = pelvis
        if pelvis_at_rest is None and not on_ground:
            raise UserError(
                f"{self.source}: does not say where its body's pelvis rests, and the body "
                f"'{body.name}' is another. Give the SMPL-X file it was made with (load_body), or "
                "on_ground=True to stand the body on the ground instead."
            )
        start = np.zeros(3) if pelvis_at_rest is None else pelvis_at_rest
        places = (start + self.translations.astype(np.float64)) @ self.turn.T - pelvis
        person = dataclasses.replace(person, translations=places.astype(np.float32))
        if pelvis_at_rest is None:
            places[:, 1] -= person.vertices_world[..., 1].min()
            person = dataclasses.replace(person, translations=places.astype(np.float32))
        return person

    def clip(
        self, body: SkinnedBody, assets: Sequence[Asset] = (), *, on_ground: bool = False
    ) -> Clip:
        """Person and objects; `assets` in the order of `object_names`. UserError when they are not as many."""
        if len(assets) != len(self.object_names):
            raise UserError(
                f"{self.source} moves {len(self.object_names)} objects "
                f"({', '.join(self.object_names)}), but {len(assets)} meshes were given."
            )
        person = self.person(body, on_ground=on_ground)
        return Clip(self.fps, (person,), tuple(assets), self.Ts_world_object)


def body_arrays(people: Sequence[PersonClip]) -> Mapping[str, ndarray]:
    """The four body arrays of `Observations` and `Truth`: imported people as the bodies of a bundle."""
    return {
        "body_rotations": np.stack([p.joint_rotations for p in people]).astype(np.float32),
        "body_translations": np.stack([p.translations for p in people]).astype(np.float32),
        "body_betas": np.stack([p.betas for p in people]).astype(np.float32),
        "body_rest_joints": np.stack([p.shaped.joints_rest for p in people]).astype(np.float32),
    }


def ground_truth_of(
    clip: Clip,
    edge_contact: Bool[ndarray, "E T"],
    Ts_world_camera: Float[ndarray, "T 4 4"] | None = None,
) -> GroundTruth:
    """An imported clip as the ground truth of a bundle (`write_bundle(..., truth=...)`).

    edge_contact: whether the two ends of each edge of the bundle's graph touch in a frame.
    Ts_world_camera: where the bundle's video was seen from; the world's origin by default.
    """
    if Ts_world_camera is None:
        Ts_world_camera = np.tile(np.eye(4, dtype=np.float32), (clip.frame_count, 1, 1))
    return GroundTruth(
        Ts_world_object=clip.Ts_world_object.astype(np.float32),
        Ts_world_camera=Ts_world_camera.astype(np.float32),
        edge_contact=edge_contact,
        **body_arrays(clip.people),
    )
