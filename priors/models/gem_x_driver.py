"""Run by the user's GEM-X, in its Python: meshes of one person of a clip, without its renderings.

    python gem_x_driver.py DEMO FOLDER [CHECKPOINT]

DEMO is GEM-X's scripts/demo/demo_soma.py, whose functions are called in the order of its `main`.
FOLDER has clip.mp4 and given.npz (boxes, intrinsics of every frame); meshes.npz is written there.
"""

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(demo_file: str, scratch: str, checkpoint: str | None = None) -> None:
    """Write vertices (T, V, 3) in the camera, metres, and faces (F, 3)."""
    folder = Path(scratch)
    with np.load(folder / "given.npz", allow_pickle=False) as stored:
        boxes, intrinsics = stored["boxes"], stored["intrinsics"]
    words = ["--video", str(folder / "clip.mp4"), "--output_root", str(folder / "out"), "-s"]
    sys.argv = [demo_file, *words, *(["--ckpt", checkpoint] if checkpoint else [])]
    demo = runpy.run_path(demo_file)
    config = demo["_build_cfg"](demo["_parse_args"]())
    _keep_boxes(boxes, config)
    demo["_copy_video_if_needed"](config)
    demo["run_preprocess"](config)
    motion = _predicted(demo, config, intrinsics)
    vertices, faces = _surface(demo, motion)
    np.savez(folder / "meshes.npz", vertices=vertices[: len(boxes)], faces=faces)


def _keep_boxes(boxes: Any, config: Any) -> None:
    """Our person's, which GEM-X then does not look for."""
    import torch
    from gem.utils.geo_transform import get_bbx_xys_from_xyxy

    corners = torch.from_numpy(boxes).float()
    path = Path(config.paths.bbx)
    path.parent.mkdir(parents=True, exist_ok=True)
    squares = get_bbx_xys_from_xyxy(corners, base_enlarge=1.2).float()
    torch.save({"bbx_xyxy": corners, "bbx_xys": squares}, path)


def _predicted(demo: dict[str, Any], config: Any, intrinsics: Any) -> dict[str, Any]:
    """SOMA parameters of the person in the camera."""
    import hydra
    import torch

    data = demo["load_data_dict"](config)
    given = torch.from_numpy(intrinsics).to(data["K_fullimg"])
    data["K_fullimg"] = given[: len(data["K_fullimg"])]
    network = hydra.utils.instantiate(config.model, _recursive_=False)
    network.load_pretrained_model(demo["resolve_ckpt_path"](config))
    network = network.eval().cuda()
    predicted = network.predict(data, static_cam=True, postproc=True)
    return demo["_get_body_params"](predicted, "body_params_incam")


def _surface(demo: dict[str, Any], motion: dict[str, Any]) -> tuple[Any, Any]:
    import torch

    body = demo["SomaLayer"](
        data_root="inputs/soma_assets",
        low_lod=True,
        device="cuda:0",
        identity_model_type="mhr",
        mode="warp",
    )
    with torch.no_grad():
        vertices = body(**demo["to_cuda"](motion))["vertices"]
    return vertices.cpu().float().numpy(), body.faces.cpu().numpy().astype(np.int64)


if __name__ == "__main__":
    main(*sys.argv[1:])
