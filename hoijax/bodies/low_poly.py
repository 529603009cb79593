"""A coarse mesh whose vertices are vertices of a fine one: what is posed can also be drawn, cheaply."""

import numpy as np
from jaxtyping import Float, Int


def low_poly(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], cell: float
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, "m 3"]]:
    """Vertices in one cubic cell of `cell` metres become one of them: chosen indices, faces of those.

    Clustering in the rest pose (Rossignac and Borrel 1993), where limbs are apart. The vertex nearest
    to the mean of its cell stays; triangles that collapse, and doubles, go.
    """
    key = np.floor(np.asarray(vertices, np.float64) / cell).astype(np.int64)
    _, group = np.unique(key, axis=0, return_inverse=True)
    group = group.reshape(-1)
    count = np.bincount(group)
    mean = np.stack([np.bincount(group, vertices[:, i]) / count for i in range(3)], axis=-1)
    off = np.linalg.norm(vertices - mean[group], axis=1)
    order = np.lexsort((off, group))
    chosen = order[np.unique(group[order], return_index=True)[1]]
    coarse = group[np.asarray(faces)]
    whole = np.all(coarse != np.roll(coarse, 1, axis=1), axis=1)
    coarse = coarse[whole]
    _, first = np.unique(np.sort(coarse, axis=1), axis=0, return_index=True)
    coarse = coarse[np.sort(first)]
    used, renumbered = np.unique(coarse, return_inverse=True)
    return chosen[used].astype(np.int32), renumbered.reshape(-1, 3).astype(np.int32)
