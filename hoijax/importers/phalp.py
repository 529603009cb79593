"""Tracks of PHALP, which 4D-Humans' `track.py` writes: a frame's image path, then lists of everybody in it."""

import re
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy import ndarray

__all__ = ["phalp_people"]

FIRST_OF_FRAME = re.compile(r"(.*)_smpl_(\d+)_global_orient")


def phalp_people(arrays: Mapping[str, ndarray]) -> list[dict[str, ndarray]]:
    """Each tracked person's rows as 4D-Humans names them, longest track first; none for other files.

    arrays: by canonical key, "IMAGE_smpl_0_body_pose", "IMAGE_camera_0", "IMAGE_tid_0" ... Rows that were
    only predicted while the person was out of sight (`tracked_time` over 0) are left out.
    """
    rows: dict[int, list[tuple[int, str, str]]] = defaultdict(list)
    frames = {match[1] for key in arrays if (match := FIRST_OF_FRAME.fullmatch(key))}
    for place, frame in enumerate(sorted(frames)):
        time = int(arrays.get(f"{frame}_time", np.array(place)))
        for person, number in enumerate(_listed(arrays, f"{frame}_tid")):
            unseen = _listed(arrays, f"{frame}_tracked_time")
            if f"{frame}_camera_{person}" in arrays and not (
                person < len(unseen) and unseen[person]
            ):
                rows[number].append((time, f"{frame}_smpl_{person}_", f"{frame}_camera_{person}"))
    return [_person(arrays, sorted(rows[n])) for n in sorted(rows, key=lambda n: -len(rows[n]))]


def _listed(arrays: Mapping[str, ndarray], name: str) -> list[int]:
    """A list of numbers: one array, or one entry a number."""
    if name in arrays:
        return np.asarray(arrays[name], int).reshape(-1).tolist()
    found = []
    while f"{name}_{len(found)}" in arrays:
        found.append(int(arrays[f"{name}_{len(found)}"]))
    return found


def _person(arrays: Mapping[str, ndarray], rows: list[tuple[int, str, str]]) -> dict[str, ndarray]:
    """One person's rows as arrays over frames."""
    times, poses, cameras = zip(*rows, strict=True)
    names = ("global_orient", "body_pose", "betas")
    person = {
        f"pred_smpl_params_{name}": np.stack([arrays[f"{pose}{name}"] for pose in poses])
        for name in names
    }
    person["pred_cam_t_full"] = np.stack([arrays[camera].reshape(3) for camera in cameras])
    return person | {"frame": np.array(times)}
