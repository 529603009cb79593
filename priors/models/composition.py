"""The frozen side of `hoijax compose`: what guides the fields, and what looks at their renders."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.composition.fields.closed_form import ClosedFormGuidance
from hoijax.composition.fields.guidance import Guidance, Prompts, ViewCameras
from hoijax.composition.fields.known_scene import KnownScene, known_images, known_skeletons
from hoijax.composition.fields.noise import NoiseSettings
from hoijax.errors import UserError
from hoijax.objects.asset import Asset
from priors.language.scene_words import object_noun, read_prompts
from priors.models.torch_runtime import TorchSettings

__all__ = ["GUIDANCES", "CompositionPriors", "composition_priors"]

GUIDANCES = ("closed-form", "deepfloyd", "mvdream", "both")
Looks = Callable[[Float[ndarray, "N H W 3"], ViewCameras], ndarray]


@dataclass(frozen=True)
class CompositionPriors:
    """Everything that a composition asks of models."""

    prompts: Prompts
    guidance: Guidance
    segment: Looks
    detect: Looks
    object_name: str
    graph: Callable[[Asset], PartAffordanceGraph]
    """Who touches what, for the finished object."""
    known: KnownScene | None = None
    """The truth, with closed-form guidance."""
    models: Mapping[str, str] = field(default_factory=dict)


def composition_priors(
    text: str,
    guidance: str,
    *,
    asset: Asset | None = None,
    seed: int = 0,
    noise: NoiseSettings | None = None,
    steps: int = 3000,
    pag: Path | None = None,
    weights: Mapping[str, str] | None = None,
    keypoints: str | None = None,
    runtime: TorchSettings | None = None,
) -> CompositionPriors:
    """Guidance, segmentation and skeletons for a sentence.

    asset: the user's mesh. weights: directories or "owner/name@revision" by role (deepfloyd, mvdream,
    detector, segmenter, keypoints). keypoints: the model that detects skeletons ("vitpose", "blazepose");
    with closed-form guidance the projected truth by default. UserError for a sentence without person or object, an unknown guidance, or
    a graph that cannot be made (nothing has been computed by then).
    """
    if guidance not in GUIDANCES:
        raise UserError(f"no guidance '{guidance}'. Known: {', '.join(GUIDANCES)}.")
    prompts, noun = read_prompts(text), object_noun(text)
    graph = _graph_maker(text, pag)
    if guidance == "closed-form":
        made = _closed_form(text, asset, seed, noise, graph)
        if keypoints is None:
            return made
        from priors.models.composition_models import skeleton_model

        detect, name = skeleton_model(keypoints, weights or {}, runtime)
        return replace(made, detect=detect, models={**made.models, "keypoints": name})
    from priors.models.composition_models import model_observers

    guide, segment, detect, models = model_observers(
        prompts,
        noun,
        guidance,
        steps=steps,
        weights=weights or {},
        keypoints=keypoints,
        runtime=runtime,
    )
    return CompositionPriors(prompts, guide, segment, detect, noun, graph, models=models)


def _closed_form(text, asset, seed, noise, graph) -> CompositionPriors:
    from priors.synthetic.known_scenes import make_known_scene

    made = make_known_scene(text, asset, seed)
    scene = made.scene
    prompt = scene.prompts.interaction

    def segment(images: Float[ndarray, "N H W 3"], cameras: ViewCameras) -> Int[ndarray, "N H W"]:
        size = (int(images.shape[1]), int(images.shape[2]))
        return scene.masks(prompt, cameras, size)

    return CompositionPriors(
        prompts=scene.prompts,
        guidance=ClosedFormGuidance(known_images([scene]), noise),
        segment=segment,
        detect=known_skeletons(scene, seed=seed),
        object_name=made.asset.name,
        graph=graph,
        known=scene,
        models={
            "guidance": "closed-form",
            "segmentation": "exact ids",
            "keypoints": "projected truth",
        },
    )


def _graph_maker(text: str, pag: Path | None) -> Callable[[Asset], PartAffordanceGraph]:
    """The given graph, or what the language rules read."""
    if pag is not None:
        given = PartAffordanceGraph.from_json(pag)
        return lambda asset: given
    from priors.language.script import affordance_from_text

    return lambda asset: affordance_from_text(text, (asset,))
