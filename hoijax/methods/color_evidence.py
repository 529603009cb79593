"""How well each candidate's colors are those of the clip: tells turns apart that look alike otherwise (host)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.bundle.observations import Observations
from hoijax.geometry.rotations import rotation_6d_to_matrix
from hoijax.geometry.thinning import thinned
from hoijax.geometry.transforms import compose_rigid
from hoijax.objects.asset import Asset
from hoijax.objects.colored_triangles import colored_triangles, linear_rgb
from hoijax.rendering.raycast import RayScene, RenderMesh
from hoijax.scene.objects import Cameras
from hoijax.scene.scene import Unknowns

FRAMES, PIXELS = 12, 256
"""At most so many frames of a clip are compared, and pixels of an object in each."""
FEWEST_PIXELS = 32
"""In the whole clip."""
FEWEST_COLORS = 0.03
"""Deviation of a mesh's own colors (linear, 0 to 1) below which it has only one."""
LARGEST_GROUP = 72
"""Symmetries of an object that are tried."""
CLEARLY_LESS = 0.85
"""Share of what is unexplained below which a symmetric turn is clearly better."""
MIN_UNEXPLAINED = 0.05
"""No light model explains an image better than this."""
SAME_COLOR = 0.05
"""Linear distance of colors that may be one."""
FEWEST_HITS = 0.5
"""Share of an object's pixels that must show it where a candidate has it."""
LIGHT_ROUNDS, LIGHT_PRIOR, DARKEST = 8, 0.02, 0.05
"""Rounds of reweighting; how much an even light is preferred; brightness of what no light reaches."""


def has_colors(observations: Observations, assets: tuple[Asset, ...]) -> bool:
    """Whether there is anything to compare."""
    return bool(observations.color_images.size) and any(a.appearance for a in assets)


@dataclass(frozen=True)
class ColorMatch:
    """What the colors of a clip say about K candidates."""

    unexplained: Float[ndarray, "K O"]
    """Share of what an object's pixels differ by in color that is left; 1: there are none to compare."""
    turns: Float[ndarray, "K O 3 3"]
    """Turn about the object's center, from the right, by which colors fit better and the shape alike."""

    @property
    def is_known(self) -> bool:
        return bool(np.any(self.unexplained < 1.0))


def match_colors(
    observations: Observations,
    cameras: Cameras,
    assets: tuple[Asset, ...],
    poses: Unknowns,
    symmetries: Sequence[Float[ndarray, "S 3 3"]],
) -> ColorMatch:
    """Colors of the clip compared with the meshes' own.

    The mesh's color at what a pixel shows, under an unknown light and white balance, is fitted to the
    pixel's. So exposure and shading matter little, and what is printed on the object matters. poses: of K
    candidates, in the frames about centers. symmetries: `find_symmetries` of each object, among which
    the best is chosen where it is clearly better than none.
    """
    rotations = np.asarray(rotation_6d_to_matrix(poses.object_rotation_6d), np.float64)
    translations = np.asarray(poses.object_translation)
    Ts_map_world = np.asarray(cameras.Ts_pointmap_world, np.float64)
    unexplained = np.ones(rotations.shape[:2])
    turns = np.broadcast_to(np.eye(3), (*rotations.shape[:2], 3, 3)).copy()
    for o, asset in enumerate(assets):
        seen = _seen_pixels(observations, cameras, o)
        if not asset.appearance or len(seen.frames) < FEWEST_PIXELS:
            continue
        vertices, faces, albedo = colored_triangles(asset.appearance)
        surface = RayScene([RenderMesh(vertices - asset.center, faces, 1, color=albedo)])
        group = thinned(symmetries[o], LARGEST_GROUP)
        for k in range(len(rotations)):
            Ts_map_object = Ts_map_world @ compose_rigid(rotations[k, o], translations[k, o])
            Ts_object_map = np.linalg.inv(Ts_map_object)[seen.frames]
            eyes = Ts_object_map[:, :3, 3]
            directions = np.einsum("nij,nj->ni", Ts_object_map[:, :3, :3], seen.rays)
            turned_by = rotations[k, o][seen.frames]
            shares = [
                _unexplained(surface, seen.colors, eyes @ turn, directions @ turn, turned_by @ turn)
                for turn in group
            ]
            best = int(np.argmin(shares))
            if shares[best] > CLEARLY_LESS * shares[0]:
                best = 0
            unexplained[k, o], turns[k, o] = shares[best], group[best]
    return ColorMatch(unexplained, turns)


@dataclass(frozen=True)
class _Seen:
    """Pixels of one object in the small images."""

    frames: Int[ndarray, " n"]
    rays: Float[ndarray, "n 3"]
    """In camera axes."""
    colors: Float[ndarray, "n 3"]
    """Linear."""


def _seen_pixels(observations: Observations, cameras: Cameras, o: int) -> _Seen:
    images, labels = observations.color_images, observations.instance_ids
    small, size = np.array(images.shape[1:3]), np.array(labels.shape[1:3])
    row, column = (
        ((np.arange(n) + 0.5) / n * full).astype(int) for n, full in zip(small, size, strict=True)
    )
    number = observations.person_count + o + 1
    seen = np.flatnonzero(observations.object_detected[o] & observations.frame_mask)
    rows = [(np.zeros(0, int), np.zeros((0, 3)), np.zeros((0, 3)))]
    for t in thinned(seen, FRAMES).tolist():
        places = np.argwhere(labels[t][np.ix_(row, column)] == number)
        v, u = thinned(places, PIXELS).T
        K = np.asarray(cameras.intrinsics[t], np.float64)
        x = ((u + 0.5) / small[1] * size[1] - K[0, 2]) / K[0, 0]
        y = ((v + 0.5) / small[0] * size[0] - K[1, 2]) / K[1, 1]
        rays = np.stack([x, y, np.ones_like(x)], axis=1)
        rows.append((np.full(len(v), t), rays, linear_rgb(images[t, v, u])))
    frames, rays, colors = (np.concatenate(x) for x in zip(*rows, strict=True))
    return _Seen(frames, rays, colors)


def _unexplained(
    surface: RayScene,
    colors: Float[ndarray, "n 3"],
    eyes: Float[ndarray, "n 3"],
    directions: Float[ndarray, "n 3"],
    rotations: Float[ndarray, "n 3 3"],
) -> float:
    """Of one object of one turn of a candidate. Pixels whose rays miss it are left out.

    eyes, directions: the pixels' rays in the object's axes. rotations: these axes in the world.
    """
    hits = surface.intersect(eyes, directions)
    met = hits.face_ids >= 0
    albedo = surface.colors[hits.face_ids[met]].astype(np.float64)
    if met.mean() < FEWEST_HITS or albedo.std(axis=0).max() < FEWEST_COLORS:
        return 1.0
    corners = surface.vertices[surface.faces[hits.face_ids[met]]].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    facing = -np.sign(np.sum(normals * directions[met], axis=-1, keepdims=True))
    normals = np.einsum("nij,nj->ni", rotations[met], facing * normals)
    colors = colors[met]
    off = np.linalg.norm(colors - np.median(colors, axis=0), axis=-1)
    left = np.linalg.norm(colors - _lit(albedo, normals, colors), axis=-1)
    shares = (np.sum(np.log1p((x / SAME_COLOR) ** 2)) for x in (left, off))
    return float(np.clip(np.divide(*shares), MIN_UNEXPLAINED, 1.0))


def _lit(
    albedo: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"], colors: Float[ndarray, "n 3"]
) -> Float[ndarray, "n 3"]:
    """Albedo under the light and white balance that bring it nearest to the colors, robustly.

    Brightness is linear in the normal, the same for all channels: a light of its own for each channel
    could paint one side of a box in any color.
    """
    light = np.concatenate([np.ones((len(normals), 1)), normals], axis=1)
    held = np.sqrt(LIGHT_PRIOR * len(normals)) * albedo.mean() * np.diag([0.0, 1.0, 1.0, 1.0])
    balance, weight = np.ones(3), np.ones(len(normals))
    seen = albedo
    for _ in range(LIGHT_ROUNDS):
        root = np.sqrt(weight)[:, None]
        rows = [root * light * (balance[c] * albedo[:, c, None]) for c in range(3)]
        targets = [root[:, 0] * colors[:, c] for c in range(3)]
        rows, targets = np.concatenate([*rows, held]), np.concatenate([*targets, np.zeros(4)])
        strength, *_ = np.linalg.lstsq(rows, targets, rcond=None)
        seen = albedo * np.maximum(light @ strength, DARKEST)[:, None]
        moments = np.sum(root**2 * colors * seen, axis=0), np.sum(root**2 * seen**2, axis=0)
        balance = moments[0] / np.maximum(moments[1], 1e-12)
        seen = balance * seen
        away = np.linalg.norm(colors - seen, axis=-1)
        scale = 2.0 * (1.48 * float(np.median(away)) + 0.01)
        weight = 1.0 / (1.0 + (away / scale) ** 2)
    return seen
