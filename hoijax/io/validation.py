"""What pydantic finds wrong with a JSON value, as sentences with a place and a remedy."""

import json
import typing
from typing import Any

import pydantic

MAX_JSON_DEPTH = 64
MAX_JSON_BYTES = 1 << 27
"""128 MiB: part labels of a mesh of ten million faces."""


def parse_json(text: str, finite: bool = True) -> Any:
    """The JSON value of a text; ValueError says in one line why there is none.

    Refuses repeated keys, values nested deeper than MAX_JSON_DEPTH, and (finite) NaN and Infinity, which
    Python's reader would let pass.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"the key {repeated!r} is given twice")
        return result

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a JSON number")

    try:
        value = json.loads(
            text, object_pairs_hook=unique, parse_constant=refuse if finite else None
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _is_deeper(value, MAX_JSON_DEPTH):
        raise ValueError(f"it is nested deeper than {MAX_JSON_DEPTH} levels")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested more than so many levels; no recursion of its own."""
    layer = [value]
    while layer and levels >= 0:
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        levels -= 1
    return bool(layer)


def validation_problems(model: type[pydantic.BaseModel], data: Any) -> list[str]:
    """Every problem of form of a parsed JSON value; empty when `model` accepts it.

    Errors that the model's own root validator raises are left out: its author reports those.
    """
    try:
        model.model_validate(data)
    except pydantic.ValidationError as error:
        return [
            _describe(model, item["loc"], item["type"], item["msg"])
            for item in error.errors(include_url=False, include_context=False)
            if item["loc"] or item["type"] != "value_error"
        ]
    return []


def numbered(problems: list[str]) -> str:
    """Problems as an indented list under a headline, ready for a UserError."""
    return "\n".join(f"  - {problem}" for problem in problems)


def count_of(problems: list[str], noun: str = "problem") -> str:
    """'1 problem', '2 problems'."""
    return f"{len(problems)} {noun}{'s' if len(problems) != 1 else ''}"


def _describe(
    model: type[pydantic.BaseModel], location: tuple[int | str, ...], kind: str, message: str
) -> str:
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".")
    place = place or "the file"
    parent = _model_at(model, location[:-1])
    known = ", ".join(parent.model_fields) if parent else ""
    sentences = {
        "missing": f"is missing; the keys here are {known}",
        "extra_forbidden": f"is not a key of the schema; the keys here are {known}",
        "too_short": "is empty; give at least one",
        "bool_type": "must be true or false (without quotes)",
        "string_pattern_mismatch": "must be a name without slashes and control characters",
        "model_type": "must be a JSON object {...}",
        "model_attributes_type": "must be a JSON object {...}",
        "dict_type": "must be a JSON object {...}",
        "tuple_type": "must be a JSON list [...]",
    }
    return f"{place}: {sentences.get(kind, message.removeprefix('Value error, '))}"


def _model_at(annotation: Any, location: tuple[int | str, ...]) -> type[pydantic.BaseModel] | None:
    """The model whose keys stand at a location, walking fields, list items and dict values."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        if not location:
            return annotation
        field = annotation.model_fields.get(str(location[0]))
        return _model_at(field.annotation, location[1:]) if field else None
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (tuple, list, dict) and location:
        return _model_at(arguments[1 if origin is dict else 0], location[1:])
    for argument in arguments:  # Annotated, Optional
        if (model := _model_at(argument, location)) is not None:
            return model
    return None
