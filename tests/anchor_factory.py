"""A small made scene whose bodies move: the objects of `scene_factory`, two people of few vertices."""

import contextlib
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from scene_factory import CELL, CONTACTS, FRAMES, HEIGHT, OBJECTS, PEOPLE, WIDTH, make_scene

from hoijax.bodies import load_body
from hoijax.bodies.body_field import build_body_field
from hoijax.bodies.low_poly import low_poly
from hoijax.bodies.pose_prior import prior_centers
from hoijax.geometry.bilinear import pack_corners
from hoijax.geometry.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from hoijax.geometry.transforms import compose_rigid, invert_rigid, look_at
from hoijax.methods.anchor_motion import terms
from hoijax.rendering.soft_raster import join_samples, sample_mesh
from hoijax.scene.bodies import FACE_COUNT, ContactPairs, MovingBodies, ObservedPeople
from hoijax.scene.images import ObservedImages
from hoijax.scene.joints import ObjectJoints
from hoijax.scene.scene import Unknowns

SAMPLES, SKIN, JOINTS, SEEN, PAIRS, ACTIVE = 24, 60, 22, 20, 8, 12
EDGES = 5


FEW = ("body_keypoints", "body_smoothness", "object_points", "part_points", "contact")
FEW += ("translation_smoothness", "rotation_smoothness", "ground")


@contextlib.contextmanager
def few_losses():
    """Anchor motion with a third of its losses, for solves whose losses are not what is tested."""
    few = tuple(term for term in terms.TERMS if term.name in FEW)
    with mock.patch.object(terms, "TERMS", few):
        yield


def observed_people(rng, vertices: np.ndarray) -> ObservedPeople:
    """Keypoints near the picture, points near the skin, masks of random distances."""
    T_camera_world = invert_rigid(look_at(np.array([0.3, 1.2, 3.5]), np.array([0.0, 0.8, 0.0])))
    keypoints = rng.uniform(0, [WIDTH, HEIGHT, 1.0], (PEOPLE, FRAMES, 18, 3))
    keypoints[rng.random(keypoints.shape[:3]) < 0.3] = 0.0
    keypoints[0, 1] = 0.0  # a frame without any
    points = vertices[:, :, rng.integers(0, vertices.shape[2], SEEN)]
    points = points + 0.05 * rng.normal(size=points.shape)
    mask = rng.random(points.shape[:3]) < 0.8
    mask[1, 2] = False  # a frame in which the person was missed
    weights = mask / np.maximum(mask.sum(-1, keepdims=True), 1)
    images = rng.uniform(0, 20, (PEOPLE, FRAMES, HEIGHT // CELL[1], WIDTH // CELL[0]))
    return ObservedPeople(
        keypoints=jnp.asarray(keypoints, jnp.float32),
        Ts_camera_world=jnp.asarray(np.tile(T_camera_world, (FRAMES, 1, 1)), jnp.float32),
        points_world=jnp.asarray(points, jnp.float32),
        point_weights=jnp.asarray(weights, jnp.float32),
        detected=jnp.asarray(mask.any(-1)),
        mask_distance=jnp.asarray(pack_corners(images.astype(np.float32))),
    )


T_WORLD_CAMERA = look_at(np.array([0.3, 1.2, 3.5]), np.array([0.0, 0.8, 0.0]))


def observed_images(rng, body) -> tuple[np.ndarray, ObservedImages]:
    """Drawn skin vertices, and pictures of 20 x 16 random pixels; every object is drawn as a box."""
    import trimesh

    drawn, faces = low_poly(np.asarray(body.template), np.asarray(body.faces), 0.08)
    crate = trimesh.creation.box((0.3, 0.4, 0.25))
    meshes = [(np.asarray(body.template)[drawn], faces)] * PEOPLE
    meshes += [
        (np.asarray(crate.vertices, np.float32), np.asarray(crate.faces, np.int32))
    ] * OBJECTS
    count, size = PEOPLE + OBJECTS, (16, 20)
    features = [
        np.concatenate([np.eye(count)[i], rng.uniform(0, 1, 3)]).astype(np.float32)
        for i in range(count)
    ]
    samples = [
        sample_mesh(v, f, np.tile(paint, (len(f), 1)), 0.08)
        for (v, f), paint in zip(meshes, features, strict=True)
    ]
    joined = join_samples(samples, [len(v) for v, _ in meshes])
    focal = 20.0
    intrinsics = np.array([[focal, 0, 10.0], [0, focal, 8.0], [0, 0, 1]], np.float32)
    weights = np.ones((FRAMES, count + 3), np.float32)
    weights[1, 0] = 0.0  # person 0 was missed in frame 1
    frames = ObservedImages(
        samples=jax.tree.map(jnp.asarray, joined),
        object_vertices=jnp.asarray(np.tile(meshes[-1][0], (OBJECTS, 1)), jnp.float32),
        vertex_object=jnp.asarray(np.repeat(np.arange(OBJECTS), 8), jnp.int32),
        chosen=jnp.arange(FRAMES),
        Ts_world_camera=jnp.asarray(np.tile(T_WORLD_CAMERA, (FRAMES, 1, 1)), jnp.float32),
        intrinsics=jnp.asarray(np.tile(intrinsics, (FRAMES, 1, 1))),
        target=jnp.asarray(rng.uniform(0, 1, (FRAMES, *size, count + 3)), jnp.float32),
        channel_weights=jnp.asarray(weights),
        depth=jnp.asarray(rng.uniform(3.2, 3.7, (FRAMES, *size)), jnp.float32),
        depth_mask=jnp.asarray(rng.random((FRAMES, *size)) < 0.7),
        skin_count=len(drawn),
    )
    return drawn, frames


def object_joints() -> ObjectJoints:
    """Object 1 turns about an axis of object 0."""
    T = compose_rigid(np.eye(3), np.array([0.1, 0.2, 0.0]))
    return ObjectJoints(
        jnp.asarray(T[None]),
        jnp.asarray([[0.0, 0.6, 0.8]]),
        jnp.asarray([-0.2]),
        jnp.asarray([0.5]),
        jnp.asarray([0.4]),
        parents=(0,),
        children=(1,),
        slides=(False,),
    )


def pose_centers(rng: np.random.Generator) -> np.ndarray:
    """An estimate of its own for every person."""
    estimates = 0.3 * rng.normal(size=(PEOPLE, FRAMES, 22, 3))
    return np.stack([prior_centers(FRAMES, estimate) for estimate in estimates])


def make_anchor(seed: int = 0, pose_scale: float = 0.3):
    """(scene, unknowns, neighbors); pose_scale 0 stands in the rest pose."""
    rng = np.random.default_rng(seed)
    made, body = make_scene(seed), load_body("anny")
    shaped = body.shape(jnp.zeros(1))
    field = build_body_field(body, shaped, resolution=0.03)
    stride = field.sample_vertices.shape[0] // SAMPLES
    field = field.replace(
        sample_vertices=field.sample_vertices[::stride][:SAMPLES],
        sample_pieces=field.sample_pieces[::stride][:SAMPLES],
    )
    count = len(np.asarray(body.template))
    indices = np.concatenate(
        [
            np.asarray(body.face_vertices),
            np.asarray(field.sample_vertices),
            rng.integers(0, count, SKIN),
        ]
    )
    rendered, images = observed_images(np.random.default_rng([seed, 1]), body)
    person = shaped.subset(np.concatenate([indices, rendered]))
    pose = pose_scale * rng.normal(size=(PEOPLE, FRAMES, 55, 3))
    matrices = axis_angle_to_matrix(jnp.asarray(pose, jnp.float32))
    place = rng.normal(size=(PEOPLE, FRAMES, 3)) * [0.2, 0.03, 0.2] - [0.0, 0.05, 0.0]
    bodies = MovingBodies(
        people=(person, person),
        fields=(field, field),
        fixed_rotations=matrices,
        pose_centers=jnp.asarray(pose_centers(rng)),
        edge_vertices=jnp.asarray(rng.integers(FACE_COUNT, len(indices), (EDGES, 2, CONTACTS))),
        edge_person=jnp.asarray([0, 1, 0, 0, 0], jnp.int32),
        edge_of_body=jnp.asarray([True, True, False, True, False]),
        estimated_joints=jnp.asarray(
            0.5 * np.random.default_rng([seed, 2]).normal(size=(PEOPLE, FRAMES, 22, 3)), jnp.float32
        ),
    )
    pairs = ContactPairs(
        person=jnp.asarray(rng.integers(0, PEOPLE, PAIRS), jnp.int32),
        vertex=jnp.asarray(rng.integers(0, len(indices), PAIRS), jnp.int32),
        object=jnp.asarray(rng.integers(0, OBJECTS, PAIRS), jnp.int32),
        point=jnp.asarray(0.2 * rng.normal(size=(PAIRS, 3)), jnp.float32),
        edge=jnp.asarray([0, 0, 0, 1, 1, 3, 3, 0], jnp.int32),
        share=jnp.asarray([1 / 3, 1 / 3, 1 / 3, 0.5, 0.5, 0.5, 0.5, 0.0], jnp.float32),
    )
    scene = made.scene.replace(
        bodies=bodies,
        pairs=pairs,
        observed_people=observed_people(rng, np.asarray(posed_vertices(person, matrices, place))),
        observed_images=images,
        joints=object_joints(),
        fps=jnp.asarray(12.0),
    )
    unknowns = Unknowns(
        made.unknowns.object_rotation_6d,
        made.unknowns.object_translation,
        matrix_to_rotation_6d(matrices[:, :, :JOINTS]),
        jnp.asarray(place, jnp.float32),
        jnp.asarray(rng.uniform(-0.5, 0.8, (1, FRAMES)), jnp.float32),
    )
    vertices = len(indices)
    neighbors = made.neighbors.replace(
        active_vertices=made.neighbors.active_vertices % vertices,
        nearest_vertex=jnp.asarray(rng.integers(0, vertices, (PEOPLE, FRAMES, SEEN)), jnp.int32),
        active_samples=jnp.asarray(
            rng.integers(0, 256, (OBJECTS, PEOPLE, FRAMES, ACTIVE)), jnp.int32
        ),
        plants=jnp.asarray(plants(), jnp.int32),
    )
    return scene, unknowns, neighbors


def plants() -> np.ndarray:
    """Person 0 stands, steps and stands with every foot point; person 1 only with its left ankle."""
    numbers = np.full((PEOPLE, FRAMES, 4), -1)
    numbers[0, :2] = 0
    numbers[0, 3:] = 1
    numbers[0, 2, 3] = 0
    numbers[1, :, 0] = 0
    return numbers


def posed_vertices(person, matrices, place):
    pose = jax.vmap(jax.vmap(lambda r, t: person.pose_matrices(r, t).vertices_world))
    return pose(matrices, jnp.asarray(place, jnp.float32))
