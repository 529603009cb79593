"""Programs kept between processes: found again without tracing, and only where they are the same."""

import contextlib
import dataclasses
import functools
import json
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_scene import INITS, generated, run
from traced_modules import of_each, watched_loads

from hoijax.bodies import load_body
from hoijax.exporters.clip import _shaped
from hoijax.geometry.rotations import axis_angle_to_matrix, rotation_6d_to_matrix
from hoijax.losses.term import LossTerm
from hoijax.programs import (
    Program,
    ahead,
    forget_programs,
    keep_programs,
    load_for,
    loaded_count,
    loading_ahead,
    store,
)
from hoijax.programs.names import Unkept, describe, describe_outputs, describe_static, outputs_from
from hoijax.programs.sources import Sources
from hoijax.programs.store import STORE


@pytest.fixture
def folder(tmp_path):
    """An empty store of this test's own."""
    before = STORE.folder
    keep_programs(tmp_path)
    forget_programs()
    yield tmp_path
    keep_programs(before)
    forget_programs()


@pytest.fixture
def traced(monkeypatch):
    """Names of the programs that are traced from now on."""
    names, trace = [], Program._traced

    def watched(self, *args):
        names.append(self.function.__name__)
        return trace(self, *args)

    monkeypatch.setattr(Program, "_traced", watched)
    return names


def six(*shape: int):
    return np.random.default_rng(0).normal(size=(*shape, 6)).astype(np.float32)


def test_a_second_process_traces_nothing_and_computes_the_same_bits(folder, traced):
    expected = rotation_6d_to_matrix.jitted(six(5))
    first = rotation_6d_to_matrix(six(5))
    assert traced == ["rotation_6d_to_matrix"]
    forget_programs()
    again = rotation_6d_to_matrix(jnp.asarray(six(5)))
    assert traced == ["rotation_6d_to_matrix"]
    for array in (first, again):
        np.testing.assert_array_equal(array, expected)
        assert (array.dtype, array._committed) == (expected.dtype, expected._committed)
    np.testing.assert_array_equal(jax.jit(rotation_6d_to_matrix)(six(5)), expected)
    np.testing.assert_array_equal(jax.vmap(rotation_6d_to_matrix)(six(5)), expected)
    assert traced == ["rotation_6d_to_matrix"]


def test_pytrees_of_our_classes_come_back_whole(folder, traced):
    body = load_body("anny")
    given = jax.tree.map(jnp.asarray, body), jnp.zeros(3), None
    expected = _shaped.jitted(*given)
    for _ in range(2):
        shaped = _shaped(*given)
        chex.assert_trees_all_close(shaped, expected)
        forget_programs()
    assert traced == ["_shaped"]


def test_other_shapes_types_and_settings_are_other_programs(folder, traced):
    for array in (six(5), six(6), six(2, 5)):
        rotation_6d_to_matrix(array)
    with jax.default_matmul_precision("highest"):
        rotation_6d_to_matrix(six(5))
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", not before)  # other bits, of the same text
    rotation_6d_to_matrix(six(5))
    jax.config.update("jax_disable_most_optimizations", before)
    assert len(traced) == len(list(folder.glob("entries/*"))) == 5
    assert len(list(folder.glob("binaries/*"))) == 5


def test_a_person_has_the_bits_of_the_settings_not_of_what_ran_before(folder, traced):
    """Rest joints of one seed once differed: JAX remembers a function as it was first compiled."""
    body, betas = load_body("anny"), np.linspace(-1.0, 1.0, 10, dtype=np.float32)
    before = jax.config.read("jax_disable_most_optimizations")
    for plain in (before, not before):
        jax.config.update("jax_disable_most_optimizations", plain)
        body.shape(betas)
    jax.config.update("jax_disable_most_optimizations", before)
    assert traced == 4 * ["_moved_along"]  # skin and joints


@pytest.mark.parametrize("which", ["entries/*", "binaries/*"])
def test_a_broken_file_is_made_again(folder, traced, which):
    expected = np.asarray(rotation_6d_to_matrix(six(5)))
    (path,) = folder.glob(which)
    content = path.read_bytes()
    for broken in (content[:-7], content[:20] + b"x" + content[21:], b""):
        path.write_bytes(broken)
        forget_programs()
        np.testing.assert_array_equal(rotation_6d_to_matrix(six(5)), expected)
        forget_programs()
        rotation_6d_to_matrix(six(5))  # reads it
    assert len(traced) == 4


def test_what_the_last_run_of_a_kind_used_is_loaded_before_it_is_asked_for(
    folder, traced, monkeypatch
):
    def run(kind) -> list[str]:
        """As a process does: the binaries that were there when it asked."""
        forget_programs()
        monkeypatch.setattr(ahead, "_PROCESS", ahead._Process())
        with loading_ahead(kind), loading_ahead(["inner", 1]):  # which belongs to it
            for thread in threading.enumerate():
                if thread.name == "programs":
                    thread.join()
            ready = [name for name, coming in STORE.ahead.items() if coming.result() is not None]
            for count in (5, 7):
                rotation_6d_to_matrix(six(count))
        assert STORE.ahead == {}
        return ready

    expected = np.asarray(rotation_6d_to_matrix(six(7)))
    assert run(["solve", 49]) == []
    assert sorted(run(["solve", 49])) == sorted(path.name for path in folder.glob("binaries/*"))
    assert run(["solve", 50]) == []
    assert len(traced) == 2
    next(folder.glob("binaries/*")).write_bytes(b"broken")
    assert len(run(["solve", 49])) == 1  # and the other is made again
    np.testing.assert_array_equal(rotation_6d_to_matrix(six(7)), expected)


def test_the_last_run_of_a_command_is_loaded_before_its_kind_is_known(folder, monkeypatch):
    def run(kind, counts):
        """Names that were there when the work began, of a command's next process."""
        forget_programs()
        monkeypatch.setattr(ahead, "_PROCESS", ahead._Process())
        load_for("solve joint")
        guessed = set(STORE.ahead)
        with loading_ahead(kind):
            for count in counts:
                rotation_6d_to_matrix(six(count))
            kept = set(STORE.ahead)
        assert STORE.ahead == {}
        return guessed, kept

    binaries = lambda: {path.name for path in folder.glob("binaries/*")}  # noqa: E731
    assert run(["49"], [5, 7]) == (set(), set())
    both = binaries()
    assert run(["other frames"], [9]) == (both, both)  # it is not known that they are not needed
    nine = binaries() - both
    assert run(["49"], [5, 7]) == (nine, set())  # but here that nine is not
    assert run(["49"], []) == (both, both)


def test_changed_source_code_traces_anew_and_compiles_nothing_that_stayed(
    folder, traced, monkeypatch
):
    rotation_6d_to_matrix(six(5))
    (binary,) = folder.glob("binaries/*")
    (entry,) = folder.glob("entries/*")
    monkeypatch.setitem(store.MAX_BYTES, "entries", 4 * entry.stat().st_size)
    for state in range(6):
        monkeypatch.setattr(Sources, "digest", lambda *_, state=state: str(state))
        keep_programs(None)
        keep_programs(folder)  # as the next process does
        forget_programs()
        rotation_6d_to_matrix(six(5))
    assert len(traced) == 7
    assert list(folder.glob("binaries/*")) == [binary]
    assert len(list(folder.glob("entries/*"))) == 4


@pytest.mark.parametrize("options", [{"xla_cpu_gone": 1}, {"xla_backend_optimization_level": 1}])
def test_compile_options_are_given_where_xla_knows_them(folder, monkeypatch, options):
    expected = rotation_6d_to_matrix.jitted(six(5))
    monkeypatch.setattr(store, "CPU_OPTIONS", options)
    np.testing.assert_allclose(rotation_6d_to_matrix(six(5)), expected, atol=1e-6)


def test_what_has_no_name_elsewhere_is_left_to_jit(folder, traced):
    def local(x, sign):
        return sign * x

    ours = Program(local, ("sign",), ())
    np.testing.assert_array_equal(ours(np.float32(3.0), sign=2), 6.0)
    assert (traced, list(folder.glob("binaries/*"))) == ([], [])
    for unnamed in (local, lambda: 0, functools.partial(local, sign=1), object()):
        with pytest.raises(Unkept):
            describe_static(unnamed)
    with pytest.raises(Unkept):
        describe(({"a": object()},))


def test_names_tell_static_structure_apart():
    term = LossTerm("a", rotation_6d_to_matrix.function, 1.0, 2.0)
    assert describe_static(term) == describe_static(dataclasses.replace(term))
    others = [
        dataclasses.replace(term, name="b"),
        dataclasses.replace(term, end=3.0),
        dataclasses.replace(term, function=axis_angle_to_matrix.function),
    ]
    assert all(describe_static(other) != describe_static(term) for other in others)
    assert describe((1.0, np.float32(1.0))) != describe((np.float32(1.0), 1.0))
    assert describe([1, (2,)]) != describe([1, [2]])


def test_only_our_classes_are_built_from_a_file():
    tree = {"b": [0, (0, None)], "a": ()}
    assert outputs_from(describe_outputs(tree)) == tree
    with pytest.raises(ValueError, match="no class"):
        outputs_from({"class": "subprocess:Popen", "items": [], "fields": {}})
    with pytest.raises(ValueError, match="no class"):
        outputs_from({"class": "hoijax.programs.store:keep_programs", "fields": {}})


@pytest.mark.slow
def test_a_warm_solve_traces_nothing(tmp_path_factory, tmp_path, traced):
    """`generate` solved the same bundle before. The bound on programs is there to be lowered."""
    warm_solve(tmp_path_factory, tmp_path, traced)


@pytest.mark.slow
@pytest.mark.thorough
def test_every_module_that_runs_in_a_solve_counts(tmp_path_factory, tmp_path, traced):
    for load in of_each(warm_solve(tmp_path_factory, tmp_path, traced)):
        assert load.uncounted() == set(), load.program.function


@contextlib.contextmanager
def watched_lowerings():
    """Names of what JAX lowers: single operations on arrays of the device as well as programs."""
    names = []

    def hear(event, duration_secs, **about):
        if event.endswith("jaxpr_to_mlir_module_duration"):
            names.append(about.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(hear)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(hear)


def warm_solve(tmp_path_factory, tmp_path, traced) -> list:
    """What it loads."""
    bundle = generated(tmp_path_factory)[0] / "bundle"
    traced.clear()
    forget_programs()
    jax.clear_caches()  # of operations outside of programs, too
    with watched_loads() as loads, watched_lowerings() as lowered:
        ran = run("solve", bundle, "--out", tmp_path / "warm", "--inits", str(INITS), "--fast")
    assert ran.code == 0, ran.err
    assert traced == lowered == []
    assert loaded_count() <= 25
    written = {path.name for path in (tmp_path / "warm").iterdir()}
    assert {"result.npz", "run.json", "scene.glb"} <= written
    assert not written & {"metrics.json", "preview.mp4", "amass.npz", "physics.json"}
    return loads


def test_outputs_by_number_come_back_by_number():
    described = json.loads(json.dumps(describe_outputs({2: jnp.zeros(1), 10: (jnp.zeros(2),)})))
    assert outputs_from(described) == {2: 0, 10: (0,)}
