"""Colours for a cast picture: soft light, shadows, a checkered ground that lets heights be judged."""

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hoijax.rendering import CastImage, RayScene

SKY = np.array([0.80, 0.84, 0.88], np.float32)
GROUND_LIGHT = np.array([0.78, 0.79, 0.80], np.float32)
GROUND_DARK = np.array([0.64, 0.66, 0.69], np.float32)
TILE = 0.5  # metres
FADE_START, FADE_END = 5.0, 16.0  # metres from the camera over which the ground turns into sky
SHADOW_DEPTH = 0.8  # share of the key light that a full shadow takes
LIGHT_WIDTH = 0.05  # radius of the light as seen from a unit distance: softens shadows
SHADOW_BIAS = 2e-3  # metres; shadow rays start this far off the surface
SHADOW_STRIDE = 2  # shadows are cast at every second pixel and blurred: they are soft anyway
CONTACT_RADIUS = 0.06  # metres; blur of the darkening where something nears the ground
CONTACT_REACH = 0.08  # metres; height at which that darkening has fallen to 1 / e
CONTACT_CELL = 0.02  # metres


def shade(cast: CastImage) -> UInt8[ndarray, "H W 3"]:
    """sRGB picture of a cast image over the ground plane y = 0."""
    height, width = cast.depth.shape
    rays = (cast.camera.ray_directions().reshape(-1, 3)) @ cast.T_world_camera[:3, :3].T
    eye = cast.T_world_camera[:3, 3]
    is_ground, distance = _nearest_surface(cast, rays, eye)
    is_mesh = (cast.hits.face_ids >= 0) & ~is_ground
    points = eye + rays * distance[:, None]

    normals = np.zeros_like(rays)
    normals[is_ground] = (0.0, 1.0, 0.0)
    normals[is_mesh] = cast.scene.smooth_normals(cast.hits)[is_mesh]
    view = -rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    seen_side = cast.normals_world.reshape(-1, 3)  # open meshes are lit on both sides
    normals[is_mesh & ((normals * seen_side).sum(-1) < 0)] *= -1

    color = np.tile(SKY, (len(rays), 1))
    surface = is_ground | is_mesh
    lit = _shadow(cast.scene, points, normals, surface, (height, width), _light(cast))
    color[is_ground] = _tiles(points[is_ground]) * _contact(cast.scene, points[is_ground])[:, None]
    color[is_mesh] = cast.scene.colors[cast.hits.face_ids[is_mesh]]
    shaded = surface.nonzero()[0]
    color[shaded] *= _light_received(normals[shaded], view[shaded], lit[shaded], _light(cast))
    fade = (
        np.clip((distance - FADE_START) / (FADE_END - FADE_START), 0, 1)[:, None]
        * is_ground[:, None]
    )
    color = color * (1 - fade) + SKY * fade
    srgb = np.clip(color, 0, 1) ** (1 / 1.8)
    return (srgb * 255 + 0.5).astype(np.uint8).reshape(height, width, 3)


def _nearest_surface(
    cast: CastImage, rays: np.ndarray, eye: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(is_ground (N,), ray parameter (N,)) of the nearer of mesh and ground plane."""
    downward = np.minimum(rays[:, 1], -1e-6)
    to_ground = np.where(rays[:, 1] < -1e-6, -eye[1] / downward, np.inf) if eye[1] > 0 else np.inf
    to_mesh = np.where(cast.hits.face_ids >= 0, cast.hits.distance, np.inf)
    is_ground = np.broadcast_to(to_ground < to_mesh, to_mesh.shape)
    nearest = np.minimum(to_ground, to_mesh)
    return is_ground, np.where(np.isfinite(nearest), nearest, 0).astype(np.float32)


def _light(cast: CastImage) -> np.ndarray:
    """Unit direction to the key light: above, left of and behind the camera."""
    right, _, forward = cast.T_world_camera[:3, :3].T
    flat = np.array([forward[0], 0, forward[2]], np.float32)
    flat /= max(float(np.linalg.norm(flat)), 1e-6)
    light = np.array([0, 1.6, 0], np.float32) - 0.75 * right - 0.55 * flat
    return (light / np.linalg.norm(light)).astype(np.float32)


def _light_received(
    normals: np.ndarray, view: np.ndarray, lit: np.ndarray, light: np.ndarray
) -> np.ndarray:
    """(N, 1) light reaching each point: key with shadow, sky from above, a little fill from the eye."""
    key = np.maximum((normals * light).sum(-1), 0) * (1 - SHADOW_DEPTH * (1 - lit))
    sky = 0.5 + 0.5 * normals[:, 1]
    fill = np.maximum((normals * view).sum(-1), 0)
    return (0.62 * key + 0.24 * sky + 0.20 * fill)[:, None]


def _shadow(
    scene: RayScene,
    points: np.ndarray,
    normals: np.ndarray,
    surface: np.ndarray,
    shape: tuple[int, int],
    light: np.ndarray,
) -> np.ndarray:
    """(N,) share of the key light each surface point sees, from four rays of a wide light."""
    coarse = np.zeros(shape, bool)
    coarse[::SHADOW_STRIDE, ::SHADOW_STRIDE] = True
    chosen = (coarse.ravel() & surface).nonzero()[0]
    side = np.cross(light, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side)
    up = np.cross(side, light)
    origins = points[chosen] + SHADOW_BIAS * normals[chosen]
    visible = np.zeros(len(chosen), np.float32)
    for a, b in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        towards = light + LIGHT_WIDTH * (a * side + b * up)
        directions = np.broadcast_to(towards.astype(np.float32), origins.shape)
        visible += 0.25 * ~scene.occluded(origins, directions)
    return _fill_pixels(chosen, visible, shape)


def _fill_pixels(chosen: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Spread values known at some pixels over the picture by normalised blurring."""
    from scipy.ndimage import gaussian_filter

    total, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    total.ravel()[chosen], weight.ravel()[chosen] = values, 1.0
    total, weight = (gaussian_filter(x, 1.2, truncate=2.5) for x in (total, weight))
    return (total / np.maximum(weight, 1e-6)).ravel() + (weight.ravel() < 1e-6)


def _tiles(points: np.ndarray) -> np.ndarray:
    """(N, 3) ground colour: half-metre tiles."""
    cells = np.floor(points[:, [0, 2]] / TILE).astype(np.int64)
    is_dark = (cells.sum(-1) % 2).astype(bool)
    color = np.where(is_dark[:, None], GROUND_DARK, GROUND_LIGHT)
    return color.astype(np.float32)


def _contact(scene: RayScene, points: np.ndarray) -> np.ndarray:
    """(N,) darkening of ground points by whatever hovers just above them; 1 is none."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    low = scene.vertices[np.abs(scene.vertices[:, 1]) < 4 * CONTACT_REACH]
    if len(low) == 0 or len(points) == 0:
        return np.ones(len(points), np.float32)
    margin = 4 * CONTACT_RADIUS
    lower = low[:, [0, 2]].min(0) - margin
    cells = np.ceil((low[:, [0, 2]].max(0) + margin - lower) / CONTACT_CELL).astype(int) + 1
    cells = np.minimum(cells, 512)
    where = np.floor((low[:, [0, 2]] - lower) / CONTACT_CELL).astype(int)
    where = np.minimum(where, cells - 1)
    darkness = np.zeros(cells, np.float32)
    np.maximum.at(darkness, tuple(where.T), np.exp(-np.abs(low[:, 1]) / CONTACT_REACH))
    darkness = gaussian_filter(darkness, CONTACT_RADIUS / CONTACT_CELL)
    grid = ((points[:, [0, 2]] - lower) / CONTACT_CELL).T
    sampled = map_coordinates(darkness, grid, order=1, mode="constant", cval=0.0)
    return 1 - 0.75 * np.clip(1.6 * sampled, 0, 1)
