"""hoijax: zero-shot 4D human-object interaction.

`hoijax.generate(text, objects, out)` and `hoijax.solve(bundle)` are the two calls that matter; each
command of the `hoijax` program is one of the functions below. Names load on first use, so that
`import hoijax` is quick and starts no device.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hoijax.bundle import Bundle, check_bundle, read_bundle, write_bundle
    from hoijax.errors import UserError
    from hoijax.losses.term import LossTerm
    from hoijax.observing import load_objects, observe
    from hoijax.pipeline import evaluate, export, generate, solve
    from hoijax.result import Result, load_result, save_result
    from hoijax.scene import PosedScene

_HOME = {
    "Bundle": "hoijax.bundle",
    "LossTerm": "hoijax.losses.term",
    "PosedScene": "hoijax.scene",
    "Result": "hoijax.result",
    "UserError": "hoijax.errors",
    "check_bundle": "hoijax.bundle",
    "evaluate": "hoijax.pipeline",
    "export": "hoijax.export",
    "generate": "hoijax.pipeline",
    "load_objects": "hoijax.observing",
    "load_result": "hoijax.result",
    "observe": "hoijax.observing",
    "read_bundle": "hoijax.bundle",
    "save_result": "hoijax.result",
    "solve": "hoijax.pipeline",
    "write_bundle": "hoijax.bundle",
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
    # The package of exporters is what `hoijax.export` is after its import: it can be called itself.
    value = home if home.__name__ == f"hoijax.{name}" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
