"""Flags of a command from the settings of all methods: a new method brings its own.

Every setting that is a number, a text, a path or a switch is a flag. A flag that the chosen method does
not know is refused by `Method.settings`, which knows whose it is.
"""

import ast
import dataclasses
import inspect
import textwrap
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from hoijax.methods.base import METHODS, method_named, option_names

FLAG_TYPES: dict[str, Any] = {"int": int, "float": float, "str": str}
OFF = "no_"
"""A switch NAME has two flags, --NAME and --no-NAME: neither leaves what the preset says."""


@dataclass(frozen=True)
class Flag:
    """A setting of one or more methods."""

    name: str
    kind: str
    """"int", "float", "str" or "bool"."""
    help: str


def setting_docs(kind: type) -> dict[str, str]:
    """The text below each field of a dataclass and of those that it extends."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                docs[field.target.id] = " ".join(str(text.value.value).split())
    return docs


def flags_of_methods() -> dict[str, Flag]:
    """Every flag by its name, told of in the words of the first method that has it."""
    flags: dict[str, Flag] = {}
    owners: dict[str, list[str]] = {}
    for method in METHODS:
        settings = method_named(method).presets["default"]
        docs = setting_docs(type(settings))
        kinds = {
            field.name: str(getattr(field.type, "__name__", field.type))
            for field in dataclasses.fields(settings)
        }
        for name in option_names(settings):
            kind = kinds[name].removesuffix(" | None")
            if kind in (*FLAG_TYPES, "bool"):
                owners.setdefault(name, []).append(method)
                flags.setdefault(name, Flag(name, kind, docs.get(name, "")))
    for name, methods in owners.items():
        if len(methods) < len(METHODS):
            told = f"{' and '.join(methods)}: {flags[name].help}"
            flags[name] = dataclasses.replace(flags[name], help=told)
    return flags


def with_method_flags(command: type) -> type:
    """The command with the flags of all methods; `options_of_flags` reads them."""
    fields: list[tuple[str, Any, Any]] = []
    for flag in flags_of_methods().values():
        if flag.kind == "bool":
            for name, text in ((flag.name, flag.help), (OFF + flag.name, "The opposite.")):
                switch = Annotated[bool, tyro.conf.arg(help=text), tyro.conf.FlagCreatePairsOff]
                fields.append((name, switch, dataclasses.field(default=False)))
        else:
            kind = FLAG_TYPES[flag.kind] | None
            given = Annotated[kind, tyro.conf.arg(help=flag.help)]
            fields.append((flag.name, given, dataclasses.field(default=None)))
    there = {field.name for field in dataclasses.fields(command)}
    made = dataclasses.make_dataclass(
        command.__name__,
        [field for field in fields if field[0] not in there],
        bases=(command,),
        frozen=True,
        kw_only=True,
    )
    made.__doc__ = command.__doc__
    return made


def options_of_flags(command: Any) -> dict[str, Any]:
    """The settings that were given as flags, by name."""
    options: dict[str, Any] = {}
    for flag in flags_of_methods().values():
        value = getattr(command, flag.name, None)
        if flag.kind == "bool":
            value = True if value else False if getattr(command, OFF + flag.name, False) else None
        if value is not None:
            options[flag.name] = value
    return options
