"""In which frames each edge of the graph touches, estimated from where a candidate starts."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hoijax.bundle.write import Bundle
from hoijax.losses.contact import edge_distances
from hoijax.scene.build_objects import stage_contacts
from hoijax.scene.posed import pose_scene
from hoijax.scene.scene import Scene, Unknowns
from hoijax.settings import SceneSettings
from hoijax.solver.neighbor_lists import empty_neighbors


def always_touching(bundle: Bundle, scene: Scene) -> Bool[np.ndarray, " E"]:
    """Edges that the bundle's graph says are in contact throughout."""
    table = stage_contacts(bundle.affordance, bundle.assets)
    always = np.zeros(scene.edges.mask.shape[0], bool)
    always[table.group[table.is_continuous]] = True
    return always


@jax.jit
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
    that never comes within reach counts in its closest frame.
    """
    distances = np.asarray(_start_distances(scene, starts))
    if not settings.infer_contact:
        return np.ones_like(distances)
    near = distances < settings.contact_reach
    # Majority over five frames: single frames flicker with the noise of the start.
    padded = np.pad(near, ((0, 0), (0, 0), (2, 2)), mode="edge").astype(np.int32)
    frames = near.shape[-1]
    votes = np.sum([padded[..., i : i + frames] for i in range(5)], axis=0)
    state = votes >= 3
    closest = distances == distances.min(axis=-1, keepdims=True)
    state = np.where(state.any(axis=-1, keepdims=True), state, closest)
    return (state | always[None, :, None]).astype(np.float32)
