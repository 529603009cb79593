"""Synthetic scenes of objects with joints: a person acts with the root link, and the joints move by themselves.

The links of an articulated object are objects of the scene, each with its own mask and points, as a
segmenter that is asked for "laptop" and "laptop lid" would give them; the bundle's joints tie them.
"""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.affordance.graph import AffordanceObject, PartAffordanceGraph
from hoijax.bundle.write import Bundle, GroundTruth, Provenance
from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.objects.articulated.joints import FIXED, PRISMATIC, Joint
from hoijax.objects.articulated.model import ArticulatedAsset, pose_links
from hoijax.objects.asset import Asset
from hoijax.progress import Log, silent
from priors.choreography.choreographer import Choreography, choreograph
from priors.language.nouns import compact_name
from priors.language.opening import read_opening
from priors.language.script import Script
from priors.language.sentence import singular, tokenize
from priors.synthetic.from_text import BODY, make_script
from priors.synthetic.ground_truth import KnownMotion, rendered_ground_truth
from priors.synthetic.observation_noise import NoiseModel
from priors.synthetic.opened_scenes import joint_path, opened_scene, shut_values, stand_back
from priors.synthetic.rendered_observations import observe_with_ground_truth

PERIODS = (0.6, 1.2)
"""How often a joint goes from one end of its range to the other in a clip, least and most."""
USED_RANGE = 0.8
"""Share of a joint's range that it moves through."""
FREE_TURN, FREE_SLIDE = 1.0, 0.2
"""Range of joints without limits, to both sides: radians, metres."""
SMALL_OBJECT = 0.4
"""Metres: of a smaller object a view of the whole person shows a few pixels, and a close-up is made."""
LOOK_DOWN = np.radians(40.0)
"""Of a close-up: on things carried at waist height one looks from above."""


def scene_objects(asset: ArticulatedAsset) -> tuple[tuple[Asset, ...], tuple[Joint, ...]]:
    """Links with a surface as assets, and the joints between them by index.

    The root keeps the object's name, the others add the link's. Raises UserError for links without a
    surface: there is nothing to see of them.
    """
    empty = [n for n, link in zip(asset.link_names, asset.links, strict=True) if link is None]
    if empty:
        raise UserError(
            f"articulated object '{asset.name}': links {', '.join(empty)} have no surface; in a made "
            "scene every link must be seen. Merge them with their neighbors."
        )
    names = [asset.name, *(f"{asset.name} {name}" for name in asset.link_names[1:])]
    links = [link for link in asset.links if link is not None]
    objects = tuple(
        dataclasses.replace(link, name=name) for link, name in zip(links, names, strict=True)
    )
    return objects, asset.joints


def joint_motion(joints: tuple[Joint, ...], frames: int, seed: int) -> Float[ndarray, "D T"]:
    """Seeded smooth values within the limits of every joint; zero for fixed ones."""
    rng = np.random.default_rng([seed, 23])
    values = np.zeros((len(joints), frames), np.float32)
    for d, joint in enumerate(joints):
        phase, rate = rng.uniform(0, 1), rng.uniform(*PERIODS)
        if joint.kind == FIXED:
            continue
        free = FREE_SLIDE if joint.kind == PRISMATIC else FREE_TURN
        low = joint.lower if np.isfinite(joint.lower) else -free
        high = joint.upper if np.isfinite(joint.upper) else free
        wave = 0.5 - 0.5 * np.cos(np.pi * (rate * np.linspace(0, 1, frames) + phase))
        values[d] = low + (high - low) * (0.5 + USED_RANGE * (wave - 0.5))
    return values


def observe_articulated(
    text: str,
    asset: ArticulatedAsset,
    *,
    values: Float[ndarray, "D T"] | None = None,
    frames: int = 49,
    seed: int = 0,
    noise: NoiseModel | None = None,
    close_up: bool | None = None,
    log: Log = silent,
) -> tuple[Bundle, GroundTruth, Float[ndarray, "D T"]]:
    """Observations of a choreographed scene, the ground truth, and the true joint values.

    values: of every joint in every frame (radians or metres); seeded ones within the limits otherwise.
    close_up: the camera sees the object's path and what of the person is beside it, instead of everything;
    None: of objects smaller than SMALL_OBJECT. The sentence is about the object; the person touches its
    root link.
    """
    noise = noise or NoiseModel()
    objects, joints = scene_objects(asset)
    moving = [i + 1 for i, joint in enumerate(joints) if joint.kind != FIXED]
    opening = read_opening(text, asset.name, objects, moving)
    if opening is not None:
        values = values if values is not None else shut_values(joints, frames)
        values[opening.link - 1] = joint_path(joints[opening.link - 1], opening.closes, frames)
        Ts_world_object = _link_poses(asset, joints, values, _standing(asset, objects, frames))
        script, scene = opened_scene(text, objects, joints, opening, Ts_world_object, seed)
        log(opening.summary(objects[opening.link].name))
        close_up = bool(close_up)
    else:
        if values is None:
            values = joint_motion(joints, frames, seed)
        script, scene = _by_the_body(text, asset, objects[0], frames, seed, log)
        Ts_world_object = _link_poses(asset, joints, values, scene.Ts_world_object[0])
    if close_up is None:
        close_up = (
            max(float(np.ptp(link.vertices, axis=0).max()) for link in objects) < SMALL_OBJECT
        )
    view = scene.camera, scene.T_world_camera
    if close_up:
        view = scene.camera, _close_up(*view, objects, Ts_world_object)
    motion = KnownMotion(scene.joint_rotations, scene.translation, scene.betas, scene.rest_joints)
    truth = rendered_ground_truth(
        BODY,
        motion,
        objects,
        Ts_world_object,
        scene.contact,
        view=view,
    )
    rendered = observe_with_ground_truth(truth, noise, seed)
    settings = {"text": text, "frames": frames, **dataclasses.asdict(noise)}
    provenance = Provenance(
        model="priors.synthetic.articulated_scenes", revision="1", settings=settings, seed=seed
    )
    bundle = Bundle(
        prompt=text,
        fps=scene.fps,
        affordance=script.graph if opening is not None else _with_links(script.graph, objects),
        assets=objects,
        bodies=(BODY,) * len(script.graph.people),
        observations=rendered.observations,
        provenance={"*": provenance},
        joints=joints,
    )
    return bundle, rendered.ground_truth, values


def _by_the_body(
    text: str, asset: ArticulatedAsset, root: Asset, frames: int, seed: int, log: Log
) -> tuple[Script, Choreography]:
    """A person who acts with the root link."""
    _refuse_hands_on_links(text, asset)
    standing = _root_in_object(asset, root)
    script = make_script(text, (standing,), log=log)
    moving = [joint.name for joint in asset.joints if joint.kind != FIXED]
    if moving:
        log(f"hands are on {root.name}; by themselves move its joints {', '.join(moving)}")
    return script, choreograph(script, (standing,), frames=frames, seed=seed)


def _standing(
    asset: ArticulatedAsset, objects: tuple[Asset, ...], frames: int
) -> Float[ndarray, "T 4 4"]:
    """T_world_asset of an object that stands on the ground and stays there."""
    rest = np.eye(4, dtype=np.float32)
    Ts = _link_poses(asset, asset.joints, shut_values(asset.joints, 1), rest[None])[:, 0]
    low = [
        (link.vertices @ T[:3, :3].T + T[:3, 3])[:, 1].min()
        for link, T in zip(objects, Ts, strict=True)
    ]
    rest[1, 3] = -min(low)
    return np.repeat(rest[None], frames, axis=0)


def _refuse_hands_on_links(text: str, asset: ArticulatedAsset) -> None:
    """Raises UserError for a sentence about a link that moves: hands are put on the root alone."""
    words = {singular(token) for token in tokenize(text)} - {"left", "right"}
    named = [name for name in asset.link_names[1:] if compact_name(name) in words]
    if named and compact_name(named[0]) != compact_name(asset.name):
        raise UserError(
            f"{text!r} is about the {named[0]} of {asset.name!r}. Hands are put on the body of an object, and "
            f"its joints move by themselves: say what happens with the {asset.name}, or observe a video "
            "(--video with --prior packaged or diffusion)."
        )


def _root_in_object(asset: ArticulatedAsset, root: Asset) -> Asset:
    """The root link in the object's frame, which is y up: URDF's links are z up."""
    T = asset.T_asset_root
    R = T[:3, :3]
    return dataclasses.replace(
        root,
        vertices=(root.vertices @ R.T + T[:3, 3]).astype(np.float32),
        samples=(root.samples @ R.T + T[:3, 3]).astype(np.float32),
        sample_normals=(root.sample_normals @ R.T).astype(np.float32),
        appearance=None,
    )


def _close_up(
    camera: PinholeCamera,
    T_world_camera: Float[ndarray, "4 4"],
    objects: tuple[Asset, ...],
    Ts_world_object: Float[ndarray, "O T 4 4"],
) -> Float[ndarray, "4 4"]:
    """T_world_camera from the same side, looking down, as near as all of the object's path allows."""
    cloud = np.concatenate(
        [
            np.einsum("tij,vj->tvi", T[:, :3, :3], link.vertices) + T[:, None, :3, 3]
            for link, T in zip(objects, Ts_world_object, strict=True)
        ],
        axis=1,
    ).reshape(-1, 3)
    target = 0.5 * (cloud.min(axis=0) + cloud.max(axis=0))
    away = T_world_camera[:3, 3] - target
    level = away * [1.0, 0.0, 1.0] / np.linalg.norm(away * [1.0, 0.0, 1.0])
    direction = np.cos(LOOK_DOWN) * level + np.sin(LOOK_DOWN) * np.array([0.0, 1.0, 0.0])
    T = stand_back(camera, target, direction, cloud)
    return T_world_camera if T is None else T


def _link_poses(
    asset: ArticulatedAsset,
    joints: tuple[Joint, ...],
    values: Float[ndarray, "D T"],
    Ts_world_asset: Float[ndarray, "T 4 4"],
) -> Float[ndarray, "L T 4 4"]:
    """T_world_link of all links."""
    tree = asset.tree()
    moving = np.array([joint.kind != FIXED for joint in joints], bool)  # none in a single link
    posed = jax.vmap(lambda v, T: pose_links(tree, v, T))(
        values[moving].T.astype(np.float32), Ts_world_asset.astype(np.float32)
    )
    return np.moveaxis(np.asarray(posed), 1, 0)


def _with_links(graph: PartAffordanceGraph, objects: tuple[Asset, ...]) -> PartAffordanceGraph:
    """The graph with the other links as objects that nobody need touch."""
    nodes = tuple(
        AffordanceObject(
            name=link.name,
            parts=link.part_names or ("surface",),
            is_translational=True,
            is_rotational=True,
        )
        for link in objects[1:]
    )
    return graph.model_copy(update={"objects": (*graph.objects, *nodes)})
