"""How what is read off images is wrong: depth, the camera, masks, keypoints, the mesh's size."""

import dataclasses

import numpy as np
from numpy import ndarray

from hoijax.bodies.keypoints import OPENPOSE_18
from hoijax.objects.asset import Asset
from priors.synthetic.error_draft import Draft, ar1


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
    rotvec = np.radians(0.6 * strength) * ar1(rng, (draft.frames, 3), 0.95)
    from scipy.spatial.transform import Rotation

    draft.Ts_world_camera[:, :3, :3] = (
        draft.Ts_world_camera[:, :3, :3] @ Rotation.from_rotvec(rotvec).as_matrix()
    )
    draft.Ts_world_camera[:, :3, 3] += 0.02 * strength * ar1(rng, (draft.frames, 3), 0.95)
