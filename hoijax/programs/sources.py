"""Source code that decides what a program computes: its modules and all that these import, by reading.

Nothing is imported to find out. A module that is imported for its names counts with everything that it
imports, inside functions too. A package on the way to a module (`hoijax.losses` of
`hoijax.losses.term`) runs, but lends no names: its own text counts, what it imports does not; no module
of hoijax acts on another when it is imported, as a test holds. Where reading cannot tell (imports by a
computed name, `import *`, a missing module), all of hoijax counts.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

COMPUTED = {"import_module", "__import__", "exec", "eval"}
"""Names that can import what no statement says."""
STORE = "programs"
"""This package. It finds classes by computed names: those of outputs, which the traced code imports."""


class _Unclear(Exception):
    """Reading does not tell what is imported."""


class Sources:
    """Modules of the package in `home`, by their text. `known` is what an earlier process read."""

    def __init__(self, home: Path, known: Mapping[str, Any] | None = None) -> None:
        self.home, self.package = home, home.name
        self.known = dict(known or {})
        """What `imports_of` says by the digest of a text."""
        self.is_new = False
        """Whether something was read that `known` did not have."""
        self._texts: dict[str, tuple[str, Any]] = {}
        self._digests: dict[frozenset[str], str] = {}

    def digest(self, modules: Iterable[str]) -> str:
        """Digest of what these modules (dotted names) are made of. Data files count with their sizes."""
        key = frozenset(modules)
        if key not in self._digests:
            try:
                names = sorted(self.closure(key))
            except _Unclear:
                names = sorted(self._files)
            lines = [f"{name} {self._text(name)[0]}" for name in names]
            self._digests[key] = _digest("\n".join([*lines, self._data]).encode())
        return self._digests[key]

    def closure(self, modules: Iterable[str]) -> set[str]:
        """The modules whose text counts. Raises _Unclear."""
        counted, followed, todo = set(), set(), list(modules)
        while todo:
            module = todo.pop()
            if module in followed:
                continue
            followed.add(module)
            counted |= set(_prefixes(module))
            if module.split(".")[1:2] == [STORE]:
                counted |= {name for name in self._files if name.split(".")[1:2] == [STORE]}
            else:
                todo += self._imported(module)
        return counted

    def _imported(self, module: str) -> set[str]:
        """Modules that a module takes names from."""
        imports = self._text(module)[1]
        if imports is None:
            raise _Unclear
        wanted: set[str] = set()
        for level, source, names in imports:
            source = self._absolute(module, level, source)
            if source.partition(".")[0] != self.package:
                continue
            if not names:  # `import a.b.c` binds `a`: any of them may be asked for names
                wanted |= set(_prefixes(source))
            submodules = {f"{source}.{name}" for name in names} & self._files.keys()
            wanted |= submodules
            if len(submodules) < len(names):
                wanted.add(source)
        return wanted

    def _absolute(self, module: str, level: int, source: str) -> str:
        if not level:
            return source
        is_package = self._files[module].name == "__init__.py"
        parts = module.split(".")[: None if is_package and level == 1 else is_package - level]
        return ".".join([*parts, source] if source else parts)

    def _text(self, module: str) -> tuple[str, Any]:
        """Digest of a module's text, and its imports. Raises _Unclear where there is no such module."""
        if module not in self._texts:
            if module not in self._files:
                raise _Unclear
            text = self._files[module].read_bytes()
            digest = _digest(text)
            if digest not in self.known:
                self.known[digest], self.is_new = imports_of(text), True
            self._texts[module] = digest, self.known[digest]
        return self._texts[module]

    @cached_property
    def _files(self) -> dict[str, Path]:
        """File of every module of the package by its dotted name."""
        files = {}
        for path in self.home.rglob("*.py"):
            parts = path.relative_to(self.home.parent).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        return files

    @cached_property
    def _data(self) -> str:
        files = sorted((self.home / "data").rglob("*"))
        return json.dumps([[str(f.relative_to(self.home)), f.stat().st_size] for f in files])


def imports_of(text: bytes) -> list[list[Any]] | None:
    """[level, module, names] of every import that can run; None where that cannot be read."""
    imports: list[list[Any]] = []
    todo: list[ast.AST] = [ast.parse(text)]
    while todo:
        node = todo.pop()
        names = [alias.name for alias in getattr(node, "names", ()) if isinstance(alias, ast.alias)]
        named = {getattr(node, "id", None), getattr(node, "attr", None), *names}
        if named & COMPUTED or "*" in names:
            return None
        if isinstance(node, ast.Import):
            imports += [[0, name, []] for name in names]
        elif isinstance(node, ast.ImportFrom):
            imports.append([node.level, node.module or "", names])
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
            todo += node.orelse  # the rest never runs
        else:
            todo += ast.iter_child_nodes(node)
    return imports


def modules_named(described: Any) -> set[str]:
    """Modules of the names "module:name" in a description (`hoijax.programs.names`)."""
    if isinstance(described, str):
        module, colon, _ = described.partition(":")
        return {module} if colon and module.partition(".")[0] == "hoijax" else set()
    if isinstance(described, Mapping):
        return set().union(*map(modules_named, described.values()))
    return (
        set().union(*map(modules_named, described))
        if isinstance(described, list | tuple)
        else set()
    )


def _prefixes(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=16).hexdigest()
