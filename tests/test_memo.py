"""What was computed from an asset is computed once, whatever the asset is called."""

from dataclasses import replace

import numpy as np
import pytest

from hoijax.objects.asset import load_asset
from hoijax.objects.content_cache import remember

calls: list[tuple] = []


@remember(2)
def measured(asset, scale: float = 1.0) -> np.ndarray:
    calls.append((asset.name, scale))
    return scale * asset.extents


def test_equal_content_and_options_are_computed_once():
    calls.clear()
    box, ball = load_asset("box"), load_asset("ball")
    first = measured(box)
    assert measured(box, 1.0) is first
    assert measured(box, scale=1.0) is first
    assert measured(replace(box, name="crate")) is first
    assert len(calls) == 1
    moved = replace(box, vertices=box.vertices + np.float32(0.1))
    np.testing.assert_allclose(measured(moved, 2.0), 2.0 * first, rtol=1e-5)
    assert len(calls) == 2
    measured(ball)  # the third: the first is forgotten
    measured(box)
    assert len(calls) == 4


def test_nobody_changes_what_others_will_get():
    with pytest.raises(ValueError, match="read-only"):
        measured(load_asset("box"))[0] = 1.0
