"""The posed scene: everything a loss may read, derived from the unknowns once a step."""

from typing import TypeVar

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hoijax.bodies.keypoints import openpose18_from
from hoijax.errors import UserError
from hoijax.geometry.point_transforms import to_local, to_world
from hoijax.geometry.rotations import matrix_to_rotation_6d, rotation_6d_to_matrix
from hoijax.geometry.transforms import transform_points
from hoijax.rendering.soft_raster import RenderedImage
from hoijax.scene.bodies import FACE_COUNT, MovingBodies
from hoijax.scene.images import render_images, rendered_vertices
from hoijax.scene.joints import jointed
from hoijax.scene.scene import Neighbors, Scene, Unknowns

__all__ = [
    "PosedScene",
    "body_rotations",
    "contact_points_in_target",
    "object_poses",
    "pose_objects",
    "pose_scene",
    "present",
]

Member = TypeVar("Member")


@flax.struct.dataclass
class PosedScene:
    """Everything a loss may read, posed once a step; the same in every method.

    Members that a scene lacks are None: those of moving bodies where bodies are fixed, images where
    nothing is rendered. A loss that cannot do without one reads it through `present`.
    """

    scene: Scene
    object_rotations: Float[Array, "O T 3 3"]
    """Of the centerd frame; objects on joints are where their joints put them."""
    object_translations: Float[Array, "O T 3"]
    neighbors: Neighbors
    body_vertices_world: Float[Array, "P T V 3"]
    """Skin, fixed or as posed now."""
    contact_points: Float[Array, "E 2 T C 3"]
    """As `ContactEdges.points`, with the body ends where the bodies are now."""
    body_joint_rotations: Float[Array, "P T 55 3 3"] | None = None
    """Local rotations of all joints."""
    Ts_world_joint: Float[Array, "P T 55 4 4"] | None = None
    keypoints_world: Float[Array, "P T 18 3"] | None = None
    """OpenPose-18."""
    joint_values: Float[Array, "D T"] | None = None
    """Radians or metres, of the joints between objects."""
    rendered_vertices: Float[Array, "F v 3"] | None = None
    """Vertices of the coarse meshes in the world, in the chosen frames of `scene.observed_images`."""
    rendered_image: RenderedImage | None = None
    """Those frames, rendered: (F, h, w)."""

    @property
    def joints_world(self) -> Float[Array, "P T 55 3"] | None:
        """Body joints."""
        return None if self.Ts_world_joint is None else self.Ts_world_joint[..., :3, 3]

    def to_asset(self, points_world: Float[Array, "O T n 3"]) -> Float[Array, "O T n 3"]:
        """World points into each object's asset frame, where its grids live."""
        centered = to_local(self.object_rotations, self.object_translations, points_world)
        return centered + self.scene.objects.centers[:, None, None]

    def samples_world(self, count: int) -> Float[Array, "O T {count} 3"]:
        """The first `count` surface samples of every object, posed."""
        samples = self.scene.objects.samples[:, None, :count]
        shape = (*self.object_translations.shape[:2], count, 3)
        return to_world(
            self.object_rotations, self.object_translations, jnp.broadcast_to(samples, shape)
        )

    def chosen_samples_world(self, index: Int[Array, "O P T A"]) -> Float[Array, "O P T A 3"]:
        """Chosen surface samples of every object, posed."""
        chosen = jax.vmap(lambda s, i: s[i])(self.scene.objects.samples, index)
        shape = chosen.shape[:3]
        rotation = jnp.broadcast_to(self.object_rotations[:, None], (*shape, 3, 3))
        translation = jnp.broadcast_to(self.object_translations[:, None], (*shape, 3))
        return to_world(rotation, translation, chosen)

    def object_distance(
        self, points_world: Float[Array, "O T n 3"], kind: int
    ) -> Float[Array, "O T n"]:
        """Distance of world points to each object; kind WHOLE_SIGNED or WHOLE_UNSIGNED."""
        owner = jnp.arange(self.scene.object_count)
        grid = self.scene.objects.first_grid + kind
        return self.scene.distance(self.to_asset(points_world), grid, owner)

    def in_camera(self, points_world: Float[Array, "P T n 3"]) -> Float[Array, "P T n 3"]:
        """World points of people in the camera's axes."""
        T = present(self.scene.observed_people, "what was observed of people").Ts_camera_world
        return transform_points(
            jnp.broadcast_to(T, (points_world.shape[0], *T.shape)), points_world
        )

    def pair_points(self) -> tuple[Float[Array, "R T 3"], Float[Array, "R T 3"]]:
        """Both ends of every contact pair in the world: on the body, on the object."""
        pairs = present(self.scene.pairs, "contact pairs")
        body = self.body_vertices_world[pairs.person, :, pairs.vertex]
        rotation = self.object_rotations[pairs.object]
        turned = jnp.sum(rotation * pairs.point[:, None, None, :], axis=-1)
        return body, turned + self.object_translations[pairs.object]


def present(member: Member | None, what: str) -> Member:
    """A member that a loss cannot do without. Raises UserError where the scene lacks it."""
    if member is None:
        raise UserError(
            f"a loss term reads {what}, which this scene does not have (bodies are fixed, or it was "
            "not observed). Omit the term, or use a method whose scenes have it."
        )
    return member


def object_poses(
    scene: Scene, unknowns: Unknowns
) -> tuple[Float[Array, "O T 3 3"], Float[Array, "O T 3"]]:
    """Poses of all objects, with those that hang on joints where their joints put them."""
    rotations = rotation_6d_to_matrix(unknowns.object_rotation_6d)
    translations = unknowns.object_translation
    if scene.joints is None or unknowns.joint_values is None:
        return rotations, translations
    rotations, translations = jointed(
        scene.joints, scene.objects.centers, rotations, translations, unknowns.joint_values
    )
    # Orthonormal to the last bit again, after products of matrices.
    return rotation_6d_to_matrix(matrix_to_rotation_6d(rotations)), translations


def body_rotations(bodies: MovingBodies, unknowns: Unknowns) -> Float[Array, "P T 55 3 3"]:
    """Local rotations of all joints: the unknown ones, then the fixed ones."""
    assert unknowns.body_rotation_6d is not None
    turned = rotation_6d_to_matrix(unknowns.body_rotation_6d)
    return jnp.concatenate([turned, bodies.fixed_rotations[:, :, turned.shape[2] :]], axis=2)


def pose_objects(
    scene: Scene,
    object_rotations: Float[Array, "O T 3 3"],
    object_translations: Float[Array, "O T 3"],
    neighbors: Neighbors,
) -> PosedScene:
    """The posed scene of fixed bodies, from object poses as matrices."""
    return PosedScene(
        scene=scene,
        object_rotations=object_rotations,
        object_translations=object_translations,
        neighbors=neighbors,
        body_vertices_world=scene.body_vertices_world,
        contact_points=scene.edges.points,
    )


def pose_scene(scene: Scene, unknowns: Unknowns, neighbors: Neighbors) -> PosedScene:
    """Pose objects, and bodies that move, once; losses receive the result and cannot recompute it."""
    posed = pose_objects(scene, *object_poses(scene, unknowns), neighbors)
    posed = posed.replace(joint_values=unknowns.joint_values)  # pyright: ignore[reportAttributeAccessIssue]
    if scene.bodies is None or unknowns.body_translation is None:
        return posed
    return _with_bodies(posed, scene.bodies, unknowns, unknowns.body_translation)


def _with_bodies(
    posed: PosedScene,
    bodies: MovingBodies,
    unknowns: Unknowns,
    body_translation: Float[Array, "P T 3"],
) -> PosedScene:
    """Bodies, the body ends of contacts and the rendered images as the unknowns put them."""
    rotations = body_rotations(bodies, unknowns)
    people = [
        jax.vmap(person.pose_matrices)(rotations[p], body_translation[p])
        for p, person in enumerate(bodies.people)
    ]
    skin = jnp.stack([jnp.asarray(person.vertices_world) for person in people])
    keypoints = jnp.stack(
        [
            jax.vmap(openpose18_from)(person.joints_world, person.vertices_world[:, :FACE_COUNT])
            for person in people
        ]
    )
    images = posed.scene.observed_images
    rendered = 0 if images is None else images.skin_count
    vertices, rendered_skin = jnp.split(skin, [skin.shape[2] - rendered], axis=2)
    posed = posed.replace(  # pyright: ignore[reportAttributeAccessIssue]
        body_vertices_world=vertices,
        contact_points=_contact_points(posed.scene, bodies, vertices),
        body_joint_rotations=rotations,
        Ts_world_joint=jnp.stack([jnp.asarray(person.Ts_world_joint) for person in people]),
        keypoints_world=keypoints,
    )
    if images is None:
        return posed
    corners = rendered_vertices(
        images, rendered_skin, posed.object_rotations, posed.object_translations
    )
    return posed.replace(  # pyright: ignore[reportAttributeAccessIssue]
        rendered_vertices=corners, rendered_image=render_images(images, corners)
    )


def _contact_points(
    scene: Scene, bodies: MovingBodies, vertices_world: Float[Array, "P T V 3"]
) -> Float[Array, "E 2 T C 3"]:
    """Contact points in their source frame, those of bodies where the bodies are now."""
    frames = jnp.arange(vertices_world.shape[1])
    person = bodies.edge_person[:, None, None, None]
    index = bodies.edge_vertices[:, :, None, :]
    ends = vertices_world[person, frames[None, None, :, None], index]
    return jnp.where(bodies.edge_of_body[:, None, None, None, None], ends, scene.edges.points)


def contact_points_in_target(posed: PosedScene) -> Float[Array, "E 2 T C 3"]:
    """Contact points of every edge in the asset frame of the edge's target object."""
    edges = posed.scene.edges
    shape = edges.points.shape[:3]
    identity = jnp.broadcast_to(jnp.eye(3), (1, *posed.object_rotations.shape[1:]))
    rotations = jnp.concatenate([posed.object_rotations, identity])
    origin = jnp.zeros_like(posed.object_translations[:1])
    translations = jnp.concatenate([posed.object_translations, origin])

    def pose_of(index: Array) -> tuple[Array, Array]:
        rotation, translation = rotations[index][:, None], translations[index][:, None]
        return jnp.broadcast_to(rotation, (*shape, 3, 3)), jnp.broadcast_to(
            translation, (*shape, 3)
        )

    world = to_world(*pose_of(edges.source), posed.contact_points)
    centered = to_local(*pose_of(edges.target), world)
    return centered + posed.scene.objects.centers[edges.target][:, None, None, None]
