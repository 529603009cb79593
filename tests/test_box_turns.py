"""Quarter turns among the starts of an object without depth (`initialization.box_turns`)."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoijax.initialization.box_turns import box_turns, tells_by_outline, with_box_turns
from hoijax.initialization.held_together import HELD, held_together
from hoijax.initialization.trajectory_paths import PathCosts
from hoijax.initialization.unflip import unfold
from hoijax.scene.silhouettes import DIRECTION_COUNT, Outline, Silhouettes

CORNERS = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
TILT = Rotation.from_rotvec([0.3, 0.6, -0.4]).as_matrix()
FRAMES = 12
COSTS = PathCosts()
NO_SYMMETRY = np.eye(3)[None]


def path() -> tuple[np.ndarray, np.ndarray]:
    turning = Rotation.from_rotvec(np.linspace(0.0, 0.8, FRAMES)[:, None] * [0.0, 1.0, 0.0])
    return turning.as_matrix(), np.zeros((FRAMES, 3))


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    cosine = (np.einsum("...ij,...ij->...", a, b) - 1.0) / 2.0
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def costs_from(wanted: np.ndarray):
    """A search that leaves poses where they are: they cost more the farther they are from these rotations."""
    return lambda R, x: (R, x, np.radians(degrees(R, wanted[:, None])))


def test_the_box_of_a_mesh_that_is_tilted_in_its_file_turns_onto_itself():
    corners = CORNERS @ TILT.T
    turns = box_turns(corners)
    assert turns.shape == (24, 3, 3)
    np.testing.assert_allclose(np.linalg.det(turns), 1.0, atol=1e-6)
    assert degrees(turns[:, None], turns).max() == pytest.approx(180.0, abs=0.1)
    apart = np.linalg.norm((corners @ np.swapaxes(turns, 1, 2))[:, :, None] - corners, axis=-1)
    assert apart.min(axis=2).max() < 1e-6


def test_a_flat_sheet_turns_about_its_edges():
    turns = box_turns(CORNERS * [0.6, 0.4, 0.0])
    np.testing.assert_allclose(np.abs(turns).max(axis=2), 1.0, atol=1e-6)


def test_the_quarter_turn_that_fits_comes_first_and_all_differ():
    """The only path is off by a quarter turn about an axis of the box, which is no axis of the file."""
    track, corners = path(), (CORNERS * [0.5, 0.4, 0.3]) @ TILT.T
    quarter = TILT @ Rotation.from_rotvec([0.0, 0.0, np.pi / 2]).as_matrix() @ TILT.T
    wanted = track[0] @ quarter
    tracks = with_box_turns(
        corners,
        [track],
        np.ones(FRAMES, bool),
        NO_SYMMETRY,
        costs_from(wanted),
        COSTS,
    )
    assert degrees(tracks[0][0], wanted).max() < 1.0
    assert len(tracks) == 24
    apart = [degrees(a, b).mean() for (a, _), (b, _) in itertools.combinations(tracks, 2)]
    assert min(apart) > 80.0


def test_turns_that_look_the_same_are_one():
    about_z = Rotation.from_rotvec(np.radians(np.arange(0, 360, 90))[:, None] * [0.0, 0.0, 1.0])
    tracks = with_box_turns(
        CORNERS * [0.3, 0.3, 0.8],
        [path()],
        np.ones(FRAMES, bool),
        about_z.as_matrix(),
        costs_from(path()[0]),
        COSTS,
    )
    assert len(tracks) == 6  # which side is up


def test_a_path_that_flips_between_quarter_turns_stands_behind_its_continuous_variants():
    rotations, positions = path()
    flipping = rotations.copy()
    flipping[8:] = rotations[8:] @ Rotation.from_rotvec([0.0, 0.0, 1.3]).as_matrix()
    first, _ = unfold(flipping)  # 74 degrees: no half turn
    np.testing.assert_allclose(first[:8], rotations[:8])
    tracks = with_box_turns(
        CORNERS * [0.5, 0.4, 0.3],
        [(flipping, positions), (rotations, positions)],
        np.ones(FRAMES, bool),
        NO_SYMMETRY,
        lambda R, x: (R, x, np.zeros(R.shape[:2])),
        COSTS,
    )
    assert max(degrees(r[1:], r[:-1]).max() for r, _ in tracks[:6]) < 10.0


def test_a_turn_that_some_frames_lose_is_held_by_those_beside_them():
    """Frame by frame another turn costs less at the end, and nothing is seen in between."""
    right, positions = path()
    seen = np.arange(FRAMES) != 5
    lost = right.copy()
    lost[7:10] = right[7:10] @ Rotation.from_rotvec([0.9, 0.0, 0.0]).as_matrix()
    lost[5] = np.eye(3)
    reached = []

    def refine(R, x):
        reached.append(R.shape)
        is_right = degrees(R, right[:, None]) < 20.0
        cost = np.where(np.isin(np.arange(FRAMES), (7, 8, 9))[:, None] == is_right, 0.3, 0.0)
        return np.where(is_right[..., None, None], right[:, None], R), x, cost

    other = right @ Rotation.from_rotvec([0.0, 0.0, np.pi / 2]).as_matrix()
    tracks, cost = held_together(
        [(lost, positions), (other, positions)], seen, NO_SYMMETRY, refine, COSTS
    )
    assert len(set(reached)) == 1  # one program
    errors = np.sort([degrees(r, right).max() for r, _ in tracks])
    assert errors[0] < 1.0
    assert errors[1] > 80.0  # the other track stays another
    assert cost < 5.0


def test_only_the_best_tracks_are_held_together():
    tracks = [path()] * (HELD + 3)
    still = costs_from(path()[0])
    held, _ = held_together(tracks, np.ones(FRAMES, bool), NO_SYMMETRY, still, COSTS)
    assert len(held) == HELD


@pytest.mark.parametrize(("alone", "expected"), [((1, 1, 0), True), ((1, 0, 0), False)])
def test_only_of_objects_that_mostly_lack_depth(alone, expected):
    outline = np.ones((1, 3, DIRECTION_COUNT), np.float32)
    alone = np.array([alone], np.float32)
    silhouettes = Silhouettes(
        jnp.asarray(CORNERS[None], jnp.float32),
        Outline(*map(jnp.asarray, (outline, outline, outline, alone, alone))),
        None,
    )
    assert tells_by_outline(silhouettes, 0) is expected
