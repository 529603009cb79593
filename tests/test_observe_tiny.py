"""`hoijax observe` with the real model classes, loaded from tiny random checkpoints, then a solve.

Random weights see nothing, so three answers are made usable, and said so here: all masks of SAM 2 are
equal (each entity keeps its own half of the image), ViTPose is unsure (its points count as found),
and no person can be recovered from noise (a body stands still). Everything else is what comes out.
"""

from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tiny_priors
from small_scene import TEXT, as_users_run, copy_of, generated, run
from test_still_image import write_scene

from hoijax.api.solve import solve
from hoijax.bundle.write import check_bundle, read_bundle
from hoijax.composition.still_image import FIELD_OF_VIEW, still_image
from hoijax.geometry.camera import PinholeCamera
from priors.models.torch_runtime import TorchSettings
from priors.protocols import BodyMotion, ModelId, Tracks
from priors.settings import ObserveSettings
from priors.store import content_key

FRAMES, SIDE = 9, 64


class Halves:
    """SAM 2, with the left half of the image for the first entity and the right for the others."""

    def __init__(self, model):
        self.model, self.model_id = model, model.model_id

    def track(self, frames, prompts):
        found = self.model.track(frames, prompts)
        assert found.masks.any(), "not even random weights give an empty mask everywhere"
        masks, middle = found.masks.copy(), frames.shape[2] // 2
        masks[0, :, :, middle:] = masks[1:, :, :, :middle] = False
        return Tracks(masks, found.scores)


class Sure:
    """ViTPose, with its points taken as found."""

    def __init__(self, model):
        self.model, self.model_id = model, model.model_id

    def keypoints(self, frames, boxes, present):
        points = self.model.keypoints(frames, boxes, present).copy()
        assert np.isfinite(points).all()
        points[..., 2] = np.where(present[:, None], 0.9, 0)
        return points


class Standing:
    """A body that stands before the camera."""

    model_id = ModelId("tests/standing", "1")

    def recover(self, video, keypoints, person_masks, maps, other_masks=None):
        from hoijax.bodies import load_body
        from hoijax.geometry.transforms import look_at

        frames = len(video.frames)
        rest = np.asarray(load_body("anny").shape(np.zeros(10, np.float32)).joints_rest)
        height = -float(rest[:, 1].min())
        return BodyMotion(
            np.zeros((frames, 55, 3), np.float32),
            np.tile(np.array([0, height, 0], np.float32), (frames, 1)),
            np.zeros(10, np.float32),
            rest,
            np.tile(look_at(np.array([0.0, 1.4, 3.0]), np.array([0.0, 1.0, 0.0])), (frames, 1, 1)),
        )


class Loaded(tiny_priors.TinyModels):
    """Real classes from the checkpoints of a folder."""

    def __init__(self, folder: Path):
        tiny, vision = (pytest.importorskip(name) for name in ("tiny_models", "tiny_vision"))
        from priors.language.rules_model import RulesLanguage
        from priors.models.clip_scores import ClipScore
        from priors.models.cogvideox import CogVideoX, CogVideoXSettings
        from priors.models.depth import DepthAnything
        from priors.models.detection import DetectorSettings, GroundingDino
        from priors.models.image_model import FluxImageModel, FluxSettings
        from priors.models.keypoints import ViTPose
        from priors.models.segmentation import Sam2Segmenter

        on_cpu = TorchSettings(device="cpu")

        def saved(path: Path) -> ModelId:
            return ModelId(str(path))

        self.replaced = {
            "language": RulesLanguage(),
            "image": FluxImageModel(saved(tiny.flux(folder)), FluxSettings(steps=2), on_cpu),
            "score": ClipScore(saved(tiny.clip(folder)), on_cpu),
            "video": CogVideoX(saved(tiny.cogvideox(folder)), CogVideoXSettings(steps=2), on_cpu),
            "detector": GroundingDino(
                saved(vision.save_grounding_dino(folder / "dino")),
                DetectorSettings(score=0.0),
                on_cpu,
            ),
            "segmenter": Halves(
                Sam2Segmenter(saved(vision.save_sam2(folder / "sam2")), runtime=on_cpu)
            ),
            "geometry": DepthAnything(saved(tiny.depth_anything(folder)), runtime=on_cpu),
            "keypoints": Sure(ViTPose(saved(vision.save_vitpose(folder / "pose")), runtime=on_cpu)),
            "body": Standing(),
        }
        self.made = {}


pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # of the libraries, on checkpoints of no real size
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The models, in place of the registry's."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    torch.set_num_threads(1)
    models = Loaded(tmp_path_factory.mktemp("models"))
    lenient = partial(
        ObserveSettings, image_tries=2, image_candidates=2, image_thresholds=(0.0, 0.0)
    )
    with (
        mock.patch.dict("os.environ", HF_HUB_OFFLINE="1"),
        mock.patch("priors.observe.run.RegisteredModels", return_value=models),
        mock.patch("priors.settings.ObserveSettings", lenient),
    ):
        yield models


def clip_flags(folder: Path) -> tuple:
    size = ("--frames", FRAMES, "--height", SIDE, "--width", SIDE)
    return (*size, "--cache", folder / "cache")


@pytest.mark.usefixtures("loaded")
@pytest.mark.slow
@pytest.mark.thorough
def test_tiny_models_end_in_a_solved_scene(tmp_path):
    out = tmp_path / "bundle"
    ran = run("observe", TEXT, "--objects", "box", "--out", out, *clip_flags(tmp_path))
    assert ran.code == 0, ran.err
    assert check_bundle(out) == []
    bundle = read_bundle(out)
    assert bundle.image_size == (SIDE, SIDE)
    models = {key: p.model for key, p in bundle.provenance.items()}
    assert models["object_points"].endswith("depth_anything")
    assert models["keypoints"].endswith("pose")
    assert bundle.observations.object_detected.any()
    with as_users_run():
        result = solve(out, preset="hoi-page", inits=1, steps=5)
    assert np.isfinite(result.losses).all()
    assert result.Ts_world_object.shape == (1, FRAMES, 4, 4)


class Handed(Exception):
    """What anchor motion would solve."""


@pytest.mark.usefixtures("loaded")
def test_a_video_model_goes_on_from_the_static_scene(tmp_path_factory, tmp_path):
    still = copy_of(generated(tmp_path_factory)[0], tmp_path / "still")
    write_scene(still)

    def handed(bundle, **options):
        raise Handed(bundle, options)

    with (
        mock.patch("hoijax.api.animate.solve", handed),
        pytest.raises(Handed) as caught,
    ):
        run(
            *("generate", TEXT, "--method", "anchorhoi", "--prior", "diffusion"),
            *("--static", still, "--out", tmp_path / "out", *clip_flags(tmp_path)),
        )
    bundle, options = caught.value.args
    assert (options["method"], options["static"]) == ("anchor-motion", str(still))
    assert bundle.provenance["instance_ids"].model.endswith("sam2")
    lens = PinholeCamera.from_field_of_view(FIELD_OF_VIEW, SIDE, SIDE)
    np.testing.assert_allclose(bundle.observations.intrinsics[0], lens.matrix, rtol=1e-4)
    stages = bundle.provenance["*"].settings["stages"]
    image = still_image(still, SIDE, SIDE)
    assert stages["image"] == {"given": content_key({"image": image}, {"given": True})}
