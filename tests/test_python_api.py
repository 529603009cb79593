"""The functional core: docs/python.md runs as it stands there, and its parts do what they say."""

import ast
import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_scene import as_users_run

import hoijax as hj
from hoijax.viewer.points import point_clouds
from hoijax.viewer.server import viewer_url

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
NOTEBOOK = PAGE.parents[1] / "notebooks" / "python_api.ipynb"
PUBLIC = [
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


def test_the_public_names_are_these():
    assert sorted(hj.__all__) == PUBLIC
    assert all(getattr(hj, name) is not None for name in PUBLIC)


@pytest.fixture(scope="module")
def page():
    """Names that the page's program leaves."""
    names: dict = {}
    with as_users_run():
        exec(compile(program_of_page(), str(PAGE), "exec"), names)
    return names


def program_of_page() -> str:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return program


@pytest.mark.slow
@pytest.mark.thorough
def test_the_notebook_is_the_page_and_its_picture(page):
    """The same program; the last cell draws what it left."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    content = json.loads(NOTEBOOK.read_text())
    cells = ["".join(c["source"]) for c in content["cells"] if c["cell_type"] == "code"]
    *program, picture = cells
    assert ast.dump(ast.parse("\n".join(program))) == ast.dump(ast.parse(program_of_page()))
    plt.close("all")
    exec(compile(picture, NOTEBOOK.name, "exec"), dict(page))
    (number,) = plt.get_fignums()
    paths = [line.get_xydata() for line in plt.figure(number).axes[0].lines]
    np.testing.assert_allclose(paths[0][:, 1], page["path"][:, 0], rtol=1e-6)
    assert len(paths) == 2
    plt.close("all")


@pytest.mark.slow
def test_the_page_finds_the_box(page):
    best, path = page["best"], page["path"]
    seen = np.arange(page["frames"]) != 3
    away = np.linalg.norm(np.asarray(best.object_translation)[0] - path, axis=-1)
    assert away[seen].max() < 0.03
    assert np.isfinite(np.asarray(page["solution"].losses)).all()
    assert np.argmin(page["solution"].losses) == np.argmin(
        [
            float(page["loss"](jax.tree.map(lambda x, k=k: x[k], page["solution"].unknowns)))
            for k in (0, 1)
        ]
    )


@pytest.mark.slow
def test_the_total_is_differentiated(page):
    """Along a random direction, against central differences."""
    x = jax.tree.map(lambda leaf: leaf[0], page["x0"])
    rng = np.random.default_rng(0)
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), x)
    x = replace(x, object_translation=x.object_translation + 0.03)  # off the optimum
    slope = jax.jit(jax.grad(page["loss"]))(x)
    products = jax.tree.map(lambda s, d: jnp.sum(s * d), slope, direction)
    found = float(sum(jax.tree.leaves(products)))
    loss, step = jax.jit(page["loss"]), 1e-3
    ahead, behind = (
        float(loss(jax.tree.map(lambda a, d, s=s: a + s * d, x, direction))) for s in (step, -step)
    )
    assert found == pytest.approx((ahead - behind) / (2 * step), rel=0.05)


@pytest.mark.slow
def test_a_sweep_is_each_weight_alone(page):
    sweep, w = page["sweep"], page["weights"]["upright"]
    assert sweep.losses.shape == (3, 2)
    alone = hj.minimize(page["scene"], page["terms"], page["x0"], weights={"upright": w[2]})
    np.testing.assert_allclose(sweep.losses[2], alone.losses, rtol=1e-3)
    by_array = jnp.asarray([1e3, 3e3, 0.1, 100.0])
    again = hj.minimize(page["scene"], page["terms"], page["x0"], weights=by_array)
    np.testing.assert_array_equal(again.losses, alone.losses)
    lean = sweep.reports[..., 3].min(axis=-1)
    assert lean[2] < lean[0]
    np.testing.assert_allclose(
        sweep.best.object_translation[2], alone.best.object_translation, atol=2e-3
    )


@pytest.mark.slow
def test_what_is_shown_is_what_was_solved(page):
    clouds = point_clouds(page["scene"], page["best"])
    assert set(clouds) == {"objects", "bodies", "observed"}
    assert [len(points) for points in clouds["observed"][2:5]] == [64, 0, 64]
    middle = clouds["objects"][0].mean(axis=0)
    assert np.linalg.norm(middle - page["path"][0]) < 0.1
    with pytest.raises(hj.UserError, match="one candidate"):
        point_clouds(page["scene"], page["x0"])


@pytest.mark.slow
def test_the_browser_gets_a_page_that_looks_at_the_scene(page):
    server = hj.view(page["scene"], page["best"])
    try:
        camera = server.initial_camera
        eye, target = np.array(camera.position), np.array(camera.look_at)
        with urlopen(viewer_url(server)) as answer:
            assert b"<title>" in answer.read()
    finally:
        server.stop()
    clouds = point_clouds(page["scene"], page["best"])
    away = np.concatenate([frames[0] for frames in clouds.values()]) - eye
    forward = (target - eye) / np.linalg.norm(target - eye)
    cosines = away @ forward / np.linalg.norm(away, axis=1)
    assert cosines.min() > np.cos(np.radians(37.5))  # viser's picture is 75 degrees high


@pytest.fixture(scope="module")
def crate():
    return hj.load_object("box", name="crate")


@pytest.mark.slow
def test_a_scene_without_any_evidence_has_starts_and_losses(crate):
    """Nothing pulls, and nothing breaks; it stands on the ground."""
    scene = hj.Scene.from_arrays([crate], frames=3)
    x0 = hj.search_starts(scene, 4)
    assert x0.object_rotation_6d.shape == (4, 1, 3, 6)
    terms = [
        hj.losses.object_points(1.0),
        hj.losses.model_mask(1.0),
        hj.losses.contact(1.0),
        hj.losses.penetration(1.0),
        hj.losses.ground(1.0),
    ]
    totals = jax.jit(jax.vmap(hj.total_loss(scene, terms)))(x0)
    np.testing.assert_allclose(totals, 0.0, atol=1e-6)


def test_objects_that_touch_are_drawn_together(crate):
    cup = hj.load_object("box", name="cup", scale=0.5)
    touch = [hj.Contact("cup", "crate")]
    scene = hj.Scene.from_arrays([crate, cup], frames=3, contacts=touch)
    x0 = hj.search_starts(scene, 1)
    away = x0.object_translation.at[:, 1, :, 0].add(2.0)
    solution = hj.minimize(scene, [hj.losses.contact(1.0)], replace(x0, object_translation=away))
    assert solution.losses[0] < 0.01 * solution.initial_losses[0]


REFUSED = {
    "needs at least one object": {"objects": []},
    "how many frames": {},
    "no object 'table'": {"frames": 2, "contacts": [hj.Contact("left_hand", "table")]},
    "the scene has 0 bodies": {"frames": 2, "contacts": [hj.Contact("left_hand", "crate")]},
    "no body part or other object 'paw'": {"frames": 2, "contacts": [hj.Contact("paw", "crate")]},
    "numbers of frames differ": {"frames": 2, "points": [np.zeros((3, 4, 3))]},
    "one array of equal shape": {"points": [np.zeros((3, 4, 3))] * 2},
    "point_mask is": {"points": [np.zeros((3, 4, 3))], "point_mask": [np.ones((3, 5), bool)]},
    "masks need a camera": {"masks": [np.zeros((2, 8, 8), bool)]},
}


@pytest.mark.parametrize("message", REFUSED)
def test_scenes_that_do_not_fit_are_refused(crate, message):
    with pytest.raises(hj.UserError, match=message):
        hj.Scene.from_arrays(**({"objects": [crate]} | REFUSED[message]))


def test_a_plain_function_is_a_term_of_weight_one(crate):
    def high(posed):
        y = posed.object_translations[..., 1]
        return y**2, jnp.ones_like(y, dtype=bool)

    scene = hj.Scene.from_arrays([crate], frames=2)
    one = jax.tree.map(lambda leaf: leaf[0], hj.search_starts(scene, 2))
    term = hj.LossTerm.constant("high", high, 1.0)
    plain, weighted = hj.total_loss(scene, [high]), hj.total_loss(scene, [high], {"high": 3.0})
    assert plain(one) == hj.total_loss(scene, [term])(one) > 0.0
    np.testing.assert_allclose(weighted(one), 3.0 * plain(one), rtol=1e-6)


def test_solves_that_do_not_fit_are_refused(crate):
    scene = hj.Scene.from_arrays([crate], frames=2)
    x0, terms = hj.search_starts(scene, 2), [hj.losses.ground(1.0)]
    with pytest.raises(hj.UserError, match="leading axis of candidates"):
        hj.minimize(scene, terms, jax.tree.map(lambda leaf: leaf[0], x0))
    with pytest.raises(hj.UserError, match="weights of no term"):
        hj.minimize(scene, terms, x0, weights={"grond": 1.0})
    with pytest.raises(hj.UserError, match="names of their own"):
        hj.minimize(scene, terms * 2, x0)
    with pytest.raises(hj.UserError, match="LossTerms or functions of the posed scene"):
        hj.total_loss(scene, [partial(max)])
    with pytest.raises(hj.UserError, match="joints of moving bodies"):
        hj.total_loss(scene, [hj.losses.body_smoothness()])(jax.tree.map(lambda leaf: leaf[0], x0))
