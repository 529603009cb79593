"""Settings of a solve as frozen dataclasses, and the named presets. No effects, no imports of JAX."""

from dataclasses import dataclass, field, replace

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


STEPS = {"lm": 36, "adam": 300}
"""Optimizers, and the steps that each needs on our terms."""


@dataclass(frozen=True)
class SolveSettings:
    """Everything `hoijax solve` can be told, apart from the loss terms themselves."""

    preset: str = "default"
    inits: int = 6
    """Candidates K optimized at once."""
    seed: int = 0
    start: str = "search"
    """"search": global search over SO(3) in every frame + best paths. "yaw": published yaw starts."""
    optimizer: str = "lm"
    """"lm": Levenberg-Marquardt (solver.levenberg_marquardt). "adam": first order, as published."""
    steps: int = STEPS["lm"]
    round_steps: int = 3
    """lm: steps in which weights, neighbors and curvature stay."""
    halving: bool = True
    """lm: after a few rounds only the best candidates go on (solver.halving)."""
    learning_rate: float = 0.01
    """adam: decays to `final_learning_rate` by a cosine."""
    final_learning_rate: float = 1e-4
    refresh_every: int = 20
    """adam: steps in which neighbors stay."""
    points: int = 384
    """Observed points a frame that the fitting terms read."""
    contact_points: int = 32
    palm_contact: bool = True
    """Contact candidates (palm, sole, seat) instead of every vertex of the body part."""
    infer_contact: bool = True
    """Estimate in which frames an edge touches, instead of taking a_c literally."""
    contact_reach: float = 0.10
    """Metres: a part closer than this to its object part at the start counts as touching."""
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    grid_resolution: int = 48


PRESETS: dict[str, SolveSettings] = {
    "default": SolveSettings(),
    # Published numbers (spec/hoi-page.md section 4): yaw starts, constant rate, 600 steps.
    "hoi-page": SolveSettings(
        preset="hoi-page",
        inits=4,
        start="yaw",
        optimizer="adam",
        steps=600,
        final_learning_rate=0.01,
        points=1024,
        contact_points=64,
        palm_contact=False,
        infer_contact=False,
        alignment=AlignmentSettings(
            steps=300, pixel_weight=1e-3, ray_weight=0.0, smoothness_weight=0.0, static_camera=False
        ),
    ),
}


def preset_settings(name: str) -> SolveSettings:
    """Settings of a preset. Raises UserError listing the known ones."""
    if name not in PRESETS:
        raise UserError(f"no preset '{name}'. Known presets: {', '.join(PRESETS)}.")
    return PRESETS[name]


def with_optimizer(settings: SolveSettings, name: str | None) -> SolveSettings:
    """The settings with another optimizer and the steps it needs; None changes nothing.

    Raises UserError listing the known ones.
    """
    if name is None or name == settings.optimizer:
        return settings
    if name not in STEPS:
        raise UserError(f"no optimizer '{name}'. Known optimizers: {', '.join(STEPS)}.")
    return replace(settings, optimizer=name, steps=STEPS[name])


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
    """"fit": to the keypoints and the point map; the bundle's body motion is one more start, and a center
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
    render_width: int = 64
    """Pixels across the small pictures that body and objects are drawn into and compared with what was
    seen (the paper's L_reg on frames); 0: no such terms."""
    image_every: int = 5
    """Every so many frames are drawn; smoothness carries what they say to the others."""
    optimize_hands: bool = False
    """Fingers are unknowns too (55 joints instead of 22)."""
    vposer: str | None = None
    """Path of VPoser weights (npz), which then are the pose prior."""


def check_body_start(name: str, has_static: bool) -> None:
    """Raises UserError listing the known starts, or when "static" has no static scene."""
    if name not in BODY_STARTS:
        raise UserError(f"no body start '{name}'. Known: {', '.join(BODY_STARTS)}.")
    if name == "static" and not has_static:
        raise UserError("the body start 'static' needs a static scene: give --static RESULT.")
