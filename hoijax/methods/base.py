"""What a method is: presets, typed settings, terms, preparation, passes, result; and which ones there are.

Solve, batches over scenes, sweeps, the viewer and the command line read this protocol alone. A new
method is a folder (or one file) and one line in METHODS, see docs/contributing.md.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from hoijax.bundle.write import Bundle
from hoijax.errors import UserError, nearest_hint
from hoijax.losses.term import LossTerm, default_weights, weight_names
from hoijax.methods.passes import Lap, Numbers, Overrides, Pass, Prepared, Rates
from hoijax.progress import Log
from hoijax.results.result import Result
from hoijax.settings import DEFAULT_METHOD, SceneSettings
from hoijax.solver.problem import Solution
from hoijax.solver.resumable import Watch

METHODS: dict[str, str] = {
    "joint": "hoijax.methods.joint.method:METHOD",
    "hoi-page": "hoijax.methods.hoi_page.method:METHOD",
    "anchor-motion": "hoijax.methods.anchor_motion.method:METHOD",
}
"""Name to "module:attribute"; a module is imported when its method is first asked for."""
ALIASES = {"anchorhoi": "anchor-motion"}
"""Other names; AnchorHOI is the paper whose motion stage anchor motion is."""

Settings = TypeVar("Settings", bound=SceneSettings)


class Method(Generic[Settings]):
    """A method. Subclass it, and name an instance of the subclass in METHODS."""

    name: ClassVar[str]
    presets: Mapping[str, Settings]
    """Named settings; the one called "default" is taken where none is named."""
    published: ClassVar[str] = "default"
    """Preset with the paper's own numbers: what an ablation starts from."""
    renamed: ClassVar[Mapping[str, str | None]] = {}
    """Settings in old result folders that have another name today; None: those that are gone."""
    files: ClassVar[tuple[str, ...]] = ()
    """Settings that name files, on whose content a result depends."""

    # --- to write ---

    def terms(self, settings: Settings) -> tuple[LossTerm, ...]:
        """Every term that a scene may have under these settings."""
        raise NotImplementedError

    def prepare(
        self, bundle: Bundle, settings: Settings, terms: Sequence[LossTerm], lap: Lap
    ) -> Prepared:
        """Scene and starts. terms: the user's own. Raises UserError where the bundle does not fit."""
        raise NotImplementedError

    def passes(self, settings: Settings) -> tuple[Pass, ...]:
        """The optimizations, in order."""
        raise NotImplementedError

    def result(self, prepared: Prepared, solution: Solution) -> Result:
        """Poses in the assets' own frames; `run` is filled in by who called."""
        raise NotImplementedError

    # --- to extend where there is more to say ---

    def check(self, settings: Settings) -> None:
        """Raises UserError for settings that make no sense, before any work."""
        for field in dataclasses.fields(settings):
            value = getattr(settings, field.name)
            counts = field.name in ("inits", "points") or field.name.endswith("steps")
            if counts and (not isinstance(value, int) or value < 1):
                raise UserError(f"--{flag_of(field.name)} must be at least 1, got {value}.")

    def rates(self, settings: Settings) -> Rates:
        """Learning rates, which a sweep may vary: what `passes` hands to its optimizers."""
        names = option_names(settings)
        return {name: getattr(settings, name) for name in RATES if name in names}

    def window(self, bundle: Bundle, settings: Settings, asked: int | None, log: Log) -> int:
        """Frames that are solved at once: as asked, or as many as fit the memory."""
        return bundle.frame_count

    def check_window(self, settings: Settings, window: int) -> None:
        """Raises UserError where a clip cannot be solved in windows of so many frames."""
        raise UserError(
            f"--window: the method {self.name} solves whole clips. Omit --window, or take --method "
            "hoi-page."
        )

    def solve_windows(
        self,
        bundle: Bundle,
        settings: Settings,
        window: int,
        *,
        weights: Overrides | None,
        terms: Sequence[LossTerm],
        log: Log,
        watch: Callable[[str], Watch | None],
    ) -> Result:
        """A long clip in overlapping windows; only called where `window` or `check_window` allow it."""
        raise NotImplementedError

    def reopen(self, bundle: Bundle, result: Result, settings: Settings) -> Prepared:
        """What the last pass reads, its candidates where `result` has them.

        Raises UserError where the method cannot be continued from a result.
        """
        raise UserError(f"results of the method {self.name} cannot be solved again from here.")

    def moved(self, prepared: Prepared, result: Result) -> Prepared:
        """The same scene with its candidates where another result of it has them."""
        raise NotImplementedError

    # --- as it is ---

    def settings(self, preset: str | None = None, **options: Any) -> Settings:
        """A preset with some options changed, checked; None changes nothing.

        Raises UserError for an unknown preset or option, with the remedy.
        """
        preset = preset or "default"
        if preset not in self.presets:
            known = ", ".join(self.presets)
            raise UserError(
                f"no preset '{preset}' of the method {self.name}.{nearest_hint(preset, self.presets)} "
                f"Known presets: {known}."
            )
        base = self.presets[preset]
        given = {name: value for name, value in options.items() if value is not None}
        for name in given:
            if name not in option_names(base):
                raise UserError(self._misplaced(name, option_names(base)))
        return self.checked(dataclasses.replace(base, **given))

    def checked(self, settings: Settings) -> Settings:
        """The same settings, paths as text. Raises UserError where they are none of this method."""
        expected = type(self.presets["default"])
        if not isinstance(settings, expected):
            raise UserError(
                f"the method {self.name} takes {expected.__name__}, not {type(settings).__name__}."
            )
        paths = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
        paths = {name: str(value) for name, value in paths.items() if isinstance(value, Path)}
        settings = dataclasses.replace(settings, **paths)
        self.check(settings)
        return settings

    def stored(self, content: Mapping[str, Any] | None) -> Settings:
        """Settings as a result folder has them, of this version or an older one.

        Raises UserError where they cannot be read.
        """
        base, old = self.presets["default"], self.renamed
        try:
            given: dict[str, Any] = {old.get(n, n) or "": x for n, x in dict(content or ()).items()}
            given.pop("", None)
            if not given:
                raise TypeError("no settings")
            for field in dataclasses.fields(base):
                value = getattr(base, field.name)
                if field.name in given:
                    given[field.name] = _as(value, given[field.name])
            return type(base)(**given)
        except TypeError as error:
            raise UserError(
                "run.json has no settings of this version of hoijax: solve the bundle again."
            ) from error

    def check_weights(
        self, settings: Settings, weights: Overrides | None, terms: Sequence[LossTerm] = ()
    ) -> None:
        """Refuse weights of terms that do not exist. Raises UserError naming the known ones."""
        try:
            default_weights((*self.terms(settings), *terms), weights)
        except KeyError as error:
            raise UserError(str(error.args[0])) from error

    def numbers(
        self, settings: Settings, terms: Sequence[LossTerm], weights: Overrides | None = None
    ) -> Numbers:
        """Numbers of a scene with these terms; weights of terms that it lacks are left out."""
        names = set(weight_names(terms))
        known = {name: value for name, value in (weights or {}).items() if name in names}
        return Numbers(default_weights(terms, known), self.rates(settings))

    def _misplaced(self, name: str, known: Sequence[str]) -> str:
        others = [other for other in METHODS if name in options_of(other)]
        if others:
            return (
                f"--{flag_of(name)} is for --method {' or '.join(others)}, not for {self.name}: "
                "omit it, or take that method."
            )
        meant = nearest_hint(name, known, 0.5)
        return f"the method {self.name} has no option '{name}'.{meant} Known: {', '.join(known)}."


RATES = ("learning_rate", "final_learning_rate")


def flag_of(name: str) -> str:
    """An option as the command line writes it, without the dashes."""
    return name.replace("_", "-")


def option_names(settings: SceneSettings) -> list[str]:
    """What `Method.settings` can be told beside the preset."""
    return [field.name for field in dataclasses.fields(settings) if field.name != "preset"]


def options_of(name: str) -> list[str]:
    """Options of a method by its name."""
    return option_names(method_named(name).presets["default"])


def method_for(name: "str | Method | None", settings: SceneSettings | None = None) -> Method:
    """The method of a name; where none is named, the one whose settings these are, or the default."""
    if name is not None or settings is None:
        return method_named(name or DEFAULT_METHOD)
    methods = (method_named(known) for known in METHODS)
    owners = (one for one in methods if type(one.presets["default"]) is type(settings))
    return next(owners, method_named(DEFAULT_METHOD))


def method_named(name: "str | Method") -> Method:
    """The method of a name or an alias; a Method itself stays. UserError listing the known ones."""
    if isinstance(name, Method):
        return name
    name = ALIASES.get(name, name)
    if name not in METHODS:
        hint = nearest_hint(name, [*METHODS, *ALIASES])
        raise UserError(f"no method '{name}'.{hint} Known methods: {', '.join(METHODS)}.")
    module, _, attribute = METHODS[name].partition(":")
    return getattr(import_module(module), attribute)


def _as(default: Any, stored: Any) -> Any:
    """What a setting with this default was before JSON made mappings and lists of it."""
    if isinstance(default, tuple) and isinstance(stored, list):
        return tuple(stored)
    if not dataclasses.is_dataclass(default):
        return stored
    names = {field.name for field in dataclasses.fields(default)}
    kept = {n: _as(getattr(default, n), x) if n in names else x for n, x in stored.items()}
    return type(default)(**kept)
