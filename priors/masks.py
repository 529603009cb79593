"""Masks: their boxes, and random pixels of them."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray


def mask_boxes(
    masks: Bool[ndarray, "T H W"],
) -> tuple[Float[ndarray, "T 4"], Bool[ndarray, " T"]]:
    """(left, top, right, bottom in pixels, whether there is a mask) of every frame."""
    boxes = np.zeros((len(masks), 4), np.float32)
    present = np.asarray(masks.any(axis=(1, 2)))
    for t in np.flatnonzero(present):
        rows, columns = np.flatnonzero(masks[t].any(1)), np.flatnonzero(masks[t].any(0))
        boxes[t] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes, present


def sample_pixels(mask: ndarray, count: int, rng: np.random.Generator) -> tuple[ndarray, ndarray]:
    """(indices (T, count) into H * W, valid (T, count)): up to `count` random pixels of the mask."""
    flat = mask.reshape(len(mask), -1)
    keys: ndarray = np.where(flat, rng.random(flat.shape, np.float32), np.float32(2))
    count_kept = min(count, flat.shape[1])
    chosen = np.argpartition(keys, count_kept - 1, axis=1)[:, :count_kept]
    valid: ndarray = np.take_along_axis(keys, chosen, 1) < 2
    order = np.argsort(np.logical_not(valid), axis=1, kind="stable")  # samples first, padding last
    chosen, valid = np.take_along_axis(chosen, order, 1), np.take_along_axis(valid, order, 1)
    padding = ((0, 0), (0, count - count_kept))
    return np.pad(chosen, padding), np.pad(valid, padding)
