"""Fields and volume rendering: inputs built backwards from answers, brute force, finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from hoijax.composition.fields.composition import (
    new_entity,
    refresh_occupancy,
    render_rays,
    values_at,
)
from hoijax.composition.fields.encoding import trilinear
from hoijax.composition.fields.occupancy import full_occupancy, is_occupied, pack, updated
from hoijax.composition.fields.radiance_field import FieldSettings
from hoijax.composition.fields.volume_rendering import (
    box_interval,
    camera_rays,
    composite,
    distortion,
    opacity_entropy,
    orientation,
    sample_depths,
)
from hoijax.geometry.camera import PinholeCamera, project
from hoijax.geometry.transforms import look_at

SMALL = FieldSettings(center=(0.0, 0.0, 0.0), half_side=1.0, resolutions=(6, 10), width=8)
WHITE = np.ones(3, np.float32)


# --- encoding


def test_trilinear_is_scipys(rng):
    grid = rng.standard_normal((5, 5, 5, 2)).astype(np.float32)
    points = rng.random((40, 3)).astype(np.float32)
    found = trilinear(
        table=jnp.asarray(grid.reshape(-1, 2)), points_unit=jnp.asarray(points), resolution=5
    )
    expected = [map_coordinates(grid[..., f], 4.0 * points.T, order=1) for f in (0, 1)]
    np.testing.assert_allclose(found, np.stack(expected, -1), atol=1e-5)


def test_trilinear_gradients_are_finite_differences(rng):
    table = jnp.asarray(rng.standard_normal((27, 2)), jnp.float32)
    points = jnp.asarray(0.1 + 0.35 * rng.random((6, 3)), jnp.float32)  # off the cells' borders
    pull = jnp.asarray(rng.standard_normal((6, 2)), jnp.float32)

    @jax.jit
    def total(table, points):
        return jnp.sum(pull * trilinear(table=table, points_unit=points, resolution=3))

    for argument in (0, 1):
        slope = jax.jit(jax.grad(total, argnums=argument))(table, points)
        way = jnp.asarray(rng.standard_normal(slope.shape), jnp.float32)
        ends = []
        for sign in (1, -1):
            moved = [table, points]
            moved[argument] = moved[argument] + sign * 1e-3 * way
            ends.append(total(*moved))
        assert float(ends[0] - ends[1]) / 2e-3 == pytest.approx(
            float(jnp.sum(slope * way)), rel=2e-2
        )


# --- rays


def test_rays_go_through_the_pixels_they_are_named_after():
    lens = PinholeCamera(31.0, 33.0, 3.5, 2.0, 7, 5)
    T = look_at(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.9, 0.2]))
    origins, directions = camera_rays(
        intrinsics=jnp.asarray(lens.matrix), T_world_camera=jnp.asarray(T), size=(5, 7)
    )
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, atol=1e-6)
    points = np.asarray(origins + 2.3 * directions)
    seen = project(jnp.asarray((points - T[:3, 3]) @ T[:3, :3]), jnp.asarray(lens.matrix))
    v, u = np.meshgrid(np.arange(5) + 0.5, np.arange(7) + 0.5, indexing="ij")
    np.testing.assert_allclose(seen, np.stack([u.ravel(), v.ravel()], -1), atol=1e-4)


def test_box_interval_hits_misses_and_starts_inside():
    origins = jnp.array([[-3.0, 0.0, 0.0], [0.0, 0.0, 0.0], [-3.0, 2.0, 0.0], [3.0, 0.5, 0.5]])
    directions = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    near, far = box_interval(
        origins=origins, directions=directions, lower=-jnp.ones(3), upper=jnp.ones(3)
    )
    np.testing.assert_allclose(near, [2.0, 0.0, 0.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(far, [4.0, 1.0, 0.0, 0.0], atol=1e-5)


def test_samples_fill_the_stretch_evenly_and_stay_in_their_strata():
    near, far = jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])
    middle, length = sample_depths(near=near, far=far, count=4, key=None)
    np.testing.assert_allclose(middle[0], [1.25, 1.75, 2.25, 2.75], atol=1e-6)
    np.testing.assert_allclose(length, [[0.5] * 4, [0.0] * 4])
    drawn, _ = sample_depths(near=near, far=far, count=4, key=jax.random.key(0))
    assert np.all(np.abs(drawn - middle)[0] <= 0.25)
    assert np.any(np.abs(drawn - middle)[0] > 0.02)


# --- compositing, backwards from the answer


def slab_of(density, count=64):
    """A slab between 2 and 3 m on a ray from 1 to 4 m, red, over white."""
    depths, deltas = sample_depths(
        near=jnp.ones(1), far=jnp.full(1, 4.0), count=3 * count, key=None
    )
    inside = (depths > 2.0) & (depths < 3.0)
    color = jnp.broadcast_to(jnp.array([1.0, 0.0, 0.0]), (*depths.shape, 3))
    return composite(
        density=jnp.where(inside, density, 0.0),
        color=color,
        depths=depths,
        deltas=deltas,
        background=jnp.ones((1, 3)),
    )


def test_a_slab_of_half_transparency_mixes_half_and_half():
    rendered, weights = slab_of(np.log(2.0))
    np.testing.assert_allclose(rendered.opacity, 0.5, atol=1e-5)
    np.testing.assert_allclose(rendered.color[0], [1.0, 0.5, 0.5], atol=1e-5)
    # Mean depth of light that decays as 2^-(t-2): exact integral.
    exact = 2.0 + (1.0 / np.log(2.0) - 1.0)
    np.testing.assert_allclose(rendered.depth, exact, atol=2e-3)
    np.testing.assert_allclose(jnp.sum(weights), 0.5, atol=1e-5)


def test_nothing_shows_the_background_and_solid_shows_itself():
    clear, _ = slab_of(0.0)
    np.testing.assert_allclose(clear.color[0], WHITE)
    assert float(clear.opacity[0]) == 0.0
    assert float(clear.depth[0]) == 0.0
    solid, _ = slab_of(1e4)
    np.testing.assert_allclose(solid.color[0], [1.0, 0.0, 0.0], atol=1e-6)
    assert float(solid.depth[0]) == pytest.approx(2.0, abs=0.01)


def test_a_solid_ball_is_seen_where_the_rays_meet_it():
    T = look_at(np.array([0.0, 0.0, 3.0]), np.zeros(3))
    lens = PinholeCamera.from_field_of_view(50.0, 15, 15)
    origins, directions = camera_rays(
        intrinsics=jnp.asarray(lens.matrix), T_world_camera=jnp.asarray(T), size=(15, 15)
    )
    near, far = jnp.full(225, 1.0), jnp.full(225, 5.0)
    depths, deltas = sample_depths(near=near, far=far, count=800, key=None)
    points = np.asarray(origins[:, None] + depths[..., None] * directions[:, None])
    density = np.where(np.linalg.norm(points, axis=-1) < 0.7, 1e4, 0.0).astype(np.float32)
    rendered, _ = composite(
        density=jnp.asarray(density),
        color=jnp.zeros((*density.shape, 3)),
        depths=depths,
        deltas=deltas,
        background=jnp.ones((225, 3)),
    )
    o, d = np.asarray(origins, np.float64), np.asarray(directions, np.float64)
    along = -(o * d).sum(1)
    squared = 0.7**2 - ((o + along[:, None] * d) ** 2).sum(1)
    sure = np.abs(squared) > 0.02  # grazing rays pass less than a sample of it
    hit = squared > 0
    np.testing.assert_allclose(rendered.opacity[sure], hit[sure], atol=1e-3)
    entry = along - np.sqrt(np.maximum(squared, 0.0))
    np.testing.assert_allclose(rendered.depth[sure & hit], entry[sure & hit], atol=6e-3)
    np.testing.assert_allclose(rendered.color[sure & ~hit], 1.0)


def test_compositing_gradients_are_finite_differences(rng):
    shape = (3, 12)
    density = jnp.asarray(3.0 * rng.random(shape), jnp.float32)
    color = jnp.asarray(rng.random((*shape, 3)), jnp.float32)
    depths, deltas = sample_depths(near=jnp.ones(3), far=jnp.full(3, 2.0), count=12, key=None)
    pull = jnp.asarray(rng.standard_normal((3, 3)), jnp.float32)

    @jax.jit
    def total(density, color):
        rendered, weights = composite(
            density=density, color=color, depths=depths, deltas=deltas, background=jnp.ones((3, 3))
        )
        spread = distortion(weights=weights, depths=depths, deltas=deltas)
        solid = opacity_entropy(opacity=rendered.opacity)
        return jnp.sum(pull * rendered.color) + jnp.sum(rendered.depth) + spread + solid

    for argument, at in ((0, density), (1, color)):
        slope = jax.jit(jax.grad(total, argnums=argument))(density, color)
        way = jnp.asarray(rng.standard_normal(at.shape), jnp.float32)
        ends = []
        for sign in (1, -1):
            moved = [density, color]
            moved[argument] = at + sign * 3e-3 * way
            ends.append(total(*moved))
        assert float(ends[0] - ends[1]) / 6e-3 == pytest.approx(
            float(jnp.sum(slope * way)), rel=2e-2
        )


def test_regularizers_against_brute_force(rng):
    weights = rng.random((4, 9)).astype(np.float32) / 9
    depths = np.sort(rng.random((4, 9)), axis=1).astype(np.float32)
    deltas = np.full((4, 9), 0.1, np.float32)
    apart = np.abs(depths[:, :, None] - depths[:, None, :])
    pairs = (weights[:, :, None] * weights[:, None, :] * apart).sum((1, 2))
    expected = np.mean(pairs + (weights**2 * deltas).sum(1) / 3)
    found = distortion(
        weights=jnp.asarray(weights), depths=jnp.asarray(depths), deltas=jnp.asarray(deltas)
    )
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert float(opacity_entropy(opacity=jnp.array([0.5]))) == pytest.approx(1.0)
    assert float(opacity_entropy(opacity=jnp.array([0.0, 1.0]))) < 2e-3
    normals = rng.standard_normal((4, 9, 3)).astype(np.float32)
    directions = rng.standard_normal((4, 3)).astype(np.float32)
    away = np.maximum(np.einsum("rsi,ri->rs", normals, directions), 0.0)
    found = orientation(
        weights=jnp.asarray(weights),
        normals=jnp.asarray(normals),
        directions=jnp.asarray(directions),
    )
    assert float(found) == pytest.approx(float((weights * away**2).sum(1).mean()), rel=1e-5)


# --- occupancy


def test_pack_keeps_all_that_fits_and_a_fair_share_of_what_does_not():
    active = jnp.arange(1000) % 3 == 0
    roomy = pack(active, 400, jax.random.key(0))
    assert float(roomy.share) == 1.0
    kept = np.asarray(roomy.index)
    np.testing.assert_array_equal(kept[kept < 1000], np.flatnonzero(np.asarray(active)))
    tight = [pack(active, 100, jax.random.key(i)) for i in range(12)]
    for packed in tight:
        kept = np.asarray(packed.index)
        assert len(kept) == 100
        assert np.asarray(active)[kept[kept < 1000]].all()
    counts = np.zeros(1000)
    for packed in tight:
        kept = np.asarray(packed.index)
        counts[kept[kept < 1000]] += 1
    halves = counts[:500].sum(), counts[500:].sum()
    assert abs(halves[0] - halves[1]) < 0.2 * sum(halves)  # not the first ones only


def test_cells_empty_only_when_they_and_their_neighbors_are_thin():
    density = np.zeros((6, 6, 6), np.float32)
    density[2, 2, 2] = 5.0
    grid = updated(full_occupancy(6), jnp.asarray(density.ravel()), 1.0)
    expected = np.zeros((6, 6, 6), bool)
    expected[1:4, 1:4, 1:4] = True
    np.testing.assert_array_equal(grid.occupied, expected)
    cell = SMALL.half_side * 2 / 6
    points = jnp.array([[-1 + 2.5 * cell] * 3, [-1 + 5.5 * cell] * 3, [-1.2, 0.0, 0.0]])
    np.testing.assert_array_equal(is_occupied(grid, SMALL, points), [True, False, False])
    kept = updated(
        grid, jnp.zeros(216), 1.0
    )  # what was dense a moment ago is not forgotten at once
    assert kept.occupied[2, 2, 2]


# --- fields in the world


@pytest.fixture(scope="module")
def entity():
    """A field with something in it: random weights, drawn apart."""
    fresh = new_entity(SMALL, jax.random.key(3), cells=6)
    loud = jax.tree.map(lambda x: 4.0 * x, fresh.params["field"])
    return fresh.replace(params={**fresh.params, "field": loud})


@pytest.fixture(scope="module")
def draw():
    """Rays of entities, one compiled program a number of entities; a large budget."""

    def one(entities, origins, directions, stop):
        return render_rays(
            entities=entities,
            origins=origins,
            directions=directions,
            key=jax.random.key(0),
            samples=40,
            budget=4000,
            stop=stop,
            jitter=False,
        )[0]

    return jax.jit(one)


RAYS = 30
NO_STOP = np.full(RAYS, np.inf, np.float32)


@pytest.fixture(scope="module")
def rays():
    rng = np.random.default_rng(1)
    directions = rng.standard_normal((RAYS, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origins = (-3.0 * directions + 0.3 * rng.standard_normal((RAYS, 3))).astype(np.float32)
    return jnp.asarray(origins), jnp.asarray(directions)


def turned(angle: float, shift) -> np.ndarray:
    T = np.eye(4, dtype=np.float32)
    T[:3, :3] = [
        [np.cos(angle), 0, np.sin(angle)],
        [0, 1, 0],
        [-np.sin(angle), 0, np.cos(angle)],
    ]
    T[:3, 3] = shift
    return T


def test_moving_the_field_is_moving_the_rays_back(entity, draw, rays):
    """The box that samples are spread over turns too: a fine march hardly notices."""
    T = turned(0.5 * np.pi, [0.4, -0.2, 0.7])
    placed = entity.replace(T_world_object=jnp.asarray(T))
    origins, directions = (np.asarray(x) for x in rays)
    moved = jnp.asarray(origins @ T[:3, :3].T + T[:3, 3]), jnp.asarray(directions @ T[:3, :3].T)
    here = draw((entity,), *rays, jnp.asarray(NO_STOP))
    there = draw((placed,), *moved, jnp.asarray(NO_STOP))
    np.testing.assert_allclose(here.opacity, there.opacity, atol=2e-3)
    np.testing.assert_allclose(here.depth, there.depth, atol=1e-2)
    assert float(np.ptp(np.asarray(here.opacity))) > 0.1


def test_two_fields_add_up_in_any_order_and_a_far_one_changes_nothing(entity, draw, rays):
    other = entity.replace(T_world_object=jnp.asarray(turned(0.7, [0.3, 0.0, -0.2])))
    a = draw((entity, other), *rays, jnp.asarray(NO_STOP))
    b = draw((other, entity), *rays, jnp.asarray(NO_STOP))
    np.testing.assert_allclose(a.opacity, b.opacity, atol=1e-5)
    alone = draw((entity,), *rays, jnp.asarray(NO_STOP))
    assert np.all(np.asarray(a.opacity) >= np.asarray(alone.opacity) - 0.05)


def test_nothing_is_seen_behind_a_stop(entity, draw, rays):
    stop = jnp.full(RAYS, 1.0)  # before the box
    blocked = draw((entity,), *rays, stop)
    np.testing.assert_allclose(blocked.opacity, 0.0, atol=1e-6)
    half = draw((entity,), *rays, jnp.full(RAYS, 3.0))
    free = draw((entity,), *rays, jnp.asarray(NO_STOP))
    assert np.all(np.asarray(half.opacity) <= np.asarray(free.opacity) + 1e-6)
    seen = np.asarray(half.opacity) > 0.01
    assert np.all(np.asarray(half.depth)[seen] < 3.0)


def test_samples_are_left_out_only_where_the_field_is_thin(entity, draw, rays):
    fresh = refresh_occupancy(entity, jax.random.key(0), threshold=1e-6)
    with_grid = draw((fresh,), *rays, jnp.asarray(NO_STOP))
    without = draw((entity,), *rays, jnp.asarray(NO_STOP))
    np.testing.assert_allclose(with_grid.opacity, without.opacity, atol=1e-4)
    none = refresh_occupancy(entity, jax.random.key(0), threshold=1e6)
    np.testing.assert_allclose(draw((none,), *rays, jnp.asarray(NO_STOP)).opacity, 0.0, atol=1e-6)


def test_a_small_budget_is_right_in_the_mean(entity, draw, rays):
    origins, directions = rays

    @jax.jit
    def thickness(key):
        rendered, by = render_rays(
            entities=(entity,), origins=origins, directions=directions, key=key, samples=40,
            budget=300, jitter=False,
        )  # fmt: skip
        return -jnp.log1p(-jnp.minimum(rendered.opacity, 0.9999)), by.share

    drawn = [thickness(key) for key in jax.random.split(jax.random.key(0), 60)]
    assert all(float(share) < 1.0 for _, share in drawn)
    whole = draw((entity,), *rays, jnp.asarray(NO_STOP))
    exact = -np.log1p(-np.minimum(np.asarray(whole.opacity), 0.9999))
    mean = np.mean([np.asarray(t) for t, _ in drawn], axis=0)
    clear = exact < 3.0
    assert clear.sum() > 5
    np.testing.assert_allclose(mean[clear].mean(), exact[clear].mean(), rtol=0.1)


def test_a_field_is_empty_outside_of_its_cube(entity):
    values = values_at(entity, jnp.array([[0.0, 0.0, 1.01], [0.0, 0.0, 0.0]]))
    assert float(values.density[0]) == 0.0
    assert float(values.density[1]) > 0.0
    assert np.all((np.asarray(values.color) >= 0) & (np.asarray(values.color) <= 1))
