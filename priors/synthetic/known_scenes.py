"""The scene that closed-form guidance shows: one frame of what the choreographer makes of a sentence."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.bodies import load_body
from hoijax.bodies.keypoints import openpose18
from hoijax.bodies.pose_prior import canonical_pose
from hoijax.bodies.skinned_body import ShapedBody
from hoijax.composition.fields.known_scene import HUMAN, OBJECT, KnownScene
from hoijax.errors import UserError
from hoijax.objects.asset import Asset, asset_from_arrays, load_asset
from hoijax.objects.lofting import Piece, slab
from hoijax.objects.procedural import PROCEDURAL_OBJECTS, join_pieces
from hoijax.rendering.raycast import RenderMesh
from priors.choreography.choreographer import choreograph
from priors.language.scene_words import object_noun, read_prompts
from priors.language.script import script_from_text
from priors.language.sentence import library

__all__ = ["MadeScene", "make_known_scene"]

BODY = "anny"
FRAMES = 24
SKIN, SHIRT, TROUSERS, SHOES = (0.78, 0.56, 0.44), (0.16, 0.36, 0.66), (0.22, 0.22, 0.26), (0.1, 0.1, 0.1)  # fmt: skip
HAIR = (0.16, 0.10, 0.07)
OBJECT_COLORS = ((0.72, 0.24, 0.16), (0.80, 0.62, 0.20), (0.22, 0.50, 0.30), (0.50, 0.30, 0.55))
"""By part of the object, from the first again."""


@dataclass(frozen=True)
class MadeScene:
    """A known scene with what a result folder needs to name it."""

    scene: KnownScene
    asset: Asset
    graph: PartAffordanceGraph


def make_known_scene(text: str, asset: Asset | None = None, seed: int = 0) -> MadeScene:
    """One frame of a sentence, moved so that the middle of person and object is over the origin.

    asset: the object; by default a procedural one of the kind that the sentence names. UserError for
    sentences without person or object, of unknown verbs, and objects there is no procedural mesh for.
    """
    prompts = read_prompts(text)
    asset = asset or _asset_of(object_noun(text))
    script = script_from_text(text, (asset,))
    motion = choreograph(script, (asset,), frames=FRAMES, seed=seed)
    frame = _busiest(motion.contact)
    body = load_body(BODY)
    import jax.numpy as jnp

    person = body.shape(jnp.asarray(motion.betas[0])).with_rest_joints(
        jnp.asarray(motion.rest_joints[0])
    )
    rotations, translation = motion.joint_rotations[0, frame], motion.translation[0, frame].copy()
    T_world_object = motion.Ts_world_object[0, frame].copy()
    posed = person.pose(jnp.asarray(rotations), jnp.asarray(translation))
    skin = np.asarray(posed.vertices_world)
    object_vertices = asset.vertices @ T_world_object[:3, :3].T + T_world_object[:3, 3]
    shift = _to_origin(np.concatenate([skin, object_vertices]), rotations[0])
    colors = clothing(person)
    T_world_object[:3, 3] += shift
    scene = KnownScene(
        prompts=prompts,
        human=RenderMesh(skin + shift, np.asarray(body.faces), HUMAN, color=colors),
        object=RenderMesh(
            object_vertices + shift, asset.faces, OBJECT, color=_object_colors(asset)
        ),
        standing=RenderMesh(_standing(person), np.asarray(body.faces), HUMAN, color=colors),
        keypoints_world=np.asarray(openpose18(posed, body)) + shift,
        joints_world=np.asarray(posed.joints_world) + shift,
        ground_truth={
            "rotations": rotations,
            "translation": translation + shift,
            "betas": motion.betas[0],
            "rest_joints": motion.rest_joints[0],
            "T_world_object": T_world_object,
        },
    )
    return MadeScene(scene, asset, script.graph)


def _busiest(contact: Bool[ndarray, "E T"]) -> int:
    """The middle of the frames in which most touches."""
    count = np.asarray(contact).sum(axis=0)
    frames = np.flatnonzero(count == count.max())
    return int(frames[len(frames) // 2])


def _to_origin(points: Float[ndarray, "n 3"], root: Float[ndarray, " 3"]) -> Float[ndarray, " 3"]:
    """What moves the middle of all points over the origin, the lowest stays where it is."""
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    return np.array([-middle[0], 0.0, -middle[2]], np.float32)


def _asset_of(noun: str) -> Asset:
    """A procedural object of the kind of a noun."""
    if noun in ("sofa", "couch"):
        vertices, faces, parts, names = join_pieces(_sofa())
        return asset_from_arrays(noun, vertices, faces, parts, names)
    kinds = [kind for kind, words in library()["nouns"].items() if noun in words]
    if not kinds or kinds[0] not in PROCEDURAL_OBJECTS:
        raise UserError(
            f"closed-form guidance has no {noun!r}; it knows sofa, {', '.join(PROCEDURAL_OBJECTS)}. "
            "Name one of them, or give the object's mesh with --object."
        )
    return replace(load_asset(kinds[0]), name=noun)


def _sofa() -> list[Piece]:
    """Two-seater, 1.4 m wide: seat at 43 cm, back and arms; on four short feet."""
    pieces = slab((1.12, 0.26, 0.62), (0.0, 0.30, 0.05), 0.04, "seat")
    pieces += slab((1.40, 0.55, 0.20), (0.0, 0.445, -0.36), 0.05, "backrest")
    for x in (-0.63, 0.63):
        pieces += slab((0.14, 0.42, 0.62), (x, 0.36, 0.05), 0.04, "arms")
        for z in (-0.38, 0.28):
            pieces += slab((0.06, 0.17, 0.06), (x, 0.085, z), 0.01, "legs")
    return pieces


def clothing(person: ShapedBody) -> Float[ndarray, "F 3"]:
    """Color of every face of a body: shirt, trousers, shoes, hair, skin."""
    vertices, joints = np.asarray(person.vertices_rest), np.asarray(person.joints_rest)
    faces = np.asarray(person.faces)
    middle = vertices[faces].mean(axis=1)
    across, up, ahead = np.abs(middle[:, 0]), middle[:, 1], middle[:, 2]
    color = np.tile(np.asarray(SHIRT, np.float32), (len(faces), 1))
    color[up < joints[0, 1] + 0.02] = TROUSERS
    color[up < joints[7, 1] - 0.01] = SHOES
    color[across > np.abs(joints[18:20, 0]).mean()] = SKIN
    color[up > joints[12, 1] + 0.01] = SKIN
    color[(up > joints[15, 1] + 0.02) & (ahead < joints[15, 2] + 0.03)] = HAIR
    color[up > vertices[:, 1].max() - 0.05] = HAIR
    return color


def _object_colors(asset: Asset) -> Float[ndarray, "F 3"]:
    part = np.maximum(asset.face_parts, 0) % len(OBJECT_COLORS)
    return np.asarray(OBJECT_COLORS, np.float32)[part]


def _standing(person: ShapedBody) -> Float[ndarray, "V 3"]:
    """Skin of the canonical pose: standing with the arms out, feet on the ground at the origin."""
    import jax.numpy as jnp

    vertices = np.asarray(
        person.pose(jnp.asarray(canonical_pose()), jnp.zeros(3)).vertices_world
    ).copy()
    pelvis = np.asarray(person.joints_rest)[0]
    vertices -= np.array([pelvis[0], vertices[:, 1].min(), pelvis[2]], np.float32)
    return vertices
