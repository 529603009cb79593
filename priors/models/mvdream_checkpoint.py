"""MVDream's published file (sd-v2.1-base-4view.pt) to the folders that diffusers reads.

hf download MVDream/MVDream sd-v2.1-base-4view.pt --local-dir .
python -m priors.models.mvdream_checkpoint sd-v2.1-base-4view.pt weights/mvdream
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hoijax.errors import UserError
from hoijax.io.atomic import output_folder
from priors.models.torch_runtime import load_pretrained, require
from priors.protocols import ModelId

__all__ = ["convert_mvdream"]

TOKENIZER = ModelId("openai/clip-vit-large-patch14")
"""Byte pairs of CLIP; Stable Diffusion 2 differs only in the padding token."""
UNET: dict[str, Any] = {
    "sample_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
    "class_embed_type": "projection",
    "projection_class_embeddings_input_dim": 16,
}
VAE: dict[str, Any] = {
    "sample_size": 256,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
}
TEXT: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,  # the last of OpenCLIP's 24 is not used
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "projection_dim": 512,
}
PUBLISHED: dict[str, dict[str, Any]] = {"unet": UNET, "vae": VAE, "text_encoder": TEXT}
SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "steps_offset": 1,
}


def convert_mvdream(
    checkpoint: Path,
    output: Path,
    *,
    shapes: Mapping[str, Mapping[str, Any]] = PUBLISHED,
    tokenizer: ModelId = TOKENIZER,
) -> None:
    """Write unet, vae, text_encoder, tokenizer and scheduler into the new folder `output`.

    shapes: configurations of the three networks, other than published in tests. The file is read
    with `weights_only=True`. UserError where it is missing, damaged or of another model.
    """
    diffusers, transformers = require("diffusers", "transformers"), require("transformers")
    single = require("diffusers.loaders.single_file_utils")
    weights = _read(checkpoint)
    unet = diffusers.UNet2DConditionModel(**shapes["unet"])
    vae = diffusers.AutoencoderKL(**shapes["vae"])
    text = transformers.CLIPTextModel(transformers.CLIPTextConfig(**shapes["text_encoder"]))
    converted = {
        "unet": (unet, single.convert_ldm_unet_checkpoint(weights, unet.config)),
        "vae": (vae, single.convert_ldm_vae_checkpoint(weights, vae.config)),
        "text_encoder": (text, _text_weights(single, text, weights)),
    }
    for part, (network, state) in converted.items():
        _fill(network, state, part, checkpoint)
    words = load_pretrained(transformers.CLIPTokenizer, tokenizer, pad_token="!")
    with output_folder(output) as folder:
        for part, (network, _) in converted.items():
            network.save_pretrained(folder / part)
        words.save_pretrained(folder / "tokenizer")
        diffusers.DDPMScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")


def _read(checkpoint: Path) -> dict[str, Any]:
    torch = require("torch")
    try:
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"cannot read MVDream's checkpoint {checkpoint}: {str(error).splitlines()[0]}. Download "
            "it with `hf download MVDream/MVDream sd-v2.1-base-4view.pt --local-dir .`"
        ) from error
    weights = weights.get("state_dict", weights)
    # The camera embedding is a class embedding under another name.
    return {name.replace(".camera_embed.", ".label_emb.0."): w for name, w in weights.items()}


def _text_weights(single: Any, network: Any, weights: dict[str, Any]) -> dict[str, Any]:
    prefix = "cond_stage_model.model."
    state = single.convert_open_clip_checkpoint(network, weights, prefix=prefix)
    wanted = network.state_dict()
    return {
        candidate: tensor
        for name, tensor in state.items()
        for candidate in (name, name.removeprefix("text_model."))
        if candidate in wanted
    }


def _fill(network: Any, state: dict[str, Any], part: str, checkpoint: Path) -> None:
    try:
        network.load_state_dict(state, strict=True)
    except (RuntimeError, KeyError) as error:
        detail = " ".join(str(error).split())[:300]
        raise UserError(
            f"{checkpoint} is not MVDream's sd-v2.1-base-4view.pt: its {part} differs ({detail})"
        ) from error


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m priors.models.mvdream_checkpoint CHECKPOINT.pt OUTPUT_FOLDER")
    try:
        convert_mvdream(Path(sys.argv[1]), Path(sys.argv[2]))
    except UserError as error:
        sys.exit(f"error: {error}")
