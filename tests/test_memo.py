"""What was computed from an asset is computed once, whatever the asset is called."""

from dataclasses import replace

import chex
import numpy as np
import pytest

from hoijax.objects.asset import load_asset
from hoijax.objects.content_cache import remember
from hoijax.objects.distance_grid import DistanceGrids
from hoijax.programs import keep_programs, store
from hoijax.programs.store import STORE

calls: list[tuple] = []


@remember(2)
def measured(asset, scale: float = 1.0) -> np.ndarray:
    calls.append((asset.name, scale))
    return scale * asset.extents


def test_equal_content_and_options_are_computed_once(monkeypatch):
    monkeypatch.setattr(STORE, "folder", None)  # nothing is found that another process computed
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


def test_the_next_process_finds_it(tmp_path, monkeypatch):
    before = STORE.folder
    keep_programs(tmp_path)

    def process():
        """A function as a process makes it, and how often it computed."""
        counted = []

        def grids(asset, spacing: float = 1.0) -> DistanceGrids:
            counted.append(spacing)
            size = np.full(3, spacing, np.float32)
            return DistanceGrids(asset.vertices, asset.vertices[0] > 0, size)

        # Only functions of hoijax have a name that the next process knows.
        grids.__module__, grids.__qualname__ = DistanceGrids.__module__, "grids"
        return remember(2)(grids), counted

    box = load_asset("box")
    first = process()[0](box)
    grids, counted = process()
    again = grids(box)
    assert counted == []
    chex.assert_trees_all_equal(first, again, strict=True)
    assert not again.corners.flags.writeable
    (path,) = tmp_path.glob("arrays/*")
    path.write_bytes(path.read_bytes()[:-1])
    process()[0](box)
    size = next(tmp_path.glob("arrays/*")).stat().st_size
    monkeypatch.setitem(store.MAX_BYTES, "arrays", 2 * size)
    monkeypatch.setattr(store, "CLEAN_EVERY", 1)
    for spacing in (2.0, 3.0):
        process()[0](box, spacing)
    assert len(list(tmp_path.glob("arrays/*"))) == 2
    keep_programs(before)
