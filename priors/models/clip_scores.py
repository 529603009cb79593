"""How well renders show a text: CLIP (Radford et al., 2021) or SigLIP 2 (Tschannen et al., 2025) for
images, X-CLIP (Ni et al., 2022) for clips, and CLIP and X-CLIP for a result folder.

    python -m priors.models.clip_scores RESULT --text "a person sweeps the floor"
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.io.video import read_video
from priors.models.torch_runtime import (
    TorchSettings,
    device_and_dtype,
    load_pretrained,
    readable_errors,
    require,
)
from priors.protocols import ImageTextScore, ModelId, Video, VideoTextScore

__all__ = [
    "CLIP_B32",
    "SIGLIP2",
    "XCLIP_B32",
    "ClipScore",
    "Siglip2Score",
    "XClipScore",
    "score_result",
    "spread",
]

STAGE = "scores"
CLIP_B32 = ModelId("openai/clip-vit-base-patch32")
XCLIP_B32 = ModelId("microsoft/xclip-base-patch32")
SIGLIP2 = ModelId("google/siglip2-so400m-patch14-384")
BATCH = 16  # images at once
SCORED_FRAMES = 16  # of a preview, evenly spread


class _TextScore:
    """Loading and tokens, which both scores share."""

    network_class = ""

    def __init__(self, model_id: ModelId, runtime: TorchSettings | None = None):
        self._model_id = model_id
        self.runtime = runtime or TorchSettings()

    @property
    def model_id(self) -> ModelId:
        return self._model_id

    @cached_property
    def network(self) -> Any:
        kind = getattr(require("transformers"), self.network_class)
        device, dtype = device_and_dtype(self.runtime, measures=True)
        # openai/clip-vit-base-patch32 has no safetensors on its main branch: its .bin is then read
        # with weights_only, which runs no code.
        files = {"use_safetensors": None, "weights_only": True}
        return load_pretrained(kind, self._model_id, stage=STAGE, dtype=dtype, **files).to(device)

    @cached_property
    def _processor(self) -> Any:
        kind = require("transformers").AutoImageProcessor
        return load_pretrained(kind, self._model_id, stage=STAGE)

    @cached_property
    def _tokenizer(self) -> Any:
        kind = require("transformers").AutoTokenizer
        return load_pretrained(kind, self._model_id, stage=STAGE)

    def _tokens(self, text: str) -> Any:
        if not text.strip():
            raise UserError(f"{STAGE}: the text is empty")
        length = self.network.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            [text], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        return {name: value.to(self.network.device) for name, value in tokens.items()}

    def _pixels(self, images: UInt8[ndarray, "N H W 3"]) -> Any:
        """(N, 3, h, w), or (1, N, 3, h, w) of a video processor, cropped and normalized as the
        checkpoint says."""
        torch = require("torch")
        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        return torch.as_tensor(pixels).to(self.network.device, self.network.dtype)


class ClipScore(_TextScore):
    """`ImageTextScore` of CLIP."""

    network_class = "CLIPModel"

    def __init__(self, model_id: ModelId = CLIP_B32, runtime: TorchSettings | None = None):
        super().__init__(model_id, runtime)

    def _inputs(self, images: UInt8[ndarray, "N H W 3"]) -> dict[str, Any]:
        return {"pixel_values": self._pixels(images)}

    def score(self, images: UInt8[ndarray, "N H W 3"], text: str) -> Float[ndarray, " N"]:
        """Cosines; texts beyond the model's length (CLIP: 77 tokens) are cut. UserError for an empty
        text."""
        torch = require("torch")
        with readable_errors(STAGE, self._model_id), torch.inference_mode():
            tokens = self._tokens(text)
            words = self.network.get_text_features(**tokens).pooler_output
            cosines = [np.zeros(0, np.float32)]
            for start in range(0, len(images), BATCH):
                inputs = self._inputs(images[start : start + BATCH])
                seen = self.network.get_image_features(**inputs).pooler_output
                cosine = torch.nn.functional.cosine_similarity(seen.float(), words.float())
                cosines.append(cosine.cpu().numpy())
        return np.concatenate(cosines)


class Siglip2Score(ClipScore):
    """`ImageTextScore` of SigLIP 2: a checkpoint of one size, or one that keeps aspects ("naflex").

    Its cosines are far smaller than CLIP's; only their order is comparable.
    """

    network_class = "AutoModel"

    def __init__(self, model_id: ModelId = SIGLIP2, runtime: TorchSettings | None = None):
        super().__init__(model_id, runtime)

    def _tokens(self, text: str) -> Any:
        # Trained on lower case, padded to the full length, with the padding attended to.
        return {"input_ids": super()._tokens(text.lower())["input_ids"]}

    def _inputs(self, images: UInt8[ndarray, "N H W 3"]) -> dict[str, Any]:
        inputs = self._processor(images=list(images), return_tensors="pt").to(self.network.device)
        # Of "naflex" also the mask and the shape of the patches: numbers that are not measured.
        return dict(inputs) | {"pixel_values": inputs["pixel_values"].to(self.network.dtype)}


class XClipScore(_TextScore):
    """`VideoTextScore` of X-CLIP: as many frames as it was trained with, evenly spread."""

    network_class = "XCLIPModel"

    def __init__(self, model_id: ModelId = XCLIP_B32, runtime: TorchSettings | None = None):
        super().__init__(model_id, runtime)

    def score(self, videos: Sequence[Video], text: str) -> Float[ndarray, " N"]:
        """Cosines of each clip with the text as the clip conditions it. UserError: empty text or clip."""
        torch = require("torch")
        with readable_errors(STAGE, self._model_id), torch.inference_mode():
            tokens = self._tokens(text)
            count = self.network.config.vision_config.num_frames
            cosines = np.zeros(len(videos), np.float32)
            for n, video in enumerate(videos):
                pixels = self._pixels(spread(video.frames, count))
                # X-CLIP's processor is VideoMAE's, which already makes one clip of the frames.
                pixels = pixels.reshape(1, count, *pixels.shape[-3:])
                output = self.network(pixel_values=pixels, **tokens)
                # X-CLIP's text embedding depends on the clip: (clips, texts, channels), unit length.
                cosines[n] = float((output.text_embeds[0, 0] * output.video_embeds[0]).sum())
        return cosines


def spread(frames: UInt8[ndarray, "T H W 3"], count: int) -> UInt8[ndarray, "N H W 3"]:
    """`count` frames from first to last, evenly; short clips repeat frames. UserError for none."""
    if len(frames) == 0:
        raise UserError(f"{STAGE}: a clip has no frames")
    return frames[np.round(np.linspace(0, len(frames) - 1, count)).astype(int)]


def score_result(
    result_folder: str | Path,
    text: str | None = None,
    *,
    image_score: ImageTextScore | None = None,
    video_score: VideoTextScore | None = None,
) -> dict[str, float]:
    """Scores of a result's preview.mp4: clip_score (mean over frames), clip_score_worst, xclip_score.

    text: None takes the sentence the result was made for. UserError where the folder has no preview.
    """
    folder = Path(result_folder)
    video = folder / "preview.mp4"
    if not video.is_file():
        raise UserError(
            f"{folder} has no preview.mp4. Write one with `hoijax export {folder} --to mp4`"
        )
    clip = read_video(video)
    text = _sentence(folder) if text is None else text
    image_score, video_score = image_score or ClipScore(), video_score or XClipScore()
    frames = image_score.score(spread(clip.frames, min(SCORED_FRAMES, len(clip.frames))), text)
    return {
        "clip_score": float(frames.mean()),
        "clip_score_worst": float(frames.min()),
        "xclip_score": float(video_score.score([clip], text)[0]),
    }


def _sentence(folder: Path) -> str:
    try:
        return str(json.loads((folder / "run.json").read_text(encoding="utf-8"))["prompt"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} does not say what it shows (run.json). Give the text with --text"
        ) from error


def _main(result: Path, /, text: str | None = None) -> None:
    print(json.dumps(score_result(result, text), indent=2))


if __name__ == "__main__":
    import sys

    import tyro

    try:
        tyro.cli(_main)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
