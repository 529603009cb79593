"""A disc that flies is given back its own length; what rests, bounces or is not seen stays."""

import numpy as np

from priors.models.motion_blur import SMEAR, without_blur

H, W, R = 80, 200, 14


def swept(x, speed, y=40):
    """Of a disc in the middle of its way, as long as a mask of it is."""
    rows, columns = np.mgrid[:H, :W]
    half = 0.5 * SMEAR * speed
    along = np.maximum(np.abs(columns - x) - half, 0)
    return along**2 + (rows - y) ** 2 < R**2


def test_a_flying_disc_is_round_again():
    speed = 24.0
    masks = np.stack([swept(30 + speed * t, speed) for t in range(6)])
    sharp = without_blur(masks)
    for t in range(1, 5):
        disc = swept(30 + speed * t, 0.0)
        assert (sharp[t] & disc).sum() > 0.97 * (sharp[t] | disc).sum()
        assert (masks[t] & disc).sum() < 0.9 * (masks[t] | disc).sum()
    np.testing.assert_array_equal(sharp[[0, 5]], masks[[0, 5]])


def test_what_rests_bounces_or_is_lost_stays():
    masks = np.stack(
        [swept(x, 0.0) for x in (60, 60.3, 60.6, 90, 60, 30)]
    )  # rests, leaps, comes back
    masks[4] = False
    np.testing.assert_array_equal(without_blur(masks), masks)


def test_half_of_a_thing_may_be_beyond_the_border():
    speed = 20.0
    masks = np.stack([swept(-8 + speed * t, speed) for t in range(3)])
    sharp = without_blur(np.concatenate([masks, masks]))[1]
    assert sharp.any()
    assert not (sharp & ~masks[1]).any()
    wall = np.zeros((3, H, W), bool)
    for t in range(3):
        wall[t, 20:60, : 60 + 20 * t] = True  # comes in from the left, its own end not in sight
    assert without_blur(wall)[1][20:60, :60].all()
