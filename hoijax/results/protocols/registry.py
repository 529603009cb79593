"""Which protocols there are, and the measuring of one motion by some of them."""

from collections.abc import Callable, Mapping, Sequence

from hoijax.errors import UserError
from hoijax.results.protocols import omomo, plausibility, reconstruction
from hoijax.results.protocols.mesh_motion import MeshMotion, NotGiven

Measure = Callable[[MeshMotion, MeshMotion | None], dict[str, float]]

PROTOCOLS: dict[str, tuple[Measure, ...]] = {
    "chois": (omomo.contact, omomo.foot_sliding, omomo.penetration, omomo.pose_errors),
    "behave": (reconstruction.behave_surfaces, reconstruction.behave_motion),
    "rhobin": (reconstruction.rhobin,),
    "v2d": (reconstruction.v2d,),
    "hoi-page": (plausibility.hoi_page,),
    "omniretarget": (plausibility.omniretarget,),
    "hoi-retarget": (plausibility.hoi_retarget,),
    "repho": (plausibility.repho,),
    "deco": (plausibility.deco,),
    "contactmimic": (plausibility.contact_mimic,),
    "intermimic": (plausibility.intermimic,),
}


def protocol_names(text: str) -> tuple[str, ...]:
    """Names of a comma-separated list, or of "all". Raises UserError for one that is unknown."""
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    if names == ("all",):
        return tuple(PROTOCOLS)
    unknown = [name for name in names if name not in PROTOCOLS]
    if unknown or not names:
        raise UserError(
            f"unknown protocol '{', '.join(unknown)}'; there are {', '.join(PROTOCOLS)}, and all."
        )
    return names


def measure(
    predicted: MeshMotion, true: MeshMotion | None, protocols: Sequence[str]
) -> tuple[dict[str, float], dict[str, str]]:
    """(values by "protocol/metric", reasons by "protocol/measure" that was omitted).

    true: at the same times as the prediction (`MeshMotion.at_frames_of`).
    """
    values: dict[str, float] = {}
    omitted: dict[str, str] = {}
    for name in protocols:
        for one in PROTOCOLS[name]:
            try:
                values |= {f"{name}/{metric}": v for metric, v in one(predicted, true).items()}
            except NotGiven as reason:
                omitted[f"{name}/{one.__name__}"] = str(reason)
    return values, omitted


def mean_rows(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Every metric's mean over the rows that have it; clips count equally, as the protocols say."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: sum(row[name] for row in rows if name in row) / sum(name in row for row in rows)
        for name in names
    }
