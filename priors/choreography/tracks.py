"""The stage on which a motion is planned: object tracks, people's tracks and holds, as plain arrays.

A motion (`priors.choreography.motions.held`) fills the tracks; this module turns a person's track into the targets of
the inverse kinematics. numpy; world frame, metres, frames first.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.geometry.transforms import compose_rigid
from hoijax.objects.asset import Asset
from priors.choreography.footsteps import FootPlan, plan_footsteps
from priors.choreography.grasps import Grasp
from priors.choreography.joint_limits import standing_reference
from priors.choreography.keyframes import euler_matrix, forward_of, minimum_jerk, yaw_matrix
from priors.choreography.person import Person
from priors.choreography.pose_targets import POINT_SLOTS, PoseTargets, Seat

APPROACH_FRAMES, RELEASE_FRAMES = 9, 6
FOLLOW_THROUGH = 0.8
"""Frames in which a hand that lets go comes to rest."""
BAR_SIDE, BAR_AXIS = 0.5, 0.8
"""Weights of the side that a bar is gripped from, where a grasp has one, and of its direction."""
EDGE_SIDE, EDGE_AXIS = 0.15, 0.4  # of the edge of a plate, round which a hand may lean
FLAT_AXIS = 0.15
PALM_GAP = 0.001  # metres between palm skin and surface, so that resting hands do not sink in


@dataclass
class ObjectTrack:
    """Where one object is: its center (of the bounding box) and its axes in the world."""

    asset: Asset
    center: Float[ndarray, "T 3"]
    rotation: Float[ndarray, "T 3 3"]
    keeps_clear: bool = False
    """Whether its path may bow out from the body of who holds it."""

    def transforms(self) -> Float[ndarray, "T 4 4"]:
        """Ts_world_object of the mesh frame."""
        return compose_rigid(self.rotation, self.center - self.rotation @ self.asset.center)

    def lowest(self) -> Float[ndarray, "T"]:
        """Height of the lowest vertex in every frame."""
        vertices = _hull(self.asset) - self.asset.center
        return np.min(vertices @ self.rotation[:, 1, :].T, axis=0) + self.center[:, 1]

    def rest_on(self, height: float | Float[ndarray, "T"], frames: ndarray | slice) -> None:
        """Set the height so that the lowest vertex touches `height` in these frames."""
        lowest = self.lowest()
        floor = np.broadcast_to(np.asarray(height, float), lowest.shape)
        self.center[frames, 1] += (floor - lowest)[frames]

    def lift_out_of_ground(self) -> None:
        """Raise the frames in which the object would sink below y = 0."""
        self.center[:, 1] += np.maximum(0.0, -self.lowest())


def _hull(asset: Asset) -> Float[ndarray, "H 3"]:
    """Vertices of the convex hull: the only ones that can be the lowest."""
    from scipy.spatial import ConvexHull, QhullError

    vertices = np.asarray(asset.vertices, float)
    try:
        return vertices[ConvexHull(vertices).vertices]
    except QhullError:  # flat mesh
        return vertices


@dataclass
class Hold:
    """One hand on one object from frame `start` to frame `end` (both included)."""

    hand: int
    """0 left, 1 right."""
    object: int
    grasp: Grasp
    start: int = 0
    end: int = 10_000
    weight: float = 1.0
    slide: Float[ndarray, "T 3"] | None = None
    """How far the hand has moved along the surface, in the mesh frame."""
    gap: float = 0.0
    """Metres that the palm keeps farther away than its middle needs: what is around is not flat, or not round."""


@dataclass
class Pin:
    """A body point (in the frame of a joint, rest axes) kept at a world point while weight > 0."""

    joint: int
    local: Float[ndarray, "3"]
    point: Float[ndarray, "T 3"]
    weight: Float[ndarray, "T"]


@dataclass
class PersonTrack:
    """What one person is to do. Weights 0 leave things to the inverse kinematics."""

    person: Person
    root: Float[ndarray, "T 2"]
    """Ground point (x, z) below the pelvis."""
    heading: Float[ndarray, "T"]
    crouch: Float[ndarray, "T"]
    """Metres that the pelvis is lower than in standing."""
    reference: Float[ndarray, "T 22 3"]
    look_at: Float[ndarray, "T 3"]
    look_weight: Float[ndarray, "T"]
    pelvis_weight: Float[ndarray, "T 3"]
    balance_weight: Float[ndarray, "T"]
    half_width: float = 0.11
    stagger: float = 0.0
    first_foot: int = 0
    feet: FootPlan | None = None
    """None: planned from root and heading."""
    foot_floor: Float[ndarray, "T 2"] | None = None
    """Height of the floor below each foot; 0 where None."""
    support: Float[ndarray, "T 2"] | None = None
    """Where the center of mass should be; between the feet where None."""
    holds: list[Hold] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    seats: list[Seat] = field(default_factory=list)
    """What is sat on: nothing of the body may be below its top or behind its back."""

    @property
    def frames(self) -> int:
        return len(self.root)

    def foot_plan(self, fps: float) -> FootPlan:
        if self.feet is None:
            self.feet = plan_footsteps(
                self.root,
                self.heading,
                fps=fps,
                half_width=self.half_width,
                stagger=self.stagger,
                first_foot=self.first_foot,
            )
        return self.feet


def stand(person: Person, root: Float[ndarray, "T 2"], heading: Float[ndarray, "T"]) -> PersonTrack:
    """A person standing or walking along a path, arms hanging, looking ahead."""
    frames = len(root)
    ahead = np.stack([forward_of(h) for h in heading]) * 3.0
    look_at = np.concatenate([root[:, :1], np.full((frames, 1), 1.4), root[:, 1:]], axis=1) + ahead
    return PersonTrack(
        person=person,
        root=np.array(root, float),
        heading=np.array(heading, float),
        crouch=np.full(frames, 0.02),
        reference=np.repeat(standing_reference()[None], frames, axis=0),
        look_at=look_at,
        look_weight=np.ones(frames),
        pelvis_weight=np.tile([3.5, 8.0, 3.5], (frames, 1)),
        balance_weight=np.ones(frames),
        half_width=person.ankle_half_width,
    )


def pose_targets(track: PersonTrack, objects: list[ObjectTrack], fps: float) -> PoseTargets:
    """The person's track as inverse-kinematics targets (T frames)."""
    person, frames = track.person, track.frames
    feet = track.foot_plan(fps)
    ankle, foot_rotation = _ankles(track, feet)
    hands = _hand_targets(track, objects)
    heights = person.pelvis_height - track.crouch
    if track.foot_floor is not None:
        heights = heights + track.foot_floor.mean(axis=1)
    pelvis = np.stack([track.root[:, 0], heights, track.root[:, 1]], axis=1)
    slots = _slots(track)
    transforms = np.stack([o.transforms() for o in objects], axis=1)
    support = feet.position.mean(axis=1) if track.support is None else track.support
    return PoseTargets(
        heading=yaw_matrix(track.heading),
        pelvis=pelvis,
        pelvis_weight=track.pelvis_weight,
        reference=track.reference,
        support=support + _sole_middle(track),
        balance_weight=track.balance_weight,
        **hands,
        ankle=ankle,
        foot_rotation=foot_rotation,
        foot_weight=np.stack(
            [np.where(feet.planted, 1.0, 0.25), np.where(feet.planted, 1.0, 0.12)], axis=-1
        ),
        look_at=track.look_at,
        look_weight=track.look_weight,
        **slots,
        Ts_world_object=transforms,
        collision_weight=np.ones((frames, len(objects))),
    )


def _sole_middle(track: PersonTrack) -> Float[ndarray, "T 2"]:
    """From the ankles' ground point to the middle of the soles (where balance is best)."""
    ahead = float(track.person.sole[:, 2].mean()) * 0.6
    return ahead * np.stack([forward_of(h)[[0, 2]] for h in track.heading])


def _ankles(
    track: PersonTrack, feet: FootPlan
) -> tuple[Float[ndarray, "T 2 3"], Float[ndarray, "T 2 3 3"]]:
    """Ankle positions such that the lowest point of each pitched sole clears its floor by `lift`."""
    floor = np.zeros((track.frames, 2)) if track.foot_floor is None else track.foot_floor
    rotation = euler_matrix(feet.yaw, feet.pitch, np.zeros_like(feet.pitch))
    ends = np.einsum("tfij,ej->tfei", rotation, track.person.sole * [0.0, 1.0, 1.0])
    height = floor + feet.lift - ends[..., 1].min(axis=-1)
    return np.stack([feet.position[..., 0], height, feet.position[..., 1]], axis=-1), rotation


def _as_the_hand_meets_it(
    hold: Hold, holds: list[Hold], track: ObjectTrack
) -> tuple[Float[ndarray, "T 3"], Float[ndarray, "T 3 3"]]:
    """Center and rotation of an object for a hand that comes to it or leaves it.

    A hand does not fly after what it has thrown, nor with what it is to catch: it waits where it takes the
    object, and swings out where it lets go. With an object that the other hand holds it goes along.
    """
    t = np.arange(len(track.center))
    is_held = np.zeros(len(t), bool)
    for other in holds:
        if other.object == hold.object:
            is_held |= (t >= other.start) & (t <= other.end)
    last = min(hold.end, len(t) - 1)
    met = np.where(is_held, t, np.clip(t, hold.start, last))
    center = track.center[met]
    after = np.maximum(t - last, 0)[:, None]
    speed = track.center[last] - track.center[max(last - 1, 0)]
    swing = FOLLOW_THROUGH * (1.0 - np.exp(-after / FOLLOW_THROUGH)) * speed
    return center + np.where(is_held[:, None], 0.0, swing), track.rotation[met]


def _hand_targets(track: PersonTrack, objects: list[ObjectTrack]) -> dict[str, ndarray]:
    """Targets of both hands; a hand with several holds follows them one after the other."""
    frames, person = track.frames, track.person
    local = np.repeat(person.palm_points[None].astype(float), frames, axis=0)
    point, normal, axis = (np.zeros((frames, 2, 3)) for _ in range(3))
    weight = np.zeros((frames, 2, 3))
    palm_normals = np.asarray(person.skeleton.palm_normals)
    t = np.arange(frames)
    for hold in track.holds:
        track_of = objects[hold.object]
        grasp, hand = hold.grasp, hold.hand
        fade = np.minimum(
            minimum_jerk((t - hold.start + APPROACH_FRAMES) / APPROACH_FRAMES),
            minimum_jerk((hold.end + RELEASE_FRAMES - t) / RELEASE_FRAMES),
        )
        rows = fade**2 > weight[:, hand, 0]
        center, rotation = _as_the_hand_meets_it(hold, track.holds, track_of)
        R = rotation[rows]
        grip = grasp.point - track_of.asset.center
        grip = grip if hold.slide is None else grip + hold.slide[rows]
        grip = np.broadcast_to(grip, (int(rows.sum()), 3))
        world = center[rows] + np.einsum("tij,tj->ti", R, grip)
        outward = R @ grasp.normal
        gap = PALM_GAP + hold.gap + 0.10 * (1.0 - fade[rows])
        if grasp.is_bar:
            offset = (grasp.radius + PALM_GAP + hold.gap) * palm_normals[hand]
            local[rows, hand] = person.grip_points[hand] + offset
        else:
            local[rows, hand] = person.palm_points[hand]
            world = world + gap[:, None] * outward
        point[rows, hand], axis[rows, hand] = world, R @ grasp.axis
        normal[rows, hand] = -outward
        faded = hold.weight * fade[rows] ** 2
        weight[rows, hand, 0] = faded
        side, along = _firmness(grasp)
        weight[rows, hand, 1], weight[rows, hand, 2] = faded * side, faded * along
    return {
        "hand_local": local,
        "hand_point": point,
        "hand_normal": normal,
        "hand_axis": axis,
        "hand_weight": weight,
    }


def _firmness(grasp: Grasp) -> tuple[float, float]:
    """Weights of the palm's and of the knuckles' direction."""
    if grasp.is_edge:
        return EDGE_SIDE, EDGE_AXIS
    return (BAR_SIDE * grasp.has_side, BAR_AXIS) if grasp.is_bar else (1.0, FLAT_AXIS)


def _slots(track: PersonTrack) -> dict[str, ndarray]:
    """Spare body points; unused slots weigh nothing."""
    frames = track.frames
    joint, local = np.zeros((frames, POINT_SLOTS), int), np.zeros((frames, POINT_SLOTS, 3))
    point, weight = np.zeros((frames, POINT_SLOTS, 3)), np.zeros((frames, POINT_SLOTS))
    for slot, pin in enumerate(track.pins[:POINT_SLOTS]):
        joint[:, slot], local[:, slot] = pin.joint, pin.local
        point[:, slot], weight[:, slot] = pin.point, pin.weight
    return {"slot_joint": joint, "slot_local": local, "slot_point": point, "slot_weight": weight}
