"""`--hands`, `--video` and `--vposer` in one real solve by command."""

import dataclasses
import os

import numpy as np
import pytest
from small_scene import SMALL_ALIGNMENT, SMALL_SEARCH, as_users_run, run
from vposer_factory import vposer_network

import hoijax
from hoijax.bodies import load_body
from hoijax.bundle.write import write_bundle
from hoijax.exporters.clip import make_person
from hoijax.geometry.camera import PinholeCamera
from hoijax.io.video import write_video
from hoijax.methods.anchor_motion.method import METHOD
from hoijax.methods.anchor_motion.terms import anchor_table
from hoijax.methods.hoi_page.terms import object_table
from hoijax.rendering.raycast import RenderMesh, cast
from hoijax.rendering.shading import shade
from hoijax.results.result import load_result
from hoijax.settings import AnchorSettings

FRAMES = 12
FIRST_FINGER = 25
SMALL = AnchorSettings(
    inits=1,
    body_start="estimate",
    track_steps=20,
    steps=40,
    refresh_every=20,
    points=64,
    grid_resolution=24,
    render_width=32,
    search=SMALL_SEARCH,
    alignment=SMALL_ALIGNMENT,
)
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of ffmpeg's start


def clip_of(bundle, ground_truth, path):
    """The clip that the bundle was seen in, every side of the box in a color of its own."""
    o, (asset,) = bundle.observations, bundle.assets
    motion = ground_truth.body_rotations[0], ground_truth.body_translations[0]
    shape = ground_truth.body_betas[0], ground_truth.body_rest_joints[0]
    body = load_body(bundle.body)
    skin = make_person(body, *motion, *shape).vertices_world
    height, width = o.image_size
    k, faces = o.intrinsics[0], np.asarray(asset.faces)
    camera = PinholeCamera(
        float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]), width, height
    )
    a, b, c = (asset.vertices[faces[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    paint = (0.5 + 0.5 * normal).astype(np.float32)
    frames = []
    for t in range(FRAMES):
        T = ground_truth.Ts_world_object[0, t]
        moved = (asset.vertices @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
        person = RenderMesh(skin[t], np.asarray(body.faces), 1)
        box = RenderMesh(moved, faces, 2, color=paint)
        frames.append(shade(cast([person, box], camera, o.Ts_world_camera[t])))
    return write_video(path, np.stack(frames), bundle.fps)


@pytest.mark.slow
@pytest.mark.skipif("HOIJAX_LONG_TESTS" not in os.environ, reason="a minute and a half")
def test_fingers_colors_and_vposer_count_in_one_solve(tmp_path, monkeypatch):
    from priors.synthetic.from_text import observe_text

    with as_users_run():
        bundle, ground_truth = observe_text(
            "a person carries a box with both hands",
            hoijax.load_objects(["box"]),
            frames=FRAMES,
            seed=0,
        )
    # Nobody saw the fingers: flat hands.
    rotations = np.array(bundle.observations.body_rotations)
    rotations[:, :, FIRST_FINGER:] = 0.0
    seen = dataclasses.replace(bundle.observations, body_rotations=rotations)
    write_bundle(tmp_path / "bundle", dataclasses.replace(bundle, observations=seen), ground_truth)
    clip = clip_of(bundle, ground_truth, tmp_path / "clip.mp4")
    np.savez(tmp_path / "vposer.npz", **vposer_network()[2])
    monkeypatch.setattr(METHOD, "presets", {"default": SMALL})
    ran = run(
        "solve", tmp_path / "bundle", "--method", "anchor-motion", "--hands",
        "--video", clip, "--vposer", tmp_path / "vposer.npz", "--out", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    result = load_result(tmp_path / "out")
    fingers = result.body_rotations[:, :, FIRST_FINGER:]
    assert np.isfinite(result.body_rotations).all()
    assert np.abs(fingers).max() > 1e-3
    assert {"finger_prior", "rendered_colors"} <= set(result.term_names)


def test_an_object_without_depth_is_held_to_its_outline_as_in_hoi_page():
    """At a fifteenth of that, a box on the floor was lifted to a hand that had not reached it."""
    extents = [
        [term.end for term in table if term.name == "model_extent"]
        for table in (
            anchor_table(rendered=False, jointed=False, hands=False, outlined=True),
            object_table("default", outlines=True, lacks_depth=True),
        )
    ]
    assert extents[0] == extents[1] != []
