"""How recovered bodies are wrong: they lean, drift, skate, are nearer than they are, of other limbs."""

import numpy as np
from numpy import ndarray

from hoijax.bodies.kinematics import JOINT_NAMES, JOINT_PARENTS, exchanged_sides
from priors.synthetic.error_draft import Draft, ar1


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
    rotvec = np.zeros((draft.people, 1, 3))
    rotvec[..., [0, 2]] = np.radians(3.0 * strength) * rng.standard_normal((draft.people, 1, 2))
    draft.rotations[:, :, 0] = _turned(
        draft.rotations[:, :, 0], np.broadcast_to(rotvec, draft.rotations[:, :, 0].shape)
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
