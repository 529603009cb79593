"""The no-weights prior end to end: sentence and meshes to an observation bundle with truth.

Choreographs a scene, renders it through a camera, and degrades what is seen the way real priors
err. The solver gets the observations only; the ground truth stays in truth.npz.
"""

import dataclasses
from collections.abc import Sequence

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.bundle.write import Bundle, GroundTruth, Provenance
from hoijax.errors import UserError
from hoijax.objects.asset import Asset
from hoijax.progress import Log, silent
from priors.choreography.choreographer import choreograph
from priors.choreography.playable import conflicts
from priors.language.script import Script, script_from_graph, script_from_text
from priors.synthetic.ground_truth import KnownMotion, rendered_ground_truth
from priors.synthetic.observation_noise import NoiseModel
from priors.synthetic.rendered_colors import with_colors
from priors.synthetic.rendered_observations import RenderedGroundTruth, observe_with_ground_truth

BODY = "anny"


def make_script(
    text: str,
    assets: Sequence[Asset],
    graph: PartAffordanceGraph | None = None,
    log: Log = silent,
) -> Script:
    """The script of a sentence, or of a graph given by hand.

    UserError where it is not understood, or says what no motion shows. log: told what was understood.
    """
    if graph is None:
        script = script_from_text(text, assets)
    else:
        script = script_from_graph(graph, text, assets)
    reasons = (*script.unplayed, *conflicts(script))
    if reasons:
        raise UserError(
            f"{text!r} cannot be animated as it is said. {'; '.join(reasons)}. Leave that out, or observe a "
            "video (--prior diffusion)."
        )
    if graph is None:
        log(script.summary())
    return script


def observe_text(
    text: str,
    assets: Sequence[Asset],
    *,
    graph: PartAffordanceGraph | None = None,
    frames: int = 49,
    seed: int = 0,
    noise: NoiseModel | None = None,
    log: Log = silent,
) -> tuple[Bundle, GroundTruth]:
    """Observations of a choreographed scene, and the ground truth they were made from.

    graph: a Part Affordance Graph in place of the one the sentence gives.
    """
    noise = noise or NoiseModel()
    truth, script, fps = scene_of_text(text, assets, graph=graph, frames=frames, seed=seed, log=log)
    rendered = observe_with_ground_truth(truth, noise, seed)
    provenance = Provenance(
        model="priors.choreography.choreographer",
        revision="1",
        settings={"text": text, "frames": frames, **dataclasses.asdict(noise)},
        seed=seed,
    )
    bundle = Bundle(
        prompt=text,
        fps=fps,
        affordance=script.graph,
        assets=tuple(assets),
        bodies=(BODY,) * len(script.graph.people),
        observations=with_colors(rendered.observations, truth, seed),
        provenance={"*": provenance},
    )
    return bundle, rendered.ground_truth


def scene_of_text(
    text: str,
    assets: Sequence[Asset],
    *,
    graph: PartAffordanceGraph | None = None,
    frames: int = 49,
    seed: int = 0,
    log: Log = silent,
) -> tuple[RenderedGroundTruth, Script, float]:
    """(the choreographed scene as it really moves, its script, frames a second)."""
    script = make_script(text, assets, graph, log)
    scene = choreograph(script, assets, frames=frames, seed=seed)
    motion = KnownMotion(scene.joint_rotations, scene.translation, scene.betas, scene.rest_joints)
    known = rendered_ground_truth(
        BODY,
        motion,
        tuple(assets),
        scene.Ts_world_object,
        scene.contact,
        view=(scene.camera, scene.T_world_camera),
    )
    return known, script, scene.fps
