"""Synthetic scenes for anchor motion whose contacts cannot be seen, only inferred.

While a body part touches its object, something hides the place: the part's keypoints and its points of
the point map are gone, and its pixels belong to the object. What is left says roughly where a hand is
(the forearm is seen), not whether it touches.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from hoijax.affordance.contact_table import ContactKind
from hoijax.affordance.graph import BODY_PARTS
from hoijax.bodies import load_body
from hoijax.bundle.write import Bundle, GroundTruth
from hoijax.exporters.clip import make_person
from hoijax.geometry.transforms import invert_rigid
from hoijax.objects.asset import Asset

MARGIN = 0.04  # metres around the touching part that are hidden with it
REACH = 0.05  # metres between a part and its object that count as touching


def occluded_scene(
    text: str, assets: tuple[Asset, ...], seed: int, frames: int = 49
) -> tuple[Bundle, GroundTruth]:
    """A synthetic scene with keypoints at 3 px noise, 20 % of them missing, and contacts hidden."""
    from priors.synthetic.from_text import observe_text
    from priors.synthetic.observation_noise import NoiseModel

    noise = dataclasses.replace(NoiseModel(), keypoint_dropout=0.2)
    bundle, ground_truth = observe_text(text, assets, frames=frames, seed=seed, noise=noise)
    return hide_contacts(bundle, ground_truth), ground_truth


def hide_contacts(bundle: Bundle, ground_truth: GroundTruth) -> Bundle:
    """The bundle without what shows body parts that touch objects."""
    o, body = bundle.observations, load_body(bundle.body)
    table = bundle.contact_table
    part_ids = np.asarray(body.part_ids)
    ids, keypoints = np.array(o.instance_ids), np.array(o.keypoints)
    mask = np.array(o.person_point_mask)
    skins = [
        make_person(
            body,
            ground_truth.body_rotations[p],
            ground_truth.body_translations[p],
            ground_truth.body_betas[p],
            ground_truth.body_rest_joints[p],
        ).vertices_world
        for p in range(o.person_count)
    ]
    for e in range(table.edge_count):
        if table.kind[e] != ContactKind.BODY_OBJECT:
            continue
        p, target = int(table.person[e]), int(table.object[e])
        samples = KDTree(bundle.assets[target].samples)
        parts = {int(table.body_part[e])}
        if table.either_side[e]:
            parts.add(int(table.mirrored_body_part[e]))
        for part in parts:
            skin = skins[p][:, part_ids == part]
            assert skin.shape[1], BODY_PARTS[part]
            for t in np.flatnonzero(ground_truth.edge_contact[e]):
                local = _from_world(skin[t], ground_truth.Ts_world_object[target, t])
                if samples.query(local)[0].min() > REACH:
                    continue
                hidden = _region(
                    skin[t], ground_truth.Ts_world_camera[t], o.intrinsics[t], ids.shape[1:]
                )
                ids[t][hidden & (ids[t] == p + 1)] = o.person_count + target + 1
                mask[p, t] &= ~_look_up(hidden, o.person_pixels[p, t])
                keypoints[p, t, _look_up(hidden, keypoints[p, t, :, :2])] = 0.0
    changed = dataclasses.replace(o, instance_ids=ids, keypoints=keypoints, person_point_mask=mask)
    return dataclasses.replace(bundle, observations=changed)


def _from_world(points: Float[ndarray, "n 3"], T: Float[ndarray, "4 4"]) -> Float[ndarray, "n 3"]:
    return (points - T[:3, 3]) @ T[:3, :3]


def _region(
    points: Float[ndarray, "n 3"],
    T_world_camera: Float[ndarray, "4 4"],
    intrinsics: Float[ndarray, "3 3"],
    size: tuple[int, int],
) -> Bool[ndarray, "H W"]:
    """Pixels that the points and MARGIN around them cover."""
    T = invert_rigid(T_world_camera)
    local = points @ T[:3, :3].T + T[:3, 3]
    depth = np.maximum(local[:, 2], 0.05)
    focal = np.array([intrinsics[0, 0], intrinsics[1, 1]])
    pixels = local[:, :2] / depth[:, None] * focal + intrinsics[:2, 2]
    column, row = np.floor(pixels).astype(int).T
    inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    free = np.ones(size, bool)
    free[row[inside], column[inside]] = False
    if free.all():
        return ~free
    away = np.asarray(distance_transform_edt(free))
    return away <= MARGIN * focal.mean() / np.median(depth)


def _look_up(region: Bool[ndarray, "H W"], pixels: Float[ndarray, "n 2"]) -> Bool[ndarray, " n"]:
    """Whether pixels lie in the region; what lies outside the image does not."""
    column, row = np.floor(pixels).astype(int).T
    height, width = region.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return inside & region[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
