"""The language role: valid answers from any chat model, and the graphs, choices and yaws made of them.

A chat model gives text; `LanguagePrior.ask` gives a validated answer of a schema: what is wrong with
an answer is said to the model on the next try, and only valid answers are kept. Answers are data: they
are parsed and validated, never executed, and no name in them becomes a path.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from pydantic import BaseModel, Field

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.errors import UserError
from hoijax.io.validation import count_of, numbered, parse_json, validation_problems
from priors.models import graph_schemas
from priors.models.chat_endpoint import EndpointChat, Message, image_part
from priors.models.image_choice import prompt_text
from priors.models.torch_runtime import TorchSettings
from priors.protocols import ModelId
from priors.settings import LanguageSettings
from priors.store import Store, content_key

__all__ = [
    "Chat",
    "LanguagePrior",
    "endpoint_from_environment",
    "strict_schema",
    "vlm_detector",
]

MODEL_VARIABLE = "HOIJAX_LANGUAGE_MODEL"
SHOWN = 768
"""Longest side, in pixels, of images shown to a model."""
CONTROL = re.compile(r"[\x00-\x1f]+")
REPEATED = 2000
"""Characters of a wrong answer that are shown to the model again."""
Answer = TypeVar("Answer", bound=BaseModel)


@runtime_checkable
class Chat(Protocol):
    """A chat model that can be asked for JSON."""

    @property
    def model_id(self) -> ModelId: ...

    def complete(
        self, messages: Sequence[Message], schema: Mapping[str, Any], *, name: str, seed: int
    ) -> str: ...


class Preference(BaseModel):
    """Which of two images is better."""

    reason: graph_schemas.Sentence
    better: Literal["first", "second"]


class Yaws(BaseModel):
    """Likely turns of an object about the vertical axis, best first."""

    yaws_degrees: list[int] = Field(min_length=4, max_length=4)


class LanguagePrior:
    """Everything the stages ask of a language model."""

    def __init__(
        self, chat: Chat, settings: LanguageSettings | None = None, store: Store | None = None
    ):
        """store: where valid answers are kept; None keeps none."""
        self.chat, self.settings, self.store = chat, settings or LanguageSettings(), store

    @property
    def model_id(self) -> ModelId:
        return self.chat.model_id

    def ask(
        self,
        messages: Sequence[Message],
        schema: type[Answer],
        *,
        check: Callable[[Answer], list[str]] = lambda answer: [],
        seed: int = 0,
    ) -> Answer:
        """A valid answer of `schema`, for which `check` finds no problem.

        Raises UserError with the last answer's problems when none of the tries is valid.
        """
        form = strict_schema(schema)
        model = self.chat.model_id
        key = content_key(
            [model.name, model.revision], self.settings.temperature, list(messages), form, seed
        )
        stored = self.store.get("language", key) if self.store else None
        if stored is not None:
            answer, problems = _read(json.dumps(stored.value), schema, check)
            if answer is not None and not problems:
                return answer
        feedback: list[Message] = []
        problems = []
        for attempt in range(self.settings.tries):
            text = self.chat.complete(
                [*messages, *feedback], form, name=schema.__name__, seed=seed + attempt
            )
            answer, problems = _read(text, schema, check)
            if answer is not None and not problems:
                if self.store:
                    value = answer.model_dump(mode="json", by_alias=True)
                    self.store.put("language", key, {}, value, made_by=model.name)
                return answer
            listed = numbered(problems)
            reply = f"That answer has {count_of(problems)}:\n{listed}\nGive the whole answer again."
            feedback = [
                {"role": "assistant", "content": text[:REPEATED]},
                {"role": "user", "content": reply},
            ]
        raise UserError(
            f"{model.name} gave no valid answer in {self.settings.tries} tries. The last one has "
            f"{count_of(problems)}:\n{numbered(problems)}\nUse a stronger model, or give the graph "
            "yourself with --pag"
        )

    def ask_about(
        self,
        prompt: str,
        images: Sequence[UInt8[ndarray, "H W 3"]],
        schema: type[Answer],
    ) -> Answer:
        """An answer about images: the form in which `priors.models.detection.VlmDetector` asks."""
        parts = [image_part(_shrunk(image)) for image in images]
        content = [{"type": "text", "text": prompt}, *parts]
        return self.ask([{"role": "user", "content": content}], schema)

    def graph(
        self, text: str, assets: Sequence[graph_schemas.Meshed], seed: int
    ) -> PartAffordanceGraph:
        """The Part Affordance Graph of a sentence over these objects, with its video prompt.

        Two questions: who and what is there, then what touches what, in the names of the first.
        """
        examples = json.loads(graph_schemas.example_text())
        noted = graph_schemas.inventory_schema(assets)
        inventory = self.ask(
            graph_schemas.inventory_messages(text, assets, examples), noted, seed=seed
        )
        nodes = graph_schemas.nodes_of(inventory, assets)
        return self._contacts(text, nodes, examples, seed)

    def _contacts(
        self, text: str, nodes: graph_schemas.Nodes, examples: list[dict[str, Any]], seed: int
    ) -> PartAffordanceGraph:
        schema = graph_schemas.contacts_schema(nodes)
        answer = self.ask(
            graph_schemas.contacts_messages(text, nodes, examples),
            schema,
            check=lambda proposed: graph_schemas.contact_problems(proposed, nodes),
            seed=seed,
        )
        return PartAffordanceGraph.model_validate(graph_schemas.graph_data(answer, nodes))

    def prefers_second(
        self, first: UInt8[ndarray, "H W 3"], second: UInt8[ndarray, "H W 3"], question: str
    ) -> bool:
        """Whether the second image shows the question's sentence better."""
        prompt = prompt_text("choose_image").replace("{text}", question)
        return self.ask_about(prompt, [first, second], Preference).better == "second"

    def propose_yaws(
        self, text: str, object_name: str, situation: str, seed: int = 0
    ) -> list[float]:
        """Four yaw angles of an object, in degrees about the world's y axis, best first.

        situation: where the body's joints and the object's parts are, and what touches what.
        """
        prompt = prompt_text("propose_yaws")
        for key, value in {"text": text, "object": object_name, "situation": situation}.items():
            prompt = prompt.replace("{" + key + "}", value)
        answer = self.ask([{"role": "user", "content": prompt}], Yaws, seed=seed)
        return [float(yaw % 360) for yaw in answer.yaws_degrees]


def _read(
    text: str, schema: type[Answer], check: Callable[[Answer], list[str]]
) -> tuple[Answer | None, list[str]]:
    """(the answer, or None, what is wrong with it)."""
    try:
        data = parse_json(_json_of(text))
    except ValueError as error:
        return None, [f"it is not one whole JSON object: {error}"]
    problems = validation_problems(schema, data)
    if problems:
        return None, problems
    try:
        answer = schema.model_validate(data)
    except ValueError as error:
        return None, [str(error)]
    return answer, check(answer)


def _json_of(text: str) -> str:
    """The JSON object in a text: models think aloud before it and fence it in."""
    text = CONTROL.sub(" ", text.rpartition("</think>")[2])  # grammars let raw newlines through
    begin = text.find("{")
    if begin < 0:
        raise ValueError("there is no object in it")
    _, end = json.JSONDecoder().raw_decode(text[begin:])
    return text[begin : begin + end]


def strict_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model in the strict form: no further keys, every key required."""
    return _strict(model.model_json_schema(by_alias=True))


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _strict(value) for key, value in node.items() if key not in ("default", "title")}
    if isinstance(node.get("properties"), dict):
        # A property may itself be called "title": its name is no annotation.
        made["properties"] = {key: _strict(value) for key, value in node["properties"].items()}
        made["additionalProperties"] = False
        made["required"] = list(node["properties"])
    return made


def _shrunk(image: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "h w 3"]:
    """At most SHOWN pixels a side."""
    longest = max(image.shape[:2])
    if longest <= SHOWN:
        return image
    from PIL import Image

    size = (round(image.shape[1] * SHOWN / longest), round(image.shape[0] * SHOWN / longest))
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size))


# ---- as the registry makes them


def endpoint_from_environment(
    model_id: ModelId,
    settings: LanguageSettings,
    *,
    url: str | None = None,
    store: Store | None = None,
    runtime: TorchSettings | None = None,
) -> LanguagePrior:
    """A model behind an endpoint. UserError where none is named."""
    name = model_id.name or os.environ.get(MODEL_VARIABLE, "")
    if not name:
        raise UserError(
            f"no language model is named. Give --model language=NAME (or set {MODEL_VARIABLE}) and "
            "the endpoint with --language-url; or use --language rules, which needs none; or give "
            "the graph with --pag"
        )
    return LanguagePrior(EndpointChat(name, url, settings), settings, store)


def vlm_detector(
    model_id: ModelId,
    settings: LanguageSettings,
    *,
    url: str | None = None,
    store: Store | None = None,
    runtime: TorchSettings | None = None,
) -> Any:
    """A vision language model behind an endpoint as a `Detector`."""
    from priors.models.detection import VlmDetector, VlmSettings

    prior = endpoint_from_environment(model_id, settings, url=url, store=store)
    return VlmDetector(prior.ask_about, prior.model_id, VlmSettings(settings.coordinates))
