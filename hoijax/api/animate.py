"""A static scene set in motion: `hoijax generate TEXT --method anchorhoi`, AnchorHOI's two stages in a row.

The scene is composed from words first, or is one that is there. Its image goes to the video model, its
contacts are the contact keypoints of the solve.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hoijax.api.compose import ComposeOptions, compose_to_folder, placeholder
from hoijax.api.observe import check_observable, observe, observe_by_models
from hoijax.api.result_folder import write_results
from hoijax.api.solve import solve
from hoijax.composition.still_image import FIELD_OF_VIEW, still_image
from hoijax.errors import UserError
from hoijax.io.atomic import check_output, output_folder
from hoijax.progress import Log, silent
from hoijax.results.result import Result, load_result

__all__ = ["generate_composed"]

MIN_FRAMES = 12
"""Of a motion by rules."""
IMAGE = "image.png"


def generate_composed(
    text: str,
    out: str | Path,
    options: ComposeOptions | None = None,
    *,
    static: str | Path | None = None,
    stage_options: Mapping[str, Any] | None = None,
    frames: int = 49,
    inits: int | None = None,
    physics: bool = True,
    log: Log = silent,
) -> tuple[Result, list[dict[str, float]]]:
    """Compose a sentence, then set it in motion; the result and its metrics.

    The static scene goes to OUT_still; its object is what the clip is observed with, and its contacts are
    what anchor motion keeps. static: a scene that is there, in place of one that is composed; so is one
    already in OUT_still.

    stage_options: None moves by rules; else see `observe_by_models`: a video model continues the static
    scene's image, OUT_still/image.png, unless an image or a clip of the user's is named there. What models
    and files lack is refused before anything is composed.
    """
    options = options or ComposeOptions(guidance="closed-form")
    out = check_output(out)
    if stage_options is None and frames < MIN_FRAMES:
        raise UserError(f"--frames must be at least {MIN_FRAMES}, got {frames}.")
    still = out.absolute().with_name(out.name + "_still") if static is None else Path(static)
    composed = static is not None or (still / "run.json").is_file()
    if stage_options is not None:
        names = [a.name for a in _static_scene(still, text).assets] if composed else [_noun(text)]
        assets = [placeholder(name) for name in names]
        check_observable(text, assets, stage_options, frames=frames, seed=options.seed)
    if not composed:
        compose_to_folder(text, still, options, log=log)
    scene = _static_scene(still, text)
    clip, ground_truth = None, None
    given = {"frames": frames, "seed": options.seed, "log": log}
    if stage_options is None:
        bundle, ground_truth = observe(text, scene.assets, **given)
    else:
        stages = stages_from(still, stage_options, log)
        bundle, clip = observe_by_models(text, scene.assets, stages, **given)
    chosen = {"static": str(still), "inits": inits, "seed": options.seed}
    result = solve(bundle, method="anchor-motion", log=log, **chosen)
    with output_folder(out) as folder:
        return write_results(result, folder, bundle, ground_truth, clip, physics=physics, log=log)


def _noun(text: str) -> str:
    """What the object of a composed scene will be called; UserError for words without one."""
    from priors.language.scene_words import object_noun  # priors are joined lazily, as in observe

    return object_noun(text)


def _static_scene(still: Path, text: str) -> Result:
    """A static scene of the same words. UserError for another's."""
    scene = load_result(still)
    if scene.prompt != text:
        raise UserError(
            f"'{still}' is a static scene of {scene.prompt!r}. Say the same, or give another --out."
        )
    return scene


def stages_from(still: Path, stages: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """The options of the stages with what the static scene knows, where the user says nothing: its part
    affordance graph, and where neither image nor clip is given its image, and the camera that sees it."""
    from PIL import Image

    known: dict[str, Any] = dict(stages)
    if known.get("pag") is None:
        known["pag"] = still / "affordance.json"
    if known.get("video") is not None or known.get("image") is not None:
        return known
    height, width = stages.get("size", (480, 720))
    path = still / IMAGE
    Image.fromarray(still_image(still, height, width)).save(path)
    log(f"image: the static scene, {path}")
    if known.get("intrinsics") is None:
        across = 2 * np.arctan(np.tan(np.radians(FIELD_OF_VIEW) / 2) * width / height)
        known["intrinsics"] = f"fov={np.degrees(across):.6g}"
    return known | {"image": path}
