"""Bundles in a store (fsspec's own, in memory), and what is refused before work starts."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_scene import generated, run

from hoijax.bundle import object_store
from hoijax.bundle.write import bundle_hash, read_bundle
from hoijax.errors import UserError
from hoijax.jobs.scene_batch import _read
from hoijax.jobs.scene_names import find_scenes, is_many, scene_items

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return generated(tmp_path_factory)[0] / "bundle"


@pytest.fixture
def store(bundle):
    files = fsspec.filesystem("memory")
    for name in ("one", "two", "three/bundle"):
        files.put(str(bundle), f"/scenes/{name}", recursive=True)
    files.pipe_file("/scenes/notes.txt", b"no bundle")
    yield files
    files.rm("/scenes", recursive=True)


@pytest.mark.slow
def test_bundles_of_a_store_are_found_fetched_and_read(store, bundle, tmp_path):
    assert find_scenes([Path("memory://scenes")]) == {
        "one": "memory:///scenes/one",
        "two": "memory:///scenes/two",
        "three": "memory:///scenes/three/bundle",
    }
    assert set(find_scenes(["memory://scenes/t*"])) == {"two", "three"}
    assert is_many([Path("memory://scenes")])
    items = scene_items([Path("memory://scenes/one")], tmp_path / "out")
    (item,) = items
    source, read, digest = _read(item.source)
    assert source.startswith("memory://")
    assert digest == bundle_hash(bundle)
    alone = read_bundle(bundle)
    for name in ("object_points", "body_rotations", "instance_ids"):
        np.testing.assert_array_equal(
            getattr(read.observations, name), getattr(alone.observations, name)
        )
    store.pipe_file("/scenes/one/observations.npz", b"another")
    assert scene_items(["memory://scenes/one"], tmp_path / "out")[0].key != item.key


@pytest.mark.slow
def test_what_stores_cannot_do_is_said(store, tmp_path):
    with pytest.raises(UserError, match=r"no bundle at 'memory://scenes/none\*'"):
        find_scenes(["memory://scenes/none*"])
    with pytest.raises(UserError, match="file system with renames"):
        scene_items(["memory://scenes"], "gs://bucket/results")
    with pytest.raises(UserError, match="nosuch"):
        find_scenes(["nosuch://bucket"])


def test_a_missing_package_is_named(monkeypatch):
    def absent(url):
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr(fsspec, "url_to_fs", absent)
    with pytest.raises(UserError, match=r"hoijax\[remote\].*gcsfs"):
        find_scenes(["gs://bucket/bundles"])
    assert object_store.as_url(Path("gs://bucket/a/")) == "gs://bucket/a"
    assert not object_store.is_remote("C:/bundles")
    assert not object_store.is_remote("bundles/a")


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "bundles").mkdir()
    ran = run("solve", tmp_path / "bundles", "--out", tmp_path / "out")
    assert ran.code == 2
    assert "no bundle in" in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_no_device_of_the_asked_kind_is_told_before_work():
    program = "from hoijax.runtime import check_device; check_device()"
    environment = os.environ | {"JAX_PLATFORMS": "nonesuch"}
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert "no device of the kind asked for, JAX_PLATFORMS=nonesuch" in ran.stderr
