"""Composition: words, the split, the body fit, surfaces, placement, checkpoints, and a small run end to end."""

import dataclasses
import json
import os
import signal
from typing import Any
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hoijax.bodies import load_body
from hoijax.bodies.contact import RELAXED_HAND_POSE
from hoijax.bodies.fitting.fit import known_person
from hoijax.bodies.keypoints import openpose18
from hoijax.bodies.pose_prior import canonical_pose, seated_reference
from hoijax.composition.body_fit import fit_body, skeletons_of, triangulate
from hoijax.composition.field_stages import check_field
from hoijax.composition.fields.cameras import OrbitSettings, ring_cameras
from hoijax.composition.fields.closed_form import ClosedFormGuidance
from hoijax.composition.fields.composition import new_entity
from hoijax.composition.fields.guidance import Prompts
from hoijax.composition.fields.known_scene import (
    HUMAN,
    OBJECT,
    KnownScene,
    known_images,
    known_skeletons,
    silhouettes,
)
from hoijax.composition.fields.noise import NoiseSettings
from hoijax.composition.fields.radiance_field import FieldSettings
from hoijax.composition.fields.surface import surface_of_grid
from hoijax.composition.method import Composer
from hoijax.composition.metrics import chamfer
from hoijax.composition.object_placement import place_mesh
from hoijax.composition.observers import Observers
from hoijax.composition.settings import ComposeSettings, compose_preset
from hoijax.composition.stage_loop import Hooks, StageLoop
from hoijax.errors import UserError
from hoijax.io import sigterm
from hoijax.io.checkpoints import DONE, Checkpoints
from hoijax.objects.asset import load_asset
from hoijax.objects.surface_samples import sample_surface
from hoijax.rendering.raycast import RenderMesh
from priors.language.scene_words import object_noun, read_prompts

ORBIT = OrbitSettings()


# --- words


def test_a_sentence_is_three_prompts():
    prompts = read_prompts("a tall man sitting on a sofa")
    assert prompts.interaction == "a tall man sitting on a sofa"
    assert prompts.human.startswith("a tall man standing")
    assert prompts.object == "a sofa"
    assert object_noun("a woman cleaning with an ancient telescope") == "ancient telescope"
    assert read_prompts("person lifts the barbell").human.startswith("a person")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a sofa in a room", "names no person"),
        ("a man sitting", "names no object"),
        ("two men sitting on a sofa", "names 2 people"),
        ("a man and a woman carry a box", "names 2 people"),
    ],
)
def test_sentences_without_a_part_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        read_prompts(text)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(UserError, match="tiny, small, gpu"):
        compose_preset("huge")
    with pytest.raises(UserError, match="size must be at least 1"):
        ComposeSettings(size=0).check()


# --- a scene by hand


def smooth(pose22: np.ndarray, turn: float) -> np.ndarray:
    """(55, 3) of a reference pose, turned about y, fingers relaxed."""
    pose = np.zeros((55, 3), np.float32)
    pose[:22] = pose22
    pose[0] = (0.0, turn, 0.0)
    pose[25:] = RELAXED_HAND_POSE
    return pose


@pytest.fixture(scope="module")
def body():
    return load_body("anny")


@pytest.fixture(scope="module")
def scene(body) -> KnownScene:
    """Someone sits on a box."""
    betas = np.zeros(10, np.float32)
    person = body.shape(jnp.asarray(betas))
    pose = smooth(seated_reference(), 0.6)
    posed = person.pose(jnp.asarray(pose), jnp.array([0.0, 0.45, 0.0]))
    standing = np.array(person.pose(jnp.asarray(canonical_pose()), jnp.zeros(3)).vertices_world)
    standing[:, 1] -= standing[:, 1].min()
    box = load_asset("box")
    faces = np.asarray(body.faces)
    color = np.tile(np.array([0.2, 0.4, 0.7], np.float32), (len(faces), 1))
    return KnownScene(
        prompts=Prompts("sit", "stand", "box"),
        human=RenderMesh(np.asarray(posed.vertices_world), faces, HUMAN, color=color),
        object=RenderMesh(box.vertices, box.faces, OBJECT, color=(0.8, 0.3, 0.1)),
        standing=RenderMesh(standing, faces, HUMAN, color=color),
        keypoints_world=np.asarray(openpose18(posed, body)),
        joints_world=np.asarray(posed.joints_world),
        ground_truth={"rest_joints": np.asarray(person.joints_rest)},
    )


def test_a_known_scene_shows_what_the_prompt_says(scene):
    cameras = ring_cameras(ORBIT, 3, (24, 24))
    human = dataclasses.replace(
        scene.human, color=np.asarray(scene.human.color) * np.float32([1.0, 0.2, 0.2])
    )
    pictures = known_images([scene, dataclasses.replace(scene, human=human)])
    both = pictures(["sit"] * 3, cameras, (24, 24))
    assert both.shape == (3, 2, 24, 24, 3)
    masks = scene.masks("sit", cameras, (24, 24))
    assert set(np.unique(masks)) == {0, HUMAN, OBJECT}
    differs = np.abs(both[:, 0] - both[:, 1]).max(-1) > 0.01
    assert differs[masks == HUMAN].mean() > 0.95
    alone = scene.masks("box", cameras, (24, 24))
    assert set(np.unique(alone)) == {0, OBJECT}
    hidden = silhouettes((scene.object,), cameras, (24, 24))
    np.testing.assert_array_equal(hidden, alone == OBJECT)
    with pytest.raises(UserError, match="no images of 'dance'"):
        pictures(["dance"] * 3, cameras, (24, 24))


# --- body fit


def skeletons(scene, noise=0.0, views=6, size=128):
    cameras = ring_cameras(ORBIT, views, (size, size))
    images = known_images([scene])(["sit"] * views, cameras, (size, size))[:, 0]
    return known_skeletons(scene, pixel_noise=noise)(images, cameras), cameras


def test_triangulation_of_exact_keypoints_is_exact(scene):
    keypoints, cameras = skeletons(scene)
    keypoints[:, 3, 2] = 0.0
    keypoints[2:, 4, 2] = 0.0
    points = triangulate(skeletons_of(keypoints, cameras))
    assert np.isnan(points[3]).all()
    others = np.delete(np.arange(18), 3)
    np.testing.assert_allclose(points[others], scene.keypoints_world[others], atol=2e-3)


def test_only_what_pictures_show_is_detected(scene):
    _, cameras = skeletons(scene)
    blank = np.full((6, 128, 128, 3), 0.85, np.float32)
    assert known_skeletons(scene)(blank, cameras)[..., 2].max() == 0.0


@pytest.mark.slow
def test_the_fit_finds_pose_place_and_size_from_noisy_skeletons(body, scene):
    """The person is 20 % larger than the body that is fitted."""
    factor = 1.2
    larger = dataclasses.replace(scene, keypoints_world=factor * scene.keypoints_world)
    keypoints, cameras = skeletons(larger, noise=1.0)
    keypoints[..., 2] = 1.0  # the pictures are of the smaller person
    keypoints[0, 4] = (3.0, 3.0, 1.0)  # an outlier
    rest = np.asarray(body.shape(jnp.zeros(10)).joints_rest)
    person = known_person(body, np.zeros(10, np.float32), rest)
    fit = fit_body(person, skeletons_of(keypoints, cameras), steps=120)
    assert fit.label.endswith(", 0 degrees")  # the heading is that of shoulders and hips
    assert fit.scale == pytest.approx(factor, rel=0.03)  # a pixel is 1.5 cm
    error = np.linalg.norm(fit.joints_world - factor * scene.joints_world, axis=1)[:22]
    assert error.mean() < 0.035
    again = factor * rest[0] + fit.translation  # translation is for scaled rest joints
    np.testing.assert_allclose(again, fit.joints_world[0], atol=1e-2)
    keypoints[..., 2] = 0.0
    with pytest.raises(UserError, match="0 of 18 keypoints"):
        fit_body(person, skeletons_of(keypoints, cameras))


# --- surfaces


def ball(n=32, radius=0.5, center=(0.0, 0.0, 0.0)):
    axis = np.linspace(-1, 1, n)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    return np.linalg.norm(grid - np.asarray(center), axis=-1) < radius


def test_the_surface_of_a_ball_is_closed_outward_and_in_place():
    import trimesh

    density = 40.0 * ball(center=(0.2, 0.0, -0.1)) + 40.0 * ball(
        radius=0.06, center=(-0.8, 0.8, 0.8)
    )
    vertices, faces = surface_of_grid(density, 10.0)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight
    step = 2 / 31
    assert mesh.volume * step**3 == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.25)
    middle = mesh.center_mass * step - 1.0  # the speck in the corner is gone
    np.testing.assert_allclose(middle, [0.2, 0.0, -0.1], atol=0.03)


def test_hollow_shells_with_pinholes_are_filled():
    import trimesh

    shell = ball(40, 0.6) & ~ball(40, 0.48)
    shell[20, 20, :12] = False  # a hole through one side
    vertices, faces = surface_of_grid(40.0 * shell, 10.0)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    full = 4 / 3 * np.pi * 0.6**3 * (39 / 2) ** 3
    assert mesh.volume > 0.8 * full
    assert mesh.is_watertight


def test_a_solid_that_leaves_the_cube_is_capped_and_a_degenerate_one_refused():
    import trimesh

    vertices, faces = surface_of_grid(40.0 * ball(center=(0.8, 0.0, 0.0)), 10.0)
    assert trimesh.Trimesh(vertices, faces, process=False).is_watertight
    for density, state in ((0.0, "empty"), (50.0, "full")):
        with pytest.raises(UserError, match=f"the field is {state}"):
            surface_of_grid(np.full((8, 8, 8), density), 10.0)
    thread = np.zeros((12, 12, 12))
    thread[6, 6, :] = 10.5  # thinner than what smoothing leaves
    with pytest.raises(UserError, match="thinner than a cell"):
        surface_of_grid(thread, 10.0)


@pytest.mark.slow
def test_degenerate_fields_are_told_before_they_are_meshed():
    settings = ComposeSettings(size=16, samples=16, budget=4000, cells=4)
    field = FieldSettings(resolutions=(4, 6), width=8, blob=0.0)
    for bias, state in ((-20.0, "empty"), (5.0, "full")):
        entity = new_entity(
            dataclasses.replace(field, density_bias=bias), jax.random.key(0), cells=4
        )
        if state == "full":  # fills the picture only where cameras stand close
            near = dataclasses.replace(ORBIT, distance=1.2, field_of_view=30.0)
            settings = dataclasses.replace(settings, orbit=near)
        with pytest.raises(UserError, match=f"the coarse field is {state}"):
            check_field(entity, settings, "coarse")


# --- a mesh of the user's


def test_a_mesh_is_placed_where_its_surface_was_seen(rng):
    chair = load_asset("chair")
    angle = 2.1
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    t, s = np.array([0.3, 0.1, -0.4]), 1.3
    points = sample_surface(chair.vertices, chair.faces, 1500, 5)[0]
    target = s * points @ R.T + t + 0.005 * rng.standard_normal((1500, 3))
    found = place_mesh(chair.samples, target)
    assert found.scale == pytest.approx(s, rel=0.02)
    placed = found.scale * chair.samples @ found.rotation.T + found.translation
    assert np.linalg.norm(placed - (s * chair.samples @ R.T + t), axis=1).mean() < 0.02
    assert found.residual < 0.04
    with pytest.raises(UserError, match="20 are needed"):
        place_mesh(chair.samples, target[:5])


def test_chamfer_of_parallel_squares_is_their_distance():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    there, back = chamfer(
        (vertices, faces),
        (vertices + np.float32(0.2) * np.array([0, 0, 1], np.float32), faces),
        4000,
    )
    assert there == pytest.approx(0.2, abs=0.01)
    assert back == pytest.approx(0.2, abs=0.01)


# --- models that look at renders


def test_masks_come_from_words_view_by_view_and_the_person_is_in_front():
    from priors.models.composition_models import model_segmenter
    from priors.protocols import Detection, Tracks

    asked = []

    class Boxes:
        def detect(self, image, phrases):
            asked.append((image.shape, tuple(phrases)))
            if len(asked) == 2:
                return []
            side = image.shape[0]
            wide, low = (0, 0, side, side), (0, side // 2, side, side)
            return [
                Detection(0, np.array(low, float), 0.9),
                Detection(1, np.array(wide, float), 0.8),
            ]

    class Fill:
        def track(self, frames, prompts):
            masks = np.zeros((len(prompts), *frames.shape[:3]), bool)
            for i, prompt in enumerate(prompts):
                left, top, right, bottom = (int(x) for x in prompt.box)
                masks[i, 0, top:bottom, left:right] = True
            return Tracks(masks, np.ones((len(prompts), 1)))

    images = np.zeros((2, 16, 16, 3), np.float32)
    masks = model_segmenter(Boxes(), Fill(), "sofa")(images, ring_cameras(ORBIT, 2, (16, 16)))
    assert asked[0] == ((256, 256, 3), ("person", "sofa"))
    assert (masks[0, :8] == OBJECT).all()
    assert (masks[0, 8:] == HUMAN).all()
    assert not masks[1].any()


def test_skeletons_are_in_pixels_of_the_renders():
    from priors.models.composition_models import _skeletons

    class Corner:
        def keypoints(self, frames, boxes, present):
            found = np.ones((1, 18, 3), np.float32)
            found[..., :2] = boxes[0, :2]
            return found

    images = np.full((3, 64, 64, 3), 0.8, np.float32)
    images[:, 20:40, 12:30] = 0.1
    found = _skeletons(Corner())(images, ring_cameras(ORBIT, 3, (64, 64)))
    np.testing.assert_allclose(found[..., 0], 12.0, atol=0.8)
    np.testing.assert_allclose(found[..., 1], 20.0, atol=0.8)


@pytest.mark.parametrize(
    ("views", "group", "rendered"), [(1, 4, 4), (4, 4, 4), (5, 4, 8), (1, 1, 1)]
)
def test_renders_of_a_step_are_whole_groups_of_the_guidance(views, group, rendered):
    """MVDream looks at four views of a subject at once; the preset "small" asks for one."""
    from hoijax.composition.fields.distillation import Distiller, StepReport, TrainState

    seen = []

    class Counts(Distiller):
        def __init__(self):
            pass

        def step(self, state, constants, prompts, cameras, seed):
            seen.append((len(prompts), len(cameras.Ts_world_camera)))
            return state.replace(step=state.step + 1), StepReport(0, 0.0, 0.5, 0.0, True)

    guidance: Any = mock.Mock(group=group)
    loop = StageLoop(ComposeSettings(views=views, size=8), guidance, Hooks())
    state = TrainState(None, None, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
    once = (lambda step, cameras: (None, "a box"), lambda step, state: None)
    loop.run("coarse", Counts(), state, 1, *once)
    assert seen == [(rendered, rendered)]


def test_guidances_add_up_and_one_broken_part_is_told():
    from hoijax.composition.fields.guidance import GuidanceInfo
    from priors.models.composition_models import GuidanceSum

    def part(value, finite=True):
        return lambda images, *rest: (
            value * np.ones_like(images),
            GuidanceInfo(np.full(len(images), 0.5), 3.0, finite),
        )

    images = np.zeros((4, 2, 2, 3), np.float32)
    gradient, info = GuidanceSum([part(1.0), part(2.0)], [1.0, 0.5])(
        images, [], ring_cameras(ORBIT, 4, (2, 2)), None, 0
    )
    np.testing.assert_allclose(gradient, 1.5)  # shares of one size, whatever each one's unit
    assert info.finite
    _, info = GuidanceSum([part(1.0), part(2.0, False)], [1.0, 1.0])(
        images, [], ring_cameras(ORBIT, 4, (2, 2)), None, 0
    )
    assert not info.finite


# --- checkpoints and a run


def test_checkpoints_keep_the_newest_and_refuse_what_does_not_fit(tmp_path):
    kept = Checkpoints(tmp_path / "c")
    tree = {"a": jnp.arange(3.0), "b": (jnp.ones((2, 2)), jnp.array(5, jnp.int32))}
    assert kept.latest("coarse") is None
    kept.save("coarse", 100, tree)
    kept.save("coarse", 200, jax.tree.map(lambda x: x + 1, tree))
    assert kept.latest("coarse") == 200
    assert len(list((tmp_path / "c" / "coarse").iterdir())) == 1
    found = Checkpoints(tmp_path / "c").load("coarse", tree)
    np.testing.assert_array_equal(found["a"], [1.0, 2.0, 3.0])
    assert int(found["b"][1]) == 6
    kept.save("coarse", DONE, tree)
    assert kept.latest("coarse") == DONE
    with pytest.raises(UserError, match="cannot be continued"):
        kept.load("coarse", {"a": jnp.zeros(4), "b": tree["b"]})
    with pytest.raises(UserError, match="holds no checkpoint"):
        kept.load("avatar", tree)


def test_the_folder_of_a_run_is_kept_refused_or_removed(tmp_path, monkeypatch):
    from hoijax.api import compose as compose_pipeline
    from hoijax.api.compose import ComposeOptions, compose_to_folder

    def full(text, options, *, hooks, settings):
        hooks.checkpoints.save("coarse", 100, {"a": jnp.zeros(2)})
        raise MemoryError

    monkeypatch.setattr(compose_pipeline, "compose", full)
    options = ComposeOptions("closed-form", preset="small")
    out, work = tmp_path / "out", tmp_path / "out.work"
    with pytest.raises(UserError, match=r"preset 'small'\. Take --preset tiny"):
        compose_to_folder("a man sitting on a sofa", out, options)
    assert (work / "checkpoints" / "coarse" / "100").is_dir()
    with pytest.raises(UserError, match="other words or settings"):
        compose_to_folder("a man sitting on a chair", out, options)
    restarted = dataclasses.replace(options, restart=True, object="missing.glb")
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"missing\.glb"):
        compose_to_folder("a man sitting on a chair", out, restarted)
    assert not work.exists()
    assert not out.exists()


MINIMAL = ComposeSettings(
    preset="test",
    size=16,
    samples=24,
    budget=3000,
    coarse_steps=24,
    anchor_steps=8,
    anchor_views=4,
    object_steps=4,
    avatar_steps=4,
    fit_steps=20,
    fit_views=4,
    fit_size=32,
    cells=12,
    occupancy_every=4,
    preview_every=4,
    checkpoint_every=4,
    mesh_resolution=24,
    learning_rate=0.03,
    radiance=FieldSettings(resolutions=(6, 16), width=8),
    noise=NoiseSettings(anneal_steps=24),
)


class Interrupted:
    """A guidance that stops once, at a step of a prompt."""

    def __init__(self, inner, prompt, at):
        self.inner, self.prompt, self.at = inner, prompt, at

    def __call__(self, images, prompts, cameras, key, step):
        if (prompts[0], step) == (self.prompt, self.at):
            os.kill(os.getpid(), signal.SIGTERM)
        return self.inner(images, prompts, cameras, key, step)


def observers_of(scene, guidance):
    return Observers(
        guidance,
        lambda images, cameras: scene.masks("sit", cameras, images.shape[1:3]),
        known_skeletons(scene, visible=-1.0),  # sixteen pixels: whatever was drawn
    )


@pytest.mark.slow
@pytest.mark.thorough
def test_an_interrupted_composition_ends_as_if_it_had_not_been(scene, body, tmp_path):
    guidance = ClosedFormGuidance(known_images([scene]), MINIMAL.noise)
    pictures, lines = [], []
    hooks = Hooks(
        lines.append, lambda *seen: pictures.append(seen[:2]), Checkpoints(tmp_path / "a")
    )
    stopping = observers_of(scene, Interrupted(guidance, "sit", 18))
    before = signal.getsignal(signal.SIGTERM)
    sigterm.listen()
    with pytest.raises(SystemExit) as ended:
        Composer(scene.prompts, MINIMAL, stopping, body, hooks).coarse()
    sigterm.listen()
    signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143
    assert hooks.checkpoints is not None
    assert hooks.checkpoints.latest("coarse") == 19
    resumed = Composer(scene.prompts, MINIMAL, observers_of(scene, guidance), body, hooks).run()
    assert any("continued at step 19" in line for line in lines)
    whole = Composer(scene.prompts, MINIMAL, observers_of(scene, guidance), body, Hooks()).coarse()
    chex.assert_trees_all_close(resumed.coarse, whole, atol=1e-5)
    assert {"coarse", "anchor", "object_part", "avatar", "object"} <= {s for s, _ in pictures}
    assert set(resumed.seconds) == {"coarse", "split", "avatar", "body fit", "object"}
    # A second run finds everything done.
    lines.clear()
    again = Composer(scene.prompts, MINIMAL, observers_of(scene, guidance), body, hooks)
    parts = again.split(again.coarse())
    np.testing.assert_array_equal(parts[0].occupancy.density, resumed.anchor.occupancy.density)
    assert not any("ms a step" in line for line in lines)
    # And it is a scene that the rest of hoijax can read.
    check_result_folder(resumed, scene, tmp_path)


def check_result_folder(composition, scene, tmp_path):
    from hoijax.affordance.graph import PartAffordanceGraph
    from hoijax.composition.output import assemble, write_composition
    from hoijax.results.result import load_result
    from priors.language.script import affordance_from_text
    from priors.models.composition import CompositionPriors

    def graph(asset) -> PartAffordanceGraph:
        return affordance_from_text("a person sits on a box", (asset,))

    never = lambda images, cameras: images  # noqa: E731
    priors = CompositionPriors(
        scene.prompts, ClosedFormGuidance(known_images([scene])), never, never, "box", graph
    )
    for asset in (None, load_asset("box")):
        made = assemble(composition, MINIMAL, priors, asset)
        folder, work = tmp_path / f"result {asset is None}", tmp_path / "work"
        folder.mkdir()
        write_composition(made, composition, folder, work, False)
        result = load_result(folder)
        assert [a.name for a in result.assets] == ["box"]
        assert result.frame_count == 1
        pelvis = result.body_rest_joints[0, 0] + result.body_translations[0, 0]
        skin = made.human.vertices_world
        assert skin.min(0)[1] < pelvis[1] < skin.max(0)[1]
        T = result.Ts_world_object[0, 0]
        placed = result.assets[0].vertices @ T[:3, :3].T + T[:3, 3]
        np.testing.assert_allclose(placed.min(0), made.object.vertices_world.min(0), atol=1e-4)
        assert {"avatar.npz", "scene.glb", "preview.png", "fields"} <= {
            path.name for path in folder.iterdir()
        }
        json.loads((folder / "metrics.json").read_text())
        if asset is not None:  # the user's mesh keeps its size
            np.testing.assert_allclose(result.assets[0].extents, asset.extents, rtol=1e-3)
