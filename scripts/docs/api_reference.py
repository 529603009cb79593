"""Write docs/api.md from the docstrings of what users import.

    python -m scripts.docs.api_reference

Reads the source without importing it. `tests/test_docs.py` fails when a public name is missing on the page or
one is there that is gone; run this then.
"""

import ast
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "api.md"
SECTIONS = {
    "What commands do": (
        "api.solve",
        "api.observe",
        "api.compose",
        "api.protocols",
        "api.physics",
        "experiments.ablation",
        "experiments.sweep",
        "jobs.scenes",
        "cli.doctor",
    ),
    "Bundles and results": (
        "bundle.write",
        "bundle.read",
        "bundle.observations",
        "results.result",
        "affordance.graph",
        "errors",
    ),
    "Bodies": ("bodies", "bodies.skinned_body", "bodies.anny", "bodies.smplx", "bodies.parts"),
    "Objects": ("objects.asset", "objects.procedural", "objects.distance_grid", "objects.symmetry"),
    "Exporting and importing": (
        "exporters.formats",
        "exporters.clip",
        "exporters.resample",
        "exporters.amass",
        "exporters.bvh",
        "exporters.gltf",
        "exporters.usd",
        "exporters.mujoco",
        "exporters.intermimic",
        "exporters.omomo",
        "exporters.interact",
        "exporters.video",
        "importers.files",
        "importers.motion",
        "importers.mesh_motions",
    ),
    "Scene, losses, solver": (
        "settings",
        "scene.objects",
        "losses.term",
        "methods.hoi_page.method",
        "methods.hoi_page.windows",
        "methods.hoi_page.long_clips",
        "methods.memory",
        "solver.adam",
        "solver.levenberg_marquardt",
        "solver.per_frame",
    ),
    "Measuring": ("results.evaluation", "results.metrics"),
    "Transforms": (
        "geometry.transforms",
        "geometry.point_transforms",
        "geometry.rotations",
        "geometry.camera",
    ),
    "Viewer": ("viewer",),
}
HEAD = """# API reference

Written from the docstrings by `python -m scripts.docs.api_reference`. Names on the first level of `hoijax` (`hoijax.solve`, `hoijax.generate`, `hoijax.load_result` ...) load on first use. Shapes are written as in the code: `Float[ndarray, "T 4 4"]`.
"""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def source_of(module: str) -> Path:
    """The file of `hoijax.MODULE`."""
    base = ROOT / "hoijax" / Path(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def public(body: list[ast.stmt]) -> list[Function | ast.ClassDef]:
    """Documented classes and functions whose names have no underscore in front."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    nodes = [node for node in body if isinstance(node, kinds) and not node.name.startswith("_")]
    return [node for node in nodes if ast.get_docstring(node)]


def signature(node: Function, method: bool) -> str:
    """`name(arguments) -> result`, with annotations as in the source."""
    arguments = ast.parse(f"def f({ast.unparse(node.args)}): ...").body[0]
    assert isinstance(arguments, ast.FunctionDef)
    every = arguments.args
    if method and every.args and every.args[0].arg in ("self", "cls"):
        every.args.pop(0)
    result = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
    line = f"{node.name}({ast.unparse(every)}){result}"
    if len(line) <= 96:
        return line
    inside = textwrap.fill(ast.unparse(every), 92, initial_indent="    ", subsequent_indent="    ")
    return f"{node.name}(\n{inside}\n){result}"


def fields(node: ast.ClassDef) -> list[str]:
    """Lines of the annotated fields of a class, with the docstrings below them."""
    lines = []
    for item, below in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        if item.target.id.startswith("_"):
            continue
        value = f" = {ast.unparse(item.value)}" if item.value is not None else ""
        said = ""
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            said = ": " + " ".join(str(below.value.value).split())
        lines.append(f"- `{item.target.id}: {ast.unparse(item.annotation)}{value}`{said}")
    return lines


def prose(text: str) -> str:
    """A docstring as Markdown: backslashes and angle brackets as they are, lines joined."""
    paragraphs = re.split(r"\n\s*\n", textwrap.dedent(text).strip())
    return "\n\n".join(
        p if p.startswith("    ") else " ".join(line.strip() for line in p.splitlines())
        for p in paragraphs
    ).replace("<", "&lt;")


def entry(module: str, node: Function | ast.ClassDef) -> list[str]:
    """Heading, signature, docstring, fields and methods of one name."""
    lines = [f"#### `{module}.{node.name}`", ""]
    if not isinstance(node, ast.ClassDef):
        lines += ["```python", signature(node, False), "```", ""]
    lines += [prose(ast.get_docstring(node) or ""), ""]
    if isinstance(node, ast.ClassDef):
        if found := fields(node):
            lines += [*found, ""]
        for method in public(node.body):
            if isinstance(method, ast.ClassDef):
                continue
            lines += (
                [f"**`.{signature(method, True)}`**", ""]
                if "\n" not in signature(method, True)
                else ["```python", f".{signature(method, True)}", "```", ""]
            )
            lines += [prose(ast.get_docstring(method) or ""), ""]
    return lines


def names() -> set[str]:
    """Every `module.name` that the page must have."""
    return {
        f"hoijax.{module}.{node.name}"
        for modules in SECTIONS.values()
        for module in modules
        for node in public(ast.parse(source_of(module).read_text()).body)
    }


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for title, modules in SECTIONS.items():
        lines += [f"## {title}", ""]
        for module in modules:
            tree = ast.parse(source_of(module).read_text())
            found = public(tree.body)
            if not found:
                continue
            link = source_of(module).relative_to(ROOT)
            lines += [f"### [`hoijax.{module}`](../{link})", ""]
            lines += [prose(ast.get_docstring(tree) or ""), ""]
            for node in found:
                lines += entry(f"hoijax.{module}", node)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
