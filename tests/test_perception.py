"""Perception models by their real classes on tiny random checkpoints, against independent readings."""

import os
import sys
import types
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoijax.bodies import load_body
from hoijax.bodies.keypoints import openpose18_from_coco
from hoijax.errors import UserError
from hoijax.geometry.transforms import compose_rigid, invert_rigid, look_at
from priors.models.body_recovery import check_person, refuse_pickled_code
from priors.models.detection import (
    DetectorSettings,
    FoundBox,
    FoundBoxes,
    GroundingDino,
    VlmDetector,
    VlmSettings,
    _fitted,
    best_boxes,
    box_overlap,
    clean_phrases,
    scored_span,
)
from priors.models.fitted_body import FittedBody
from priors.models.gvhmr import (
    COCO_FROM_OPENPOSE,
    Gvhmr,
    local_checkpoint,
    square_boxes,
    to_body_motion,
)
from priors.models.keypoints import PoseSettings, ViTPose
from priors.models.registry import ModelChoices, RegisteredModels
from priors.models.segmentation import Sam2Segmenter, resized
from priors.observe.run import ObserveOptions
from priors.protocols import (
    BodyRecovery,
    Detector,
    KeypointModel,
    ModelId,
    PointMaps,
    Prompt,
    Video,
    VideoSegmenter,
)

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
torch.set_num_threads(1)
import tiny_vision  # noqa: E402 - needs torch

SIZE = (48, 80)


@pytest.fixture(scope="session")
def frames():
    """A bright square that moves over noise, 40 frames."""
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 90, (40, *SIZE, 3), dtype=np.uint8)
    for t in range(40):
        clip[t, 10:30, 5 + t : 25 + t] = (240, 180, 60)
    return clip


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    tiny_vision.save_sam2(folder / "sam2")
    tiny_vision.save_grounding_dino(folder / "dino")
    tiny_vision.save_vitpose(folder / "vitpose")
    tiny_vision.save_vitpose(folder / "vitpose-plus", experts=4)
    return folder


# ---- SAM 2


@pytest.fixture(scope="session")
def sam2(checkpoints):
    return Sam2Segmenter(ModelId(str(checkpoints / "sam2")))


def sam2_by_hand(sam2, frames, prompt):
    """One entity with the stock session: all frames and all memories held, library's own iterator."""
    from transformers import Sam2VideoInferenceSession

    network = sam2._network
    size = network.config.image_size
    height, width = frames.shape[1:3]
    video = torch.stack([resized(f, (size, size), "cpu", torch.float32) for f in frames])
    session = Sam2VideoInferenceSession(
        video=video, video_height=height, video_width=width, dtype=torch.float32
    )
    index = session.obj_id_to_idx(7)
    scaled = torch.tensor(prompt.box, dtype=torch.float32) * torch.tensor(
        [size / width, size / height] * 2
    )
    points = {
        "point_coords": scaled.reshape(1, 1, 2, 2),
        "point_labels": torch.tensor([[[2, 3]]], dtype=torch.int32),
    }
    session.add_point_inputs(index, prompt.frame, points)
    session.obj_with_new_inputs = [7]
    masks, scores = np.zeros((len(frames), height, width), bool), np.zeros(len(frames))
    with torch.inference_mode():
        network(inference_session=session, frame_idx=prompt.frame)
        for reverse in (False, True):
            for out in network.propagate_in_video_iterator(
                session, start_frame_idx=prompt.frame, reverse=reverse
            ):
                logits = torch.nn.functional.interpolate(
                    out.pred_masks, (height, width), mode="bilinear"
                )[0, 0]
                scores[out.frame_idx] = float(torch.sigmoid(out.object_score_logits).squeeze())
                masks[out.frame_idx] = (logits > 0).numpy() & (scores[out.frame_idx] >= 0.5)
    return masks, scores


@pytest.mark.slow
def test_sam2_tracks_as_the_stock_session_does(sam2, frames):
    """Dropping stale memories and full-size masks, and resizing lazily, change nothing."""
    prompts = [
        Prompt(20, box=np.array([25.0, 10, 45, 30])),
        Prompt(0, box=np.array([5.0, 10, 25, 30])),
        Prompt(20, box=np.array([60.0, 2, 79, 40])),
    ]
    tracks = sam2.track(frames, prompts)
    assert tracks.masks.shape == (3, 40, *SIZE)
    for i, prompt in enumerate(prompts):
        masks, scores = sam2_by_hand(sam2, frames, prompt)
        np.testing.assert_allclose(tracks.scores[i], scores, atol=2e-5)
        sure = np.abs(scores - 0.5) > 1e-4
        assert (tracks.masks[i] == masks)[sure].mean() > 0.999
    assert tracks.masks.any()


def test_sam2_forgets(sam2, frames, monkeypatch):
    """What is held does not grow with the clip."""
    held = []
    make = sam2._session

    def watched(clip):
        session = make(clip)
        forget = session.forget

        def counted(frame, start, reach):
            forget(frame, start, reach)
            outputs = session.output_dict_per_obj[0]
            kept = [*outputs["cond_frame_outputs"].values()]
            kept += outputs["non_cond_frame_outputs"].values()
            assert not any("high_res_masks" in output for output in kept)
            held.append(len(kept))

        session.forget = counted
        return session

    monkeypatch.setattr(sam2, "_session", watched)
    sam2.track(np.concatenate([frames, frames]), [Prompt(40, box=np.array([5.0, 10, 25, 30]))])
    reach = sam2._network.config.max_object_pointers_in_encoder + 1
    assert len(held) == 80
    assert max(held) <= 3 * (reach + 1)  # around the prompt on both sides, and behind the frame


def test_sam2_takes_masks_as_they_are(sam2, frames):
    mask = np.zeros(SIZE, bool)
    mask[10:30, 8:28] = True
    tracks = sam2.track(frames[:6], [Prompt(3, mask=mask)])
    same = (tracks.masks[0, 3] & mask).sum() / (tracks.masks[0, 3] | mask).sum()
    assert same > 0.85  # its own masks are a quarter of its image's size
    assert tracks.scores[0, 3] > 0.99


def test_sam2_lost_entities_have_empty_masks(sam2, frames, monkeypatch):
    """An entity that the network says is absent is absent, whatever its mask says."""

    def propagate(session, start, height, width):
        for t in range(4):
            yield t, np.ones((1, height, width), np.float32), np.array([0.9 if t < 2 else 0.2])

    monkeypatch.setattr(sam2, "_propagate", propagate)
    tracks = sam2.track(frames[:4], [Prompt(0, box=np.array([5.0, 10, 25, 30]))])
    assert tracks.masks[0].all((1, 2)).tolist() == [True, True, False, False]
    assert not tracks.masks[0, 2:].any()


def test_sam2_refuses_prompts_without_anything(sam2, frames):
    none = np.zeros(SIZE, bool)
    bad = [
        Prompt(99, box=np.array([0.0, 0, 9, 9])),
        Prompt(0, mask=none),
        Prompt(1, box=np.array([100.0, 0, 120, 20])),
        Prompt(2),
        Prompt(3, mask=np.ones((4, 4), bool)),
    ]
    with pytest.raises(UserError) as caught:
        sam2.track(frames, bad)
    for i, what in enumerate(("frames 0..39", "empty", "no pixel", "either", "images are")):
        assert f"prompt {i}" in str(caught.value)
        assert what in str(caught.value)


# ---- Grounding DINO


@pytest.fixture(scope="session")
def dino(checkpoints):
    return GroundingDino(ModelId(str(checkpoints / "dino")), DetectorSettings(0.0, (64, 120)))


def test_grounding_dino_reads_as_the_library_does(dino, frames):
    """One phrase: the same boxes and scores as transformers' own post-processing."""
    from transformers import GroundingDinoProcessor
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    image = frames[0]
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 120}),
        dino._tokenizer,
    )
    inputs = processor(text="a box.", images=image, return_tensors="pt")
    ids, _ = dino._tokens(["a box"])
    shape = tuple(inputs["pixel_values"].shape[-2:])
    assert _fitted(*SIZE, 64, 120) == shape
    pixels = resized(image, shape, "cpu", torch.float32)
    assert (pixels - inputs["pixel_values"][0]).abs().mean() < 0.05  # PIL rounds to 8 bits
    with torch.inference_mode():
        output = dino._network(
            pixel_values=pixels[None],
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            token_type_ids=torch.zeros_like(ids),
        )
    expected = processor.post_process_grounded_object_detection(
        output, ids, threshold=0.0, text_threshold=0.0, target_sizes=[SIZE]
    )[0]
    found = dino.detect(image, ["a box"])
    assert found
    boxes = expected["boxes"].numpy().clip(0, [SIZE[1], SIZE[0]] * 2)
    for detection in found:
        assert np.abs(boxes - detection.box).max(-1).min() < 0.01


def test_grounding_dino_tells_phrases_apart(dino):
    phrases = ["a red box", "person 1", "x"]
    ids, spans = dino._tokens(phrases)
    for noun, span in zip(["box", "person", "x"], spans, strict=True):
        spelled = dino._tokenizer.decode(ids[0][np.flatnonzero(span)])
        assert spelled.replace(" ", "") == noun
    assert not (spans[0] & spans[1]).any()


@pytest.mark.parametrize(
    ("phrase", "noun"),
    [
        ("the lid part of the box", "lid"),
        ("the front legs part of the folding chair", "front legs"),
        ("a wooden broom with a long red handle and stiff bristles", "broom"),
        ("a bicycle, seen from the side", "bicycle"),
        ("person", "person"),
        ("person 2", "person"),
        ("with", "with"),
    ],
)
def test_boxes_are_scored_by_the_noun_that_is_looked_for(phrase, noun):
    first, last = scored_span(phrase)
    assert phrase[first:last] == noun


def test_a_part_is_not_scored_by_the_name_of_its_object(dino, frames):
    """Every token has a score of its own: "box" likes the whole object, "lid" its upper half."""
    ids, _ = dino._tokens(["the lid part of the box"])
    letters = dino._tokenizer.convert_ids_to_tokens(ids[0])
    lid, box = letters.index("##i"), letters.index("##x")
    logits = torch.full((1, 2, dino._network.config.max_text_len), -9.0)
    logits[0, 0, box], logits[0, 1, lid] = 3.0, 1.0
    boxes = torch.tensor([[[0.5, 0.5, 0.8, 0.8], [0.5, 0.3, 0.8, 0.4]]])

    class Network:
        device, dtype, config = torch.device("cpu"), torch.float32, dino._network.config

        def __call__(self, **inputs):
            return types.SimpleNamespace(logits=logits, pred_boxes=boxes)

    model = GroundingDino(dino.model_id, DetectorSettings(sides=(64, 120)))
    model.__dict__.update(_network=Network(), _tokenizer=dino._tokenizer)
    (found,) = model.detect(frames[0], ["the lid part of the box"])
    assert found.box[3] == pytest.approx(0.5 * SIZE[0])


def test_grounding_dino_answers_in_pixels(dino, frames):
    found = dino.detect(frames[0], ["A Box.", "person 1"])
    assert {d.phrase for d in found} == {0, 1}
    boxes = np.stack([d.box for d in found])
    assert boxes.min() >= 0
    assert (boxes <= (SIZE[1], SIZE[0]) * 2).all()
    scores = [d.score for d in found]
    assert scores == sorted(scores, reverse=True)


def test_grounding_dino_refuses_what_it_cannot_read(dino, frames):
    with pytest.raises(UserError, match="description in words"):
        dino.detect(frames[0], ["a box", " . "])
    with pytest.raises(UserError, match="Shorten"):
        dino.detect(frames[0], ["very long description"] * 40)


def test_best_boxes_by_hand():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9.5], [20, 0, 30, 10], [5, 5, 5, 9]], float)
    scores = np.array([[0.9, 0.8, 0.3, 0.99], [0.1, 0.1, 0.6, 0.1]])
    found = best_boxes(scores, boxes, 0.25)
    assert [(d.phrase, d.score) for d in found] == [(0, 0.9), (1, 0.6), (0, 0.3)]
    assert box_overlap(boxes[0], boxes[1]) == pytest.approx(0.95)


def test_phrases_are_clean():
    assert clean_phrases([" The  Red.Box "]) == ["the red box"]


# ---- a vision-language model


@pytest.mark.parametrize("coordinates", ["thousandths", "pixels"])
def test_vlm_boxes_become_pixels(coordinates):
    image = np.zeros((600, 1024, 3), np.uint8)
    asked = []

    def ask(prompt, pictures, schema):
        asked.append((prompt, pictures[0].shape, schema))
        unit = (1000, 1000) if coordinates == "thousandths" else (504, 308)
        rows = [
            (2, 0.25, 0.5, 0.5, 1.0),
            (1, 0.0, 0.0, 0.1, 0.1),
            (7, 0, 0, 1, 1),
            (1, 0.5, 0, 0.5, 1),
        ]
        boxes = [
            FoundBox(phrase=p, left=a * unit[0], top=b * unit[1], right=c * unit[0], bottom=d * unit[1])
            for p, a, b, c, d in rows
        ]  # fmt: skip
        return FoundBoxes(boxes=boxes)

    detector = VlmDetector(ask, ModelId("vlm"), VlmSettings(coordinates))
    found = detector.detect(image, ["a broom", "a person"])
    assert [d.phrase for d in found] == [1, 0]
    np.testing.assert_allclose(found[0].box, [256, 300, 512, 600])
    assert found[0].score > found[1].score
    prompt, shape, schema = asked[0]
    assert shape == ((300, 512, 3) if coordinates == "thousandths" else (308, 504, 3))
    assert schema is FoundBoxes
    assert "1. a broom\n2. a person" in prompt
    assert ("504 wide" in prompt) == (coordinates == "pixels")


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", True),
        ("qwen2.5vl:7b", True),
        ("Qwen/Qwen2-VL-7B-Instruct", False),
        ("Qwen/Qwen3-VL-8B-Instruct", False),
        ("gemini-2.5-pro", False),
    ],
)
def test_a_vlm_counts_as_it_was_trained(name, pixels):
    """Qwen2.5-VL counts pixels of an image whose sides it makes multiples of 28."""
    shown = []

    def ask(prompt, pictures, schema):
        shown.append(pictures[0].shape)
        assert ("pixels of the image" in prompt) == pixels
        return FoundBoxes(boxes=[])

    VlmDetector(ask, ModelId(name)).detect(np.zeros((300, 401, 3), np.uint8), ["a"])
    assert shown == [(308, 392, 3) if pixels else (300, 401, 3)]
    forced = VlmDetector(ask, ModelId(name), VlmSettings("pixels"))
    assert forced.counts_pixels
    given = ObserveOptions(
        names={"detector": "vlm"}, weights=(f"detector={name}",), box_coordinates="thousandths"
    )
    assert not RegisteredModels(given.choices()).get("detector").counts_pixels


def test_vlm_answers_are_clipped_and_checked():
    def answer(value):
        return VlmDetector(lambda *_: value, ModelId("vlm")).detect(
            np.zeros((40, 60, 3), np.uint8), ["a"]
        )

    box = FoundBox(phrase=1, left=-50, top=float("nan"), right=5000, bottom=500)
    np.testing.assert_allclose(answer(FoundBoxes(boxes=[box]))[0].box, [0, 0, 60, 20])
    assert answer(FoundBoxes(boxes=[])) == []
    with pytest.raises(UserError, match="something else than boxes"):
        answer(box)


# ---- ViTPose


@pytest.mark.parametrize("name", ["vitpose", "vitpose-plus"])
def test_vitpose(checkpoints, frames, name):
    """Batches do not matter, absent frames are zero, and points are COCO's in OpenPose order."""
    boxes = np.tile(np.array([5.0, 6, 45, 40]), (7, 1))
    present = np.arange(7) != 3
    identifier = ModelId(str(checkpoints / name))
    one = ViTPose(identifier, PoseSettings(batch=7)).keypoints(frames[:7], boxes, present)
    model = ViTPose(identifier, PoseSettings(batch=2))
    np.testing.assert_allclose(one, model.keypoints(frames[:7], boxes, present), atol=1e-3)
    assert one.shape == (7, 18, 3)
    assert not one[3].any()
    assert (one[present][..., 2] <= 1).all()
    with torch.inference_mode():
        coco = model._coco(frames[:1], boxes[:1])[0]
    for ours, theirs in ((0, 0), (2, 6), (4, 10), (5, 5), (13, 15), (14, 2), (17, 3)):
        np.testing.assert_allclose(one[0, ours, :2], coco[theirs, :2], atol=1e-3)
    np.testing.assert_allclose(one[0, 1, :2], coco[[5, 6], :2].mean(0), atol=1e-3)


def test_vitpose_places_heatmaps_on_the_picture(checkpoints, frames, monkeypatch):
    """A peak in the middle of the heatmap is the middle of the box."""
    model = ViTPose(ModelId(str(checkpoints / "vitpose")))
    v, u = np.mgrid[0:16, 0:12]
    bump = np.exp(-((u - 5.5) ** 2 + (v - 7.5) ** 2) / 2)
    heatmaps = torch.from_numpy(np.tile(bump, (1, 17, 1, 1)).astype(np.float32))

    class Output:
        pass

    output = Output()
    output.heatmaps = heatmaps
    monkeypatch.setattr(type(model._network), "forward", lambda self, *a, **k: output)
    points = model.keypoints(frames[:1], np.array([[12.0, 8, 32, 40]]), np.ones(1, bool))[0]
    np.testing.assert_allclose(points[:, :2], np.tile([22.0, 24.0], (18, 1)), atol=0.3)


def test_vitpose_refuses_other_skeletons_and_empty_boxes(tmp_path, checkpoints, frames):
    whole_body = ViTPose(ModelId(str(tiny_vision.save_vitpose(tmp_path / "w", keypoints=19))))
    box = np.array([[5.0, 6, 45, 40]])
    with pytest.raises(UserError, match="19 keypoints, not COCO's 17"):
        whole_body.keypoints(frames[:1], box, np.ones(1, bool))
    model = ViTPose(ModelId(str(checkpoints / "vitpose")))
    with pytest.raises(UserError, match="frame 1 has no area"):
        model.keypoints(frames[:2], np.array([[5.0, 6, 45, 40], [5, 6, 5, 40]]), np.ones(2, bool))
    none = model.keypoints(frames[:2], np.zeros((2, 4)), np.zeros(2, bool))
    assert not none.any()


def test_coco_and_openpose_agree():
    coco = np.random.default_rng(0).random((3, 17, 3))
    back = openpose18_from_coco(coco)[:, COCO_FROM_OPENPOSE]
    np.testing.assert_allclose(back, coco, atol=1e-6)


# ---- weights that are missing, damaged or of another model

MODELS = {
    "sam2": lambda name, clip: Sam2Segmenter(name).track(clip, [Prompt(0, box=np.array([1.0, 1, 9, 9]))]),
    "dino": lambda name, clip: GroundingDino(name).detect(clip[0], ["a box"]),
    "vitpose": lambda name, clip: ViTPose(name).keypoints(
        clip, np.tile([1.0, 1, 9, 9], (len(clip), 1)), np.ones(len(clip), bool)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MODELS)
def test_missing_and_damaged_weights(kind, checkpoints, tmp_path, frames):
    with pytest.raises(UserError, match="hf download"):
        MODELS[kind](ModelId("nobody/has-this-model"), frames[:2])
    folder = tmp_path / kind
    folder.mkdir()
    for file in (checkpoints / kind).iterdir():
        data = file.read_bytes()
        cut = file.suffix == ".safetensors"
        (folder / file.name).write_bytes(data[: len(data) // 2] if cut else data)
    with pytest.raises(UserError, match=str(folder)):
        MODELS[kind](ModelId(str(folder)), frames[:2])


def test_protocols(sam2, dino, checkpoints):
    assert isinstance(sam2, VideoSegmenter)
    assert isinstance(dino, Detector)
    assert isinstance(VlmDetector(lambda *_: None, ModelId("vlm")), Detector)
    assert isinstance(ViTPose(), KeypointModel)
    assert isinstance(FittedBody(), BodyRecovery)
    assert isinstance(Gvhmr("none.npz"), BodyRecovery)
    assert sam2.model_id.name.endswith("sam2")


# ---- body recovery


@pytest.fixture(scope="module")
def motion():
    """A known motion of Anny over the ground, in the world and in a camera: what GVHMR would answer."""
    rng = np.random.default_rng(3)
    body, frames = load_body("anny"), 6
    betas = rng.normal(0, 0.5, 10).astype(np.float32)
    rest = np.asarray(body.shape(betas).joints_rest)
    pose = rng.normal(0, 0.15, (frames, 21, 3)).astype(np.float32)
    root = Rotation.from_rotvec(np.linspace(0, 0.5, frames)[:, None] * (0, 1, 0))
    transl = np.linspace([0.1, 3.0, 0.2], [0.4, 3.0, 0.5], frames)  # far above the ground
    T_world_camera = look_at(np.array([0.5, 4.5, 4.0]), np.array([0.0, 3.9, 0.0]))
    T_camera_world = invert_rigid(T_world_camera)
    turn = Rotation.from_matrix(T_camera_world[:3, :3])
    pelvis = (rest[0] + transl) @ T_camera_world[:3, :3].T + T_camera_world[:3, 3]
    shape = np.tile(betas, (frames, 1))
    flat = pose.reshape(frames, 63)
    world = {"global_orient": root.as_rotvec(), "transl": transl, "betas": shape, "body_pose": flat}
    camera = {
        "global_orient": (turn * root).as_rotvec(),
        "transl": pelvis - rest[0],
        "betas": shape,
        "body_pose": flat,
    }
    arrays = [{k: v.astype(np.float32) for k, v in x.items()} for x in (world, camera)]
    return body, *arrays, T_world_camera


def test_gvhmr_answers_become_a_motion(motion):
    body, world, camera, T_world_camera = motion
    found = to_body_motion(world, camera, body)
    lowered = found.translations - world["transl"]
    np.testing.assert_allclose(lowered, np.tile(lowered[0], (6, 1)), atol=1e-6)
    expected = compose_rigid(np.eye(3), lowered[0]) @ T_world_camera
    np.testing.assert_allclose(found.Ts_world_camera, np.tile(expected, (6, 1, 1)), atol=1e-4)
    pose = jax.jit(lambda shaped, r, t: shaped.pose(r, t).vertices_world)
    shaped = body.shape(found.betas)
    lowest = [
        pose(shaped, r, t)[:, 1].min()
        for r, t in zip(found.rotations, found.translations, strict=True)
    ]
    assert abs(np.percentile(lowest, 5)) < 1e-4
    np.testing.assert_array_equal(found.rotations[:, 22:], 0)
    np.testing.assert_allclose(found.betas, world["betas"][0])


class FakeNetwork:
    """GVHMR's network by its published interface (gvhmr 1.6.1): checks what it is given."""

    def __init__(self, world, camera):
        self.answer, self.data = (world, camera), None

    def predict(self, data, *, static_cam, world_from_incam):
        assert static_cam
        assert world_from_incam
        self.data = data
        length = int(data["length"])
        shapes = {
            "kp2d": (length, 17, 3), "bbx_xys": (length, 3), "K_fullimg": (length, 3, 3),
            "cam_angvel": (length, 6), "f_imgseq": (length, 1024),
        }  # fmt: skip
        for name, shape in shapes.items():
            assert tuple(data[name].shape) == shape, name
            assert data[name].dtype == torch.float32
        tensors = [{k: torch.from_numpy(v) for k, v in x.items()} for x in self.answer]
        return {"smpl_params_global": tensors[0], "smpl_params_incam": tensors[1]}


@pytest.mark.parametrize("told", [True, False])
def test_an_object_is_no_ground_for_the_fitted_body(monkeypatch, told):
    """A wide lid 0.9 m below the camera hides the legs and all of the floor: only who is told that it
    is an object stands the person's lowest seen point on the ground instead."""
    maps = table_top_maps()
    person = np.zeros(maps.valid.shape, bool)
    person[:, 10:20, 28:32] = True
    given = []

    def fit(keypoints, intrinsics, Ts_world_camera, **options):
        given.append(Ts_world_camera)
        raise UserError("nothing is fitted")

    monkeypatch.setattr("priors.models.body_fit.fit_body", fit)
    keypoints = np.full((1, 18, 3), 0.9, np.float32)
    clip = Video(np.zeros((1, 40, 60, 3), np.uint8), 8.0)
    others = maps.valid & ~person if told else None
    model = FittedBody()
    model.__dict__["_body"] = None
    with pytest.raises(UserError, match="nothing is fitted"):
        model.recover(clip, keypoints, person, maps, others)
    lowest = maps.points[person][:, 1].max()
    assert given[0][0, 1, 3] == pytest.approx(lowest if told else 0.9, abs=0.02)


def table_top_maps() -> PointMaps:
    """A level camera: a person down to 0.5 m below it, a plane 0.9 m below it elsewhere."""
    v, u = np.mgrid[:40, :60] + 0.5
    rays = np.stack([(u - 30) / 20, (v - 10) / 20, np.ones_like(u)], -1)
    with np.errstate(divide="ignore"):
        depth = np.where(rays[..., 1] > 0, 0.9 / rays[..., 1], 0)
    valid = (depth > 0) & (depth < 6)
    depth[10:20, 28:32] = 0.5 / rays[19, 28, 1]
    valid[10:20, 28:32] = True
    points = (rays * depth[..., None]).astype(np.float32)
    K = np.array([[20, 0, 30], [0, 20, 10], [0, 0, 1]], np.float32)
    return PointMaps(points[None], valid[None], K[None])


def test_gvhmr_is_asked_by_its_interface(motion, monkeypatch, tmp_path):
    _, world, camera, _ = motion
    clip = Video(np.zeros((6, 40, 60, 3), np.uint8), 30.0)
    masks = np.zeros((6, 40, 60), bool)
    masks[:, 5:35, 20:30] = True
    masks[2] = False
    keypoints = np.full((6, 18, 3), 0.9, np.float32)
    keypoints[..., 0] = np.arange(18)
    maps = PointMaps(
        np.ones((6, 40, 60, 3), np.float32),
        np.ones((6, 40, 60), bool),
        np.tile(np.eye(3), (6, 1, 1)),
    )
    hmr2 = tmp_path / "hmr2.ckpt"

    class Extractor:
        def extract_video_features(self, crops, boxes):
            return torch.zeros(len(crops), 1024)

    def crops(images, boxes, img_ds, path_type):
        assert path_type == "np"
        assert images.dtype == np.uint8
        return torch.zeros(len(images), 3, 256, 256, dtype=torch.float64), boxes

    fakes = {
        "gvhmr": {}, "gvhmr.utils": {}, "gvhmr.utils.preproc": {},
        "gvhmr.utils.assets": {"HMR2_CKPT": hmr2},
        "gvhmr.utils.imgcrop": {"get_batch": crops},
        "gvhmr.utils.preproc.vitfeat_extractor": {"Extractor": Extractor},
    }  # fmt: skip
    for name, content in fakes.items():
        module = types.ModuleType(name)
        module.__dict__.update(content, __spec__=types.SimpleNamespace())
        monkeypatch.setitem(sys.modules, name, module)
    network = FakeNetwork(world, camera)
    monkeypatch.setenv("GVHMR_BODY_MODELS", str(tmp_path))
    model = Gvhmr("anny")
    model.__dict__["_network"] = network
    with pytest.raises(UserError, match="GVHMR_CHECKPOINTS"):
        model.recover(clip, keypoints, masks, maps)
    hmr2.touch()
    found = model.recover(clip, keypoints, masks, maps)
    assert found.rotations.shape == (6, 55, 3)
    np.testing.assert_allclose(found.betas, world["betas"][0])
    still = network.data["cam_angvel"].numpy()
    np.testing.assert_array_equal(still, np.tile([1, 0, 0, 0, 1, 0], (6, 1)))
    assert network.data["kp2d"][0, 5, 0] == 5  # left shoulder: OpenPose 5, COCO 5
    assert network.data["kp2d"][0, 16, 0] == 10  # right ankle: OpenPose 10, COCO 16
    np.testing.assert_allclose(network.data["bbx_xys"][2], [25, 20, 36])  # filled in


def test_gvhmrs_files_are_looked_for_before_any_work(monkeypatch, tmp_path):
    """The package reads GVHMR_BODY_MODELS at its import; its HMR2 checkpoint is fetched by hand."""
    for name, content in {
        "gvhmr": {}, "gvhmr.utils": {},
        "gvhmr.utils.assets": {"HMR2_CKPT": tmp_path / "hmr2" / "epoch=10-step=25000.ckpt"},
    }.items():  # fmt: skip
        module = types.ModuleType(name)
        module.__dict__.update(content, __spec__=types.SimpleNamespace())
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("GVHMR_BODY_MODELS", "restored afterwards")
    monkeypatch.delenv("GVHMR_BODY_MODELS")
    body = tmp_path / "mine.npz"
    models = RegisteredModels(ModelChoices({"body": "gvhmr"}, body_file=str(body)))
    with pytest.raises(
        UserError, match=r"(?s)mine\.npz: there is no such file.*epoch=10-step=25000\.ckpt"
    ):
        models.check_ready(["body"])
    body.write_bytes(b"my body")
    (tmp_path / "hmr2").mkdir()
    (tmp_path / "hmr2" / "epoch=10-step=25000.ckpt").touch()
    models.check_ready(["body"])
    known = Path(os.environ["GVHMR_BODY_MODELS"]) / "smplx" / "SMPLX_NEUTRAL.npz"
    assert known.read_bytes() == b"my body"


def test_gvhmr_sees_thirty_frames_a_second_and_answers_in_the_clips(monkeypatch):
    """A clip at 8 frames a second: a person who turns and walks evenly."""
    frames, fps, turn, walk = 5, 8.0, 0.4, 0.3  # a frame
    monkeypatch.setattr(Gvhmr, "_ready", lambda self: None)
    monkeypatch.setattr(
        Gvhmr, "_features", lambda self, video, boxes: torch.arange(5.0)[:, None].repeat(1, 1024)
    )
    told = []

    def keep(world, camera, body):
        told.append(world)
        raise UserError("kept")

    monkeypatch.setattr("priors.models.gvhmr.to_body_motion", keep)

    class Network:
        def predict(self, data, **options):
            length = int(data["length"])
            assert length == 16  # half a second
            times = np.arange(length) * fps / 30
            for value in (data["kp2d"][:, 3, 0], data["f_imgseq"][:, 7]):
                np.testing.assert_allclose(value, times, atol=1e-5)
            assert data["kp2d"].shape == (length, 17, 3)
            assert {v.dtype for k, v in data.items() if k != "length"} == {torch.float32}
            orient = np.outer(times * turn, [0, 1, 0])
            pose = np.tile(np.outer(times * turn, [1, 0, 0]), 21)
            shift = np.outer(times * walk, [0, 0, 1])
            answer = {
                "global_orient": orient, "body_pose": pose, "transl": shift,
                "betas": np.ones((length, 10)),
            }  # fmt: skip
            tensors = {k: torch.from_numpy(v.astype(np.float32)) for k, v in answer.items()}
            return {"smpl_params_global": tensors, "smpl_params_incam": tensors}

    keypoints = np.full((frames, 18, 3), 0.9, np.float32)
    keypoints[..., 0] = np.arange(frames)[:, None]
    masks = np.zeros((frames, 8, 8), bool)
    masks[:, 2:6, 2:6] = True
    model = Gvhmr("anny")
    model.__dict__.update(_network=Network(), _body=None)
    maps = PointMaps(np.ones((5, 8, 8, 3)), masks, np.tile(np.eye(3), (5, 1, 1)))
    with pytest.raises(UserError, match="kept"):
        model.recover(Video(np.zeros((5, 8, 8, 3), np.uint8), fps), keypoints, masks, maps)
    (world,) = told
    even = np.arange(frames)
    np.testing.assert_allclose(world["global_orient"][:, 1], even * turn, atol=1e-5)
    np.testing.assert_allclose(world["body_pose"][:, 3], even * turn, atol=1e-5)
    np.testing.assert_allclose(world["transl"][:, 2], even * walk, atol=1e-5)


def test_crops_are_as_gvhmr_is_trained():
    masks = np.zeros((2, 40, 60), bool)
    masks[0, 10:20, 5:45] = True  # wide: the side follows from the width
    masks[1, 5:35, 20:30] = True
    np.testing.assert_allclose(square_boxes(masks), [[25, 15, 1.2 * 40 * 4 / 3], [25, 20, 36]])


def test_gvhmr_says_how_it_is_licensed():
    if "gvhmr" in sys.modules:
        pytest.skip("gvhmr is installed")
    clip = Video(np.zeros((3, 8, 8, 3), np.uint8), 8.0)
    maps = PointMaps(np.ones((3, 8, 8, 3)), np.ones((3, 8, 8), bool), np.tile(np.eye(3), (3, 1, 1)))
    with pytest.raises(UserError, match="non-profit"):
        Gvhmr("anny").recover(clip, np.ones((3, 18, 3)), np.ones((3, 8, 8), bool), maps)


def test_local_checkpoints(tmp_path):
    assert local_checkpoint(ModelId("ryanrudes/gvhmr")) is None
    with pytest.raises(UserError, match="holds no gvhmr_siga24_release"):
        local_checkpoint(ModelId(str(tmp_path)))
    file = tmp_path / "gvhmr" / "gvhmr_siga24_release.ckpt"
    file.parent.mkdir()
    file.touch()
    assert local_checkpoint(ModelId(str(tmp_path))) == file
    assert local_checkpoint(ModelId(str(file))) == file


class _Runs:
    """Unpickling it would run code."""

    def __reduce__(self):
        return os.mkdir, ("/nonexistent/folder",)


def test_checkpoints_with_code_are_refused(tmp_path):
    torch.save({"state_dict": {"w": torch.zeros(2)}, "epoch": 3}, tmp_path / "good.ckpt")
    refuse_pickled_code(tmp_path / "good.ckpt")
    torch.save({"state_dict": _Runs()}, tmp_path / "bad.ckpt")
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "good.ckpt").read_bytes()[:300])
    for name in ("bad.ckpt", "cut.ckpt"):
        with pytest.raises(UserError, match=name):
            refuse_pickled_code(tmp_path / name)
    with pytest.raises(UserError, match="no checkpoint"):
        refuse_pickled_code(tmp_path / "none.ckpt")


def test_no_person_is_refused_before_anything_is_solved():
    keypoints, masks = np.zeros((4, 18, 3)), np.zeros((4, 8, 8), bool)
    with pytest.raises(UserError, match="no person found"):
        check_person(keypoints, masks)
    keypoints[1, :6, 2] = 0.9
    with pytest.raises(UserError, match="mask is empty"):
        check_person(keypoints, masks)
    masks[0, 0, 0] = True
    check_person(keypoints, masks)
