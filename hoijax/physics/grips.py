"""Where the hands that carry an object hold it, and how far off that says the object is.

A hand that carries an object stays where it is on it. Seen from the object, its wrist is at R^T (w - c); where
the object is off by the same step in all frames, the wrist wanders as the object turns, and the step that
stops it is how far off the object is (the idea of hand-eye calibration: Park and Martin 1994). An object that
does not turn says nothing, and counts as in place.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.affordance.graph import HANDS
from hoijax.physics.contacts import GROUND, Contacts
from hoijax.physics.rigid_motion import RigidMotion
from hoijax.results.protocols.mesh_motion import WRISTS, MeshMotion

PLAY = 0.01
"""Metres that a wrist moves about its place while the hand holds: soft skin, errors of capture."""
EXPECTED_STEP = 0.05
"""Metres that objects are off by; a step beyond what turns tell is shrunk by it."""
APART_SECONDS = 0.1
"""Between frames whose errors are independent."""
MIN_FRAMES = 4
MIN_GAIN = 2.0
"""Independent frames that a step must bring to fit before it is believed."""
SCALES = PLAY * np.maximum(1.0, 10.0 * 0.75 ** np.arange(30))
"""Of the weights in each round: wide first, so that a step of several centimeters is found."""
Grip = tuple[ndarray, Float[ndarray, "_ 3"]]
"""Frames, and the wrist in the object's frame."""


def carried_frames(contacts: Sequence[Contacts]) -> Bool[ndarray, "T"]:
    """Frames in which neither the ground nor another object touches it."""
    return np.array([not (frame.parts <= GROUND).any() for frame in contacts], bool)


def grip_offset(
    people: Sequence[MeshMotion], rigid: RigidMotion, contacts: Sequence[Contacts], fps: float
) -> tuple[Float[ndarray, "3"], Bool[ndarray, "T"]]:
    """(metres by which the object is off, world axes; frames in which hands tell so).

    people: in the order of the skin in `contacts`; who has no joints or body parts is left out. The step s
    and every grip's place m minimize the sum of rho(R^T (w - c) + R^T s - m) with Geman and McClure's rho,
    which counts a frame that does not fit once at most, plus the prior on s. A step that brings fewer
    than MIN_GAIN frames to fit is none.
    """
    grips = list(_grips(people, rigid, contacts))
    together = max(1.0, fps * APART_SECONDS)
    step = _best_step(grips, rigid.rotations, together)
    gain = _misfit(grips, rigid.rotations, np.zeros(3)) - _misfit(grips, rigid.rotations, step)
    if gain / together < MIN_GAIN:
        step = np.zeros(3)
    told = np.zeros(len(contacts), bool)
    for frames, _ in grips:
        told[frames] = True
    return step, told


def _best_step(
    grips: Sequence[Grip], rotations: Float[ndarray, "T 3 3"], together: float
) -> Float[ndarray, "3"]:
    """Iteratively reweighted least squares. together: frames that count as one."""
    step = np.zeros(3)
    weights = [np.ones(len(frames)) for frames, _ in grips]
    for scale in SCALES:
        matrix = (PLAY / EXPECTED_STEP) ** 2 * together * np.eye(3)
        target = np.zeros(3)
        for (frames, wrists), weight in zip(grips, weights, strict=True):
            turned = rotations[frames].swapaxes(-1, -2)
            around = turned - np.average(turned, axis=0, weights=weight)
            wander = wrists - np.average(wrists, axis=0, weights=weight)
            matrix += np.einsum("t,tji,tjk->ik", weight, around, around)
            target -= np.einsum("t,tji,tj->i", weight, around, wander)
        step = np.linalg.solve(matrix, target)
        weights = [
            (1 + _misfits(grip, rotations, step, weight) / scale**2) ** -2
            for grip, weight in zip(grips, weights, strict=True)
        ]
    return step


def _misfit(
    grips: Sequence[Grip], rotations: Float[ndarray, "T 3 3"], step: Float[ndarray, "3"]
) -> float:
    """Frames, in parts, that do not fit where every grip's place is chosen for this step."""
    total = 0.0
    for grip in grips:
        weight = np.ones(len(grip[0]))
        squares = _misfits(grip, rotations, step, weight)
        for scale in SCALES:
            weight = (1 + squares / scale**2) ** -2
            squares = _misfits(grip, rotations, step, weight)
        total += float(np.sum(squares / (squares + PLAY**2)))
    return total


def _misfits(
    grip: Grip,
    rotations: Float[ndarray, "T 3 3"],
    step: Float[ndarray, "3"],
    weight: Float[ndarray, "n"],
) -> Float[ndarray, "n"]:
    """Squared distance of the wrist, with the object put right by the step, from its mean place."""
    frames, wrists = grip
    places = wrists + rotations[frames].swapaxes(-1, -2) @ step
    return ((places - np.average(places, axis=0, weights=weight)) ** 2).sum(axis=-1)


def _grips(
    people: Sequence[MeshMotion], rigid: RigidMotion, contacts: Sequence[Contacts]
) -> Iterator[Grip]:
    """Of every hand and stretch in which the object is carried, where it touches."""
    carried = carried_frames(contacts)
    stretches = np.cumsum(~carried)
    start = 0
    for person in people:
        count = person.body_vertices.shape[1]
        if person.body_joints is not None and person.body_parts is not None:
            wrists = rigid.in_object(person.body_joints[:, WRISTS].astype(np.float64))
            for side, part in enumerate(HANDS):
                hand = start + np.flatnonzero(person.body_parts == part)
                touches = np.array([np.isin(frame.skin, hand).any() for frame in contacts], bool)
                for stretch in np.unique(stretches[carried & touches]):
                    frames = np.flatnonzero(carried & touches & (stretches == stretch))
                    if len(frames) >= MIN_FRAMES:
                        yield frames, wrists[frames, side]
        start += count
