"""The chain of stages of one request: each looked up in the store before it is computed."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from hoijax.bundle.bundle import Bundle
from hoijax.bundle.observations import Observations
from hoijax.bundle.schema import Provenance
from hoijax.errors import UserError
from hoijax.progress import Log, finished, silent
from priors.observe.request_checks import check_all_are_found, check_memory, checked_request
from priors.observe.stage_inputs import Content, Inputs
from priors.observe.stages import MAKER, STAGE_NAMES, STAGES, Stage
from priors.protocols import Video
from priors.settings import ObserveSettings, Request
from priors.store import Entry, Store, content_key, model_identity, plain

__all__ = ["Models", "Run", "observe", "unneeded_after"]


@runtime_checkable
class Models(Protocol):
    """Where stages get their models from."""

    def get(self, role: str) -> Any:
        """The model of a role; cheap, weights are loaded at its first use. None: role not used."""
        ...

    def release(self, roles: Sequence[str]) -> None:
        """These roles are not needed any more: their memory may be freed."""
        ...

    def check_ready(self, roles: Sequence[str]) -> None:
        """UserError, with everything that is missing for these roles, before the first is used."""
        ...


class Run:
    """The stages of one request, each looked up in the store before it is computed."""

    def __init__(
        self,
        request: Request,
        settings: ObserveSettings,
        models: Models,
        store: Store,
        *,
        restart: str | None = None,
        log: Log = silent,
    ):
        """restart: name of a stage to compute again although its result is stored.

        Raises UserError for an unknown stage, and for files that do not fit each other.
        """
        if restart is not None and restart not in STAGE_NAMES:
            raise UserError(f"--from: no stage {restart!r}. Stages: {', '.join(STAGE_NAMES)}.")
        self.settings, self.models = settings.check(), models
        self.store, self.restart, self.log = store, restart, log
        self.request = checked_request(request, settings, log)
        self.digests: dict[str, str] = {}
        self.made_by: dict[str, Any] = {}
        self._keys: dict[str, str] = {}
        self._checked = False
        self._entries: dict[str, Entry] = {}

    def advance(self, stage: Stage) -> None:
        """Compute one stage, or find it in the store. UserError names the stage."""
        if stage.skipped(self.request):
            return
        given = stage.given(self.request)
        identity = self._identity(stage, given)
        inputs = {name: self.digests[name] for name in stage.needs if name in self.digests}
        key = content_key(stage.name, stage.version, inputs, identity)
        again = stage.name == self.restart
        digest = None if again else self.store.digest(stage.name, key)
        if digest is None:
            begun = time.perf_counter()
            content = given or self._compute(stage)
            entry = self.store.put(
                stage.name,
                key,
                *content,
                made_by=identity,
                seconds=time.perf_counter() - begun,
                replace=again,
            )
            self._entries[stage.name], digest = entry, entry.digest
            if given:
                self.log(f"{stage.name}: from your file")
            else:
                finished(self.log, stage.name, entry.seconds)
        else:
            self.log(f"{stage.name}: found in the cache")
        self._keys[stage.name], self.digests[stage.name] = key, digest
        self.made_by[stage.name] = identity

    def forget(self) -> None:
        """Free the memory of all results; what is needed is read from the store again."""
        self._entries.clear()

    def _entry(self, name: str) -> Entry:
        """The result of a finished stage; computed again where the stored one turns out damaged."""
        if name not in self._entries:
            entry = self.store.get(name, self._keys[name])
            if entry is None:
                self.advance(next(stage for stage in STAGES if stage.name == name))
                return self._entry(name)
            self._entries[name] = entry
        return self._entries[name]

    def _inputs(self, names: Sequence[str], models: Mapping[str, Any]) -> Inputs:
        entries = {name: self._entry(name) for name in names if name in self._keys}
        return Inputs(self.request, self.settings, models, entries, self.log)

    def _identity(self, stage: Stage, given: Content | None) -> dict[str, Any]:
        """What a result is made from, beside earlier results: in its key and in the provenance."""
        if given is not None:
            return {"given": content_key(*given)}
        models = {role: self._model(role) for role in stage.roles}
        return {
            "request": content_key(stage.asked(self.request)),
            "settings": plain({n: getattr(self.settings, n) for n in stage.settings}),
            "models": {r: model_identity(m) for r, m in models.items() if m is not None},
        }

    def _compute(self, stage: Stage) -> Content:
        self._check_models(stage)
        self.log(f"{stage.name}: computing the {stage.title}")
        try:
            models = {role: self._model(role) for role in stage.roles}
            return stage.compute(self._inputs(stage.needs, models))
        except UserError as error:
            reason = str(error).removeprefix(f"{stage.name}: ")
            raise UserError(f"stage '{stage.name}': {reason}{self._kept()}") from error
        except MemoryError as error:
            raise UserError(
                f"stage '{stage.name}': out of memory. Ask for fewer --frames or a smaller "
                f"image, or use --memory sequential.{self._kept()}"
            ) from error

    def _model(self, role: str) -> Any:
        """The user's file in place of a role's model, else the model."""
        return self.request.sources.get(role) or self.models.get(role)

    def _check_models(self, first: Stage) -> None:
        """What the last stage lacks is said before the first one has worked for an hour."""
        if not self._checked:
            self.check_models(STAGES[STAGES.index(first) :])
        self._checked = True

    def check_models(self, stages: Sequence[Stage]) -> None:
        """UserError for what the models of these stages lack, all at once."""
        stages = [s for s in stages if not s.skipped(self.request)]
        working = [stage for stage in stages if stage.given(self.request) is None]
        roles = [role for stage in working for role in stage.roles]
        roles = [role for role in roles if role not in self.request.sources]
        self.models.check_ready(tuple(dict.fromkeys(roles)))
        if any(stage.name == "body" for stage in working):
            clip, settings = self.request.video, self.settings
            size = (settings.height, settings.width) if clip is None else clip.frames.shape[1:3]
            check_memory(settings.frames, size, self._model("body"))
        if any(stage.name == "masks" for stage in working):
            check_all_are_found(self.request, self._model("detector"))

    def _kept(self) -> str:
        if not self._keys:
            return ""
        return (
            f"\nFinished stages are kept ({', '.join(self._keys)}, in {self.store.root}): the "
            "same command resumes there."
        )

    def video(self) -> Video:
        """The clip, once its stage is done."""
        return self._inputs(["video"], {}).video()

    def bundle(self) -> Bundle:
        """The bundle, once every stage is done."""
        inputs = self._inputs(["pag", "parts", "video", "body", "bundle", "yaws"], {})
        entry = inputs.entries["bundle"]
        graph = inputs.graph()
        return Bundle(
            prompt=self.request.text,
            fps=float(inputs.video().fps),
            affordance=graph,
            assets=inputs.assets(),
            bodies=(inputs.entries["body"].value["body"],) * len(graph.people),
            observations=Observations(**entry.arrays),
            provenance=self._provenance(),
            absent=tuple((entry.value or {}).get("absent", ())),
            proposed_yaws=_proposed_yaws(inputs.entries.get("yaws")),
        )

    def _provenance(self) -> dict[str, Provenance]:
        seed = self.settings.seed
        by_array = {
            key: _provenance(self.made_by[stage], stage, seed) for key, stage in MAKER.items()
        }
        by_array["*"] = Provenance(
            model="hoijax priors", revision="1", settings={"stages": self.made_by}, seed=seed
        )
        return by_array


def _proposed_yaws(entry: Entry | None) -> dict[str, tuple[float, ...]]:
    by_object = {} if entry is None else entry.value["yaws"]
    return {name: tuple(yaws) for name, yaws in by_object.items() if yaws}


def _provenance(made_by: Mapping[str, Any], stage: str, seed: int) -> Provenance:
    """Of the last model of a stage: the one that writes its arrays."""
    models = made_by.get("models", {})
    if not models:
        return Provenance(
            model="given by the user", revision=made_by.get("given", "")[:16], settings={}
        )
    model = list(models.values())[-1]
    return Provenance(
        model=model["name"],
        revision=model["revision"] or "unpinned",
        settings={"stage": stage, "class": model["class"], "settings": model["settings"]},
        seed=seed,
    )


def observe(
    request: Request,
    settings: ObserveSettings,
    models: Models,
    store: Store,
    *,
    restart: str | None = None,
    log: Log = silent,
) -> tuple[Bundle, Run]:
    """All stages of one request; the bundle and the run it came from."""
    run = Run(request, settings, models, store, restart=restart, log=log)
    for number, stage in enumerate(STAGES):
        run.advance(stage)
        models.release(unneeded_after(number))
    return run.bundle(), run


LET_GO_EARLY = ("language",)
"""Used by the first and the last stage: in between, its memory belongs to the image and the video."""


def unneeded_after(number: int) -> tuple[str, ...]:
    """Roles of stages up to this one that no later stage uses, or none soon."""
    later = {role for stage in STAGES[number + 1 :] for role in stage.roles} - set(LET_GO_EARLY)
    return tuple(dict.fromkeys(r for s in STAGES[: number + 1] for r in s.roles if r not in later))
