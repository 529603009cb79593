"""Clothes as shape directions: the skin of a part moves out, never down; bones stay.

People in images wear trousers, jackets and boots. Phenotypes (muscle, weight) thicken a body in all places
at once, and not by the width of a sleeve.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.bodies.kinematics import JOINT_NAMES

UNIT = 0.0125
"""Metres that one beta moves the skin of its part out by."""
PARTS = (
    ("ankle", "foot"),
    ("knee",),
    ("hip",),
    ("pelvis", "spine1", "spine2", "spine3", "collar"),
    ("shoulder", "elbow"),
)
"""Words in the names of the joints that carry each part: shoes, legs and seat of trousers, jacket,
sleeves. Hands, neck and head are bare."""


def clothes(
    template: Float[ndarray, "v 3"],
    normals: Float[ndarray, "v 3"],
    skin_indices: Int[ndarray, "v k"],
    skin_weights: Float[ndarray, "v k"],
) -> Float[ndarray, "v 3 5"]:
    """Shape directions of shoes, trousers, jacket and sleeves (`PARTS`); parts pass over as their skin weights do."""
    outward = normals.copy()
    outward[:, 1] = np.maximum(outward[:, 1], 0.0)  # soles stay on the floor
    directions = np.empty((*template.shape, len(PARTS)), np.float32)
    for number, words in enumerate(PARTS):
        members = [any(word in name for word in words) for name in JOINT_NAMES]
        member_weight = np.sum(skin_weights * np.array(members)[skin_indices], axis=1)
        directions[..., number] = UNIT * member_weight[:, None] * outward
    return directions
