"""Every model that a role can be given, by name: ids, sizes, licences, and the class that runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CHOICES", "DEFAULTS", "PRESETS", "Choice"]


@dataclass(frozen=True)
class Choice:
    """One model of a role."""

    source: str
    """"module:class" in priors; imported on first use."""
    id: str
    """Hub id, or what is shown of a model without one."""
    revision: str | None = None
    """Pinned commit; None takes the hub's newest, and the provenance says so."""
    takes: str = "model_id"
    """How the class is made: with a "model_id" and a "runtime", as a "language" model, as a "body" that needs
    no weights, as "smplx body" (weights, and the user's SMPL-X file) or "mesh body" (weights, any
    body), or of "none"."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Parameters of its networks, in 1e9, as published or counted on the meta device."""
    also: tuple[str, ...] = ()
    """Other hub ids whose weights it needs."""
    licence: str = ""
    needs: tuple[str, ...] = ()
    """Python packages beside torch and transformers, by the name they are imported with."""


_T5, _CLIP_L, _QWEN3, _UMT5 = 4.76, 0.12, 4.02, 5.68
PIPELINE = ("diffusers", "accelerate")
"""What every diffusers pipeline needs; accelerate moves its networks to the GPU in turn."""
CHOICES: dict[str, dict[str, Choice]] = {
    "language": {
        "openai": Choice(
            "priors.models.language_model:endpoint_from_environment",
            "",
            takes="language",
            licence="of the endpoint",
            needs=("openai",),
        ),
        "transformers": Choice(
            "priors.models.local_language_model:local_prior",
            "Qwen/Qwen3-8B",
            takes="language",
            parts={"decoder": 8.2},
            licence="Apache-2.0",
            needs=("xgrammar",),
        ),
        "rules": Choice(
            "priors.language.rules_model:RulesLanguage",
            "hoijax rules",
            takes="none",
            licence="Apache-2.0",
        ),
    },
    "image": {
        "flux": Choice(
            "priors.models.image_model:FluxImageModel",
            "black-forest-labs/FLUX.1-dev",
            parts={"transformer": 11.9, "T5": _T5, "CLIP": _CLIP_L, "VAE": 0.08},
            licence="FLUX.1-dev non-commercial (gated)",
            needs=PIPELINE,
        ),
        "flux-schnell": Choice(
            "priors.models.image_model:FluxImageModel",
            "black-forest-labs/FLUX.1-schnell",
            parts={"transformer": 11.9, "T5": _T5, "CLIP": _CLIP_L, "VAE": 0.08},
            licence="Apache-2.0 (gated)",
            needs=PIPELINE,
        ),
        "flux2-klein": Choice(
            "priors.models.newer_images:Flux2",
            "black-forest-labs/FLUX.2-klein-4B",
            parts={"transformer": 3.88, "Qwen3": _QWEN3, "VAE": 0.08},
            licence="Apache-2.0",
            needs=PIPELINE,
        ),
        "flux2": Choice(
            "priors.models.newer_images:Flux2",
            "black-forest-labs/FLUX.2-dev",
            parts={"transformer": 32.2, "Mistral 3": 24.0, "VAE": 0.08},
            licence="FLUX non-commercial (gated)",
            needs=PIPELINE,
        ),
        "qwen-image": Choice(
            "priors.models.newer_images:QwenImage",
            "Qwen/Qwen-Image",
            parts={"transformer": 20.4, "Qwen2.5-VL": 8.29, "VAE": 0.13},
            licence="Apache-2.0",
            needs=PIPELINE,
        ),
        "z-image": Choice(
            "priors.models.newer_images:ZImage",
            "Tongyi-MAI/Z-Image-Turbo",
            parts={"transformer": 6.15, "Qwen3": _QWEN3, "VAE": 0.08},
            licence="Apache-2.0",
            needs=PIPELINE,
        ),
    },
    "video": {
        "cogvideox": Choice(
            "priors.models.cogvideox:CogVideoX",
            "THUDM/CogVideoX-5b-I2V",
            parts={"transformer": 5.57, "T5": _T5, "VAE": 0.22},
            licence="CogVideoX licence",
            needs=(*PIPELINE, "sentencepiece"),
        ),
        "framepack": Choice(
            "priors.models.framepack:FramePack",
            "lllyasviel/FramePackI2V_HY",
            parts={"transformer": 12.9, "Llama": 8.0, "CLIP": _CLIP_L, "SigLIP": 0.43, "VAE": 0.25},
            also=("hunyuanvideo-community/HunyuanVideo", "lllyasviel/flux_redux_bfl"),
            licence="Tencent Hunyuan community licence",
            needs=PIPELINE,
        ),
        "wan": Choice(
            "priors.models.wan:Wan",
            "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
            parts={"transformer": 16.4, "UMT5": _UMT5, "CLIP-H": 0.63, "VAE": 0.13},
            licence="Apache-2.0",
            needs=(*PIPELINE, "ftfy"),
        ),
        "wan2.2": Choice(
            "priors.models.wan:Wan",
            "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
            parts={"transformer": 5.0, "UMT5": _UMT5, "VAE": 0.7},
            licence="Apache-2.0",
            needs=(*PIPELINE, "ftfy"),
        ),
        "wan2.2-a14b": Choice(
            "priors.models.wan:Wan",
            "Wan-AI/Wan2.2-I2V-A14B-Diffusers",
            parts={"transformer": 14.3, "second transformer": 14.3, "UMT5": _UMT5, "VAE": 0.13},
            licence="Apache-2.0",
            needs=(*PIPELINE, "ftfy"),
        ),
        "hunyuan1.5": Choice(
            "priors.models.hunyuan_video15:HunyuanVideo15",
            "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_i2v",
            parts={
                "transformer": 8.33,
                "Qwen2.5-VL": 7.07,
                "ByT5": 0.22,
                "SigLIP": 0.43,
                "VAE": 1.26,
            },
            licence="Tencent Hunyuan community licence",
            needs=PIPELINE,
        ),
        "ltx2": Choice(
            "priors.models.ltx2:Ltx2",
            "Lightricks/LTX-2",
            parts={"transformer": 18.9, "Gemma 3": 12.2, "VAE": 1.22},
            licence="LTX-2 community licence",
            needs=(*PIPELINE, "av"),
        ),
    },
    "detector": {
        "grounding-dino": Choice(
            "priors.models.detection:GroundingDino",
            "IDEA-Research/grounding-dino-base",
            parts={"network": 0.23},
            licence="Apache-2.0",
        ),
        "sam3": Choice(
            "priors.models.sam3:Sam3Detector",
            "facebook/sam3",
            parts={"network": 0.84},
            licence="SAM licence (gated)",
        ),
        "qwen3-vl": Choice(
            "priors.models.local_vision_model:local_detector",
            "Qwen/Qwen3-VL-8B-Instruct",
            takes="language",
            parts={"network": 8.77},
            licence="Apache-2.0",
            needs=("xgrammar",),
        ),
        "blazepose": Choice(
            "priors.models.blazepose:BlazePose",
            "mediapipe==0.10.21",
            takes="none",
            parts={"network": 0.003},
            licence="Apache-2.0",
            needs=("mediapipe", "ai_edge_litert"),
        ),
        "vlm": Choice(
            "priors.models.language_model:vlm_detector",
            "",
            takes="language",
            licence="of the endpoint",
            needs=("openai",),
        ),
    },
    "segmenter": {
        "sam2": Choice(
            "priors.models.segmentation:Sam2Segmenter",
            "facebook/sam2.1-hiera-large",
            parts={"network": 0.22},
            licence="Apache-2.0",
        ),
        "sam3": Choice(
            "priors.models.sam3:Sam3Segmenter",
            "facebook/sam3",
            parts={"network": 0.47},
            licence="SAM licence (gated)",
        ),
        "packaged": Choice(
            "priors.models.packaged_segmenter:PackagedSegmenter",
            "mediapipe==0.10.21",
            takes="none",
            parts={"network": 0.003},
            licence="Apache-2.0",
            needs=("cv2", "mediapipe", "ai_edge_litert"),
        ),
    },
    "geometry": {
        "moge": Choice(
            "priors.models.moge:MoGe",
            "Ruicheng/moge-2-vitl",
            parts={"network": 0.33},
            licence="MIT",
            needs=("depth_estimation",),
        ),
        "depth-pro": Choice(
            "priors.models.depth:DepthPro",
            "apple/DepthPro-hf",
            parts={"network": 0.95},
            licence="Apple AMLR (research)",
        ),
        "depth-anything": Choice(
            "priors.models.depth:DepthAnything",
            "depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf",
            parts={"network": 0.34},
            licence="CC-BY-NC-4.0 (large)",
        ),
        "depth-anything3": Choice(
            "priors.models.depth_anything3:DepthAnything3",
            "depth-anything/DA3METRIC-LARGE",
            parts={"network": 0.33},
            licence="Apache-2.0",
            needs=("depth_estimation", "einops", "addict"),
        ),
        "sapiens2": Choice(
            "priors.models.sapiens2:Sapiens2Points",
            "facebook/sapiens2-pointmap-0.4b",
            parts={"network": 0.42},
            licence="Sapiens2 licence",
        ),
        "none": Choice("", "", takes="none"),
    },
    "keypoints": {
        "vitpose": Choice(
            "priors.models.keypoints:ViTPose",
            "usyd-community/vitpose-plus-huge",
            parts={"network": 0.9},
            licence="Apache-2.0",
        ),
        "sapiens2": Choice(
            "priors.models.sapiens2:Sapiens2Pose",
            "facebook/sapiens2-pose-0.4b",
            parts={"network": 0.42},
            licence="Sapiens2 licence",
        ),
        "blazepose": Choice(
            "priors.models.blazepose:BlazePose",
            "mediapipe==0.10.21",
            takes="none",
            parts={"network": 0.003},
            licence="Apache-2.0",
            needs=("mediapipe", "ai_edge_litert"),
        ),
    },
    "body": {
        "fit": Choice(
            "priors.models.fitted_body:FittedBody",
            "hoijax-body-fit",
            takes="body",
            licence="Apache-2.0",
        ),
        "gvhmr": Choice(
            "priors.models.gvhmr:Gvhmr",
            "ryanrudes/gvhmr",
            takes="smplx body",
            parts={"GVHMR": 0.04, "HMR2": 0.67, "ViTPose-H": 0.64},
            licence="GVHMR: research, non-commercial; SMPL-X by registration",
            needs=("gvhmr",),
        ),
        "sam3d-body": Choice(
            "priors.models.mesh_recovery:Sam3dBody",
            "facebook/sam-3d-body-dinov3",
            takes="mesh body",
            licence="SAM licence (gated)",
        ),
        "gem-x": Choice(
            "priors.models.mesh_recovery:GemX",
            "nvidia/GEM-X",
            takes="mesh body",
            licence="code Apache-2.0; weights NVIDIA open model licence",
        ),
    },
    "hands": {
        "none": Choice("", "", takes="none"),
        "mediapipe": Choice(
            "priors.models.hands:MediaPipeHands",
            "mediapipe==0.10.21",
            takes="none",
            parts={"network": 0.003},
            licence="Apache-2.0",
            needs=("mediapipe", "ai_edge_litert"),
        ),
    },
    "score": {
        "none": Choice("", "", takes="none"),
        "clip": Choice(
            "priors.models.clip_scores:ClipScore",
            "openai/clip-vit-base-patch32",
            parts={"network": 0.15},
            licence="MIT",
        ),
        "siglip2": Choice(
            "priors.models.clip_scores:Siglip2Score",
            "google/siglip2-so400m-patch14-384",
            parts={"network": 1.14},
            licence="Apache-2.0",
        ),
        "qwen3-vl": Choice(
            "priors.models.local_vision_model:local_judge",
            "Qwen/Qwen3-VL-8B-Instruct",
            takes="language",
            parts={"network": 8.77},
            licence="Apache-2.0",
            needs=("xgrammar",),
        ),
        "vlm": Choice(
            "priors.models.language_model:endpoint_from_environment",
            "",
            takes="language",
            licence="of the endpoint",
            needs=("openai",),
        ),
    },
}
PRESETS: dict[str, dict[str, str]] = {
    "diffusion": {},
    "packaged": {
        "language": "rules",
        "detector": "blazepose",
        "segmenter": "packaged",
        "geometry": "none",
        "keypoints": "blazepose",
        "body": "fit",
    },
}
"""Model choices by the name of a prior: generated clips, or the user's clip on the CPU without downloads."""
DEFAULTS = {role: next(iter(choices)) for role, choices in CHOICES.items()}
