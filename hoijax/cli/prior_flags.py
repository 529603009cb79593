"""Options of the commands that run frozen priors; no import of `priors` here, names are checked there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

ROLES = (
    "language",
    "image_model",
    "video_model",
    "detector",
    "segmenter",
    "geometry",
    "keypoints",
    "body",
    "hands_model",
    "score",
)


@dataclass(frozen=True, kw_only=True)
class PriorFlags:
    """What `observe` and `generate --prior diffusion` or `packaged` have in common."""

    pag: Path | None = None
    """A Part Affordance Graph (json) in place of the one read from the sentence."""
    image: Path | None = None
    """Your image in place of the image stage."""
    video: Path | None = None
    """Your clip in place of the image and video stages."""
    masks: Path | None = None
    """Your masks in place of the masks stage, with --video: label PNGs, a folder an object, npz or
    COCO RLE (docs/bring-your-own.md)."""
    points: Path | None = None
    """Your point or depth maps in place of a geometry model, with --video: npz, EXR or 16-bit PNGs."""
    intrinsics: str | None = None
    """Of the clip: fx,fy,cx,cy or a focal length in pixels, fov=DEGREES, or a file that holds them."""
    seconds: str | None = None
    """START:END, the part of --video that is read; frames then count from its start."""
    camera: Literal["auto", "static"] = "auto"
    """Whether the camera of --video is tested for standing still, and a shaking one steadied, or taken
    as standing."""
    hint: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Where an object is in a frame of --video: OBJECT=FRAME:x,y,width,height (a box) or
    OBJECT=FRAME:x,y (a click); or hints.json of `hoijax mask`. Again for further objects and frames. With `person` as
    OBJECT: who is meant, of several people."""
    from_: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Compute this stage again although its result is stored: pag, parts, image, video, masks,
    points, keypoints, body, bundle or yaws."""
    language: str | None = None
    """openai (any endpoint), transformers (on this machine), local:DIRECTORY (a transformers model in a
    folder) or rules (no model)."""
    image_model: str | None = None
    """flux, flux-schnell, flux2-klein, flux2, qwen-image or z-image."""
    video_model: str | None = None
    """cogvideox, framepack, wan, wan2.2, wan2.2-a14b, hunyuan1.5 or ltx2."""
    detector: str | None = None
    """grounding-dino, sam3, qwen3-vl, vlm (an endpoint) or blazepose (people only, CPU)."""
    segmenter: str | None = None
    """sam2, sam3 or packaged (people by BlazePose, objects by --hint, CPU)."""
    geometry: str | None = None
    """moge, depth-pro, depth-anything, depth-anything3, sapiens2 or none."""
    keypoints: str | None = None
    """vitpose, sapiens2 or blazepose (CPU), or your file, with --video: OpenPose's folder, COCO arrays, ViTPose's .pt."""
    body: str | None = None
    """fit (ours), sam3d-body or gem-x (where installed), gvhmr (non-commercial), or your file, with --video: GVHMR, WHAM, TRAM,
    PromptHMR, 4D-Humans, AMASS, meshes (docs/bring-your-own.md)."""
    hands_model: str | None = None
    """none (fingers as the body model leaves them) or mediapipe (from the pixels, CPU)."""
    score: str | None = None
    """How the image is chosen: none (by pose), clip, siglip2, qwen3-vl or vlm (an endpoint)."""
    model: tuple[str, ...] = ()
    """Other weights, as ROLE=DIRECTORY or ROLE=owner/name@revision; for language=NAME the name at
    the endpoint."""
    language_url: str | None = None
    """Address of an OpenAI-compatible endpoint; its key is read from OPENAI_API_KEY."""
    box_coordinates: Literal["auto", "thousandths", "pixels"] = "auto"
    """In what the model of "vlm" writes boxes: by its name, thousandths of the sides, or pixels."""
    body_file: Path | None = None
    """Your SMPL-X file, for --body gvhmr or to fit another body than ours."""
    width: int = 720
    """Of the image, in pixels."""
    height: int = 480
    """Of the image, in pixels."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    memory: Literal["resident", "model", "sequential"] = "model"
    """On a GPU: keep all of a pipeline there, move whole networks in turn, or layer by layer."""
    precision: str = "auto"
    """auto, float32, float16 or bfloat16."""
    cache: Path | None = None
    """Folder of stored stage results; $HOIJAX_PRIORS_CACHE or ~/.cache/hoijax/priors by default."""

    def stage_options(self, prior: str, frames: int | None) -> dict[str, Any]:
        """Everything here in the words of `hoijax.api.observe.observe_by_models`.

        prior: "packaged" or "diffusion". frames: None for all frames of the user's clip.
        """
        chosen = {role: getattr(self, role) for role in ROLES}
        names: Mapping[str, str] = {
            role.removesuffix("_model"): name for role, name in chosen.items() if name is not None
        }
        return {
            "prior": prior,
            "whole_clip": frames is None and self.video is not None,
            "pag": self.pag,
            "image": self.image,
            "video": self.video,
            "masks": self.masks,
            "hints": self.hint,
            "seconds": self.seconds,
            "camera": self.camera,
            "points": self.points,
            "intrinsics": self.intrinsics,
            "restart": self.from_,
            "names": names,
            "weights": self.model,
            "language_url": self.language_url,
            "box_coordinates": self.box_coordinates,
            "body_file": None if self.body_file is None else str(self.body_file),
            "size": (self.height, self.width),
            "device": self.device,
            "memory": self.memory,
            "precision": self.precision,
            "cache": self.cache,
        }
