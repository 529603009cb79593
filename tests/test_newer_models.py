"""Models of 2025 and 2026 in their roles, on tiny random checkpoints with the published flags."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is first imported

import contextlib
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from optional import needs_priors

from hoijax.errors import UserError
from hoijax.io.video import read_video
from priors.models import mesh_recovery, sapiens2
from priors.models.clip_scores import Siglip2Score
from priors.models.depth import DepthSettings
from priors.models.depth_anything3 import CANONICAL_FOCAL, DepthAnything3
from priors.models.detection import DetectorSettings
from priors.models.hunyuan_video15 import HunyuanVideo15, HunyuanVideo15Settings
from priors.models.local_vision_model import local_detector, local_judge
from priors.models.ltx2 import Ltx2, Ltx2Settings
from priors.models.mesh_recovery import GemX, Sam3dBody
from priors.models.newer_images import Flux2, ImageSettings, QwenImage, ZImage
from priors.models.registry import ModelChoices, RegisteredModels
from priors.models.sam3 import Sam3Detector, Sam3Segmenter
from priors.models.sapiens2 import Sapiens2Points, Sapiens2Pose, crop, crop_windows, refined_peaks
from priors.models.wan import Wan, WanSettings
from priors.protocols import (
    BodyMotion,
    BodyRecovery,
    Detection,
    Detector,
    GeometryModel,
    ImageModel,
    ImageTextScore,
    KeypointModel,
    ModelId,
    PointMaps,
    Prompt,
    Video,
    VideoModel,
    VideoSegmenter,
)
from priors.settings import LanguageSettings

pytestmark = needs_priors
SHORT = {"steps": 2, "prompt_suffix": "", "seconds": None}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Builds a tiny checkpoint on first use: `checkpoint("flux2_klein")` is its ModelId."""
    import tiny_models
    import tiny_vision

    folder = tmp_path_factory.mktemp("checkpoints")

    @cache
    def build(name: str) -> ModelId:
        if name == "sam3":
            return ModelId(str(tiny_vision.save_sam3(folder / name)))
        return ModelId(str(getattr(tiny_models, name)(folder)))

    return build


@pytest.fixture
def picture(rng):
    return (rng.random((60, 96, 3)) * 255).astype(np.uint8)


# --- images and clips


@pytest.mark.parametrize(
    ("name", "kind", "sent"),
    [
        ("flux2_klein", Flux2, {"num_inference_steps": 4, "guidance_scale": 1.0}),
        ("qwen_image", QwenImage, {"num_inference_steps": 50, "true_cfg_scale": 4.0}),
        ("z_image", ZImage, {"num_inference_steps": 9, "guidance_scale": 0.0}),
    ],
)
def test_an_image_follows_prompt_and_seed(name, kind, sent, checkpoint):
    model = kind(checkpoint(name), ImageSettings(steps=1))
    assert isinstance(model, ImageModel)
    drawn = model.generate("a red box", height=32, width=48, seeds=[3, 4])
    assert drawn.shape == (2, 32, 48, 3)
    assert (drawn[0] != drawn[1]).any()
    alone = model.generate("a red box", height=32, width=48, seeds=[3])
    np.testing.assert_array_equal(alone[0], drawn[0])
    other = model.generate("a green ball on a chair", height=32, width=48, seeds=[3])
    assert (other != alone).any()
    model.settings = ImageSettings()
    assert sent.items() <= model._arguments().items()  # the authors' steps and guidance


def test_z_images_base_model_is_guided(checkpoint):
    base = ZImage(ModelId("Tongyi-MAI/Z-Image"))
    assert base._arguments()["guidance_scale"] == 4.0
    assert "negative_prompt" in base._arguments()


CLIPS = {
    "wan_22_a14b": (Wan, WanSettings(**SHORT, area=32 * 32), 16.0, 3.5),
    "wan_22_ti2v": (Wan, WanSettings(**SHORT, area=64 * 64), 24.0, 5.0),
    "hunyuan_15": (HunyuanVideo15, HunyuanVideo15Settings(**SHORT), 24.0, 6.0),
    "ltx2": (Ltx2, Ltx2Settings(**SHORT, area=32 * 64, recompression=0), 24.0, 3.0),
}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.slow
def test_a_clip_follows_prompt_and_seed(name, checkpoint, picture):
    kind, settings, fps, guidance = CLIPS[name]
    model = kind(checkpoint(name), settings)
    assert isinstance(model, VideoModel)
    clip = model.generate(picture, "a man lifts a box", frames=4, seed=1)
    assert clip.frames.shape[0] == 4
    assert clip.fps == fps
    assert model.record("", 4, 1)["guidance"] == guidance
    # The clip keeps the image's aspect, within a multiple of the model's.
    assert clip.frames.shape[2] > clip.frames.shape[1]
    again = model.generate(picture, "a man lifts a box", frames=4, seed=1)
    np.testing.assert_array_equal(clip.frames, again.frames)
    other = model.generate(picture, "a woman runs", frames=4, seed=1)
    assert (other.frames != clip.frames).any()


def test_hunyuans_guidance_is_a_part_of_it(checkpoint, picture):
    settings = HunyuanVideo15Settings(**SHORT, guidance=1.0)
    model = HunyuanVideo15(checkpoint("hunyuan_15"), settings)
    model.generate(picture, "a box", frames=2, seed=0)
    assert model.pipeline.guider.config.guidance_scale == 1.0


# --- SAM 3


def test_one_checkpoint_of_sam3_tracks_and_detects(checkpoint, picture, rng):
    frames = (rng.random((3, 60, 96, 3)) * 255).astype(np.uint8)
    segmenter, detector = Sam3Segmenter(checkpoint("sam3")), Sam3Detector(checkpoint("sam3"))
    assert isinstance(segmenter, VideoSegmenter)
    assert isinstance(detector, Detector)
    prompt = Prompt(1, box=np.array([10, 10, 50, 50.0]))
    tracks = segmenter.track(frames, [prompt])
    assert tracks.masks.shape == (1, 3, 60, 96)
    # As the library's own session, which is given the whole normalized clip.
    import torch
    from transformers import Sam3TrackerVideoInferenceSession

    side = segmenter._network.config.image_size
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    small = torch.nn.functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    session = Sam3TrackerVideoInferenceSession(
        video=(small - 0.5) / 0.5, video_height=60, video_width=96, dtype=torch.float32
    )
    corners = prompt.box.reshape(1, 1, 2, 2) * (side / 96, side / 60)
    index = session.obj_id_to_idx(0)
    points = {
        "point_coords": torch.from_numpy(corners).float(),
        "point_labels": torch.tensor([[[2, 3]]], dtype=torch.int32),
    }
    session.add_point_inputs(index, 1, points)
    session.obj_with_new_inputs = [0]
    with torch.inference_mode():
        said = segmenter._network(session, frame_idx=1)
    presence = torch.sigmoid(said.object_score_logits).item()
    assert tracks.scores[0, 1] == pytest.approx(presence, abs=1e-5)


def test_sam3s_boxes_are_scored_by_presence_too(checkpoint, picture, monkeypatch):
    import torch

    detector = Sam3Detector(checkpoint("sam3"), DetectorSettings(score=0.3))
    asked = []

    def answer(vision_embeds, input_ids, attention_mask):
        asked.append(input_ids)
        boxes = torch.tensor([[[0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.1, 0.1]]])
        logits = torch.tensor([[2.0, -2.0]])
        present = torch.tensor([[0.0 if len(asked) == 1 else -3.0]])
        return SimpleNamespace(pred_logits=logits, pred_boxes=boxes, presence_logits=present)

    network = detector._network
    monkeypatch.setattr(type(network), "forward", lambda self, **inputs: answer(**inputs))
    found = detector.detect(picture, ["A red box.", "unicorn"])
    # sigmoid(2) * sigmoid(0) passes, with the second phrase's sigmoid(-3) it does not.
    [one] = found
    assert isinstance(one, Detection)
    assert one.phrase == 0
    assert one.score == pytest.approx(0.88 * 0.5, abs=1e-2)
    np.testing.assert_allclose(one.box, [24, 30, 72, 60])
    assert asked[0].shape == asked[1].shape == (1, 32)  # padded to the text encoder's length


# --- scores


def test_siglip2_scores_are_cosines_of_lower_case(checkpoint, rng):
    model = Siglip2Score(checkpoint("siglip2"))
    assert isinstance(model, ImageTextScore)
    images = (rng.random((2, 40, 56, 3)) * 255).astype(np.uint8)
    scores = model.score(images, "A Red Box")
    np.testing.assert_allclose(scores, model.score(images, "a red box"))
    assert (scores != model.score(images, "a green ball")).all()
    tokens = model._tokens("a red box")
    assert set(tokens) == {"input_ids"}  # padding is attended to, as in training
    assert tokens["input_ids"].shape == (1, 64)
    import torch

    with torch.inference_mode():
        said = model.network(**tokens, **model._inputs(images))
    cosines = (said.image_embeds @ said.text_embeds.T)[:, 0].numpy()
    np.testing.assert_allclose(scores, cosines, atol=1e-6)


# --- Qwen3-VL


def test_qwen3_vl_detects_and_judges(checkpoint, picture):
    pytest.importorskip("xgrammar")
    settings = LanguageSettings(tries=1, max_tokens=60)
    judge = local_judge(checkpoint("qwen3_vl"), settings)
    sent = []
    generate = judge.chat.network.generate
    judge.chat.network.generate = lambda **inputs: sent.append(inputs) or generate(**inputs)
    with contextlib.suppress(UserError):  # a random network may write until it is stopped
        assert judge.prefers_second(picture, 255 - picture, "a man") in (True, False)
    shown = sent[0]
    patches = shown["image_grid_thw"].prod(-1) // 4
    assert shown["image_grid_thw"].tolist() == [[1, 4, 6]] * 2  # 64 x 96 pixels in patches of 16
    picture_token = judge.chat.network.config.image_token_id
    assert int((shown["input_ids"] == picture_token).sum()) == int(patches.sum())
    assert int(shown["mm_token_type_ids"].sum()) == int(patches.sum())
    detector = local_detector(checkpoint("qwen3_vl"), settings)
    assert isinstance(detector, Detector)
    assert not detector.counts_pixels  # thousandths


# --- Depth Anything 3, Sapiens2


def test_depth_anything3s_depth_grows_with_the_focal_length(checkpoint, picture, monkeypatch):
    pytest.importorskip("depth_estimation")
    pytest.importorskip("einops")
    import tiny_models

    monkeypatch.setattr("priors.models.depth_anything3.LONGEST", 56)
    model = DepthAnything3(checkpoint("depth_anything3"), DepthSettings(edge=1e9))
    assert isinstance(model, GeometryModel)
    with tiny_models.small_depth_anything3():
        network = model.network
    forward = network._forward_full

    def with_sky(pixels):
        assert pixels.shape[-2:] == (28, 56)  # multiples of 14, the long side 56
        said = forward(pixels)
        sky = said["sky"] * 0
        sky[..., :14, :] = 1.0
        return said | {"sky": sky}

    network._forward_full = with_sky
    frames = picture[None]
    K = np.array([[[100.0, 0, 48], [0, 100, 30], [0, 0, 1]]])
    near, far = model.point_maps(frames, K), model.point_maps(frames, 3 * K * [[[1, 1, 1 / 3]]])
    assert not near.valid[0, :28].any()
    assert near.valid[0, 34:].all()
    np.testing.assert_allclose(far.points[0, 40:, :, 2], 3 * near.points[0, 40:, :, 2], rtol=1e-4)
    # A focal length of 300 pixels in the image as the network sees it: its depth is in meters.
    stretch = np.sqrt(28 * 56 / (60 * 96))
    K[0, :2, :2] *= CANONICAL_FOCAL / (100.0 * stretch)
    with np.errstate(all="ignore"):
        plain = model.point_maps(frames, K).points[0, 50, 50, 2]
    said = forward(model_input(model, frames))["depth"]
    assert said.min() - 1e-4 <= plain <= said.max() + 1e-4


def model_input(model, frames):
    from priors.models.depth import resized

    [pixels] = model._batches(frames)
    return sapiens2.normalized(resized(pixels, 28, 56))


def test_sapiens2_crops_and_peaks_are_inverse(rng):
    """A blob drawn into an image is found where it was drawn, below the pixel."""
    import torch

    place = np.array([61.3, 37.8])  # u, v: the middle of a pixel counts .5
    v, u = np.meshgrid(np.arange(90) + 0.5, np.arange(140) + 0.5, indexing="ij")
    blob = np.exp(-((u - place[0]) ** 2 + (v - place[1]) ** 2) / (2 * 4.0**2))
    boxes = np.array([[40.0, 15.0, 80.0, 70.0]])
    size = (256, 192)
    middles, windows = crop_windows(boxes, size)
    assert windows[0, 0] / windows[0, 1] == pytest.approx(0.75)
    assert windows[0, 1] >= 1.25 * 55
    image = torch.from_numpy(np.repeat(255 * blob[..., None], 3, -1))
    taken = crop(image, middles[0], windows[0], size)[:1]
    heat = (taken - taken.min()) / (taken.max() - taken.min())
    [[found]] = refined_peaks(heat[None]).numpy()
    pixel = found[:2] / (np.array([192, 256]) - 1) * windows[0] + middles[0] - windows[0] / 2
    np.testing.assert_allclose(pixel + 0.5, place, atol=0.05)


def test_sapiens2_takes_openposes_points_of_308(checkpoint, picture, monkeypatch):
    import torch

    model = Sapiens2Pose(checkpoint("sapiens2_pose"))
    assert isinstance(model, KeypointModel)
    boxes = np.array([[20.0, 5.0, 60.0, 55.0]] * 2)
    frames = np.stack([picture, picture])
    first = model.keypoints(frames, boxes, np.array([True, False]))
    assert first.shape == (2, 18, 3)
    assert not first[1].any()
    heat = torch.zeros(1, 308, 17, 13)
    heat[0, 41, 4, 6] = 0.9  # the right wrist is among the hand's points, in the middle column
    monkeypatch.setattr(
        type(model._network), "forward", lambda self, **inputs: SimpleNamespace(heatmaps=heat)
    )
    found = model.keypoints(frames[:1], boxes[:1], np.array([True]))[0]
    assert found[4, 2] == pytest.approx(0.9)
    assert found[4, 0] == pytest.approx(40.0, abs=1e-4)  # the middle of the box
    window = 1.25 * 40 / 0.75  # the box is wider than the crops
    assert found[4, 1] == pytest.approx(30 + window * (4 / 16 - 0.5), abs=1e-4)
    assert not found[[2, 3, 7], 2].any()


def test_sapiens2_refuses_other_skeletons(tmp_path):
    import tiny_models

    model = Sapiens2Pose(ModelId(str(tiny_models.sapiens2(tmp_path, "pose", labels=17))))
    with pytest.raises(UserError, match="finds 17 keypoints, not Sapiens2's 308"):
        model.keypoints(
            np.zeros((1, 8, 8, 3), np.uint8), np.array([[0, 0, 8, 8.0]]), np.ones(1, bool)
        )


def test_sapiens2s_points_say_which_camera_sees_them(checkpoint, picture, monkeypatch):
    """A wall 3 m away, seen with a focal length of 80 pixels and written as the network does."""
    import torch

    model = Sapiens2Points(checkpoint("sapiens2_points"))
    assert isinstance(model, GeometryModel)
    assert model.point_maps(picture[None]).points.shape == (1, 60, 96, 3)
    offsets = np.stack(np.meshgrid(np.arange(48) + 0.5 - 24, np.arange(64) + 0.5 - 32), 0)
    scale = 48 / 96  # the image is padded to 64 x 48: 30 rows of it are seen
    rays = offsets / (80.0 * scale)
    wall = 3.0 * np.concatenate([rays, np.ones((1, 64, 48))])
    said = SimpleNamespace(
        pointmaps=torch.from_numpy(0.5 * wall[None]).float(), scales=torch.tensor([[0.5]])
    )
    monkeypatch.setattr(type(model.network), "forward", lambda self, **inputs: said)
    maps = model.point_maps(picture[None])
    assert maps.intrinsics[0, 0, 0] == pytest.approx(80, rel=1e-3)
    np.testing.assert_allclose(maps.points[0, 2:-2, 2:-2, 2], 3.0, rtol=1e-4)


# --- bodies from meshes


@pytest.fixture
def person(rng):
    """(video, keypoints, masks, maps) of somebody who is hidden in the middle frame."""
    frames = (rng.random((3, 40, 30, 3)) * 255).astype(np.uint8)
    masks = np.zeros((3, 40, 30), bool)
    masks[0, 5:35, 10:20] = True
    masks[2, 5:35, 14:24] = True
    K = np.array([[50.0, 0, 15], [0, 50, 20], [0, 0, 1]])
    maps = PointMaps.unknown(np.tile(K, (3, 1, 1)), 40, 30)
    return Video(frames, 24.0), np.ones((3, 18, 3), np.float32), masks, maps


FACES = np.array([[0, 1, 2], [0, 2, 3]])
SURFACE = np.array([[0, -0.9, 0], [0.3, 0, 0.1], [-0.3, 0, 0.1], [0, 0.8, 0.0]])


MOTION = BodyMotion(
    np.zeros((3, 55, 3), np.float32),
    np.zeros((3, 3), np.float32),
    np.zeros(1, np.float32),
    np.zeros((55, 3), np.float32),
    np.zeros((3, 4, 4), np.float32),
)


@pytest.fixture
def fitted(monkeypatch):
    """What is given to the fit to meshes, which has tests of its own (test_body_meshes)."""
    given = []

    class Fit:
        def __init__(self, meshes, body_name):
            given.append((meshes, body_name))

        def recover(self, *arguments):
            return MOTION

    monkeypatch.setattr(mesh_recovery, "FileMeshes", Fit)
    return given


def test_sam_3d_body_is_asked_by_its_interface(person, fitted, monkeypatch, tmp_path):
    """The published estimator: one RGB image, boxes, masks and intrinsics in, dictionaries out."""
    torch = pytest.importorskip("torch")
    calls = []

    class Estimator:
        faces = FACES

        def __init__(self, sam_3d_body_model, model_cfg):
            assert (sam_3d_body_model, model_cfg) == ("network", "config")

        def process_one_image(self, img, bboxes=None, masks=None, cam_int=None):
            print("this says a lot")
            calls.append((img, bboxes, masks, cam_int))
            moved = np.array([0.1 * len(calls), 0.0, 3.0], np.float32)
            return [{"pred_vertices": SURFACE.astype(np.float32), "pred_cam_t": moved}]

    def load(checkpoint_path, device, mhr_path):
        assert checkpoint_path == str(tmp_path / "model.ckpt")
        assert mhr_path == str(tmp_path / "assets" / "mhr_model.pt")
        return "network", "config"

    model = Sam3dBody("anny", ModelId(str(tmp_path)))
    assert isinstance(model, BodyRecovery)
    with pytest.raises(UserError, match="SAM 3D Body is not installed"):
        model.recover(*person)
    package = SimpleNamespace(load_sam_3d_body=load, SAM3DBodyEstimator=Estimator)
    monkeypatch.setitem(__import__("sys").modules, "sam_3d_body", package)
    package.__spec__ = SimpleNamespace(name="sam_3d_body")
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "model.ckpt")
    assert model.recover(*person) is MOTION
    [(meshes, body_name)] = fitted
    assert body_name == "anny"
    np.testing.assert_allclose(meshes.vertices[1], SURFACE + np.array([0.2, 0, 3]), atol=1e-6)
    np.testing.assert_array_equal(meshes.faces, FACES)
    assert calls[0][1].tolist() == [[10, 5, 20, 35]]
    assert calls[1][1].tolist() == [[12, 5, 22, 35]]  # between its neighbors, without a mask
    assert calls[1][2] is None
    assert calls[0][2].shape == (1, 40, 30)
    np.testing.assert_array_equal(calls[2][3][0].numpy(), person[3].intrinsics[2])


def test_a_checkpoint_with_code_is_not_given_to_sam_3d_body(person, fitted, monkeypatch, tmp_path):
    torch = pytest.importorskip("torch")
    package = SimpleNamespace(__spec__=SimpleNamespace(name="sam_3d_body"))
    monkeypatch.setitem(__import__("sys").modules, "sam_3d_body", package)
    torch.save({"state_dict": print}, tmp_path / "model.ckpt")
    with pytest.raises(UserError, match="holds more than weights"):
        Sam3dBody("anny", ModelId(str(tmp_path))).recover(*person)


DEMO = '''
import sys, torch
from pathlib import Path
from types import SimpleNamespace
import numpy as np

class Array:
    """As a tensor on the CPU."""
    def __init__(self, values): self.values = np.asarray(values)
    def cpu(self): return self
    def float(self): return self
    def numpy(self): return self.values

class SomaLayer:
    def __init__(self, data_root, low_lod, device, identity_model_type, mode):
        assert (data_root, low_lod, mode) == ("inputs/soma_assets", True, "warp")
        self.faces = Array([[0, 1, 2], [0, 2, 3]])
    def __call__(self, transl, global_orient):
        return {"vertices": Array(SURFACE[None] + transl[:, None])}

def _parse_args(): return sys.argv
def _build_cfg(words):
    out = Path(words[words.index("--output_root") + 1])
    return SimpleNamespace(
        paths=SimpleNamespace(bbx=str(out / "preprocess" / "bbx.pt")), model="model",
        video_path=words[words.index("--video") + 1])
def _copy_video_if_needed(cfg): pass
def run_preprocess(cfg):
    assert Path(cfg.paths.bbx).is_file() and Path(cfg.video_path).is_file()
def load_data_dict(cfg): return {"K_fullimg": torch.zeros(4, 3, 3), "length": 4}
def resolve_ckpt_path(cfg): return "gem_soma.ckpt"
def to_cuda(x): return x
def _get_body_params(pred, key): return pred[key]
'''


def test_gem_x_is_run_by_its_own_functions(person, fitted, monkeypatch, tmp_path):
    """The driver, over a checkout that has the functions and formats of GEM-X's demo."""
    torch = pytest.importorskip("torch")
    import runpy
    import sys

    home = tmp_path / "GEM-X"
    (home / "scripts" / "demo").mkdir(parents=True)
    demo = home / "scripts" / "demo" / "demo_soma.py"
    surface = f"SURFACE = np.array({SURFACE.tolist()})\n"
    demo.write_text(DEMO + surface)
    model = GemX()
    assert isinstance(model, BodyRecovery)
    with pytest.raises(UserError, match="GEM_X_HOME is not set"):
        model.recover(*person)
    monkeypatch.setenv("GEM_X_HOME", str(home))
    with pytest.raises(UserError, match=r"there is no .*\.venv/bin/python"):
        model.recover(*person)
    monkeypatch.setenv("GEM_X_PYTHON", sys.executable)

    given = {}

    class Network:
        def load_pretrained_model(self, path):
            given["checkpoint"] = path

        def eval(self):
            return self

        cuda = eval

        def predict(self, data, static_cam, postproc):
            assert static_cam
            given["K"] = data["K_fullimg"].numpy()
            transl = np.array([[0, 0, 3.0], [0, 0, 3.1], [0, 0, 3.2], [0, 0, 3.3]])
            return {"body_params_incam": {"transl": transl, "global_orient": None}}

    squares = SimpleNamespace(get_bbx_xys_from_xyxy=lambda corners, base_enlarge: corners[:, :3])
    hydra = SimpleNamespace(utils=SimpleNamespace(instantiate=lambda model, _recursive_: Network()))
    for name, module in {
        "gem": SimpleNamespace(),
        "gem.utils": SimpleNamespace(),
        "gem.utils.geo_transform": squares,
        "hydra": hydra,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)

    def run(command, cwd, **_):
        assert command[0] == sys.executable
        assert cwd == home
        folder = command[3]
        clip = read_video(f"{folder}/clip.mp4")
        assert clip.frames.shape == (3, 40, 30, 3)
        monkeypatch.setattr(sys, "argv", command[1:])
        runpy.run_path(command[1])["main"](*command[2:])
        boxes = torch.load(f"{folder}/out/preprocess/bbx.pt", weights_only=True)["bbx_xyxy"]
        given["boxes"] = boxes.numpy()
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(mesh_recovery, "subprocess", SimpleNamespace(run=run))
    assert model.recover(*person) is MOTION
    assert given["checkpoint"] == "gem_soma.ckpt"
    np.testing.assert_allclose(given["boxes"][1], [12, 5, 22, 35])
    np.testing.assert_allclose(given["K"], person[3].intrinsics)
    [(meshes, _)] = fitted
    assert meshes.vertices.shape == (3, 4, 3)  # a clip that GEM-X pads is cut
    np.testing.assert_allclose(meshes.vertices[2], SURFACE + np.array([0, 0, 3.2]))


def test_what_gem_x_says_last_is_told(person, monkeypatch, tmp_path):
    monkeypatch.setenv("GEM_X_HOME", str(tmp_path))
    monkeypatch.setattr(GemX, "lacks", lambda self: [])
    ended = SimpleNamespace(returncode=1, stderr="no CUDA GPUs are available", stdout="")
    fails = SimpleNamespace(run=lambda *_, **__: ended)
    monkeypatch.setattr(mesh_recovery, "subprocess", fails)
    with pytest.raises(UserError, match=r"status 1\. .*no CUDA GPUs are available"):
        GemX().recover(*person)


# --- the registry


def test_new_choices_are_made_and_checked(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names = {
        "image": "flux2-klein",
        "video": "wan2.2",
        "detector": "sam3",
        "segmenter": "sam3",
        "geometry": "sapiens2",
        "keypoints": "sapiens2",
        "body": "sam3d-body",
        "score": "siglip2",
    }
    models = RegisteredModels(ModelChoices(names))
    protocols = (ImageModel, VideoModel, Detector, VideoSegmenter, GeometryModel, KeypointModel)
    for role, protocol in zip(names, protocols, strict=False):
        assert isinstance(models.get(role), protocol)
    with pytest.raises(UserError) as refused:
        models.check_ready(["body", "segmenter"])
    assert "body (sam3d-body): SAM 3D Body is not installed" in str(refused.value)
    assert "facebook/sam3 is not on this machine" in str(refused.value)
