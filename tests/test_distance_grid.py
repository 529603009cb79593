"""Distance grids against libigl's exact distances, finite differences and brute force."""

from pathlib import Path

import igl
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from hoijax.objects.asset import Asset, asset_from_arrays, load_asset
from hoijax.objects.distance_grid import (
    FIRST_PART,
    SIGNED,
    UNSIGNED,
    DistanceGrids,
    build_distance_grids,
    pack_corners,
    query,
    query_with_gradient,
)

N = 32
"""Cells per axis: fewer than the default, for quicker tests."""

# One compilation per shape instead of one per operation.
ask, ask_both = jax.jit(query), jax.jit(query_with_gradient)

SCANS = Path(__file__).parents[2] / "shared" / "data" / "omomo" / "objects"


def as_asset(mesh: trimesh.Trimesh, labels: np.ndarray | None = None, parts=()) -> Asset:
    return asset_from_arrays("thing", np.asarray(mesh.vertices), mesh.faces, labels, parts)


def exact_distance(asset: Asset, points: np.ndarray, faces: np.ndarray | None = None) -> np.ndarray:
    faces = asset.faces if faces is None else faces
    vertices = asset.vertices.astype(np.float64)
    squared = igl.point_mesh_squared_distance(
        points.astype(np.float64), vertices, faces.astype(np.int64)
    )
    return np.sqrt(squared[0])


def cell_diagonal(grids: DistanceGrids) -> float:
    return float(np.linalg.norm(grids.spacing))


def points_in_box(grids: DistanceGrids, count: int, rng: np.random.Generator) -> np.ndarray:
    size = grids.spacing * grids.corners.shape[1]
    return (grids.lower + rng.random((count, 3)) * size).astype(np.float32)


def bowl() -> trimesh.Trimesh:
    """Half a sphere: open, a third of the border of the region it embraces is no surface."""
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=0.3)
    lower_half = sphere.triangles_center[:, 1] < 0.0
    return trimesh.Trimesh(sphere.vertices, sphere.faces[lower_half])


def sheet() -> trimesh.Trimesh:
    """A large open surface, bent so that one side has winding numbers above a half."""
    x, z = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-0.6, 0.6, 13), indexing="ij")
    vertices = np.stack([x, 0.15 * x**2, z], axis=-1).reshape(-1, 3)
    i = (np.arange(20)[:, None] * 13 + np.arange(12)).ravel()
    return trimesh.Trimesh(
        vertices, np.concatenate([np.c_[i, i + 1, i + 14], np.c_[i, i + 14, i + 13]])
    )


def crossed_bars() -> trimesh.Trimesh:
    """Two closed boxes through each other: surfaces buried inside."""
    bars = [trimesh.creation.box(extents=e) for e in ([0.8, 0.2, 0.2], [0.2, 0.2, 0.8])]
    return trimesh.util.concatenate(bars)


MESHES = {
    "box": lambda: load_asset("box"),
    "chair": lambda: load_asset("chair"),
    "barbell": lambda: load_asset("barbell"),
    "bowl": lambda: as_asset(bowl()),
    "sheet": lambda: as_asset(sheet()),
    "crossed bars": lambda: as_asset(crossed_bars()),
}


@pytest.fixture(scope="module")
def built() -> dict[str, tuple[Asset, DistanceGrids]]:
    assets = {name: make() for name, make in MESHES.items()}
    return {name: (asset, build_distance_grids(asset, N)) for name, asset in assets.items()}


@pytest.mark.parametrize("name", list(MESHES))
def test_unsigned_distance_is_exact_to_half_a_cell(name, built, rng):
    """The stated bound: half a cell diagonal anywhere, a tenth on average."""
    asset, grids = built[name]
    everywhere = points_in_box(grids, 4096, rng)
    on_surface = asset.samples
    for points in (everywhere, on_surface):
        error = np.abs(ask(grids, jnp.asarray(points), UNSIGNED) - exact_distance(asset, points))
        assert error.max() < 0.5 * cell_diagonal(grids)
        assert error.mean() < 0.1 * cell_diagonal(grids)


@pytest.mark.parametrize("name", ["bowl", "sheet", "box"])
def test_smooth_surfaces_are_sharp_even_when_open(name, built):
    """A plain unsigned grid is off by about a quarter cell on the surface; folded cells are not."""
    asset, grids = built[name]
    folded = np.abs(ask(grids, jnp.asarray(asset.samples), UNSIGNED))
    bits = np.abs(grids.corners[UNSIGNED]).view(np.int32)
    bits[..., 0] &= ~1
    plain_grids = DistanceGrids(bits.view(np.float32)[None], grids.lower, grids.spacing)
    plain = np.asarray(ask(plain_grids, jnp.asarray(asset.samples), 0))
    assert plain.mean() > 0.15 * grids.spacing.min()
    assert folded.mean() < 0.1 * plain.mean()


@pytest.mark.parametrize("name", ["box", "chair", "barbell", "crossed bars"])
def test_signed_distance_agrees_with_libigl_on_solids(name, built, rng):
    asset, grids = built[name]
    points = points_in_box(grids, 4096, rng)
    if name == "crossed bars":  # union of two boxes, in closed form
        half = np.array([[0.4, 0.1, 0.1], [0.1, 0.1, 0.4]])
        q = np.abs(points[:, None]) - half
        outside = np.linalg.norm(np.maximum(q, 0), axis=-1)
        expected = (outside + np.minimum(q.max(axis=-1), 0)).min(axis=1)
        inner = expected < 0.0
    else:
        vertices, faces = asset.vertices.astype(np.float64), asset.faces.astype(np.int64)
        expected = igl.signed_distance(points.astype(np.float64), vertices, faces)[0]
        inner = np.zeros(len(points), bool)
    error = np.abs(np.asarray(ask(grids, jnp.asarray(points), SIGNED)) - expected)
    assert error[~inner].max() < 0.5 * cell_diagonal(grids)
    # Depth beside buried surfaces is known from the grid's own nodes: to a cell and a half.
    assert error.max() < 1.5 * cell_diagonal(grids)
    clear = np.abs(expected) > 0.5 * cell_diagonal(grids)
    assert np.array_equal(
        np.asarray(ask(grids, jnp.asarray(points), SIGNED) < 0)[clear], (expected < 0)[clear]
    )


def test_buried_surfaces_do_not_split_a_solid(built):
    _, grids = built["crossed bars"]
    along = np.zeros((50, 3), np.float32)
    along[:, 0] = np.linspace(-0.3, 0.3, 50)  # crosses the other bar's two buried faces
    assert (ask(grids, jnp.asarray(along), SIGNED) < -0.03).all()


@pytest.mark.parametrize("name", ["bowl", "sheet"])
def test_open_meshes_have_no_false_crossing_away_from_the_surface(name, built, rng):
    asset, grids = built[name]
    points = points_in_box(grids, 20000, rng)
    far = exact_distance(asset, points) > cell_diagonal(grids)
    assert (ask(grids, jnp.asarray(points[far]), SIGNED) > 0.0).all()


def test_a_solid_with_a_missing_side_is_closed(rng):
    box = trimesh.creation.box(extents=[0.4, 0.4, 0.4])
    kept = box.triangles_center[:, 1] > -0.19  # no bottom, as a scan of a box on the floor
    asset = as_asset(trimesh.Trimesh(box.vertices, box.faces[kept], process=False))
    grids = build_distance_grids(asset, N)
    depth = -np.asarray(ask(grids, jnp.zeros((1, 3)), SIGNED))
    assert 0.1 < depth[0] <= 0.2 + cell_diagonal(grids)
    below = np.array([[0.0, -0.24, 0.0]], np.float32)
    assert ask(grids, jnp.asarray(below), SIGNED)[0] > 0.0


def test_inside_out_solids_are_solid():
    box = trimesh.creation.box()
    asset = as_asset(trimesh.Trimesh(box.vertices, box.faces[:, ::-1], process=False))
    assert ask(build_distance_grids(asset, resolution=N), jnp.zeros(3), SIGNED) < -0.4


def test_a_flat_mesh_encloses_nothing():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1]])
    asset = asset_from_arrays("rug", vertices, np.array([[0, 2, 1], [1, 2, 3]]))
    grids = build_distance_grids(asset, resolution=N)
    assert (grids.corners[SIGNED] >= 0.0).all()
    above = jnp.asarray([[0.5, 0.03, 0.5], [0.5, -0.03, 0.5]], jnp.float32)
    assert np.allclose(ask(grids, above, UNSIGNED), 0.03, atol=0.1 * grids.spacing[1])


def test_part_grids_measure_their_part_alone(built, rng):
    asset, grids = built["chair"]
    points = points_in_box(grids, 4096, rng)
    for part in range(len(asset.part_names)):
        faces = asset.faces[asset.face_parts == part]
        error = ask(grids, jnp.asarray(points), FIRST_PART + part) - exact_distance(
            asset, points, faces
        )
        assert np.abs(error).max() < 0.5 * cell_diagonal(grids)


def test_a_part_without_faces_is_out_of_reach():
    box = trimesh.creation.box()
    asset = as_asset(box, np.zeros(12, int), ("all", "never used"))
    grids = build_distance_grids(asset, resolution=N)
    assert grids.corners.shape == (4, N, N, N, 8)
    assert (grids.corners[FIRST_PART + 1] > 1.0).all()


@pytest.mark.parametrize("index", [SIGNED, UNSIGNED])
def test_gradient_agrees_with_finite_differences_inside_and_outside(index, built, rng):
    _, grids = built["chair"]
    size = grids.spacing * N
    points = grids.lower + (rng.random((400, 3)) * 2.0 - 0.5) * size
    step = 0.02 * grids.spacing
    cell = (points - grids.lower) / grids.spacing
    plain = (np.abs(cell - np.round(cell)) > 0.05).all(axis=1)  # not across a cell border
    points = points[plain].astype(np.float32)
    value, gradient = ask_both(grids, jnp.asarray(points), index)
    for axis in range(3):
        shift = np.eye(3, dtype=np.float32)[axis] * step[axis]
        up = np.asarray(ask(grids, jnp.asarray(points + shift), index), np.float64)
        down = np.asarray(ask(grids, jnp.asarray(points - shift), index), np.float64)
        kink = np.minimum(up, down) < 1.5 * step.max() * (index != SIGNED)
        slope = (up - down) / (2 * step[axis])
        assert np.abs(slope - np.asarray(gradient)[:, axis])[~kink].max() < 2e-3
    np.testing.assert_allclose(value, ask(grids, jnp.asarray(points), index), atol=1e-6)


def test_gradients_are_about_unit_and_lead_home_from_far_away(built, rng):
    asset, grids = built["chair"]
    directions = rng.normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points = (asset.center + 5.0 * directions).astype(np.float32)
    value, gradient = ask_both(grids, jnp.asarray(points), UNSIGNED)
    exact = exact_distance(asset, points)
    assert (value >= exact - 1e-3).all()
    assert (value <= exact + asset.radius).all()
    assert (np.sum(gradient * directions, axis=1) > 0.8).all()
    for _ in range(60):
        value, gradient = ask_both(grids, jnp.asarray(points), UNSIGNED)
        points = points - 0.5 * np.asarray(value[:, None] * gradient)
    assert exact_distance(asset, points).max() < cell_diagonal(grids)


def test_distance_is_continuous_at_the_border_of_the_box(built, rng):
    _, grids = built["barbell"]
    size = grids.spacing * N
    for axis in range(3):
        for side in (0.0, 1.0):
            points = grids.lower + rng.random((100, 3)) * size
            points[:, axis] = grids.lower[axis] + side * size[axis]
            nudge = np.eye(3)[axis] * 1e-5
            a, b = (
                np.asarray(ask(grids, jnp.asarray(p, jnp.float32), UNSIGNED))
                for p in (points - nudge, points + nudge)
            )
            assert np.abs(a - b).max() < 1e-4


def test_works_under_jit_vmap_grad_and_scan(built, rng):
    _, grids = built["chair"]
    grids = jax.tree.map(jnp.asarray, grids)
    points = jnp.asarray(points_in_box(grids, 24, rng).reshape(4, 6, 3))
    index = jnp.asarray([0, 1, 2, 3], jnp.int32)
    flat = jnp.stack([ask(grids, points[i], index[i]) for i in range(4)])
    assert np.allclose(ask(grids, points, index[:, None]), flat, atol=1e-6)
    mapped = jax.jit(jax.vmap(lambda p, g: query(grids, p, g)))
    assert np.allclose(mapped(points, index), flat, atol=1e-6)
    one_by_one = jax.vmap(jax.vmap(lambda p, g: query(grids, p, g)), in_axes=(0, None))
    per_point = jnp.asarray(rng.integers(0, 4, 6), jnp.int32)
    assert np.allclose(
        jax.jit(one_by_one)(points, per_point), ask(grids, points, per_point), atol=1e-6
    )

    slope = jax.jit(jax.grad(lambda p: jnp.sum(query(grids, p, index[:, None]))))(points)
    assert np.allclose(slope, ask_both(grids, points, index[:, None])[1], atol=1e-6)

    def descend(p, _):
        value, change = jax.jvp(lambda q: query(grids, q, 1), (p,), (jnp.ones_like(p),))
        return p - 0.01 * change[..., None], value

    _, history = jax.jit(lambda p: jax.lax.scan(descend, p, None, length=3))(points)
    assert np.isfinite(history).all()
    curvature = jax.jit(jax.jacfwd(jax.grad(lambda p: query(grids, p, 1))))(points[0, 0])
    assert np.isfinite(curvature).all()


def test_one_gather_of_eight_floats_from_an_unbatched_table(built):
    """The promise that makes it fast: no broadcast of the table, whatever is mapped over."""
    _, grids = built["chair"]
    grids = jax.tree.map(jnp.asarray, grids)
    mapped = jax.vmap(jax.vmap(lambda p, g: query(grids, p, g)), in_axes=(0, None))
    for function in (mapped, jax.grad(lambda p, g: jnp.sum(mapped(p, g)))):
        text = str(jax.make_jaxpr(function)(jnp.ones((2, 5, 7, 3)), jnp.zeros((5, 7), jnp.int32)))
        gathers = [line for line in text.splitlines() if "= gather[" in line]
        assert len(gathers) == 1
        rows = grids.corners.shape[0] * N**3
        assert "f32[2,5,7,8]" in gathers[0]
        assert f"f32[{rows},8]" in text


def test_one_table_serves_several_objects(built, rng):
    """Rows of `lower` and `spacing` per object, as the scene holds them."""
    both = [built["chair"][1], built["box"][1]]
    table = DistanceGrids(
        np.concatenate([g.corners for g in both]),
        np.stack([g.lower for g in both])[:, None],
        np.stack([g.spacing for g in both])[:, None],
    )
    points = jnp.asarray(rng.normal(0.0, 0.5, (2, 50, 3)), jnp.float32)
    first = jnp.asarray([[0], [both[0].corners.shape[0]]])
    together = ask(table, points, first + UNSIGNED)
    apart = [ask(g, points[i], UNSIGNED) for i, g in enumerate(both)]
    assert np.allclose(together, np.stack(apart), atol=1e-6)


def test_interpolation_matches_brute_force(rng):
    nodes = rng.normal(size=(5, 5, 5)).astype(np.float32)
    grids = DistanceGrids(
        pack_corners(nodes)[None], np.zeros(3, np.float32), np.ones(3, np.float32)
    )
    for point in rng.random((50, 3)) * 4.0:
        i, j, k = np.minimum(point.astype(int), 3)
        weights = [np.array([1 - f, f]) for f in point - [i, j, k]]
        block = nodes[i : i + 2, j : j + 2, k : k + 2].astype(np.float64)
        expected = np.einsum("ijk,i,j,k->", block, *weights)
        found = ask(grids, jnp.asarray(point, jnp.float32), 0)
        assert found == pytest.approx(expected, abs=1e-5)


def test_fold_flag_makes_a_cell_absolute_and_costs_no_accuracy():
    nodes = np.zeros((2, 2, 2), np.float32) + np.float32(0.3)
    sides = np.array([[[[-1, -1, -1, -1, 1, 1, 1, 1]]]])  # a plane half-way along x
    grids = DistanceGrids(
        pack_corners(nodes, sides, np.ones((1, 1, 1), bool))[None],
        np.zeros(3, np.float32),
        np.full(3, 0.6, np.float32),
    )
    x = np.array([0.05, 0.3, 0.5], np.float32)
    points = jnp.asarray(np.stack([x, 0 * x + 0.2, 0 * x + 0.1], axis=-1))
    value, gradient = query_with_gradient(grids, points, 0)
    assert np.allclose(value, np.abs(x - 0.3), atol=1e-6)
    assert np.allclose(gradient[[0, 2], 0], [-1.0, 1.0], atol=1e-5)


def test_nan_points_stay_nan_and_stay_alone(built):
    _, grids = built["box"]
    points = jnp.asarray([[jnp.nan, 0.0, 0.0], [0.0, 0.1, 0.0], [jnp.inf, 0.0, 0.0]])
    value = np.asarray(ask(grids, points, UNSIGNED))
    assert np.isnan(value[0])
    assert np.isfinite(value[1])


@pytest.mark.skipif(not SCANS.is_dir(), reason="captured scans are not here")
@pytest.mark.parametrize("name", ["largebox", "largetable", "plasticbox", "woodchair"])
def test_captured_scans_torn_and_open(name, rng):
    asset = load_asset(SCANS / f"{name}.obj")
    grids = build_distance_grids(asset, N)
    points = points_in_box(grids, 4096, rng)
    exact = exact_distance(asset, points)
    error = np.abs(np.asarray(ask(grids, jnp.asarray(points), UNSIGNED)) - exact)
    assert error.max() < 0.5 * cell_diagonal(grids)
    signed = np.asarray(ask(grids, jnp.asarray(points), SIGNED))
    deep = signed < -0.6 * cell_diagonal(grids)
    # The signed grid encloses the box and the table top, and nothing of the open crate.
    assert deep.any() == (name in ("largebox", "largetable"))
    assert (np.abs(signed) <= exact + cell_diagonal(grids)).all()
