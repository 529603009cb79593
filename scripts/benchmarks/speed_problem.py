"""The published problem size as one synthetic, seeded scene: what `benchmark_speed.py` times.

A person made of capsules walks and turns a chair held by its backrest; the camera sees the side of the chair
that faces it. Nothing is downloaded or rendered, so that the problem builds in seconds, and every
term of the published table has work to do.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hoijax.geometry.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from hoijax.objects import Asset, load_asset
from hoijax.scene.build_objects import pad_to, stack_grids
from hoijax.scene.objects import (
    FIRST_PART,
    WHOLE_UNSIGNED,
    Cameras,
    ContactEdges,
    ObjectConstants,
    ObservedObjects,
)
from hoijax.scene.scene import Scene, Unknowns

FOCAL, IMAGE = 600.0, (720, 480)
NOISE_METERS, NOISE_PIXELS = 0.01, 1.0
CAMERA_DISTANCE = 3.5  # metres from the person's path
POINTMAP_SCALE = 1.1  # the aligned point map is a similarity, not a rigid motion

CAPSULES = np.array(
    [  # start xyz, end xyz, radius (metres), share of the vertices; z forward
        [0.0, 0.95, 0.0, 0.0, 1.45, 0.0, 0.15, 0.26],  # trunk
        [0.0, 1.60, 0.0, 0.0, 1.68, 0.0, 0.10, 0.12],  # head
        [0.20, 1.40, 0.0, 0.20, 1.05, 0.30, 0.05, 0.10],  # left arm
        [-0.20, 1.40, 0.0, -0.20, 1.05, 0.30, 0.05, 0.10],  # right arm
        [0.20, 1.05, 0.32, 0.20, 1.05, 0.40, 0.045, 0.09],  # left hand
        [-0.20, 1.05, 0.32, -0.20, 1.05, 0.40, 0.045, 0.09],  # right hand
        [0.10, 0.90, 0.0, 0.12, 0.08, 0.0, 0.08, 0.12],  # left leg
        [-0.10, 0.90, 0.0, -0.12, 0.08, 0.0, 0.08, 0.12],  # right leg
    ]
)
HIPS, LEFT_HAND, RIGHT_HAND, LEFT_LEG = 0, 4, 5, 6

EDGES = (  # (capsules of the slots, part, one free side, mean, every frame, relatively static)
    ((LEFT_HAND, RIGHT_HAND), "backrest", False, True, True, True),
    ((LEFT_HAND, RIGHT_HAND), "seat", True, True, False, False),
    ((HIPS,), "seat", False, False, False, False),
    ((LEFT_LEG,), "legs", False, False, True, False),
)


@dataclass(frozen=True)
class ProblemSize:
    """Sizes of the problem; the defaults are the published ones (spec/hoi-page.md section 4)."""

    frames: int = 49
    inits: int = 4
    points: int = 1024
    samples: int = 4096
    vertices: int = 10475
    contact_points: int = 64
    resolution: int = 48
    seed: int = 0


class Starts(NamedTuple):
    """The truth turned by K yaw angles and displaced: `Unknowns` with a leading axis K."""

    rotation_6d: jax.Array
    translation: jax.Array

    def batch(self) -> Unknowns:
        """All candidates as `optimize` takes them."""
        return Unknowns(*self)

    def candidate(self, k: int) -> Unknowns:
        return Unknowns(self.rotation_6d[k], self.translation[k])


@dataclass(frozen=True)
class SpeedProblem:
    """A scene with its starts. All arrays are JAX arrays; `torch_problem` copies them."""

    size: ProblemSize
    scene: Scene
    starts: Starts


def build_problem(size: ProblemSize) -> SpeedProblem:
    """Scene and starts of the given size; equal seeds give equal problems."""
    rng = np.random.default_rng(size.seed)
    asset = load_asset("chair", seed=size.seed, samples=size.samples)
    grids, first_grid = stack_grids((asset,), size.resolution)
    rotations, translations = _object_motion(size.frames)
    body, capsule_of_vertex = _body(size, translations, rng)
    samples = asset.samples - asset.center
    order = rng.permutation(size.samples)
    parts = pad_to(len(asset.part_names), 4)
    part_of_sample = asset.sample_parts[order][None] == np.arange(parts)[:, None]
    constants = ObjectConstants(
        centers=jnp.asarray(asset.center[None]),
        samples=jnp.asarray(samples[order][None]),
        sample_parts=jnp.asarray(asset.sample_parts[order][None]),
        first_grid=jnp.asarray(first_grid),
        is_translational=jnp.ones(1, bool),
        is_rotational=jnp.ones(1, bool),
    )
    cameras = _cameras(size.frames)
    scene = Scene(
        grids=grids,
        objects=constants,
        observed=_observe(asset, rotations, translations, part_of_sample[None], size, rng),
        cameras=cameras,
        body_vertices_world=jnp.asarray(body[None], jnp.float32),
        edges=_edges(asset, body, capsule_of_vertex, first_grid, size, rng),
    )
    return SpeedProblem(size, scene, _starts(rotations, translations, size.inits, rng))


def _object_motion(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """True T_world_centred: rotations (T, 3, 3) and translations (T, 3)."""
    time = np.linspace(0.0, 1.0, frames)
    turn = np.zeros((frames, 3), np.float32)
    turn[:, 1] = np.pi + 0.6 * np.sin(2.0 * np.pi * time)  # the backrest faces the person
    path = np.stack([0.4 * time - 0.2, 0.75 + 0.1 * np.sin(np.pi * time), 0.6 + 0.0 * time], axis=1)
    return np.asarray(axis_angle_to_matrix(jnp.asarray(turn))), path


def _body(
    size: ProblemSize, translations: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points on capsules, (T, V, 3), that walk beside the object, and each point's capsule (V,)."""
    starts, ends, radius, share = np.split(CAPSULES, [3, 6, 7], axis=1)
    owner = rng.choice(len(CAPSULES), size.vertices, p=share[:, 0] / share.sum())
    along = rng.random((size.vertices, 1))
    normal = rng.normal(size=(size.vertices, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    rest = starts[owner] + along * (ends - starts)[owner] + radius[owner] * normal
    walk = translations * np.array([1.0, 0.3, 0.0])
    return rest[None] + walk[:, None] - np.array([0.0, 0.25, 0.0]), owner


def _cameras(frames: int) -> Cameras:
    """A fixed camera that looks along -z at the walk, behind a point map of another scale."""
    pointmap_world = np.diag([1.0, -1.0, -1.0, 1.0])
    pointmap_world[:3, 3] = [0.0, 1.0, CAMERA_DISTANCE]
    pointmap_world[:3] *= POINTMAP_SCALE
    return Cameras(
        Ts_pointmap_world=jnp.asarray(np.tile(pointmap_world, (frames, 1, 1)), jnp.float32),
        intrinsics=jnp.asarray(np.tile(_intrinsics(), (frames, 1, 1)), jnp.float32),
        cell_size=jnp.full(2, 4.0, jnp.float32),
    )


def _intrinsics() -> np.ndarray:
    width, height = IMAGE
    return np.array([[FOCAL, 0.0, width / 2], [0.0, FOCAL, height / 2], [0.0, 0.0, 1.0]])


def _observe(
    asset: Asset,
    rotations: np.ndarray,
    translations: np.ndarray,
    part_of_sample: np.ndarray,
    size: ProblemSize,
    rng: np.random.Generator,
) -> ObservedObjects:
    """Noisy points on the faces turned to the camera, labeled with their parts."""
    frames, parts = size.frames, part_of_sample.shape[1]
    normals = asset.sample_normals @ np.swapaxes(rotations, 1, 2)
    chosen = np.stack([rng.choice(np.flatnonzero(n[:, 2] > 0.1), size.points) for n in normals])
    local = (asset.samples - asset.center)[chosen]
    exact = local @ np.swapaxes(rotations, 1, 2) + translations[:, None]
    depth = CAMERA_DISTANCE - exact[..., 2:]
    seen = np.concatenate([exact[..., :1], 1.0 - exact[..., 1:2]], axis=-1)
    pixels = seen / depth * FOCAL + np.array(IMAGE) / 2
    labels = asset.sample_parts[chosen]
    mask = rng.random((frames, size.points)) < 0.97  # a few padded entries, as in real frames
    one_hot = (labels[..., None] == np.arange(parts)) & mask[..., None]
    shares = one_hot / np.maximum(one_hot.sum(axis=1, keepdims=True), 1)
    detected = np.ones((1, frames), bool)
    detected[0, frames // 2] = False
    grids = np.where(mask, FIRST_PART + labels, WHOLE_UNSIGNED)
    points = exact + NOISE_METERS * rng.normal(size=exact.shape)
    return ObservedObjects(
        points_world=jnp.asarray(np.where(mask[..., None], points, 0.0)[None], jnp.float32),
        pixels=jnp.asarray(
            (pixels + NOISE_PIXELS * rng.normal(size=pixels.shape))[None], jnp.float32
        ),
        point_mask=jnp.asarray(mask[None]),
        part_shares=jnp.asarray(shares[None], jnp.float32),
        part_grids=jnp.asarray(grids[None], jnp.int32),
        part_of_sample=jnp.asarray(part_of_sample),
        detected=jnp.asarray(detected),
        mask_distance=jnp.zeros((1, frames, 8, 8, 4)),
    )


def _edges(
    asset: Asset,
    body: np.ndarray,
    capsule_of_vertex: np.ndarray,
    first_grid: np.ndarray,
    size: ProblemSize,
    rng: np.random.Generator,
) -> ContactEdges:
    """The edges of EDGES; body parts are the vertices of a capsule."""
    count = len(EDGES)
    points = np.zeros((count, 2, size.frames, size.contact_points, 3), np.float32)
    slots = np.zeros((count, 2), bool)
    for e, (capsules, *_) in enumerate(EDGES):
        for slot, capsule in enumerate(capsules):
            vertices = rng.choice(np.flatnonzero(capsule_of_vertex == capsule), size.contact_points)
            points[e, slot], slots[e, slot] = body[:, vertices], True
    flags = np.array([edge[2:] for edge in EDGES])
    rows = [first_grid[0] + FIRST_PART + asset.part_index(edge[1]) for edge in EDGES]
    return ContactEdges(
        points=jnp.asarray(points),
        slot_mask=jnp.asarray(slots),
        select_side=jnp.asarray(flags[:, 0]),
        source=jnp.ones(count, jnp.int32),
        target=jnp.zeros(count, jnp.int32),
        grid=jnp.asarray(rows, jnp.int32),
        use_mean=jnp.asarray(flags[:, 1]),
        every_frame=jnp.asarray(flags[:, 2]),
        is_rel_static=jnp.asarray(flags[:, 3]),
        mask=jnp.ones(count, bool),
    )


def _starts(
    rotations: np.ndarray, translations: np.ndarray, inits: int, rng: np.random.Generator
) -> Starts:
    """Published starts: K yaw angles; translations a few centimetres off."""
    yaw = np.zeros((inits, 3), np.float32)
    yaw[:, 1] = 0.15 + 2.0 * np.pi * np.arange(inits) / inits
    turned = np.asarray(axis_angle_to_matrix(jnp.asarray(yaw)))[:, None] @ rotations[None]
    shifted = translations + 0.03 * rng.normal(size=(inits, *translations.shape))
    six = matrix_to_rotation_6d(jnp.asarray(turned, jnp.float32))
    return Starts(six[:, None], jnp.asarray(shifted, jnp.float32)[:, None])
