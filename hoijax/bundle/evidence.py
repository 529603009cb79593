"""Which evidence a bundle has, what stands in for what it lacks, and values that no prior could mean.

Version 2 of the format leaves out whole arrays, in groups: point maps, keypoints, body motion, cameras,
part labels. In memory `Observations` is always whole: what is not there is padding under a mask, and
`Bundle.absent` names it. What takes its place in a solve is found later (`hoijax.initialization.evidence`).
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.bundle.observations import Observations
from hoijax.bundle.schema import observation_layout, rigid_problems

OBSERVATIONS = "observations.npz"
ALWAYS_OPTIONAL = ("object_detected", "body_mask", "frame_mask", "color_images")
"""Masks that follow from the other arrays where they are not given, and images that need not be there."""
ONLY_IN_2 = ("body_mask", "frame_mask", "color_images")
GROUPS: Mapping[str, tuple[str, ...]] = {
    "intrinsics": ("intrinsics",),
    "camera poses": ("Ts_world_camera",),
    "masks": ("instance_ids",),
    "object points": ("object_points", "object_pixels", "object_point_mask"),
    "part labels": ("object_point_parts",),
    "person points": ("person_points", "person_pixels", "person_point_mask"),
    "keypoints": ("keypoints",),
    "body motion": ("body_rotations", "body_translations"),
    "body shape": ("body_betas", "body_rest_joints"),
}
"""Evidence that a bundle may lack; of a group all arrays are there, or none."""
NEEDS: Mapping[str, tuple[str, ...]] = {
    "body motion": ("body shape", "camera poses"),
    "part labels": ("object points",),
}
"""Groups that say nothing without another one."""
SHORTEST_PERSON, TALLEST_PERSON = 0.4, 2.8
"""Metres from sole to top, as a person's joints tell it; a solve of anyone else is a wrong unit."""
HEIGHT_OF_JOINTS = 1.12
"""Height of a person by the extent of their joints from toes to head."""
NARROWEST, WIDEST = 2.0, 165.0
"""Degrees of a field of view that a camera may have."""
CAMERA_HEIGHT = 1.4
"""Metres above the ground of a camera that nothing is known of."""


def absent_keys(keys: Collection[str]) -> tuple[str, ...]:
    """Arrays of evidence that are not among the keys."""
    return tuple(key for group in GROUPS.values() for key in group if key not in keys)


def layout_of(
    version: int, keys: Collection[str]
) -> tuple[dict[str, str], dict[str, np.dtype], set[str]]:
    """(axes, dtypes, keys that may be missing) of observations.npz, given the keys that it has."""
    shapes, dtypes = observation_layout()
    if version == 1:
        return {k: a for k, a in shapes.items() if k not in ONLY_IN_2}, dtypes, set()
    present = {name for name, group in GROUPS.items() if any(key in keys for key in group)}
    needed = present.union(*(NEEDS.get(name, ()) for name in present))
    optional = {key for name, group in GROUPS.items() if name not in needed for key in group}
    return shapes, dtypes, optional.union(ALWAYS_OPTIONAL)


def observations_from(arrays: Mapping[str, ndarray], sizes: Mapping[str, int]) -> Observations:
    """Whole observations from the arrays that there are, padded and masked where there is none.

    sizes: lengths of the axes P, O, T, H and W. Intrinsics are guessed (`guessed_intrinsics`), a camera
    that is not given is level and stands `CAMERA_HEIGHT` above the ground.
    """
    lengths = {"N": 1, "M": 1, "B": 1, "h": 0, "w": 0, **sizes}
    shapes, dtypes = observation_layout()
    whole = dict(arrays)
    for key, axes in shapes.items():
        if key in arrays:
            continue
        shape = [int(axis) if axis.isdigit() else lengths[axis] for axis in axes.split()]
        if key == "object_point_parts":
            shape = np.shape(whole["object_points"])[:3]
        whole[key] = np.zeros(shape, dtypes[key])
    frames, height, width = np.shape(whole["instance_ids"])
    if "intrinsics" not in arrays:
        whole["intrinsics"] = np.tile(guessed_intrinsics(height, width), (frames, 1, 1))
    if "Ts_world_camera" not in arrays:
        whole["Ts_world_camera"] = np.tile(level_camera(), (frames, 1, 1))
    if "object_point_parts" not in arrays:
        whole["object_point_parts"] = np.full_like(whole["object_point_parts"], -1)
    if "body_rotations" not in arrays:
        whole["body_mask"] = np.zeros_like(whole["body_mask"])
    elif "body_mask" not in arrays:
        whole["body_mask"][:] = True
    if "frame_mask" not in arrays:
        whole["frame_mask"][:] = True
    if "object_detected" not in arrays:
        people, objects = sizes["P"], sizes["O"]
        masks = visible(whole["instance_ids"], range(people + 1, people + objects + 1))
        whole["object_detected"] = masks | whole["object_point_mask"].any(axis=-1)
    return Observations(**whole)


def guessed_intrinsics(height: int, width: int) -> Float[ndarray, "3 3"]:
    """A focal length as long as the image's diagonal (CLIFF, ECCV 2022), and a centered image."""
    focal = float(np.hypot(height, width))
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)


def level_camera() -> Float[ndarray, "4 4"]:
    """T_world_camera of a camera that looks level, along the world's -z."""
    T = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
    T[1, 3] = CAMERA_HEIGHT
    return T


def visible(instance_ids: ndarray, numbers: Sequence[int]) -> Bool[ndarray, "E T"]:
    """In which frames instances have a pixel."""
    rows = [(instance_ids == number).any(axis=(1, 2)) for number in numbers]
    return np.stack(rows) if rows else np.zeros((0, len(instance_ids)), bool)


def observation_value_problems(
    observations: Observations,
    absent: Collection[str],
    object_names: list[str],
    part_counts: list[int],
) -> list[str]:
    """Values no prior could have meant, and entities that there is no evidence of."""
    o, where = observations, OBSERVATIONS
    problems = _camera_problems(o)
    entities = o.person_count + o.object_count
    if o.instance_ids.max() > entities:
        problems.append(
            f"{where}: key 'instance_ids': expected 0 to {entities} (people, then objects), "
            f"found {o.instance_ids.max()}"
        )
    confidence = o.keypoints[..., 2]
    if (confidence < 0).any() or (confidence > 1).any():
        problems.append(
            f"{where}: key 'keypoints': expected confidences from 0 to 1, found "
            f"{confidence.min():g} to {confidence.max():g}"
        )
    if not o.frame_mask.any():
        problems.append(f"{where}: key 'frame_mask': leaves no frame to read")
    problems += _object_problems(o, object_names, part_counts)
    problems += _person_problems(o, absent)
    return problems


def _object_problems(o: Observations, object_names: list[str], part_counts: list[int]) -> list[str]:
    problems, where = [], OBSERVATIONS
    seen = o.object_point_mask & o.object_detected[:, :, None] & o.frame_mask[:, None]
    masks = visible(o.instance_ids, range(o.person_count + 1, o.person_count + o.object_count + 1))
    masks &= o.object_detected & o.frame_mask
    for i, (name, count) in enumerate(zip(object_names, part_counts, strict=True)):
        labels = o.object_point_parts[i][seen[i]]
        if not seen[i].any() and not masks[i].any():
            problems.append(
                f"{where}: no frame has a detection of {name!r}, neither a mask nor a point, so "
                "there is nothing to fit; make sure the object can be seen and that its "
                "description fits, or omit it"
            )
        elif labels.size and (labels.min() < -1 or labels.max() >= count):
            problems.append(
                f"{where}: key 'object_point_parts': expected -1 to {count - 1} for {name!r}, "
                f"found {labels.min()} to {labels.max()}"
            )
    return problems


def _person_problems(o: Observations, absent: Collection[str]) -> list[str]:
    problems, where = [], OBSERVATIONS
    frames = o.frame_mask
    for p in range(o.person_count):
        evidence = o.person_point_mask[p].any(axis=-1) | (o.keypoints[p, ..., 2] > 0).any(axis=-1)
        if not ((evidence | o.body_mask[p]) & frames).any():
            problems.append(
                f"{where}: no frame has a detection of person {p + 1}, neither keypoints nor a "
                "point nor a body, and the body sets the scale of the scene"
            )
        if "body_rest_joints" not in absent:
            size = HEIGHT_OF_JOINTS * float(np.ptp(o.body_rest_joints[p], axis=0).max())
            if not SHORTEST_PERSON <= size <= TALLEST_PERSON:
                problems.append(
                    f"{where}: key 'body_rest_joints': person {p + 1} measures {size:.3g} m; "
                    f"expected {SHORTEST_PERSON:g} to {TALLEST_PERSON:g} m. Are the joints in "
                    "metres?"
                )
    return problems


def _camera_problems(o: Observations) -> list[str]:
    """Intrinsics and poses that no camera has, or that contradict each other or the image."""
    where = f"{OBSERVATIONS}: key 'intrinsics'"
    problems = rigid_problems(o.Ts_world_camera, f"{OBSERVATIONS}: key 'Ts_world_camera'")
    focal = o.intrinsics[:, [0, 1], [0, 1]]
    if (focal <= 0).any() or (o.intrinsics[:, 2] != [0, 0, 1]).any():
        return [*problems, f"{where}: expected focal lengths > 0 and a last row 0 0 1"]
    height, width = o.image_size
    angles = np.degrees(2.0 * np.arctan(0.5 * np.array([width, height]) / focal))
    if angles.max() > WIDEST or angles.max(axis=1).min() < NARROWEST:
        problems.append(
            f"{where}: a focal length of {focal.min():.4g} to {focal.max():.4g} pixels is no camera's "
            f"at {width} x {height} (a field of view of {angles.min():.3g} to {angles.max():.3g} "
            "degrees); give it in pixels of the stored size, or leave the key out and it is estimated"
        )
    ratio = focal[:, 0] / focal[:, 1]
    if ratio.max() > 2.0 or ratio.min() < 0.5:
        problems.append(
            f"{where}: the focal lengths {focal[0, 0]:.4g} and {focal[0, 1]:.4g} contradict each "
            "other; pixels are about square"
        )
    center = o.intrinsics[:, :2, 2]
    off = np.abs(center / [width, height] - 0.5).max()
    if off > 1.0:
        u, v = center[np.abs(center / [width, height] - 0.5).max(axis=1).argmax()]
        problems.append(
            f"{where}: the principal point ({u:.4g}, {v:.4g}) lies outside an image of {width} x "
            f"{height}; scale intrinsics to the stored size"
        )
    return problems


def absence_lines(
    o: Observations, absent: Collection[str], object_names: Sequence[str], people: Sequence[str]
) -> list[str]:
    """One line for everything that a bundle lacks: what, and what takes its place in a solve."""
    lines = []
    if "intrinsics" in absent:
        lines.append("no intrinsics: the focal length is estimated, from a guess")
    if "Ts_world_camera" in absent:
        lines.append("no camera poses: a level camera that stands still")
    if "instance_ids" in absent:
        lines.append("no masks: poses come from the points alone")
    points = np.any(o.object_point_mask & o.object_detected[..., None], axis=(1, 2)).tolist()
    lines += [
        f"no points of {name!r}: its depth comes from its size in the image, contact and ground"
        for name, seen in zip(object_names, points, strict=True)
        if not seen
    ]
    labels = np.any((o.object_point_parts >= 0) & o.object_point_mask, axis=(1, 2)).tolist()
    unlabeled = [n for n, has, seen in zip(object_names, labels, points, strict=True) if seen > has]
    if unlabeled and "object_point_parts" in absent:
        lines.append(f"no part labels of {', '.join(map(repr, unlabeled))}: shape alone turns it")
    for p, name in enumerate(people):
        if not o.person_point_mask[p].any():
            lines.append(f"no points of {name!r}: depth comes from the height")
        if not (o.keypoints[p, ..., 2] > 0).any():
            lines.append(f"no keypoints of {name!r}: nothing corrects the body")
        if "body_rest_joints" in absent:
            lines.append(f"no body shape of {name!r}: the body model's mean person")
        if not o.body_mask[p].any():
            lines.append(f"no body motion of {name!r}: fitted to what was seen")
        elif not o.body_mask[p].all():
            missing = int((~o.body_mask[p]).sum())
            lines.append(
                f"no body of {name!r} in {missing} of {o.frame_count} frames: interpolated"
            )
    if not o.frame_mask.all():
        lines.append(f"{int((~o.frame_mask).sum())} of {o.frame_count} frames are not read")
    return lines
