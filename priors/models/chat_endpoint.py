"""A chat model behind any OpenAI-compatible endpoint: hosted, vLLM, llama.cpp.

The key is read from the environment when a request is made; it is in no message, file or log of ours.
Every answer is read under a deadline and a size limit, so an endpoint that hangs, drips or floods
costs a bounded time.
"""

import base64
import io
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hoijax.errors import UserError
from priors.models.timed_requests import timed_client
from priors.models.torch_runtime import require
from priors.protocols import ModelId
from priors.settings import LanguageSettings

__all__ = ["KEY_VARIABLE", "EndpointChat", "EndpointLimits", "Message", "image_part", "public_url"]

Message = dict[str, Any]
"""{"role": "system" | "user" | "assistant", "content": text, or a list of text and image parts}."""
KEY_VARIABLE, URL_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL"
DEFAULT_URL = "https://api.openai.com/v1"
MODES = ("schema", "plain schema", "json", "none")
"""How the form of an answer is asked for; an endpoint that refuses one is asked by the next."""
PLAIN_KEYWORDS = (
    "type",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "anyOf",
    "$ref",
    "description",
)
"""What all providers of structured answers know of JSON schema. Lengths, patterns and limits are
refused by some; they are checked when the answer is read, and said on the next try."""
OPTIONAL = ("max_completion_tokens", "temperature", "seed")
"""Parameters that some models refuse and that are then not sent again."""
LARGEST_ANSWER = 4 << 20
"""Bytes of one HTTP answer."""


@dataclass(frozen=True)
class EndpointLimits:
    """How long an answer is waited for, and how often a failed request is sent again."""

    seconds: float = 300.0
    """Per request, from the first byte sent to the last one read."""
    retries: int = 3
    """After refusals for load (429), server errors (5xx), broken answers and lost connections."""
    pause: float = 1.0
    """Seconds before the first repetition of a broken answer; doubled each time."""


def public_url(url: str | None) -> str:
    """The endpoint's address without user and password: $OPENAI_BASE_URL, else OpenAI's own."""
    parts = urlsplit(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def image_part(image: UInt8[ndarray, "H W 3"]) -> dict[str, Any]:
    """An image as part of a message: a PNG in a data URL, so that nothing is fetched."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}


def plain_schema(node: Any) -> Any:
    """A JSON schema in the keywords that all providers know."""
    if isinstance(node, list):
        return [plain_schema(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    plain: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("properties", "$defs"):  # names, not keywords
            plain[key] = {name: plain_schema(inner) for name, inner in value.items()}
        elif key == "const":
            plain["enum"] = [value]
        elif key in PLAIN_KEYWORDS:
            plain[key] = value if key in ("enum", "required") else plain_schema(value)
    return plain


class _CutOff(Exception):
    """The connection ended before the answer did."""


class EndpointChat:
    """`Chat` of one model at one endpoint."""

    def __init__(
        self,
        model: str,
        url: str | None = None,
        settings: LanguageSettings | None = None,
        limits: EndpointLimits | None = None,
    ):
        """UserError for an address that is none."""
        self.model, self.settings = model, settings or LanguageSettings()
        self.limits = limits or EndpointLimits()
        self.url = public_url(url)
        self._private_url = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).netloc:
            raise UserError(
                f"the endpoint {self.url!r} is no http address. Give --language-url "
                "http://HOST:PORT/v1"
            )
        self._mode = MODES.index(self.settings.structured)
        self._refused: set[str] = set()

    @property
    def model_id(self) -> ModelId:
        return ModelId(self.model, self.url)

    def complete(
        self, messages: Sequence[Message], schema: Mapping[str, Any], *, name: str, seed: int
    ) -> str:
        """The model's answer as text, asked for in the form of a JSON schema.

        Raises UserError, without the key, where the endpoint refuses or does not answer in time.
        """
        openai = require("openai")
        key = os.environ.get(KEY_VARIABLE)
        if key is None and self.url == DEFAULT_URL:
            raise UserError(
                f"no key: set {KEY_VARIABLE} in the environment, or name another endpoint with "
                "--language-url (a local server needs no key)"
            )
        client = openai.OpenAI(
            api_key=key or "none",
            base_url=self._private_url,
            timeout=self.limits.seconds,
            max_retries=self.limits.retries,
            http_client=timed_client(openai, self.limits.seconds),
        )
        with client:
            while True:
                request = self._request(messages, schema, name, seed)
                try:
                    return self._answer(client, request)
                except openai.OpenAIError as error:
                    if self._adapts(openai, error, request):
                        continue
                    raise UserError(self._message(openai, error, key)) from None

    def _request(
        self, messages: Sequence[Message], schema: Mapping[str, Any], name: str, seed: int
    ) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "messages": list(messages),
            "temperature": self.settings.temperature,
            "seed": seed,
        }
        # Reasoning models know the budget by its newer name only, many servers by the older one.
        budget = "max_completion_tokens" if "max_tokens" in self._refused else "max_tokens"
        request[budget] = self.settings.max_tokens
        request = {key: value for key, value in request.items() if key not in self._refused}
        mode = MODES[self._mode]
        if mode in ("schema", "plain schema"):
            sent = dict(schema) if mode == "schema" else plain_schema(schema)
            form = {"name": name, "schema": sent, "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": form}
            return request
        if mode == "json":
            request["response_format"] = {"type": "json_object"}
        instruction = f"Answer with one JSON object of this JSON schema and nothing else:\n{json.dumps(schema)}"
        request["messages"] = _appended(messages, instruction)
        return request

    def _adapts(self, openai: Any, error: Exception, request: Mapping[str, Any]) -> bool:
        """Whether the next request differs from the refused one; what was refused is remembered."""
        if not isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
            return False
        message = str(error).lower()
        for parameter in ("max_tokens", *OPTIONAL):
            if parameter in request and re.search(rf"\b{parameter}\b", message):
                self._refused.add(parameter)
                return True
        about_form = any(
            word in message for word in ("response_format", "json_schema", "schema", "grammar")
        )
        if about_form and self._mode + 1 < len(MODES):
            self._mode += 1
            return True
        return False

    def _answer(self, client: Any, request: Mapping[str, Any]) -> str:
        """The text of the first choice; broken answers are asked for again."""
        problem = ""
        for attempt in range(self.limits.retries + 1):
            if attempt:
                time.sleep(self.limits.pause * 2 ** (attempt - 1))
            try:
                content = self._read(client, request)
            except _CutOff:
                problem = "a broken-off answer"
                continue
            try:
                choice = json.loads(content)["choices"][0]
                text = choice["message"].get("content")
                finish = choice.get("finish_reason")
            except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                problem = f"an answer that is no chat completion ({len(content)} bytes)"
                continue
            if finish == "length":
                raise UserError(
                    f"{self.model} at {self.url} used up its {self.settings.max_tokens} tokens before "
                    "the answer ended (finish_reason 'length'; thinking counts). Use a model that "
                    "thinks less, or a server with a longer context"
                )
            if isinstance(text, str) and text.strip():
                return text
            problem = "an empty answer"
        raise UserError(
            f"the endpoint {self.url} gave {problem} {self.limits.retries + 1} times. Is it an "
            "OpenAI-compatible endpoint (its address ends in /v1)?"
        )

    def _read(self, client: Any, request: Mapping[str, Any]) -> bytes:
        """The whole body, under the deadline: a server that drips resets httpx's own timeout."""
        content = b""
        with client.chat.completions.with_streaming_response.create(**request) as response:
            deadline = time.monotonic() + self.limits.seconds
            try:
                for chunk in response.iter_bytes():
                    content += chunk
                    if time.monotonic() > deadline:
                        raise UserError(
                            f"the endpoint {self.url} had not finished its answer after "
                            f"{self.limits.seconds:g} s. Try again, or use a faster model"
                        )
                    if len(content) > LARGEST_ANSWER:
                        raise UserError(
                            f"the endpoint {self.url} sent more than {LARGEST_ANSWER} bytes"
                        )
            except Exception as error:
                # The client's transport (httpx or its successor) raises its own errors here.
                if type(error).__module__.startswith(("httpx", "httpcore")):
                    raise _CutOff from None
                raise
        return content

    def _message(self, openai: Any, error: Exception, key: str | None) -> str:
        where = f"{self.model} at {self.url}"
        if isinstance(error, openai.APITimeoutError):
            return (
                f"{where} did not answer within {self.limits.seconds:g} s, "
                f"{self.limits.retries + 1} times. Is the server busy? Try again later"
            )
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"{where} refused the key. Check {KEY_VARIABLE} in the environment"
        if isinstance(error, openai.RateLimitError):
            return f"{where} refused for load or quota (429) {self.limits.retries + 1} times. Wait"
        if isinstance(error, openai.NotFoundError):
            return f"{where} does not exist there (404). Name a model with --model language=NAME"
        if isinstance(error, openai.APIConnectionError):
            return f"the endpoint {self.url} cannot be reached. Is the server running?"
        reason = _without(str(error), key)[:300]
        return f"{where} failed: {reason}"


def _appended(messages: Sequence[Message], text: str) -> list[Message]:
    """The messages with a text at the end of the user's last one: some models refuse two in a row."""
    *before, last = messages
    if last["role"] != "user":
        return [*messages, {"role": "user", "content": text}]
    content = last["content"]
    if isinstance(content, str):
        content = f"{content}\n\n{text}"
    else:
        content = [*content, {"type": "text", "text": text}]
    return [*before, {**last, "content": content}]


def _without(text: str, key: str | None) -> str:
    """A server's words without our key, should it repeat it."""
    return text.replace(key, "***") if key else text
