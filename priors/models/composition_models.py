"""Frozen models as the observers of a composition: diffusion guidance, masks and skeletons of renders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from hoijax.composition.fields.guidance import Guidance, GuidanceInfo, Prompts, ViewCameras
from hoijax.composition.fields.known_scene import HUMAN, OBJECT
from hoijax.errors import UserError
from priors.models.distillation import DEEPFLOYD_IF, DeepFloydGuidance, DistillationSettings
from priors.models.multiview import MVDREAM_SETTINGS, MVDreamGuidance
from priors.models.registry import ModelChoices, RegisteredModels
from priors.models.torch_runtime import TorchSettings
from priors.protocols import ModelId, Prompt

__all__ = ["GuidanceSum", "model_observers", "model_segmenter", "skeleton_model"]

ENLARGED = 256  # pixels along an edge that detectors are shown at least


class GuidanceSum:
    """Several guidances at once, as the paper has them: a single-view and a multi-view model."""

    def __init__(self, parts: Sequence[Guidance], shares: Sequence[float]):
        self.parts, self.shares = tuple(parts), tuple(shares)
        self.group = max(int(getattr(part, "group", 1)) for part in parts)

    def __call__(
        self, images: Any, prompts: Sequence[str], cameras: ViewCameras, key: Any, step: int
    ) -> tuple[Any, GuidanceInfo]:
        """Sum of the gradients by share, each first scaled to the norm of the first; see `Guidance`.

        One is of pixels at 64 x 64, another of latents with a weight of its own: their sizes say
        nothing. The same noise key goes to all.
        """
        results = [part(images, prompts, cameras, key, step) for part in self.parts]
        infos = [info for _, info in results]
        norms = [float(np.linalg.norm(np.asarray(g))) for g, _ in results]
        scales = [
            share * norms[0] / max(norm, 1e-12)
            for share, norm in zip(self.shares, norms, strict=True)
        ]
        gradient = sum(scale * g for scale, (g, _) in zip(scales, results, strict=True))
        return gradient, GuidanceInfo(
            noise_levels=np.mean([info.noise_levels for info in infos], axis=0),
            gradient_norm=float(np.linalg.norm([info.gradient_norm for info in infos])),
            finite=all(info.finite for info in infos),
        )


def model_observers(
    prompts: Prompts,
    noun: str,
    guidance: str,
    *,
    steps: int,
    weights: Mapping[str, str],
    keypoints: str | None = None,
    runtime: TorchSettings | None = None,
) -> tuple[Guidance, Callable, Callable, dict[str, str]]:
    """Guidance, segmenter, skeleton detector, and the names of the models.

    All weights are looked for before anything is computed: UserError names what is missing. MVDream's have
    to be given (weights={"mvdream": directory}), for they need converting.
    """
    guidances = {"deepfloyd", "mvdream"}
    registered = {role: value for role, value in weights.items() if role not in guidances}
    names = {} if keypoints is None else {"keypoints": keypoints}
    runtime = runtime or TorchSettings()
    models = RegisteredModels(ModelChoices(names, registered, runtime))
    models.check_ready(["detector", "segmenter", "keypoints"])
    guides: list[Any] = []
    if guidance in ("deepfloyd", "both"):
        guide = DeepFloydGuidance(
            _model_id(weights.get("deepfloyd"), DEEPFLOYD_IF),
            DistillationSettings(anneal_steps=steps),
            runtime,
        )
        guide.prepare(prompts.all)
        guides.append(guide)
    if guidance in ("mvdream", "both"):
        if "mvdream" not in weights:
            raise UserError(
                "the guidance mvdream needs its converted weights: --weights mvdream=DIRECTORY, as python -m "
                "priors.models.mvdream_checkpoint writes it from the authors' file."
            )
        settings = replace(MVDREAM_SETTINGS, anneal_steps=steps)
        guides.append(MVDreamGuidance(_model_id(weights["mvdream"], None), settings, runtime))
    for guide in guides:
        _ = guide.unet, guide.scheduler  # loaded now: missing weights are told before work starts
    both = guides[0] if len(guides) == 1 else GuidanceSum(guides, [1.0] * len(guides))
    used = {f"guidance {i + 1}": guide.model_id.name for i, guide in enumerate(guides)}
    used |= {
        role: models.choices.model_id(role).name for role in ("detector", "segmenter", "keypoints")
    }
    segment = model_segmenter(models.get("detector"), models.get("segmenter"), noun)
    return both, segment, _skeletons(models.get("keypoints")), used


def _model_id(given: str | None, default: ModelId | None) -> ModelId:
    if given is None:
        assert default is not None
        return default
    name, at, revision = given.partition("@")
    return ModelId(name, revision if at else None)


def model_segmenter(detector: Any, segmenter: Any, noun: str) -> Callable:
    """Boxes by words, masks by boxes, view by view (the paper's Grounded SAM)."""

    def segment(images: Float[ndarray, "N H W 3"], cameras: ViewCameras) -> Int[ndarray, "N H W"]:
        masks = np.zeros(images.shape[:3], np.int32)
        shown, factor = enlarged(images)
        for i, image in enumerate(shown):
            detections = detector.detect(image, ["person", noun])
            best = {
                d.phrase: d for d in reversed(detections)
            }  # best first: the first of a phrase stays
            order = [p for p in (1, 0) if p in best]
            if not order:
                continue
            tracks = segmenter.track(image[None], [Prompt(0, box=best[p].box) for p in order])
            for phrase, mask in zip(
                order, tracks.masks[:, 0], strict=True
            ):  # the person last: in front
                small = mask[factor // 2 :: factor, factor // 2 :: factor]
                masks[i][small] = HUMAN if phrase == 0 else OBJECT
        return masks

    return segment


def skeleton_model(
    name: str, weights: Mapping[str, str], runtime: TorchSettings | None = None
) -> tuple[Callable, str]:
    """A registered keypoint model as a skeleton detector, and its name."""
    given = {role: value for role, value in weights.items() if role == "keypoints"}
    models = RegisteredModels(ModelChoices({"keypoints": name}, given, runtime or TorchSettings()))
    models.check_ready(["keypoints"])
    return _skeletons(models.get("keypoints")), models.choices.model_id("keypoints").name


def _skeletons(model: Any) -> Callable:
    def detect(images: Float[ndarray, "N H W 3"], cameras: ViewCameras) -> Float[ndarray, "N 18 3"]:
        shown, factor = enlarged(images)
        boxes = np.stack([_figure_box(image) for image in shown])
        skeletons = []
        for image, box in zip(shown, boxes, strict=True):  # views are not frames of a video
            skeletons.append(model.keypoints(image[None], box[None], np.ones(1, bool))[0])
        keypoints = np.stack(skeletons).astype(np.float32)
        keypoints[..., :2] /= factor
        return keypoints

    return detect


def _figure_box(image: UInt8[ndarray, "H W 3"]) -> Float[ndarray, " 4"]:
    """Box of what differs from the border's color: the anchor shows nothing but the person."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).astype(np.float32)
    differs = np.abs(image - np.median(border, axis=0)).max(axis=-1) > 24.0
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if len(rows) == 0:
        return np.array([0.0, 0.0, image.shape[1], image.shape[0]])
    return np.array([columns[0], rows[0], columns[-1] + 1.0, rows[-1] + 1.0])


def enlarged(
    images: Float[ndarray, "N H W 3"],
) -> tuple[UInt8[ndarray, "N h w 3"], int]:
    """Linear images as 8-bit sRGB, enlarged by a whole factor to what detectors were trained on."""
    from PIL import Image

    factor = max(-(-ENLARGED // images.shape[1]), 1)
    size = (images.shape[2] * factor, images.shape[1] * factor)
    shown = (255.0 * np.clip(images, 0.0, 1.0) ** (1 / 2.2) + 0.5).astype(np.uint8)
    grown = [Image.fromarray(x).resize(size, Image.Resampling.BICUBIC) for x in shown]
    return np.stack([np.asarray(x) for x in grown]), factor
