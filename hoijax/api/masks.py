"""Masks of a clip by hints (`hoijax mask`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hoijax.io.atomic import check_output
from hoijax.progress import Log, silent

if TYPE_CHECKING:
    from priors.observe.mask_session import MaskSession


def open_masks(
    video: str | Path,
    objects: Sequence[str],
    out: str | Path,
    *,
    people: int = 1,
    hints: Sequence[str] = (),
    seconds: str | None = None,
    log: Log = silent,
) -> "MaskSession":
    """The hints and masks of a clip, to be edited and saved to `out`.

    Raises UserError, before the clip is read, where `out` holds something else than masks.
    """
    from priors.observe.hints import HINTS_FILE  # priors are joined here only, and lazily
    from priors.observe.mask_session import MaskSession

    check_output(out, HINTS_FILE)
    return MaskSession(video, objects, people=people, hints=hints, seconds=seconds, log=log)
