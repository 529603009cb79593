"""Constants of bodies that move, and what was seen of people."""

import flax.struct
from jaxtyping import Array, Bool, Float, Int

from hoijax.bodies.body_field import BodyField
from hoijax.bodies.skinned_body import ShapedBody
from hoijax.bodies.vposer import VPoser

__all__ = ["FACE_COUNT", "ContactPairs", "MovingBodies", "ObservedPeople"]

FACE_COUNT = 5
"""A person's subset of the skin starts with the five face keypoints, then the samples of its field."""


@flax.struct.dataclass
class MovingBodies:
    """What never changes about P people whose pose is unknown."""

    people: tuple[ShapedBody, ...]
    """A subset of every person's skin: face keypoints, samples of the field, contact candidates, and
    last the vertices that are rendered."""
    fields: tuple[BodyField, ...]
    fixed_rotations: Float[Array, "P T 55 3 3"]
    """Local rotations of the joints that are not unknowns."""
    pose_centers: Float[Array, "P T R 22 3"]
    """Of the mixture that is the pose prior."""
    edge_vertices: Int[Array, "E 2 C"]
    """Subset vertices of the body end of each contact edge."""
    edge_person: Int[Array, " E"]
    edge_of_body: Bool[Array, " E"]
    """False: an edge between objects, or padding."""
    estimated_joints: Float[Array, "P T 22 3"] | None = None
    """Where the motion that bodies start from has the body joints, in the world."""
    pose_model: VPoser | None = None
    """Takes the place of the mixture of Gaussians in the pose prior."""


@flax.struct.dataclass
class ContactPairs:
    """Contact keypoints: a body vertex and an object point that belong together."""

    person: Int[Array, " R"]
    vertex: Int[Array, " R"]
    """Index into the person's posed skin."""
    object: Int[Array, " R"]
    point: Float[Array, "R 3"]
    """In the object's centerd frame."""
    edge: Int[Array, " R"]
    """Row of the contact edges whose state says in which frames the pair touches."""
    share: Float[Array, " R"]
    """1 / number of pairs of the edge; 0 for padding."""


@flax.struct.dataclass
class ObservedPeople:
    """What was seen of the people. Weights and confidences of 0: not seen."""

    keypoints: Float[Array, "P T 18 3"]
    """OpenPose-18: pixel u, v and confidence."""
    Ts_camera_world: Float[Array, "T 4 4"]
    points_world: Float[Array, "P T M 3"]
    point_weights: Float[Array, "P T M"]
    """1 / number of points in the frame, or 0."""
    detected: Bool[Array, "P T"]
    mask_distance: Float[Array, "P T h w 4"]
    """Pixels to the person's mask or an occluder, as `ObservedObjects.mask_distance`."""
