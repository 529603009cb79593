"""The Part Affordance Graph (PAG): which part of whom touches which part of what, and how.

A graph comes from a language model, from `priors.language.script` or from a person's hand, so it is
untrusted data: it is validated here, with every problem reported at once (the text is fed back to a
language model on a retry), and compiled once to integer tables
(`hoijax.affordance.contact_table`); nothing later parses a name.

Source: HOI-PAGE, section "Part Affordance Graph"; `is_translational`, `is_rotational`,
`is_continuous` and `is_rel_static` are its a_tau, a_r, a_c and a_s.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
)

from hoijax.affordance.graph_checks import (
    reference_problems,
    unknown_name,
    with_body_part_spelling,
)
from hoijax.errors import UserError
from hoijax.io.npz import read_regular_file
from hoijax.io.validation import (
    MAX_JSON_BYTES,
    count_of,
    numbered,
    parse_json,
    validation_problems,
)

BODY_PARTS = (
    "left_hand",
    "right_hand",
    "left_arm",
    "right_arm",
    "left_shoulder",
    "right_shoulder",
    "left_leg",
    "right_leg",
    "left_foot",
    "right_foot",
    "head",
    "hips",
)
"""The twelve body parts a graph may name; a body part index anywhere is a position in here."""
HANDS = tuple(BODY_PARTS.index(name) for name in ("left_hand", "right_hand"))
"""Body part indices, left first."""

WHOLE_PART = "surface"
"""The one part of an object whose mesh has no labeled parts: all of it."""

MAX_DESCRIPTION_WORDS = 20
MAX_TEXT_LETTERS = 10_000
MAX_VIDEO_PROMPT_WORDS = 150


def mirrored_body_part(part: str) -> str | None:
    """The same part of the other side of the body; None for the head and the hips."""
    side, _, rest = part.partition("_")
    other = {"left": "right", "right": "left"}.get(side)
    return f"{other}_{rest}" if other else None


def _at_most_words(limit: int) -> AfterValidator:
    def check(text: str) -> str:
        count = len(text.split())
        if count > limit:
            raise ValueError(f"has {count} words; at most {limit}")
        return text

    return AfterValidator(check)


def _list_to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# No control characters and no slashes: names end up in messages and in file names.
_Name = Annotated[
    str,
    StringConstraints(
        strict=True,
        strip_whitespace=True,
        min_length=1,
        max_length=80,
        pattern=r"^[^\x00-\x1f/\\]+$",
    ),
]
_Description = Annotated[
    str, Field(strict=True, max_length=MAX_TEXT_LETTERS), _at_most_words(MAX_DESCRIPTION_WORDS)
]
_VideoPrompt = Annotated[
    str, Field(strict=True, max_length=MAX_TEXT_LETTERS), _at_most_words(MAX_VIDEO_PROMPT_WORDS)
]


class _Frozen(pydantic.BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AffordanceObject(_Frozen):
    """One object node."""

    name: _Name
    """Unique in the graph, and the name of its asset."""
    parts: Annotated[tuple[_Name, ...], BeforeValidator(_list_to_tuple), Field(min_length=1)]
    """The part names that edges may use; each must be a part of the asset."""
    is_translational: StrictBool
    """a_tau: the object's position changes during the interaction."""
    is_rotational: StrictBool
    """a_r: the object's orientation changes during the interaction."""
    description: _Description = ""
    """At most 20 words, for open-vocabulary detection."""


class AffordancePerson(_Frozen):
    """One person node; it has all of `BODY_PARTS`."""

    name: _Name
    description: _Description = ""


class PartReference(_Frozen):
    """One end of an edge: a part of a named object or person."""

    entity: _Name
    part: _Name


class AffordanceEdge(_Frozen):
    """A contact: an object part with a body part, or with another object's part, in either order."""

    first: PartReference
    second: PartReference
    is_continuous: StrictBool
    """a_c: the two are in contact throughout."""
    is_rel_static: StrictBool
    """a_s: the two do not move against each other while they touch."""


class PartAffordanceGraph(_Frozen):
    """The whole graph. Build one with `from_json` to get every problem as one `UserError`."""

    objects: Annotated[
        tuple[AffordanceObject, ...], BeforeValidator(_list_to_tuple), Field(min_length=1)
    ]
    people: Annotated[
        tuple[AffordancePerson, ...], BeforeValidator(_list_to_tuple), Field(min_length=1)
    ]
    edges: Annotated[
        tuple[AffordanceEdge, ...], BeforeValidator(_list_to_tuple), Field(min_length=1)
    ]
    video_prompt: _VideoPrompt = ""
    """At most 150 words; the text the video model is given."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _spell_body_parts(cls, data: Any) -> Any:
        return with_body_part_spelling(data)

    @pydantic.model_validator(mode="after")
    def _names_agree(self) -> "PartAffordanceGraph":
        problems = reference_problems(self.model_dump(mode="json"), BODY_PARTS)
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @classmethod
    def from_json(cls, source: str | Path) -> "PartAffordanceGraph":
        """Parse JSON text (a str is always text, never a path) or a JSON file (a Path).

        Raises UserError listing every problem with its place, the remedy and the known names.
        """
        where = f"{source}" if isinstance(source, Path) else "the part affordance graph"
        text = _read_text(source) if isinstance(source, Path) else source
        try:
            data = parse_json(text)
        except ValueError as error:
            raise UserError(
                f"{where} is not JSON: {error}. Give one JSON object with the keys "
                f"{', '.join(cls.model_fields)}; docs/bundle.md shows an example."
            ) from None
        problems = graph_problems(data)
        if problems:
            raise UserError(f"{where} has {count_of(problems)}:\n{numbered(problems)}")
        return cls.model_validate(data)

    def to_json(self) -> str:
        """The graph as indented JSON text; `from_json` reads it back equal."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    def check_against(self, part_names: Mapping[str, Sequence[str]]) -> list[str]:
        """Problems of this graph with the parts that the loaded assets really have.

        part_names: for every asset, by name, its part names. Empty list: they agree.
        """
        problems = []
        for i, node in enumerate(self.objects):
            place = f"objects[{i}]"
            if node.name not in part_names:
                problems.append(f"{place}.name: {unknown_name(node.name, 'object', part_names)}")
                continue
            known = part_names[node.name] or (WHOLE_PART,)
            problems += [
                f"{place}.parts[{j}]: {unknown_name(part, f'part of {node.name!r}', known)}"
                for j, part in enumerate(node.parts)
                if part not in known
            ]
        named = {node.name for node in self.objects}
        problems += [
            f"objects: {name!r} is loaded but not in the graph; add it to objects, or leave its "
            "mesh away"
            for name in part_names
            if name not in named
        ]
        return problems


def graph_problems(data: Any) -> list[str]:
    """Every problem of a parsed JSON value as a graph: of form, and of names that do not agree."""
    # The model checks names only once the form is right; here they are reported together.
    return validation_problems(PartAffordanceGraph, data) + reference_problems(
        with_body_part_spelling(data), BODY_PARTS
    )


def _read_text(path: Path) -> str:
    try:
        return read_regular_file(path, MAX_JSON_BYTES).decode("utf-8")
    except OSError as error:
        raise UserError(
            f"cannot read the part affordance graph {path}: {error.strerror or error}. "
            "Give the path of a JSON file with --pag."
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not JSON: not UTF-8 text ({error.reason}).") from None
