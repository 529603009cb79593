"""Who may import whom (shared design, 'Layout'), and what `import hoijax` may cost."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Layer of every module or package of hoijax, from below upwards; see `may_import` for the rule.
# A package stands for everything in it, unless one of its modules has a line of its own.
LAYERS = {
    # below A: the error every room raises, and how files and schemas are read
    "hoijax.errors": "base",
    "hoijax.schema_errors": "base",
    "hoijax.checkpoints": "base",
    "hoijax.claims": "base",
    "hoijax.manifest": "base",
    "hoijax.npz": "base",
    "hoijax.output_folder": "base",
    "hoijax.preemption": "base",
    "hoijax.progress": "base",
    "hoijax.working": "base",
    # A: mathematics and schemas
    "hoijax.affordance": "A",
    "hoijax.config": "A",
    "hoijax.frames": "A",
    "hoijax.losses.lookup": "A",  # bilinear look-up in an image; staging packs images for it
    "hoijax.nearest": "A",
    "hoijax.numerics": "A",
    "hoijax.rigid": "A",
    "hoijax.rotations": "A",
    # B: bodies, objects, cameras, observations, bundles
    "hoijax.bodies": "B",
    "hoijax.bundle": "B",
    "hoijax.bundle_files": "B",
    "hoijax.bundle_format": "B",
    "hoijax.bundle_reading": "B",
    "hoijax.camera": "B",
    "hoijax.camera_motion": "B",
    "hoijax.compose_config": "B",  # builds on the settings of hoijax.fields
    "hoijax.contact_table": "B",
    "hoijax.fields": "B",
    "hoijax.mesh_renderer": "B",
    "hoijax.objects": "B",
    "hoijax.observations": "B",
    "hoijax.rendering": "B",
    "hoijax.shading": "B",
    # C: the scene
    "hoijax.anchor_config": "B",  # builds on hoijax.config
    "hoijax.anchor_frames": "C",
    "hoijax.anchor_people": "C",
    "hoijax.anchor_scene": "C",
    "hoijax.anchor_staging": "C",
    "hoijax.curvature": "C",
    "hoijax.object_joints": "C",
    "hoijax.result": "C",
    "hoijax.scene": "C",
    "hoijax.staging": "C",
    # D: losses, solver, methods, metrics
    "hoijax.evaluation": "D",
    "hoijax.losses": "D",
    "hoijax.methods": "D",
    "hoijax.metrics": "D",
    "hoijax.solver": "D",
    # E: what faces the user
    "hoijax": "E",  # the names users import, found lazily
    "hoijax.ablation": "E",
    "hoijax.anchor_pipeline": "E",
    "hoijax.batch_scenes": "E",
    "hoijax.cli": "E",
    "hoijax.compose_metrics": "E",
    "hoijax.compose_output": "E",
    "hoijax.compose_pipeline": "E",
    "hoijax.distributed": "E",
    "hoijax.doctor": "E",
    "hoijax.export": "E",
    "hoijax.importers": "E",
    "hoijax.commands": "E",
    "hoijax.console": "E",
    "hoijax.many_scenes": "E",
    "hoijax.memory": "E",
    "hoijax.tracking": "E",
    "hoijax.observing": "E",
    "hoijax.pipeline": "E",
    "hoijax.ray_scenes": "E",
    "hoijax.solve_checkpoints": "E",
    "hoijax.prior_flags": "E",
    "hoijax.remote": "E",
    "hoijax.runtime": "E",
    "hoijax.designs": "E",
    "hoijax.sweep": "E",
    "hoijax.sweep_blocks": "E",
    "hoijax.sweep_page": "E",
    "hoijax.sweep_tables": "E",
    "hoijax.viewer": "E",
    "hoijax.workers": "E",
}
ORDER = ["base", "A", "B", "C", "D", "E"]
# The one module of A that others of A build on: without it they would repeat its primitives.
GROUND_OF_A = "hoijax.numerics"
# Rooms of layer D know each other in one direction only.
ROOMS_OF_D = ["losses", "solver", "methods", "evaluation"]
TORCH = {"torch", "torchvision", "transformers", "diffusers", "accelerate"}


def modules_under(package: str) -> dict[str, Path]:
    """Dotted name -> file, of a package folder at the root of the repository."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


HOIJAX, PRIORS = modules_under("hoijax"), modules_under("priors")


def imports_of(path: Path, name: str, known: dict[str, Path]) -> list[tuple[int, str, bool]]:
    """(line, imported module, lazily?) of every import; `from package import module` names the module."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []

    def walk(node: ast.AST, lazy: bool) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return  # never runs
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, base] if base else up)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.append((node.lineno, inner if inner in known else base, lazy))
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            walk(child, lazy)

    walk(ast.parse(path.read_text()), False)
    return found


def entry_of(module: str) -> str | None:
    """The line of LAYERS that a module falls under: its own, or its nearest package's."""
    while module not in LAYERS:
        module = module.rpartition(".")[0]
        if module in ("", "hoijax"):
            return None  # a new module at the top level needs a line of its own
    return module


def layer_of(module: str) -> str:
    entry = entry_of(module)
    assert entry is not None, unknown_message(module)
    return LAYERS[entry]


def unknown_message(module: str) -> str:
    return (
        f"{module} has no layer. Add it to LAYERS in tests/test_layers.py: the lowest layer that "
        "still lies above everything it imports (see docs/architecture.md)."
    )


def may_import(importer: str, imported: str) -> bool:
    """Lower layers; within B, C and E each other; in D losses < solver < methods; in A only numerics."""
    mine, theirs = layer_of(importer), layer_of(imported)
    if mine != theirs:
        return ORDER.index(theirs) < ORDER.index(mine)
    if mine == "A":
        return imported == GROUND_OF_A
    if mine == "D":
        here, there = importer.split(".")[1], imported.split(".")[1]
        ranked = here in ROOMS_OF_D and there in ROOMS_OF_D
        return (
            here == there
            or there == "metrics"
            or (ranked and ROOMS_OF_D.index(there) < ROOMS_OF_D.index(here))
        )
    return True


@pytest.mark.parametrize("module", HOIJAX)
def test_every_module_has_a_layer(module):
    assert entry_of(module) is not None, unknown_message(module)


def test_the_table_names_nothing_that_is_gone():
    planned = {"hoijax.viewer"}
    assert set(LAYERS) - set(HOIJAX) <= planned


def test_imports_go_one_way():
    broken = [
        f"{path.relative_to(ROOT)}:{line}: {name} ({layer_of(name)}) imports {imported} "
        f"({layer_of(imported)})"
        for name, path in HOIJAX.items()
        for line, imported, _ in imports_of(path, name, HOIJAX)
        if imported.split(".")[0] == "hoijax" and not may_import(name, imported)
    ]
    assert not broken, "imports against the layers:\n" + "\n".join(broken)


def test_losses_do_not_know_each_other():
    """A loss reads the posed scene; what losses share lives in `term` and in small helpers."""
    shared = {"hoijax.losses.term", "hoijax.losses.lookup"}
    broken = [
        f"{name}:{line} imports {imported}"
        for name, path in HOIJAX.items()
        if name.startswith("hoijax.losses.")
        for line, imported, _ in imports_of(path, name, HOIJAX)
        if imported.startswith("hoijax.losses.") and imported not in shared
    ]
    assert not broken, "\n".join(broken)


PIPELINES = {"hoijax.observing", "hoijax.compose_pipeline"}


def test_only_the_pipelines_import_priors_and_lazily():
    broken = [
        f"{name}:{line} imports {imported}"
        for name, path in HOIJAX.items()
        for line, imported, lazy in imports_of(path, name, HOIJAX)
        if imported.split(".")[0] == "priors" and not (lazy and name in PIPELINES)
    ]
    assert not broken, "\n".join(broken)


def test_priors_import_hoijax_only_up_to_c():
    broken = [
        f"{path.relative_to(ROOT)}:{line}: imports {imported} ({layer_of(imported)})"
        for name, path in PRIORS.items()
        for line, imported, _ in imports_of(path, name, HOIJAX | PRIORS)
        if imported.startswith("hoijax.") and ORDER.index(layer_of(imported)) > ORDER.index("C")
    ]
    assert not broken, "\n".join(broken)


def test_no_torch_in_hoijax():
    broken = [
        f"{name}:{line} imports {imported}"
        for name, path in HOIJAX.items()
        for line, imported, _ in imports_of(path, name, HOIJAX)
        if imported.split(".")[0] in TORCH
    ]
    assert not broken, "\n".join(broken)


def test_new_modules_are_refused_until_they_have_a_layer():
    assert entry_of("hoijax.losses.keypoints") == "hoijax.losses"
    assert entry_of("hoijax.brand.new") is None
    with pytest.raises(AssertionError, match=r"tests/test_layers\.py"):
        layer_of("hoijax.brand_new")


def test_the_rule_can_fail():
    assert not may_import("hoijax.scene", "hoijax.losses.fit")
    assert not may_import("hoijax.losses.fit", "hoijax.solver.optimise")
    assert not may_import("hoijax.rotations", "hoijax.camera")
    assert not may_import("hoijax.rotations", "hoijax.frames")
    assert may_import("hoijax.methods.hoi_page", "hoijax.losses.fit")


def import_report(module: str) -> dict:
    """What a fresh interpreter holds after `import module`."""
    program = f"""
import json, sys
import {module}
bridge = sys.modules.get("jax._src.xla_bridge")
print(json.dumps({{
    "modules": sorted({{name.partition(".")[0] for name in sys.modules}}),
    "backends": sorted(bridge._backends) if bridge else [],
}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return json.loads(done.stdout.splitlines()[-1])


HEAVY = {"viser", "OpenGL", "pyrender", "trimesh", "igl", "embreex", "imageio_ffmpeg", *TORCH}


@pytest.mark.parametrize("module", ["hoijax", "hoijax.cli", "hoijax.methods.hoi_page"])
def test_import_is_light_and_starts_no_device(module):
    report = import_report(module)
    assert not HEAVY & set(report["modules"])
    assert "priors" not in report["modules"]
    assert report["backends"] == []
