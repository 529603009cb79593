"""Many scenes: every one ends as a bundle or as a named failure, in a loop and on a cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_priors as tiny
from optional import needs

from hoijax.bundle.write import check_bundle, read_bundle
from hoijax.errors import UserError
from priors.observe.many_scenes import observe_many
from priors.observe.prompt_list import read_prompts
from priors.observe.run import ObserveOptions
from priors.settings import ObserveSettings

SETTINGS = ObserveSettings(
    frames=tiny.FRAMES, height=tiny.SMALL[0], width=tiny.SMALL[1], image_tries=1, image_candidates=1
)


@pytest.fixture(scope="session", autouse=True)
def scene(tmp_path_factory) -> tiny.Answers:
    os.environ.setdefault("HOIJAX_TEST_SCENES", str(tmp_path_factory.mktemp("scenes")))
    return tiny.answers()


def prompts(folder: Path, scenes: int = 3) -> Path:
    lines = [
        {"id": f"box-{n}", "text": tiny.TEXT, "objects": ["box"], "seed": n} for n in range(scenes)
    ]
    lines.append({"id": "bad", "text": "an impossible box", "objects": ["box"]})
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    return path


def looped(folder: Path, path: Path, models: tiny.TinyModels):
    options = ObserveOptions(SETTINGS, cache=folder / "cache")
    progress = observe_many(path, folder / "out", options, models=lambda: models)
    assert progress.open == 0
    return progress.done, progress.failed


@pytest.mark.slow
def test_the_loop_makes_every_bundle_and_names_every_failure(tmp_path):
    path, models, out = prompts(tmp_path, 2), tiny.TinyModels(), tmp_path / "out"
    done, failures = looped(tmp_path, path, models)
    assert done == 2
    assert failures == {"bad": "stage 'pag': nobody can do that. Ask for something else"}
    assert sorted(p.name for p in out.iterdir()) == [".work", "box-0", "box-1", "manifest.json"]
    for name in ("box-0", "box-1"):
        assert check_bundle(out / name) == []
        assert (out / name / "video.mp4").stat().st_size > 1000
    calls = models.calls()
    assert (calls["video"], calls["segmenter"]) == (2, 1), "equal clips are tracked once"

    again = tiny.TinyModels()
    assert looped(tmp_path, path, again) == (2, failures)
    called = {role: count for role, count in again.calls().items() if count}
    assert called == {"language": 1}, "only what failed is tried again"
    done_file = out / ".work" / "done" / "box-0.json"
    done_file.unlink()  # as after a kill between bundle and mark
    assert looped(tmp_path, path, tiny.TinyModels())[0] == 2
    assert done_file.exists()


class Clumsy(tiny.Recoverer):
    def recover(self, video, keypoints, person_masks, maps, other_masks=None):
        raise ZeroDivisionError("a fault of ours")


@pytest.mark.slow
def test_a_fault_of_one_scene_is_its_failure(tmp_path):
    models = tiny.TinyModels(replaced={"body": Clumsy(tiny.answers())})
    done, failures = looped(tmp_path, prompts(tmp_path, 1), models)
    assert done == 0
    assert failures["box-0"] == "ZeroDivisionError: a fault of ours"
    assert looped(tmp_path, prompts(tmp_path, 1), tiny.TinyModels())[0] == 1


def test_a_bad_file_of_prompts_is_refused_with_every_line(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        '{"text": "a", "objects": ["box"], "id": "same"}\n'
        '{"text": "b", "objects": ["box"], "id": "same"}\n'
        '{"text": "c", "objects": ["box"], "id": "../../etc"}\n'
        '{"text": "d", "objects": []}\n'
        '{"text": "e", "objects": ["box"], "video": "none.mp4"}\n'
        "{broken\n"
        '{"text": "f", "objects": ["box"], "color": "red"}\n'
    )
    with pytest.raises(UserError, match="6 problems") as caught:
        read_prompts(path)
    said = str(caught.value)
    for number in (2, 3, 4, 5, 6, 7):
        assert f"line {number}:" in said
    path.write_text("\n")
    with pytest.raises(UserError, match="holds no scene"):
        read_prompts(path)


def test_a_scene_without_an_id_gets_a_steady_one(tmp_path):
    path = tmp_path / "prompts.jsonl"
    lines = [{"text": f"A person / lifts ../{n}", "objects": ["box"]} for n in range(2)]
    path.write_text("\n".join(map(json.dumps, lines)))
    first = [item.id for item in read_prompts(path)]
    path.write_text("\n".join(map(json.dumps, reversed(lines))))
    assert [item.id for item in read_prompts(path)] == first[::-1]
    assert first[0].startswith("a-person-lifts-0-")


@pytest.mark.slow
@needs("ray")
@pytest.mark.thorough
def test_two_nodes_lose_no_scene_when_a_worker_dies(tmp_path):
    """One actor is killed (SIGKILL) in the middle of the masks of some scene."""
    path, out, died = prompts(tmp_path, 2), tmp_path / "out", tmp_path / "died"
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": f"{here}{os.pathsep}{here.parent}",
        "HOIJAX_TEST_DIE_ONCE": f"Tracker={died}",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, here / "two_node_cluster.py", path, out, tmp_path / "cache"]
    ran = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    (line,) = (line for line in ran.stdout.splitlines() if line.startswith('{"nodes"'))
    said = json.loads(line)
    assert died.exists(), "no worker was killed"
    assert said == {
        "nodes": 2,
        "done": 2,
        "failures": {"bad": "stage 'pag': nobody can do that. Ask for something else"},
    }
    assert [path.name for path in out.glob(".*")] == [".work"], "leftovers"
    assert not list((out / ".work" / "locks").iterdir())
    done, _ = looped_like(tmp_path / "loop", path)
    assert done == 2
    for n in range(2):
        ours, theirs = (read_bundle(f / f"box-{n}") for f in (out, tmp_path / "loop" / "out"))
        for key in ours.observations.__dataclass_fields__:
            np.testing.assert_array_equal(
                getattr(ours.observations, key), getattr(theirs.observations, key), err_msg=key
            )


def looped_like(folder: Path, path: Path):
    folder.mkdir()
    return looped(folder, path, tiny.TinyModels())
