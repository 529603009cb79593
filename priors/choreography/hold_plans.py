"""How one person takes hold of one object: which way round it is, and where the hands go.

Holds that look good by their geometry (`grasps`) are tried on the body: the easiest one is taken.
Person frame: x left, y up, z ahead, origin on the ground below the pelvis.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.objects.asset import Asset
from priors.choreography.comfort import Trial, easiest_poses
from priors.choreography.grasp_candidates import Candidates, grasp_candidates
from priors.choreography.grasps import Grasp, one_hand_holds, two_hand_holds
from priors.choreography.hold_costs import HoldContext
from priors.choreography.keyframes import yaw_matrix
from priors.choreography.person import Person

BODY_HALF_WIDTH = 0.27  # what is within this of the middle must stay ahead of belly and feet
FEET_HALF_WIDTH, SHIN = 0.2, 0.35  # width and height in which feet and shins need room
KNEES = (0.35, 0.62)  # heights at which bent knees do
BELLY, TOES = 0.17, 0.26  # metres ahead of the pelvis
QUARTER_TURNS = (0.0, 0.5, 1.0, 1.5)
LEG, SHOULDER, ARM_ASIDE = 0.17, 0.16, 0.25
"""Metres from the middle: the leg's outside, a shoulder, and a hand beside the leg."""
WAYS, TRIALS = 4, 10
"""Holds of a way round that are compared, and holds in all that are tried on the body."""
EASE, WORST = 0.15, 30.0
"""Discomfort of a unit of the trial's cost, and the cost from which a pose is out of the question."""
AS_GOOD = 0.25  # of discomfort within which one of the holds is drawn


@dataclass(frozen=True)
class HoldPlan:
    """How one person holds one object."""

    rotation: Float[ndarray, "3 3"]
    """Object axes in the person's frame when held upright."""
    grasps: dict[int, Grasp]
    """By hand: 0 left, 1 right."""
    near: float
    """From the object's center back to its surface nearest to the person, metres."""
    standing_room: float
    """From the object's center on the ground back to a person's pelvis, when bent down to it, metres."""
    middle: Float[ndarray, "3"]
    """Mean grasp point relative to the object's center, in the person's axes."""

    @property
    def is_across_one_bar(self) -> bool:
        """Whether both hands are side by side on one level bar."""
        grasps = [grasp for grasp in self.grasps.values() if grasp.is_bar and not grasp.has_side]
        if len(grasps) < 2:
            return False
        between = self.rotation @ (grasps[0].point - grasps[1].point)
        length = float(np.linalg.norm(between))
        along = [abs(between @ (self.rotation @ grasp.axis)) for grasp in grasps]
        return bool(min(along) > 0.97 * length and abs(between[0]) > 0.9 * length)


@dataclass(frozen=True)
class HoldPreferences:
    """What matters when a hold is chosen."""

    height: float | None = 1.05
    """Of the held part when it is carried, metres; None: the object stays on the ground."""
    spread: float = 0.42
    """Wanted distance between two hands along a bar, metres."""
    facing: bool = False
    """Palms on the near side, to push, instead of on opposite sides."""
    high: float = 0.0
    """How much comfort a metre higher up brings."""
    longest: float = 10.0
    """How far below the hand the object may reach, metres."""
    at_side: bool = False
    """It hangs from one hand beside the leg."""
    from_ground: bool = False
    """It is taken up from where it stands."""


def near_extent(
    asset: Asset,
    rotation: Float[ndarray, "3 3"],
    half_width: float,
    heights: tuple[float, float] = (0.0, np.inf),
) -> float:
    """Distance from the center back (towards the person) to the nearest surface within a width.

    heights: above the lowest point, where to look; -1 metre where nothing is there.
    """
    local = (asset.vertices - asset.center) @ rotation.T
    samples = (asset.samples - asset.center) @ rotation.T
    points = np.concatenate([local, samples])
    height = points[:, 1] - points[:, 1].min()
    at_height = (height >= heights[0]) & (height <= heights[1])
    inside = points[at_height & (np.abs(points[:, 0]) < half_width)]
    if len(inside):
        return float(-inside[:, 2].min())
    return -1.0 if np.isfinite(heights[1]) else float(-points[:, 2].min())


def _standing_room(
    build: Person, asset: Asset, rotation: Float[ndarray, "3 3"], near: float, hands: float
) -> float:
    """Room for belly, feet and bent knees. hands: height at which the object is taken."""
    feet = near_extent(asset, rotation, FEET_HALF_WIDTH, (0.0, SHIN))
    knees = near_extent(asset, rotation, BODY_HALF_WIDTH, KNEES)
    ahead = build.knees_ahead(float(build.squat_for(np.array(hands)))) + 0.05
    return max(near + BELLY + 0.04, feet + TOES, knees + ahead)


def plan_hold(
    build: Person,
    asset: Asset,
    rng: np.random.Generator,
    hands: dict[int, str],
    wish: HoldPreferences,
    yaws: tuple[float, ...] = QUARTER_TURNS,
    tilt: Float[ndarray, "3 3"] | None = None,
    jitter: float = 0.06,
) -> HoldPlan:
    """Choose the object's yaw (shares of pi, in the person's frame) and where the hands go.

    hands: the part each hand (0 left, 1 right) holds. Takes, seeded, one of the holds that are nearly as
    comfortable as the best. `tilt` turns the object before the yaw, `jitter` is the spread of the yaw in
    radians.
    """
    candidates = {hand: grasp_candidates(asset, part, rng) for hand, part in hands.items()}
    if len(set(hands.values())) == 1:
        candidates = dict.fromkeys(hands, next(iter(candidates.values())))
    options: list[tuple[float, HoldPlan]] = []
    for yaw in yaws:
        turn = float(yaw * np.pi + rng.normal(0.0, jitter))
        rotation = yaw_matrix(np.array(turn)) @ (np.eye(3) if tilt is None else tilt)
        options += _ways_to_hold(build, asset, candidates, wish, rotation)
    options = sorted(options, key=lambda option: option[0])[:TRIALS]
    if wish.height is not None:
        options = _tried_on(build, asset, options, wish)
    best = min(cost for cost, _ in options)
    good = [plan for cost, plan in options if cost < best + AS_GOOD]
    return good[int(rng.integers(len(good)))]


def _ways_to_hold(
    build: Person,
    asset: Asset,
    candidates: dict[int, Candidates],
    wish: HoldPreferences,
    rotation: Float[ndarray, "3 3"],
) -> list[tuple[float, HoldPlan]]:
    """The best holds of an object that is this way round, with their discomfort."""
    near = near_extent(asset, rotation, BODY_HALF_WIDTH)
    bottom = float(((asset.vertices - asset.center) @ rotation.T)[:, 1].min())
    held = np.concatenate([c.point for c in candidates.values()]).mean(axis=0) - asset.center
    up = -bottom if wish.height is None else wish.height - float((rotation @ held)[1])
    center = np.array([0.0, up, near + BELLY + 0.04])
    context = HoldContext(
        rotation=rotation,
        center=center,
        heading=0.0,
        shoulders=np.array([0.0, build.shoulder_height - 0.1, 0.05]),
        spread=wish.spread,
        floor=center[1] + bottom,
        high=wish.high,
        longest=wish.longest,
        is_carried=wish.height is not None,
    )
    ways = []
    for grasps, cost in _grasps_of(asset, candidates, context, wish.facing):
        middle = np.mean([rotation @ (g.point - asset.center) for g in grasps.values()], axis=0)
        blocked = _blocked_view((asset.samples - asset.center) @ rotation.T, middle)
        room = _standing_room(build, asset, rotation, near, float(middle[1]) - bottom)
        ways.append((cost + blocked, HoldPlan(rotation, grasps, near, room, middle)))
    return ways


def _tried_on(
    build: Person, asset: Asset, options: list[tuple[float, HoldPlan]], wish: HoldPreferences
) -> list[tuple[float, HoldPlan]]:
    """The holds with what they ask of the body added: standing, and bent down where it is taken up."""
    trials = []
    for _, plan in options:
        center = np.array([beside_shoulder(plan), 0.0, plan.near + BELLY + 0.05])
        if wish.at_side:
            center = beside_leg(asset, plan.rotation, plan)
        center[1] = (wish.height or 0.0) - plan.middle[1]
        trials.append(Trial(plan.grasps, center, plan.rotation))
        if wish.from_ground:
            bottom = float(((asset.vertices - asset.center) @ plan.rotation.T)[:, 1].min())
            center = np.array([0.0, -bottom, plan.standing_room])
            crouch = float(build.squat_for(np.array(plan.middle[1] - bottom)))
            trials.append(Trial(plan.grasps, center, plan.rotation, crouch=crouch))
    costs = np.minimum(easiest_poses(build, asset, trials).costs, WORST)
    ease = EASE * costs.reshape(len(options), -1).sum(axis=1)
    return [
        (cost + float(of_body), plan) for (cost, plan), of_body in zip(options, ease, strict=True)
    ]


def beside_shoulder(plan: HoldPlan) -> float:
    """How far to the left an object's center is, so that a single hand is ahead of its own shoulder."""
    if len(plan.grasps) > 1:
        return 0.0
    return (SHOULDER if 0 in plan.grasps else -SHOULDER) - float(plan.middle[0])


def beside_leg(
    asset: Asset, rotation: Float[ndarray, "3 3"], plan: HoldPlan
) -> Float[ndarray, "3"]:
    """Where the center of a thing is on the ground plane while one hand holds it clear of the leg.

    rotation: its axes in the person's frame, which may differ from the plan's.
    """
    ((hand, grasp),) = plan.grasps.items()
    side = 1.0 if hand == 0 else -1.0
    local = (np.concatenate([asset.vertices, asset.samples]) - asset.center) @ rotation.T
    inner = -float((side * local[:, 0]).min())
    grip = rotation @ (grasp.point - asset.center)
    aside = max(LEG + inner, ARM_ASIDE - side * float(grip[0]))
    return np.array([side * aside, 0.0, 0.02 - float(grip[2])])


def _blocked_view(samples: Float[ndarray, "S 3"], middle: Float[ndarray, "3"]) -> float:
    """Discomfort of having much of the object between face and hands."""
    high = (samples[:, 1] > middle[1] + 0.25) & (samples[:, 2] < middle[2])
    return 4.0 * float(np.mean(high & (np.abs(samples[:, 0]) < 0.3)))


def _grasps_of(
    asset: Asset, candidates: dict[int, Candidates], context: HoldContext, facing: bool
) -> list[tuple[dict[int, Grasp], float]]:
    if len(candidates) == 2 and candidates[0] is candidates[1]:
        pairs = two_hand_holds(asset, candidates[0], context, facing, WAYS)
        return [({0: left, 1: right}, cost) for left, right, cost in pairs]
    if len(candidates) == 1:
        ((hand, of_hand),) = candidates.items()
        return [
            ({hand: g}, cost) for g, cost in one_hand_holds(asset, of_hand, hand, context, WAYS)
        ]
    grasps: dict[int, Grasp] = {}
    total = 0.0
    for hand, of_hand in candidates.items():
        other = next(iter(grasps.values())).point if grasps else None
        grasps[hand], cost = one_hand_holds(asset, of_hand, hand, context, 1, other)[0]
        total += cost
    return [(grasps, total)]
