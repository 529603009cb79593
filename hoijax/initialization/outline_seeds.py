"""Where an object without depth is, given how it is turned: as far away as its outline is small.

Far from the camera a mesh projects to c + s (x, y) with one scale s, focal length over depth. Its extent
along a direction d is then d . c + s h(d), with h the extent of the turned mesh itself: sixteen linear
equations for three unknowns, solved a few times with the perspective of the solution before.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.geometry.rotations import super_fibonacci_rotations
from hoijax.scene.fragments import tell_size, touch_depths, view_depths
from hoijax.scene.objects import Cameras
from hoijax.scene.scene import Scene
from hoijax.scene.silhouettes import directions

NEAREST, FARTHEST = 0.3, 30.0
"""Metres: where an object is looked for."""
FEWEST_ROTATIONS = 64
PERSPECTIVE_ROUNDS = 3
"""A near half looks larger: solved again with each vertex's own depth."""
SELDOM = 0.1
"""Weight of an extent beyond which an occluder may hide more: it is where the visible part ends."""


def with_outlines(
    scene: Scene,
    o: int,
    rotations: Float[ndarray, "T H 3 3"],
    centers: Float[ndarray, "T 3"],
) -> Float[ndarray, "T H 3"]:
    """Where object `o` is for each rotation: by its outline, or at `centers` where it has none."""
    positions = np.broadcast_to(centers[:, None], (*rotations.shape[:2], 3))
    if not scene.lacks_depth:
        return positions
    outlined = outline_positions(scene, o, rotations)
    known = _has_outline(scene)[o]
    return np.where(known[:, None, None], outlined, positions).astype(np.float32)


def outline_centers(scene: Scene) -> tuple[Float[ndarray, "O T 3"], Bool[ndarray, "O T"]]:
    """(median position over all rotations, where there is an outline) of every object."""
    rotations = np.broadcast_to(
        super_fibonacci_rotations(FEWEST_ROTATIONS),
        (scene.frame_count, FEWEST_ROTATIONS, 3, 3),
    )
    positions = [outline_positions(scene, o, rotations) for o in range(scene.object_count)]
    return np.stack([np.median(p, axis=1) for p in positions]), _has_outline(scene)


def _has_outline(scene: Scene) -> Bool[ndarray, "O T"]:
    assert scene.silhouettes is not None
    return np.asarray(scene.silhouettes.outline.alone) > 0.0


def outline_positions(
    scene: Scene, o: int, rotations: Float[ndarray, "T H 3 3"]
) -> Float[ndarray, "T H 3"]:
    """World positions of object `o`'s center, one for each rotation."""
    assert scene.silhouettes is not None
    outline = scene.silhouettes.outline
    by_frame = (
        rotations,
        np.asarray(outline.extents)[o],
        np.where(np.asarray(outline.goes_beyond)[o] >= 1.0, 1.0, SELDOM),
        np.asarray(scene.cameras.Ts_pointmap_world),
        np.asarray(scene.cameras.intrinsics),
    )
    hull = np.asarray(scene.silhouettes.hull)[o]
    frames = zip(*by_frame, strict=True)
    positions = np.stack([_positions_in_frame(hull, *frame) for frame in frames])
    return np.where(tell_size(outline)[o, :, None, None], positions, _at_hands(scene, o, positions))


def _at_hands(scene: Scene, o: int, positions: Float[ndarray, "T H 3"]) -> Float[ndarray, "T H 3"]:
    """The same in the image, as far away as what may touch the object, where something may."""
    assert scene.silhouettes is not None
    possible = scene.silhouettes.contact_possible
    if possible is None:
        return positions
    seen = np.asarray(possible) > 0.0
    wanted = touch_depths(scene.edges, scene.cameras, seen, o, scene.object_count)
    eyes = camera_centers(scene.cameras)[:, None]
    depth = view_depths(scene.cameras, np.swapaxes(positions, 0, 1)).T
    factor = np.where(wanted > 0.0, wanted, 1.0)[:, None] / np.maximum(depth, NEAREST)
    factor = np.where((wanted > 0.0)[:, None], factor, 1.0)
    return eyes + factor[..., None] * (positions - eyes)


def camera_centers(cameras: Cameras) -> Float[ndarray, "T 3"]:
    """In the world."""
    T = np.asarray(cameras.Ts_pointmap_world)
    return -np.linalg.solve(T[:, :3, :3], T[:, :3, 3:])[..., 0]


def _positions_in_frame(
    hull: Float[ndarray, "n 3"],
    rotations: Float[ndarray, "H 3 3"],
    extents: Float[ndarray, " K"],
    weight: Float[ndarray, " K"],
    T_camera_world: Float[ndarray, "4 4"],
    intrinsics: Float[ndarray, "3 3"],
) -> Float[ndarray, "H 3"]:
    """Of one frame, whose arrays fit into the processor's cache."""
    linear, shift = T_camera_world[:3, :3], T_camera_world[:3, 3]
    scale, d = np.cbrt(np.linalg.det(linear)), directions()
    turned = hull @ np.swapaxes(linear @ rotations, -1, -2)
    along = extents - d @ intrinsics[:2, 2]
    focal = intrinsics[[0, 1], [0, 1]].mean()
    nearer = np.ones(turned.shape[:2])
    pixels = turned[..., :2] * focal
    for _ in range(PERSPECTIVE_ROUNDS):
        farthest = (pixels @ d.T).argmax(axis=1)
        reach = np.einsum("hki,ki->hk", _of(turned[..., :2], farthest), d)
        rows = np.concatenate([np.broadcast_to(d, (*reach.shape, 2)), reach[..., None]], axis=-1)
        rows = rows * _of(nearer[..., None], farthest)
        normal = np.einsum("k,hki,hkj->hij", weight, rows, rows) + 1e-9 * np.eye(3)
        right = np.einsum("k,hki,k->hi", weight, rows, along)
        u, v, s = np.linalg.solve(normal, right[..., None])[..., 0].T
        depth = focal / np.clip(s, focal / (FARTHEST * scale), focal / (NEAREST * scale))
        away = np.maximum(depth[:, None] + turned[..., 2], NEAREST * scale)
        nearer = depth[:, None] / away
        middle = np.stack([u, v], axis=-1)[:, None]
        pixels = nearer[..., None] * (middle + (focal / depth)[:, None, None] * turned[..., :2])
    camera = np.stack([u / focal * depth, v / focal * depth, depth], axis=-1)
    return (camera - shift) @ np.linalg.inv(linear).T


def _of(values: Float[ndarray, "H n c"], chosen: ndarray) -> Float[ndarray, "H K c"]:
    """Values of the chosen vertices (H, K)."""
    return np.take_along_axis(values, chosen[..., None], axis=1)
