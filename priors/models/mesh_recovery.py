"""Body recoverers that give meshes, where the user has installed them: SAM 3D Body and GEM-X.

Both see one person a time and describe them by bodies of their own (MHR, SOMA), so ours is fitted to
their surface, frame by frame (`priors.models.body_from_meshes`). Neither is a dependency.

SAM 3D Body: Yang et al., 2025, SAM licence. GEM-X: Li et al., "GENMO", ICCV 2025; code Apache-2.0,
weights under NVIDIA's open model licence.
"""

import contextlib
import importlib.util
import io
import os
import subprocess
import tempfile
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.importers.body_meshes import body_meshes
from hoijax.io.video import write_video
from priors.masks import mask_boxes
from priors.models.body_from_meshes import FileMeshes
from priors.models.body_recovery import BodyRecoverer, SeenPerson, refuse_pickled_code
from priors.models.torch_runtime import (
    TorchSettings,
    device_and_dtype,
    local_directory,
    readable_errors,
    require,
)
from priors.protocols import BodyMotion, ModelId, Video

__all__ = ["GemX", "Sam3dBody"]

STAGE = "body"
SAM_3D_BODY = "facebook/sam-3d-body-dinov3"
SAM_3D_INSTALL = (
    "SAM 3D Body is not installed. Clone https://github.com/facebookresearch/sam-3d-body, install what its "
    "INSTALL.md lists, put the folder on PYTHONPATH, and accept the licence of its weights at "
    f"https://huggingface.co/{SAM_3D_BODY}; or use --body fit"
)
GEM_X_HOME, GEM_X_PYTHON = "GEM_X_HOME", "GEM_X_PYTHON"
"""Environment variables: the folder of the user's GEM-X, and its Python (.venv/bin/python there)."""
GEM_X_INSTALL = (
    f"Install https://github.com/NVlabs/GEM-X as its README says and set {GEM_X_HOME} to its folder "
    f"({GEM_X_PYTHON} to its Python, where that is not .venv/bin/python there); or use --body fit"
)
DEMO = Path("scripts", "demo", "demo_soma.py")
LAST_WORDS = 600


class MeshRecovery(BodyRecoverer):
    """`BodyRecovery` by a program that gives a mesh for every frame, in the camera."""

    def __init__(self, body_name: str, model_id: ModelId, runtime: TorchSettings | None = None):
        """body_name: "anny", or the path of the user's SMPL-X or SMPL-H file, which is fitted."""
        self.body_name, self._model_id = body_name, model_id
        self.runtime = runtime or TorchSettings()

    @property
    def model_id(self) -> ModelId:
        return self._model_id

    @abstractmethod
    def lacks(self) -> list[str]:
        """What this machine does not have; see `check_ready`."""

    @abstractmethod
    def _meshes(
        self,
        video: Video,
        boxes: Float[ndarray, "T 4"],
        masks: Bool[ndarray, "T H W"],
        intrinsics: Float[ndarray, "T 3 3"],
    ) -> tuple[Float[ndarray, "T V 3"], Int[ndarray, "F 3"]]:
        """Vertices in the camera (OpenCV axes, metres) and faces; boxes are there in every frame."""

    def _recover(self, seen: SeenPerson) -> BodyMotion:
        """The person's motion on our body, over the ground that the point maps show."""
        problems = self.lacks()
        if problems:
            raise UserError(f"{STAGE}: {'; '.join(problems)}")
        boxes, present = mask_boxes(seen.masks)
        frames, known = np.arange(len(boxes)), np.flatnonzero(present)
        filled = np.stack([np.interp(frames, known, boxes[known, i]) for i in range(4)], -1)
        with readable_errors(STAGE, self._model_id, smaller="fewer frames"):
            vertices, faces = self._meshes(
                seen.video, filled.astype(np.float32), seen.masks, seen.maps.intrinsics
            )
        meshes = body_meshes(self._model_id.name, vertices, faces)
        fit = FileMeshes(meshes, self.body_name)
        return fit.recover(seen.video, seen.keypoints, seen.masks, seen.maps, seen.other_masks)


class Sam3dBody(MeshRecovery):
    """`BodyRecovery` by SAM 3D Body, told our boxes, masks and intrinsics. model_id: a hub id, or a
    directory with model.ckpt, model_config.yaml and assets/mhr_model.pt."""

    def __init__(
        self,
        body_name: str = "anny",
        model_id: ModelId = ModelId(SAM_3D_BODY),  # noqa: B008 - frozen
        runtime: TorchSettings | None = None,
    ):
        super().__init__(body_name, model_id, runtime)

    def lacks(self) -> list[str]:
        return [] if importlib.util.find_spec("sam_3d_body") else [SAM_3D_INSTALL]

    @cached_property
    def _estimator(self) -> Any:
        package = require("sam_3d_body", remedy=SAM_3D_INSTALL)
        device, _ = device_and_dtype(self.runtime)
        folder = local_directory(self._model_id)
        with readable_errors(STAGE, self._model_id, loading=True):
            if folder is None:
                hub = require("huggingface_hub")
                fetched = hub.snapshot_download(
                    self._model_id.name, revision=self._model_id.revision
                )
                folder = Path(fetched)
            refuse_pickled_code(folder / "model.ckpt")
            network, config = package.load_sam_3d_body(
                checkpoint_path=str(folder / "model.ckpt"),
                device=str(device),
                mhr_path=str(folder / "assets" / "mhr_model.pt"),
            )
            return package.SAM3DBodyEstimator(sam_3d_body_model=network, model_cfg=config)

    def _meshes(
        self, video: Video, boxes: ndarray, masks: ndarray, intrinsics: ndarray
    ) -> tuple[ndarray, ndarray]:
        torch = require("torch")
        estimator, vertices = self._estimator, []
        for frame, box, mask, camera in zip(video.frames, boxes, masks, intrinsics, strict=True):
            with contextlib.redirect_stdout(io.StringIO()):  # it reports every step of every frame
                people = estimator.process_one_image(
                    np.ascontiguousarray(frame),
                    bboxes=box[None],
                    masks=mask[None].astype(np.uint8) if mask.any() else None,
                    cam_int=torch.from_numpy(np.asarray(camera, np.float32))[None],
                )
            if not people:
                raise UserError(
                    f"{STAGE}: SAM 3D Body found nobody in frame {len(vertices)}. Use --body fit"
                )
            vertices.append(people[0]["pred_vertices"] + people[0]["pred_cam_t"])
        return np.stack(vertices), np.asarray(estimator.faces)


class GemX(MeshRecovery):
    """`BodyRecovery` by the user's GEM-X, run by its own Python; told our boxes and intrinsics."""

    def __init__(
        self,
        body_name: str = "anny",
        model_id: ModelId = ModelId("nvidia/GEM-X"),  # noqa: B008 - frozen
        runtime: TorchSettings | None = None,
    ):
        super().__init__(body_name, model_id, runtime)

    def lacks(self) -> list[str]:
        if GEM_X_HOME not in os.environ:
            return [f"{GEM_X_HOME} is not set. {GEM_X_INSTALL}"]
        needed = [self._home / DEMO, Path(self._python)]
        missing = [str(path) for path in needed if not path.is_file()]
        return [f"there is no {' and no '.join(missing)}. {GEM_X_INSTALL}"] if missing else []

    @property
    def _home(self) -> Path:
        return Path(os.environ[GEM_X_HOME]).expanduser().absolute()

    @property
    def _python(self) -> str:
        return os.environ.get(GEM_X_PYTHON) or str(self._home / ".venv" / "bin" / "python")

    def _meshes(
        self, video: Video, boxes: ndarray, masks: ndarray, intrinsics: ndarray
    ) -> tuple[ndarray, ndarray]:
        with tempfile.TemporaryDirectory(prefix="hoijax-gem-x-") as scratch:
            folder = Path(scratch)
            height, width = (side // 2 * 2 for side in video.frames.shape[1:3])  # H.264's
            write_video(folder / "clip.mp4", video.frames[:, :height, :width], video.fps)
            np.savez(folder / "given.npz", boxes=boxes, intrinsics=intrinsics)
            self._run(folder)
            with np.load(folder / "meshes.npz", allow_pickle=False) as arrays:
                return arrays["vertices"], arrays["faces"]

    def _run(self, folder: Path) -> None:
        driver = Path(__file__).with_name("gem_x_driver.py")
        checkpoint = local_directory(self._model_id)
        command = [self._python, str(driver), str(self._home / DEMO), str(folder)]
        if checkpoint is not None:
            command.append(str(checkpoint / "gem_soma.ckpt"))
        ended = subprocess.run(command, cwd=self._home, capture_output=True, text=True, check=False)
        if ended.returncode != 0 or not (folder / "meshes.npz").is_file():
            message = (ended.stderr or ended.stdout).strip()[-LAST_WORDS:]
            raise UserError(
                f"{STAGE}: GEM-X ended with status {ended.returncode}. Run its own demo on the clip to see "
                f"whether it works, or use --body fit. It said last: {message}"
            )
