"""Windows of masks and distances near them, against whole images."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from hoijax.geometry.cropping import distances_near, window_around


def test_windows_hold_the_mask_its_margin_and_no_more(rng):
    mask = np.zeros((40, 60), bool)
    assert mask[window_around(mask, 3)].size == 0
    mask[10:14, 50:58] = True
    assert window_around(mask, 3) == (slice(7, 17), slice(47, 60))


def test_distances_near_a_mask_are_those_of_the_whole_image(rng):
    mask = rng.random((50, 70)) > 0.995
    mask[:, :20] = False
    pixels = np.argwhere(np.ones_like(mask))
    whole = np.asarray(distance_transform_edt(~mask))[pixels[:, 0], pixels[:, 1]]
    near = distances_near(mask, pixels, reach=7.5)
    close = whole <= 7.5
    np.testing.assert_array_equal(near[close], whole[close])
    assert (near[~close] > 7.5).all()
    assert np.isinf(distances_near(np.zeros_like(mask), pixels[:2], 7.5)).all()
