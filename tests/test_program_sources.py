"""Which source code a program is made of: all that runs when it is traced, and little else."""

import ast
import dataclasses

import jax.numpy as jnp
import pytest
from test_batch import TERMS, make_jobs
from traced_modules import HOME, of_each, watched_loads

from hoijax.bodies import load_body
from hoijax.exporters.clip import _shaped
from hoijax.geometry.rotations import rotation_6d_to_matrix
from hoijax.losses.term import default_weights
from hoijax.methods.hoi_page.terms import object_problem
from hoijax.programs import forget_programs, keep_programs
from hoijax.programs.sources import Sources, imports_of, modules_named
from hoijax.programs.store import STORE
from hoijax.solver.adam import Adam
from hoijax.solver.problem import SolverInputs
from hoijax.solver.resumable import optimize

TREE = {
    "__init__": "def __getattr__(name):\n    from importlib import import_module\n",
    "solver": "from tree.losses.term import Term\nfrom tree import names\n",
    "names": "import numpy\n",
    "losses/__init__": "from tree.losses.contact import contact\n",
    "losses/term": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tree.leaf\n",
    "losses/contact": "def contact():\n    from .deep.grid import grid\n",
    "losses/deep/__init__": "",
    "losses/deep/grid": "from ... import names\n",
    "leaf": "from tree.losses import contact\n",
    "asks_the_package": "from tree.losses import loss_of_another_name\n",
    "computed": "import importlib\nnamed = importlib.import_module\n",
    "starred": "from tree.names import *\n",
    "missing": "import tree.gone\n",
    "root": "from tree import anything\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in TREE.items():
        path = tmp_path / "tree" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tree"


ON_THE_WAY = ["__init__", "losses/__init__"]
GRID = [*ON_THE_WAY, "losses/deep/__init__", "losses/deep/grid", "names"]
MADE_OF = {
    "solver": [*ON_THE_WAY, "losses/term", "names"],
    "leaf": [*GRID, "losses/contact"],
    "losses.contact": GRID,
    "asks_the_package": [*GRID, "losses/contact"],
    **{unclear: list(TREE) for unclear in ("computed", "starred", "missing", "root")},
}


@pytest.mark.parametrize("module", MADE_OF)
def test_an_edit_changes_what_imports_it_and_nothing_else(tree, module):
    known: dict = {}

    def digest():
        sources = Sources(tree, known)
        known.update(sources.known)
        return sources.digest([f"tree.{module}"])

    before = digest()
    changed = set()
    for name, text in TREE.items():
        path = tree / f"{name}.py"
        path.write_text(text + "# edited\n")
        if digest() != before:
            changed.add(name)
        path.write_text(text)
        assert digest() == before
    assert changed == {*MADE_OF[module], module.replace(".", "/")}


def test_what_was_read_before_is_not_read_again(tree):
    first = Sources(tree)
    first.digest(["tree.leaf"])
    again = Sources(tree, first.known)
    assert again.digest(["tree.leaf"]) == first.digest(["tree.leaf"])
    assert (first.is_new, again.is_new) == (True, False)


def test_data_files_count(tree):
    before = Sources(tree).digest(["tree.names"])
    (tree / "data").mkdir()
    (tree / "data" / "body.npz").write_bytes(b"1234")
    assert Sources(tree).digest(["tree.names"]) != before


def test_names_in_a_description():
    described = [["hoijax.a:f", 1, None, {"b": "hoijax.b:C"}], "optax.x:Y", "hoijax", "hoijax.c"]
    assert modules_named(described) == {"hoijax.a", "hoijax.b"}


def test_no_module_acts_on_another_when_it_is_imported():
    """Otherwise a package that only lies on the way to a module would change what is computed."""
    acts = []
    for path in HOME.rglob("*.py"):
        body = ast.parse(path.read_text()).body
        own = {node.name for node in body if isinstance(node, ast.FunctionDef)}
        for node in body:
            call = getattr(node, "value", None)
            if isinstance(node, ast.Expr) and isinstance(call, ast.Call):
                # `own.defvjp(...)`, `declare_curvature(own, ...)`
                target = getattr(call.func, "value", None) or next(iter(call.args), None)
                acts += [] if getattr(target, "id", None) in own else [f"{path}:{node.lineno}"]
            elif isinstance(node, ast.For | ast.While | ast.With | ast.Delete | ast.AugAssign) or (
                isinstance(node, ast.Assign) and not all(map(_is_name, node.targets))
            ):
                acts.append(f"{path}:{node.lineno}")
    untraced = ("/cli/", "/viewer/")
    assert [act for act in acts if not any(folder in act for folder in untraced)] == []


def _is_name(target: ast.expr) -> bool:
    return isinstance(target, ast.Name | ast.Tuple | ast.List)


def test_a_package_names_no_value_like_its_module():
    """`from package import name` is read as the module of that name where there is one."""
    for path in HOME.rglob("__init__.py"):
        package = ".".join(path.relative_to(HOME.parent).parts[:-1])
        modules = {child.stem for child in path.parent.iterdir()} - {"__init__", "__pycache__"}
        named = {
            name
            for _, source, names in imports_of(path.read_bytes()) or ()
            for name in names
            if source != package
        }
        assert package == "hoijax.programs" or not modules & named, path


@pytest.fixture
def empty_store(tmp_path):
    before = STORE.folder
    keep_programs(tmp_path)
    forget_programs()
    yield
    keep_programs(before)
    forget_programs()


@pytest.mark.slow
def test_every_module_that_runs_counts(empty_store):
    """Of arrays alone, our classes, static terms whose solver names no loss. Whole solves of each method:
    `test_programs.py`, `test_anchor_motion.py`."""
    with watched_loads() as loads:
        rotation_6d_to_matrix(jnp.ones((5, 6)))
        _shaped(load_body("anny"), jnp.zeros(3), None)
        (job,), terms = make_jobs(1), [term for term in TERMS if term.name == "contact"]
        problem, weights = object_problem(terms), default_weights(terms)
        optimize(Adam(2, 1), SolverInputs(problem, job.scene, job.initial, job.neighbors, weights))
    assert len(loads) >= 3
    for load in of_each(loads):
        assert load.uncounted() == set(), load.program.function
    blind = dataclasses.replace(loads[-1], counted=set())
    assert {"hoijax.losses.contacts", "hoijax.solver.adam"} <= blind.uncounted()
