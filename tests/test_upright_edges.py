"""Which way is up, from edges drawn where a tilted camera sees upright posts."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from priors.models.upright_edges import up_of_scene

cv2 = pytest.importorskip("cv2")

HEIGHT, WIDTH, FOCAL = 240, 320, 300.0
K = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]], np.float32)
MOVING = np.zeros((3, HEIGHT, WIDTH), bool)


def posts(
    pitch: float, roll: float, count: int = 9, lean: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """(a clip of posts before a gray wall, up in the camera's axes); lean: degrees, of the posts, to either side."""
    rng = np.random.default_rng(0)
    # A level camera's axes turned: roll about the view, then down by the pitch.
    R = Rotation.from_euler("xz", [pitch, -roll], degrees=True).as_matrix()
    up = R.T @ np.array([0.0, -1.0, 0.0])
    image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    for x in np.linspace(-2.0, 2.0, count):
        foot = np.array([x, 1.4, rng.uniform(3.5, 5.0)])
        aside = np.tan(np.radians(rng.uniform(-lean, lean)))
        head = foot + np.array([aside, -rng.uniform(1.0, 2.5), 0.0])
        ends = np.stack([foot, head]) @ R
        pixels = ends[:, :2] / ends[:, 2:] * FOCAL + K[:2, 2]
        shade = [int(rng.integers(0, 80))] * 3
        cv2.line(image, *[tuple(int(v) for v in p.round()) for p in pixels], shade, 5)
    return np.tile(image, (3, 1, 1, 1)), up


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (14, 0), (-9, 2), (25, -3)])
def test_posts_say_how_the_camera_is_tilted(pitch, roll):
    frames, up = posts(pitch, roll)
    found = up_of_scene(frames, MOVING, np.tile(K, (3, 1, 1)))
    assert found is not None
    assert np.degrees(np.arccos(found @ up)) < 1.5


def test_posts_that_lean_every_way_say_nothing():
    frames, _ = posts(14, 0, count=25, lean=35.0)
    assert up_of_scene(frames, MOVING, np.tile(K, (3, 1, 1))) is None


def test_what_moves_does_not_count():
    frames, _ = posts(14, 0)
    assert up_of_scene(frames, ~MOVING, np.tile(K, (3, 1, 1))) is None
    assert up_of_scene(np.full_like(frames, 90), MOVING, np.tile(K, (3, 1, 1))) is None
