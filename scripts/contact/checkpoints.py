"""Checkpoints for a first contact without weights: tiny networks, or full size with random weights.

Both start from the tiny checkpoints of the tests, which have the files of the published ones. For full
size, the configurations are replaced by the published ones (`scripts.contact.published`), the weights are
deleted, and `from_pretrained` of transformers and diffusers makes networks of the configuration alone.
"""

import contextlib
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hoijax.errors import UserError
from scripts.contact.published import PUBLISHED

__all__ = ["BUILDERS", "checkpoint", "configurations", "is_known"]

TESTS = Path(__file__).resolve().parents[2] / "tests"
BUILDERS = {
    "image=flux": "flux",
    "image=flux-schnell": "flux",
    "image=flux2-klein": "flux2_klein",
    "image=qwen-image": "qwen_image",
    "image=z-image": "z_image",
    "video=cogvideox": "cogvideox",
    "video=framepack": "framepack",
    "video=wan": "wan",
    "video=wan2.2": "wan_22_ti2v",
    "video=wan2.2-a14b": "wan_22_a14b",
    "video=hunyuan1.5": "hunyuan_15",
    "video=ltx2": "ltx2",
    "detector=grounding-dino": "save_grounding_dino",
    "detector=sam3": "save_sam3",
    "detector=qwen3-vl": "qwen3_vl",
    "segmenter=sam2": "save_sam2",
    "segmenter=sam3": "save_sam3",
    "geometry=moge": "moge",
    "geometry=depth-pro": "depth_pro",
    "geometry=depth-anything": "depth_anything",
    "geometry=depth-anything3": "depth_anything3",
    "geometry=sapiens2": "sapiens2_points",
    "keypoints=vitpose": "save_vitpose",
    "keypoints=sapiens2": "sapiens2_pose",
    "score=clip": "clip",
    "score=siglip2": "siglip2",
    "score=qwen3-vl": "qwen3_vl",
    "language=transformers": "qwen3",
}
"""Function of tests/tiny_models.py or tests/tiny_vision.py, by step."""
QWEN3_VL_PIXELS = {"shortest_edge": 256 * 256, "longest_edge": 4096 * 4096}
SPREAD = 0.02
BLOCK = 2**20


@contextlib.contextmanager
def checkpoint(step: str, mode: str, folder: Path) -> Iterator[Path]:
    """The directory of a step's checkpoint, made in `folder`; inside, it can be loaded.

    mode: "tiny" or "random weights". UserError where no network of that size is known.
    """
    if not is_known(step, mode):
        raise UserError(f"no {mode} network of {step} is known here")
    sys.path.insert(0, str(TESTS))
    tiny = importlib.import_module("tiny_models")
    if mode != "tiny" and step in OWN_SIZES:
        yield OWN_SIZES[step](folder)
        return
    name = BUILDERS[step]
    if name.startswith("save_"):
        path = getattr(importlib.import_module("tiny_vision"), name)(folder / name)
    else:
        path = getattr(tiny, name)(folder)
    if mode != "tiny":
        configure(path, PUBLISHED[step])
        with made_of_configurations():
            yield path
    elif step == "geometry=depth-anything3":
        with tiny.small_depth_anything3():
            yield path
    else:
        yield path


def is_known(step: str, mode: str) -> bool:
    """Whether a network of a step can be made without its weights."""
    return step in BUILDERS and (mode == "tiny" or step in {*PUBLISHED, *OWN_SIZES})


def configure(path: Path, sizes: dict[str, dict[str, Any]]) -> None:
    """Replace the configurations of a checkpoint by those of full size, and delete its weights."""
    for weights in [*path.rglob("*.safetensors"), *path.rglob("*.safetensors.index.json")]:
        weights.unlink()
    for part, configuration in configurations(path, sizes).items():
        (path / part / "config.json").write_text(json.dumps(configuration, default=str))
        fit_processor(path, part, configuration)


def fit_processor(path: Path, part: str, configuration: dict[str, Any]) -> None:
    """Let the image processor of a network make images of the network's own size."""
    folders = (part, "feature_extractor", "image_processor") if part == "image_encoder" else (part,)
    vision = configuration.get("vision_config") or configuration.get("backbone_config") or {}
    side = configuration.get("image_size") or vision.get("image_size")
    for file in [
        file for folder in folders for file in (path / folder).glob("*processor_config.json")
    ]:
        stored = json.loads(file.read_text())
        processor = stored.get("image_processor", stored)
        if configuration.get("model_type") == "qwen3_vl":
            processor["size"] = QWEN3_VL_PIXELS
        elif side is not None:
            height, width = (side, side) if isinstance(side, int) else side
            for name in {"size", "crop_size"} & set(processor):
                is_short = "shortest_edge" in (processor[name] or {})
                sides = (
                    {"shortest_edge": height} if is_short else {"height": height, "width": width}
                )
                processor[name] = sides
        file.write_text(json.dumps(stored))


def configurations(path: Path, sizes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By folder: config.json of full size, with the class that the tiny one names."""
    made = {}
    for part, differing in sizes.items():
        tiny = json.loads((path / part / "config.json").read_text())
        if "_class_name" in tiny:
            made[part] = {"_class_name": tiny["_class_name"], **differing}
            continue
        transformers = importlib.import_module("transformers")
        kind = transformers.CONFIG_MAPPING[tiny["model_type"]]
        marks = {name: tiny[name] for name in tiny if name.endswith("_token_id")}
        full = json.loads(kind(**marks | differing).to_json_string(use_diff=False))
        made[part] = full | {"architectures": tiny.get("architectures")}
    return made


@contextlib.contextmanager
def made_of_configurations() -> Iterator[None]:
    """Inside, `from_pretrained` makes networks of their configurations, with random weights."""
    transformers, diffusers = (importlib.import_module(n) for n in ("transformers", "diffusers"))

    def of_transformers(cls: Any, path: Any, *_: Any, config: Any = None, **words: Any) -> Any:
        place = {"subfolder": words.get("subfolder") or ""}
        if not isinstance(config, transformers.PreTrainedConfig):
            config = cls.config_class.from_pretrained(path, **place)
        network = made(lambda: cls(config), _dtype(words))
        info: dict[str, Any] = {"missing_keys": [], "mismatched_keys": []}
        return (network, info) if words.get("output_loading_info") else network

    def of_diffusers(cls: Any, path: Any, **words: Any) -> Any:
        config = cls.load_config(path, subfolder=words.get("subfolder"))
        return made(lambda: cls.from_config(config), _dtype(words))

    replaced = {transformers.PreTrainedModel: of_transformers, diffusers.ModelMixin: of_diffusers}
    originals = {kind: kind.__dict__["from_pretrained"] for kind in replaced}
    for kind, function in replaced.items():
        kind.from_pretrained = classmethod(function)
    try:
        yield
    finally:
        for kind, function in originals.items():
            kind.from_pretrained = function


def _dtype(words: dict[str, Any]) -> Any:
    torch = importlib.import_module("torch")
    dtype = words.get("dtype", words.get("torch_dtype"))
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def made(make: Any, dtype: Any) -> Any:
    """A network whose weights are one block of random numbers, repeated: drawing 2e10 takes minutes."""
    torch = importlib.import_module("torch")
    skip = importlib.import_module("transformers.initialization").no_init_weights
    standard = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with skip():
            network = make()
    finally:
        torch.set_default_dtype(standard)
    generator = torch.Generator().manual_seed(0)
    block = (SPREAD * torch.randn(BLOCK, generator=generator)).to(dtype)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            flat = parameter.data.view(-1)
            is_norm = parameter.ndim == 1 and name.endswith("weight")
            for start in range(0, len(flat), BLOCK):
                piece = flat[start : start + BLOCK]
                piece.copy_(torch.ones_like(piece) if is_norm else block[: len(piece)])
            # diffusers keeps these in float32 whatever is asked.
            if set(name.split(".")) & set(getattr(network, "_keep_in_fp32_modules", None) or ()):
                parameter.data = parameter.data.float()
    return network.eval()


def _moge(folder: Path) -> Path:
    """MoGe of the first version in full size: the second's configuration is in its weights only."""
    torch = importlib.import_module("torch")
    moge = importlib.import_module("depth_estimation.models.moge.modeling_moge")
    config = {"encoder": "dinov2_vitl14"}
    weights = made(lambda: moge._MoGeModelV1(**config), torch.float32).state_dict()
    torch.save({"model_config": config, "model": weights}, folder / "model.pt")
    return folder


def _depth_anything3(folder: Path) -> Path:
    torch = importlib.import_module("torch")
    package = "depth_estimation.models.depth_anything_v3"
    sizes = importlib.import_module(f"{package}.configuration_depth_anything_v3")
    networks = importlib.import_module(f"{package}.modeling_depth_anything_v3")
    config = sizes.DepthAnythingV3Config(backbone="metric_large")
    weights = made(lambda: networks._DepthAnythingV3Net(config), torch.float32).state_dict()
    save = importlib.import_module("safetensors.torch").save_file
    named = {f"model.{name}": value.contiguous() for name, value in weights.items()}
    save(named, folder / "model.safetensors")
    return folder


OWN_SIZES = {"geometry=moge": _moge, "geometry=depth-anything3": _depth_anything3}
