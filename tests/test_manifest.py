"""Many items on one folder: claims, kills, two runners at once, full disks, other settings."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import manifest_worker
import pytest
from small_scene import tree

import hoijax.jobs.claims
import hoijax.jobs.manifest
from hoijax.errors import UserError
from hoijax.jobs.claims import Claims
from hoijax.jobs.manifest import MAX_ATTEMPTS, TEMPORARY, Item, Manifest, settings_hash
from hoijax.jobs.runner import standing, work_through

WORKER = Path(manifest_worker.__file__)
COUNT, MANY = 6, 40


def start(out: Path, log: Path, count: int = COUNT, seconds: float = 0.1) -> subprocess.Popen:
    arguments = [sys.executable, WORKER, out, log, count, seconds]
    return subprocess.Popen(list(map(str, arguments)), cwd=WORKER.parents[1])


def lines(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if line != "up"] if log.exists() else []


def results(out: Path) -> dict[str, bytes | None]:
    """Everything in an output folder but what a kill in the middle of a write may leave for an hour."""
    return {
        name: data for name, data in tree(out).items() if not TEMPORARY.fullmatch(name_of(name))
    }


def name_of(path: str) -> str:
    return path.rpartition("/")[2]


def wait_for(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes | None]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert start(folder / "out", folder / "log", seconds=0.0).wait(30) == 0
    return results(folder / "out")


def test_an_undisturbed_run_does_everything_once(undisturbed):
    assert {f"scene-{i}/run.json" for i in range(COUNT)} <= set(undisturbed)
    assert {f".work/done/scene-{i}.json" for i in range(COUNT)} <= set(undisturbed)
    assert not [name for name in undisturbed if "claims/" in name or "partial" in name]


@pytest.mark.slow
def test_killed_ten_times_at_random_points_nothing_is_lost_or_half_written(tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    chance = random.Random(0)
    for kill in range(10):
        worker = start(out, log, MANY, seconds=0.03)
        ups = kill + 1
        wait_for(lambda ups=ups: log.exists() and log.read_text().count("up\n") >= ups)
        time.sleep(chance.uniform(0.0, 0.25))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        for path in out.glob("scene-*"):  # whatever is there is whole
            item = Item(path.name, "", "")
            assert (path / "first.txt").read_text() == manifest_worker.content(item)
            assert (path / "run.json").read_text() == manifest_worker.content(item)
    for _ in range(2):
        assert start(out, log, MANY, seconds=0.0).wait(30) == 0
    manifest_worker.main(tmp_path / "undisturbed", tmp_path / "log2", MANY, 0.0)
    assert results(out) == results(tmp_path / "undisturbed")


def test_two_runners_by_mistake_do_nothing_twice_and_lose_nothing(tmp_path, undisturbed):
    out, log = tmp_path / "out", tmp_path / "log"
    runners = [start(out, log, seconds=0.2) for _ in range(2)]
    assert [runner.wait(30) for runner in runners] == [0, 0]
    done = [line.split() for line in lines(log)]
    assert sorted(name for name, _ in done) == [f"scene-{i}" for i in range(COUNT)]
    assert {pid for _, pid in done} == {str(runner.pid) for runner in runners}
    assert results(out) == undisturbed


def test_a_stale_claim_goes_to_one_of_many(tmp_path):
    """Eight that see the same death at the same time: exactly one becomes the owner."""
    from concurrent.futures import ThreadPoolExecutor

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folder = tmp_path / "claims"
    folder.mkdir()
    gone = f'{{"machine": "{hoijax.jobs.claims._machine()}", "pid": {dead.pid}, "start": "1"}}'
    for trial in range(20):
        (folder / f"item-{trial}.0").write_text(gone)
        rivals = [Claims(folder) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda rival, t=trial: rival.claim(f"item-{t}"), rivals))
        winners = [claim for claim in got if claim is not None]
        assert [claim.attempt for claim in winners] == [1]


def test_an_owner_elsewhere_lives_as_long_as_it_touches_its_claim(tmp_path):
    folder = tmp_path / "claims"
    with Claims(folder, stale_seconds=50.0) as claims:
        (folder / "item.0").write_text('{"machine": "far away", "pid": 1, "start": "1"}')
        assert claims.claim("item") is None
        long_ago = time.time() - 60.0
        os.utime(folder / "item.0", (long_ago, long_ago))
        taken = claims.claim("item")
        assert taken is not None
        assert taken.attempt == 1
        assert claims.holds(taken)
        claims.release(taken)
        assert list(folder.iterdir()) == []


def test_claims_are_kept_alive_by_a_thread(tmp_path):
    with Claims(tmp_path / "claims", stale_seconds=0.2) as claims:
        claim = claims.claim("item")
        assert claim is not None
        os.utime(claim.path, (1.0, 1.0))
        wait_for(lambda: time.time() - claim.path.stat().st_mtime < 5.0)


def test_an_owner_that_was_taken_for_dead_does_not_publish(tmp_path):
    """It slept through a takeover (a suspended machine): its result is dropped, the other's stays."""
    with Manifest.open(tmp_path / "out", manifest_worker.items(1), {}) as manifest:

        def act(item, confirm):
            (tmp_path / "out" / ".work" / "claims" / f"{item.id}.1").write_text("{")
            confirm()
            raise AssertionError("published")

        item = manifest.items[0]
        found = work_through(manifest, act)
        assert found.done == 0
        assert not found.failed
        assert manifest.done(item) is None


def test_a_failing_item_stops_nothing_and_is_tried_again_by_the_next_run(tmp_path):
    calls: list[str] = []

    def act(item, confirm):
        calls.append(item.id)
        if item.id == "scene-1" and len(calls) <= 3:
            raise ValueError("broken")
        return {}

    for expected in (2, 3):
        with Manifest.open(tmp_path / "out", manifest_worker.items(3), {}) as manifest:
            assert work_through(manifest, act).done == expected
            if expected == 2:
                assert standing(manifest).failed == {"scene-1": "ValueError: broken"}
    assert calls == ["scene-0", "scene-1", "scene-2", "scene-1"]


def test_an_item_that_kills_every_process_is_given_up(tmp_path):
    folder = tmp_path / "out" / ".work" / "claims"
    with Manifest.open(tmp_path / "out", manifest_worker.items(1), {}) as manifest:
        (folder / f"scene-0.{MAX_ATTEMPTS - 1}").write_text(
            f'{{"machine": "{hoijax.jobs.claims._machine()}", "pid": 999999999, "start": "1"}}'
        )
        found = work_through(manifest, lambda item, confirm: pytest.fail("tried again"))
        assert "ended the process" in found.failed["scene-0"]
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("when", ["result", "marker"])
def test_a_full_disk_stops_the_run_and_the_next_goes_on(tmp_path, monkeypatch, undisturbed, when):
    out, log = tmp_path / "out", tmp_path / "log"
    full, write = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), hoijax.io.json_files.write_json

    def note(log, line):
        if len(lines(log)) == 2 and line != "up":
            raise full
        with log.open("a") as stream:
            stream.write(line + "\n")

    def write_json(path, *given, **options):
        if path.name == "scene-2.json":
            raise full
        write(path, *given, **options)

    with monkeypatch.context() as patch:
        if when == "result":
            patch.setattr(manifest_worker, "note", note)
        else:
            patch.setattr(hoijax.jobs.manifest, "write_json", write_json)
        with pytest.raises(UserError, match=r"No space left[\s\S]*goes on from there"):
            manifest_worker.main(out, log, COUNT, 0.0)
    there = tree(out)
    assert not [name for name in there if "claims/" in name or "partial" in name]
    assert sorted(p.name for p in (out / ".work/done").iterdir()) == [
        "scene-0.json",
        "scene-1.json",
    ]
    manifest_worker.main(out, log, COUNT, 0.0)
    assert results(out) == undisturbed


def test_other_settings_are_refused_by_name_and_forced(tmp_path):
    done: list[str] = []

    def run(settings, force=False):
        items = manifest_worker.items(2)
        with Manifest.open(tmp_path / "out", items, settings, force=force) as manifest:
            return work_through(manifest, lambda item, confirm: done.append(item.id) or {})

    run({"version": "1", "solve": {"steps": 3}})
    before = tree(tmp_path)
    with pytest.raises(UserError, match=r"settings\.solve\.steps: 3 there, 5 now[\s\S]*--force"):
        run({"version": "1", "solve": {"steps": 5}})
    with pytest.raises(UserError, match=r"settings\.version: '1' there, '2' now"):
        run({"version": "2", "solve": {"steps": 3}})
    assert tree(tmp_path) == before
    assert run({"version": "1", "solve": {"steps": 5}}, force=True).done == 2
    assert run({"version": "1", "solve": {"steps": 5}}).done == 2
    assert done == ["scene-0", "scene-1"] * 2


def test_a_changed_item_is_done_again(tmp_path):
    done: list[str] = []
    for key in ("a", "a", "b"):
        items = [Item("one", "bundles/one", "a"), Item("two", "bundles/two", key)]
        with Manifest.open(tmp_path / "out", items, {}) as manifest:
            work_through(manifest, lambda item, confirm: done.append(item.id) or {})
    assert done == ["one", "two", "two"]


def test_what_killed_processes_left_long_ago_is_removed(tmp_path):
    with Manifest.open(tmp_path / "out", manifest_worker.items(1), {}) as manifest:
        work_through(manifest, lambda item, confirm: {})
    before = tree(tmp_path)
    claims = tmp_path / "out" / ".work" / "claims"
    old, new, other = claims / ".claim-abcd1234", claims / ".claim-abcd5678", claims / ".note"
    for path in (old, new, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (1.0, 1.0))
    with Manifest.open(tmp_path / "out", manifest_worker.items(1), {}):
        pass
    assert set(tree(tmp_path)) - set(before) == {
        str(path.relative_to(tmp_path)) for path in (new, other)
    }


def test_foreign_folders_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"thesis\.tex"):
        Manifest.open(tmp_path, manifest_worker.items(1), {})
    with pytest.raises(UserError, match="is a file"):
        Manifest.open(tmp_path / "thesis.tex", manifest_worker.items(1), {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_settings_hash_ignores_order():
    assert settings_hash({"a": 1, "b": (2,)}) == settings_hash({"b": [2], "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})
