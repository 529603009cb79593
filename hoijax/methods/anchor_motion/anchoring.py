"""Between the passes: what the second one reads, from where the tracked bodies and objects are."""

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from hoijax.bodies.fitting.foot_plants import foot_plants
from hoijax.bodies.fitting.residuals import FEET
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.initialization.align_observations import align
from hoijax.initialization.contact_states import (
    contact_states,
)
from hoijax.methods.anchor_motion.contact_pairs import stage_pairs
from hoijax.methods.anchor_motion.results import motions_of, tracked_stills
from hoijax.methods.passes import Numbers, Prepared
from hoijax.programs import program
from hoijax.progress import Log, silent
from hoijax.runtime import on_device
from hoijax.scene.build_bodies import (
    SkinSubset,
    StaticScene,
    pose_full,
)
from hoijax.scene.build_images import with_colors, with_depth
from hoijax.scene.build_objects import observed_objects
from hoijax.scene.build_people import observed_people
from hoijax.scene.posed import pose_scene, present
from hoijax.scene.scene import Scene, Unknowns
from hoijax.settings import AnchorSettings
from hoijax.solver.neighbor_lists import empty_neighbors, first_neighbors
from hoijax.solver.problem import Solution

CORRECTED = "corrected"
"""The body start after which bodies, camera and point maps agree already."""


@dataclass(frozen=True)
class Evidence:
    """What the host reads between the passes, and what a result records."""

    settings: AnchorSettings
    body: SkinnedBody
    subset: SkinSubset
    always: Bool[np.ndarray, " E"]
    """Edges that the graph says touch throughout."""
    states: Float[np.ndarray, "K E T"]
    """In which frames each edge touches, by candidate."""
    Ts_world_pointmap: Float[np.ndarray, "T 4 4"]
    static: StaticScene | None
    """Whose contacts hold; None: those of the first pass."""
    video: UInt8[np.ndarray, "T H W 3"] | None
    """The clip, whose colors count where images are rendered."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """What else `run.json` says."""


def after_tracking(
    prepared: Prepared, tracked: Solution, numbers: Numbers, log: Log = silent
) -> Prepared:
    """What the second pass reads, from where the tracked bodies and objects are."""
    tracked = jax.tree.map(jnp.asarray, tracked)
    scene, evidence = _settle(prepared, tracked)
    states = contact_states(scene, tracked.unknowns, evidence.always, evidence.settings)
    evidence = dataclasses.replace(evidence, states=states)
    prepared = dataclasses.replace(prepared, scene=scene, initial=tracked.unknowns, extra=evidence)
    scene = with_pairs(prepared, tracked, log)
    scene = with_video(evidence, scene, tracked)
    return ready_to_anchor(dataclasses.replace(prepared, scene=scene))


def ready_to_anchor(prepared: Prepared) -> Prepared:
    """With the neighbors of the second pass: it is known in which frames feet stand."""
    neighbors = first_neighbors(prepared.scene, prepared.extra.states)
    plants = _plants(prepared.scene, prepared.initial)
    return dataclasses.replace(prepared, neighbors=dataclasses.replace(neighbors, plants=plants))


def _plants(scene: Scene, tracked: Unknowns) -> Int[Array, "K P T 4"]:
    """In which frames the tracked feet of every candidate stand."""
    feet = np.asarray(_all_joints(scene, tracked))[:, :, :, list(FEET)]
    plants = np.array([[foot_plants(person) for person in one] for one in feet])
    return on_device(plants, jnp.int32)


@program
def _all_joints(scene: Scene, unknowns: Unknowns) -> Float[Array, "K P T 55 3"]:
    def joints_of(one: Unknowns) -> Array:
        posed = pose_scene(scene, one, empty_neighbors(scene))
        return present(posed.joints_world, "joints of moving bodies")

    return jax.vmap(joints_of)(unknowns)


def _settle(prepared: Prepared, tracked: Solution) -> tuple[Scene, Evidence]:
    """Align the point maps again, to the tracked bodies; bodies that broke leave them as they were, and so
    do those that the body pass settled together with them."""
    scene, evidence = prepared.scene, prepared.extra
    if evidence.settings.body_start == CORRECTED:
        return scene, evidence
    motions = motions_of(scene, tracked.best)
    if not np.isfinite(motions.translations).all():
        return scene, evidence
    bundle, settings = prepared.bundle, evidence.settings
    o = bundle.observations
    full = pose_full(evidence.body, o, motions)
    Ts_world_pointmap = align(o, full, settings.alignment)
    masks = scene.observed.mask_distance
    observed = observed_objects(
        o, bundle.assets, scene.objects, Ts_world_pointmap, settings.points, masks
    )
    cameras = dataclasses.replace(
        scene.cameras, Ts_pointmap_world=on_device(np.linalg.inv(Ts_world_pointmap), jnp.float32)
    )
    images = scene.observed_images
    scene = dataclasses.replace(
        scene,
        observed=observed,
        cameras=cameras,
        observed_people=observed_people(o, Ts_world_pointmap, settings.points),
        observed_images=None if images is None else with_depth(images, o, Ts_world_pointmap),
    )
    return scene, dataclasses.replace(evidence, Ts_world_pointmap=Ts_world_pointmap)


def with_video(evidence: Evidence, scene: Scene, tracked: Solution) -> Scene:
    """Meshes painted from the clip, as they were tracked."""
    if scene.observed_images is None or evidence.video is None:
        return scene
    unknowns = tracked.best
    posed = jax.jit(pose_scene)(scene, unknowns, empty_neighbors(scene))
    images = with_colors(scene.observed_images, posed, evidence.video)
    return dataclasses.replace(scene, observed_images=images)


def with_pairs(prepared: Prepared, tracked: Solution, log: Log) -> Scene:
    """Contact keypoints of the static scene, or of a tracked frame: the more contact, the earlier tried."""
    scene, bundle, evidence = prepared.scene, prepared.bundle, prepared.extra
    static = evidence.static
    stills = tracked_stills(scene, tracked, evidence.states) if static is None else (static,)
    pairs, count = scene.pairs, 0
    for still in stills:
        pairs, count = stage_pairs(
            still, bundle, evidence.body, evidence.subset, evidence.settings.pairs
        )
        if count:
            break
    log(f"contact keypoints: {count} pairs")
    if count == 0:
        warnings.warn(
            "no contact keypoints: in the static scene no body region of the affordance graph "
            "faces its object part within reach. The solve goes on without them.",
            stacklevel=2,
        )
    return dataclasses.replace(scene, pairs=pairs)
