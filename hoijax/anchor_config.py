"""Settings of anchor motion (AnchorHOI section 2) and of its contact keypoints. No effects."""

from dataclasses import dataclass, field

from hoijax.config import AlignmentSettings, SearchSettings
from hoijax.errors import UserError

BODY_STARTS = ("fit", "keypoints", "estimate", "static")
ESTIMATE_STARTS = ("fit", "estimate")
"""Those that believe the bundle's body motion."""


@dataclass(frozen=True)
class PairSettings:
    """Contact keypoints, eq. 3 of AnchorHOI. The paper gives no numbers; docs/anchor-motion.md has ours."""

    object_points: int = 512
    """N_o: object surface points, by farthest point sampling."""
    candidates: int = 48
    """Vertices of each of the twelve contact regions of a body."""
    normal_threshold: float = 0.7
    """tau_n: 1 + n_o . n_h must stay below it (outward normals, antiparallel at contact: 0)."""
    distance_threshold: float = 0.05
    """tau_d: metres, on the Geman-McClure value of the distance."""
    rho: float = 0.2
    """Scale of that kernel, metres."""


@dataclass(frozen=True)
class AnchorSettings:
    """Everything `hoijax solve --method anchor-motion` can be told, apart from the loss terms."""

    inits: int = 2
    """Candidates K: different object trajectories."""
    seed: int = 0
    body_start: str = "fit"
    """"fit": to the keypoints and the point map; the bundle's body motion is one more start, and a centre
    of the pose prior. "keypoints": the same without the bundle's body motion. "estimate": the bundle's
    body motion as it is. "static": the static scene's pose in every frame (published)."""
    track_steps: int = 125
    """Steps of the first pass, which follows what was seen, without contact keypoints."""
    steps: int = 200
    """Steps of the second pass, with the contact keypoints."""
    learning_rate: float = 0.01
    final_learning_rate: float = 5e-4
    refresh_every: int = 25
    points: int = 256
    """Observed points of an object and of a person, a frame."""
    contact_points: int = 32
    infer_contact: bool = True
    contact_reach: float = 0.10
    pairs: PairSettings = field(default_factory=PairSettings)
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    grid_resolution: int = 48
    palm_contact: bool = True
    picture_width: int = 64
    """Pixels across the small pictures that body and objects are drawn into and compared with what was
    seen (the paper's L_reg on frames); 0: no such terms."""
    picture_every: int = 5
    """Every so many frames are drawn; smoothness carries what they say to the others."""
    optimise_hands: bool = False
    """Fingers are unknowns too (55 joints instead of 22)."""
    vposer: str | None = None
    """Path of VPoser weights (npz), which then are the pose prior."""


def check_body_start(name: str, has_static: bool) -> None:
    """Raises UserError listing the known starts, or when "static" has no static scene."""
    if name not in BODY_STARTS:
        raise UserError(f"no body start '{name}'. Known: {', '.join(BODY_STARTS)}.")
    if name == "static" and not has_static:
        raise UserError("the body start 'static' needs a static scene: give --static RESULT.")
