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
    "Whole runs": ("generate", "observe", "solve", "evaluate", "export", "load_objects"),
    "Bundles and results": (
        "Bundle",
        "read_bundle",
        "write_bundle",
        "check_bundle",
        "Result",
        "load_result",
        "save_result",
        "UserError",
    ),
    "The parts": (
        "load_body",
        "pose_body",
        "load_object",
        "Contact",
        "Scene",
        "Unknowns",
        "search_starts",
        "total_loss",
        "minimize",
        "LevenbergMarquardt",
        "Adam",
        "Solution",
        "view",
    ),
    "Losses": ("losses", "LossTerm", "PosedScene"),
}
"""Every name of `hoijax.__all__`, in the order in which a reader wants them."""
HEAD = """# API reference

Written from the docstrings by `python -m scripts.docs.api_reference`. These names are the public API; everything else is internal and may change. They load on first use. Shapes are written as in the code: `Float[ndarray, "T 4 4"]`.
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
        described = ""
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            described = ": " + " ".join(str(below.value.value).split())
        lines.append(f"- `{item.target.id}: {ast.unparse(item.annotation)}{value}`{described}")
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
        if listed := fields(node):
            lines += [*listed, ""]
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


def homes() -> dict[str, str]:
    """Module of every public name, from `hoijax/__init__.py`."""
    tree = ast.parse((ROOT / "hoijax" / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOME":
            return {**ast.literal_eval(node.value), "losses": "hoijax.losses"}
    raise ValueError("hoijax/__init__.py has no _HOME")


def definition(module: str, name: str) -> tuple[str, Function | ast.ClassDef]:
    """(module, definition) of a name, followed through re-exports."""
    for node in ast.parse(source_of(module).read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name and node.module.startswith("hoijax."):
                    return definition(node.module.removeprefix("hoijax."), alias.name)
    raise ValueError(f"{module} defines no {name}")


def names() -> set[str]:
    """Every `hoijax.name` that the page must have."""
    return {f"hoijax.{name}" for name in homes()}


def loss_names() -> str:
    """All factories of `hoijax.losses`, in one line."""
    for node in ast.parse(source_of("losses").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ", ".join(f"`{name}`" for name in ast.literal_eval(node.value))
    raise ValueError("hoijax/losses/__init__.py has no __all__")


def page() -> str:
    """The whole page."""
    lines, home = [HEAD], homes()
    for title, chosen in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name in chosen:
            module = home[name].removeprefix("hoijax.")
            if name == "losses":
                calls = "`hoijax.losses.NAME(weight)` is a `LossTerm`; weight: a number or (start, end)."
                lines += ["#### `hoijax.losses`", "", calls, "", f"{loss_names()}.", ""]
                continue
            lines += entry("hoijax", definition(module, name)[1])
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
