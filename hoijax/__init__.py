"""hoijax: zero-shot 4D human-object interaction.

`hoijax.generate(text, objects, out)` and `hoijax.solve(bundle)` go through all stages, as the commands
of the `hoijax` program do; `Scene`, `losses`, `total_loss` and `minimize` are the parts (docs/python.md).
Names load on first use, so that `import hoijax` is quick and starts no device.
"""

from importlib import import_module

TYPE_CHECKING = False  # of typing, whose import is half of that of this package

if TYPE_CHECKING:
    from hoijax import losses
    from hoijax.affordance.contacts import Contact
    from hoijax.api.functional import load_object, minimize, search_starts, total_loss
    from hoijax.api.observe import observe
    from hoijax.api.result_folder import evaluate, export
    from hoijax.api.solve import generate, solve
    from hoijax.bodies import load_body
    from hoijax.bodies.posed_person import pose_body
    from hoijax.bundle.write import Bundle, check_bundle, read_bundle, write_bundle
    from hoijax.errors import UserError
    from hoijax.losses.term import LossTerm
    from hoijax.objects.specs import load_objects
    from hoijax.results.result import Result, load_result, save_result
    from hoijax.scene.posed import PosedScene
    from hoijax.scene.scene import Scene, Unknowns
    from hoijax.solver.adam import Adam
    from hoijax.solver.levenberg_marquardt import LevenbergMarquardt
    from hoijax.solver.problem import Solution
    from hoijax.viewer.points import view

_HOME = {
    "Adam": "hoijax.solver.adam",
    "Bundle": "hoijax.bundle.write",
    "Contact": "hoijax.affordance.contacts",
    "LevenbergMarquardt": "hoijax.solver.levenberg_marquardt",
    "LossTerm": "hoijax.losses.term",
    "PosedScene": "hoijax.scene.posed",
    "Result": "hoijax.results.result",
    "Scene": "hoijax.scene.scene",
    "Solution": "hoijax.solver.problem",
    "Unknowns": "hoijax.scene.scene",
    "UserError": "hoijax.errors",
    "check_bundle": "hoijax.bundle.write",
    "evaluate": "hoijax.api.result_folder",
    "export": "hoijax.api.result_folder",
    "generate": "hoijax.api.solve",
    "load_body": "hoijax.bodies",
    "load_object": "hoijax.api.functional",
    "load_objects": "hoijax.objects.specs",
    "load_result": "hoijax.results.result",
    "minimize": "hoijax.api.functional",
    "observe": "hoijax.api.observe",
    "pose_body": "hoijax.bodies.posed_person",
    "read_bundle": "hoijax.bundle.write",
    "save_result": "hoijax.results.result",
    "search_starts": "hoijax.api.functional",
    "solve": "hoijax.api.solve",
    "total_loss": "hoijax.api.functional",
    "view": "hoijax.viewer.points",
    "write_bundle": "hoijax.bundle.write",
}

__all__ = [
    "Adam",
    "Bundle",
    "Contact",
    "LevenbergMarquardt",
    "LossTerm",
    "PosedScene",
    "Result",
    "Scene",
    "Solution",
    "Unknowns",
    "UserError",
    "check_bundle",
    "evaluate",
    "export",
    "generate",
    "load_body",
    "load_object",
    "load_objects",
    "load_result",
    "losses",
    "minimize",
    "observe",
    "pose_body",
    "read_bundle",
    "save_result",
    "search_starts",
    "solve",
    "total_loss",
    "view",
    "write_bundle",
]


def __getattr__(name: str):
    if name == "losses":
        return import_module("hoijax.losses")
    if name not in _HOME:
        raise AttributeError(f"module 'hoijax' has no attribute {name!r}")
    home = import_module(_HOME[name])
    value = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
