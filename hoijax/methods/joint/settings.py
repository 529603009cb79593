"""Settings of the joint solve and its presets."""

import dataclasses
from dataclasses import dataclass, field

from hoijax.methods.hoi_page.settings import PRESETS as HOI_PAGE
from hoijax.methods.hoi_page.settings import HoiPageSettings


@dataclass(frozen=True)
class BodyPassSettings:
    """How far priors err, as standard deviations (metres, radians, or relative), and what evidence counts.

    Found on half of the error families and scenes of scripts/benchmarks/robustness.py.
    """

    rounds: int = 10
    """Damped Gauss-Newton steps, at most."""
    usual_gain: float = 5.0
    """Energy by which changes usually improve a frame of a person, at least. Where they improve it less, the
    estimates agree with each other already, and all deviations of changes shrink in proportion."""
    points: int = 64
    """Observed points of a person in a frame."""
    vertices: int = 2048
    """Skin vertices that they are compared with."""
    keypoint: float = 0.012
    """Of the focal length. Far above the pixels of a detector: its mistakes last for many frames."""
    keypoint_reach: float = 2.0
    """Standard deviations beyond which a keypoint says little: a joint that something hides is invented,
    in one place, for as long as it is hidden."""
    surface: float = 0.06
    surface_count: float = 5.0
    """Independent points in a frame: errors of a depth map are smooth over the image and stay."""
    contours: int = 48
    """Samples of the outline of a person's mask in a frame, where there is no point map of people: masks are
    too fat or too thin for what points know already."""
    contour: float = 0.012
    """Of the focal length; ..."""
    contour_count: float = 12.0
    """independent ones in a frame: masks err alike all around, and all the time."""
    ground: float = 0.015
    """Of feet below the ground."""
    foot_height: float = 0.3
    """Of planted feet above it; weak, as floors are estimates themselves."""
    skate: float = 0.006
    """Metres a frame of feet that are low; ..."""
    plant: float = 0.003
    """and of those that are known to stand, once paths of feet are (`bodies.fitting.foot_plants`)."""
    acceleration: float = 12.0
    """m/s^2 of a joint."""
    pose: float = 0.4
    """Factor on the deviations of joint rotations (`build_problem.JOINT_DEGREES`)."""
    pelvis_bias: float = 0.015
    """Of the whole clip's position; ..."""
    pelvis_drift: float = 0.02
    """of a frame's about it."""
    focal: float = 0.05
    body_size: float = 0.005
    camera_turn: float = 0.01
    """A camera that is said to be static, and is not quite where it is said to be."""
    camera_shift: float = 0.02
    map_scale: float = 0.03
    """Scale of the point map: of a clip, and of a frame about it."""
    map_shift: float = 0.05
    """Its shift along the view; hardly across it, where pixels tell."""
    contact: float = 0.01
    """Of touching skin from its object, once objects are known; ..."""
    slip: float = 0.02
    """metres a frame of what holds without slipping."""
    object_bias: float = 0.01
    """Of an object against the point map in a whole clip; ..."""
    object_bias_depth: float = 0.03
    """along the view, where its size and the depth map err; ..."""
    object_drift: float = 0.005
    """and of a frame about that, along the view twice as much."""
    object_turn: float = 0.01
    contact_rounds: int = 5
    """The same each time that contacts are looked up, which is twice. 0: objects do not move bodies."""


@dataclass(frozen=True)
class JointSettings(HoiPageSettings):
    """Everything the joint solve can be told."""

    keep_body: bool = False
    """Bodies and cameras stay as they are given, and point maps are aligned to them, as published."""
    object_scale: str = "solve"
    """Size of objects against their meshes: "solve" (one factor each, near 1), "xyz" (also one along each
    axis), "fixed", a factor such as 0.9, or a range such as 0.8-1.2."""
    body_pass: BodyPassSettings = field(default_factory=BodyPassSettings)


def _joint(base: HoiPageSettings, keep_body: bool, object_scale: str) -> JointSettings:
    shared = {f.name: getattr(base, f.name) for f in dataclasses.fields(HoiPageSettings)}
    return JointSettings(**shared, keep_body=keep_body, object_scale=object_scale)


PRESETS = {
    "default": _joint(HOI_PAGE["default"], keep_body=False, object_scale="solve"),
    "hoi-page": _joint(HOI_PAGE["hoi-page"], keep_body=True, object_scale="fixed"),
}
