"""Settings of HOI-PAGE and its presets."""

from dataclasses import dataclass

from hoijax.settings import AlignmentSettings, SceneSettings
from hoijax.solver.halving import MAX_LANES

STEPS = {"lm": 24, "adam": 300}
"""Optimizers, and the steps that each needs on our terms."""


@dataclass(frozen=True)
class HoiPageSettings(SceneSettings):
    """Everything HOI-PAGE can be told, apart from the loss terms themselves."""

    optimizer: str = "lm"
    """"lm" (Levenberg-Marquardt) or "adam" (first order, as published)."""
    steps: int = STEPS["lm"]
    """Optimization steps; an optimizer that is not the preset's brings its own number."""
    round_steps: int = 3
    """lm: steps in which weights, neighbors and curvature stay."""
    halving: bool = True
    """lm: after a few rounds only the candidates that look best go on (half the time and less)."""
    learning_rate: float = 0.01
    """adam: decays to `final_learning_rate` by a cosine."""
    final_learning_rate: float = 1e-4
    """adam: the rate of the last step."""
    refresh_every: int = 20
    """adam: steps in which neighbors stay."""
    palm_contact: bool = True
    """Contact candidates (palm, sole, seat) instead of every vertex of the body part."""

    @property
    def candidates_at_once(self) -> int:
        return self.inits if self.optimizer == "adam" else min(self.inits, MAX_LANES)


PRESETS = {
    "default": HoiPageSettings(),
    # Published numbers (spec/hoi-page.md section 4): yaw starts, constant rate, 600 steps.
    "hoi-page": HoiPageSettings(
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
