"""The models of a run: which one each role uses, and how it is made from the catalog.

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

from hoijax.errors import UserError, nearest_hint
from hoijax.io.validation import count_of, numbered
from hoijax.runtime import share_gpu
from priors.models.catalog import CHOICES, DEFAULTS, Choice
from priors.models.doctor import lacks
from priors.models.torch_runtime import TorchSettings
from priors.protocols import ModelId
from priors.settings import LanguageSettings

__all__ = ["ModelChoices", "RegisteredModels"]


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
                    f"no {role} model {name!r}.{nearest_hint(name, CHOICES[role])} Known: {', '.join(CHOICES[role])}. For other weights "
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
        if choice.takes in ("none", "body"):
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
    """`priors.observe.chain.Models` of the registry: one model a role, made on first use.

    Making one loads no weights: models do that when they are first asked.
    """

    def __init__(self, choices: ModelChoices | None = None, store: Any = None):
        """store: where valid answers of language models are kept."""
        share_gpu()  # in every process that will run models beside JAX
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
        problems = []
        for role in roles:
            choice = self.choices.choice(role)
            if not choice.source:
                continue
            name = self.choices.names.get(role, DEFAULTS[role])
            missing = lacks(choice, own_weights=role in self.choices.weights)
            try:
                model = self.get(role)
                if not missing and hasattr(model, "lacks"):
                    missing += model.lacks()
            except UserError as error:
                missing.insert(0, str(error))
            problems += [f"{role} ({name}): {problem}" for problem in missing]
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
        if choice.takes.endswith("body"):
            return self._body(make, choice, model_id)
        if choice.takes == "none":
            return make()
        if choice.id.endswith("FLUX.1-schnell"):
            from priors.models.image_model import FluxSettings

            return make(model_id, FluxSettings.schnell(), runtime)
        return make(model_id, runtime=runtime)

    def _body(self, make: Any, choice: Choice, model_id: ModelId) -> Any:
        file = self.choices.body_file
        if choice.takes == "body":
            return make(file or "anny")
        if choice.takes == "mesh body":
            return make(file or "anny", model_id, self.choices.runtime)
        if file is None:
            raise UserError(
                "--body gvhmr recovers SMPL-X bodies: give your SMPLX_NEUTRAL.npz with --body-file "
                "(free registration at https://smpl-x.is.tue.mpg.de), or use --body fit"
            )
        return make(file, model_id, self.choices.runtime)
