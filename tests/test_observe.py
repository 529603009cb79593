"""The chain of stages with priors that know the answer: exact results, resuming, files, errors."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_priors as tiny
from PIL import ExifTags, Image

from hoijax.bundle.write import check_bundle, read_bundle, write_bundle
from hoijax.errors import UserError
from hoijax.geometry.transforms import compose_rigid, invert_rigid
from priors.observe.assemble import in_one_world, label_images
from priors.observe.chain import observe
from priors.observe.entity_boxes import find_entities
from priors.observe.hints import parse_hints
from priors.observe.people import find_people
from priors.observe.stages import STAGE_NAMES
from priors.observe.tracking import EntityMasks, find_and_track
from priors.protocols import BodyMotion, ClipOrigin, Detection, Hint, ModelId, Tracks, Video
from priors.settings import GivenMasks, ObserveSettings, Request
from priors.store import CorruptEntryWarning, Store

SETTINGS = ObserveSettings(
    frames=tiny.FRAMES, height=tiny.SMALL[0], width=tiny.SMALL[1], image_tries=2, image_candidates=1
)
ONCE = {
    "language": 1, "image": 1, "video": 1, "segmenter": 1, "geometry": 1, "body": 1
}  # fmt: skip


@pytest.fixture(scope="session")
def scene(tmp_path_factory) -> tiny.Answers:
    """Also for the processes of these tests, by the folder it is kept in."""
    os.environ.setdefault("HOIJAX_TEST_SCENES", str(tmp_path_factory.mktemp("scenes")))
    return tiny.answers()


@pytest.fixture(scope="session")
def finished(scene, tmp_path_factory):
    """(store, models, bundle) of one whole run. Shared: do not change."""
    store, models = Store(tmp_path_factory.mktemp("finished")), tiny.TinyModels(scene)
    bundle, _ = observe(Request(tiny.TEXT, scene.assets), SETTINGS, models, store)
    return store, models, bundle


def counts(models: tiny.TinyModels) -> dict[str, int]:
    return {role: n for role, n in models.calls().items() if role in ONCE}


def run_again(scene, store, *, restart=None, settings=SETTINGS, **given):
    """(bundle, how often every model was called) of another run on a store."""
    models = tiny.TinyModels(scene)
    request = Request(tiny.TEXT, scene.assets, **given)
    bundle, _ = observe(request, settings, models, store, restart=restart)
    return bundle, counts(models)


# ---- what comes out


def test_every_sample_of_the_bundle_is_the_truth(scene, finished):
    seen = finished[2].observations
    names = ("body_rotations", "body_translations", "body_betas", "body_rest_joints")
    ground_truth = (scene.rotations, scene.translations, scene.betas, scene.rest_joints)
    for name, exact in zip(names, ground_truth, strict=True):
        np.testing.assert_allclose(getattr(seen, name), exact, atol=1e-6)
    np.testing.assert_array_equal(seen.instance_ids, scene.labels)
    np.testing.assert_allclose(seen.keypoints[..., :2], scene.keypoints[..., :2])
    np.testing.assert_allclose(seen.Ts_world_camera, np.tile(scene.T_world_camera, (12, 1, 1)))
    for t in range(tiny.FRAMES):
        mask = seen.object_point_mask[0, t]
        u, v = (seen.object_pixels[0, t, mask] - 0.5).astype(int).T
        assert mask.any()
        assert (scene.labels[t, v, u] == 2).all()
        np.testing.assert_array_equal(seen.object_points[0, t, mask], scene.points[t, v, u])
        known = seen.object_point_parts[0, t, mask]
        assert (known[known >= 0] == scene.parts[t, v, u][known >= 0]).all()
        world = seen.object_points[0, t, mask] @ scene.T_world_camera[:3, :3].T
        inverse = np.linalg.inv(scene.Ts_world_object[0, t])
        local = (world + scene.T_world_camera[:3, 3]) @ inverse[:3, :3].T + inverse[:3, 3]
        asset = scene.assets[0]
        assert (local > asset.vertices.min(0) - 2e-3).all()
        assert (local < asset.vertices.max(0) + 2e-3).all()
    assert (seen.object_point_parts >= 0).any(), "no part is labelled"


def test_the_bundle_is_sound_and_says_where_everything_comes_from(finished, tmp_path):
    bundle = finished[2]
    assert check_bundle(write_bundle(tmp_path / "bundle", bundle)) == []
    again = read_bundle(tmp_path / "bundle")
    assert again.fps == tiny.FPS
    makers = {key: p.model for key, p in again.provenance.items()}
    assert makers["object_points"] == "tests/Geometer-exact"
    assert makers["keypoints"] == "tests/Jointer-exact"
    assert makers["body_rotations"] == "tests/Recoverer-exact"
    assert makers["instance_ids"] == "tests/Tracker-exact"
    stages = again.provenance["*"].settings["stages"]
    assert set(stages) == set(STAGE_NAMES) - {"parts"}
    assert stages["video"]["settings"] == {"frames": tiny.FRAMES, "seed": 0}


def test_without_a_geometry_model_the_bundle_has_no_points(scene, tmp_path):
    models = tiny.TinyModels(scene, {"geometry": None})
    bundle, _ = observe(Request(tiny.TEXT, scene.assets), SETTINGS, models, Store(tmp_path / "c"))
    path = write_bundle(tmp_path / "bundle", bundle)
    assert check_bundle(path) == []
    again = read_bundle(path)
    missing = {"object_points", "person_points", "object_point_parts", "intrinsics"}
    assert missing <= set(again.absent)
    assert not {"keypoints", "instance_ids", "body_rotations"} & set(again.absent)
    assert again.observations.object_detected.any()
    assert not again.observations.object_point_mask.any()
    np.testing.assert_array_equal(again.observations.instance_ids, scene.labels)


class TakesHints(tiny.Tracker):
    """Keeps its prompts; tracks as its kind does."""

    prompts: tuple = ()

    def track(self, frames, prompts):
        self.prompts = tuple(prompts)
        return super().track(frames, prompts)


def test_hinted_objects_are_not_looked_for(scene, tmp_path):
    tracker = TakesHints(scene)
    finder = tiny.Finder(scene)
    asked = []
    detect = finder.detect
    finder.detect = lambda image, phrases: asked.extend(phrases) or detect(image, phrases)
    rows, columns = np.nonzero(scene.labels[2] == 2)
    box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    hint = Hint("box", 2, tuple(float(x) for x in box))
    models = tiny.TinyModels(scene, {"segmenter": tracker, "detector": finder})
    clip = Video(scene.frames, tiny.FPS)
    request = Request(tiny.TEXT, scene.assets, video=clip, hints=(hint,))
    bundle, _ = observe(request, SETTINGS, models, Store(tmp_path / "cache"))
    assert set(asked) == {"person"}
    assert [(p.frame, p.is_person) for p in tracker.prompts][1] == (2, False)
    np.testing.assert_array_equal(bundle.observations.instance_ids == 2, scene.labels == 2)
    wrong = dataclasses.replace(request, hints=(Hint("chair", 2, hint.box),))
    with pytest.raises(UserError, match="no object of that name"):
        observe(wrong, SETTINGS, models, Store(tmp_path / "cache"))
    with pytest.raises(UserError, match="give --video as well"):
        observe(dataclasses.replace(request, video=None), SETTINGS, models, Store(tmp_path / "c"))


# ---- proposed yaws


class Proposer(tiny.Author):
    """Proposes yaws, two of them nearly the same; keeps what it was told."""

    told = ""

    def propose_yaws(self, text, object_name, situation, seed=0):
        self.told = situation
        return [90.0, 358.0, 2.0, 180.0]


def test_a_detector_of_people_needs_hints_before_any_work(scene, tmp_path):
    models = tiny.TinyModels(scene)
    models.get("detector").people_only = True
    video = Video(scene.frames, tiny.FPS)
    request = Request(tiny.TEXT, scene.assets, video=video)
    with pytest.raises(UserError, match=r"nothing was computed.*--hint box=FRAME"):
        observe(request, SETTINGS, models, Store(tmp_path))
    assert not any(models.calls().values())


def test_clips_larger_than_the_memory_are_refused_before_any_work(scene, tmp_path, monkeypatch):
    models = tiny.TinyModels(scene)
    models.get("body").bytes_per_frame = 1e6
    request = Request(tiny.TEXT, scene.assets, video=Video(scene.frames, tiny.FPS))
    free = int(tiny.FRAMES * (1e6 + 9 * scene.frames[0, ..., 0].size))
    monkeypatch.setattr("priors.observe.request_checks.available_memory", lambda: free - 1)
    with pytest.raises(UserError, match=f"--seconds START:END, at most {tiny.FRAMES - 1} frames"):
        observe(request, SETTINGS, models, Store(tmp_path))
    assert not any(models.calls().values())


def test_proposed_yaws_are_asked_for_with_the_scene_and_reach_the_bundle(scene, tmp_path):
    proposer = Proposer(scene)
    models = tiny.TinyModels(scene, {"language": proposer})
    store = Store(tmp_path / "cache")
    bundle, _ = observe(Request(tiny.TEXT, scene.assets), SETTINGS, models, store)
    assert bundle.proposed_yaws == {"box": (90.0, 358.0, 180.0)}
    again = read_bundle(write_bundle(tmp_path / "bundle", bundle))
    assert again.proposed_yaws == bundle.proposed_yaws

    def numbers(line: str) -> list[list[float]]:
        return [[float(x) for x in group.split(",")] for group in re.findall(r"\(([^)]*)\)", line)]

    person, box, *parts = proposer.told.splitlines()
    pelvis = scene.rest_joints[0, 0] + scene.translations[0]
    facing, hips = numbers(person)[:2]
    assert np.abs(pelvis - hips).max(1).min() < 0.01, "the hips of some frame"
    assert np.linalg.norm(facing) == pytest.approx(1, abs=0.02)
    middle = np.mean(numbers(box), axis=0)
    ground_truth = scene.Ts_world_object[0, :, :3, :3] @ scene.assets[0].center
    ground_truth += scene.Ts_world_object[0, :, :3, 3]
    assert np.linalg.norm(ground_truth - middle, axis=1).min() < 0.25, "half a box is seen"
    assert parts[0] == "In the own frame of the box, from corner to corner:"
    assert any(line.startswith("- left_hand of person 1 and ") for line in parts), parts

    given = Request(tiny.TEXT, scene.assets, pag=scene.graph)
    proposer.told = ""
    bundle, _ = observe(given, SETTINGS, models, store)
    assert bundle.proposed_yaws == {}
    assert proposer.told == "", "a graph of one's own needs no language model"


def test_a_language_model_that_proposes_nothing_leaves_the_bundle_without(finished):
    assert finished[2].proposed_yaws == {}
    assert "yaws" in finished[2].provenance["*"].settings["stages"]


# ---- what is computed, and when


def test_nothing_is_computed_twice(scene, finished):
    store, models, bundle = finished
    assert counts(models) == ONCE
    again, calls = run_again(scene, store)
    assert calls == dict.fromkeys(calls, 0)
    np.testing.assert_array_equal(
        again.observations.object_points, bundle.observations.object_points
    )


@pytest.mark.parametrize("stage", ["video", "masks", "body"])
def test_a_stage_is_computed_again_alone(scene, finished, stage):
    role = {"video": "video", "masks": "segmenter", "body": "body"}[stage]
    _, calls = run_again(scene, finished[0], restart=stage)
    assert calls[role] == 1
    assert sum(calls.values()) == 1, "the result is the same, so later stages stand"


def test_another_seed_computes_only_what_depends_on_it(scene, finished):
    import dataclasses

    _, calls = run_again(scene, finished[0], settings=dataclasses.replace(SETTINGS, seed=5))
    # The same graph, image and clip come out again, so nothing after them is new.
    assert calls == {
        "language": 1,
        "image": 1,
        "video": 1,
        "segmenter": 0,
        "geometry": 0,
        "body": 0,
    }


def test_a_damaged_result_is_computed_again_and_said(scene, tmp_path):
    store = Store(tmp_path)
    run_again(scene, store)
    (file,) = (store.root / "points").rglob("arrays.npz")
    file.write_bytes(file.read_bytes()[:-100])
    for path in (store.root / "bundle").rglob("*"):
        path.unlink() if path.is_file() else None
    with pytest.warns(CorruptEntryWarning, match="damaged"):
        bundle, calls = run_again(scene, store)
    assert calls["geometry"] == 1
    assert sum(calls.values()) == 1
    assert bundle.observations.object_detected.any()


PROGRAM = """
import sys, tiny_priors as tiny
from priors.settings import ObserveSettings, Request
from priors.observe.chain import observe
from priors.store import Store
models = tiny.TinyModels()
settings = ObserveSettings(12, 96, 128, image_tries=2, image_candidates=1)
observe(Request(tiny.TEXT, models.scene.assets), settings, models, Store(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(scene, tmp_path):
    """kill -9 in the middle of the masks: nothing finished is lost, nothing half-made is read."""
    calls, hung, cache = (tmp_path / name for name in ("calls", "hung", "cache"))
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent),
        "HOIJAX_TEST_CALLS": str(calls),
        "HOIJAX_TEST_HANG": "Tracker",
        "HOIJAX_TEST_HUNG": str(hung),
    }
    command = [sys.executable, "-c", PROGRAM, str(cache)]
    victim = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 120
    while not hung.exists():
        assert victim.poll() is None, "the program ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    del environment["HOIJAX_TEST_HANG"]
    subprocess.run(command, env=environment, check=True)
    said = calls.read_text().split()
    assert [said.count(name) for name in ("Author", "Painter", "Filmer")] == [1, 1, 1]
    assert said.count("Tracker") == 2, "the killed one and its repetition"
    _, later = run_again(scene, Store(cache))
    assert later == dict.fromkeys(later, 0)


# ---- the user's own files


def test_a_graph_and_a_clip_of_the_user_replace_their_stages(scene, tmp_path):
    video = Video(np.concatenate([scene.frames, scene.frames[:3]]), 24.0)
    bundle, calls = run_again(scene, Store(tmp_path), pag=scene.graph, video=video)
    assert calls == {"segmenter": 1, "geometry": 1, "body": 1}
    assert bundle.frame_count == tiny.FRAMES
    assert bundle.fps == 24.0
    assert "image" not in bundle.provenance["*"].settings["stages"]


def test_an_image_of_the_user_replaces_its_stage(scene, tmp_path):
    _, calls = run_again(scene, Store(tmp_path), image=scene.frames[0])
    assert "image" not in calls
    assert calls["video"] == 1


def test_masks_of_the_user_replace_detector_and_tracker(scene, tmp_path):
    from priors.observe.user_files import read_masks

    folder = tmp_path / "masks"
    (folder / "parts").mkdir(parents=True)
    for t in range(tiny.FRAMES):
        Image.fromarray(scene.labels[t]).save(folder / f"{t:04d}.png")
        Image.fromarray((scene.parts[t] + 1).astype(np.uint8)).save(folder / f"parts/{t:04d}.png")
    masks = read_masks(folder)
    bundle, calls = run_again(
        scene, Store(tmp_path / "c"), pag=scene.graph, video=Video(scene.frames, 8.0), masks=masks
    )
    assert calls == {"geometry": 1, "body": 1}
    seen = bundle.observations
    np.testing.assert_array_equal(seen.instance_ids, scene.labels)
    t, n = np.nonzero(seen.object_point_mask[0])
    u, v = (seen.object_pixels[0, t, n] - 0.5).astype(int).T
    np.testing.assert_array_equal(seen.object_point_parts[0, t, n], scene.parts[t, v, u])


def test_files_that_do_not_fit_are_refused_before_any_model(scene, tmp_path):
    clip = Video(scene.frames, 8.0)
    cases = {
        "has 5 frames, 12 are asked for. Give --frames 5": {"video": Video(scene.frames[:5], 8.0)},
        "give --video as well": {"masks": GivenMasks(scene.labels)},
        "another aspect": {"masks": GivenMasks(scene.labels[:, :50]), "video": clip},
        "no pixel of the value 1 (person), 2 (box).": {
            "masks": GivenMasks(0 * scene.labels),
            "video": clip,
        },
        "no pixel of the value 2 (box).": {
            "masks": GivenMasks(np.minimum(scene.labels, 1)),
            "video": clip,
            "pag": scene.graph,
        },
        "--pag does not fit": {"pag": scene.graph.model_copy(update={"objects": ()})},
    }
    for says, given in cases.items():
        models = tiny.TinyModels(scene)
        with pytest.raises(UserError, match=re.escape(says)):
            observe(Request(tiny.TEXT, scene.assets, **given), SETTINGS, models, Store(tmp_path))
        assert models.made == {}
    with pytest.raises(UserError, match="no stage 'mask'"):
        run_again(scene, Store(tmp_path), restart="mask")


def test_clips_and_pictures_are_read_back(scene, tmp_path):
    from hoijax.io.video import read_video
    from priors.observe.user_files import encode_video, read_image

    encode_video(Video(scene.frames, 8.0), tmp_path / "clip.mp4")
    clip = read_video(tmp_path / "clip.mp4", 5)
    assert clip.frames.shape == (5, *tiny.SMALL, 3)
    assert clip.fps == 8.0
    assert np.abs(clip.frames.astype(int) - scene.frames[:5]).mean() < 6
    Image.fromarray(scene.frames[0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), scene.frames[0])
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6  # as a phone held upright writes it
    Image.fromarray(scene.frames[0]).save(tmp_path / "turned.png", exif=turned)
    upright = np.rot90(scene.frames[0], -1)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), upright)
    (tmp_path / "bad.mp4").write_bytes(b"no clip")
    with pytest.raises(UserError, match="not a video"):
        read_video(tmp_path / "bad.mp4", 5)
    with pytest.raises(UserError, match="cannot be read as an image"):
        read_image(tmp_path / "bad.mp4")
    with pytest.raises(UserError, match="no video"):
        read_video(tmp_path / "none.mp4", 5)


# ---- errors


class Blind(tiny.Finder):
    """Does not see what it is told not to."""

    unseen = ""

    def detect(self, image, phrases):
        return [d for d in super().detect(image, phrases) if self.unseen not in phrases[d.phrase]]


class Hungry(tiny.Tracker):
    def track(self, frames, prompts) -> Tracks:
        if len(frames) > 1:
            raise MemoryError
        return super().track(frames, prompts)


class Short(tiny.Filmer):
    def generate(self, image, prompt, *, frames, seed):
        return super().generate(image, prompt, frames=frames - 4, seed=seed)


def failing(scene, store, role, model) -> str:
    models = tiny.TinyModels(scene, {role: model})
    with pytest.raises(UserError) as caught:
        observe(Request(tiny.TEXT, scene.assets), SETTINGS, models, store)
    return str(caught.value)


def test_errors_name_the_stage_and_the_remedy_and_keep_what_is_finished(scene, tmp_path):
    store = Store(tmp_path)
    blind = Blind(scene)
    blind.unseen = "person"
    said = failing(scene, store, "detector", blind)
    assert said.startswith("stage 'image': no candidate shows the asked people")
    blind.unseen = "box"
    said = failing(scene, store, "detector", blind)
    assert said.startswith("stage 'masks': object 'box' (looked for as 'the box')")
    assert "--masks" in said
    assert "Finished stages are kept (pag, image, video" in said
    said = failing(scene, store, "segmenter", Hungry(scene))
    assert said.startswith("stage 'masks': out of memory.")
    assert "--memory sequential" in said
    said = failing(scene, store, "video", Short(scene))
    assert "the model made 8 frames, 12 are asked for. Give --frames 8" in said
    assert run_again(scene, store)[1]["language"] == 0


# ---- pieces


def test_bodies_are_recovered_knowing_what_else_is_there():
    """Of each person: all other people and all objects, without the person where masks overlap."""
    from priors.observe.stage_functions import recover_bodies
    from priors.observe.stage_inputs import Inputs
    from priors.protocols import PointMaps
    from priors.store import Entry

    people, objects = np.zeros((2, 2, 3, 4, 5), bool)
    people[0, :, 0], people[1, :, 1], objects[0, :, 1:3] = True, True, True
    asked, lifted = [], []

    class Model:
        def recover(self, video, keypoints, person_masks, maps, other_masks, lifts=None):
            asked.append(other_masks)
            lifted.append(lifts)
            rest, still = np.zeros((55, 3), np.float32), np.zeros((3, 3), np.float32)
            turns = np.zeros((3, 55, 3), np.float32)
            cameras = np.tile(np.eye(4, dtype=np.float32), (3, 1, 1))
            return BodyMotion(turns, still, np.zeros(1, np.float32), rest, cameras)

    frames = np.zeros((3, 4, 5, 3), np.uint8)
    masks = EntityMasks(
        people, objects[:1], np.zeros((0, 3, 4, 5), bool), np.zeros((0, 2), np.int32),
        np.ones((3, 3), np.float32),
    )  # fmt: skip
    points = PointMaps(np.ones((3, 4, 5, 3)), frames[..., 0] == 0, np.tile(np.eye(3), (3, 1, 1)))
    arrays = {
        "video": ({"frames": frames}, {"fps": 8.0}),
        "masks": (vars(masks), None),
        "points": (vars(points), None),
        "keypoints": ({"keypoints": np.ones((2, 3, 18, 3), np.float32)}, None),
    }
    entries = {name: Entry(*content, "", 0.0) for name, content in arrays.items()}
    request = Request("two people", ())
    seen = []

    class Hands:
        def hands(self, frames, keypoints):
            seen.append((frames.shape, keypoints.shape))
            return np.zeros((3, 2, 21, 4), np.float32)

    models = {"hands": Hands(), "body": Model()}
    arrays, _ = recover_bodies(Inputs(request, SETTINGS, models, entries))
    assert len(arrays["rotations"]) == 2
    assert seen == [((3, 4, 5, 3), (3, 18, 3))] * 2
    first, second = asked
    np.testing.assert_array_equal(first, people[1] | objects[0])
    np.testing.assert_array_equal(second, people[0] | (objects[0] & ~people[1]))
    assert lifted == [None, None]


def test_a_model_that_lifts_keypoints_is_asked_to():
    """A person who is absent in a frame is not lifted there."""
    from priors.observe.stage_functions import find_keypoints
    from priors.observe.stage_inputs import Inputs
    from priors.store import Entry

    class Lifting:
        model_id = ModelId("tests/lifting", "1")

        def lifted_keypoints(self, frames, boxes, present):
            return np.full((3, 18, 4), 0.5, np.float32)

        def keypoints(self, frames, boxes, present):
            raise AssertionError("its depths would be lost")

    people = np.zeros((1, 3, 4, 5), bool)
    people[0, :2, 1:3] = True
    masks = EntityMasks(
        people, np.zeros((0, 3, 4, 5), bool), np.zeros((0, 3, 4, 5), bool), np.zeros((0, 2), np.int32),
        np.ones((1, 3), np.float32),
    )  # fmt: skip
    arrays = {
        "video": ({"frames": np.zeros((3, 4, 5, 3), np.uint8)}, {"fps": 8.0}),
        "masks": (vars(masks), None),
    }
    entries = {name: Entry(*content, "", 0.0) for name, content in arrays.items()}
    models = {"keypoints": Lifting()}
    found, _ = find_keypoints(Inputs(Request("one", ()), SETTINGS, models, entries))
    assert found["keypoints"].shape == (1, 3, 18, 3)
    assert (found["lifts"][0, :2] == 0.5).all()
    assert np.isnan(found["lifts"][0, 2]).all()


def test_people_are_brought_into_one_world(rng):
    """A second body, carried by an unknown rigid motion with its camera, comes back where it was."""
    from scipy.spatial.transform import Rotation

    T = compose_rigid(Rotation.random(random_state=1).as_matrix(), np.array([0.3, 1.2, -2.0]))
    rest = rng.normal(size=(55, 3)).astype(np.float32)
    rotations = rng.normal(size=(4, 55, 3)).astype(np.float32)
    places = rng.normal(size=(4, 3)).astype(np.float32)
    camera = np.tile(compose_rigid(np.eye(3), np.array([0.0, 1.0, 3.0])), (4, 1, 1))
    first = BodyMotion(rotations, places, np.zeros(10, np.float32), rest, camera)
    turned = rotations.copy()
    root = Rotation.from_matrix(T[:3, :3]) * Rotation.from_rotvec(rotations[:, 0])
    turned[:, 0] = root.as_rotvec()
    moved = (rest[0] + places) @ T[:3, :3].T + T[:3, 3] - rest[0]
    second = BodyMotion(turned, moved, np.zeros(10, np.float32), rest, T @ camera)
    found, translations, cameras = in_one_world([first, second])
    np.testing.assert_allclose(translations[1], places, atol=1e-5)
    np.testing.assert_allclose(
        Rotation.from_rotvec(found[1, :, 0]).as_matrix(),
        Rotation.from_rotvec(rotations[:, 0]).as_matrix(),
        atol=1e-5,
    )
    np.testing.assert_array_equal(cameras, camera)
    np.testing.assert_allclose(invert_rigid(T) @ T, np.eye(4), atol=1e-6)


def test_where_masks_overlap_the_smaller_one_counts():
    person, thing = np.zeros((2, 1, 6, 6), bool)
    person[0, :, :], thing[0, 2:4, 2:4] = True, True
    part = np.zeros((1, 6, 6), bool)
    part[0, 2, :] = True
    masks = EntityMasks(
        person[None],
        thing[None],
        part[None],
        np.array([[0, 1]], np.int32),
        np.ones((2, 1), np.float32),
    )
    labels, parts = label_images(masks, [2])
    assert (labels == np.where(thing, 2, 1)).all()
    assert (parts == np.where(thing & part, 1, -1)).all()


def test_two_of_a_kind_are_told_apart_from_left_to_right():
    scene, said = TwoOfAKind(), []
    masks = find_and_track(
        np.zeros((3, 20, 40, 3), np.uint8),
        scene.graph,
        [scene.asset] * 2,
        scene,
        scene,
        3,
        log=said.append,
    )
    lefts = [np.flatnonzero(mask[2].any(0))[0] for mask in masks.objects]
    assert lefts == [3, 30]
    assert not said


def test_where_an_object_is_lost_is_said():
    """In frames of the file, of which every second is read here."""

    class Loses(TwoOfAKind):
        def track(self, frames, prompts):
            tracks = super().track(frames, prompts)
            tracks.masks[-1, 1:] = False
            return tracks

    scene, said = Loses(), []
    frames, assets = np.zeros((3, 20, 40, 3), np.uint8), [scene.asset] * 2
    origin = ClipOrigin(frames=np.array([0, 2, 4]))
    find_and_track(frames, scene.graph, assets, scene, scene, 3, (), origin, said.append)
    assert [line.partition(";")[0] for line in said] == [
        "masks: ball is seen in 1 of 3 frames, first lost in frame 2"
    ]


class Crowd(tiny.Fake):
    """A person, and a small one behind who is seen more surely."""

    def detect(self, image, phrases):
        large, small = np.array([2.0, 1, 12, 19]), np.array([30.0, 8, 33, 14])
        return [Detection(0, small, 0.9), Detection(0, large, 0.8)]


def test_of_more_people_than_are_asked_the_large_ones_are_followed():
    said = []
    frames = np.zeros((3, 20, 40, 3), np.uint8)
    found = find_people(frames, [0, 2], Crowd(None), 1, log=said.append)
    assert found[0] is not None
    np.testing.assert_array_equal(found[0][1], [2, 1, 12, 19])
    assert said == [
        'people: 2 are seen at once; of these the largest: "person=0:2,1,10,18". '
        'To follow another: --hint "person=0:30,8,3,6"'
    ]
    both = find_people(frames, [0], Crowd(None), 2, log=said.append)
    assert [where is not None and where[1][0] for where in both] == [2, 30]
    assert len(said) == 1


@pytest.mark.parametrize(
    ("count", "texts", "lefts"),
    [
        (1, ["person=2:31,10"], [30]),
        (1, ["person 1=2:1,1,12,18", "box=0:31,10"], [2]),
        (1, ["person=2:15,1,9,18"], [15]),  # whom the detector misses
        (2, ["person 2=1:5,5", "person 1=0:31,10"], [30, 2]),
    ],
)
def test_people_are_those_that_hints_show(count, texts, lefts):
    frames, said = np.zeros((3, 20, 40, 3), np.uint8), []
    hints = parse_hints(texts)
    found = find_people(frames, [0], Crowd(None), count, hints, log=said.append)
    assert [box[0] for _, box in found] == lefts
    assert not said


@pytest.mark.parametrize(
    ("count", "texts", "problem"),
    [
        (1, ["person=2:36,2"], r"person=2:36,2: no person was found there.*person=2:15,4,2,3"),
        (1, ["person 2=2:31,10"], "the people of this clip are called person"),
        (2, ["person 1=2:31,10"], "there is none of person 2"),
    ],
)
def test_a_hint_that_shows_nobody_is_refused(count, texts, problem):
    """Pixels in the message are those of the file, here half of the image's."""
    frames = np.zeros((3, 20, 40, 3), np.uint8)
    with pytest.raises(UserError, match=problem):
        find_people(frames, [0], Crowd(None), count, parse_hints(texts), ClipOrigin(2.0))


def test_of_equal_people_the_one_beside_the_hint_is_followed():
    class Row(tiny.Fake):
        def detect(self, image, phrases):
            boxes = [(10.0, 0.0, 40.0, 90.0), (200.0, 0.0, 230.0, 90.0)]
            seen = boxes[1:] if image.flat[0] == 0 else boxes
            return [Detection(0, np.array(box), 0.9) for box in seen]

    frames = np.zeros((2, 90, 260, 3), np.uint8)
    frames[1] = 1
    hint = np.array([50.0, 60.0, 80.0, 90.0])
    for beside, frame, left in (([], 0, 200.0), ([hint], 1, 10.0)):
        (who,) = find_entities(frames, [0, 1], Row(None), ["person"], beside=beside)
        assert (who[0], who[1][0]) == (frame, left)


def test_a_part_is_tracked_by_its_own_box_not_the_wholes():
    """The whole object has the best score for "the top part of the box": its mask would be no part."""
    scene = WholeFirst()
    frames = np.zeros((3, 20, 40, 3), np.uint8)
    masks = find_and_track(frames, scene.graph, [scene.asset], scene, scene, 1)
    assert masks.parts.shape[0] == 1
    assert masks.parts[0, 0].sum() == 10 * 4


class WholeFirst(tiny.Fake):
    """One person and a box, whose whole is a surer "top" than its top."""

    def __init__(self):
        from hoijax.affordance.graph import PartAffordanceGraph
        from hoijax.objects.asset import load_asset

        self.asset = load_asset("box")
        flags = {"is_translational": True, "is_rotational": True}
        first = {"entity": "box", "part": "top"}
        second = {"entity": "person 1", "part": "left_hand"}
        ends = {"first": first, "second": second, "is_continuous": True, "is_rel_static": True}
        self.graph = PartAffordanceGraph.model_validate(
            {
                "people": [{"name": "person 1"}],
                "objects": [
                    {"name": "box", "description": "a box", "parts": self.asset.part_names, **flags}
                ],
                "edges": [ends],
            }
        )

    def detect(self, image, phrases):
        from priors.protocols import Detection

        whole, top = np.array([4.0, 5, 14, 15]), np.array([4.0, 5, 14, 9])
        found = []
        for number, phrase in enumerate(phrases):
            if phrase == "person":
                found.append(Detection(number, np.array([20.0, 0, 30, 19]), 0.9))
            elif phrase in ("a box", "the top part of the box"):
                found.append(Detection(number, whole, 0.9))
            if phrase == "the top part of the box":
                found.append(Detection(number, top, 0.5))
        return found

    def track(self, frames, prompts):
        return TwoOfAKind.track(self, frames, prompts)  # pyright: ignore


class TwoOfAKind(tiny.Fake):
    """Two equal cups, seen together from the second of three frames on; the right one more surely."""

    def __init__(self):
        from hoijax.affordance.graph import PartAffordanceGraph
        from hoijax.objects.asset import load_asset

        self.asset = load_asset("ball")
        thing = {"is_translational": True, "is_rotational": True, "parts": ["surface"]}
        edge = {"is_continuous": True, "is_rel_static": True}
        self.graph = PartAffordanceGraph.model_validate(
            {
                "people": [{"name": "person 1"}],
                "objects": [{"name": f"cup {n}", "description": "a cup", **thing} for n in (1, 2)],
                "edges": [
                    {
                        "first": {"entity": f"cup {n}", "part": "surface"},
                        "second": {"entity": "person 1", "part": f"{side}_hand"},
                        **edge,
                    }
                    for n, side in ((1, "left"), (2, "right"))
                ],
            }
        )
        self.asked = 0

    def detect(self, image, phrases):
        from priors.protocols import Detection

        self.asked += 1
        found = []
        for number, phrase in enumerate(phrases):
            if phrase == "person":
                found.append(Detection(number, np.array([10, 0, 20, 19], np.float32), 0.9))
            elif phrase == "a cup":
                found.append(Detection(number, np.array([30, 5, 35, 9], np.float32), 0.9))
                if self.asked > 1:
                    found.append(Detection(number, np.array([3, 5, 8, 9], np.float32), 0.5))
        return found

    def track(self, frames, prompts):
        masks = np.zeros((len(prompts), *frames.shape[:3]), bool)
        for mask, prompt in zip(masks, prompts, strict=True):
            left, top, right, bottom = prompt.box.astype(int)
            mask[:, top:bottom, left:right] = True
        return Tracks(masks, np.ones(masks.shape[:2], np.float32))
