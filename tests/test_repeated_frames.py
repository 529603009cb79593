"""Footage at one rate stored at a higher one is told from footage at that rate."""

import numpy as np
import pytest

from hoijax.io.repeated_frames import footage_of


def moving(count, seed=0):
    """A bright square on a noisy wall, which moves 3 pixels a frame; every frame with a codec's noise."""
    rng = np.random.default_rng(seed)
    wall = rng.integers(60, 120, (64, 96, 3))
    frames = np.repeat(wall[None], count, axis=0)
    for t in range(count):
        x = 3 * t % 60
        frames[t, 16:48, x : x + 32] = rng.integers(0, 255, (32, 32, 3), dtype=np.int64) // 2 + 100
    return frames.astype(np.uint8)


def stored(frames, cycle, turn):
    """The frames with one of `cycle` repeated, not quite exactly, and the numbers of the others."""
    rng = np.random.default_rng(1)
    numbers, out = [], []
    for frame in frames:
        if len(out) % cycle == turn and out:
            out.append(np.clip(out[-1].astype(int) + rng.integers(-1, 2, frame.shape), 0, 255))
        numbers.append(len(out))
        out.append(frame)
    return np.stack(out).astype(np.uint8), np.array(numbers)


@pytest.mark.parametrize(("cycle", "turn"), [(5, 3), (6, 0), (2, 1)])
def test_regular_repeats_are_left_out(cycle, turn):
    frames, numbers = stored(moving(40), cycle, turn)
    footage = footage_of(frames)
    assert footage.cycle == cycle
    np.testing.assert_array_equal(footage.frames, numbers[numbers < len(frames)])
    assert footage.rate(30.0) == pytest.approx(30.0 * (cycle - 1) / cycle)
    repeat = int(np.setdiff1d(np.arange(len(frames)), footage.frames)[0])
    assert footage.frames[footage.position(repeat)] == repeat - 1
    assert footage.frames[footage.position(repeat + 1)] == repeat + 1


def test_footage_without_repeats_stays():
    frames = moving(30)
    footage = footage_of(frames)
    assert (footage.cycle, footage.strays, len(footage.frames)) == (None, 0, 30)
    frames[[7, 18]] = frames[[6, 17]]  # a recorder that was late twice
    assert footage_of(frames).strays == 2
    assert len(footage_of(frames).frames) == 30


def test_nothing_that_moves_is_no_repeat():
    still = np.repeat(moving(1), 20, axis=0)
    assert (footage_of(still).cycle, footage_of(still).strays) == (None, 0)
