"""What the models that recover bodies share: is there a person, are the weights safe, where is the ground."""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy import ndarray

from hoijax.bodies import load_body
from hoijax.bodies.skinned_body import ShapedBody, SkinnedBody
from hoijax.bundle.evidence import CAMERA_HEIGHT
from hoijax.errors import UserError
from priors.models.ground import GroundEstimate, estimate_ground, without_plane
from priors.models.torch_runtime import require
from priors.models.upright_edges import up_of_scene
from priors.protocols import BodyMotion, PointMaps, Video

STAGE = "body"
MIN_CONFIDENCE = 0.2
UP_FROM = {
    "plane": "the ground in the point maps",
    "edges": "the upright edges of the scene",
    "level": "a level camera, a guess",
}
"""What says which way is up, by `GroundEstimate.source`."""
MIN_KEYPOINTS = 5  # a frame with fewer sure keypoints does not show a body


@dataclass(frozen=True)
class SeenPerson:
    """What is known of one person of a clip; see `BodyRecovery.recover`."""

    video: Video
    keypoints: Float[ndarray, "T 18 3"]
    masks: Bool[ndarray, "T H W"]
    maps: PointMaps
    other_masks: Bool[ndarray, "T H W"] | None
    lifts: Float[ndarray, "T 18"] | None = None

    @cached_property
    def ground(self) -> GroundEstimate:
        """The camera over the ground. Without point maps only its turn means something."""
        if not self.maps.valid.any():
            return without_plane(self._up(), CAMERA_HEIGHT)
        return estimate_ground(self.maps, self.masks, other_masks=self.other_masks, up=self._up)

    def _up(self) -> Float[ndarray, " 3"] | None:
        """Which way is up in the camera's axes, by upright edges; None where they do not tell."""
        moving = self.masks if self.other_masks is None else self.masks | self.other_masks
        return up_of_scene(self.video.frames, moving, self.maps.intrinsics)


class BodyRecoverer(ABC):
    """A `BodyRecovery` of people with enough keypoints and a mask, on the body of `body_name`."""

    body_name: str
    """"anny", or the path of the user's SMPL-X or SMPL-H file."""

    @cached_property
    def _body(self) -> SkinnedBody:
        return load_body(self.body_name)

    def recover(
        self,
        video: Video,
        keypoints: Float[ndarray, "T 18 3"],
        person_masks: Bool[ndarray, "T H W"],
        maps: PointMaps,
        other_masks: Bool[ndarray, "T H W"] | None = None,
        lifts: Float[ndarray, "T 18"] | None = None,
    ) -> BodyMotion:
        """The person's motion in the world. Raises UserError where no frame shows enough of a person."""
        self._check(keypoints, person_masks)
        return self._recover(SeenPerson(video, keypoints, person_masks, maps, other_masks, lifts))

    def _check(self, keypoints: ndarray, masks: ndarray) -> None:
        check_person(keypoints, masks)

    @abstractmethod
    def _recover(self, seen: SeenPerson) -> BodyMotion:
        """The motion of a person that was checked."""


def check_person(keypoints: Float[ndarray, "T 18 3"], masks: Bool[ndarray, "T H W"]) -> None:
    """Raises UserError where no body can be recovered: too few keypoints, or an empty mask."""
    if len(keypoints) != len(masks):
        raise UserError(f"{STAGE}: {len(keypoints)} frames of keypoints, {len(masks)} of masks")
    sure = (keypoints[..., 2] >= MIN_CONFIDENCE).sum(-1) >= MIN_KEYPOINTS
    if not sure.any():
        raise UserError(
            f"{STAGE}: no person found: no frame has {MIN_KEYPOINTS} keypoints with a confidence "
            f"of {MIN_CONFIDENCE}. Try another seed or clip, or another keypoint model (--keypoints)"
        )
    if not masks.any():
        raise UserError(
            f"{STAGE}: the person's mask is empty in all frames. Run the masks again with another "
            "detector (--detector), or give masks by hand (--masks)"
        )


def refuse_pickled_code(path: Path) -> None:
    """Raises UserError for a checkpoint that holds anything but tensors and plain values.

    GVHMR reads its checkpoint with a full unpickler; after this look at it that is safe.
    """
    torch = require("torch")
    import pickle

    if not path.is_file():
        raise UserError(f"{STAGE}: there is no checkpoint {path}")
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(
            f"{STAGE}: {path} is damaged or holds more than weights, and is not loaded. Fetch it again"
        ) from error


def on_the_ground(motion: BodyMotion, body: SkinnedBody, percentile: float = 5.0) -> BodyMotion:
    """The motion and its camera moved up or down, so that the body's lowest point is on the ground.

    percentile: over frames, of their lowest points; 5 against outliers.
    """
    moved = motion.rotations, motion.translations
    lowest = lowest_point(body, motion.betas, *moved, motion.rest_joints, percentile)
    down = np.array([0.0, lowest, 0.0], np.float32)
    cameras = motion.Ts_world_camera.copy()
    cameras[:, :3, 3] -= down
    return dataclasses.replace(
        motion, translations=motion.translations - down, Ts_world_camera=cameras
    )


@jax.jit
def _heights(shaped: ShapedBody, rotations: Array, translations: Array) -> Array:
    """(T,) height of the lowest vertex of every frame; one frame after the other, to save memory."""

    def lowest(frame):
        return jnp.min(shaped.pose(*frame).vertices_world[:, 1])

    return jax.lax.map(lowest, (rotations, translations))


def lowest_point(
    body: SkinnedBody,
    betas: ndarray,
    rotations: ndarray,
    translations: ndarray,
    rest_joints: ndarray | None = None,
    percentile: float = 5.0,
) -> float:
    """Height of the lowest vertex of the clip: a percentile over frames, against outliers."""
    shaped = body.shape(jnp.asarray(betas))
    if rest_joints is not None:
        shaped = shaped.with_rest_joints(jnp.asarray(rest_joints))
    heights = _heights(shaped, jnp.asarray(rotations), jnp.asarray(translations, jnp.float32))
    return float(np.percentile(np.asarray(heights), percentile))
