"""The mutable plan of a performance: who stands where, what moves how, who touches what when.

Motions (`priors.choreography.motions.held*`) fill a `Performance`; the choreographer then solves for the bodies.
Person frame: x left, y up, z ahead, origin on the ground below the pelvis.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.objects.asset import Asset
from priors.choreography.grasps import (
    Candidates,
    Grasp,
    HoldContext,
    choose_one_hand,
    choose_two_hands,
    grasp_candidates,
)
from priors.choreography.keyframes import yaw_matrix
from priors.choreography.person import Person
from priors.choreography.tracks import Hold, ObjectTrack, PersonTrack, stand
from priors.language.script import Action, Script

HANDS = ("left_hand", "right_hand")
BODY_HALF_WIDTH = 0.27  # what is within this of the middle must stay ahead of belly and feet
FEET_HALF_WIDTH, SHIN = 0.2, 0.4  # width and height in which feet and shins need room
BELLY, TOES = 0.17, 0.26  # metres ahead of the pelvis


@dataclass(frozen=True)
class Touch:
    """One edge of the graph between a person and an object."""

    edge: int
    person: int
    body_part: str
    object: int
    part: str
    is_continuous: bool


@dataclass(frozen=True)
class HoldPlan:
    """How one person holds one object."""

    rotation: Float[ndarray, "3 3"]
    """Object axes in the person's frame when held upright."""
    grasps: dict[int, Grasp]
    """By hand: 0 left, 1 right."""
    near: float
    """From the object's center back to its surface nearest to the person, metres."""
    near_low: float
    """The same at the height of the shins, where feet must stay clear of it."""
    middle: Float[ndarray, "3"]
    """Mean grasp point relative to the object's center, in the person's axes."""

    @property
    def standing_room(self) -> float:
        """From the object's center on the ground back to a person's pelvis, metres."""
        return max(self.near + BELLY + 0.04, self.near_low + TOES)


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


QUARTER_TURNS = (0.0, 0.5, 1.0, 1.5)


class Performance:
    """Everything a motion may set, with the look-ups it needs."""

    def __init__(
        self,
        script: Script,
        assets: tuple[Asset, ...],
        people: list[Person],
        frames: int,
        fps: float,
        rng: np.random.Generator,
    ):
        self.script, self.frames, self.fps, self.rng = script, frames, fps, rng
        still = np.zeros((frames, 3))
        axes = np.repeat(np.eye(3)[None], frames, axis=0)
        self.objects = [ObjectTrack(a, still.copy(), axes.copy()) for a in assets]
        self.tracks = [stand(p, np.zeros((frames, 2)), np.zeros(frames)) for p in people]
        self.contact: Bool[ndarray, "E T"] = np.zeros((len(script.graph.edges), frames), bool)
        self.touches = _touches(script)
        self.placed: set[int] = set()
        """Objects that some motion has put somewhere."""
        self.settled: set[int] = set()
        """People whose path is decided; a second action of theirs keeps it."""
        self.origin = np.zeros(2)
        """Ground point (x, z) near which the current action takes place."""

    def frame(self, share: float) -> int:
        """Frame at a share of the clip."""
        return round(share * (self.frames - 1))

    def asset(self, index: int) -> Asset:
        return self.objects[index].asset

    def touches_of(self, person: int, object_index: int) -> list[Touch]:
        return [t for t in self.touches if t.person == person and t.object == object_index]

    def hands_on(self, person: int, object_index: int) -> dict[int, Touch]:
        """The hands that the graph puts on an object."""
        touches = self.touches_of(person, object_index)
        return {HANDS.index(t.body_part): t for t in touches if t.body_part in HANDS}

    def is_continuous(self, action: Action) -> bool:
        """Whether the graph wants the action's contacts from the first to the last frame."""
        touches = [t for p in action.people for t in self.touches_of(p, action.object)]
        return bool(touches) and all(t.is_continuous for t in touches)

    def mark(self, touch: Touch, start: int, end: int) -> None:
        """Contact of an edge from frame `start` to frame `end`, both included."""
        self.contact[touch.edge, max(0, start) : end + 1] = True

    def hold(
        self,
        person: int,
        object_index: int,
        take: HoldPlan,
        start: int,
        end: int,
        slides: dict[int, Float[ndarray, "T 3"]] | None = None,
    ) -> None:
        """Both the hands' task and the edges' contact. slides: of hands that move on the object."""
        touches = self.hands_on(person, object_index)
        for hand, grasp in take.grasps.items():
            slide = (slides or {}).get(hand)
            task = Hold(hand, object_index, grasp, start, end, slide=slide)
            self.tracks[person].holds.append(task)
            if hand in touches:
                self.mark(touches[hand], start, end)

    def set_object(
        self, index: int, center: Float[ndarray, "T 3"], rotation: Float[ndarray, "T 3 3"]
    ) -> ObjectTrack:
        track = self.objects[index]
        track.center, track.rotation = np.array(center, float), np.array(rotation, float)
        self.placed.add(index)
        return track

    def pelvis_height(self, person: int) -> Float[ndarray, "T"]:
        """Planned height of the pelvis, standing or seated."""
        track = self.tracks[person]
        floor = 0.0 if track.foot_floor is None else track.foot_floor.mean(axis=1)
        return track.person.pelvis_height - track.crouch + floor

    def set_path(
        self, person: int, root: Float[ndarray, "T 2"], heading: Float[ndarray, "T"]
    ) -> PersonTrack:
        """Give a person a path, unless an earlier action already has; returns the track to fill."""
        if person not in self.settled:
            self.tracks[person] = stand(self.tracks[person].person, root, heading)
            self.settled.add(person)
        return self.tracks[person]


def _touches(script: Script) -> list[Touch]:
    people = {p.name: i for i, p in enumerate(script.graph.people)}
    objects = {o.name: i for i, o in enumerate(script.graph.objects)}
    touches = []
    for index, edge in enumerate(script.graph.edges):
        ends = sorted((edge.first, edge.second), key=lambda end: end.entity not in people)
        if ends[0].entity in people:
            touches.append(
                Touch(
                    index,
                    people[ends[0].entity],
                    ends[0].part,
                    objects[ends[1].entity],
                    ends[1].part,
                    edge.is_continuous,
                )
            )
    return touches


def in_world(
    local: Float[ndarray, "T 3"], root: Float[ndarray, "T 2"], heading: Float[ndarray, "T"]
) -> Float[ndarray, "T 3"]:
    """Person-frame points to the world, frame by frame."""
    world = np.einsum("tij,tj->ti", yaw_matrix(heading), local)
    return world + np.stack([root[:, 0], np.zeros(len(root)), root[:, 1]], axis=1)


def near_extent(
    asset: Asset, rotation: Float[ndarray, "3 3"], half_width: float, height: float = np.inf
) -> float:
    """Distance from the center back (towards the person) to the nearest surface within a width.

    height: only look up to here above the lowest point; -1 metre where nothing is there.
    """
    local = (asset.vertices - asset.center) @ rotation.T
    samples = (asset.samples - asset.center) @ rotation.T
    points = np.concatenate([local, samples])
    low = points[:, 1] < points[:, 1].min() + height
    inside = points[low & (np.abs(points[:, 0]) < half_width)]
    if np.isfinite(height) and not len(inside):
        return -1.0
    return float(-(inside if len(inside) else points)[:, 2].min())


def plan_take(
    performance: Performance,
    person: int,
    object_index: int,
    hands: dict[int, str],
    wish: HoldPreferences,
    yaws: tuple[float, ...] = QUARTER_TURNS,
    tilt: Float[ndarray, "3 3"] | None = None,
    jitter: float = 0.06,
) -> HoldPlan:
    """Choose the object's yaw (shares of pi, in the person's frame) and where the hands go.

    hands: the part each hand (0 left, 1 right) holds. Tries all yaws and takes, seeded, one of those
    that are nearly as comfortable as the best. `tilt` turns the object before the yaw, `jitter` is
    the spread of the yaw in radians.
    """
    asset, rng = performance.asset(object_index), performance.rng
    build = performance.tracks[person].person
    candidates = {hand: grasp_candidates(asset, part, rng) for hand, part in hands.items()}
    if len(set(hands.values())) == 1:
        candidates = dict.fromkeys(hands, next(iter(candidates.values())))
    options = []
    for yaw in yaws:
        turn = float(yaw * np.pi + rng.normal(0.0, jitter))
        rotation = yaw_matrix(np.array(turn)) @ (np.eye(3) if tilt is None else tilt)
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
        grasps, cost = _grasps_of(asset, candidates, context, wish.facing)
        middle = np.mean([rotation @ (g.point - asset.center) for g in grasps.values()], axis=0)
        cost += _blocked_view((asset.samples - asset.center) @ rotation.T, middle)
        near_low = near_extent(asset, rotation, FEET_HALF_WIDTH, SHIN)
        options.append((cost, HoldPlan(rotation, grasps, near, near_low, middle)))
    best = min(cost for cost, _ in options)
    good = [take for cost, take in options if cost < best + 0.25]
    return good[int(rng.integers(len(good)))]


def _blocked_view(samples: Float[ndarray, "S 3"], middle: Float[ndarray, "3"]) -> float:
    """Discomfort of having much of the object between face and hands."""
    high = (samples[:, 1] > middle[1] + 0.25) & (samples[:, 2] < middle[2])
    return 4.0 * float(np.mean(high & (np.abs(samples[:, 0]) < 0.3)))


def _grasps_of(
    asset: Asset, candidates: dict[int, Candidates], context: HoldContext, facing: bool
) -> tuple[dict[int, Grasp], float]:
    if len(candidates) == 2 and candidates[0] is candidates[1]:
        left, right, cost = choose_two_hands(asset, candidates[0], context, facing)
        return {0: left, 1: right}, cost
    grasps: dict[int, Grasp] = {}
    total = 0.0
    for hand, of_hand in candidates.items():
        other = next(iter(grasps.values())).point if grasps else None
        grasps[hand], cost = choose_one_hand(asset, of_hand, hand, context, other)
        total += cost
    return grasps, total
