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
    """Global pose search of the default initialiser (sizes shape the compiled program)."""

    rotations: int = 96
    coarse_points: int = 64
    coarse_steps: int = 8
    fine_points: int = 256
    fine_steps: int = 6
    model_samples: int = 96
    keep: int = 24
    """Hypotheses of a frame that survive the coarse round and enter the paths."""


STEPS = {"lm": 36, "adam": 300}
"""Optimisers, and the steps that each needs on our terms."""


@dataclass(frozen=True)
class SolveSettings:
    """Everything `hoijax solve` can be told, apart from the loss terms themselves."""

    preset: str = "default"
    inits: int = 6
    """Candidates K optimised at once."""
    seed: int = 0
    start: str = "search"
    """"search": global search over SO(3) in every frame + best paths. "yaw": published yaw starts."""
    optimizer: str = "lm"
    """"lm": Levenberg-Marquardt (solver.newton). "adam": first order, as published."""
    steps: int = STEPS["lm"]
    round_steps: int = 3
    """lm: steps in which weights, neighbours and curvature stay."""
    halving: bool = True
    """lm: after a few rounds only the best candidates go on (solver.halving)."""
    learning_rate: float = 0.01
    """adam: decays to `final_learning_rate` by a cosine."""
    final_learning_rate: float = 1e-4
    refresh_every: int = 20
    """adam: steps in which neighbours stay."""
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
    """The settings with another optimiser and the steps it needs; None changes nothing.

    Raises UserError listing the known ones.
    """
    if name is None or name == settings.optimizer:
        return settings
    if name not in STEPS:
        raise UserError(f"no optimizer '{name}'. Known optimizers: {', '.join(STEPS)}.")
    return replace(settings, optimizer=name, steps=STEPS[name])
