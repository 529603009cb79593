"""What anchor motion found, as poses of bodies and assets."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from hoijax.candidates import lowest_loss, taken
from hoijax.geometry.rotations import matrix_to_axis_angle
from hoijax.geometry.transforms import compose_rigid
from hoijax.methods import results
from hoijax.methods.passes import Prepared
from hoijax.methods.results import asset_translations
from hoijax.results.result import Result
from hoijax.scene.build_bodies import BodyMotions, StaticScene
from hoijax.scene.posed import body_rotations, object_poses
from hoijax.scene.scene import Scene, Unknowns
from hoijax.solver.problem import Solution

STILLS = 8


def motions_of(scene: Scene, unknowns: Unknowns) -> BodyMotions:
    """Body motions of one candidate."""
    assert scene.bodies is not None
    local = matrix_to_axis_angle(body_rotations(scene.bodies, unknowns))
    return BodyMotions(np.asarray(local), np.asarray(unknowns.body_translation))


def asset_poses(scene: Scene, unknowns: Unknowns) -> Float[np.ndarray, "O T 4 4"]:
    """T_world_asset of every object of one candidate."""
    rotations, translations = map(np.asarray, object_poses(scene, unknowns))
    return compose_rigid(rotations, asset_translations(scene, rotations, translations))


def tracked_stills(
    scene: Scene, tracked: Solution, states: Float[np.ndarray, "K E T"]
) -> Iterator[StaticScene]:
    """Frames of the winner, most contact first; at most STILLS, evenly spread over that order."""
    k = lowest_loss(tracked.losses)
    unknowns = tracked.best
    motions, poses = motions_of(scene, unknowns), asset_poses(scene, unknowns)
    contact = states[k][np.asarray(scene.edges.mask)].sum(axis=0)
    order = np.argsort(-contact, kind="stable")
    for frame in order[:: -(-len(order) // STILLS)]:
        yield StaticScene(
            motions.rotations[:, frame], motions.translations[:, frame], poses[:, frame]
        )


def to_result(prepared: Prepared, solution: Solution) -> Result:
    """Poses of all candidates in the assets' own frames."""
    scene = prepared.scene
    every = [taken(solution.unknowns, k) for k in range(len(solution.losses))]
    poses = np.stack([asset_poses(scene, one) for one in every])
    bodies = [motions_of(scene, one) for one in every]
    best, values = bodies[lowest_loss(solution.losses)], solution.unknowns.joint_values
    return results.to_result(
        prepared,
        solution,
        body_rotations=best.rotations,
        body_translations=best.translations,
        object_rotations=poses[..., :3, :3],
        object_translations=poses[..., :3, 3],
        candidate_body_rotations=np.stack([b.rotations for b in bodies]),
        candidate_body_translations=np.stack([b.translations for b in bodies]),
        joint_values=None if values is None else np.asarray(values),
        run=dict(prepared.extra.run),
    )
