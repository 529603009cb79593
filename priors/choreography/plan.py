"""The mutable plan of a performance: who stands where, what moves how, who touches what when.

Motions (`priors.choreography.motions.held*`) fill a `Performance`; the choreographer then solves for the bodies.
Person frame: x left, y up, z ahead, origin on the ground below the pelvis.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from hoijax.objects.asset import Asset
from priors.choreography.hold_plans import QUARTER_TURNS, HoldPlan, HoldPreferences, plan_hold
from priors.choreography.keyframes import yaw_matrix
from priors.choreography.person import Person
from priors.choreography.tracks import Hold, ObjectTrack, PersonTrack, stand
from priors.language.script import Action, Script

HANDS = ("left_hand", "right_hand")


@dataclass(frozen=True)
class Touch:
    """One edge of the graph between a person and an object."""

    edge: int
    person: int
    body_part: str
    object: int
    part: str
    is_continuous: bool


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

    def frame(self, fraction: float) -> int:
        """Frame at a fraction of the clip."""
        return round(fraction * (self.frames - 1))

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

    def plan_hold(
        self,
        person: int,
        object_index: int,
        hands: dict[int, str],
        wish: HoldPreferences,
        yaws: tuple[float, ...] = QUARTER_TURNS,
        tilt: Float[ndarray, "3 3"] | None = None,
        jitter: float = 0.06,
    ) -> HoldPlan:
        """How a person takes an object in the hands; see `hold_plans.plan_hold`."""
        build, asset = self.tracks[person].person, self.asset(object_index)
        return plan_hold(build, asset, self.rng, hands, wish, yaws, tilt, jitter)

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
