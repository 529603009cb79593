"""Which models there are for each role, by name: ids, sizes, licences, and how each is made.

A model is made on its first use, from the id that is pinned here, or from what the user gives with
`--model ROLE=...`: a local directory, or `owner/name@revision` of the hub.
"""

import gc
import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hoijax.errors import UserError
from hoijax.io.validation import count_of, numbered
from priors.models.torch_runtime import TorchSettings
from priors.protocols import ModelId
from priors.settings import LanguageSettings

__all__ = ["CHOICES", "DEFAULTS", "Choice", "ModelChoices", "RegisteredModels"]


@dataclass(frozen=True)
class Choice:
    """One model of a role."""

    source: str
    """"module:class" in priors; imported on first use."""
    id: str
    """Hub id, or what is shown of a model without one."""
    revision: str | None = None
    """Pinned commit; None takes the hub's newest, and the provenance says so."""
    takes: str = "model_id"
    """How the class is given its weights: a "model_id" and a "runtime", as a "language" model, as a "body" recovery, or "none"."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Parameters of its networks, in 1e9, as published or counted on the meta device."""
    also: tuple[str, ...] = ()
    """Other hub ids whose weights it needs."""
    licence: str = ""
    needs: tuple[str, ...] = ()
    """Python packages beside torch, transformers and diffusers."""


_T5, _CLIP_L = 4.76, 0.12
CHOICES: dict[str, dict[str, Choice]] = {
    "language": {
        "openai": Choice(
            "priors.models.language_model:endpoint_from_environment",
            "",
            takes="language",
            licence="of the endpoint",
            needs=("openai",),
        ),
        "transformers": Choice(
            "priors.models.local_language_model:local_prior",
            "Qwen/Qwen3-8B",
            takes="language",
            parts={"decoder": 8.2},
            licence="Apache-2.0",
            needs=("xgrammar",),
        ),
        "rules": Choice(
            "priors.language.rules_model:RulesLanguage",
            "hoijax rules",
            takes="none",
            licence="Apache-2.0",
        ),
    },
    "image": {
        "flux": Choice(
            "priors.models.image_model:FluxImageModel",
            "black-forest-labs/FLUX.1-dev",
            parts={"transformer": 11.9, "T5": _T5, "CLIP": _CLIP_L, "VAE": 0.08},
            licence="FLUX.1-dev non-commercial (gated)",
        ),
        "flux-schnell": Choice(
            "priors.models.image_model:FluxImageModel",
            "black-forest-labs/FLUX.1-schnell",
            parts={"transformer": 11.9, "T5": _T5, "CLIP": _CLIP_L, "VAE": 0.08},
            licence="Apache-2.0",
        ),
    },
    "video": {
        "cogvideox": Choice(
            "priors.models.cogvideox:CogVideoX",
            "THUDM/CogVideoX-5b-I2V",
            parts={"transformer": 5.57, "T5": _T5, "VAE": 0.22},
            licence="CogVideoX licence",
        ),
        "framepack": Choice(
            "priors.models.framepack:FramePack",
            "lllyasviel/FramePackI2V_HY",
            parts={"transformer": 12.9, "Llama": 8.0, "CLIP": _CLIP_L, "SigLIP": 0.43, "VAE": 0.25},
            also=("hunyuanvideo-community/HunyuanVideo", "lllyasviel/flux_redux_bfl"),
            licence="Tencent Hunyuan community licence",
        ),
        "wan": Choice(
            "priors.models.wan:Wan",
            "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
            parts={"transformer": 16.4, "UMT5": 5.68, "CLIP-H": 0.63, "VAE": 0.13},
            licence="Apache-2.0",
        ),
    },
    "detector": {
        "grounding-dino": Choice(
            "priors.models.detection:GroundingDino",
            "IDEA-Research/grounding-dino-base",
            parts={"network": 0.23},
            licence="Apache-2.0",
        ),
        "vlm": Choice(
            "priors.models.language_model:vlm_detector",
            "",
            takes="language",
            licence="of the endpoint",
            needs=("openai",),
        ),
    },
    "segmenter": {
        "sam2": Choice(
            "priors.models.segmentation:Sam2Segmenter",
            "facebook/sam2.1-hiera-large",
            parts={"network": 0.22},
            licence="Apache-2.0",
        ),
    },
    "geometry": {
        "moge": Choice(
            "priors.models.moge:MoGe",
            "Ruicheng/moge-2-vitl",
            parts={"network": 0.33},
            licence="MIT",
        ),
        "depth-pro": Choice(
            "priors.models.depth:DepthPro",
            "apple/DepthPro-hf",
            parts={"network": 0.95},
            licence="Apple AMLR (research)",
        ),
        "depth-anything": Choice(
            "priors.models.depth:DepthAnything",
            "depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf",
            parts={"network": 0.34},
            licence="CC-BY-NC-4.0 (large)",
        ),
    },
    "keypoints": {
        "vitpose": Choice(
            "priors.models.keypoints:ViTPose",
            "usyd-community/vitpose-plus-huge",
            parts={"network": 0.9},
            licence="Apache-2.0",
        ),
        "blazepose": Choice(
            "priors.models.blazepose:BlazePose",
            "mediapipe==0.10.21",
            takes="none",
            parts={"network": 0.003},
            licence="Apache-2.0",
            needs=("mediapipe", "ai_edge_litert"),
        ),
    },
    "body": {
        "fit": Choice(
            "priors.models.human_recovery:FittedBody",
            "hoijax-body-fit",
            takes="body",
            licence="Apache-2.0",
        ),
        "gvhmr": Choice(
            "priors.models.human_recovery:Gvhmr",
            "ryanrudes/gvhmr",
            takes="body",
            parts={"GVHMR": 0.04, "HMR2": 0.67, "ViTPose-H": 0.64},
            licence="GVHMR: research, non-commercial; SMPL-X by registration",
            needs=("gvhmr",),
        ),
    },
    "score": {
        "none": Choice("", "", takes="none"),
        "clip": Choice(
            "priors.models.clip_scores:ClipScore",
            "openai/clip-vit-base-patch32",
            parts={"network": 0.15},
            licence="MIT",
        ),
        "vlm": Choice(
            "priors.models.language_model:endpoint_from_environment",
            "",
            takes="language",
            licence="of the endpoint",
            needs=("openai",),
        ),
    },
}
DEFAULTS = {role: next(iter(choices)) for role, choices in CHOICES.items()}


@dataclass(frozen=True)
class ModelChoices:
    """Which model every role uses; see `CHOICES`."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Choice by role; `DEFAULTS` where not named."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """By role: a local directory, or a hub id with "@revision"."""
    runtime: TorchSettings = field(default_factory=TorchSettings)
    language: LanguageSettings = field(default_factory=LanguageSettings)
    language_url: str | None = None
    body_file: str | None = None
    """The user's SMPL-X or SMPL-H file; GVHMR needs one, our own fit takes "anny" without."""

    def check(self) -> "ModelChoices":
        """These choices; UserError for roles, names and directories that are not there."""
        for role in (*self.names, *self.weights):
            if role not in CHOICES:
                raise UserError(f"no model role {role!r}. Roles: {', '.join(CHOICES)}.")
        for role, name in self.names.items():
            if name not in CHOICES[role]:
                raise UserError(
                    f"no {role} model {name!r}. Known: {', '.join(CHOICES[role])}. For other weights "
                    f"of one of them give --model {role}=DIRECTORY or {role}=owner/name@revision."
                )
        for role in self.weights:
            self.model_id(role)
        return self

    def choice(self, role: str) -> Choice:
        return CHOICES[role][self.names.get(role, DEFAULTS[role])]

    def model_id(self, role: str) -> ModelId:
        """The weights of a role: the user's, else the choice's."""
        choice = self.choice(role)
        given = self.weights.get(role)
        if given is None:
            return ModelId(choice.id, choice.revision)
        if choice.takes == "none" or (choice.takes == "body" and not choice.needs):
            raise UserError(
                f"--model {role}={given}: {self.names.get(role, DEFAULTS[role])} has no weights to "
                "choose."
            )
        path = Path(given).expanduser()
        if path.is_dir():
            return ModelId(str(path.absolute()))
        name, at, revision = given.partition("@")
        is_model_name = choice.takes == "language" and re.fullmatch(r"[\w.:/-]+", name)
        if not is_model_name and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise UserError(
                f"--model {role}={given}: there is no such directory, and it is no hub id of the "
                "form owner/name or owner/name@revision."
            )
        return ModelId(name, revision if at else None)


class RegisteredModels:
    """`priors.observe.stages.Models` of the registry: one model a role, made on first use.

    Making one loads no weights: models do that when they are first asked.
    """

    def __init__(self, choices: ModelChoices | None = None, store: Any = None):
        """store: where valid answers of language models are kept."""
        self.choices = (choices or ModelChoices()).check()
        self._store = store
        self._models: dict[str, Any] = {}

    def get(self, role: str) -> Any:
        """The model of a role, None for "none". UserError where what it needs is not installed."""
        choice = self.choices.choice(role)
        if not choice.source:
            return None
        if role not in self._models:
            self._models[role] = self._made(role, choice)
        return self._models[role]

    def release(self, roles: Sequence[str]) -> None:
        """Free the memory of these roles' models."""
        let_go = [self._models.pop(role) for role in roles if role in self._models]
        if not let_go:
            return
        del let_go
        torch = sys.modules.get("torch")
        if torch is not None:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def check_ready(self, roles: Sequence[str]) -> None:
        """UserError that lists every package, and without network all weights, that are not there."""
        from priors.models.doctor import lacks

        problems = []
        for role in roles:
            choice = self.choices.choice(role)
            if not choice.source:
                continue
            name = self.choices.names.get(role, DEFAULTS[role])
            said = lacks(choice, own_weights=role in self.choices.weights)
            try:
                self.get(role)
            except UserError as error:
                said.insert(0, str(error))
            problems += [f"{role} ({name}): {problem}" for problem in said]
        if problems:
            raise UserError(
                f"models are not ready, nothing was computed: {count_of(problems)}:\n"
                f"{numbered(problems)}\nSee `hoijax doctor`, or choose other models."
            )

    def _made(self, role: str, choice: Choice) -> Any:
        module, _, name = choice.source.partition(":")
        make = getattr(importlib.import_module(module), name)
        model_id, runtime = self.choices.model_id(role), self.choices.runtime
        if choice.takes == "language":
            url = self.choices.language_url
            return make(
                model_id, self.choices.language, url=url, store=self._store, runtime=runtime
            )
        if choice.takes == "body":
            return self._body(make, choice, model_id)
        if choice.takes == "none":
            return make()
        if choice.id.endswith("FLUX.1-schnell"):
            from priors.models.image_model import FluxSettings

            return make(model_id, FluxSettings.schnell(), runtime)
        return make(model_id, runtime=runtime)

    def _body(self, make: Any, choice: Choice, model_id: ModelId) -> Any:
        file = self.choices.body_file
        if not choice.needs:
            return make(file or "anny")
        if file is None:
            raise UserError(
                "--body gvhmr recovers SMPL-X bodies: give your SMPLX_NEUTRAL.npz with --body-file "
                "(free registration at https://smpl-x.is.tue.mpg.de), or use --body fit"
            )
        return make(file, model_id, self.choices.runtime)
