"""Settings of a solve that scene builders read, as frozen dataclasses. No effects, no imports of JAX."""

from dataclasses import dataclass, field

from hoijax.errors import UserError


@dataclass(frozen=True)
class AlignmentSettings:
    """Stage a: point maps to the body. Weights as in solver.align.AlignmentWeights."""

    steps: int = 200
    learning_rate: float = 0.01
    points: int = 384
    vertices: int = 2048
    point_weight: float = 1e3
    pixel_weight: float = 0.0
    """The rays say where points lie across the view more exactly than the published 2D chamfer."""
    ray_weight: float = 1e-1
    smoothness_weight: float = 1e3
    static_camera: bool = True
    """Average camera estimates that differ by noise only: the prompts ask for a fixed camera."""


@dataclass(frozen=True)
class SearchSettings:
    """Global pose search of the default initializer (sizes shape the compiled program)."""

    rotations: int = 96
    coarse_points: int = 64
    coarse_steps: int = 8
    fine_points: int = 256
    fine_steps: int = 6
    model_samples: int = 96
    keep: int = 24
    """Hypotheses of a frame that survive the coarse round and enter the paths."""
    sizes: tuple[float, ...] = (1.0,)
    """Factors of a mesh that are tried where outlines alone tell the pose."""


@dataclass(frozen=True)
class SceneSettings:
    """What every method can be told: candidates, what of the observations is read, how starts are found."""

    preset: str = "default"
    """Name of the settings these began as."""
    inits: int = 6
    """Candidates K optimized at once."""
    seed: int = 0
    """The same seed gives the same result on the same machine."""
    start: str = "search"
    """"search": global search over SO(3) in every frame + best paths. "yaw": published yaw starts."""
    points: int = 384
    """Observed points of an object (and of a person, where bodies move) in a frame."""
    contact_points: int = 32
    """Points of a body part that look for contact."""
    infer_contact: bool = True
    """Estimate in which frames an edge touches, instead of taking a_c literally."""
    contact_reach: float = 0.10
    """Metres: a part closer than this to its object part at the start counts as touching."""
    grid_resolution: int = 48
    """Cells along the longest side of an object's distance grid."""
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    search: SearchSettings = field(default_factory=SearchSettings)

    @property
    def candidates_at_once(self) -> int:
        """Candidates whose descents are in memory together."""
        return self.inits


DEFAULT_METHOD = "joint"
"""What solves where no method is named."""
STARTS = ("search", "yaw")


BODY_STARTS = ("corrected", "fit", "keypoints", "estimate", "static")


ESTIMATE_STARTS = ("corrected", "fit", "estimate")
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
class AnchorSettings(SceneSettings):
    """Everything anchor motion can be told, apart from the loss terms themselves."""

    inits: int = 2
    """Candidates K: different object trajectories."""
    points: int = 256
    """Observed points of an object and of a person, a frame."""
    body_start: str = "corrected"
    """"corrected": the bundle's body motion after the joint method's body pass, which also corrects camera,
    focal length and point map. "fit": fitted to the keypoints and the point map; the bundle's body motion is one more start, and a center
    of the pose prior. "keypoints": the same without the bundle's body motion. "estimate": the bundle's
    body motion as it is. "static": the static scene's pose in every frame (published)."""
    static: str | None = None
    """Result folder with the static scene that contacts are read off."""
    static_frame: int = 0
    """Frame of the static scene's result."""
    track_steps: int = 125
    """Steps of the first pass, which follows what was seen, without contact keypoints."""
    steps: int = 200
    """Steps of the second pass, with the contact keypoints; given alone, of both."""
    learning_rate: float = 0.01
    """Of the second pass; the first has twice as much. Decays to `final_learning_rate` by a cosine."""
    final_learning_rate: float = 5e-4
    """The rate of the last step."""
    refresh_every: int = 25
    """Steps in which neighbors stay."""
    pairs: PairSettings = field(default_factory=PairSettings)
    render_width: int = 64
    """Pixels across the small images that body and objects are rendered into and compared with what was
    seen (the paper's L_reg on frames); 0: no such terms."""
    image_every: int = 5
    """Every so many frames are rendered; smoothness carries what they say to the others."""
    video: str | None = None
    """The clip, as long as the bundle: its colors are compared with the rendered images too."""
    hands: bool = False
    """Fingers are unknowns too (55 joints instead of 22)."""
    vposer: str | None = None
    """VPoser weights (npz), which then are the pose prior (docs/anchor-motion.md)."""


def check_body_start(name: str, has_static: bool) -> None:
    """Raises UserError listing the known starts, or when "static" has no static scene."""
    if name not in BODY_STARTS:
        raise UserError(f"no body start '{name}'. Known: {', '.join(BODY_STARTS)}.")
    if name == "static" and not has_static:
        raise UserError("the body start 'static' needs a static scene: give --static RESULT.")
