"""How fast what touches an object slides over it."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

SECONDS = 0.5
"""Around a frame over which skin that stays on the object must stay in place: jitter is no slip."""


def skin_slips(
    skin: Float[ndarray, "T V 3"],
    parts: Int[ndarray, "V"],
    frames: Int[ndarray, "n"],
    vertices: Int[ndarray, "n"],
    fps: float,
) -> Float[ndarray, "n 3"]:
    """Velocities of touching skin, given by (frame, vertex), over the object; its frame, m/s.

    skin: in the object's frame. A velocity is the slope of a line fitted over SECONDS around the frame,
    through those frames without a gap in which the same body part touches; 0 where there is only one.
    """
    slips = np.zeros((len(frames), 3))
    count, half = len(skin), max(1, round(SECONDS * fps / 2))
    for part in np.unique(parts[vertices]):
        of_part = parts[vertices] == part
        touches = np.zeros(count + 1, bool)
        touches[frames[of_part]] = True
        stretch = np.cumsum(~touches)
        for t in np.unique(frames[of_part]):
            near = np.arange(max(0, t - half), min(count, t + half + 1))
            near = near[touches[near] & (stretch[near] == stretch[t])]
            rows = of_part & (frames == t)
            times = (near - near.mean()) / fps
            if len(near) > 1:
                slips[rows] = np.einsum("t,tni->ni", times, skin[near][:, vertices[rows]]) / (
                    times @ times
                )
    return slips
