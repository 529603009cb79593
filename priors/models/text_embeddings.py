"""Text embeddings that are computed once: in memory, and on disk as safetensors.

The text encoder of DeepFloyd IF (T5-XXL) is five times its image network: it is loaded, asked for
all prompts at once, and dropped.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hoijax.errors import UserError
from priors.models.torch_runtime import require
from priors.protocols import ModelId

__all__ = ["EmbeddingCache"]


class EmbeddingCache:
    """Embeddings of texts under one model."""

    def __init__(
        self,
        encode: Callable[[list[str]], list[Any]],
        model_id: ModelId,
        folder: Path | None = None,
    ):
        """encode: texts to tensors (tokens, channels); called only with texts that are not known."""
        self._encode, self._model_id = encode, model_id
        self._folder = folder
        self._known: dict[str, Any] = {}

    def __call__(self, texts: Sequence[str]) -> Any:
        """(N, tokens, channels) embeddings."""
        torch = require("torch")
        missing = [t for t in dict.fromkeys(texts) if t not in self._known and not self._read(t)]
        if missing:
            for text, embedding in zip(missing, self._encode(missing), strict=True):
                self._known[text] = embedding
                self._write(text, embedding)
        return torch.stack([self._known[text] for text in texts])

    def _path(self, text: str) -> Path | None:
        if self._folder is None:
            return None
        content = json.dumps([self._model_id.name, self._model_id.revision, text])
        return self._folder / f"{hashlib.sha256(content.encode()).hexdigest()}.safetensors"

    def _read(self, text: str) -> bool:
        path = self._path(text)
        if path is None or not path.is_file():
            return False
        safetensors = require("safetensors.torch")
        try:
            self._known[text] = safetensors.load_file(path)["embedding"]
        except Exception as error:
            raise UserError(
                f"the cached text embedding {path} is damaged ({error}). Delete it: it will be "
                "computed again"
            ) from error
        return True

    def _write(self, text: str, embedding: Any) -> None:
        path = self._path(text)
        if path is None:
            return
        safetensors = require("safetensors.torch")
        path.parent.mkdir(parents=True, exist_ok=True)
        half_written = path.with_suffix(f".{uuid.uuid4().hex}.part")
        safetensors.save_file({"embedding": embedding.contiguous()}, half_written)
        os.replace(half_written, path)
