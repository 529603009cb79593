"""hoijax: zero-shot 4D human-object interaction.

`hoijax.generate(text, objects, out)` and `hoijax.solve(bundle)` are the two calls that matter; each
command of the `hoijax` program is one of the functions below. Names load on first use, so that
`import hoijax` is quick and starts no device.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hoijax.api.observe import load_objects, observe
    from hoijax.api.solve import evaluate, export, generate, solve
    from hoijax.bundle.write import Bundle, check_bundle, read_bundle, write_bundle
    from hoijax.errors import UserError
    from hoijax.losses.term import LossTerm
    from hoijax.results.result import Result, load_result, save_result
    from hoijax.scene.posed import PosedScene

_HOME = {
    "Bundle": "hoijax.bundle.write",
    "LossTerm": "hoijax.losses.term",
    "PosedScene": "hoijax.scene.posed",
    "Result": "hoijax.results.result",
    "UserError": "hoijax.errors",
    "check_bundle": "hoijax.bundle.write",
    "evaluate": "hoijax.api.solve",
    "export": "hoijax.api.solve",
    "generate": "hoijax.api.solve",
    "load_objects": "hoijax.api.observe",
    "load_result": "hoijax.results.result",
    "observe": "hoijax.api.observe",
    "read_bundle": "hoijax.bundle.write",
    "save_result": "hoijax.results.result",
    "solve": "hoijax.api.solve",
    "write_bundle": "hoijax.bundle.write",
}

__all__ = [
    "Bundle",
    "LossTerm",
    "PosedScene",
    "Result",
    "UserError",
    "check_bundle",
    "evaluate",
    "export",
    "generate",
    "load_objects",
    "load_result",
    "observe",
    "read_bundle",
    "save_result",
    "solve",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hoijax' has no attribute {name!r}")
    home = import_module(_HOME[name])
    value = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
