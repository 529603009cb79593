"""Bundle to the scene of moving bodies: which skin is posed, what was seen of people, static scenes."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy import ndarray

from hoijax.affordance.contact_table import ContactKind, ContactTable
from hoijax.affordance.graph import BODY_PARTS
from hoijax.bodies.body_field import BodyField, build_body_field
from hoijax.bodies.contact import contact_candidates
from hoijax.bodies.kinematics import BODY_JOINT_COUNT
from hoijax.bodies.parts import part_vertex_indices
from hoijax.bodies.pose_prior import prior_centers
from hoijax.bodies.skinned_body import ShapedBody, SkinnedBody
from hoijax.bodies.vposer import load_vposer
from hoijax.bundle.evidence import visible
from hoijax.bundle.observations import Observations
from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.geometry.rotations import axis_angle_to_matrix
from hoijax.programs import program
from hoijax.rendering.soft_raster import pad_samples
from hoijax.runtime import on_device
from hoijax.scene.bodies import FACE_COUNT, ContactPairs, MovingBodies
from hoijax.scene.build_images import observed_images, rendered_skin
from hoijax.scene.build_objects import posed_bodies
from hoijax.scene.build_people import observed_people
from hoijax.scene.images import ObservedImages
from hoijax.scene.joints import object_joints
from hoijax.scene.scene import Scene
from hoijax.settings import ESTIMATE_STARTS, AnchorSettings

SELF_SAMPLES = 128
SAMPLES_STEP, VERTICES_STEP = 1024, 1024
"""Rendered points and rendered vertices of objects are padded to multiples of these."""
PART_VERTICES = 64
"""Of each of the twelve parts, beside the contact candidates: what may penetrate."""


@dataclass(frozen=True)
class BodyMotions:
    """Bodies of all people as a solve starts from them (SMPL-X parameters, see `Observations`)."""

    rotations: Float[ndarray, "P T 55 3"]
    translations: Float[ndarray, "P T 3"]


@dataclass(frozen=True)
class StaticScene:
    """One posed frame: where the interaction's contact is read off."""

    rotations: Float[ndarray, "P 55 3"]
    translations: Float[ndarray, "P 3"]
    Ts_world_object: Float[ndarray, "O 4 4"]


@dataclass(frozen=True)
class SkinSubset:
    """Skin vertices that are posed: faces, samples of the body field, contact candidates, more skin."""

    indices: Int[ndarray, " n"]
    first_candidate: int
    candidates: int
    """Candidates of each of the twelve parts, in the order of BODY_PARTS, one part after the other."""

    def of_part(self, part: str) -> Int[ndarray, " c"]:
        """Places in the subset of the contact candidates of a part."""
        start = self.first_candidate + BODY_PARTS.index(part) * self.candidates
        return np.arange(start, start + self.candidates)


def skin_subset(body: SkinnedBody, field: BodyField, candidates: int) -> SkinSubset:
    """What of the skin is posed in every step (host)."""
    faces = np.asarray(body.face_vertices)
    samples = np.asarray(field.sample_vertices)
    touching = [np.asarray(contact_candidates(body, part, candidates)) for part in BODY_PARTS]
    others = [np.asarray(part_vertex_indices(body, part, PART_VERTICES)) for part in BODY_PARTS]
    indices = np.concatenate([faces, samples, *touching, *others]).astype(np.int32)
    return SkinSubset(indices, FACE_COUNT + len(samples), candidates)


def thinned(field: BodyField, count: int = SELF_SAMPLES) -> BodyField:
    """The field with fewer samples for self-penetration, which costs in proportion to them."""
    stride = max(field.sample_vertices.shape[0] // count, 1)
    return field.replace(  # pyright: ignore[reportAttributeAccessIssue]
        sample_vertices=field.sample_vertices[::stride], sample_pieces=field.sample_pieces[::stride]
    )


def without_broken_numbers(bundle: Bundle) -> Bundle:
    """The bundle with everything that is not finite marked as not seen.

    A broken frame of the estimated body or camera takes the nearest sound frame's.
    """
    o = bundle.observations
    changes: dict[str, ndarray] = {}
    keypoints = np.asarray(o.keypoints)
    changes["keypoints"] = np.where(np.isfinite(keypoints).all(-1, keepdims=True), keypoints, 0.0)
    for kind in ("person", "object"):
        points, pixels = getattr(o, f"{kind}_points"), getattr(o, f"{kind}_pixels")
        sound = np.isfinite(points).all(-1) & np.isfinite(pixels).all(-1)
        changes[f"{kind}_points"] = np.where(sound[..., None], points, 0.0)
        changes[f"{kind}_pixels"] = np.where(sound[..., None], pixels, 0.0)
        changes[f"{kind}_point_mask"] = getattr(o, f"{kind}_point_mask") & sound
    bodies = zip(*(_sound_frames(r, t) for r, t in _of_people(o)), strict=True)
    changes["body_rotations"], changes["body_translations"] = (np.stack(x) for x in bodies)
    changes["Ts_world_camera"] = _sound_frames(np.asarray(o.Ts_world_camera))[0]
    changes["intrinsics"] = _sound_frames(np.asarray(o.intrinsics))[0]
    for name in ("body_betas", "body_rest_joints"):
        if not np.isfinite(getattr(o, name)).all():
            raise UserError(
                f"the bundle's '{name}' has numbers that are not finite: observe again."
            )
    numbers = range(o.person_count + 1, o.person_count + o.object_count + 1)
    seen = changes["object_point_mask"].any(axis=-1) | visible(o.instance_ids, numbers)
    seen &= np.asarray(o.object_detected)
    unseen = [a.name for a, detected in zip(bundle.assets, seen, strict=True) if not detected.any()]
    if unseen:
        raise UserError(
            f"no frame shows {', '.join(unseen)}: nothing to solve for. Film from nearer, or leave "
            "it away."
        )
    changes = {
        name: x.astype(np.float32) if x.dtype != np.bool_ else x for name, x in changes.items()
    }
    return dataclasses.replace(bundle, observations=dataclasses.replace(o, **changes))


def _of_people(o: Observations) -> list[tuple[ndarray, ndarray]]:
    return list(zip(np.asarray(o.body_rotations), np.asarray(o.body_translations), strict=True))


def _sound_frames(*arrays: ndarray) -> list[ndarray]:
    """Arrays (T, ...) with frames that are not finite in any of them replaced by the nearest."""
    frames = len(arrays[0])
    sound = np.all([np.isfinite(x.reshape(frames, -1)).all(axis=1) for x in arrays], axis=0)
    if not sound.any():
        raise UserError(
            "the bundle's body motion or cameras have no frame of finite numbers: observe again."
        )
    good = np.flatnonzero(sound)
    nearest = good[np.abs(np.arange(frames)[:, None] - good).argmin(axis=1)]
    return [x[nearest] for x in arrays]


def edge_ends(
    table: ContactTable, of_part: Callable[[str], Int[ndarray, " c"]], rows: int, count: int
) -> tuple[Int[ndarray, "E 2 C"], Int[ndarray, " E"], ndarray]:
    """Vertices (of those that `of_part` gives), person and kind of the body end of every row of ContactEdges."""
    vertices = np.zeros((rows, 2, count), np.int32)
    person, of_body = np.zeros(rows, np.int32), np.zeros(rows, bool)
    for group in range(table.group_count):
        edges = np.flatnonzero(table.group == group)
        first = int(edges[0])
        if table.kind[first] == ContactKind.OBJECT_OBJECT:
            continue
        names = [BODY_PARTS[table.body_part[i]] for i in edges]
        if len(edges) == 1 and table.either_side[first]:
            names.append(BODY_PARTS[table.mirrored_body_part[first]])
        for name in names:
            places = of_part(name)
            chosen = places[np.linspace(0, len(places) - 1, count).astype(int)]
            vertices[group, 1 if name.startswith("right_") else 0] = chosen
        person[group], of_body[group] = int(table.person[first]), True
    return vertices, person, of_body


def with_moving_bodies(
    scene: Scene,
    bundle: Bundle,
    body: SkinnedBody,
    start: BodyMotions,
    Ts_world_pointmap: Float[ndarray, "T 4 4"],
    settings: AnchorSettings,
) -> tuple[Scene, SkinSubset]:
    """The scene with bodies that move and what was seen of them, no contact pairs yet; the posed skin."""
    o = bundle.observations
    shaped = [
        body.shape(o.body_betas[p]).with_rest_joints(o.body_rest_joints[p])
        for p in range(o.person_count)
    ]
    fields = tuple(thinned(build_body_field(body, person)) for person in shaped)
    subset = skin_subset(body, fields[0], settings.pairs.candidates)
    rows = int(scene.edges.source.shape[0])
    vertices, person, of_body = edge_ends(
        bundle.contact_table, subset.of_part, rows, settings.contact_points
    )
    posed, images = subset.indices, None
    if settings.render_width:
        # Of the mean body: everybody's rendered skin is then the same vertices, and shares programs.
        rendered, faces = rendered_skin(body.shape(jnp.zeros(body.shape_directions.shape[-1])))
        posed = np.concatenate([posed, rendered])
        skin = [(np.asarray(one.vertices_rest)[rendered], faces) for one in shaped]
        images = padded(observed_images(o, bundle.assets, skin, Ts_world_pointmap, settings))
    bodies = MovingBodies(
        people=tuple(one.subset(posed) for one in shaped),
        fields=fields,
        fixed_rotations=axis_angle_to_matrix(on_device(start.rotations, jnp.float32)),
        pose_centers=on_device(pose_centers(o, settings.body_start)),
        edge_vertices=on_device(vertices),
        edge_person=on_device(person),
        edge_of_body=on_device(of_body),
        estimated_joints=_joints_of(tuple(shaped), start.rotations, start.translations),
        pose_model=None if settings.vposer is None else load_vposer(settings.vposer),
    )
    scene = dataclasses.replace(
        scene,
        body_vertices_world=scene.body_vertices_world[:, :, subset.indices],
        bodies=bodies,
        pairs=no_pairs(settings.pairs.object_points),
        observed_people=observed_people(o, Ts_world_pointmap, settings.points),
        observed_images=images,
        joints=object_joints(bundle.joints, bundle.assets),
        fps=on_device(float(bundle.fps), jnp.float32),
    )
    return scene, subset


@program
def _joints_of(
    people: tuple[ShapedBody, ...], rotations: Array, translations: Array
) -> Float[Array, "P T 22 3"]:
    one = [
        jax.vmap(person.pose_joints)(rotations[p], translations[p])
        for p, person in enumerate(people)
    ]
    return jnp.stack(one)[:, :, :BODY_JOINT_COUNT, :3, 3]


def pose_centers(o: Observations, body_start: str) -> Float[ndarray, "P T R 22 3"]:
    """Centers of the pose prior; the bundle's estimate is one unless the bodies start without it."""
    known = body_start in ESTIMATE_STARTS
    estimates = np.asarray(o.body_rotations)[:, :, :22] if known else [None] * o.person_count
    return np.stack([prior_centers(o.frame_count, estimate) for estimate in estimates])


def padded(images: ObservedImages) -> ObservedImages:
    """Rendered points and object vertices filled up, so that different objects share programs."""
    vertices = images.object_vertices
    extra = -len(vertices) % VERTICES_STEP
    return dataclasses.replace(
        images,
        samples=jax.tree.map(jnp.asarray, pad_samples(images.samples, SAMPLES_STEP)),
        object_vertices=jnp.pad(vertices, ((0, extra), (0, 0))),
        vertex_object=jnp.pad(images.vertex_object, (0, extra)),
    )


def no_pairs(count: int) -> ContactPairs:
    """Padding only."""
    zeros = jnp.zeros(count, jnp.int32)
    return ContactPairs(
        person=zeros,
        vertex=zeros,
        object=zeros,
        point=jnp.zeros((count, 3)),
        edge=zeros,
        share=jnp.zeros(count),
    )


def pose_full(
    body: SkinnedBody, observations: Observations, motions: BodyMotions
) -> Float[Array, "P T V 3"]:
    """Whole skin of all people, for the alignment of point maps."""

    moved = dataclasses.replace(
        observations,
        body_rotations=np.asarray(motions.rotations, np.float32),
        body_translations=np.asarray(motions.translations, np.float32),
    )
    return posed_bodies(body, moved)
