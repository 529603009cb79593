"""One object, everybody who touches it, one verdict: numbers and a sentence."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.affordance.graph import BODY_PARTS
from hoijax.errors import UserError
from hoijax.geometry.transforms import GRAVITY
from hoijax.physics.balance import feet_and_balance
from hoijax.physics.materials import density_of
from hoijax.physics.replay import DRIFT_SECONDS, Replay, replay
from hoijax.physics.rigid_motion import RigidMotion, rigid_motion
from hoijax.physics.support import Support, SupportSettings, find_support
from hoijax.results.protocols.mesh_motion import MeshMotion

SKATES = 10.0
"""cm/s of feet on the ground above which the sentence says so."""
SLIDES = 0.02
"""Metres that skin slides over the object within half a second above which the sentence says so."""
SCORED_SLIDE = 0.1
"""Metres of mean sliding that cost as much of the score as no frame being held."""


@dataclass(frozen=True)
class Weight:
    """What the user names: mass (kg), density (kg/m3 of the convex hull), or material; at most one of them."""

    mass: float | None = None
    density: float | None = None
    material: str | None = None

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.mass, self.density, self.material)) > 1:
            raise UserError("mass, density and material say the same in three ways: give one.")

    def motion(self, motion: MeshMotion) -> tuple[RigidMotion, str]:
        """The object's motion with its mass, and how that was chosen; UserError as `rigid_motion`."""
        if self.mass is not None:
            return rigid_motion(motion, mass=self.mass), "given"
        if self.density is not None:
            return rigid_motion(motion, density=self.density), f"{self.density:g} kg/m3 of its hull"
        density, origin = density_of(motion.object_name, self.material)
        return rigid_motion(motion, density=density), f"{density:g} kg/m3 of its hull: {origin}"


@dataclass(frozen=True)
class Verdict:
    """`values` by name, thresholds and units in the names; `frames` by name, a value each."""

    object_name: str
    sentence: str
    values: dict[str, float]
    frames: dict[str, list]
    assumed: dict[str, Any]
    replay: dict[str, Any] | None = None
    """What became of the object in every start of the replay; None without one."""


@dataclass(frozen=True)
class Carried:
    """An object with the skin of everybody, and what else there is in the clip."""

    motion: MeshMotion
    """With several people: their skin in one mesh, without joints."""
    people: tuple[MeshMotion, ...]
    """Every person by themselves, with this object."""
    others: tuple[MeshMotion, ...] = ()
    """The clip's other objects."""


def by_object(pairs: Sequence[MeshMotion]) -> list[Carried]:
    """The objects of all person-object pairs of a clip."""
    people: list[list[MeshMotion]] = []
    for pair in pairs:
        same = people and np.array_equal(people[-1][0].body_vertices[0], pair.body_vertices[0])
        people[-1].append(pair) if same else people.append([pair])
    objects = list(zip(*people, strict=True))
    return [
        Carried(_with_everyone(p), p, tuple(other[0] for other in objects if other is not p))
        for p in objects
    ]


def _with_everyone(pairs: Sequence[MeshMotion]) -> MeshMotion:
    if len(pairs) == 1:
        return pairs[0]
    first = pairs[0]
    starts = np.cumsum([0, *(p.body_vertices.shape[1] for p in pairs[:-1])])
    parts = [p.body_parts for p in pairs]
    return dataclasses.replace(
        first,
        body_vertices=np.concatenate([p.body_vertices for p in pairs], axis=1),
        body_faces=np.concatenate(
            [p.body_faces + start for p, start in zip(pairs, starts, strict=True)]
        ),
        body_joints=None,
        hand_vertices=None,
        body_parts=None if any(p is None for p in parts) else np.concatenate(parts),  # pyright: ignore
    )


def judge(
    carried: MeshMotion | Carried,
    weight: Weight | None = None,
    settings: SupportSettings | None = None,
    *,
    simulate: bool = False,
) -> Verdict:
    """Whether what touches the object can carry it as it moves, and the body itself.

    carried: one person with one object, or of `by_object`. simulate: replay it in MuJoCo too.
    Raises UserError for a mass, density or setting that is not positive, for clips under 4 frames, and
    for a simulator that is not installed.
    """
    settings = settings or SupportSettings()
    if isinstance(carried, MeshMotion):
        carried = Carried(carried, (carried,))
    motion = carried.motion
    rigid, origin = (weight or Weight()).motion(motion)
    support = find_support(motion, rigid, settings, carried.others, carried.people)
    slides = slide_by_frame(motion, rigid, support)
    again = replay(motion, rigid, support, settings) if simulate else None
    feet = [feet_and_balance(person) for person in carried.people]
    body = {name: float(np.mean([values[name] for values in feet])) for name in feet[0]}
    values = {**_support_values(support, slides, settings), **body}
    values |= {} if again is None else _replay_values(again)
    contact = settings.contact
    return Verdict(
        object_name=motion.object_name,
        sentence=_sentence(support, settings, slides, again, motion.fps, rigid.mass, body),
        values=values,
        frames=_frame_values(support, slides, rigid),
        assumed={
            "mass_kg": rigid.mass,
            "mass": origin,
            "friction": settings.friction,
            "margin_m": contact.margin,
            "grip_m": contact.grip,
            "bone_depth_m": contact.bone_depth,
            "sticking_m_s": contact.sticking,
            "grip_offset_m": settings.max_grip_offset,
        },
        replay=None if again is None else _replay_rows(again, motion.fps),
    )


def slide_by_frame(motion: MeshMotion, rigid: RigidMotion, support: Support) -> Float[ndarray, "T"]:
    """Metres that touching skin slides over the object in the half second up to a frame, mean of it."""
    local = rigid.in_object(motion.body_vertices.astype(np.float64))
    steps = np.zeros(motion.frame_count)
    for t in range(1, motion.frame_count):
        both = np.intersect1d(support.contacts[t - 1].skin, support.contacts[t].skin)
        if len(both):
            steps[t] = np.linalg.norm(local[t, both] - local[t - 1, both], axis=-1).mean()
    window = max(1, round(0.5 * motion.fps))
    return np.convolve(steps, np.ones(window))[: len(steps)]


def _support_values(
    support: Support, slides: ndarray, settings: SupportSettings
) -> dict[str, float]:
    margin = f"@{settings.contact.margin * 100:g}cm"
    return {
        f"explained_share{margin}": float(support.explained.mean()),
        f"free_flight_share{margin}": float(support.free_flight.mean()),
        "missing_mean_weights": float(support.missing.mean()),
        "missing_largest_weights": float(support.missing.max()),
        "bone_inside_share": float((support.bone_depth > settings.contact.bone_depth).mean()),
        "in_ground_share": float((support.ground_depth > settings.contact.ground_margin).mean()),
        "grip_offset_cm": float(support.grip_offset.max() * 100),
        "body_force_largest_weights": float(support.body_force.max()),
        "ground_force_mean_weights": float(support.ground_force.mean()),
        **{
            f"force_mean_weights/{BODY_PARTS[part]}": float(force.mean())
            for part, force in support.part_force.items()
            if 0 <= part < len(BODY_PARTS) and force.any()
        },
        "slide_largest_cm_half_second": float(slides.max() * 100),
        "slide_mean_cm_half_second": float(slides.mean() * 100),
        "score": float(
            support.explained.mean()
            - np.minimum(support.missing, 1).mean()
            - slides.mean() / SCORED_SLIDE
        ),
    }


def _replay_values(again: Replay) -> dict[str, float]:
    with np.errstate(invalid="ignore"):
        carried = again.held[again.carried]
        drifts = {
            f"replay_drift_cm@{seconds:g}s": float(np.nanmean(column) * 100)
            for seconds, column in zip(DRIFT_SECONDS, again.drift.T, strict=True)
            if np.isfinite(column).any()
        }
    return {
        "replay_held_share@1s": float(again.held.mean()),
        **({"replay_held_share_carried@1s": float(carried.mean())} if len(carried) else {}),
        **drifts,
        "replay_slip_cm@1s": float(again.slip.mean() * 100),
        "replay_force_largest_weights": float(again.force.max()),
    }


def _replay_rows(again: Replay, fps: float) -> dict[str, Any]:
    columns = {
        "start_s": again.starts / fps,
        "held_s": again.held_seconds,
        "window_s": again.window_seconds,
        "slip_m": again.slip,
        "force_weights": again.force,
    }
    return {
        "pieces": len(again.pieces.pieces),
        "is_hull": again.pieces.is_hull,
        "carried": again.carried.tolist(),
        **{name: np.round(column, 4).tolist() for name, column in columns.items()},
    }


def _frame_values(support: Support, slides: ndarray, rigid: RigidMotion) -> dict[str, list]:
    """A value a frame; `forces`: [point, force in object weights] of all that press, in the world."""
    forces = []
    for t, (contacts, force) in enumerate(zip(support.contacts, support.forces, strict=True)):
        pressing = np.linalg.norm(force, axis=-1) > 0.01
        points = contacts.points[pressing] @ rigid.rotations[t].T + rigid.translations[t]
        forces.append(np.stack([points, force[pressing]], axis=1).round(4).tolist())
    return {
        "explained": support.explained.tolist(),
        "missing_weights": support.missing.round(4).tolist(),
        "missing_force_weights": support.missing_force.round(4).tolist(),
        "bone_depth_m": support.bone_depth.round(4).tolist(),
        "ground_depth_m": support.ground_depth.round(4).tolist(),
        "grip_offset_m": support.grip_offset.round(4).tolist(),
        "body_force_weights": support.body_force.round(4).tolist(),
        "ground_force_weights": support.ground_force.round(4).tolist(),
        "slide_m_half_second": slides.round(4).tolist(),
        "centers": rigid.centers.round(4).tolist(),
        "forces": forces,
    }


def _sentence(
    support: Support,
    settings: SupportSettings,
    slides: ndarray,
    again: Replay | None,
    fps: float,
    mass: float,
    body: dict[str, float],
) -> str:
    count, explained = len(support.explained), int(support.explained.sum())
    words = [f"held {explained} of {count} frames"]
    if support.free_flight.any():
        words.append(f"{int(support.free_flight.sum())} of them in free flight")
    if support.body_force.any():
        hands = set(support.part_force) <= {0, 1}
        words.append(
            f"{'hand' if hands else 'body'} force up to {support.body_force.max():.1f} object weights"
        )
    if explained < count:
        worst, reason = _worst(support, settings, mass)
        words.append(f"not at {worst / fps:.1f} s ({reason})")
    if slides.max() > SLIDES:
        words.append(f"slides {slides.max() * 100:.0f} cm at {slides.argmax() / fps:.1f} s")
    if again is not None:
        words.append(_replay_words(again, fps))
    if body["foot_skate_cm_s@3cm"] > SKATES:
        words.append(f"feet skate at {body['foot_skate_cm_s@3cm']:.0f} cm/s")
    return f"{'; '.join(words)} (assumed {mass:.{1 if mass >= 0.1 else 3}f} kg)"


def _worst(support: Support, settings: SupportSettings, mass: float) -> tuple[int, str]:
    """(frame, why) of the frame that is furthest from being held."""
    failed = ~support.explained
    if (failed & (support.missing > settings.tolerance)).any():
        worst = int(np.where(failed, support.missing, -1).argmax())
        return worst, f"{support.missing[worst]:.1f} weights missing"
    deep = failed & (support.bone_depth > settings.contact.bone_depth)
    if deep.any():
        worst = int(np.where(deep, support.bone_depth, -1).argmax())
        return worst, f"a bone {support.bone_depth[worst] * 100:.1f} cm inside"
    if (failed & (support.ground_depth > settings.contact.ground_margin)).any():
        worst = int(np.where(failed, support.ground_depth, -1).argmax())
        return worst, f"{support.ground_depth[worst] * 100:.1f} cm in the ground"
    off = failed & (support.grip_offset > settings.max_grip_offset)
    if off.any():
        worst = int(off.argmax())
        return worst, f"{support.grip_offset[worst] * 100:.1f} cm from where the hands hold it"
    worst = int(np.where(failed, support.body_force, -1).argmax())
    return worst, f"takes {support.body_force[worst] * mass * -GRAVITY[1]:.0f} N of the body"


def _replay_words(again: Replay, fps: float) -> str:
    text = f"replay keeps it in {int(again.held.sum())} of {len(again.held)} starts"
    if not again.held.all():
        first = int((~again.held).argmax())
        lost = again.starts[first] / fps + again.held_seconds[first]
        text += f", lost first at {lost:.1f} s"
    return text + (
        " (collides as its hull: it could not be decomposed)" if again.pieces.is_hull else ""
    )
