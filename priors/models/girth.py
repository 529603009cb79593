"""How stout a person is, clothes included, from masks: keypoints tell bones only.

Betas change bones and flesh. Of a person whose bones are measured they change the flesh alone
(`ShapedBody.with_rest_joints`); what is left is foremost one number, along the betas that swell the skin most.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.bodies.skinned_body import ShapedBody, SkinnedBody
from hoijax.geometry.camera import PinholeCamera
from hoijax.rendering.raycast import RenderMesh, cast, corner_normals
from priors.protocols import BodyMotion

__all__ = ["with_girth"]

STEPS = np.linspace(-1.5, 4.0, 12)
"""Standard deviations that are tried: clothes make people stout, seldom slim."""
FRAMES = 8
"""Of the clip that are compared, those with most keypoints in each stretch."""
ROWS = 180
"""Of the images in which they are."""
LEAST_KEYPOINTS = 8
GAIN = 0.01
"""Of the intersection over union, below which an average person stays average."""


def with_girth(
    motion: BodyMotion,
    body: SkinnedBody,
    person_masks: Bool[ndarray, "T H W"],
    other_masks: Bool[ndarray, "T H W"] | None,
    keypoints: Float[ndarray, "T 18 3"],
    intrinsics: Float[ndarray, "T 3 3"],
) -> BodyMotion:
    """The motion with betas under which the skin covers the person's masks best; bones and poses stay.

    other_masks: what may hide the person, which is not compared.
    """
    swelling = stoutness(body, motion.rest_joints)
    chosen = _compared(person_masks, keypoints)
    if not len(chosen):
        return motion
    step = max(person_masks.shape[1] // ROWS, 1)
    person = person_masks[chosen, ::step, ::step]
    counts = np.ones_like(person)
    if other_masks is not None:
        counts = person | ~other_masks[chosen, ::step, ::step]
    scores = []
    for amount in STEPS:
        shaped = body.shape((amount * swelling).astype(np.float32))
        shaped = shaped.with_rest_joints(motion.rest_joints)
        drawn = _drawn(shaped, motion, chosen, intrinsics / [[[step], [step], [1]]], person.shape)
        both, either = drawn & person, (drawn | person) & counts
        scores.append(both.sum() / max(either.sum(), 1))
    best, average = int(np.argmax(scores)), int(np.abs(STEPS).argmin())
    if scores[best] < scores[average] + GAIN:
        return motion
    return dataclasses.replace(motion, betas=(STEPS[best] * swelling).astype(np.float32))


def stoutness(body: SkinnedBody, rest_joints: Float[ndarray, "55 3"]) -> Float[ndarray, " B"]:
    """Unit vector of betas along which the skin about given bones moves outwards most."""
    count = body.shape_directions.shape[-1]

    def skin(betas: ndarray) -> ndarray:
        shaped = body.shape(betas.astype(np.float32)).with_rest_joints(rest_joints)
        return np.asarray(shaped.vertices_rest)

    average = skin(np.zeros(count))
    outwards = np.zeros_like(average)
    faces = np.asarray(body.faces)
    for corner, normals in enumerate(np.moveaxis(corner_normals(average, faces), 1, 0)):
        np.add.at(outwards, faces[:, corner], normals)
    outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-9)
    moved = [((skin(one) - average) * outwards).sum(axis=1).mean() for one in np.eye(count)]
    return np.asarray(moved) / max(float(np.linalg.norm(moved)), 1e-9)


def _compared(person_masks: Bool[ndarray, "T H W"], keypoints: Float[ndarray, "T 18 3"]) -> ndarray:
    """Frames that show much of the person, spread over the clip."""
    sure = keypoints[..., 2].sum(axis=1) * person_masks.any(axis=(1, 2))
    stretches = np.array_split(np.arange(len(sure)), min(FRAMES, len(sure)))
    best = np.array([stretch[np.argmax(sure[stretch])] for stretch in stretches])
    return best[sure[best] >= LEAST_KEYPOINTS]


def _drawn(
    shaped: ShapedBody,
    motion: BodyMotion,
    chosen: ndarray,
    intrinsics: Float[ndarray, "T 3 3"],
    shape: tuple[int, ...],
) -> Bool[ndarray, "n h w"]:
    """Where the person is seen in the chosen frames."""
    faces, images = np.asarray(shaped.faces), []
    for t in chosen:
        k = intrinsics[t]
        fx, fy, cx, cy = (float(x) for x in (k[0, 0], k[1, 1], k[0, 2], k[1, 2]))
        camera = PinholeCamera(fx, fy, cx, cy, shape[2], shape[1])
        posed = shaped.pose(motion.rotations[t], motion.translations[t])
        mesh = RenderMesh(np.asarray(posed.vertices_world), faces, 1)
        images.append(cast([mesh], camera, motion.Ts_world_camera[t]).instance_ids > 0)
    return np.stack(images)
