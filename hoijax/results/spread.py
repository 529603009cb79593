"""How sure a result says it is, in a few numbers."""

import numpy as np

from hoijax.results.result import Result


def spread_summary(result: Result) -> dict[str, float]:
    """How sure the winner's poses are, by object where there are several: medians over frames.

    Half-widths of 90 % intervals in centimetres and degrees, and the share of frames without evidence.
    """
    position, rotation, unseen = result.position_spread, result.rotation_spread, result.unseen
    if position is None or rotation is None or unseen is None:
        return {}
    rows = {
        "position_90_cm": 164.5 * np.median(position, axis=1),
        "rotation_90_deg": np.degrees(1.645 * np.median(rotation, axis=1)),
        "unseen_share": unseen.mean(axis=1),
    }
    summary = {name: float(values.mean()) for name, values in rows.items()}
    if len(result.assets) > 1:
        for name, values in rows.items():
            names = [f"{name}/{asset.name}" for asset in result.assets]
            summary |= dict(zip(names, values.tolist(), strict=True))
    return summary
