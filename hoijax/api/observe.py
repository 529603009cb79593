"""Sentences and meshes to observation bundles: by rules, or by the frozen models of `priors`."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.bundle.files import check_bundle_target
from hoijax.bundle.write import Bundle, GroundTruth, write_bundle
from hoijax.errors import UserError
from hoijax.objects.articulated.loading import is_articulated, load_articulated
from hoijax.objects.articulated.model import ArticulatedAsset, resting_extents
from hoijax.objects.asset import Asset, MeshScaleWarning
from hoijax.objects.specs import UnusualSizeWarning, load_objects, parse_object, sides_text
from hoijax.objects.usual_sizes import handling_remark, size_remark, usual_size_of
from hoijax.progress import Log, silent
from hoijax.runtime import enable_compilation_cache, share_gpu
from hoijax.work.folder import Shard
from hoijax.work.runner import Progress


def load_to_act_with(
    objects: Sequence[str | Path],
    scale: float,
    *,
    up: str | None = None,
    front: str | None = None,
    text: str = "",
    log: Log = silent,
) -> tuple[Asset, ...]:
    """Assets of a size that a person can act with: what only warns elsewhere is refused here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", MeshScaleWarning)
        try:
            return load_objects(objects, scale, up=up, front=front, text=text, log=log)
        except MeshScaleWarning as warning:
            raise UserError(str(warning)) from warning


def observe(
    text: str,
    objects: Sequence[Asset],
    *,
    graph: PartAffordanceGraph | None = None,
    frames: int = 49,
    seed: int = 0,
    log: Log = silent,
) -> tuple[Bundle, GroundTruth]:
    """Observations of a sentence by the no-weights prior, with the ground truth they were made from."""
    from priors.synthetic.from_text import observe_text  # priors are joined here only, and lazily

    return observe_text(text, objects, graph=graph, frames=frames, seed=seed, log=log)


def has_joints(objects: Sequence[str | Path]) -> bool:
    """Whether any item of --objects is an object with joints."""
    return any(is_articulated(parse_object(item).source) for item in objects)


def observe_articulated(
    text: str,
    objects: Sequence[str | Path],
    *,
    frames: int = 49,
    scale: float = 1.0,
    seed: int = 0,
    log: Log = silent,
) -> tuple[Bundle, GroundTruth]:
    """As `observe`, for one object with joints (a URDF file or a shipped one): its links are objects.

    Raises UserError for further objects or a scale: synthetic scenes have one such object, as it is.
    """
    from priors.synthetic import articulated_scenes

    if len(objects) != 1 or scale != 1.0:
        raise UserError(
            f"a synthetic scene has one object with joints, as large as its file says; got "
            f"{', '.join(map(str, objects))} and --scale {scale}."
        )
    spec = parse_object(objects[0])
    if spec.up or spec.front or spec.scale:
        raise UserError(f"--objects {spec}: an object with joints is taken as its file says.")
    model = load_articulated(spec.source, samples=4096)
    if spec.name:
        model = dataclasses.replace(model, name=spec.name)
    _say_size(model, log)
    return articulated_scenes.observe_articulated(text, model, frames=frames, seed=seed, log=log)[
        :2
    ]


def _say_size(model: ArticulatedAsset, log: Log) -> None:
    """How large an object is with its joints at rest, and what is unusual about that."""
    extents = resting_extents(model)
    log(f"{model.name}: {sides_text(extents)}, joints: {len(model.joints)}")
    usual, longest = usual_size_of(model.name), float(extents.max())
    remark = handling_remark(longest) if usual is None else size_remark(longest, usual)
    if remark:
        warnings.warn(f"{model.name}: {remark}.", UnusualSizeWarning, stacklevel=3)


def observe_by_models(
    text: str,
    objects: Sequence[Asset],
    stage_options: Mapping[str, Any],
    *,
    frames: int = 49,
    seed: int = 0,
    log: Log = silent,
) -> tuple[Bundle, bytes]:
    """Observations of a generated (or given) clip by frozen models, and the clip as an mp4.

    stage_options: fields of `priors.observe.run.ObserveOptions`, with `size` (height, width).
    """
    from priors.observe.run import observe_clip  # priors are joined here only, and lazily

    share_gpu()
    return observe_clip(text, objects, _observe_options(stage_options, frames, seed), log=log)


def check_observable(
    text: str,
    objects: Sequence[Asset],
    stage_options: Mapping[str, Any],
    *,
    frames: int = 49,
    seed: int = 0,
) -> None:
    """UserError for files that do not fit, and models that are not there, to observe a clip of an image
    that will be made: before it is made. objects: only their names are read."""
    from priors.observe.run import check_clip

    check_clip(text, objects, _observe_options(stage_options, frames, seed))


def _observe_options(stage_options: Mapping[str, Any], frames: int, seed: int):
    from priors.observe.run import ObserveOptions
    from priors.settings import ObserveSettings

    options = dict(stage_options)
    height, width = options.pop("size", (480, 720))
    settings = ObserveSettings(frames=frames, seed=seed, height=height, width=width)
    return ObserveOptions(settings.check(), **options)


def observe_to_folder(
    text: str,
    objects: Sequence[str | Path],
    out: str | Path,
    stage_options: Mapping[str, Any],
    *,
    prior: str = "diffusion",
    frames: int = 49,
    scale: float = 1.0,
    up: str | None = None,
    front: str | None = None,
    seed: int = 0,
    log: Log = silent,
) -> Path:
    """Sentence and meshes to an observation bundle on disk (`hoijax observe`); objects as `load_objects`."""
    check_bundle_target(Path(out))
    if prior == "rules" and has_joints(objects):
        enable_compilation_cache()
        bundle, ground_truth = observe_articulated(
            text, objects, frames=frames, scale=scale, seed=seed, log=log
        )
        return write_bundle(out, bundle, ground_truth)
    assets = load_to_act_with(objects, scale, up=up, front=front, text=text, log=log)
    enable_compilation_cache()
    if prior == "rules":
        given = stage_options.get("pag")
        graph = PartAffordanceGraph.from_json(given) if given else None
        bundle, ground_truth = observe(text, assets, graph=graph, frames=frames, seed=seed, log=log)
        return write_bundle(out, bundle, ground_truth)
    bundle, video = observe_by_models(
        text, assets, stage_options, frames=frames, seed=seed, log=log
    )
    return write_bundle(out, bundle, video=video)


def observe_pieces_to_folder(
    text: str,
    objects: Sequence[str | Path],
    out: str | Path,
    stage_options: Mapping[str, Any],
    seconds: float,
    *,
    scale: float = 1.0,
    up: str | None = None,
    front: str | None = None,
    seed: int = 0,
    log: Log = silent,
) -> list[Path]:
    """A long clip to a folder of bundles, one for every so many seconds (`hoijax observe --pieces`).

    Memory is that of one piece. Each bundle is named by the first frame of its piece; `hoijax solve` takes
    the folder. Raises UserError as `priors.observe.pieces.observe_pieces`; bundles of pieces before stay.
    """
    from priors.observe.pieces import observe_pieces  # priors are joined here only, and lazily

    out = Path(out)
    if out.suffix == ".zip" or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise UserError(
            f"{out}: --pieces writes a folder of bundles; give one that is new or empty."
        )
    assets = load_to_act_with(objects, scale, up=up, front=front, text=text, log=log)
    enable_compilation_cache()
    share_gpu()
    options = _observe_options(stage_options, 49, seed)  # all frames of a piece are read
    written = []
    for piece in observe_pieces(text, assets, options, seconds, log=log):
        target = out / f"frame_{piece.begin:06d}"
        written.append(write_bundle(target, piece.bundle, video=piece.video))
        log(f"wrote {target}")
    return written


def observe_prompts(
    prompts: Path,
    out: Path,
    stage_options: Mapping[str, Any],
    *,
    frames: int = 49,
    scale: float = 1.0,
    up: str | None = None,
    front: str | None = None,
    seed: int = 0,
    cluster: str | None = None,
    shard: Shard = (0, 1),
    log: Log = silent,
) -> Progress:
    """Bundles of many scenes (`hoijax observe --prompts`): how many there are, failures by id."""
    from priors.observe.many_scenes import observe_many

    enable_compilation_cache()
    options = _observe_options(stage_options, frames, seed)
    axes = {"scale": scale, "up": up, "front": front}
    return observe_many(prompts, out, options, axes=axes, cluster=cluster, shard=shard, log=log)


def prior_report() -> dict[str, str]:
    """What `hoijax doctor` says of the frozen priors."""
    from priors.models.doctor import report

    return report()
