"""Masks as segmentation priors report them, and the pixels that survive the published filters.

Arrays are (T, H, W): `labels` are instance ids (0 background), `parts` part indices (-1 none).
"""

import numpy as np
from numpy import ndarray

from priors.synthetic.observation_noise import NoiseModel, blobs, smooth_over_pixels


def flicker(
    instance_ids: ndarray, part_ids: ndarray, noise: NoiseModel, rng: np.random.Generator
) -> tuple[ndarray, ndarray]:
    """Instance and part masks with boundaries pushed in and out, and holes."""
    shape = instance_ids.shape
    t, v, u = (axis.astype(np.int32) for axis in np.ogrid[: shape[0], : shape[1], : shape[2]])
    dv, du = (
        np.rint(
            noise.mask_jitter_pixels * smooth_over_pixels(rng, shape, noise.mask_cell_pixels)
        ).astype(np.int32)
        for _ in range(2)
    )
    row, column = np.clip(v + dv, 0, shape[1] - 1), np.clip(u + du, 0, shape[2] - 1)
    source = (t * shape[1] + row) * shape[2] + column
    holes = blobs(rng, shape, noise.hole_pixels, noise.hole_share)
    labels = np.where(holes, np.uint8(0), instance_ids.reshape(-1)[source])
    return labels, np.where(labels == 0, np.int8(-1), part_ids.reshape(-1)[source])


def mislabel(
    labels: ndarray,
    parts: ndarray,
    part_counts: list[int],
    people: int,
    noise: NoiseModel,
    rng: np.random.Generator,
) -> ndarray:
    """Part labels with blobs of another part of the same object and blobs without label."""
    shape = labels.shape
    wrong = blobs(rng, shape, noise.mask_cell_pixels, noise.part_mislabel_share)
    unlabeled = blobs(rng, shape, noise.mask_cell_pixels, noise.part_unlabeled_share)
    parts = parts.copy()
    for o, count in enumerate(part_counts):
        chosen = (labels == people + o + 1) & (parts >= 0) & wrong
        if count > 1:  # one offset a frame: a blob takes one wrong name, as a detector gives it
            offset = rng.integers(1, count, shape[0])[:, None, None]
            parts = np.where(chosen, (parts + offset) % count, parts).astype(np.int8)
    return np.where(unlabeled, np.int8(-1), parts)


def without_missed(labels: ndarray, missed: ndarray) -> ndarray:
    """Clear the masks of entities in the frames the detector missed them; missed (N, T)."""
    keep = np.ones((missed.shape[0] + 1, labels.shape[0]), np.uint8)
    keep[1:] = ~missed
    frame = np.arange(labels.shape[0])[:, None, None]
    return labels * keep[labels, frame]


def usable_points(
    depth: ndarray,
    labels: ndarray,
    entity_count: int,
    noise: NoiseModel,
    rng: np.random.Generator,
) -> ndarray:
    """(T, H, W) bool: pixels whose points survive erosion of the masks and the depth-edge filter."""
    from scipy.ndimage import maximum_filter, minimum_filter

    window = (1, 3, 3)
    usable = (depth > 0) & (labels > 0)
    if noise.edge_drop > 0:
        farthest = maximum_filter(depth, window)
        nearest = minimum_filter(np.where(depth > 0, depth, np.float32(1e6)), window)
        is_edge = (farthest - nearest) > noise.edge_relative * depth
        usable &= ~(is_edge & (rng.random(depth.shape, np.float32) < noise.edge_drop))
    if noise.erode:
        inside = np.zeros_like(usable)
        for i in range(entity_count):
            mask = (labels == i + 1).astype(np.uint8)
            eroded = minimum_filter(mask, window)
            opened = maximum_filter(eroded, window)
            inside |= (eroded > 0) | ((mask > 0) & (opened == 0))  # a broom's handle would vanish
        usable &= inside
    return usable
