"""How real priors err, family by family: each with one strength, 1 being what is seen of real priors.

`observation_noise` draws errors that are independent of each other and mostly average out over a clip.
Real priors are wrong the same way for a whole clip: a body that leans, a depth that is flat, a focal
length that is off. A family is one such way to be wrong. Any number of them, each at its own strength,
make the observations of one scene; every family has its own random stream, so that switching one on or
off leaves the others' draws as they were.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from hoijax.bodies.keypoints import OPENPOSE_18
from hoijax.bodies.kinematics import JOINT_NAMES, JOINT_PARENTS, exchanged_sides
from hoijax.errors import UserError
from hoijax.objects.asset import Asset

__all__ = ["FAMILIES", "Draft", "apply_errors", "check_families", "tuned_families"]


@dataclass
class Draft:
    """Observations in the making, everything still exact before the first family errs.

    Point maps are depth images along the rays of the true camera; `label_images` has 0 background,
    then people, then objects.
    """

    depth: ndarray  # (T, H, W) metres, 0 where nothing was hit
    label_images: ndarray  # (T, H, W)
    keypoints: ndarray  # (P, T, 18, 3)
    intrinsics: ndarray  # (T, 3, 3), as reported
    Ts_world_camera: ndarray  # (T, 4, 4), as reported
    point_scale: ndarray  # (T,) of the point map
    point_shift: ndarray  # (T, 3) metres, camera axes
    rotations: ndarray  # (P, T, 55, 3) axis-angle
    translations: ndarray  # (P, T, 3)
    rest_joints: ndarray  # (P, 55, 3)
    assets: tuple[Asset, ...]  # the meshes the solver is given
    people: int

    @property
    def frames(self) -> int:
        return len(self.depth)


def ar1(rng: np.random.Generator, shape: tuple[int, ...], memory: float) -> ndarray:
    """Unit-variance first-order autoregression along the first axis: drift that remembers."""
    draws = rng.standard_normal(shape)
    out = np.empty(shape)
    out[0] = draws[0]
    for t in range(1, shape[0]):
        out[t] = memory * out[t - 1] + np.sqrt(1.0 - memory**2) * draws[t]
    return out


def _turned(rotvecs: ndarray, world_turn: ndarray) -> ndarray:
    """Axis-angles after a further turn about world axes."""
    from scipy.spatial.transform import Rotation

    flat = Rotation.from_rotvec(world_turn.reshape(-1, 3).copy()) * Rotation.from_rotvec(
        rotvecs.reshape(-1, 3)
    )
    return flat.as_rotvec().reshape(rotvecs.shape)


def _joint_errors(draft: Draft, names: tuple[str, ...], degrees: float, rng, memory: float) -> None:
    """Errors of some joints' local rotations: half of it the same for all frames, half drifting."""
    from scipy.spatial.transform import Rotation

    index = [JOINT_NAMES.index(name) for name in names]
    shape = (draft.frames, draft.people, len(index), 3)
    constant = rng.standard_normal(shape[1:])
    draws = (0.7 * constant + 0.7 * ar1(rng, shape, memory)).swapaxes(0, 1)
    angle = np.radians(degrees) / np.sqrt(3)
    exact = Rotation.from_rotvec(draft.rotations[:, :, index].reshape(-1, 3))
    turned = exact * Rotation.from_rotvec(angle * draws.reshape(-1, 3))
    draft.rotations[:, :, index] = turned.as_rotvec().reshape(draws.shape)


_LEGS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "knee", "ankle"))
_ARMS = tuple(
    f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist")
)


def body_lean(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """A constant lean of a few degrees."""
    turn = np.zeros((draft.people, 1, 3))
    turn[..., [0, 2]] = np.radians(3.0 * strength) * rng.standard_normal((draft.people, 1, 2))
    draft.rotations[:, :, 0] = _turned(
        draft.rotations[:, :, 0], np.broadcast_to(turn, draft.rotations[:, :, 0].shape)
    )


def body_depth(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """A bias of centimetres along the camera's axis, the same for all frames."""
    axis = draft.Ts_world_camera[0, :3, 2]
    sign = rng.choice([-1.0, 1.0], draft.people)
    bias = sign * strength * (0.02 + 0.02 * rng.random(draft.people))
    draft.translations += bias[:, None, None] * axis


def body_shape(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Wrong bone lengths: 3.5 % each, and a size off by 2 %."""
    for p in range(draft.people):
        rest = draft.rest_joints[p]
        size = 1.0 + 0.02 * strength * rng.standard_normal()
        factors = size * (1.0 + 0.035 * strength * rng.standard_normal(len(rest)))
        out = rest.copy()
        for joint, parent in enumerate(JOINT_PARENTS):
            if parent >= 0:
                out[joint] = out[parent] + factors[joint] * (rest[joint] - rest[parent])
        # The soles stay where they were: a recovery puts its own person on the ground.
        lowest = draft.rest_joints[p][:, 1].min() - out[:, 1].min()
        draft.translations[p, :, 1] -= lowest
        draft.rest_joints[p] = out


def body_drift(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Slow drift in the world: about three centimetres over of a clip."""
    walk = np.cumsum(rng.standard_normal((draft.people, draft.frames, 3)), axis=1)
    walk *= np.array([1.0, 0.3, 1.0]) / np.sqrt(draft.frames)
    draft.translations += 0.03 * strength * (walk - walk.mean(axis=1, keepdims=True))


def body_feet(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Legs that swing a little where they should stand: feet that skate."""
    _joint_errors(draft, _LEGS, 2.0 * strength, rng, 0.6)


def body_hands(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Arms off by degrees at every joint: hands a hand's breadth from where they are."""
    _joint_errors(draft, _ARMS, 5.0 * strength, rng, 0.85)


def body_swaps(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Left and right exchanged for single frames."""
    draws = rng.random((draft.people, draft.frames))
    swapped = (draws < 0.03 * strength) | (draws == draws.min())  # one frame at the least
    exchanged = exchanged_sides(draft.rotations)
    draft.rotations[:] = np.where(swapped[..., None, None], exchanged, draft.rotations)


def depth_drift(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Scale and shift of the point map, drifting with a memory of ten frames."""
    draft.point_scale *= np.exp(0.03 * strength * ar1(rng, (draft.frames,), 0.9))
    shift = ar1(rng, (draft.frames, 3), 0.9) * np.array([0.01, 0.01, 0.04])
    draft.point_shift += strength * shift


def depth_smooth(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """An error that is smooth over a quarter of the image and stays there all the time."""
    height, width = draft.depth.shape[1:]
    v, u = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    field = np.zeros((height, width))
    for _ in range(6):
        across, down = rng.uniform(0.5, 2.0, 2)
        phase = rng.uniform(0, 2 * np.pi)
        field += np.cos(2 * np.pi * (across * u + down * v) + phase) / np.sqrt(3.0)
    _shift_depth(draft, 0.03 * strength * field)


def depth_flat(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Relief: every entity is flatter than it is, and far things are further off (error ~ depth^2)."""
    flat = 1.0 - 0.12 * strength
    for t in range(draft.frames):
        for entity in np.unique(draft.label_images[t]):
            member = (draft.label_images[t] == entity) & (draft.depth[t] > 0)
            if entity and member.any():
                middle = draft.depth[t][member].mean()
                draft.depth[t][member] = middle + flat * (draft.depth[t][member] - middle)
    bend = 0.004 * strength * rng.standard_normal()
    _shift_depth(draft, bend * draft.depth**2)


def depth_edges(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Edges bleed over silhouettes: pixels there take a mix of what lies on both sides."""
    from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

    near = np.where(draft.depth > 0, draft.depth, np.float32(1e6))
    step = maximum_filter(draft.depth, (1, 5, 5)) - minimum_filter(near, (1, 5, 5))
    is_edge = (step > 0.05) & (draft.depth > 0)
    blurred = gaussian_filter(draft.depth, (0, 1.0 + strength, 1.0 + strength))
    weight = gaussian_filter(
        (draft.depth > 0).astype(np.float64), (0, 1.0 + strength, 1.0 + strength)
    )
    mixed = blurred / np.maximum(weight, 1e-3)
    draft.depth[:] = np.where(is_edge, mixed, draft.depth)


def _shift_depth(draft: Draft, change: ndarray) -> None:
    hit = draft.depth > 0
    draft.depth[:] = np.where(hit, np.maximum(draft.depth + change, 0.1), 0.0)


def intrinsics(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """A focal length that is off by 8 %, either way; the point map is unprojected with it as well."""
    factor = np.exp(0.08 * strength * rng.choice([-1.0, 1.0]))
    draft.intrinsics[:, 0, 0] *= factor
    draft.intrinsics[:, 1, 1] *= factor


def masks_thick(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Masks of objects and people a pixel or two too fat or too thin, all the time."""
    from scipy.ndimage import binary_dilation, binary_erosion

    size = max(round(1.5 * strength), 1)
    for entity in np.unique(draft.label_images):
        if entity == 0:
            continue
        grows = rng.random() < 0.5
        for labels in draft.label_images:
            mask = labels == entity
            change = binary_dilation if grows else binary_erosion
            changed: ndarray = np.asarray(change(mask, iterations=size), bool)
            if grows:
                labels[changed & (labels == 0)] = entity
            else:
                labels[mask & ~changed] = 0


def masks_hands(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """The hand counted as the object, or the object as the hand, where the two meet."""
    from scipy.ndimage import binary_dilation

    reach = max(round(3 * strength), 1)
    takes_hand = rng.random() < 0.5
    for labels in draft.label_images:
        person = (labels > 0) & (labels <= draft.people)
        for entity in np.unique(labels[labels > draft.people]):
            of_object = labels == entity
            near_thing = binary_dilation(of_object, iterations=reach) & person
            near_person = binary_dilation(person, iterations=reach) & of_object
            labels[near_thing if takes_hand else near_person] = entity if takes_hand else 1


def masks_lost(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Every object lost for one stretch of frames, an eighth of the clip."""
    length = round(draft.frames * 0.125 * strength)
    for entity in range(draft.people + 1, draft.people + 1 + len(draft.assets)):
        if length:
            first = rng.integers(0, max(draft.frames - length, 1))
            stretch = draft.label_images[first : first + length]
            stretch[stretch == entity] = 0


def keypoints_tails(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Heavy tails: Student t of 2.5 degrees of freedom, three pixels wide."""
    height = draft.depth.shape[1]
    shape = draft.keypoints.shape[:-1]
    draws = rng.standard_t(2.5, (*shape, 2)) * strength * 3.0 * height / 240.0
    seen = draft.keypoints[..., 2:] > 0
    draft.keypoints[..., :2] += np.where(seen, draws, 0.0)


def keypoints_confident(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Confident mistakes: limbs exchanged for some frames, hidden joints invented in one place."""
    order = list(range(18))
    for i, name in enumerate(OPENPOSE_18):
        side, _, rest = name.partition("_")
        other = {"left": "right", "right": "left"}.get(side)
        if other and f"{other}_{rest}" in OPENPOSE_18:
            order[i] = OPENPOSE_18.index(f"{other}_{rest}")
    draws = rng.random(draft.keypoints.shape[:2])
    swapped = (draws < 0.04 * strength) | (draws == draws.min())  # one frame at the least
    draft.keypoints[:] = np.where(
        swapped[..., None, None], draft.keypoints[:, :, order], draft.keypoints
    )
    hidden = (draft.keypoints[..., 2] > 0) & (draft.keypoints[..., 2] < 0.6)
    bias = (
        12.0 * strength * rng.standard_normal((draft.people, 1, 18, 2)) * draft.depth.shape[1] / 240
    )
    draft.keypoints[..., :2] += np.where(hidden[..., None], bias, 0.0)
    draft.keypoints[..., 2] = np.where(hidden, 0.8, draft.keypoints[..., 2])


def mesh_scale(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """The mesh is too large or too small: by about 12 %."""
    draft.assets = tuple(
        _scaled(asset, np.full(3, np.exp(0.12 * strength * rng.choice([-1.0, 1.0]))))
        for asset in draft.assets
    )


def mesh_stretch(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """Its proportions are off: each axis by about 8 %, the volume kept."""
    stretched = []
    for asset in draft.assets:
        logs = 0.08 * strength * rng.standard_normal(3)
        stretched.append(_scaled(asset, np.exp(logs - logs.mean())))
    draft.assets = tuple(stretched)


def _scaled(asset: Asset, factors: ndarray) -> Asset:
    """The mesh and its samples stretched about the mesh's own origin."""
    return dataclasses.replace(
        asset,
        vertices=(asset.vertices * factors).astype(np.float32),
        samples=(asset.samples * factors).astype(np.float32),
    )


def camera_moves(draft: Draft, strength: float, rng: np.random.Generator) -> None:
    """A camera said to be static that is not quite: its reported pose drifts by a degree and 2 cm."""
    turn = np.radians(0.6 * strength) * ar1(rng, (draft.frames, 3), 0.95)
    from scipy.spatial.transform import Rotation

    draft.Ts_world_camera[:, :3, :3] = (
        draft.Ts_world_camera[:, :3, :3] @ Rotation.from_rotvec(turn).as_matrix()
    )
    draft.Ts_world_camera[:, :3, 3] += 0.02 * strength * ar1(rng, (draft.frames, 3), 0.95)


FAMILIES = {
    function.__name__: function
    for function in (
        body_lean,
        body_depth,
        body_shape,
        body_drift,
        body_feet,
        body_hands,
        body_swaps,
        depth_drift,
        depth_smooth,
        depth_flat,
        depth_edges,
        intrinsics,
        masks_thick,
        masks_hands,
        masks_lost,
        keypoints_tails,
        keypoints_confident,
        mesh_scale,
        mesh_stretch,
        camera_moves,
    )
}
"""In the order in which they err: geometry first, then what is read off images."""


def tuned_families() -> tuple[str, ...]:
    """Every second family: only these may be looked at to choose a weight. The others report."""
    return tuple(FAMILIES)[::2]


def check_families(strengths: Mapping[str, float]) -> None:
    """Raises UserError for a family that does not exist or a strength below zero."""
    unknown = sorted(set(strengths) - set(FAMILIES))
    if unknown:
        raise UserError(f"no error family {unknown}. Known families: {', '.join(FAMILIES)}.")
    wrong = {name: value for name, value in strengths.items() if not 0.0 <= value <= 4.0}
    if wrong:
        raise UserError(f"strengths of error families lie between 0 and 4, got {wrong}.")


def apply_errors(draft: Draft, strengths: Mapping[str, float], seed: int) -> None:
    """Let every family err in place, at its strength. Raises UserError for unknown families."""
    check_families(strengths)
    streams = np.random.default_rng(seed).spawn(len(FAMILIES))
    for (name, family), stream in zip(FAMILIES.items(), streams, strict=True):
        if strengths.get(name, 0.0) > 0.0:
            family(draft, strengths[name], stream)
