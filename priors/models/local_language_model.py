"""A chat model on this machine, by transformers: its answers can only be of the asked form.

xgrammar masks, at every token, what would leave the JSON schema. So even a small model, or one with
random weights, answers in valid JSON; whether the answer is sensible is another matter.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from hoijax.errors import UserError
from priors.models.chat_endpoint import Message
from priors.models.language_model import LanguagePrior
from priors.models.torch_runtime import (
    TorchSettings,
    device_and_dtype,
    load_pretrained,
    readable_errors,
    require,
    seeded,
)
from priors.protocols import ModelId
from priors.settings import LanguageSettings
from priors.store import Store

__all__ = ["TransformersChat", "local_prior"]

STAGE = "language"
LONGEST_ANSWER = 4096  # tokens; nothing is thought aloud, so an answer is short
INSTALL = "pip install --no-deps xgrammar apache-tvm-ffi"


class TransformersChat:
    """`Chat` of a causal language model: a hub id, or a directory written by `save_pretrained`.

    Loaded at the first question. Text only: images in a message are refused.
    """

    network_class = "AutoModelForCausalLM"

    def __init__(
        self,
        model_id: ModelId,
        settings: LanguageSettings | None = None,
        runtime: TorchSettings | None = None,
    ):
        self._model_id = model_id
        self.settings = settings or LanguageSettings()
        self.runtime = runtime or TorchSettings()

    @property
    def model_id(self) -> ModelId:
        return self._model_id

    @cached_property
    def tokenizer(self) -> Any:
        transformers = require("transformers")
        return load_pretrained(transformers.AutoTokenizer, self._model_id, stage=STAGE)

    @cached_property
    def network(self) -> Any:
        transformers = require("transformers")
        device, dtype = device_and_dtype(self.runtime)
        kind = getattr(transformers, self.network_class)
        return load_pretrained(kind, self._model_id, stage=STAGE, dtype=dtype).to(device)

    @cached_property
    def _compiler(self) -> Any:
        xgrammar = require("xgrammar", remedy=INSTALL)
        vocabulary = xgrammar.TokenizerInfo.from_huggingface(
            self.tokenizer, vocab_size=self.network.config.get_text_config().vocab_size
        )
        return xgrammar.GrammarCompiler(vocabulary)

    def complete(
        self, messages: Sequence[Message], schema: Mapping[str, Any], *, name: str, seed: int
    ) -> str:
        """A JSON text of the schema. UserError where the answer does not fit into `max_tokens`."""
        grammar = self._compiler.compile_json_schema(
            json.dumps(schema), any_whitespace=False, separators=(",", ":")
        )
        processor = require("xgrammar.contrib.hf").LogitsProcessor(grammar)
        inputs = self._inputs(messages)
        with readable_errors(STAGE, self._model_id, smaller="a smaller model"), seeded(seed):
            made = self.network.generate(
                **inputs,
                max_new_tokens=min(self.settings.max_tokens, LONGEST_ANSWER),
                do_sample=self.settings.temperature > 0,
                temperature=self.settings.temperature or None,
                top_k=None,
                top_p=None,
                logits_processor=[processor],
                eos_token_id=self._stops(),
                pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id,
            )
        asked = inputs["input_ids"].shape[1]
        return self.tokenizer.decode(made[0, asked:], skip_special_tokens=True)

    def _stops(self) -> list[int]:
        """Tokens that end an answer: the network's, and the tokenizer's, which is the one the grammar
        allows after the last brace. Where they differ, an answer would run on to the last token."""
        known = self.network.generation_config.eos_token_id
        listed = known if isinstance(known, list) else [known]
        return sorted(
            {token for token in [*listed, self.tokenizer.eos_token_id] if token is not None}
        )

    def _inputs(self, messages: Sequence[Message]) -> dict[str, Any]:
        """What the network reads."""
        for message in messages:
            if not isinstance(message["content"], str):
                raise UserError(
                    "the local language model reads text only, and was shown an image. Use a vision "
                    "model behind an endpoint (--language-url, for example served by vLLM)"
                )
        return self._tokens(self._text(messages))

    def _text(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The messages in the model's own template, with the answer to follow."""
        if self.tokenizer.chat_template:
            return self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,  # of Qwen3's template; others do not look at it
            )
        turns = [f"{message['role']}: {message['content']}" for message in messages]
        return "\n\n".join([*turns, "assistant: "])

    def _tokens(self, text: str) -> dict[str, Any]:
        """UserError where the question is longer than the model reads."""
        tokens = self.tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
        config = self.network.config.get_text_config()
        most = getattr(config, "max_position_embeddings", None)
        if most is not None and tokens.shape[1] + 64 > most:
            raise UserError(
                f"{self._model_id.name} reads at most {most} tokens, the question has "
                f"{tokens.shape[1]}. Use a model with a longer context"
            )
        tokens = tokens.to(self.network.device)
        return {"input_ids": tokens, "attention_mask": tokens.new_ones(tokens.shape)}


def local_prior(
    model_id: ModelId,
    settings: LanguageSettings,
    *,
    url: str | None = None,
    store: Store | None = None,
    runtime: TorchSettings | None = None,
) -> LanguagePrior:
    """The language role by a model on this machine, as the registry makes it."""
    return LanguagePrior(TransformersChat(model_id, settings, runtime), settings, store)
