"""What networks that measure share: which checkpoint, which settings, where they run."""

from typing import Any, ClassVar, Generic, TypeVar

from priors.models.torch_runtime import (
    TorchSettings,
    device_and_dtype,
    load_pretrained,
    local_directory,
    require,
)
from priors.protocols import ModelId

Settings = TypeVar("Settings")


class FrozenModel(Generic[Settings]):
    """A network of transformers that measures (so in float32), loaded at the first call."""

    stage: ClassVar[str]
    """Of observing, which errors name."""
    default_id: ClassVar[ModelId]
    default_settings: Any

    def __init__(
        self,
        model_id: ModelId | None = None,
        settings: Settings | None = None,
        runtime: TorchSettings | None = None,
    ):
        """model_id: hub id or directory, in transformers format; `default_id` by default."""
        self._model_id = model_id or self.default_id
        self.settings: Any = settings or self.default_settings
        self.runtime = runtime or TorchSettings()

    @property
    def model_id(self) -> ModelId:
        return self._model_id

    def _file(self, name: str) -> str:
        """A file of the checkpoint, fetched from the hub unless it is a directory."""
        directory = local_directory(self._model_id)
        if directory is not None:
            return str(directory / name)
        hub = require("huggingface_hub")
        return hub.hf_hub_download(self._model_id.name, name, revision=self._model_id.revision)

    def _part(self, kind: str, *packages: str) -> Any:
        """A tokenizer or an image processor of the checkpoint, by its class in transformers."""
        source = getattr(require("transformers", "torch", *packages), kind)
        return load_pretrained(source, self._model_id, stage=self.stage)

    def _loaded(self, kind: str) -> Any:
        """The network on its device, by its class in transformers."""
        source = getattr(require("transformers", "torch"), kind)
        device, dtype = device_and_dtype(self.runtime, measures=True)
        return load_pretrained(source, self._model_id, stage=self.stage, dtype=dtype).to(device)
