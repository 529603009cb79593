"""A folder imports only folders with lower numbers; and what `import hoijax` may cost."""

import ast
import json
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Folders (and the modules that lie beside them) by level: each imports only those with lower numbers.
LEVELS = {
    "hoijax": {
        "errors": 0,
        "progress": 0,
        "programs": 0,
        "geometry": 1,
        "settings": 2,
        "runtime": 2,
        "io": 2,
        "work": 3,
        "candidates": 3,
        "objects": 3,
        "rendering": 3,
        "affordance": 3,
        "bodies": 4,
        "bundle": 5,
        "results": 6,
        "scene": 6,
        "losses": 7,
        "physics": 7,
        "exporters": 7,
        "importers": 8,
        "solver": 8,
        "composition": 9,
        "initialization": 9,
        "methods": 10,
        "api": 11,
        "jobs": 12,
        "experiments": 12,
        "viewer": 12,
        "cli": 13,
    },
    "priors": {
        "protocols": 0,
        "masks": 0,
        "settings": 1,
        "store": 1,
        "language": 2,
        "choreography": 3,
        "synthetic": 4,
        "models": 5,
        "observe": 6,
    },
}
PRIORS_MAY_IMPORT = 6
"""Highest level of hoijax that priors build on; beside it the contract of score distillation."""
FILES_OF_OTHERS = "hoijax.importers"
"""Readers of what users bring, which stand in for priors."""
CONTRACT_OF_GUIDANCE = "hoijax.composition.fields"
JOINS_PRIORS = "hoijax.api"
TORCH = {"torch", "torchvision", "transformers", "diffusers", "accelerate"}


def modules_under(package: str) -> dict[str, Path]:
    """Dotted name -> file, of a package folder at the root of the repository."""
    modules = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


MODULES = modules_under("hoijax") | modules_under("priors")


@cache
def imports_of(name: str) -> list[tuple[int, str, bool]]:
    """(line, imported module, lazily?) of every import; `from package import module` names the module."""
    imports = []

    def walk(node: ast.AST, lazy: bool) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return  # never runs
        if isinstance(node, ast.Import):
            imports.extend((node.lineno, alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                imports.append((node.lineno, inner if inner in MODULES else node.module, lazy))
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            walk(child, lazy)

    walk(ast.parse(MODULES[name].read_text()), False)
    return imports


def folder_of(module: str) -> tuple[str, str]:
    """(package, folder or module right below it); "" for the package itself."""
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0]


def level_of(module: str) -> int:
    package, folder = folder_of(module)
    if not folder:
        return 99  # the package itself: names users import, found lazily
    assert folder in LEVELS[package], (
        f"{package}/{folder} has no level. Add it to LEVELS in tests/test_layers.py: one above "
        "everything it imports (see docs/architecture.md)."
    )
    return LEVELS[package][folder]


def may_import(importer: str, imported: str) -> bool:
    (package, folder), (other, inner) = folder_of(importer), folder_of(imported)
    if package == other:
        return folder == inner or level_of(imported) < level_of(importer)
    if package == "hoijax":
        return f"{package}.{folder}" == JOINS_PRIORS
    beside = (CONTRACT_OF_GUIDANCE, FILES_OF_OTHERS)
    return level_of(imported) <= PRIORS_MAY_IMPORT or imported.startswith(beside)


def ours(name: str) -> list[tuple[int, str, bool]]:
    return [one for one in imports_of(name) if one[1].partition(".")[0] in LEVELS]


@pytest.mark.parametrize("package", LEVELS)
def test_every_folder_has_a_level_and_every_level_a_folder(package):
    folders = {folder_of(name)[1] for name in MODULES if folder_of(name)[0] == package} - {""}
    assert folders == set(LEVELS[package])


def test_a_folder_imports_only_folders_with_lower_numbers():
    broken = [
        f"{MODULES[name].relative_to(ROOT)}:{line}: imports {imported}"
        for name in MODULES
        for line, imported, _ in ours(name)
        if not may_import(name, imported)
    ]
    assert not broken, "\n".join(broken)


def test_no_module_is_in_a_circle():
    """Imports inside functions count too: a circle that is hidden there is a circle."""
    edges = {name: {imported for _, imported, _ in ours(name)} - {name} for name in MODULES}
    while free := [name for name in edges if not edges[name] & edges.keys()]:
        for name in free:
            del edges[name]
    assert not edges, "modules in circles, or above one: " + ", ".join(sorted(edges))


def test_losses_do_not_know_each_other():
    """A loss reads the posed scene; what losses share lives in `term` and `curvature`. The factories,
    which are users' names for all of them, are no loss."""
    shared = {"hoijax.losses.term", "hoijax.losses.curvature"}
    broken = [
        f"{name}:{line} imports {imported}"
        for name in MODULES
        if name.startswith("hoijax.losses.") and name != "hoijax.losses.factories"
        for line, imported, _ in ours(name)
        if imported.startswith("hoijax.losses.") and imported not in shared
    ]
    assert not broken, "\n".join(broken)


def test_priors_are_joined_lazily():
    broken = [
        f"{name}:{line} imports {imported}"
        for name in MODULES
        if name.startswith("hoijax")
        for line, imported, lazy in ours(name)
        if imported.startswith("priors") and not lazy
    ]
    assert not broken, "\n".join(broken)


def test_a_method_is_known_by_name_only():
    """Solve, batches, sweeps, viewer and command line read the method protocol."""
    broken = [
        f"{name}:{line} imports {imported}"
        for name in MODULES
        if not name.startswith("hoijax.methods")
        for line, imported, _ in ours(name)
        if imported.startswith(("hoijax.methods.hoi_page", "hoijax.methods.anchor_motion"))
    ]
    assert not broken, "\n".join(broken)


def test_no_torch_in_hoijax():
    """But for the one function that reads tensors of a .pt file, where torch is installed."""
    broken = [
        f"{name}:{line} imports {imported}"
        for name in MODULES
        if name.startswith("hoijax")
        for line, imported, lazily in imports_of(name)
        if imported.split(".")[0] in TORCH
        and not (lazily and name == "hoijax.importers.containers")
    ]
    assert not broken, "\n".join(broken)


@cache
def names_in(path: Path) -> set[str]:
    """What a module defines or imports, wherever in it."""
    tree = ast.walk(ast.parse(path.read_text()))
    named = [
        node
        for node in tree
        if isinstance(node, ast.Name | ast.alias | ast.FunctionDef | ast.ClassDef)
    ]
    return {
        node.id if isinstance(node, ast.Name) else getattr(node, "asname", None) or node.name
        for node in named
    }


BLENDER = ("bpy", "mathutils")
"""In no test environment."""


def unresolved(path: Path, modules: dict[str, Path]) -> list[str]:
    """Imports of modules and names that are not there."""
    missing = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            wanted = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            wanted = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for module, name in wanted:
            if module.partition(".")[0] not in ("hoijax", "priors", "scripts"):
                if module not in BLENDER and find_spec(module.partition(".")[0]) is None:
                    missing.append(module)
            elif f"{module}.{name}" in modules or module == "hoijax":
                continue
            elif module not in modules:
                missing.append(module)
            elif name:
                missing += [f"{module}.{name}"] * (name not in names_in(modules[module]))
    return missing


def test_scripts_import_what_is_there(tmp_path):
    """They are run by hand: nothing else notices that a module has moved."""
    modules = MODULES | modules_under("scripts")
    scripts = [path for name, path in modules.items() if name.startswith("scripts")]
    problems = {path.name: missing for path in scripts if (missing := unresolved(path, modules))}
    assert not problems
    broken = tmp_path / "broken.py"
    broken.write_text("import gone\nfrom scripts.benchmarks.quality import COLUMNS, Gone\n")
    assert unresolved(broken, modules) == ["gone", "scripts.benchmarks.quality.Gone"]


def test_the_rule_can_fail():
    assert not may_import("hoijax.scene.objects", "hoijax.losses.fit")
    assert not may_import("hoijax.losses.fit", "hoijax.solver.adam")
    assert not may_import("hoijax.jobs.scenes", "hoijax.experiments.sweep")
    assert not may_import("hoijax.solver.adam", "priors.store")
    assert may_import("hoijax.methods.hoi_page.method", "hoijax.losses.fit")
    with pytest.raises(AssertionError, match=r"tests/test_layers\.py"):
        level_of("hoijax.brand_new.module")


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


@pytest.mark.parametrize("module", ["hoijax", "hoijax.cli.main", "hoijax.methods.hoi_page.method"])
def test_import_is_light_and_starts_no_device(module):
    report = import_report(module)
    assert not HEAVY & set(report["modules"])
    assert "priors" not in report["modules"]
    assert report["backends"] == []
