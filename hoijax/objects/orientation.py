"""Which axis of a mesh file points up and which to the front: as given, as the format says, or guessed.

Only glTF (y up) and 3MF (z up) define it; OBJ, STL, PLY and OFF come either way. A guess decides between
y and z, the two conventions in use, by the first sign that tells them apart, and says which one it was.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hoijax.errors import UserError
from hoijax.objects.surface_samples import sample_surface
from hoijax.objects.usual_sizes import UsualSize

AXES = ("x", "y", "z", "-x", "-y", "-z")
FORMATS_WITH_UP = {".glb": "y", ".gltf": "y", ".3mf": "z"}
USUAL_FRONT = {"y": "z", "z": "-y", "x": "z", "-y": "z", "-z": "y", "-x": "z"}
"""Where no front is given: glTF's +z with y up, and what Blender calls front (-y) with z up."""
PROPORTION = 1.25
"""A height differs from the depth by this factor, or proportions tell nothing."""
ON_GROUND, CENTERED = 0.01, 0.05
"""Shares of the largest side: a mesh that stands on its origin."""
BOTTOM = 0.02
"""Share of the height in which the surface is taken for the one that an object stands on."""
ALIKE, UNLIKE = 0.008, 0.02
"""Mean distance of a mesh to its mirror image, as a share of its diagonal."""


@dataclass(frozen=True)
class Orientation:
    """Axes of a file, and why."""

    up: str
    front: str
    reason: str

    def rotation(self) -> Float[np.ndarray, "3 3"]:
        """R_asset_file: `up` becomes +y, `front` becomes +z."""
        up, front = axis_vector(self.up), axis_vector(self.front)
        return np.stack([np.cross(up, front), up, front])


def axis_vector(axis: str) -> Float[np.ndarray, "3"]:
    """ "-z" -> (0, 0, -1)."""
    unit = np.zeros(3)
    unit["xyz".index(axis[-1])] = -1.0 if axis.startswith("-") else 1.0
    return unit


def check_axes(up: str | None, front: str | None, where: str) -> None:
    """Raises UserError for names of no axis, and for a front along the up axis."""
    for key, axis in (("up", up), ("front", front)):
        if axis is not None and axis not in AXES:
            raise UserError(f"{where}: {key}={axis!r} is no axis. Give one of {', '.join(AXES)}.")
    if up and front and up[-1] == front[-1]:
        raise UserError(f"{where}: up={up} and front={front} lie on one axis; give two axes.")


def orientation_of(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    suffix: str,
    usual: UsualSize | None = None,
    up: str | None = None,
    front: str | None = None,
) -> Orientation:
    """What a file means by its axes. up, front: as the user says; suffix: of the file, ".obj".

    usual: the size of such things, where the object's noun is known.
    """
    if up is not None:
        reason = "as given"
    elif suffix in FORMATS_WITH_UP:
        up, reason = FORMATS_WITH_UP[suffix], f"{suffix[1:]} files are {FORMATS_WITH_UP[suffix]} up"
    elif front is not None and front[-1] in "yz":
        up = "z" if front[-1] == "y" else "y"
        reason = f"the front is {front}"
    else:
        up, reason = _guessed_up(vertices, faces, suffix, usual)
    if front is None:
        front = USUAL_FRONT[up]
    elif front[-1] == up[-1]:
        raise UserError(f"front={front} lies along the up axis ({up}, {reason}); give up= as well.")
    return Orientation(up, front, reason)


def _guessed_up(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    suffix: str,
    usual: UsualSize | None,
) -> tuple[str, str]:
    used = vertices[np.unique(faces)]
    low, side = used.min(axis=0), np.ptp(used, axis=0)
    if usual is not None and usual.posture is not None:
        tall, other = ("y", "z") if side[1] > side[2] else ("z", "y")
        if max(side[1], side[2]) > PROPORTION * min(side[1], side[2]):
            up = tall if usual.posture == "tall" else other
            return up, f"guessed: a {usual.noun} is {usual.posture}"
    middle = np.abs(low + 0.5 * side) / side.max()
    stands = [abs(low[a]) < ON_GROUND * side.max() and middle[a] > CENTERED for a in (1, 2)]
    centered = [middle[0] < CENTERED and middle[3 - a] < CENTERED for a in (1, 2)]
    on_origin = [s and c for s, c in zip(stands, centered, strict=True)]
    if on_origin[0] != on_origin[1]:
        up = "y" if on_origin[0] else "z"
        return up, f"guessed: it stands on {up} = 0"
    points = sample_surface(vertices, faces, 1024, 0)[0].astype(np.float64)
    rests = [_rests_on(points, used, axis) for axis in (1, 2)]
    if rests[0] != rests[1]:
        return ("y" if rests[0] else "z"), "guessed: so it stands by itself"
    gaps = [_mirror_gap(points, axis) for axis in (1, 2)]
    if min(gaps) < ALIKE and max(gaps) > UNLIKE:
        up = "yz"[int(np.argmax(gaps))]
        return up, "guessed: the other way top and bottom would be alike"
    if suffix == ".stl":
        return "z", "guessed: printing and CAD programs write stl z up"
    return "y", "guessed: nothing in the file decides"


def _rests_on(
    points: Float[np.ndarray, "S 3"], corners: Float[np.ndarray, "V 3"], axis: int
) -> bool:
    """Whether the lowest surface along an axis is wide, and the middle of the area stands above it."""
    from scipy.spatial import Delaunay, QhullError

    level = [a for a in range(3) if a != axis]
    low, height = corners[:, axis].min(), np.ptp(corners[:, axis])
    bottom = corners[corners[:, axis] < low + BOTTOM * height][:, level]
    if len(bottom) < 3 or np.ptp(bottom, axis=0).min() < BOTTOM * np.ptp(corners):
        return False
    try:
        return bool(Delaunay(bottom).find_simplex(points.mean(axis=0)[level]) >= 0)
    except QhullError:  # all on a line
        return False


def _mirror_gap(points: Float[np.ndarray, "S 3"], axis: int) -> float:
    """Mean distance of points to their mirror image along an axis, as a share of the diagonal.

    What the samples are apart anyway is taken off.
    """
    from scipy.spatial import KDTree

    low, high = points.min(axis=0), points.max(axis=0)
    mirrored = points.copy()
    mirrored[:, axis] = low[axis] + high[axis] - points[:, axis]
    tree = KDTree(points)
    apart = tree.query(points, k=2)[0][:, 1].mean()
    gap = tree.query(mirrored)[0].mean()
    return float(max(gap - apart, 0.0) / np.linalg.norm(high - low))
