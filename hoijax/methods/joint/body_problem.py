"""The body pass as residuals: bodies, camera, focal length, body size and point map move together.

Unknowns are changes of what was estimated: a block for every frame, and a few numbers for the clip that
priors get wrong alike in all frames (a lean, a shift, a focal length that is off, a camera that is not
where it is said to be). A residual is divided by its standard deviation, so that the energy is a negative
log-likelihood; robust ones are shrunk (`shrink`), so that it stays a plain sum of squares.
"""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hoijax.bodies.fitting.residuals import FEET, FOOT_HEIGHTS, planted_weights
from hoijax.bodies.keypoints import openpose18_from
from hoijax.bodies.kinematics import BODY_JOINT_COUNT
from hoijax.bodies.skinned_body import ShapedBody
from hoijax.geometry.camera import project
from hoijax.geometry.nearest import nearest_indices
from hoijax.geometry.point_transforms import rotated
from hoijax.geometry.rotations import axis_angle_to_matrix
from hoijax.geometry.rows import dot
from hoijax.methods.joint.contours import Contours, contour_skin, off_contours
from hoijax.methods.joint.held import (
    ContactRows,
    HeldFrame,
    in_object,
    plane_distances,
    pose_held,
)

FACES = 5
"""The skin of a person starts with the keypoints of the face."""
MOVING_JOINTS = BODY_JOINT_COUNT
"""Fingers stay in their hands."""
ROBUST = 3.0
"""Standard deviations beyond which evidence says little."""


@flax.struct.dataclass
class FrameChange:
    """Change of one frame; with a leading axis T of all."""

    joints: Float[Array, "*T P 22 3"]
    """Turn of each joint: the root's in world axes, the others' in their own."""
    pelvis: Float[Array, "*T P 3"]
    point_map: Float[Array, "*T 4"]
    """Logarithm of its scale, and shift in camera axes."""
    objects: Float[Array, "*T O 6"]
    """Turn and shift of each object against the point map, in camera axes."""


@flax.struct.dataclass
class ClipChange:
    """What is the same in all frames."""

    bias: FrameChange
    """Added to every frame's change."""
    body_size: Float[Array, " P"]
    """Logarithm."""
    focal: Float[Array, ""]
    """Logarithm."""
    camera: Float[Array, " 6"]
    """Turn and shift of the camera in its own axes."""


@flax.struct.dataclass
class FrameEvidence:
    """What was estimated and observed of one frame; with a leading axis T of all."""

    rotations: Float[Array, "*T P 55 3 3"]
    pelvis: Float[Array, "*T P 3"]
    keypoints: Float[Array, "*T P 18 3"]
    intrinsics: Float[Array, "*T 3 3"]
    Ts_world_camera: Float[Array, "*T 4 4"]
    points: Float[Array, "*T P M 3"]
    """Of people, from the point map, in camera axes."""
    point_weights: Float[Array, "*T P M"]
    """1 / number of points, or 0."""
    real: Float[Array, "*T"]
    """0: padding after the end of the clip."""
    plants: Float[Array, "*T P 4"]
    """1: this point of a foot (`FEET`) is known to stand where it stood in the frame before."""
    contours: Contours
    held: HeldFrame


@flax.struct.dataclass
class Deviations:
    """Standard deviations of evidence (traced); meanings in `BodyPassSettings`."""

    keypoint: Float[Array, ""]
    keypoint_reach: Float[Array, ""]
    surface: Float[Array, ""]
    surface_count: Float[Array, ""]
    contour: Float[Array, ""]
    contour_count: Float[Array, ""]
    ground: Float[Array, ""]
    foot_height: Float[Array, ""]
    skate: Float[Array, ""]
    plant: Float[Array, ""]
    acceleration: Float[Array, ""]
    contact: Float[Array, ""]
    slip: Float[Array, ""]


@flax.struct.dataclass
class BodyProblem:
    """All that the descent reads."""

    frames: FrameEvidence
    people: tuple[ShapedBody, ...]
    """Skin about the rest pelvis: faces, what points are compared with, candidates of contact rows."""
    rows: ContactRows
    """Their vertices are indices into that skin."""
    fps: Float[Array, ""]
    evidence: Deviations
    varying: FrameChange
    """Standard deviations of a frame's change, ..."""
    steps: FrameChange
    """of its difference from the frame before, ..."""
    clip: ClipChange
    """and of what is the same in all frames."""


@flax.struct.dataclass
class PosedPeople:
    """One frame with all changes applied."""

    skin: Float[Array, "P v 3"]
    """The chosen vertices."""
    joints: Float[Array, "P 22 3"]
    rotations: Float[Array, "P 22 3 3"]


def shrink(residual: Float[Array, "*n d"], reach: float | Array = ROBUST) -> Float[Array, "*n d"]:
    """Residual vectors whose squared length is Geman-McClure's kernel of theirs; reach: where it flattens."""
    return residual * (reach / jnp.sqrt(dot(residual, residual)[..., None] + reach**2))


def pose_people(
    change: FrameChange,
    body_size: Float[Array, " P"],
    frame: FrameEvidence,
    people: tuple[ShapedBody, ...],
    chosen: Int[Array, "P v"],
) -> PosedPeople:
    """People of one frame, with some of their vertices; `change` holds the clip's bias already."""
    skins, joints, turned = [], [], []
    for p, person in enumerate(people):
        local = axis_angle_to_matrix(change.joints[p])
        given = frame.rotations[p]
        root, rest = local[0] @ given[0], given[1:MOVING_JOINTS] @ local[1:]
        rotations = jnp.concatenate([root[None], rest, given[MOVING_JOINTS:]])
        # A person of another size about a rest pelvis at the origin.
        size, pelvis = jnp.exp(body_size[p]), frame.pelvis[p] + change.pelvis[p]
        skin, places = person.pose_chosen(rotations, chosen[p])
        skins.append(pelvis + size * skin)
        joints.append(pelvis + size * places)
        turned.append(rotations[:MOVING_JOINTS])
    return PosedPeople(jnp.stack(skins), jnp.stack(joints), jnp.stack(turned))


def camera_of(
    clip: ClipChange, frame: FrameEvidence
) -> tuple[Float[Array, "3 3"], Float[Array, " 3"], Float[Array, "3 3"]]:
    """(rotation, position) in the world and intrinsics of the corrected camera."""
    T = frame.Ts_world_camera
    R = T[:3, :3] @ axis_angle_to_matrix(clip.camera[:3])
    zoom = jnp.exp(clip.focal)
    zoomed = frame.intrinsics.at[0, 0].multiply(zoom).at[1, 1].multiply(zoom)
    return R, T[:3, 3] + T[:3, :3] @ clip.camera[3:], zoomed


def frame_residuals(
    change: FrameChange,
    clip: ClipChange,
    frame: FrameEvidence,
    problem: BodyProblem,
    matched: Int[Array, "P matched"],
) -> tuple[dict[str, Array], dict[str, Array]]:
    """(residuals of this frame alone, positions whose paths over frames are evidence), by name.

    matched: the vertex of the skin that each point and contour is compared with (`matched_skin`).
    """
    deviations, rows, held = problem.evidence, problem.rows, frame.held
    touching = jnp.concatenate([held.vertices, rows.vertices[:, :1]], axis=1)
    both = jnp.concatenate([jnp.arange(FACES), touching.ravel()])
    both = jnp.broadcast_to(both, (len(matched), len(both)))
    chosen = jnp.concatenate([both[:, :FACES], matched, both[:, FACES:]], axis=1)
    posed = pose_people(change, clip.body_size, frame, problem.people, chosen)
    R, t, K = camera_of(clip, frame)
    keypoints = jax.vmap(openpose18_from)(posed.joints, posed.skin[:, :FACES])
    pixels = jax.vmap(lambda x: project(x, K))(rotated(keypoints - t, R.T))
    focal = 0.5 * (frame.intrinsics[0, 0] + frame.intrinsics[1, 1])
    confidence = frame.keypoints[..., 2:]
    away = jnp.where(confidence > 0.0, pixels - frame.keypoints[..., :2], 0.0)
    away = shrink(away / (focal * deviations.keypoint), deviations.keypoint_reach)
    points = _points_world(frame, change.point_map, clip, R, t)
    count, ends_at = FACES + points.shape[1], FACES + matched.shape[1]
    target, rim = posed.skin[:, FACES:count], posed.skin[:, count:ends_at]
    rim = jax.vmap(lambda x: project(x, K))(rotated(rim - t, R.T))
    beyond = off_contours(rim, frame.contours) / (focal * deviations.contour)
    clear = jnp.sqrt(frame.contours.weights * deviations.contour_count)
    point_weight = jnp.sqrt(frame.point_weights * deviations.surface_count)[..., None]
    feet = posed.joints[:, jnp.array(FEET)]
    height = feet[..., 1] - jnp.asarray(FOOT_HEIGHTS) * jnp.exp(clip.body_size)[:, None]
    stands = jnp.sqrt(planted_weights(feet))
    above, below = stands * height / deviations.foot_height, height / deviations.ground
    ends = posed.skin[:, ends_at:].reshape(len(matched), *touching.shape, 3)
    centers = held_in_camera(held, change.point_map, clip)
    objects = pose_held(held, change.objects, centers, R, t)
    ends = in_object(ends, rows, *objects)
    apart = plane_distances(ends[:, :-1], held.planes) / deviations.contact
    residuals = {
        "contact": jnp.sqrt(held.touch / apart.shape[1])[:, None] * apart,
        "contours": clear * shrink(beyond[..., None])[..., 0],
        "keypoints": jnp.sqrt(confidence) * away,
        "surface": point_weight * shrink((points - target) / deviations.surface),
        "feet": frame.real * jnp.where(height < 0.0, below, above),
    }
    paths = {"feet": feet, "joints": posed.joints, "grips": ends[:, -1]}
    return residuals, paths


def matched_skin(
    change: FrameChange, clip: ClipChange, frame: FrameEvidence, problem: BodyProblem
) -> Int[Array, "P matched"]:
    """Vertices of the skin: the nearest to each point of one frame, then those matched with contours.

    Among all vertices of `problem.people`: between few of them points find no near one straight behind
    them, and the point map sinks into the body.
    """
    R, t, K = camera_of(clip, frame)
    points = _points_world(frame, change.point_map, clip, R, t)
    count = problem.people[0].vertices_rest.shape[0] - problem.rows.vertices.size
    everything = jnp.broadcast_to(jnp.arange(count), (len(points), count))
    posed = pose_people(change, clip.body_size, frame, problem.people, everything)
    nearest = nearest_indices(points, posed.skin)
    if not frame.contours.weights.shape[-1]:
        return nearest
    pixels = jax.vmap(lambda x: project(x, K))(rotated(posed.skin - t, R.T))
    return jnp.concatenate([nearest, contour_skin(pixels, frame.contours)], axis=1)


def _points_world(
    frame: FrameEvidence,
    point_map: Float[Array, " 4"],
    clip: ClipChange,
    R: Float[Array, "3 3"],
    t: Float[Array, " 3"],
) -> Float[Array, "P M 3"]:
    """What was seen of people in the world."""
    return rotated(in_camera(frame.points, point_map, clip), R) + t


def in_camera(
    points: Float[Array, "*n 3"], point_map: Float[Array, " 4"], clip: ClipChange
) -> Float[Array, "*n 3"]:
    """Points of the map, unprojected with the solved focal length, scaled and shifted."""
    zoom = jnp.exp(-clip.focal)
    camera = points * jnp.stack([zoom, zoom, jnp.ones_like(zoom)])
    return camera * jnp.exp(point_map[0]) + point_map[1:]


def held_in_camera(
    held: HeldFrame, point_map: Float[Array, " 4"], clip: ClipChange
) -> Float[Array, "O 3"]:
    """Centers of the objects that are held. What only an outline shows keeps its size in the image: with a
    longer focal length it is farther away."""
    camera = in_camera(held.centers, point_map, clip)
    return camera * jnp.exp(held.outlined * clip.focal)[:, None]
