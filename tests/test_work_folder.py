"""Many items in one folder: kills, items that kill, two runners at once, full disks, other settings."""

import errno
import fcntl
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import folder_worker
import pytest
from folder_worker import SETTINGS, items, one_by_one
from small_scene import tree

import hoijax.work.folder
from hoijax.errors import UserError
from hoijax.work.folder import MAX_CRASHES, Item, work_folder
from hoijax.work.manifest import settings_hash
from hoijax.work.runner import progress_of

WORKER = Path(folder_worker.__file__)
COUNT = 12


def start(out: Path, log: Path, seconds: float, *rest: str) -> subprocess.Popen:
    arguments = [sys.executable, WORKER, out, log, COUNT, seconds, *rest]
    return subprocess.Popen(list(map(str, arguments)), cwd=WORKER.parents[1])


def lines(log: Path, first: str) -> list[list[str]]:
    """Lines of a log that begin with a word, as words."""
    text = log.read_text() if log.exists() else ""
    return [line.split() for line in text.splitlines() if line.startswith(first)]


def wait_for(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def failed(out: Path) -> dict[str, str]:
    with work_folder(out, items(COUNT), SETTINGS) as folder:
        return progress_of(folder).failed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes | None]:
    """Everything in the folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert folder_worker.work(folder / "out", folder / "log", items(COUNT), 0.0).done == COUNT
    return tree(folder / "out")


def test_an_undisturbed_run_leaves_results_and_markers(undisturbed):
    assert {f"scene-{i}/run.json" for i in range(COUNT)} <= set(undisturbed)
    assert {f".work/done/scene-{i}.json" for i in range(COUNT)} <= set(undisturbed)
    assert not [name for name in undisturbed if "locks/" in name or "partial" in name]


# --- kills


@pytest.mark.slow
@pytest.mark.parametrize("how", ["serial", "groups"])
def test_killed_ten_times_nothing_is_lost_half_written_or_blamed(tmp_path, undisturbed, how):
    """kill -9 ten times at random points, each in the work on some item, before anything is done."""
    out, log = tmp_path / "out", tmp_path / "log"
    chance = random.Random(0)
    for kill in range(10):
        worker = start(out, log, 0.3, how)
        begun = len(lines(log, "begin"))
        wait_for(lambda begun=begun: len(lines(log, "begin")) > begun)
        time.sleep(chance.uniform(0.0, 0.2) + 0.4 * (kill % 5 == 4))
        worker.kill()
        worker.wait()
        for path in out.glob("scene-*"):  # whatever is there is whole
            whole = folder_worker.content(Item(path.name, "", ""))
            assert {file.name: file.read_text() for file in path.iterdir()} == {
                "first.txt": whole,
                "run.json": whole,
            }
    assert start(out, log, 0.0, how).wait(30) == 0
    assert failed(out) == {}
    assert tree(out) == undisturbed


@pytest.mark.parametrize("how", ["serial", "groups"])
def test_an_item_that_kills_every_process_fails_alone(tmp_path, undisturbed, how):
    out, log = tmp_path / "out", tmp_path / "log"
    codes = []
    while not codes or codes[-1]:
        codes.append(start(out, log, 0.0, how, "scene-1").wait(30))
        assert len(codes) <= MAX_CRASHES + 2
    assert list(failed(out)) == ["scene-1"]
    assert f"{MAX_CRASHES} processes ended" in failed(out)["scene-1"]
    ended = [name for _, name, _ in lines(log, "end")]
    assert set(ended) == {f"scene-{i}" for i in range(COUNT)} - {"scene-1"}
    assert start(out, log, 0.0, how).wait(30) == 0, "the same command tries it again"
    assert tree(out) == undisturbed


# --- two at once


def test_two_runners_by_mistake_do_nothing_twice_and_lose_nothing(tmp_path, undisturbed):
    out, log = tmp_path / "out", tmp_path / "log"
    runners = [start(out, log, 0.1) for _ in range(2)]
    assert [runner.wait(30) for runner in runners] == [0, 0]
    ended = lines(log, "end")
    assert sorted(name for _, name, _ in ended) == sorted(item.id for item in items(COUNT))
    assert {pid for *_, pid in ended} == {str(runner.pid) for runner in runners}
    assert tree(out) == undisturbed


def test_of_many_that_want_an_item_one_gets_it(tmp_path):
    """Rivals that take it the moment it is given back, with the lock file removed under them."""
    rivals, rounds = 6, 30
    together = Barrier(rivals)
    held: list[int] = []
    most: list[int] = []

    def rival(number: int) -> None:
        with work_folder(tmp_path / "out", items(1), {}) as folder:
            together.wait()
            for _ in range(rounds):
                if (claim := folder.take(folder.items[0], alone=True)) is not None:
                    held.append(number)
                    most.append(len(held))
                    held.remove(number)
                    folder.give_back(claim)

    with ThreadPoolExecutor(rivals) as pool:
        list(pool.map(rival, range(rivals)))
    assert set(most) == {1}


def test_shards_share_out_everything(tmp_path):
    done: list[str] = []
    for shard in ((0, 2), (1, 2)):
        with work_folder(tmp_path / "out", items(5), {}, shard=shard) as folder:
            progress = one_by_one(folder, lambda item: result(folder, item, done))
            assert progress.done == progress.total == (3, 2)[shard[0]]
            assert progress_of(folder, folder.everything).done == len(done)
    assert sorted(done) == [f"scene-{i}" for i in range(5)]


def result(folder, item: Item, done: list[str]) -> dict:
    (folder.out / item.id).mkdir(exist_ok=True)
    done.append(item.id)
    return {}


# --- failures


def test_a_failure_stops_nothing_and_is_tried_again_by_the_next_run(tmp_path):
    calls: list[str] = []

    def run(retry=None) -> dict[str, str]:
        with work_folder(tmp_path / "out", items(3), {}, retry=retry) as folder:

            def act(item):
                if item.id == "scene-1" and calls.count("scene-1") < 2:
                    calls.append(item.id)
                    raise ValueError("broken")
                return result(folder, item, calls)

            return one_by_one(folder, act).failed

    assert run() == {"scene-1": "ValueError: broken"}
    assert run(retry={}) == {"scene-1": "ValueError: broken"}, "a worker of the same run"
    assert calls == ["scene-0", "scene-1", "scene-2"]
    run()
    assert run() == {}
    assert calls == ["scene-0", "scene-1", "scene-2", "scene-1", "scene-1"]


@pytest.mark.parametrize("when", ["result", "marker"])
def test_a_full_disk_stops_the_run_and_the_next_goes_on(tmp_path, monkeypatch, undisturbed, when):
    out, log = tmp_path / "out", tmp_path / "log"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    note, write = folder_worker.note, hoijax.work.folder.write_json

    def full_note(log, line):
        if line.startswith("end scene-2 "):
            raise full
        note(log, line)

    def full_write(path, *given, **options):
        if path.name == "scene-2.json":
            raise full
        write(path, *given, **options)

    with monkeypatch.context() as patch:
        if when == "result":
            patch.setattr(folder_worker, "note", full_note)
        else:
            patch.setattr(hoijax.work.folder, "write_json", full_write)
        with pytest.raises(UserError, match=r"No space left[\s\S]*resumes there"):
            folder_worker.work(out, log, items(COUNT), 0.0)
    assert not [name for name in tree(out) if "locks/" in name or "partial" in name]
    markers = {path.name for path in (out / ".work/done").iterdir()}
    assert {"scene-0.json", "scene-1.json"} <= markers, (
        "and what was begun beside the one that failed"
    )
    assert "scene-2.json" not in markers
    assert len(markers) < COUNT - 1
    folder_worker.work(out, log, items(COUNT), 0.0)
    assert tree(out) == undisturbed


# --- what a folder is refused for


def test_other_settings_are_refused_by_name_and_forced(tmp_path):
    done: list[str] = []

    def run(settings, force=False):
        with work_folder(tmp_path / "out", items(2), settings, force=force) as folder:
            return one_by_one(folder, lambda item: result(folder, item, done))

    run({"version": "1", "solve": {"steps": 3}})
    before = tree(tmp_path)
    with pytest.raises(UserError, match=r"settings\.solve\.steps: 3 there, 5 now[\s\S]*--force"):
        run({"version": "1", "solve": {"steps": 5}})
    with pytest.raises(UserError, match=r"settings\.version: '1' there, '2' now"):
        run({"version": "2", "solve": {"steps": 3}})
    with (
        work_folder(tmp_path / "out", items(2), {"version": "1", "solve": {"steps": 3}}),
        pytest.raises(UserError, match="another process works in"),
    ):
        run({"version": "1", "solve": {"steps": 5}}, force=True)
    assert tree(tmp_path) == before
    assert run({"version": "1", "solve": {"steps": 5}}, force=True).done == 2
    assert run({"version": "1", "solve": {"steps": 5}}).done == 2
    assert done == ["scene-0", "scene-1"] * 2


def test_what_changed_or_was_deleted_is_done_again(tmp_path):
    done: list[str] = []
    for key in ("a", "a", "b", "b"):
        items = [Item("one", "bundles/one", "a"), Item("two", "bundles/two", key)]
        with work_folder(tmp_path / "out", items, {}) as folder:
            one_by_one(folder, lambda item, folder=folder: result(folder, item, done))
    assert done == ["one", "two", "two"]
    (tmp_path / "out" / "one").rmdir()
    with work_folder(tmp_path / "out", items, {}) as folder:
        one_by_one(folder, lambda item: result(folder, item, done))
    assert done[3:] == ["one"]


def test_a_folder_of_the_claim_files_is_continued(tmp_path):
    """As versions before December 2026 left it, killed in the second of three items."""
    out, done = tmp_path / "out", []
    wanted = {"manifest_version": 1, "settings_hash": settings_hash({}), "settings": {}}
    marker = {"key": f"key 0 {settings_hash({})}", "row": {"loss": 1.0}}
    for name, content in {
        "manifest.json": wanted,
        ".work/done/scene-0.json": marker,
        ".work/failed/scene-2.json": {"id": "scene-2", "why": "broken", "token": "1 2"},
        ".work/claims/scene-1.0": {"machine": "gone", "pid": 1, "start": "1"},
        "scene-0/run.json": {},
    }.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    with work_folder(out, items(3), {}) as folder:
        assert one_by_one(folder, lambda item: result(folder, item, done)).done == 3
    assert done == ["scene-1", "scene-2"]


def test_foreign_folders_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    for out, says in ((tmp_path, r"thesis\.tex"), (tmp_path / "thesis.tex", "is a file")):
        with pytest.raises(UserError, match=says), work_folder(out, items(1), {}):
            pytest.fail("opened")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def no_locks(descriptor, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with (
        pytest.raises(UserError, match="file system without locks"),
        work_folder(tmp_path / "out", items(1), {}),
    ):
        pytest.fail("opened")


def test_settings_hash_ignores_order():
    assert settings_hash({"a": 1, "b": (2,)}) == settings_hash({"b": [2], "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})
