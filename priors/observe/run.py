"""From what a user types to a bundle: files, model choices and settings become a run of the stages."""

import dataclasses
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import Int
from numpy import ndarray

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.bundle.bundle import Bundle
from hoijax.errors import UserError
from hoijax.importers.intrinsics import read_intrinsics
from hoijax.io.clip_intake import parse_seconds, read_clip
from hoijax.io.repeated_frames import without_repeats
from hoijax.io.shots import check_one_shot
from hoijax.io.video import Video
from hoijax.objects.asset import Asset
from hoijax.progress import Log, silent
from priors.models.body_from_file import FileBody
from priors.models.camera_shake import with_static_camera
from priors.models.catalog import CHOICES, DEFAULTS, PRESETS
from priors.models.fitted_body import FittedBody
from priors.models.registry import ModelChoices, RegisteredModels
from priors.models.torch_runtime import torch_settings
from priors.observe.chain import Models, Run, observe
from priors.observe.hints import check_hints, parse_hints, steadied_hint
from priors.observe.request_checks import check_memory
from priors.observe.stages import STAGES
from priors.observe.user_files import (
    camera_of,
    encode_video,
    masks_of,
    read_image,
    read_masks,
    read_source,
)
from priors.protocols import WHOLE_FILE, ClipOrigin, Hint
from priors.settings import LanguageSettings, ObserveSettings, Request
from priors.store import Store, default_store

__all__ = ["ObserveOptions", "SeenClip", "check_clip", "observe_clip", "observe_seen"]

LOCAL = "local:"
FROM_FILES = ("keypoints", "body")
"""Roles whose flag takes the name of a model or the path of a file."""
COORDINATES = ("auto", "thousandths", "pixels")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(@\w+)?")


@dataclass(frozen=True)
class SeenClip:
    """The user's clip as it is observed; None: there is none."""

    video: Video | None
    hints: tuple[Hint, ...]
    """In its pixels."""
    origin: ClipOrigin = WHOLE_FILE
    numbers: Int[ndarray, " T"] | None = None
    """Of the frames, in the clip's file, where files have an entry for each and not all are read."""


@dataclass(frozen=True)
class ObserveOptions:
    """What the command line says about the stages, in its own words."""

    settings: ObserveSettings = field(default_factory=ObserveSettings)
    pag: Path | None = None
    image: Path | None = None
    video: Path | None = None
    masks: Path | None = None
    hints: Sequence[str | Hint] = ()
    """OBJECT=FRAME:x,y[,width,height], or files of hints; see `priors.observe.hints`."""
    seconds: str | None = None
    """START:END of the clip, in seconds; all of it by default."""
    camera: str = "auto"
    """"auto" tests whether the clip's camera stands still, "static" takes it as standing."""
    prior: str = "diffusion"
    """Which models are the default: see `priors.models.catalog.PRESETS`."""
    whole_clip: bool = False
    """All frames of `video`, whatever `settings.frames` says."""
    points: Path | None = None
    intrinsics: str | None = None
    """Numbers or a file: see `hoijax.importers.intrinsics`."""
    restart: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """Choice of model by role; for keypoints and body a path is the user's file."""
    weights: Sequence[str] = ()
    """ROLE=DIRECTORY or ROLE=owner/name@revision."""
    language_url: str | None = None
    box_coordinates: str = "auto"
    """Of `--detector vlm`: see `LanguageSettings.coordinates`."""
    body_file: str | None = None
    device: str = "auto"
    memory: str = "model"
    precision: str = "auto"
    cache: Path | None = None

    def choices(self) -> ModelChoices:
        """The models; UserError for what is unknown."""
        runtime = torch_settings(self.device, self.precision, self.memory)
        if self.box_coordinates not in COORDINATES:
            raise UserError(
                f"--box-coordinates must be one of {', '.join(COORDINATES)}, got "
                f"{self.box_coordinates!r}."
            )
        weights = {}
        for item in self.weights:
            role, equals, value = item.partition("=")
            if not equals or not value or role not in CHOICES:
                raise UserError(
                    f"--model: cannot read {item!r}. Write ROLE=DIRECTORY or "
                    f"ROLE=owner/name@revision; the roles are {', '.join(CHOICES)}."
                )
            weights[role] = value
        names = PRESETS[self.prior] | dict(self.names)
        names = {role: name for role, name in names.items() if role not in self.files()}
        names = _without_local(names, weights)
        return ModelChoices(
            names,
            weights,
            runtime,
            LanguageSettings(coordinates=self.box_coordinates),  # type: ignore[arg-type]
            language_url=self.language_url,
            body_file=self.body_file,
        ).check()

    def files(self) -> dict[str, Path]:
        """Files in place of models, by role: a name that is no model of the role but a path."""
        named = {
            role: Path(name)
            for role, name in self.names.items()
            if role in FROM_FILES and name not in CHOICES[role] and Path(name).exists()
        }
        return named | ({} if self.points is None else {"geometry": self.points})

    def request(
        self, text: str, assets: Sequence[Asset], log: Log = silent, seen: "SeenClip | None" = None
    ) -> Request:
        """The request with the user's files read. seen: the clip, where it is read already."""
        if self.prior == "packaged" and self.video is None:
            raise UserError("--prior packaged reads a clip of yours: give --video.")
        seen = seen or self.seen_clip(log)
        video, hints, scale = seen.video, seen.hints, seen.origin.scale
        pag = None if self.pag is None else PartAffordanceGraph.from_json(self.pag)
        people = None if pag is None else len(pag.people)
        objects = [asset.name for asset in assets]
        files = self.files().items()
        sources = {role: read_source(role, path, self.body_file, log) for role, path in files}
        if video is not None and isinstance(sources.get("body"), FileBody):
            numbers = seen.numbers
            step = 1 if numbers is None else int(numbers[1] - numbers[0])
            sources["body"].played_at(step * video.fps, log)
        intrinsics = None if self.intrinsics is None else read_intrinsics(self.intrinsics)
        masks = None if self.masks is None else read_masks(self.masks, objects, people, log)
        if seen.numbers is not None:
            masks = masks and masks_of(masks, self.masks, seen.numbers, log)
            intrinsics = intrinsics and camera_of(intrinsics, seen.numbers, log)
            for source in sources.values():
                source.of_frames(seen.numbers, log)
        if video is not None and scale < 1:  # files are in the pixels of the file
            height, width = (round(side / scale) for side in video.frames.shape[1:3])
            intrinsics = intrinsics and intrinsics.measured_at((width, height))
            for source in sources.values():
                source.measured_at((width, height), scale)
        if intrinsics is None and "geometry" not in sources and "body" in sources:
            intrinsics = sources["body"].intrinsics
            if intrinsics is not None:
                log(f"intrinsics: those of {intrinsics.source}")
        return Request(
            text,
            tuple(assets),
            pag=pag,
            image=None if self.image is None else read_image(self.image),
            video=video,
            masks=masks,
            hints=hints,
            origin=seen.origin,
            intrinsics=intrinsics,
            sources=sources,
        )

    def seen_clip(self, log: Log = silent, every_frame: bool = False) -> "SeenClip":
        """The clip as it is observed, steadied where its camera shakes, with the hints in its pixels.

        Frames that repeat others regularly are left out, unless files have an entry for each or `every_frame`.
        """
        hints = parse_hints(self.hints)
        if self.video is None:
            return SeenClip(None, hints)
        names = PRESETS[self.prior] | dict(self.names)
        fitted = names.get("body", DEFAULTS["body"]) == "fit" and "body" not in self.files()
        beside = [self.masks, self.points, self.intrinsics, *self.files()]
        bound = any(item is not None for item in beside)
        by_frame = self.masks is not None or bool(self.files())
        span = None if self.seconds is None else parse_seconds(self.seconds)
        clip = read_clip(
            self.video,
            frames=None if self.whole_clip else self.settings.frames,
            seconds=span,
            numbered=bound,
            admit=(lambda count, size: check_memory(count, size, FittedBody)) if fitted else None,
            log=log,
        )
        if self.camera != "static":
            check_one_shot(clip.video, 0.0 if span is None else span[0])
        part = span is not None or clip.resampled
        if by_frame and part and clip.numbers is None:
            raise UserError(
                "masks, points, keypoints and bodies of files are one for each frame of the clip, but the frames "
                f"of {self.video} come at uneven times. Convert it first, and run what made the files on that: "
                f"ffmpeg -i {self.video} -r 25 out.mp4"
            )
        if hints and (self.seconds is not None or clip.resampled):
            log(
                f"hints: their frames are counted in what is read, {clip.video.fps:.4g} a second, from 0"
            )
        height, width = (round(side / clip.scale) for side in clip.video.frames.shape[1:3])
        check_hints(hints, None, len(clip.video.frames), height, width)
        video, footage = without_repeats(clip.video, keep=every_frame or by_frame, log=log)
        hints = tuple(dataclasses.replace(h, frame=footage.position(h.frame)) for h in hints)
        frames, motions = with_static_camera(
            video.frames, self.camera, bound_to_pixels=bound, log=log
        )
        hints = tuple(hint.scaled(clip.scale) for hint in hints)
        if motions is not None:
            hints = tuple(steadied_hint(hint, motions) for hint in hints)
        origin = ClipOrigin(clip.scale, motions, footage.frames)
        return SeenClip(Video(frames, video.fps), hints, origin, clip.numbers if part else None)

    def settings_of(self, request: Request) -> ObserveSettings:
        """The settings, of as many frames as the request's whole clip has."""
        if not self.whole_clip or request.video is None:
            return self.settings
        return dataclasses.replace(self.settings, frames=len(request.video.frames)).check()

    def store(self) -> Store:
        return Store(self.cache or default_store())


def _without_local(names: dict[str, str], weights: dict[str, str]) -> dict[str, str]:
    """The names, with `local:WEIGHTS` of the language role as transformers with those weights."""
    name = names.get("language", "")
    given = name.removeprefix(LOCAL)
    if given == name:
        return names
    if "language" in weights:
        raise UserError(
            f"--language {name} and --model language={weights['language']} name two models. Omit one."
        )
    folder = Path(given).expanduser()
    if given and folder.is_dir() and not (folder / "config.json").is_file():
        raise UserError(
            f"--language {name}: the folder holds no config.json. Give one that `save_pretrained` wrote, "
            "or that `hf download` filled with --local-dir."
        )
    if not given or not (folder.is_dir() or HUB_ID.fullmatch(given)):
        raise UserError(
            f"--language {name}: there is no such folder. Write local:DIRECTORY, or "
            "local:owner/name@revision for a model of the hub."
        )
    weights["language"] = given
    return {**names, "language": "transformers"}


CLIP_STAGES = ("video", "masks", "points", "keypoints", "body")
"""What follows an image and a graph that are there."""


def check_clip(
    text: str, assets: Sequence[Asset], options: ObserveOptions, *, models: Models | None = None
) -> None:
    """UserError for files that do not fit, and for what the models of an image's clip lack.

    For work that comes before `observe_clip`, and makes the image and the graph.
    """
    request, store = options.request(text, assets), options.store()
    models = models or RegisteredModels(options.choices(), store)
    run = Run(request, options.settings_of(request), models, store)
    run.check_models([stage for stage in STAGES if stage.name in CLIP_STAGES])


def observe_clip(
    text: str,
    assets: Sequence[Asset],
    options: ObserveOptions,
    *,
    models: Models | None = None,
    log: Log = silent,
) -> tuple[Bundle, bytes]:
    """The bundle of a sentence by the models, and its clip as an mp4.

    models: your own, in place of those that the options name.
    """
    return observe_seen(text, assets, options, options.seen_clip(log), models=models, log=log)


def observe_seen(
    text: str,
    assets: Sequence[Asset],
    options: ObserveOptions,
    seen: SeenClip,
    *,
    models: Models | None = None,
    log: Log = silent,
) -> tuple[Bundle, bytes]:
    """As `observe_clip`, of a clip that is read already."""
    request, store = options.request(text, assets, log, seen), options.store()
    models = models or RegisteredModels(options.choices(), store)
    settings = options.settings_of(request)
    bundle, run = observe(request, settings, models, store, restart=options.restart, log=log)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        encode_video(run.video(), path)
        return bundle, path.read_bytes()
