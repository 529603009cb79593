"""The size of an object without depth, before its candidates are chosen (`initialization.outline_sizes`)."""

import numpy as np
import pytest
from scene_factory import make_scene, pixels_of

from hoijax.initialization.outline_sizes import SIZES, fitted_at_best_size, seen_alike
from hoijax.methods.joint.method import METHOD
from hoijax.methods.joint.settings import JointSettings
from hoijax.methods.joint.sizes import with_start_sizes


@pytest.mark.parametrize(("true", "tried"), [(SIZES[1], 5), (1.0, 3), (SIZES[4], 4), (2.0, 5)])
def test_the_size_that_fits_is_found_downhill(true, tried):
    fits = []

    def fit(size):
        fits.append(size)
        return [], 30.0 + 400.0 * np.log(size / true) ** 2

    size, (_, cost) = fitted_at_best_size(SIZES, fit)
    assert size == min(SIZES, key=lambda x: abs(np.log(x / true)))
    assert cost == pytest.approx(30.0 + 400.0 * np.log(size / true) ** 2)
    assert len(fits) == tried


def test_sizes_that_fit_alike_are_the_size_of_the_mesh():
    assert fitted_at_best_size(SIZES, lambda size: ([], 30.0 - 0.1 * size))[0] == 1.0
    assert fitted_at_best_size((0.8, 0.9), lambda size: ([], 1.0 / size))[0] == 0.9


def test_a_larger_object_farther_away_looks_the_same():
    cameras = make_scene(resolution=24, noise=0.0).scene.cameras
    frames = len(cameras.intrinsics)
    rng = np.random.default_rng(0)
    shape, position = rng.uniform(-0.2, 0.2, (20, 3)), rng.uniform(-0.1, 0.1, (frames, 3))
    ((_, moved),) = seen_alike(
        [(np.broadcast_to(np.eye(3), (frames, 3, 3)), position)], 1.3, cameras
    )
    same = pixels_of(cameras, 1.3 * shape + moved[:, None])
    np.testing.assert_allclose(same, pixels_of(cameras, shape + position[:, None]), atol=0.01)


@pytest.mark.parametrize(
    ("asked", "tried"), [("solve", SIZES), ("fixed", (1.0,)), ("0.9", (1.0,)), ("0.9-1.05", None)]
)
def test_sizes_are_tried_where_meshes_may_change(asked, tried):
    settings = METHOD.settings(object_scale=asked)
    assert isinstance(settings, JointSettings)
    sizes = with_start_sizes(settings, has_joints=False).search.sizes
    assert with_start_sizes(settings, has_joints=True) == settings
    if tried is None:
        assert (sizes[0], sizes[-1]) == (0.9, 1.05)
        assert 1.0 in sizes
    else:
        assert sizes == pytest.approx(tried)
