"""Body motion by GVHMR, where the user has installed it.

GVHMR (Shen et al., "World-Grounded Human Motion Recovery via Gravity-View Coordinates", SIGGRAPH Asia
2024) is licensed for research and non-profit use only. It is neither part of hoijax nor a dependency:
the optional PyPI package `gvhmr` is used as it is, if it is there.
"""

import atexit
import importlib.util
import os
import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.errors import UserError
from hoijax.geometry.transforms import compose_rigid
from priors.models.body_recovery import (
    STAGE,
    BodyRecoverer,
    SeenPerson,
    on_the_ground,
    refuse_pickled_code,
)
from priors.models.frame_rate import keypoints_at, rotations_at, times_at_rate, values_at
from priors.models.torch_runtime import TorchSettings, device_and_dtype, readable_errors, require
from priors.protocols import BodyMotion, ModelId, PointMaps, Video

GVHMR_REPOSITORY = "ryanrudes/gvhmr"
GVHMR_CHECKPOINT = "gvhmr_siga24_release.ckpt"
GVHMR_INSTALL = (
    "pip install gvhmr yacs (its licence allows research and non-profit use only; it also needs your "
    "SMPL-X file and its checkpoints, see https://github.com/ryanrudes/gvhmr)"
)
GVHMR_BODIES = "GVHMR_BODY_MODELS"
"""Environment variable that the package reads when it is imported: a folder with smplx/."""
GVHMR_FPS = 30.0  # the network knows speeds from clips of this rate
BOX_ENLARGED = 1.2  # of the person's box, as GVHMR is trained
BOX_ASPECT = 192 / 256  # width over height of the crops it is trained on
COCO_FROM_OPENPOSE = np.array([0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10])
BETAS, BODY_JOINTS = 10, 21


class Gvhmr(BodyRecoverer):
    """`BodyRecovery` by GVHMR's network and HMR2 features, on our keypoints, boxes and intrinsics.

    For a camera that stands still. Needs the package `gvhmr` (non-commercial licence), its two
    checkpoints, and the user's SMPL-X file, which also becomes the bundle's body.
    """

    def __init__(
        self,
        smplx_file: str,
        model_id: ModelId = ModelId(GVHMR_REPOSITORY),  # noqa: B008 - frozen
        runtime: TorchSettings | None = None,
    ):
        """smplx_file: SMPLX_NEUTRAL.npz. model_id: hub repository of the checkpoints, or the path of
        the network's checkpoint or its directory."""
        self.body_name, self._model_id = smplx_file, model_id
        self.runtime = runtime or TorchSettings()

    @property
    def model_id(self) -> ModelId:
        return self._model_id

    @cached_property
    def _network(self) -> Any:
        """The network, from a checkpoint that was first seen to hold nothing but tensors."""
        self._ready()
        from gvhmr.inference import hub
        from gvhmr.inference.model import GVHMR

        device, _ = device_and_dtype(self.runtime)
        with readable_errors(STAGE, self._model_id, loading=True):
            path = local_checkpoint(self._model_id) or Path(
                hub.ensure_gvhmr_ckpt(self._model_id.name, revision=self._model_id.revision)
            )
            refuse_pickled_code(path)
            return GVHMR.from_pretrained(ckpt_path=str(path), device=device)

    def _recover(self, seen: SeenPerson) -> BodyMotion:
        """The person's motion in a world with gravity, lowest vertex of the clip on the ground."""
        self._ready()
        with readable_errors(STAGE, self._model_id, smaller="fewer frames"):
            data = self._inputs(seen.video, seen.keypoints, seen.masks, seen.maps)
            motion = self._network.predict(data, static_cam=True, world_from_incam=True)
        times = np.arange(len(seen.keypoints)) * (GVHMR_FPS / seen.video.fps)
        world, camera = (
            _at_times(motion[f"smpl_params_{name}"], times) for name in ("global", "incam")
        )
        return to_body_motion(world, camera, self._body)

    def _inputs(self, video: Video, keypoints: ndarray, masks: ndarray, maps: PointMaps) -> dict:
        """What the network reads, at its own rate: measured in the clip's frames, then interpolated."""
        torch = require("torch")
        boxes = square_boxes(masks)
        coco = np.asarray(keypoints, np.float32)[:, COCO_FROM_OPENPOSE]
        features = self._features(video, torch.from_numpy(boxes)).cpu().float().numpy()
        times = times_at_rate(len(coco), video.fps, GVHMR_FPS)
        still = torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(len(times), 1)  # no turn, 6D rotation
        return {
            "length": torch.tensor(len(times)),
            "kp2d": torch.from_numpy(keypoints_at(coco, times)),
            "bbx_xys": torch.from_numpy(values_at(boxes, times)),
            "K_fullimg": torch.from_numpy(
                values_at(np.asarray(maps.intrinsics, np.float32), times)
            ),
            "cam_angvel": still,
            "f_imgseq": torch.from_numpy(values_at(features, times)),
        }

    def lacks(self) -> list[str]:
        """What this machine does not have of the installed package's files; see `check_ready`."""
        self._ready()
        from gvhmr.utils.assets import HMR2_CKPT

        problems = []
        if not Path(self.body_name).expanduser().is_file():
            problems.append(f"--body-file {self.body_name}: there is no such file")
        if not Path(HMR2_CKPT).is_file():
            problems.append(_no_features(HMR2_CKPT))
        return problems

    def _ready(self) -> None:
        """The package is there, and knows the user's body file before it is first imported."""
        require_gvhmr()
        if GVHMR_BODIES in os.environ:
            return
        folder = Path(tempfile.mkdtemp(prefix="hoijax-gvhmr-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        (folder / "smplx").mkdir()
        known = folder / "smplx" / "SMPLX_NEUTRAL.npz"
        known.symlink_to(Path(self.body_name).expanduser().absolute())
        os.environ[GVHMR_BODIES] = str(folder)

    def _features(self, video: Video, boxes: Any) -> Any:
        """(T, 1024) HMR2 image features of the person's crops."""
        from gvhmr.utils.assets import HMR2_CKPT
        from gvhmr.utils.imgcrop import get_batch

        if not Path(HMR2_CKPT).is_file():
            raise UserError(f"{STAGE}: {_no_features(HMR2_CKPT)}")
        features = require("gvhmr.utils.preproc.vitfeat_extractor", remedy=GVHMR_INSTALL)
        crops, boxes = get_batch(video.frames, boxes, img_ds=1.0, path_type="np")
        return features.Extractor().extract_video_features(crops.float(), boxes)


def _no_features(checkpoint: Any) -> str:
    return (
        f"GVHMR's image features need {checkpoint} (2.7 GB). Fetch it with `gvhmr download`, or set "
        "GVHMR_CHECKPOINTS to the folder that holds it"
    )


def _at_times(parameters: dict[str, Any], times: Float[ndarray, " N"]) -> dict[str, ndarray]:
    """SMPL-X parameters of the network's frames at other times: rotations along arcs, the rest linear."""
    arrays = {name: value.detach().cpu().float().numpy() for name, value in parameters.items()}
    turns = ("global_orient", "body_pose")
    resampled = {
        name: values_at(value, times) for name, value in arrays.items() if name not in turns
    }
    for name in turns:
        rotations = arrays[name].reshape(len(arrays[name]), -1, 3)
        resampled[name] = rotations_at(rotations, times).reshape(len(times), -1)
    return resampled


def require_gvhmr() -> None:
    """Raises UserError, with the licence, where the package is not installed."""
    if importlib.util.find_spec("gvhmr") is None:
        raise UserError(
            f"{STAGE}: GVHMR is not installed. Use our own fit (--body fit), or: {GVHMR_INSTALL}"
        )


def local_checkpoint(model_id: ModelId) -> Path | None:
    """The checkpoint that a path names: a file, or a directory that holds it; None for a hub id."""
    path = Path(model_id.name).expanduser()
    if path.is_dir():
        checkpoints = sorted(path.rglob(GVHMR_CHECKPOINT))
        if not checkpoints:
            raise UserError(f"{STAGE}: the directory {path} holds no {GVHMR_CHECKPOINT}")
        return checkpoints[0]
    return path if path.is_file() else None


def square_boxes(masks: Bool[ndarray, "T H W"]) -> Float[ndarray, "T 3"]:
    """Center and side of the person's crop in every frame, as GVHMR is trained; frames without a
    mask are filled in between their neighbors."""
    from priors.masks import mask_boxes

    boxes, present = mask_boxes(masks)
    size = boxes[:, 2:] - boxes[:, :2]
    side = BOX_ENLARGED * np.maximum(size[:, 1], size[:, 0] / BOX_ASPECT)
    rows = np.column_stack([0.5 * (boxes[:, :2] + boxes[:, 2:]), side])
    frames, known = np.arange(len(rows)), np.flatnonzero(present)
    filled = [np.interp(frames, known, rows[known, i]) for i in range(3)]
    return np.stack(filled, -1).astype(np.float32)


def to_body_motion(
    world: dict[str, ndarray], camera: dict[str, ndarray], body: SkinnedBody
) -> BodyMotion:
    """SMPL-X parameters in GVHMR's world and in the camera, as one motion over the ground.

    Both describe the same body, so they say where the camera is: its rotation is the turn from one
    root orientation to the other, and its place follows from the pelvis.
    """
    from scipy.spatial.transform import Rotation

    frames = len(world["transl"])
    betas = world["betas"].reshape(-1, BETAS).mean(0).astype(np.float32)
    rest_joints = np.asarray(body.shape(betas).joints_rest, np.float32)
    rotations = np.zeros((frames, 55, 3), np.float32)
    rotations[:, 0] = world["global_orient"]
    rotations[:, 1 : 1 + BODY_JOINTS] = world["body_pose"].reshape(frames, BODY_JOINTS, 3)
    rotation = Rotation.from_rotvec(world["global_orient"].astype(np.float64))
    rotation *= Rotation.from_rotvec(camera["global_orient"].astype(np.float64)).inv()
    pelvis_world = rest_joints[0] + world["transl"]
    pelvis_camera = rest_joints[0] + camera["transl"]
    position = pelvis_world - rotation.apply(pelvis_camera)
    motion = BodyMotion(
        rotations=rotations,
        translations=world["transl"].astype(np.float32),
        betas=betas,
        rest_joints=rest_joints,
        Ts_world_camera=compose_rigid(rotation.as_matrix(), position).astype(np.float32),
    )
    return on_the_ground(motion, body)
