"""In which frames each edge of the graph touches, estimated from where a candidate starts."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hoijax.bundle.write import Bundle
from hoijax.losses.contacts import edge_distances
from hoijax.programs import program
from hoijax.scene.posed import pose_scene
from hoijax.scene.scene import Scene, Unknowns
from hoijax.settings import SceneSettings
from hoijax.solver.neighbor_lists import empty_neighbors

NEVER = 0.5
"""Metres: two things that no candidate and no frame has nearer do not touch, whatever the graph says."""


def warn_of_unseen_contacts(bundle: Bundle, states: Float[np.ndarray, "K E T"]) -> None:
    """Name the contacts of the graph that no frame of any candidate has."""
    group = bundle.contact_table.group
    unseen = ~np.any(states > 0.0, axis=(0, 2))
    names = [
        f"{edge.first.entity} ({edge.first.part}) and {edge.second.entity} ({edge.second.part})"
        for edge, row in zip(bundle.affordance.edges, group, strict=True)
        if unseen[int(row)]
    ]
    if names:
        warnings.warn(
            f"contact never seen, and left out: {'; '.join(names)} are never within {NEVER:g} m of "
            "each other. Check the graph, or the point maps.",
            stacklevel=2,
        )


def always_touching(bundle: Bundle, scene: Scene) -> Bool[np.ndarray, " E"]:
    """Edges that the bundle's graph says are in contact throughout."""
    table = bundle.contact_table
    always = np.zeros(scene.edges.mask.shape[0], bool)
    always[table.group[table.is_continuous]] = True
    return always


@program
def _start_distances(scene: Scene, starts: Unknowns) -> Float[Array, "K E T"]:
    neighbors = empty_neighbors(scene)

    def one(unknowns: Unknowns) -> Array:
        distances = edge_distances(pose_scene(scene, unknowns, neighbors))
        far = jnp.where(scene.edges.slot_mask[:, :, None], distances, jnp.inf)
        return jnp.min(far, axis=1)

    return jax.vmap(one)(starts)


def contact_states(
    scene: Scene,
    starts: Unknowns,
    always: Bool[np.ndarray, " E"],
    settings: SceneSettings,
) -> Float[np.ndarray, "K E T"]:
    """In which frames each edge touches: where its distance at the start is within reach.

    always: edges whose graph says "in contact throughout" (a_c): they keep every frame. An edge
    that never comes within reach counts in its closest frame, or, beyond `NEVER`, in none. Frames in which
    the image shows the two apart never count.
    """
    distances = np.asarray(_start_distances(scene, starts))
    possible = _possible(scene)
    if not settings.infer_contact:
        return np.ones_like(distances) * possible
    near = distances < settings.contact_reach
    # Majority over five frames: single frames flicker with the noise of the start.
    padded = np.pad(near, ((0, 0), (0, 0), (2, 2)), mode="edge").astype(np.int32)
    frames = near.shape[-1]
    votes = np.sum([padded[..., i : i + frames] for i in range(5)], axis=0)
    state = votes >= 3
    allowed = np.where(possible, distances, np.inf)
    closest = (allowed == allowed.min(axis=-1, keepdims=True)) & (allowed < NEVER)
    state = np.where(state.any(axis=-1, keepdims=True), state, closest)
    return ((state | always[None, :, None]) & possible).astype(np.float32)


def _possible(scene: Scene) -> Bool[np.ndarray, "#E #T"]:
    """Frames in which the image does not rule an edge out: of a set of sides all, of a choice one."""
    if scene.silhouettes is None or scene.silhouettes.contact_possible is None:
        return np.ones((1, 1), bool)
    possible = np.asarray(scene.silhouettes.contact_possible) > 0.0
    there = np.asarray(scene.edges.slot_mask)[..., None]
    one, both = (possible & there).any(axis=1), (possible | ~there).all(axis=1)
    return np.where(np.asarray(scene.edges.select_side)[:, None], one, both)
