"""Search of an object's pose and size, and of the floor's slope, at which its silhouette covers a mask.

Unknowns: pitch and roll of the floor, heading, position on the floor (x, z of the camera, metres) and the
logarithm of the size.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from hoijax.errors import UserError
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import compose_rigid
from hoijax.initialization.photo import PhotoMasks, PhotoMesh, mask_iou, moved
from hoijax.rendering.raycast import RayScene, window_around

HEADINGS = 12
ROUNDS = ((2, 16), (8, 4), (60, 3))
"""Evaluations of the least squares from every start, and how many starts go on."""
SLOPE_SIGMA = np.radians([8.0, 3.0])
"""Pitch and roll: how far from level people hold cameras."""
SURFACE_POINTS, MASK_POINTS = 600, 400
SEARCH_WIDTH, FINE_WIDTH = 200, 400
"""Pixels of the image in which silhouettes are compared, while searching and at the end."""
PIXEL_SIGMA = 0.01
"""Of the object's extent in the image: how well a silhouette is expected to fit."""


@dataclass(frozen=True)
class Search:
    """What the search reads: everything at the search's image size."""

    camera: PinholeCamera
    mask: Bool[ndarray, "h w"]
    hidden: Bool[ndarray, "h w"]
    """Pixels of the person and of other occluders, behind which the object may go on."""
    outside: Float[ndarray, "h w"]
    """Distance to the mask, in pixels; 0 in it and where something hides."""
    pixels: Float[ndarray, "n 2"]
    """Some pixels of the mask."""
    points: Float[ndarray, "m 3"]
    """Some points on the object's surface, in its file's frame."""
    person: Float[ndarray, "k 3"]
    """Hull of the person, in the camera."""


def cover_mask(
    search: Search, fine: Search, scene: RayScene, ups: list[Float[ndarray, " 3"]], known_pose: bool
) -> tuple[Float[ndarray, "4 4"], Float[ndarray, "4 4"]]:
    """(T_world_camera, T_world_object) at which the silhouette of the object, alone in `scene`, covers the mask best.

    fine: the same at more pixels, for the last steps of the best pose. ups: directions of the object's file
    that may point up. known_pose: the file's own heading is tried too.
    """
    starts = []
    for up in ups:
        headings = np.arange(HEADINGS) * (2 * np.pi / HEADINGS)
        if known_pose:
            headings = np.concatenate([[_heading_of_file(up)], headings])
        starts += [(up, _first_guess(search, up, heading)) for heading in headings]
    for evaluations, count in ROUNDS:
        rough = [(up, *_refined(search, up, start, evaluations)) for up, start in starts]
        starts = [
            (up, unknowns) for up, unknowns, _ in sorted(rough, key=lambda item: item[2])[:count]
        ]
    ends = [(up, _polished(search, scene, up, start)) for up, start in starts]
    up, best = max(ends, key=lambda end: _iou(search, scene, *end))
    return _poses(fine, up, _polished(fine, scene, up, best))


def search_setup(
    person: PhotoMesh,
    object_: PhotoMesh,
    masks: PhotoMasks,
    camera: PinholeCamera,
    width: int,
) -> Search:
    """What a search reads, of masks thinned to about `width` pixels. UserError for an object that is hidden."""
    import trimesh
    from scipy.ndimage import distance_transform_edt

    step = max(1, camera.width // width)
    start = step // 2
    mask = masks.object_[start::step, start::step]
    hidden = (masks.person | masks.occluded)[start::step, start::step]
    small = PinholeCamera(
        camera.fx / step,
        camera.fy / step,
        camera.cx / step,
        camera.cy / step,
        mask.shape[1],
        mask.shape[0],
    )
    mask = mask & ~hidden
    if not mask.any():
        raise UserError("--object-mask: lies wholly under the masks of what is in front of it.")
    rng = np.random.default_rng(0)
    rows, columns = np.nonzero(mask)
    chosen = rng.choice(len(rows), min(MASK_POINTS, len(rows)), replace=False)
    mesh = trimesh.Trimesh(object_.vertices, object_.faces, process=False)
    points = trimesh.sample.sample_surface(mesh, SURFACE_POINTS, seed=0)[0]
    hull = trimesh.Trimesh(person.vertices, person.faces, process=False).convex_hull
    return Search(
        small,
        mask,
        hidden,
        np.asarray(distance_transform_edt(~(mask | hidden))),
        np.stack([columns[chosen], rows[chosen]], -1) + 0.5,
        np.asarray(points),
        np.asarray(hull.vertices),
    )


def _heading_of_file(up: Float[ndarray, " 3"]) -> float:
    """The heading at which the object is turned as in its file, as far as `up` lets it."""
    turned = _upright(up).as_matrix()
    return float(np.arctan2(turned[2, 0] - turned[0, 2], turned[0, 0] + turned[2, 2]))


def _upright(up: Float[ndarray, " 3"]) -> Rotation:
    """The shortest turn of the file's `up` to the world's y; from the camera's axes where up is -y."""
    if np.allclose(up, [0, -1, 0]):
        return Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
    return Rotation.align_vectors([[0.0, 1.0, 0.0]], [up])[0]


def _camera_turn(pitch: float, roll: float) -> Rotation:
    """Rotation from the camera to the world: level, then looking down by pitch, then tilted by roll."""
    level = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
    return level * Rotation.from_euler("xz", [-pitch, roll])


def _poses(
    search: Search, up: Float[ndarray, " 3"], unknowns: Float[ndarray, " 6"]
) -> tuple[Float[ndarray, "4 4"], Float[ndarray, "4 4"]]:
    """(T_world_camera, T_world_object): the person's lowest point on the floor, and the object's."""
    pitch, roll, heading, x, z, size = unknowns
    camera_rotation = _camera_turn(pitch, roll)
    floor = float(camera_rotation.apply(search.person)[:, 1].min())
    T_world_camera = compose_rigid(
        camera_rotation.as_matrix(), np.array([0.0, -floor, 0.0])
    ).astype(float)
    rotation = Rotation.from_euler("y", heading) * _upright(up)
    scale = np.exp(size)
    points = scale * rotation.apply(search.points)
    T_world_object = np.eye(4)
    T_world_object[:3, :3] = scale * rotation.as_matrix()
    low, high = points.min(0), points.max(0)
    T_world_object[:3, 3] = [x - (low[0] + high[0]) / 2, -low[1], z - (low[2] + high[2]) / 2]
    return T_world_camera, T_world_object


def _projected(search: Search, up: ndarray, unknowns: ndarray) -> tuple[ndarray, ndarray]:
    """(pixels of the surface points, their depths)."""
    T_world_camera, T_world_object = _poses(search, up, unknowns)
    world = search.points @ T_world_object[:3, :3].T + T_world_object[:3, 3]
    local = (world - T_world_camera[:3, 3]) @ T_world_camera[:3, :3]
    depth = np.maximum(local[:, 2:], 0.1)
    camera = search.camera
    focal, center = np.array([camera.fx, camera.fy]), np.array([camera.cx, camera.cy])
    return local[:, :2] / depth * focal + center, local[:, 2]


def _first_guess(search: Search, up: ndarray, heading: float) -> Float[ndarray, " 6"]:
    """On a level floor, under the middle of the mask's lower edge, as wide as the mask."""
    camera, pixels = search.camera, search.pixels
    floor = float(-search.person[:, 1].max())  # of the camera's y: height of the camera
    low, high = pixels.min(0), pixels.max(0)
    slope = max((high[1] - camera.cy) / camera.fy, 0.05)
    depth = min(-floor / slope, 30.0)
    x = ((low[0] + high[0]) / 2 - camera.cx) / camera.fx * depth
    points = (Rotation.from_euler("y", heading) * _upright(up)).apply(search.points)
    width = np.ptp(points, axis=0)
    wanted = (high - low) / camera.fx * depth
    size = 0.5 * np.log(np.prod(wanted) / max(width[0] * width[1], 1e-9))
    return np.array([0.0, 0.0, heading, x, -depth, size])


def _refined(
    search: Search, up: ndarray, start: ndarray, evaluations: int
) -> tuple[Float[ndarray, " 6"], float]:
    """(unknowns, cost) after least squares of both silhouettes' distances."""
    from scipy.optimize import least_squares
    from scipy.spatial import KDTree

    extent = float(np.ptp(search.pixels, axis=0).max())
    sigma = PIXEL_SIGMA * extent
    height, width = search.outside.shape

    def residuals(unknowns: ndarray) -> ndarray:
        pixels, depth = _projected(search, up, unknowns)
        column, row = (
            np.clip(pixels[:, i], 0.5, side - 0.5) for i, side in ((0, width), (1, height))
        )
        beyond = np.abs(pixels - np.stack([column, row], -1)).sum(-1)
        out = search.outside[row.astype(int), column.astype(int)] + beyond + 100.0 * (depth < 0.1)
        near, _ = KDTree(pixels).query(search.pixels)
        slopes = unknowns[:2] / SLOPE_SIGMA
        out, near = (a / (sigma * np.sqrt(len(a) / 20)) for a in (out, near))
        return np.concatenate([out, near, slopes])

    solution = least_squares(
        residuals,
        start,
        diff_step=1e-3,
        max_nfev=evaluations,
        loss="soft_l1",
        x_scale=[0.05, 0.02, 0.1, 0.1, 0.3, 0.1],
    )
    return solution.x, float(solution.cost)


def _iou(search: Search, scene: RayScene, up: ndarray, unknowns: ndarray) -> float:
    """Of the silhouette and the mask."""
    drawn = silhouette(scene, _poses(search, up, unknowns), search.camera)
    return mask_iou(drawn, search.mask, search.hidden)


def _polished(search: Search, scene: RayScene, up: ndarray, start: ndarray) -> Float[ndarray, " 6"]:
    """The unknowns at which the drawn silhouette itself covers the mask best."""
    from scipy.optimize import minimize

    steps = np.array([0.03, 0.01, 0.05, 0.05, 0.15, 0.04])

    def cost(change: ndarray) -> float:
        unknowns = start + steps * change
        slope = ((unknowns[:2] / SLOPE_SIGMA) ** 2).sum()
        return 1.0 - _iou(search, scene, up, unknowns) + 0.001 * float(slope)

    simplex = np.concatenate([np.zeros((1, 6)), np.eye(6)])
    solution = minimize(
        cost,
        np.zeros(6),
        method="Nelder-Mead",
        options={"maxfev": 300, "initial_simplex": simplex, "fatol": 1e-4},
    )
    return start + steps * solution.x


def silhouette(
    scene: RayScene, poses: tuple[ndarray, ndarray], camera: PinholeCamera
) -> Bool[ndarray, "h w"]:
    """Where the camera sees the object; rays are moved into the object's own frame, so that it is built once."""
    T_world_camera, T_world_object = poses
    T_camera_object = np.linalg.inv(T_world_camera) @ T_world_object
    window = window_around(moved(scene.box_corners, T_camera_object), camera)
    T_object_camera = np.linalg.inv(T_camera_object)
    rays = camera.ray_directions(*window) @ T_object_camera[:3, :3].T.astype(np.float32)
    eye = np.broadcast_to(T_object_camera[:3, 3].astype(np.float32), rays.shape)
    seen = np.zeros((camera.height, camera.width), bool)
    seen[window] = scene.occluded(eye.reshape(-1, 3), rays.reshape(-1, 3)).reshape(rays.shape[:2])
    return seen
