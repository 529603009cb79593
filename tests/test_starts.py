"""Stage a and the starts: alignment of point maps, global pose search, best paths."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scene_factory import (
    CELL,
    HEIGHT,
    OBJECTS,
    WIDTH,
    MadeScene,
    make_cameras,
    make_scene,
    pixels_of,
)
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation

from hoijax.geometry.bilinear import bilinear, bilinear_with_gradient, pack_corners
from hoijax.geometry.rotations import axis_angle_to_matrix, rotation_6d_to_matrix
from hoijax.geometry.transforms import compose_rigid, invert_rigid
from hoijax.initialization.point_map_alignment import (
    AlignmentData,
    AlignmentWeights,
    Similarity,
    _matches,
    _squared_distance,
    align_point_maps,
)
from hoijax.initialization.pose_search import (
    FrameEvidence,
    SearchObject,
    pose_cost,
    residuals,
    search_frames,
)
from hoijax.initialization.starts import Starts, observed_centers, with_proposed_yaws, yaw_starts
from hoijax.initialization.trajectory_paths import PathCosts, best_paths, transition
from hoijax.objects.distance_grid import DistanceGrids
from hoijax.scene.scene import Unknowns

IDENTITY = np.eye(3)[None]


@pytest.fixture(scope="module")
def made() -> MadeScene:
    return make_scene(resolution=24, noise=0.0)


# --- global pose search ------------------------------------------------------------------------


def search_object(made: MadeScene, o: int) -> SearchObject:
    scene = made.scene
    return SearchObject(
        DistanceGrids(scene.grids.corners, scene.grids.lower[o], scene.grids.spacing[o]),
        scene.objects.first_grid[o] + 1,
        scene.objects.centers[o],
        scene.objects.samples[o, :96],
        scene.cameras.cell_size,
        jnp.asarray(1.0),
    )


def evidence(made: MadeScene, o: int, t: int, points: int) -> FrameEvidence:
    """A frame seen without noise: surface points with their parts, the mask of the true pose."""
    scene, rng = made.scene, np.random.default_rng(o + 10 * t)
    rotation = np.asarray(rotation_6d_to_matrix(made.ground_truth.object_rotation_6d))[o, t]
    translation = np.asarray(made.ground_truth.object_translation)[o, t]
    samples, parts = np.asarray(scene.objects.samples)[o], np.asarray(scene.objects.sample_parts)[o]
    posed = samples @ rotation.T + translation
    chosen = rng.choice(len(samples), points, replace=False)
    camera = jax.tree.map(
        lambda x: x[t : t + 1], scene.cameras.replace(cell_size=jnp.zeros((9, 2)))
    )
    cells = np.floor(pixels_of(camera, posed[None])[0] / CELL).astype(int)
    cells = cells[((cells >= 0) & (cells < (WIDTH // CELL[0], HEIGHT // CELL[1]))).all(axis=1)]
    filled = np.zeros((HEIGHT // CELL[1], WIDTH // CELL[0]), bool)
    filled[cells[:, 1], cells[:, 0]] = True
    mask_distance = np.asarray(distance_transform_edt(~filled), np.float32) * CELL[0]
    return FrameEvidence(
        jnp.asarray(posed[chosen], jnp.float32),
        jnp.asarray(rng.random(points) < 0.9),
        jnp.asarray(np.asarray(scene.objects.first_grid)[o] + 2 + parts[chosen], jnp.int32),
        jnp.asarray(pack_corners(mask_distance)),
        scene.cameras.Ts_pointmap_world[t],
        scene.cameras.intrinsics[t],
    )


def test_search_converges_from_30_degrees_and_10_centimetres(made):
    """Eight directions of error in every frame, refined in one program."""
    rng, count, frames = np.random.default_rng(1), 8, 3
    for o in range(OBJECTS):
        seen = [evidence(made, o, t, 64) for t in range(frames)]
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *seen)
        ground_truth = np.asarray(rotation_6d_to_matrix(made.ground_truth.object_rotation_6d))[
            o, :frames, None
        ]
        place = np.asarray(made.ground_truth.object_translation)[o, :frames, None]
        axes = rng.normal(size=(frames, count, 3))
        axes *= np.radians(30.0) / np.linalg.norm(axes, axis=-1, keepdims=True)
        away = rng.normal(size=(frames, count, 3))
        away *= 0.1 / np.linalg.norm(away, axis=-1, keepdims=True)
        turned = Rotation.from_rotvec(axes.reshape(-1, 3)).as_matrix().reshape(*axes.shape, 3)
        rotations = jnp.asarray(turned @ ground_truth, jnp.float32)
        translations = jnp.asarray(place + away, jnp.float32)
        found, at, costs = search_frames(
            search_object(made, o), stacked, rotations, translations, steps=25
        )
        trace = np.einsum("thij,tij->th", found, ground_truth[:, 0])
        degrees = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
        metres = np.linalg.norm(at - place, axis=-1)
        # The crate alone looks nearly the same turned over: some errors end in another minimum.
        home = (degrees < 2.0) & (metres < 0.01)
        assert home.mean() >= 0.8
        best = np.argmin(costs, axis=1)
        assert home[np.arange(frames), best].all()


def test_search_never_returns_worse_than_its_start(made):
    """Best-so-far: also from starts that the linearisation cannot handle."""
    frame, thing = evidence(made, 0, 0, 64), search_object(made, 0)
    rotations = jnp.asarray(Rotation.random(16, np.random.default_rng(0)).as_matrix(), jnp.float32)
    translations = jnp.asarray(
        np.random.default_rng(1).normal(loc=[0, 0.5, 0], size=(16, 3)), jnp.float32
    )
    before = jax.jit(jax.vmap(pose_cost, (None, None, 0, 0)))(thing, frame, rotations, translations)
    frames = jax.tree.map(lambda x: x[None], frame)
    found = search_frames(thing, frames, rotations[None], translations[None], steps=6)
    assert (np.asarray(found[2][0]) <= np.asarray(before) * (1 + 1e-5)).all()
    again = jax.jit(jax.vmap(pose_cost, (None, None, 0, 0)))(thing, frame, found[0][0], found[1][0])
    np.testing.assert_allclose(again, found[2][0], rtol=1e-3)
    right = found[0][0] @ jnp.swapaxes(found[0][0], -1, -2)
    np.testing.assert_allclose(right, np.broadcast_to(np.eye(3), right.shape), atol=1e-4)


def test_closed_form_jacobian_equals_automatic_differentiation(made):
    """Rotation by a small vector from the left, then translation: the parameters of a step."""
    frame, thing = evidence(made, 0, 1, 64), search_object(made, 0)
    rng = np.random.default_rng(2)
    rotation = jnp.asarray(
        Rotation.from_rotvec(0.2 * rng.normal(size=3)).as_matrix(), jnp.float32
    ) @ rotation_6d_to_matrix(made.ground_truth.object_rotation_6d[0, 1])
    translation = made.ground_truth.object_translation[0, 1] + jnp.asarray([0.05, -0.03, 0.04])

    def residual(step):
        turned = axis_angle_to_matrix(step[:3]) @ rotation
        return residuals(thing, frame, turned, translation + step[3:])[0]

    automatic = jax.jit(jax.jacfwd(residual))(jnp.zeros(6))
    closed = jax.jit(residuals)(thing, frame, rotation, translation)[1].T
    scale = np.abs(np.asarray(automatic)).max(axis=0)
    assert (scale > 0.0).all()
    np.testing.assert_allclose(closed, automatic, atol=1e-4 * scale.max())
    # And against differences, for residuals whose cell is the same on both sides.
    step = 1e-3
    ask = jax.jit(jax.vmap(residual))
    sides = [ask(jnp.eye(6) * sign * step) for sign in (1, -1)]
    difference = np.asarray(sides[0] - sides[1]).T / (2 * step)
    close = np.abs(difference - closed) < 0.02 * scale.max()
    assert close.mean() > 0.95


def test_points_that_are_masked_out_do_not_count(made):
    frame, thing = evidence(made, 1, 0, 64), search_object(made, 1)
    wild = frame.replace(
        points_world=jnp.where(frame.point_mask[:, None], frame.points_world, 50.0)
    )
    pose = (
        rotation_6d_to_matrix(made.ground_truth.object_rotation_6d[1, 0]),
        made.ground_truth.object_translation[1, 0],
    )
    ask = jax.jit(pose_cost)
    np.testing.assert_array_equal(ask(thing, frame, *pose), ask(thing, wild, *pose))
    empty = frame.replace(point_mask=jnp.zeros_like(frame.point_mask))
    assert np.isfinite(ask(thing, empty, *pose))


# --- paths ---------------------------------------------------------------------------------------


def path_problem(rng, frames=4, hypotheses=4):
    rotations = Rotation.random(frames * hypotheses, rng).as_matrix()
    translations = 0.3 * rng.normal(size=(frames, hypotheses, 3))
    unary = rng.uniform(0.0, 3.0, (frames, hypotheses))
    return rotations.reshape(frames, hypotheses, 3, 3), translations, unary


def enumerated(rotations, translations, unary, frames, costs):
    """Cost of every path, from the definition; `frames` are the ones that count."""
    table = {}
    for path in itertools.product(range(unary.shape[1]), repeat=len(frames)):
        total = sum(unary[t, h] for t, h in zip(frames, path, strict=True))
        for (a, i), (b, j) in itertools.pairwise(zip(frames, path, strict=True)):
            angle = (
                Rotation.from_matrix(rotations[a, i]).inv() * Rotation.from_matrix(rotations[b, j])
            ).magnitude()
            squared = np.sum((translations[a, i] - translations[b, j]) ** 2)
            move = (costs.rotation * angle**2 + costs.translation * squared) / (b - a)
            total += min(move, costs.cut * (b - a))
        table[path] = total
    return table


@pytest.mark.parametrize("seed", range(5))
def test_the_first_path_is_the_best_of_all(seed):
    rotations, translations, unary = path_problem(np.random.default_rng(seed))
    costs = PathCosts()
    table = enumerated(rotations, translations, unary, range(4), costs)
    paths, totals = best_paths(rotations, translations, unary, count=1, symmetries=IDENTITY)
    assert totals[0] == pytest.approx(min(table.values()), rel=1e-6)
    assert table[tuple(paths[0])] == pytest.approx(totals[0], rel=1e-6)


def test_frames_without_hypotheses_are_bridged():
    """A frame nothing was seen in: its cost is that of the step over it, twice as long."""
    rotations, translations, unary = path_problem(np.random.default_rng(7))
    unary[1] = np.inf
    table = enumerated(rotations, translations, unary, [0, 2, 3], PathCosts())
    paths, totals = best_paths(rotations, translations, unary, count=1, symmetries=IDENTITY)
    assert totals[0] == pytest.approx(min(table.values()), rel=1e-6)
    assert table[tuple(paths[0][[0, 2, 3]])] == pytest.approx(totals[0], rel=1e-6)


def steady_tracks(angles: list[float], frames: int, rng) -> np.ndarray:
    """(T, H, 3, 3): one hypothesis a track, each turning slowly about y, in shuffled order."""
    yaw = np.radians(np.asarray(angles)) + 0.02 * np.arange(frames)[:, None]
    vectors = yaw[..., None] * [0.0, 1.0, 0.0]
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*yaw.shape, 3, 3)


def near_share(rotations, a, b, symmetries) -> float:
    """Share of frames in which two paths are within 20 degrees modulo the symmetries."""
    frames = np.arange(len(a))
    relative = np.swapaxes(rotations[frames, a], -1, -2) @ rotations[frames, b]
    trace = np.einsum("tij,sij->ts", relative, symmetries)
    degrees = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))).min(axis=1)
    return float((degrees < 20.0).mean())


def test_paths_are_distinct_trajectories(rng):
    """Three tracks, each with a near copy: three paths, one a track, cheapest first."""
    frames = 10
    rotations = steady_tracks([0, 4, 90, 94, 180, 184], frames, rng)
    translations = np.zeros((frames, 6, 3))
    unary = np.array([1.0, 1.1, 1.5, 1.6, 2.0, 2.1]) + 0.01 * rng.random((frames, 6))
    paths, totals = best_paths(rotations, translations, unary, count=3, symmetries=IDENTITY)
    assert len(paths) == 3
    assert [set(path // 2) for path in paths] == [{0}, {1}, {2}]
    assert totals == sorted(totals)
    for a, b in itertools.combinations(paths, 2):
        assert near_share(rotations, a, b, IDENTITY) <= PathCosts().repeat


def test_symmetric_twins_are_one_path(rng):
    """Half a turn about y changes nothing: the track at 180 degrees is the one at 0."""
    frames = 10
    rotations = steady_tracks([0, 180, 90], frames, rng)
    translations = np.zeros((frames, 3, 3))
    unary = np.broadcast_to([1.0, 1.1, 1.5], (frames, 3)).copy()
    half_turn = Rotation.from_rotvec([[0, 0, 0], [0, np.pi, 0]]).as_matrix()
    paths, _ = best_paths(rotations, translations, unary, count=2, symmetries=half_turn)
    assert set(paths[0]) == {0}
    assert set(paths[1]) == {2}


def test_one_transition_costs_no_more_than_the_cut(rng):
    rotations, translations, _ = path_problem(rng, 2, 6)
    costs = PathCosts()
    for gap in (1, 3):
        found = transition(
            rotations[0], 10 * translations[0], rotations[1], translations[1], gap, costs
        )
        assert found.max() <= costs.cut * gap + 1e-9


# --- published starts ------------------------------------------------------------------------------


def test_observed_centers(made):
    """Middle of the box of the observed points; a missed frame takes the nearest seen one."""
    found = observed_centers(made.scene)
    points, mask = (np.asarray(made.scene.observed.points_world), made.scene.observed.point_mask)
    for o, t in np.ndindex(found.shape[:2]):
        source = 1 if (o, t) == (0, 2) else t
        seen = points[o, source][np.asarray(mask)[o, source]]
        middle = 0.5 * (seen.min(axis=0) + seen.max(axis=0))
        np.testing.assert_allclose(found[o, t], middle, atol=1e-6)


def test_a_detected_frame_whose_points_were_all_dropped_has_a_center(made):
    """A detection without a single usable point takes its place from the nearest frame that has one."""
    mask = np.asarray(made.scene.observed.point_mask).copy()
    mask[1, 3] = False
    observed = replace(made.scene.observed, point_mask=jnp.asarray(mask))
    found = observed_centers(replace(made.scene, observed=observed))
    assert np.isfinite(found).all()


def test_yaw_starts_are_an_even_grid(made):
    starts = yaw_starts(made.scene, 4, seed=0)
    rotations = np.asarray(rotation_6d_to_matrix(starts.unknowns.object_rotation_6d))
    expected = Rotation.from_euler("y", [[0], [90], [180], [270]], degrees=True).as_matrix()
    for o, t in np.ndindex(rotations.shape[1:3]):
        np.testing.assert_allclose(rotations[:, o, t], expected, atol=1e-6)
    assert len(set(starts.labels)) == 4
    offset = yaw_starts(made.scene, 4, seed=3)
    again = yaw_starts(made.scene, 4, seed=3)
    np.testing.assert_array_equal(
        offset.unknowns.object_rotation_6d, again.unknowns.object_rotation_6d
    )
    assert not np.allclose(offset.unknowns.object_rotation_6d, starts.unknowns.object_rotation_6d)


def yaws_of(starts) -> np.ndarray:
    """(K, O) degrees; the same in all frames."""
    rotations = np.asarray(rotation_6d_to_matrix(starts.unknowns.object_rotation_6d))
    assert (rotations == rotations[:, :, :1]).all()
    assert rotations[..., 1, 1] == pytest.approx(1)
    return np.degrees(np.arctan2(rotations[:, :, 0, 0, 2], rotations[:, :, 0, 0, 0])) % 360


def test_proposed_yaws_come_before_the_grid(made):
    """Of two objects, one has two proposals and one has none."""
    starts = yaw_starts(made.scene, 4, seed=0, proposals=[(30.0, 200.0), ()])
    expected = [[30, 0], [200, 90], [0, 180], [180, 270]]
    np.testing.assert_allclose(yaws_of(starts), expected, atol=1e-4)
    assert starts.labels == (
        "proposed yaw 30 / 0", "proposed yaw 200 / 90", "yaw 0 / 180", "yaw 180 / 270"
    )  # fmt: skip
    assert (
        yaw_starts(made.scene, 1, seed=3, proposals=[(30.0, 200.0), ()])
        .labels[0]
        .startswith("proposed yaw 30 / ")
    )


def test_proposed_yaws_stand_behind_the_paths(made):
    rng = np.random.default_rng(0)
    o, t = made.scene.object_count, made.scene.frame_count
    paths = Starts(
        Unknowns(
            jnp.asarray(rng.normal(size=(2, o, t, 6)), jnp.float32),
            jnp.asarray(rng.normal(size=(2, o, t, 3)), jnp.float32),
        ),
        ("path 1", "path 2"),
    )
    assert with_proposed_yaws(paths, made.scene, [(), ()]) is paths
    both = with_proposed_yaws(paths, made.scene, [(30.0, 200.0, 90.0), (45.0,)])
    assert both.labels[:2] == paths.labels
    assert len(both.labels) == 5
    found = both.unknowns
    np.testing.assert_array_equal(found.object_rotation_6d[:2], paths.unknowns.object_rotation_6d)
    first = jax.tree.map(lambda x: x[2:, :1], found)
    np.testing.assert_allclose(yaws_of(Starts(first, ())).T, [[30, 200, 90]], atol=1e-4)
    second = jax.tree.map(lambda x: x[2:, 1:], found)
    np.testing.assert_allclose(yaws_of(Starts(jax.tree.map(lambda x: x[:1], second), ())), [[45]])
    np.testing.assert_array_equal(
        found.object_translation[2:, 0], np.tile(observed_centers(made.scene)[0], (3, 1, 1))
    )
    for k, path in ((3, 1), (4, 0)):  # the second object has no further proposal
        np.testing.assert_array_equal(
            found.object_rotation_6d[k, 1], paths.unknowns.object_rotation_6d[path, 1]
        )
        np.testing.assert_array_equal(
            found.object_translation[k, 1], paths.unknowns.object_translation[path, 1]
        )


# --- alignment of point maps -----------------------------------------------------------------------


def body_cloud(rng, frames: int, count: int) -> np.ndarray:
    """A person-sized cloud that moves: head, trunk, arms and legs as ellipsoids."""
    centers = np.array(
        [[0, 1.6, 0], [0, 1.15, 0], [0.4, 1.3, 0.1], [-0.35, 1.1, 0.2], [0, 0.45, 0]]
    )
    radii = np.array([[0.1, 0.13, 0.1], [0.2, 0.3, 0.12], [0.25, 0.06, 0.06], [0.1, 0.25, 0.06],
                      [0.18, 0.45, 0.12]])  # fmt: skip
    part = rng.integers(0, len(centers), count)
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    rest = centers[part] + radii[part] * direction
    turn = Rotation.from_euler("y", 0.1 * np.arange(frames)[:, None]).as_matrix()
    return np.einsum("tij,nj->tni", turn, rest) + 0.05 * np.arange(frames)[:, None, None]


@pytest.fixture(scope="module")
def alignment():
    """A body in the world, and point maps of it under known similarities."""
    rng, frames, seen = np.random.default_rng(4), 4, 150
    vertices = body_cloud(rng, frames, 600)
    camera = np.asarray(invert_rigid(np.asarray(make_camera()))[None].repeat(frames, 0), np.float64)
    drift = compose_rigid(
        Rotation.from_rotvec(np.radians(2.0) * rng.normal(size=(frames, 3))).as_matrix(),
        0.04 * rng.normal(size=(frames, 3)),
    ).astype(np.float64)
    drift[:, :3, :3] *= rng.uniform(0.95, 1.05, (frames, 1, 1))
    ground_truth = drift @ camera  # T_world_pointmap
    inverse = np.linalg.inv(ground_truth)
    chosen = np.stack([rng.choice(600, seen, replace=False) for _ in range(frames)])
    points = np.take_along_axis(vertices, chosen[..., None], axis=1)
    points = np.einsum("tij,tnj->tni", inverse[:, :3, :3], points) + inverse[:, None, :3, 3]
    K = np.array([[60.0, 0, 32], [0, 60, 32], [0, 0, 1]])
    homogeneous = points @ K.T
    pixels = homogeneous[..., :2] / homogeneous[..., 2:]
    mask = rng.random((frames, seen)) < 0.9
    arrays = {"points": points, "pixels": pixels, "all_points": points, "all_pixels": pixels}
    arrays |= {"vertices_world": vertices, "Ts_world_camera": camera}
    data = AlignmentData(
        mask=jnp.asarray(mask),
        all_mask=jnp.asarray(mask),
        intrinsics=jnp.asarray(np.tile(K, (frames, 1, 1)), jnp.float32),
        **{name: jnp.asarray(value, jnp.float32) for name, value in arrays.items()},
    )
    return data, ground_truth


def make_camera() -> np.ndarray:
    """T_pointmap_world of the factory's camera without its drift, moved back to see a person."""
    T = np.asarray(make_cameras(np.random.default_rng(0)).Ts_pointmap_world[0], np.float64)
    rotation = T[:3, :3] / np.cbrt(np.linalg.det(T[:3, :3]))
    return compose_rigid(rotation, -rotation @ np.array([0.4, 1.2, 4.0]))


def published_weights(**changes: float) -> AlignmentWeights:
    values = {"points": 1e3, "pixels": 1e-3, "rays": 0.0, "smoothness": 0.0} | changes
    return AlignmentWeights(**{name: jnp.asarray(value) for name, value in values.items()})


def test_alignment_recovers_a_known_similarity(alignment):
    """Scale, rotation and shift of every frame, from the published losses alone."""
    data, ground_truth = alignment
    similarity = align_point_maps(data, published_weights(), jnp.asarray(0.01), steps=300)
    found = np.asarray(similarity.matrices(), np.float64)
    started, ended = (
        np.linalg.norm(apply(T, data.points) - apply(ground_truth, data.points), axis=-1)
        for T in (np.asarray(data.Ts_world_camera), found)
    )
    assert np.median(started) > 0.03
    by_frame = np.median(ended, axis=1)  # nearest vertices slide along limbs: not exact
    assert by_frame.max() < 0.01
    assert np.median(by_frame) < 0.005
    scale, true_scale = (np.cbrt(np.linalg.det(T[:, :3, :3])) for T in (found, ground_truth))
    np.testing.assert_allclose(scale, true_scale, atol=0.01)
    np.testing.assert_array_equal(found[:, 3], np.tile([0, 0, 0, 1], (len(found), 1)))


def test_alignment_ignores_masked_points(alignment):
    data, _ = alignment
    wild = jnp.where(data.mask[..., None], data.points, 9.0)
    ask = lambda d: align_point_maps(d, published_weights(), jnp.asarray(0.01), steps=300)  # noqa: E731
    first = ask(data).matrices()
    second = ask(data.replace(points=wild, all_points=wild)).matrices()
    np.testing.assert_array_equal(first, second)


def test_moments_sum_up_squared_distances(alignment, rng):
    """Against the sum over points, at another similarity than the one the matches were found at."""
    data, ground_truth = alignment
    frames = len(ground_truth)
    six = np.tile(np.float32([1, 0, 0, 0, 1, 0]), (frames, 1))
    six += rng.normal(0, 0.2, (frames, 6)).astype(np.float32)
    move = rng.normal(0, 0.1, (frames, 3)).astype(np.float32)
    here = Similarity(
        jnp.asarray(rng.normal(0, 0.1, frames), jnp.float32), jnp.asarray(six), jnp.asarray(move)
    )
    start = here.replace(log_scale=jnp.zeros(frames), translation=jnp.zeros((frames, 3)))
    T = np.asarray(here.matrices(), np.float64)
    found = _squared_distance(
        jnp.asarray(T[:, :3, :3], jnp.float32), here, _matches(start, data, False)
    )
    before = apply(np.asarray(start.matrices()), data.points)
    vertices, mask = np.asarray(data.vertices_world, np.float64), np.asarray(data.mask)
    for t in range(frames):
        nearest = ((before[t][:, None] - vertices[t]) ** 2).sum(-1).argmin(1)
        off = ((apply(T, data.points)[t] - vertices[t][nearest]) ** 2).sum(-1)
        np.testing.assert_allclose(found[t], off[mask[t]].mean(), rtol=1e-3, atol=1e-6)


def test_alignment_without_points_stays_at_the_camera(alignment):
    """Nobody seen: nothing pulls, and nothing becomes NaN."""
    data, _ = alignment
    nobody = data.replace(mask=jnp.zeros_like(data.mask), all_mask=jnp.zeros_like(data.mask))
    weights = published_weights(rays=1e-2, smoothness=0.0)
    found = align_point_maps(nobody, weights, jnp.asarray(0.01), steps=300).matrices()
    np.testing.assert_allclose(found, data.Ts_world_camera, atol=1e-5)


def apply(T: np.ndarray, points) -> np.ndarray:
    points = np.asarray(points, np.float64)
    return np.einsum("tij,tnj->tni", T[:, :3, :3], points) + T[:, None, :3, 3]


# --- look-ups in images ----------------------------------------------------------------------------


def test_bilinear_between_and_beyond_pixels(rng):
    from scipy.ndimage import map_coordinates

    image = rng.random((7, 9)).astype(np.float32)
    uv = rng.uniform([-3, -3], [12, 10], (200, 2)).astype(np.float32)
    expected = map_coordinates(image, [uv[:, 1], uv[:, 0]], order=1, mode="nearest")
    corners = jnp.asarray(pack_corners(image))
    value, slope = jax.jit(bilinear_with_gradient)(corners, jnp.asarray(uv))
    np.testing.assert_allclose(value, expected, atol=3e-4)
    pulled = jax.jit(jax.grad(lambda x: jnp.sum(bilinear(corners, x))))(jnp.asarray(uv))
    np.testing.assert_allclose(pulled, slope, atol=1e-6)
    outside = (uv < 0) | (uv > [8, 6])
    assert (np.asarray(slope)[outside] == 0.0).all()
    assert np.isfinite(slope).all()
