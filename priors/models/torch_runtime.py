"""What every PyTorch prior shares: device and precision, loading, memory modes, readable errors.

Nothing heavy is imported until a function is called, so `import priors` needs no torch.
"""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np

from hoijax.errors import UserError
from priors.protocols import ModelId

__all__ = [
    "TorchSettings",
    "device_and_dtype",
    "load_pretrained",
    "local_directory",
    "place_pipeline",
    "readable_errors",
    "refuse_empty_embeddings",
    "require",
    "seeded",
    "torch_settings",
]

INSTALL = 'pip install "hoijax[priors]"'
DTYPES = ("float32", "float16", "bfloat16")
MEMORY = ("resident", "model", "sequential")
UNTRAINED_SHARE = 0.01
"""A checkpoint that leaves more of a model's parameters than this at random values is refused."""


@dataclass(frozen=True)
class TorchSettings:
    """Where and how a prior runs."""

    device: str = "auto"
    """"auto" (CUDA, then Apple's MPS, then CPU), or a PyTorch device such as "cuda:1" or "cpu"."""
    dtype: str = "auto"
    """"auto" (bfloat16 on CUDA where it has it, else float16; float32 elsewhere), or one of DTYPES.
    Models whose output is measured (geometry, boxes, keypoints, cosines) always run in float32:
    bfloat16 has 8 bits, so a point map at 3 m would have steps of a centimeter and more."""
    memory: Literal["resident", "model", "sequential"] = "model"
    """Pipelines on a GPU: keep everything there, move whole models in turn, or move layer by layer
    (slowest, a few GB). Without a GPU everything stays in main memory."""
    tiling: bool = True
    """Decode images and clips in tiles and slices: a little slower, far less memory."""


def torch_settings(device: str, precision: str, memory: str) -> TorchSettings:
    """What --device, --precision and --memory say. UserError for words that mean nothing."""
    if memory not in MEMORY:
        raise UserError(f"--memory must be one of {', '.join(MEMORY)}, got {memory!r}.")
    if precision not in ("auto", *DTYPES):
        known = ", ".join(("auto", *DTYPES))
        raise UserError(f"--precision must be one of {known}, got {precision!r}.")
    return TorchSettings(device, precision, memory)  # type: ignore[arg-type]


def require(*packages: str, remedy: str = INSTALL) -> Any:
    """Import packages; return the first. UserError with `remedy` where one is not installed."""
    modules = []
    for package in packages:
        try:
            modules.append(importlib.import_module(package))
        except ModuleNotFoundError as error:
            missing = error.name or package
            raise UserError(
                f"this stage needs the Python package {missing!r}, which is not installed. "
                f"Install it with: {remedy}"
            ) from error
    return modules[0]


def device_and_dtype(settings: TorchSettings, *, measures: bool = False) -> tuple[Any, Any]:
    """(torch.device, torch.dtype) of settings. UserError for a device or a precision there is not.

    measures: the model's output is a measurement, and it runs in float32 whatever is asked.
    """
    torch = require("torch")
    name = settings.device
    if name == "auto":
        mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(
            f"{name!r} is not a PyTorch device; use auto, cpu, cuda or cuda:N"
        ) from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UserError(
                f"device {name!r} was asked for, but PyTorch {torch.__version__} sees {count} CUDA "
                "devices. Use --device cpu, or install a CUDA build of PyTorch and check nvidia-smi"
            )
    dtype = _dtype(torch, settings.dtype, device.type)
    return device, torch.float32 if measures else dtype


def _dtype(torch: Any, name: str, device_type: str) -> Any:
    if name == "auto":
        if device_type != "cuda":
            return torch.float32
        # Cards before Ampere (T4, V100) only emulate bfloat16, slower than float32.
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bfloat16 else torch.float16
    if name not in DTYPES:
        raise UserError(f"precision {name!r} is unknown; use auto or one of {', '.join(DTYPES)}")
    return getattr(torch, name)


def local_directory(model_id: ModelId) -> Path | None:
    """The directory a model id names, or None where it is a hub id."""
    path = Path(model_id.name).expanduser()
    return path if path.is_dir() else None


def load_pretrained(cls: Any, model_id: ModelId, *, stage: str = "", **kwargs: Any) -> Any:
    """`cls.from_pretrained` of a hub id with its revision, or of a local directory without network.

    Weights are read from safetensors only. `stage` names the stage in errors; other keywords go to
    `from_pretrained`. UserError where weights are missing, gated, damaged or of another model.
    """
    directory = local_directory(model_id)
    source = str(directory) if directory else model_id.name
    if directory:
        kwargs["local_files_only"] = True
    elif model_id.revision is not None:
        kwargs["revision"] = model_id.revision
    weights = _weight_kind(cls)
    if weights:
        kwargs.setdefault("use_safetensors", True)
    with readable_errors(stage or cls.__name__, model_id, loading=True), _quiet_loading():
        if weights != "transformers":
            loaded = cls.from_pretrained(source, **kwargs)
            for part in getattr(loaded, "components", {}).values():
                refuse_empty_embeddings(part, model_id, stage)
            return loaded
        model, info = cls.from_pretrained(source, output_loading_info=True, **kwargs)
    _refuse_untrained(model, info, model_id, stage)
    refuse_empty_embeddings(model, model_id, stage)
    return model.eval()


@contextlib.contextmanager
def _quiet_loading() -> Iterator[None]:
    """No bars while files on this machine are read; downloads keep theirs."""
    libraries = [importlib.import_module(f"{name}.utils.logging") for name in _libraries()]
    shown = [library for library in libraries if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()


def _libraries() -> list[str]:
    return [name for name in ("transformers", "diffusers") if name in sys.modules]


def _weight_kind(cls: Any) -> str | None:
    """Which library loads weights for a class; None for processors, tokenizers and schedulers."""
    module = cls.__module__.partition(".")[0]
    names = {base.__name__ for base in cls.__mro__}
    if module == "transformers" and names & {"PreTrainedModel", "_BaseAutoModelClass"}:
        return "transformers"
    return "diffusers" if names & {"ModelMixin", "DiffusionPipeline", "PreTrainedModel"} else None


def _refuse_untrained(model: Any, info: Any, model_id: ModelId, stage: str) -> None:
    """transformers fills what a checkpoint lacks with random values and only logs it."""
    mismatched = {key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]}
    missing = set(info["missing_keys"]) | mismatched
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    lost = sum(sizes.get(name, 0) for name in missing)
    if lost > UNTRAINED_SHARE * max(sum(sizes.values()), 1):
        raise UserError(
            f"{stage or type(model).__name__}: {model_id.name} is not a checkpoint of "
            f"{type(model).__name__}: it lacks {len(missing)} of its weights "
            f"(such as {min(missing)}). Give the id or the directory of the right model"
        )


def refuse_empty_embeddings(model: Any, model_id: ModelId, stage: str = "") -> None:
    """UserError where a text encoder's token embeddings are zero, or are not the encoder's own.

    Some releases of transformers 5 loaded UMT5 (Wan's text encoder) like this without a word: every
    prompt then means the same.
    """
    if not hasattr(model, "get_input_embeddings") or not hasattr(model, "config"):
        return
    try:
        weight = getattr(model.get_input_embeddings(), "weight", None)
    except NotImplementedError:  # a model without tokens
        return
    if weight is None or weight.device.type == "meta":
        return
    inner = getattr(getattr(model, "encoder", None), "embed_tokens", None)
    used = weight if inner is None else inner.weight
    is_split = used.data_ptr() != weight.data_ptr() and bool((used != weight).any())
    if is_split or bool((weight == 0).all()):
        raise UserError(
            f"{stage or type(model).__name__}: the token embeddings of {model_id.name} "
            f"({type(model).__name__}) were not loaded: prompts would mean nothing. Install another "
            f"release of transformers: {INSTALL}"
        )


def place_pipeline(pipeline: Any, settings: TorchSettings) -> Any:
    """A diffusers pipeline on its device in the asked memory mode, without progress bars."""
    device, _ = device_and_dtype(settings)
    pipeline.set_progress_bar_config(disable=True)
    if device.type == "cuda" and settings.memory == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif device.type == "cuda" and settings.memory == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)
    vae = getattr(pipeline, "vae", None)
    if settings.tiling and vae is not None:
        for switch in ("enable_tiling", "enable_slicing"):
            if hasattr(vae, switch):
                getattr(vae, switch)()
    return pipeline


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[Any]:
    """A CPU generator of this seed; the global state is seeded inside and restored afterwards.

    Numbers drawn on the CPU are the same whatever device the model runs on.
    """
    torch = require("torch")
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield torch.Generator("cpu").manual_seed(seed)


@contextlib.contextmanager
def readable_errors(
    stage: str, model_id: ModelId, *, loading: bool = False, smaller: str = ""
) -> Iterator[None]:
    """Turns what PyTorch and the hub raise into UserErrors that name stage, model and remedy.

    loading: inside `from_pretrained`, where any OSError, KeyError or ValueError is about the files.
    smaller: what a user may reduce when memory runs out ("fewer frames").
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        message = _memory_message(error, model_id, smaller)
        if message is None and loading:
            message = _loading_message(error, model_id)
        if message is None:
            raise
        raise UserError(f"{stage}: {message}") from error


def _memory_message(error: BaseException, model_id: ModelId, smaller: str) -> str | None:
    torch = require("torch")
    text = str(error).lower()
    lacks = isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "can't allocate memory" in text)
    )
    if not lacks:
        return None
    torch.cuda.empty_cache()
    return (
        f"{model_id.name} ran out of memory. Try --memory model, then --memory sequential"
        f"{', or ' + smaller if smaller else ''}; close other programs on the GPU, or use a "
        "smaller model. Finished stages are kept"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _loading_message(error: Exception, model_id: ModelId) -> str | None:
    hub = require("huggingface_hub.errors")
    causes = list(_chain(error))
    name = model_id.name
    what = f"{name} at revision {model_id.revision}" if model_id.revision else name

    def caused_by(*kinds: type) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    message = " ".join(str(cause) for cause in causes).lower()
    if caused_by(hub.GatedRepoError) or "gated repo" in message:
        return (
            f"{name} is gated. Accept its licence at https://huggingface.co/{name}, then log in "
            "with `hf auth login` (or set HF_TOKEN)"
        )
    if caused_by(hub.RevisionNotFoundError):
        return f"{name} has no revision {model_id.revision!r} on the hub. Correct the revision"
    # Without sentencepiece, transformers asks for tiktoken, which reads no spiece.model either.
    is_tokenizer = "sentencepiece" in message or "tiktoken" in message
    if is_tokenizer and importlib.util.find_spec("sentencepiece") is None:
        return (
            f"the tokenizer of {what} is a spiece.model, and the Python package 'sentencepiece' is not "
            f"installed. Install it with: {INSTALL}"
        )
    directory = local_directory(model_id)
    damaged = caused_by(JSONDecodeError, UnpicklingError, EOFError) or (
        "safetensor" in type(error).__name__.lower()
    )
    if directory is not None:
        if not (
            damaged or isinstance(error, OSError | ValueError | KeyError | TypeError | RuntimeError)
        ):
            return None
        return (
            f"the directory {directory} holds no readable checkpoint of this model "
            f"({_first_line(error)}). Write it again with save_pretrained, or download it with "
            f"`hf download ID --local-dir {directory}`; only safetensors weights are read"
        )
    if damaged:
        return (
            f"the cached files of {what} are damaged ({_first_line(error)}). Fetch them again with "
            f"`hf download {name} --force-download`"
        )
    if caused_by(hub.HFValidationError):
        return f"{name!r} is neither an existing directory nor a hub id of the form owner/name"
    if isinstance(error, ImportError | ValueError | KeyError) and not isinstance(error, OSError):
        return (
            f"the files of {what} cannot be read by the packages that are installed "
            f"({_first_line(error)}). Update them: {INSTALL}"
        )
    if isinstance(error, OSError):
        return (
            f"the weights of {what} are not on this machine and could not be fetched "
            f"({_first_line(error)}). Download them with `hf download {name}"
            f"{' --revision ' + model_id.revision if model_id.revision else ''}` where there is a "
            "network (unset HF_HUB_OFFLINE), or give a local directory"
        )
    return None


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200].rstrip(". ")


def to_uint8(images: Sequence[Any] | np.ndarray) -> np.ndarray:
    """(N, H, W, 3) uint8 of a pipeline's `output_type="np"` result in [0, 1]."""
    stacked = np.stack([np.asarray(image, np.float32) for image in images])
    return np.round(np.clip(np.nan_to_num(stacked), 0, 1) * 255).astype(np.uint8)
