"""Colors for a cast image: soft light, shadows, a checkered ground that lets heights be judged."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.rows import dot
from hoijax.rendering.raycast import CastImage, RayScene

SKY = np.array([0.80, 0.84, 0.88], np.float32)
GROUND_LIGHT = np.array([0.78, 0.79, 0.80], np.float32)
GROUND_DARK = np.array([0.64, 0.66, 0.69], np.float32)
TILE = 0.5  # metres
FADE_START, FADE_END = 5.0, 16.0  # metres from the camera over which the ground turns into sky
KEY, AMBIENT, FILL = 0.62, 0.24, 0.20  # light from the key light, from above, from the eye
SHADOW_DEPTH = 0.8  # share of the key light that a full shadow takes
LIGHT_WIDTH = 0.05  # radius of the light as seen from a unit distance: softens shadows
SHADOW_BIAS = 2e-3  # metres; shadow rays start this far off the surface
COARSE_BIAS = 1e-2  # where a coarse mesh casts them, which is not quite where the surface is
SHADOW_STRIDE = 2  # shadows are cast at every second pixel and blurred: they are soft anyway
BLUR_REACH = 3  # pixels that the blur looks to each side
CONTACT_RADIUS = 0.06  # metres; blur of the darkening where something nears the ground
CONTACT_REACH = 0.08  # metres; height at which that darkening has fallen to 1 / e
CONTACT_CELL = 0.02  # metres
SRGB = (255 * np.linspace(0, 1, 4096) ** (1 / 1.8) + 0.5).astype(np.uint8)


@dataclass(frozen=True)
class Backdrop:
    """Everything of an image that depends on the camera alone; make it once for a fixed camera."""

    eye: Float[ndarray, "3"]
    rays_world: Float[ndarray, "N 3"]
    to_ground: Float[ndarray, "N"]
    """Ray parameter at which each pixel meets the ground, infinity where it does not."""
    color: Float[ndarray, "N 3"]
    """Linear color of the empty scene."""
    image: UInt8[ndarray, "N 3"]
    """The same as shown."""
    ground_color: Float[ndarray, "N 3"]
    """The part of it that shadows take away from: lit ground, less the fade into the sky."""
    key_share: Float[ndarray, "N"]
    """Share of the key light in the light a ground pixel receives."""
    light: Float[ndarray, "3"]

    @cached_property
    def ground(self) -> tuple[Int[ndarray, "g"], Float[ndarray, "g 3"]]:
        """The pixels that meet the ground, as flat indices, and where."""
        return self.ground_of(np.arange(len(self.to_ground)))

    def ground_of(
        self, pixels: Int[ndarray, "n"]
    ) -> tuple[Int[ndarray, "g"], Float[ndarray, "g 3"]]:
        """The same of some pixels."""
        pixels = pixels[np.isfinite(self.to_ground[pixels])]
        return pixels, self.eye + self.rays_world[pixels] * self.to_ground[pixels, None]


def make_backdrop(camera: PinholeCamera, T_world_camera: Float[ndarray, "4 4"]) -> Backdrop:
    """Sky and checkered ground plane y = 0 as seen by a camera, and its key light."""
    T_world_camera = np.asarray(T_world_camera, np.float32)
    rays = camera.ray_directions().reshape(-1, 3) @ T_world_camera[:3, :3].T
    eye, light = T_world_camera[:3, 3], _key_light(T_world_camera)
    meets = (rays[:, 1] < -1e-6) & (eye[1] > 0)
    to_ground = np.where(meets, -eye[1] / np.where(meets, rays[:, 1], -1), np.inf)
    to_ground = to_ground.astype(np.float32)
    view_up = -rays[:, 1] / np.sqrt(dot(rays, rays))
    received = KEY * light[1] + AMBIENT + FILL * np.maximum(view_up, 0)
    distance = np.where(meets, to_ground, FADE_END)
    keep = np.clip((FADE_END - distance) / (FADE_END - FADE_START), 0, 1)[:, None]
    tiles = _tiles(eye + rays * distance[:, None])
    ground = (tiles * received[:, None] * keep).astype(np.float32)
    color = ground + SKY * (1 - keep)
    key_share = KEY * light[1] / received
    return Backdrop(eye, rays, to_ground, color, _shown(color), ground, key_share, light)


def shade(
    cast: CastImage,
    backdrop: Backdrop | None = None,
    pixels: Int[ndarray, "n"] | None = None,
    lit: Float[ndarray, "H W"] | None = None,
) -> UInt8[ndarray, "H W 3"]:
    """sRGB colors of a cast image over the ground plane; `backdrop` must be of the same camera.

    pixels: the flat indices that were cast, where not all were; others show the backdrop.
    lit: as `shade_and_light` returns it, where it is known.
    """
    if backdrop is None:
        backdrop = make_backdrop(cast.camera, cast.T_world_camera)
    return shade_and_light(cast, backdrop, pixels, lit)[0]


def shade_and_light(
    cast: CastImage,
    backdrop: Backdrop,
    pixels: Int[ndarray, "n"] | None = None,
    lit: Float[ndarray, "H W"] | None = None,
    casters: RayScene | None = None,
) -> tuple[UInt8[ndarray, "H W 3"], Float[ndarray, "H W"]]:
    """`shade`, and the share of the key light that each pixel's surface sees (1 where nothing can shade it).

    casters: a coarse version of the scene that shadows may be cast by; by default what is seen casts them.
    """
    surfaces = _seen_surfaces(cast, backdrop, pixels)
    if lit is None:
        lit = _lit_shares(cast, backdrop, surfaces, casters)
    rays, light = backdrop.rays_world, backdrop.light
    mesh, ground, normals = surfaces.mesh, surfaces.ground, surfaces.normals
    lit_mesh, lit_ground = lit.reshape(-1)[mesh], lit.reshape(-1)[ground]
    ways = rays.take(mesh, axis=0)
    view = -ways / np.sqrt(dot(ways, ways))[:, None]
    received = KEY * np.maximum(normals @ light, 0) * (1 - SHADOW_DEPTH * (1 - lit_mesh))
    received += AMBIENT * (0.5 + 0.5 * normals[:, 1])
    received += FILL * np.maximum(dot(normals, view), 0)
    mesh_color = surfaces.colors * received[:, None]
    shadow = backdrop.key_share[ground] * SHADOW_DEPTH * (1 - lit_ground)
    taken = 1 - (1 - shadow) * _contact(cast.scene, surfaces.ground_points)
    ground_color = backdrop.color.take(ground, axis=0)
    ground_color -= backdrop.ground_color.take(ground, axis=0) * taken[:, None]
    image = backdrop.image.copy()
    image[mesh], image[ground] = _shown(mesh_color), _shown(ground_color)
    return image.reshape(*lit.shape, 3), lit


@dataclass(frozen=True)
class _Surfaces:
    """What is shaded in an image: meshes, and the ground where shadows may fall. World frame."""

    mesh: Int[ndarray, "m"]
    """Flat indices of pixels, ..."""
    normals: Float[ndarray, "m 3"]
    points: Float[ndarray, "m 3"]
    colors: Float[ndarray, "m 3"]
    ground: Int[ndarray, "g"]
    """and of those of the ground."""
    ground_points: Float[ndarray, "g 3"]


def _seen_surfaces(cast: CastImage, backdrop: Backdrop, pixels: np.ndarray | None) -> _Surfaces:
    eye, rays = backdrop.eye, backdrop.rays_world
    chosen = np.flatnonzero(cast.pixel_hits.distance < backdrop.to_ground[cast.pixels])
    mesh, hits = cast.pixels[chosen], cast.pixel_hits.subset(chosen)
    normals = cast.scene.smooth_normals(hits)
    seen_side = cast.pixel_normals.take(chosen, axis=0)  # open meshes are lit on both sides
    normals *= np.where(dot(normals, seen_side) < 0, -1, 1)[:, None]
    points = eye + rays.take(mesh, axis=0) * hits.distance[:, None]
    ground = backdrop.ground if pixels is None else backdrop.ground_of(pixels)
    is_mesh = np.zeros(len(rays), bool)
    is_mesh[mesh] = True
    ground = _ground_near_shadows(cast.scene, backdrop, is_mesh, *ground)
    colors = cast.scene.colors.take(hits.face_ids, axis=0)
    return _Surfaces(mesh, normals, points, colors, *ground)


def _lit_shares(
    cast: CastImage, backdrop: Backdrop, surfaces: _Surfaces, casters: RayScene | None
) -> Float[ndarray, "H W"]:
    bias = SHADOW_BIAS if casters is None else COARSE_BIAS
    up = np.broadcast_to(np.array([0, 1, 0], np.float32), surfaces.ground_points.shape)
    points = np.concatenate([surfaces.points, surfaces.ground_points])
    points = points + bias * np.concatenate([surfaces.normals, up])
    at = np.concatenate([surfaces.mesh, surfaces.ground])
    lit = np.ones((cast.camera.height, cast.camera.width), np.float32)
    lit.reshape(-1)[at] = _lit_share(casters or cast.scene, points, at, lit.shape, backdrop.light)
    return lit


def _shown(linear: np.ndarray) -> np.ndarray:
    """Linear colors as 8-bit sRGB."""
    return SRGB[(np.clip(linear, 0, 1) * (len(SRGB) - 1)).astype(np.uint16)]


def _key_light(T_world_camera: np.ndarray) -> np.ndarray:
    """Unit direction to the key light: above, left of and behind the camera."""
    right, _, forward = T_world_camera[:3, :3].T
    flat = np.array([forward[0], 0, forward[2]], np.float32)
    flat /= max(float(np.linalg.norm(flat)), 1e-6)
    light = np.array([0, 1.6, 0], np.float32) - 0.75 * right - 0.55 * flat
    return (light / np.linalg.norm(light)).astype(np.float32)


def _ground_near_shadows(
    scene: RayScene,
    backdrop: Backdrop,
    is_mesh: Bool[ndarray, "N"],
    pixels: Int[ndarray, "n"],
    points: Float[ndarray, "n 3"],
) -> tuple[Int[ndarray, "g"], Float[ndarray, "g 3"]]:
    """Ground pixels that a shadow may reach, and their points: all others stay as the backdrop has them."""
    above = scene.vertices[scene.vertices[:, 1] > -0.5]
    if len(above) == 0:
        return pixels[:0], points[:0]
    light = backdrop.light
    cast_down = above - np.maximum(above[:, 1:2], 0) / light[1] * light
    margin = 4 * CONTACT_RADIUS + LIGHT_WIDTH * max(float(above[:, 1].max()), 0) * 2
    near = ~is_mesh[pixels]
    for axis in (0, 2):
        both = cast_down[:, axis], above[:, axis]
        lower, upper = min(x.min() for x in both) - margin, max(x.max() for x in both) + margin
        near &= (points[:, axis] > lower) & (points[:, axis] < upper)
    chosen = np.flatnonzero(near)
    return pixels[chosen], points.take(chosen, axis=0)


def _lit_share(
    scene: RayScene,
    points: np.ndarray,
    pixels: np.ndarray,
    shape: tuple[int, ...],
    light: np.ndarray,
) -> np.ndarray:
    """(N,) share of the key light each point sees, from four rays to a wide light.

    `pixels` are the points' flat indices in the image; rays start at every second pixel.
    """
    from scipy.ndimage import gaussian_filter

    rows, columns = pixels // shape[1], pixels % shape[1]
    chosen = (rows % SHADOW_STRIDE == 0) & (columns % SHADOW_STRIDE == 0)
    side = np.cross(light, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side)
    up = np.cross(side, light)
    origins = points[chosen]
    visible = np.zeros(len(origins), np.float32)
    for a, b in ((1, 0.4), (-0.4, 1), (-1, -0.4), (0.4, -1)):
        towards = light + LIGHT_WIDTH * (a * side + b * up)
        directions = np.broadcast_to(towards.astype(np.float32), origins.shape)
        visible += 0.25 * ~scene.occluded(origins, directions)
    first = np.maximum(np.array([rows.min(initial=0), columns.min(initial=0)]) - BLUR_REACH, 0)
    last = np.array([rows.max(initial=0), columns.max(initial=0)]) + BLUR_REACH + 1
    row, column = rows - first[0], columns - first[1]  # blurred where there are points
    seen = np.zeros((2, *(np.minimum(last, shape) - first)), np.float32)
    seen[:, row[chosen], column[chosen]] = visible, np.ones_like(visible)
    total, weight = (gaussian_filter(x, 1.2, truncate=2.5)[row, column] for x in seen)
    return np.where(weight > 1e-6, total / np.maximum(weight, 1e-6), 1.0)


def _tiles(points: np.ndarray) -> np.ndarray:
    """(N, 3) ground color: half-metre tiles."""
    x, z = (np.floor(points[:, axis] / TILE).astype(np.int64) for axis in (0, 2))
    is_dark = ((x + z) % 2).astype(bool)
    return np.where(is_dark[:, None], GROUND_DARK, GROUND_LIGHT)


def _contact(scene: RayScene, points: np.ndarray) -> np.ndarray:
    """(N,) light left on ground points by whatever hovers just above them; 1 is all of it."""
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
