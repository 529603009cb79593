"""Splitting a foot's path into plants and swings."""

import numpy as np
import pytest

from hoijax.bodies.fitting.foot_plants import (
    SHORTEST_PLANT,
    SWING_COST,
    _plant_costs,
    foot_plants,
)


def walk(rng, *, noise=0.01, step=0.5, lift=0.08):
    """Three plants of nine frames, five frames of swing between, and the frames that really stand."""
    places = np.cumsum(rng.uniform(0.8, 1.2, 3) * step)[:, None] * [1.0, 0.0]
    path, stands = [], []
    for i, place in enumerate(places):
        path += [[place[0], 0.03, place[1]]] * 9
        stands += [True] * 9
        if i < 2:
            for u in np.arange(1, 6) / 6:
                at = place + (places[i + 1] - place) * (3 * u**2 - 2 * u**3)
                path.append([at[0], 0.03 + lift * np.sin(np.pi * u), at[1]])
            stands += [False] * 5
    path = np.array(path)
    return path + noise * rng.normal(size=path.shape), np.array(stands)


def test_steps_are_found(rng):
    """Long steps with a centimetre of noise, and short flat ones: a decimetre, three centimetres high."""
    short = {"step": 0.12, "lift": 0.03, "noise": 0.005}
    for options, share in (({}, 0.9), (short, 0.8)):
        path, stands = walk(rng, **options)
        found = foot_plants(path[:, None])[:, 0]
        assert found.max() == 2, options
        assert ((found >= 0) == stands).mean() > share, options
        assert np.all(np.diff(found[found >= 0]) >= 0)


def test_a_foot_that_stays_is_one_plant_and_one_in_the_air_is_none(rng):
    still = np.array([0.2, 0.03, 1.0]) + 0.01 * rng.normal(size=(40, 3))
    assert (foot_plants(still[:, None]) == 0).all()
    kicking = still + np.linspace(0, 6, 40)[:, None] * [1.0, 0.0, 0.0]
    assert (foot_plants(kicking[:, None]) == -1).all()


def test_a_single_bad_frame_does_not_end_a_plant(rng):
    path = np.tile([0.0, 0.03, 0.0], (30, 1)) + 0.003 * rng.normal(size=(30, 3))
    path[15, 0] += 0.03
    assert foot_plants(path[:, None]).max() == 0


def test_heel_and_toe_are_split_separately(rng):
    path, _ = walk(rng)
    still = np.tile(path[:1], (len(path), 1))
    found = foot_plants(np.stack([path, still], axis=1))
    assert found[:, 0].max() == 2
    assert (found[:, 1] == 0).all()


@pytest.mark.parametrize(("seed", "frames"), [(s, 2 + s % 6) for s in range(12)])
def test_no_split_is_cheaper(seed, frames):
    """Against every split there is of a short random path."""
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(size=(frames, 3)) * [0.03, 0.01, 0.03], axis=0)
    costs = _plant_costs(path)

    def cost(stands):
        total, t = 0.0, 0
        while t < frames:
            if not stands[t]:
                total, t = total + SWING_COST, t + 1
                continue
            end = t
            while end < frames and stands[end]:
                end += 1
            if end - t < SHORTEST_PLANT:
                return np.inf
            local = path[t:end]
            strays = ((local - local.mean(axis=0))[:, [0, 2]] ** 2).sum()
            rise = np.maximum(local[:, 1] - np.quantile(path[:, 1], 0.2), 0.0)
            total += 0.5 * (strays + (rise**2).sum()) / 0.02**2 + 3.0
            assert np.isclose(costs[t, end], 0.5 * (strays + (rise**2).sum()) / 0.02**2 + 3.0)
            t = end
        return total

    every = [[bool(i >> t & 1) for t in range(frames)] for i in range(2**frames)]
    best = min(cost(stands) for stands in every)
    assert cost(foot_plants(path[:, None])[:, 0] >= 0) <= best + 1e-9
