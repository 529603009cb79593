"""Skin on four joints a vertex, for programs that take no more (glTF, browsers), as near as it can be."""

import itertools

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.exporters.clip import PersonClip

INFLUENCES = 4
TOLERANCE = 2e-4  # metres: vertices that four joints pose this well are left as they are
FRAMES = 16  # of the clip that are looked at
_PULL = 1e-5  # square metres: towards the plain weights, where poses do not tell joints apart


def strongest_influences(
    skin_indices: Int[ndarray, "V k"], skin_weights: Float[ndarray, "V k"]
) -> tuple[Int[ndarray, "V 4"], Float[ndarray, "V 4"]]:
    """The four strongest joints of every vertex, weights renormalized; joint 0 where weightless."""
    missing = max(INFLUENCES - skin_indices.shape[1], 0)
    indices = np.pad(skin_indices, ((0, 0), (0, missing)))
    weights = np.pad(skin_weights, ((0, 0), (0, missing)))
    order = np.argsort(-weights, axis=1, kind="stable")[:, :INFLUENCES]
    indices, weights = np.take_along_axis(indices, order, 1), np.take_along_axis(weights, order, 1)
    weights = weights / weights.sum(axis=1, keepdims=True)
    return np.where(weights > 0, indices, 0).astype(np.int32), weights.astype(np.float32)


def fitted_influences(
    person: PersonClip,
) -> tuple[Int[ndarray, "V 4"], Float[ndarray, "V 4"]]:
    """Four joints a vertex that pose this clip's skin best.

    Leaving the weaker joints out moves skin by up to a centimetre where many meet, at chest and
    armpit, and neighbors by different amounts: jags. Where that happens, every choice of four of a
    vertex's joints is tried with weights by least squares over frames of the clip.
    """
    shaped = person.shaped
    indices, weights = np.asarray(shaped.skin_indices), np.asarray(shaped.skin_weights)
    best_indices, best_weights = strongest_influences(indices, weights)
    if indices.shape[1] <= INFLUENCES:
        return best_indices, best_weights
    frames = np.unique(np.linspace(0, len(person.translations) - 1, FRAMES).astype(int))
    Ts = person.Ts_world_joint[frames]
    turns, places = Ts[..., :3, :3], Ts[..., :3, 3]
    rest = np.asarray(shaped.vertices_rest, np.float64)
    joints = np.asarray(shaped.joints_rest, np.float64)

    def posed(vertices: ndarray, chosen: ndarray) -> ndarray:
        """(n, k, 3 F): each vertex as every one of its joints alone would pose it."""
        local = rest[vertices, None] - joints[chosen]
        moved = np.einsum("fnkij,nkj->nkfi", turns[:, chosen], local)
        moved += np.moveaxis(places[:, chosen], 0, 2)
        return moved.reshape(*chosen.shape, -1)

    # How far the plain weights are off is linear in the joints' transforms: one product of matrices.
    difference = _dense(indices, weights, len(joints)) - _dense(
        best_indices, best_weights, len(joints)
    )
    offsets = places - np.einsum("fjab,jb->fja", turns, joints)
    palette = np.concatenate([turns, offsets[..., None]], axis=-1)
    blended = difference @ np.moveaxis(palette, 1, 0).reshape(len(joints), -1)
    blended = blended.reshape(len(rest), -1, 3, 4)
    off = blended[..., 3] + sum(blended[..., a] * rest[:, None, None, a] for a in range(3))
    error = np.sqrt((off**2).sum(-1).max(1))
    poor = np.flatnonzero(error > TOLERANCE)
    if not len(poor):
        return best_indices, best_weights
    alone = posed(poor, indices[poor])
    target = np.einsum("nk,nkx->nx", weights[poor].astype(np.float64), alone)
    lowest = np.full(len(poor), np.inf)
    for slots in itertools.combinations(range(indices.shape[1]), INFLUENCES):
        columns = list(slots)
        fitted = _weights(alone[:, columns], target, weights[poor][:, columns].astype(np.float64))
        off = np.einsum("nk,nkx->nx", fitted, alone[:, columns]) - target
        worst = (off**2).reshape(len(poor), -1, 3).sum(-1).max(1)
        better = worst < lowest
        lowest[better] = worst[better]
        best_indices[poor[better]] = indices[poor[better]][:, columns]
        best_weights[poor[better]] = fitted[better]
    return np.where(best_weights > 0, best_indices, 0).astype(np.int32), best_weights


def _dense(
    indices: Int[ndarray, "V k"], weights: Float[ndarray, "V k"], joints: int
) -> Float[ndarray, "V J"]:
    """Skin weights of every joint."""
    table = np.zeros((len(indices), joints))
    np.add.at(table, (np.arange(len(indices))[:, None], indices), weights)
    return table


def _weights(
    alone: Float[ndarray, "n 4 x"], target: Float[ndarray, "n x"], prior: Float[ndarray, "n 4"]
) -> Float[ndarray, "n 4"]:
    """Least squares under sum 1, then none negative; near the prior where poses leave it open."""
    prior = prior + 1e-9
    prior = prior / prior.sum(axis=1, keepdims=True)
    # Relative to the first joint, so that the sum stays 1 by itself.
    columns = np.swapaxes(alone[:, 1:] - alone[:, :1], 1, 2)
    start = np.einsum("nk,nkx->nx", prior, alone)
    normal = np.swapaxes(columns, 1, 2) @ columns + _PULL * np.eye(columns.shape[2])
    right = np.einsum("nxk,nx->nk", columns, target - start)
    step = np.linalg.solve(normal, right[..., None])[..., 0]
    weights = prior + np.concatenate([-step.sum(axis=1, keepdims=True), step], axis=1)
    weights = np.maximum(weights, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)
