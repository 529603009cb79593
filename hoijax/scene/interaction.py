"""Anchor motion's constants, unknowns and posed state: bodies move here, objects as in `scene`.

The objects' `Scene` is kept whole. When a step is posed, its body vertices and the body ends of its
contact edges are replaced by the posed ones, so that every term written for objects among fixed
bodies also pulls at the bodies.
"""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hoijax.bodies.body_field import BodyField
from hoijax.bodies.keypoints import openpose18_from
from hoijax.bodies.skinned_body import ShapedBody
from hoijax.bodies.vposer import VPoser
from hoijax.geometry.point_transforms import to_world
from hoijax.geometry.rotations import rotation_6d_to_matrix
from hoijax.geometry.transforms import transform_points
from hoijax.rendering.soft_raster import Picture, SurfaceSamples, render
from hoijax.scene.joints import ObjectJoints, jointed
from hoijax.scene.objects import Neighbors, PosedScene, Scene, Unknowns, pose_scene

FACE_COUNT = 5
"""A person's subset of the skin starts with the five face keypoints, then the samples of its field."""


@flax.struct.dataclass
class ContactPairs:
    """Contact keypoints: a body vertex and an object point that belong together."""

    person: Int[Array, " R"]
    vertex: Int[Array, " R"]
    """Index into the person's subset of the skin."""
    object: Int[Array, " R"]
    point: Float[Array, "R 3"]
    """In the object's centerd frame."""
    edge: Int[Array, " R"]
    """Row of the contact table whose state says in which frames the pair touches."""
    share: Float[Array, " R"]
    """1 / number of pairs of the edge; 0 for padding."""


@flax.struct.dataclass
class SeenPeople:
    """What was seen of the people. Weights and confidences of 0: not seen."""

    keypoints: Float[Array, "P T 18 3"]
    Ts_camera_world: Float[Array, "T 4 4"]
    points_world: Float[Array, "P T M 3"]
    point_weights: Float[Array, "P T M"]
    """1 / number of points in the frame, or 0."""
    detected: Bool[Array, "P T"]
    mask_distance: Float[Array, "P T h w 4"]
    """Pixels to the person's mask or an occluder, as `ObservedObjects.mask_distance`."""


@flax.struct.dataclass
class SeenFrames:
    """Small pictures of some frames, and the coarse meshes that are drawn to be like them.

    Channels: one per instance (people, then objects) that is 1 where it is seen, then the colors red,
    green, blue in 0 to 1, where there is a video.
    """

    samples: SurfaceSamples
    """On the drawn vertices: of all people, one after the other, then of all objects."""
    object_vertices: Float[Array, "n 3"]
    """Centerd frame of their object."""
    vertex_object: Int[Array, " n"]
    chosen: Int[Array, " T"]
    """Frames of the clip that have a picture; T is their number here."""
    Ts_world_camera: Float[Array, "T 4 4"]
    intrinsics: Float[Array, "T 3 3"]
    """In pixels of the small pictures."""
    target: Float[Array, "T h w C"]
    channel_weights: Float[Array, "T C"]
    """0 where an instance was missed in a frame."""
    depth: Float[Array, "T h w"]
    """Mean depth of the seen points in a pixel, metres."""
    depth_mask: Bool[Array, "T h w"]
    skin_count: int = flax.struct.field(pytree_node=False)
    """Drawn vertices of a person: the last ones of AnchorScene.people."""


@flax.struct.dataclass
class AnchorScene:
    """Constants of one problem."""

    objects: Scene
    people: tuple[ShapedBody, ...]
    """A subset of every person's skin: face keypoints, samples of the field, contact candidates."""
    fields: tuple[BodyField, ...]
    fixed_rotations: Float[Array, "P T 55 3 3"]
    """Local rotations of the joints that are not unknowns."""
    pose_centers: Float[Array, "P T R 22 3"]
    """Of the mixture that is the pose prior."""
    edge_vertices: Int[Array, "E 2 C"]
    """Subset vertices of the body end of each contact edge."""
    edge_person: Int[Array, " E"]
    edge_of_body: Bool[Array, " E"]
    pairs: ContactPairs
    seen: SeenPeople
    fps: Float[Array, ""]
    frames: SeenFrames | None = None
    """None: nothing is drawn."""
    joints: ObjectJoints | None = None
    """None: all objects are free."""
    pose_model: VPoser | None = None
    """Takes the place of the mixture of Gaussians in the pose prior."""


@flax.struct.dataclass
class AnchorUnknowns:
    """One candidate: local rotations of the first J joints, body translation, object poses."""

    body_rotation_6d: Float[Array, "P T J 6"]
    body_translation: Float[Array, "P T 3"]
    object_rotation_6d: Float[Array, "O T 6"]
    object_translation: Float[Array, "O T 3"]
    """Rows of objects that hang on a joint are not used."""
    joint_values: Float[Array, "D T"] | None = None
    """Radians or metres; None in a scene without joints."""


@flax.struct.dataclass
class AnchorNeighbors:
    """Look-ups refreshed every few steps."""

    objects: Neighbors
    nearest_vertex: Int[Array, "P T M"]
    """Skin vertex nearest to each seen point of a person."""
    active_samples: Int[Array, "O P T A"]
    """Object samples nearest to (or deepest inside) each body."""
    plants: Int[Array, "P T 4"]
    """Number of the plant that ankles and toes' roots stand in; -1: none, or not known yet."""


@flax.struct.dataclass
class AnchorPosed:
    """Everything a loss may read, posed once a step."""

    scene: AnchorScene
    objects: PosedScene
    """Objects among the bodies as they are posed now."""
    rotations: Float[Array, "P T 55 3 3"]
    Ts_world_joint: Float[Array, "P T 55 4 4"]
    keypoints_world: Float[Array, "P T 18 3"]
    neighbors: AnchorNeighbors
    drawn_vertices: Float[Array, "F v 3"] | None = None
    """Vertices of the coarse meshes in the world, in the chosen of `scene.frames`."""
    image: Picture | None = None
    """Those frames, drawn, (T, h, w)."""
    joint_values: Float[Array, "D T"] | None = None

    @property
    def vertices_world(self) -> Float[Array, "P T V 3"]:
        return self.objects.scene.body_vertices_world

    @property
    def joints_world(self) -> Float[Array, "P T 55 3"]:
        return self.Ts_world_joint[..., :3, 3]

    def in_camera(self, points_world: Float[Array, "P T n 3"]) -> Float[Array, "P T n 3"]:
        """World points of people in the camera's axes."""
        T = self.scene.seen.Ts_camera_world
        return transform_points(
            jnp.broadcast_to(T, (points_world.shape[0], *T.shape)), points_world
        )

    def sample_points(self, index: Int[Array, "O P T A"]) -> Float[Array, "O P T A 3"]:
        """Chosen surface samples of every object, in the world."""
        samples = self.scene.objects.objects.samples
        chosen = jax.vmap(lambda s, i: s[i])(samples, index)
        shape = chosen.shape[:3]
        rotation = jnp.broadcast_to(self.objects.rotations[:, None], (*shape, 3, 3))
        translation = jnp.broadcast_to(self.objects.translations[:, None], (*shape, 3))
        return to_world(rotation, translation, chosen)

    def pair_points(self) -> tuple[Float[Array, "R T 3"], Float[Array, "R T 3"]]:
        """Both ends of every contact pair in the world: on the body, on the object."""
        pairs = self.scene.pairs
        body = self.vertices_world[pairs.person, :, pairs.vertex]
        rotation = self.objects.rotations[pairs.object]
        moved = jnp.sum(rotation * pairs.point[:, None, None, :], axis=-1)
        return body, moved + self.objects.translations[pairs.object]


def object_unknowns(scene: AnchorScene, unknowns: AnchorUnknowns) -> Unknowns:
    """Poses of all objects, with those that hang on joints where their joints put them."""
    own = Unknowns(unknowns.object_rotation_6d, unknowns.object_translation)
    if scene.joints is None or unknowns.joint_values is None:
        return own
    return jointed(scene.joints, scene.objects.objects.centers, own, unknowns.joint_values)


def local_rotations(scene: AnchorScene, unknowns: AnchorUnknowns) -> Float[Array, "P T 55 3 3"]:
    """Local rotations of all joints: the unknown ones, then the fixed ones."""
    turned = rotation_6d_to_matrix(unknowns.body_rotation_6d)
    return jnp.concatenate([turned, scene.fixed_rotations[:, :, turned.shape[2] :]], axis=2)


def pose_anchor(
    scene: AnchorScene, unknowns: AnchorUnknowns, neighbors: AnchorNeighbors
) -> AnchorPosed:
    """Pose bodies and objects once; losses receive the result and cannot recompute it."""
    rotations = local_rotations(scene, unknowns)
    posed = [
        jax.vmap(person.pose_matrices)(rotations[p], unknowns.body_translation[p])
        for p, person in enumerate(scene.people)
    ]
    skin = jnp.stack([jnp.asarray(body.vertices_world) for body in posed])
    drawn = 0 if scene.frames is None else scene.frames.skin_count
    vertices, drawn_skin = jnp.split(skin, [skin.shape[2] - drawn], axis=2)
    keypoints = jnp.stack(
        [
            jax.vmap(openpose18_from)(body.joints_world, body.vertices_world[:, :FACE_COUNT])
            for body in posed
        ]
    )
    objects = pose_scene(
        with_bodies(scene, vertices), object_unknowns(scene, unknowns), neighbors.objects
    )
    frames = scene.frames
    corners = None if frames is None else drawn_vertices(frames, drawn_skin, objects)
    return AnchorPosed(
        scene,
        objects,
        rotations,
        jnp.stack([jnp.asarray(body.Ts_world_joint) for body in posed]),
        keypoints,
        neighbors,
        corners,
        None if frames is None or corners is None else draw(frames, corners),
        unknowns.joint_values,
    )


def drawn_vertices(
    frames: SeenFrames, skin: Float[Array, "P F s 3"], objects: PosedScene
) -> Float[Array, "T v 3"]:
    """World vertices of the coarse meshes in the chosen frames: people, then objects."""
    rotation = objects.rotations[:, frames.chosen][frames.vertex_object]
    turned = jnp.sum(rotation * frames.object_vertices[:, None, None, :], axis=-1)
    things = turned + objects.translations[:, frames.chosen][frames.vertex_object]
    people = jnp.moveaxis(skin[:, frames.chosen], 1, 0)
    people = people.reshape(people.shape[0], -1, 3)
    return jnp.concatenate([people, jnp.swapaxes(things, 0, 1)], axis=1)


def draw(frames: SeenFrames, vertices: Float[Array, "T v 3"]) -> Picture:
    """The posed scene in every frame's small picture."""
    height, width = frames.depth.shape[1:]
    return jax.vmap(lambda v, k, T: render(frames.samples, v, k, T, (height, width)))(
        vertices, frames.intrinsics, frames.Ts_world_camera
    )


def with_bodies(scene: AnchorScene, vertices_world: Float[Array, "P T V 3"]) -> Scene:
    """The objects' scene with bodies where they are now."""
    edges = scene.objects.edges
    frames = jnp.arange(vertices_world.shape[1])
    person = scene.edge_person[:, None, None, None]
    index = scene.edge_vertices[:, :, None, :]
    ends = vertices_world[person, frames[None, None, :, None], index]
    points = jnp.where(scene.edge_of_body[:, None, None, None, None], ends, edges.points)
    return dataclasses.replace(
        scene.objects,
        body_vertices_world=vertices_world,
        edges=dataclasses.replace(edges, points=points),
    )
