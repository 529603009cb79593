"""Stored results: found by content, written whole, never read damaged."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hoijax.errors import UserError
from priors.protocols import ModelId
from priors.store import CorruptEntryWarning, Store, content_key, model_identity

KEY = "a" * 64
ARRAYS = {
    "mask": np.arange(60).reshape(3, 4, 5) % 3 == 0,
    "points": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 12),
    "empty": np.zeros((0, 3), np.int32),
}


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "cache")


def stored(store: Store) -> Path:
    store.put("masks", KEY, ARRAYS, {"seed": 3, "name": "é"}, made_by={"a": 1}, seconds=1.5)
    return store.root / "masks" / KEY


def test_what_is_put_is_got(store):
    stored(store)
    entry = store.get("masks", KEY)
    assert entry is not None
    assert set(entry.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(entry.arrays[name], array)
        assert entry.arrays[name].dtype == array.dtype
    assert entry.value == {"seed": 3, "name": "é"}
    assert entry.seconds == 1.5
    assert store.digest("masks", KEY) == entry.digest
    assert store.get("masks", "b" * 64) is None
    assert store.digest("masks", "b" * 64) is None
    assert not list(store.root.glob(".partial-*"))


def test_the_digest_is_of_the_content_alone(store):
    stored(store)
    same = store.put("masks", "b" * 64, ARRAYS, {"seed": 3, "name": "é"}, seconds=9.0)
    other = store.put("masks", "c" * 64, ARRAYS, {"seed": 4, "name": "é"})
    assert store.digest("masks", KEY) == same.digest != other.digest


@pytest.mark.parametrize("name", ["entry.json", "arrays.npz", "value.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "empty"])
def test_a_damaged_entry_is_never_read(store, name, damage):
    folder = stored(store)
    content = bytearray((folder / name).read_bytes())
    middle = len(content) // 2
    if damage == "gone":
        (folder / name).unlink()
    else:
        content[middle] ^= 0xFF
        changed = {"cut": content[:middle], "flipped": content, "empty": b""}[damage]
        (folder / name).write_bytes(bytes(changed))
    with pytest.warns(CorruptEntryWarning, match=r"'masks'.*damaged.*computed again"):
        assert store.get("masks", KEY) is None
    assert store.get("masks", KEY) is None, "set aside: the warning comes once"
    stored(store)
    assert store.get("masks", KEY) is not None


def test_an_entry_copied_under_another_key_is_not_taken(store):
    folder = stored(store)
    folder.rename(folder.with_name("d" * 64))
    with pytest.warns(CorruptEntryWarning, match="key is"):
        assert store.get("masks", "d" * 64) is None


def test_pickles_are_neither_written_nor_read(store):
    with pytest.raises(ValueError, match="allow_pickle"):
        store.put("masks", KEY, {"x": np.array([{}], object)}, None)
    assert store.get("masks", KEY) is None
    assert not list(store.root.glob(".partial-*"))


def test_the_first_result_stays_unless_it_is_replaced(store):
    stored(store)
    kept = store.put("masks", KEY, ARRAYS, {"seed": 99})
    assert kept.value["seed"] == 3
    assert store.put("masks", KEY, ARRAYS, {"seed": 99}, replace=True).value["seed"] == 99


WRITE_OFTEN = """
import sys
import numpy as np
from priors.store import Store
store, number = Store(sys.argv[1]), int(sys.argv[2])
for step in range(40):
    array = np.full((40, 40), number, np.float32)
    store.put("race", f"{step % 3:064x}", {"x": array}, number, replace=step % 2 == 0)
"""


def test_many_writers_at_once_leave_whole_entries(store):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE_OFTEN, str(store.root), str(n)])
        for n in (1, 2, 3)
    ]
    reads, deadline = 0, time.monotonic() + 60
    while any(writer.poll() is None for writer in writers) and time.monotonic() < deadline:
        for step in range(3):
            entry = store.get("race", f"{step:064x}")  # a warning would fail the test
            assert entry is None or (entry.arrays["x"] == entry.value).all()
            reads += entry is not None
    assert [writer.wait(5) for writer in writers] == [0, 0, 0]
    assert reads
    assert all(store.get("race", f"{step:064x}") for step in range(3))
    assert not list(store.root.glob(".partial-*"))


def test_an_entry_that_is_discarded_while_ours_is_written_is_no_error(store, monkeypatch):
    rename, met = Path.rename, []

    def rename_behind_another(path, target):
        if target == store.root / "masks" / KEY and not met:
            met.append(path)  # it stood there when we renamed, and is gone when we look
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_behind_another)
    stored(store)
    assert met
    assert store.get("masks", KEY).value["seed"] == 3


def test_leftovers_of_killed_runs_are_removed(store):
    old, new = store.root / ".partial-old", store.root / ".partial-new"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (time.time() - 90_000,) * 2)
    Store(store.root)
    assert not old.exists()
    assert new.exists()


def test_a_cache_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--cache"):
        Store(tmp_path / "file")


# ---- keys


@dataclasses.dataclass(frozen=True)
class Settings:
    steps: int = 5


class Model:
    settings = Settings()

    def __init__(self, name: str, revision: str | None = None):
        self.model_id = ModelId(name, revision)


def test_keys_follow_content_and_nothing_else():
    array = np.arange(6, dtype=np.float32)
    base = content_key("video", {"a": 1, "b": (2, 3)}, array, Settings())
    assert base == content_key("video", {"b": [2, 3], "a": 1}, array.copy(), Settings(5))
    others = [
        content_key("video", {"a": 1, "b": (2, 4)}, array, Settings()),
        content_key("video", {"a": 1, "b": (2, 3)}, array.reshape(2, 3), Settings()),
        content_key("video", {"a": 1, "b": (2, 3)}, array.astype(np.float64), Settings()),
        content_key("video", {"a": 1, "b": (2, 3)}, array, Settings(6)),
        content_key("video", {"a": 1, "b": (2, 3)}, array.tobytes(), Settings()),
        content_key("image", {"a": 1, "b": (2, 3)}, array, Settings()),
    ]
    assert len({base, *others}) == 7
    with pytest.raises(UserError, match="no content key"):
        content_key(object())


def test_keys_are_the_same_in_another_process():
    program = (
        "import numpy as np\nfrom priors.store import content_key\n"
        "print(content_key('x', {'k': [1, 2.5, None]}, np.arange(3)))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split()[-1] == content_key("x", {"k": [1, 2.5, None]}, np.arange(3))


def test_a_local_model_is_known_by_its_files(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(3 << 20))
    (tmp_path / "config.json").write_text(json.dumps({"layers": 1}))
    first = model_identity(Model(str(tmp_path)))
    assert first == model_identity(Model(str(tmp_path)))
    content = bytearray(weights.read_bytes())
    content[-1] = 1
    weights.write_bytes(bytes(content))
    assert model_identity(Model(str(tmp_path))) != first
    assert model_identity(Model("owner/name", "abc"))["revision"] == "abc"
    assert model_identity(Model("owner/name", "abc")) != model_identity(Model("owner/name", "def"))
