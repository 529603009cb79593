"""Every loss term against its numpy twin: values, masks, gradients per unknown, all the switches.

One compiled program returns the values, masks and gradients of all terms; every test feeds it other
numbers. Gradients are compared with central differences of the twins, in float64: a sharper oracle
than differences of float32 values.
"""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_twins import TWINS, make_twin, reduced, side_shares
from scene_factory import (
    EITHER,
    FRAMES,
    MISSED,
    OBJECTS,
    PADDING,
    SET,
    SINGLE,
    MadeScene,
    make_scene,
)

from hoijax.losses import contacts as contact_module
from hoijax.losses.contacts import contact, contact_drift
from hoijax.losses.fit import (
    model_mask,
    object_pixels,
    object_points,
    part_pixels,
    part_points,
    robust_object_points,
    robust_part_points,
)
from hoijax.losses.penetrations import ground, object_penetration, penetration
from hoijax.losses.smoothness import rotation_smoothness, translation_smoothness
from hoijax.losses.term import LossTerm, reduce_term
from hoijax.methods.hoi_page.terms import TERMS as METHOD_TERMS
from hoijax.scene.posed import pose_scene
from hoijax.scene.scene import Neighbors, Scene, Unknowns

FUNCTIONS = (
    object_points,
    part_points,
    robust_object_points,
    robust_part_points,
    object_pixels,
    part_pixels,
    model_mask,
    translation_smoothness,
    rotation_smoothness,
    penetration,
    object_penetration,
    ground,
    contact,
    contact_drift,
)
NAMES = [function.__name__ for function in FUNCTIONS]
OF_DETECTIONS = (
    "object_points",
    "part_points",
    "robust_object_points",
    "robust_part_points",
    "object_pixels",
    "part_pixels",
    "model_mask",
)
"""Terms that read what was seen of the objects."""
TERMS = tuple(LossTerm.constant(f.__name__, f, 1.0) for f in FUNCTIONS)


COPIES = 2


@jax.jit
def run_terms(scene: Scene, unknowns: Unknowns, neighbors: Neighbors):
    """Values and masks by name, reduced values and their gradients (stacked over terms), side shares.

    Compiled and vmapped over candidates, as the solver runs them.
    """

    def copies(tree):
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (COPIES, *x.shape)), tree)

    return jax.vmap(_one_candidate, (None, 0, 0))(scene, copies(unknowns), copies(neighbors))


def _one_candidate(scene: Scene, unknowns: Unknowns, neighbors: Neighbors):
    def totals(unknowns):
        posed = pose_scene(scene, unknowns, neighbors)
        shares = contact_module.side_shares(posed, contact_module.edge_distances(posed))
        values = {term.name: term.function(posed) for term in TERMS}
        return jnp.stack([reduce_term(term, posed) for term in TERMS]), (values, shares)

    total, pull_back, (values, shares) = jax.vjp(totals, unknowns, has_aux=True)
    (slopes,) = jax.vmap(pull_back)(jnp.eye(len(TERMS)))
    return values, total, slopes, shares


class Outcome:
    """What `run_terms` gives for a synthetic scene, by term name."""

    def __init__(self, made: MadeScene):
        copies = run_terms(made.scene, made.unknowns, made.neighbors)
        jax.tree.map(lambda x: np.testing.assert_array_equal(x[0], x[1]), copies)
        values, totals, slopes, shares = jax.tree.map(lambda x: x[0], copies)
        self.values = {name: np.asarray(values[name][0]) for name in NAMES}
        self.masks = {name: np.asarray(values[name][1]) for name in NAMES}
        self.totals = dict(zip(NAMES, np.asarray(totals), strict=True))
        self.slopes = {
            name: Unknowns(
                np.asarray(slopes.object_rotation_6d[i]), np.asarray(slopes.object_translation[i])
            )
            for i, name in enumerate(NAMES)
        }
        self.shares = np.asarray(shares)

    def counted(self, name: str) -> np.ndarray:
        return np.where(self.masks[name], self.values[name], 0.0)

    def assert_finite(self):
        for name in NAMES:
            assert np.isfinite(self.counted(name)).all(), name
            assert np.isfinite(self.totals[name]), name
            for slope in (
                self.slopes[name].object_rotation_6d,
                self.slopes[name].object_translation,
            ):
                assert np.isfinite(slope).all(), f"gradient of {name}"


@pytest.fixture(scope="session")
def made() -> MadeScene:
    return make_scene()


@pytest.fixture(scope="session")
def outcome(made) -> Outcome:
    return Outcome(made)


def with_scene(made: MadeScene, **parts) -> MadeScene:
    """The scene with fields replaced, e.g. edges={"mask": ...}; "neighbors" for neighbors."""
    neighbors = parts.pop("neighbors", {})
    changed = {
        name: replace(
            getattr(made.scene, name),
            **{key: jnp.asarray(value) for key, value in fields.items()},
        )
        for name, fields in parts.items()
    }
    fresh = {key: jnp.asarray(value, jnp.float32) for key, value in neighbors.items()}
    return replace(
        made, scene=replace(made.scene, **changed), neighbors=replace(made.neighbors, **fresh)
    )


def with_poses(made: MadeScene, rotation_6d, translation) -> MadeScene:
    unknowns = Unknowns(
        jnp.asarray(rotation_6d, jnp.float32), jnp.asarray(translation, jnp.float32)
    )
    return replace(made, unknowns=unknowns)


def assert_equal_to_twins(made: MadeScene):
    found, twin = Outcome(made), make_twin(made)
    np.testing.assert_allclose(found.shares, side_shares(twin), atol=1e-4)
    for name in NAMES:
        values, mask = TWINS[name](twin)
        np.testing.assert_array_equal(found.masks[name], mask, err_msg=name)
        scale = np.abs(values).max()
        np.testing.assert_allclose(
            found.counted(name), values, rtol=2e-4, atol=2e-5 * scale + 1e-9, err_msg=name
        )
        np.testing.assert_allclose(found.totals[name], reduced(values), rtol=2e-4, err_msg=name)


def test_every_term_of_the_method_is_tested():
    """A new term needs a twin in tests/loss_twins.py and a place in FUNCTIONS."""
    used = {term.function.__name__ for table in METHOD_TERMS.values() for term in table}
    assert used <= set(NAMES)
    assert set(TWINS) == set(NAMES)


def test_the_scene_exercises_every_term(outcome):
    """A twin that agrees on zeros would prove nothing."""
    assert all(outcome.totals[name] > 0.0 for name in NAMES)
    for name in NAMES:
        slopes = outcome.slopes[name]
        assert np.any(slopes.object_translation != 0.0) or name == "rotation_smoothness"
        assert np.any(slopes.object_rotation_6d != 0.0) or name == "translation_smoothness"
    in_contact = outcome.counted("contact")
    assert (in_contact[:PADDING].max(axis=-1) > 0.0).all()
    assert (outcome.counted("penetration") > 0.0).any(axis=(1, 2)).all()


def test_values_equal_their_twins(made):
    assert_equal_to_twins(made)


@pytest.mark.parametrize("seed", [1, 2])
def test_values_equal_their_twins_in_other_scenes(seed):
    assert_equal_to_twins(make_scene(seed))


def flipped(made: MadeScene, room: str, field: str) -> MadeScene:
    value = ~np.asarray(getattr(getattr(made.scene, room), field))
    return with_scene(made, **{room: {field: value}})


@pytest.mark.parametrize(
    ("room", "field"),
    [
        ("objects", "is_translational"),  # a_tau
        ("objects", "is_rotational"),  # a_r
        ("edges", "every_frame"),  # a_c
        ("edges", "is_rel_static"),  # a_s
        ("edges", "select_side"),
        ("edges", "use_mean"),
    ],
)
def test_switches_flipped_equal_their_twins(made, room, field):
    assert_equal_to_twins(flipped(made, room, field))


@functools.cache
def twin_slopes(seed: int) -> dict[str, Unknowns]:
    """Central differences of all twins at once, with the side selection held fixed."""
    made = make_scene(seed)
    shares = side_shares(make_twin(made))
    step = 1e-6
    slopes = {}
    base = [np.asarray(x, np.float64) for x in jax.tree.leaves(made.unknowns)]
    for leaf in range(2):
        found = np.zeros((len(NAMES), *base[leaf].shape))
        for index in np.ndindex(base[leaf].shape):
            sides = []
            for sign in (1, -1):
                moved = [x.copy() for x in base]
                moved[leaf][index] += sign * step
                twin = make_twin(made, Unknowns(*moved), shares)
                sides.append([reduced(TWINS[name](twin)[0]) for name in NAMES])
            found[(slice(None), *index)] = np.subtract(*sides) / (2 * step)
        slopes[leaf] = found
    return {name: Unknowns(slopes[0][i], slopes[1][i]) for i, name in enumerate(NAMES)}


@pytest.mark.parametrize("unknown", ["object_rotation_6d", "object_translation"])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_equals_central_differences(outcome, name, unknown):
    found = getattr(outcome.slopes[name], unknown)
    expected = getattr(twin_slopes(0)[name], unknown)
    np.testing.assert_allclose(
        found, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max() + 1e-7
    )


def test_a_missing_frame_does_not_change_the_weight_of_the_others(made, outcome):
    """Fixed denominators: what one frame costs is taken away, nothing is shared out anew."""
    frame = (1, 3)
    detected = np.asarray(made.scene.observed.detected).copy()
    detected[frame] = False
    after = Outcome(with_scene(made, observed={"detected": detected}))
    for name in OF_DETECTIONS:
        values = outcome.counted(name)
        lost = values[frame[0], ..., frame[1]].sum()
        assert lost > 0.0
        np.testing.assert_allclose(
            after.totals[name], outcome.totals[name] - lost / FRAMES, rtol=1e-4
        )
        rest = np.ones((OBJECTS, FRAMES), bool)
        rest[frame] = False
        by_frame = np.moveaxis(values, -1, 1)[rest], np.moveaxis(after.counted(name), -1, 1)[rest]
        np.testing.assert_array_equal(*by_frame)
        # The other frames pull as hard as before; the missing one not at all.
        pull = np.asarray(after.slopes[name].object_translation)
        np.testing.assert_array_equal(pull[rest], outcome.slopes[name].object_translation[rest])
        np.testing.assert_array_equal(pull[frame], 0.0)


def test_a_frame_without_detection_pulls_on_nothing(outcome):
    for name in OF_DETECTIONS:
        assert not outcome.masks[name][MISSED[0], ..., MISSED[1]].any()
        np.testing.assert_array_equal(outcome.slopes[name].object_translation[MISSED], 0.0)


def test_padding_changes_nothing(made, outcome):
    """More points, samples and edges that are masked out: same totals."""
    wild = np.asarray(made.scene.edges.points).copy()
    wild[PADDING] = 7.0
    points = np.asarray(made.scene.observed.points_world).copy()
    points[~np.asarray(made.scene.observed.point_mask)] = -3.0
    pixels = np.asarray(made.scene.observed.pixels).copy()
    pixels[~np.asarray(made.scene.observed.point_mask)] = 900.0
    after = Outcome(
        with_scene(
            made, edges={"points": wild}, observed={"points_world": points, "pixels": pixels}
        )
    )
    for name in NAMES:
        np.testing.assert_allclose(after.totals[name], outcome.totals[name], rtol=1e-5)


def test_contact_throughout_counts_every_frame_in_contact(made, outcome):
    """a_c true: frames by their contact state; the value is a mean over all frames."""
    states = np.asarray(made.neighbors.contact_state)
    values = outcome.counted("contact")
    assert (values[SET] > 0.0).tolist() == (states[SET] > 0.0).tolist()


def test_contact_at_some_time_counts_the_best_frame_only(made, outcome):
    """a_c false: the best frame stands for the clip, and only it is pulled."""
    values = outcome.counted("contact")[SINGLE]
    assert np.count_nonzero(values) == 1
    # Its weight is that of a whole clip: moving all frames closer in the same way costs the same as a_c.
    throughout = Outcome(flipped(made, "edges", "every_frame")).counted("contact")[SINGLE]
    best = np.argmin(throughout)
    assert values[best] == pytest.approx(FRAMES * throughout[best], rel=1e-5)


def test_either_side_selects_the_closer_side(made):
    """The side that ends up closer counts, softly and without a host branch; a set counts both."""
    points = np.asarray(made.scene.edges.points).copy()
    middle = np.asarray(made.unknowns.object_translation)[0][:, None]
    for near, far in ((0, 1), (1, 0)):
        points[EITHER, near] = middle + 0.02
        points[EITHER, far] = middle + 1.5
        scene = with_scene(made, edges={"points": points})
        found = Outcome(scene)
        assert found.shares[EITHER, near] > 0.999
        as_set = Outcome(flipped(scene, "edges", "select_side"))
        np.testing.assert_array_equal(as_set.shares[EITHER], [0.5, 0.5])
        assert as_set.totals["contact"] > 10.0 * found.totals["contact"]
    points[EITHER, 1] = points[EITHER, 0]
    tie = Outcome(with_scene(made, edges={"points": points}))
    np.testing.assert_allclose(tie.shares[EITHER], [0.5, 0.5], atol=1e-6)


def test_a_side_that_is_not_there_never_counts(outcome):
    np.testing.assert_array_equal(outcome.shares[SINGLE], [0.0, 1.0])
    np.testing.assert_array_equal(outcome.shares[PADDING], [0.0, 0.0])


def test_drift_ends_where_contact_ends(made):
    """Slip between a frame in contact and one apart costs nothing."""
    apart = np.zeros(np.asarray(made.neighbors.contact_state).shape)
    apart[:, 2] = 1.0  # touching in one frame only: nothing to slip against
    found = Outcome(with_scene(made, neighbors={"contact_state": apart}))
    np.testing.assert_array_equal(found.counted("contact_drift"), 0.0)


def test_a_part_that_rides_on_the_object_does_not_drift(made):
    """Contact points fixed in the object's frame: no drift; points that move in it: drift."""
    unknowns, edges = made.unknowns, np.asarray(made.scene.edges.points).copy()
    twin = make_twin(made)
    local = np.random.default_rng(5).normal(scale=0.1, size=(edges.shape[3], 3))
    for t in range(FRAMES):
        edges[SET, :, t] = twin.to_world(local, 0, t)
    states = np.ones(np.asarray(made.neighbors.contact_state).shape)
    riding = with_scene(made, edges={"points": edges}, neighbors={"contact_state": states})
    np.testing.assert_allclose(Outcome(riding).counted("contact_drift")[SET], 0.0, atol=1e-12)
    moved = with_poses(
        riding, unknowns.object_rotation_6d, unknowns.object_translation.at[0, 2, 0].add(0.1)
    )
    slip = Outcome(moved).counted("contact_drift")[SET]
    np.testing.assert_allclose(slip, [0, 0, 0.01, 0.01, 0], atol=1e-5)


def test_no_motion_costs_no_smoothness(made):
    unknowns = made.unknowns
    still = with_poses(
        made,
        jnp.broadcast_to(unknowns.object_rotation_6d[:, :1], unknowns.object_rotation_6d.shape),
        jnp.broadcast_to(unknowns.object_translation[:, :1], unknowns.object_translation.shape),
    )
    for scene in (
        still,
        flipped(flipped(still, "objects", "is_translational"), "objects", "is_rotational"),
    ):
        found = Outcome(scene)
        found.assert_finite()
        np.testing.assert_array_equal(found.totals["translation_smoothness"], 0.0)
        np.testing.assert_allclose(found.totals["rotation_smoothness"], 0.0, atol=1e-10)
        np.testing.assert_allclose(
            found.slopes["rotation_smoothness"].object_rotation_6d, 0.0, atol=1e-5
        )


def test_steady_motion_is_smooth_only_where_the_graph_says_it_moves(made):
    """Constant velocity costs nothing to what may translate, and the step to what may not."""
    steps = np.arange(FRAMES)[:, None] * [0.1, 0.0, 0.0]
    translation = np.asarray(made.unknowns.object_translation)[:, :1] + steps
    found = Outcome(with_poses(made, made.unknowns.object_rotation_6d, translation))
    values = found.counted("translation_smoothness")
    np.testing.assert_allclose(values[0], 0.0, atol=1e-10)
    np.testing.assert_allclose(values[1], [0.0, *[10.0 * 0.01] * (FRAMES - 1)], rtol=1e-4)
