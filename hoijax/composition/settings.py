"""Settings of interaction composition (AnchorHOI section 1) and its presets. No effects."""

from dataclasses import dataclass, field, replace

from hoijax.composition.fields.cameras import OrbitSettings
from hoijax.composition.fields.noise import NoiseSettings
from hoijax.composition.fields.radiance_field import FieldSettings
from hoijax.errors import UserError, nearest_hint

__all__ = ["COMPOSE_PRESETS", "ComposeSettings", "compose_preset"]


@dataclass(frozen=True)
class ComposeSettings:
    """Everything that `hoijax compose` can be told, apart from the words and the guidance."""

    preset: str = "small"
    seed: int = 0
    size: int = 64
    """Pixels along an edge of the square renders."""
    views: int = 1
    """Renders a step."""
    samples: int = 96
    """Along a ray; those in empty cells are not evaluated."""
    budget: int = 40_000
    """Samples of a render that are evaluated at most."""
    learning_rate: float = 0.01
    coarse_steps: int = 300
    anchor_steps: int = 120
    """Steps of the split into person and object, each."""
    anchor_views: int = 20
    """Fixed views of the coarse field that the split is made from."""
    object_steps: int = 160
    avatar_steps: int = 150
    fit_steps: int = 300
    fit_views: int = 12
    """Canonical views that skeletons are detected in."""
    fit_size: int = 128
    """Pixels along an edge of those."""
    entropy_weight: float = 3e-4
    opacity_weight: float = 1e-3
    distortion_weight: float = 0.0
    orientation_weight: float = 0.0
    """Weights a pixel: sum over a render."""
    cells: int = 48
    """Of the occupancy grid, along an edge."""
    occupancy_every: int = 16
    preview_every: int = 50
    checkpoint_every: int = 100
    mesh_resolution: int = 96
    mesh_densities: tuple[float, ...] = (3.0, 6.0, 10.0, 15.0, 22.0, 32.0)
    """Per metre: levels tried for the extracted mesh; at 20 half the light gets through 3.5 cm."""
    radiance: FieldSettings = field(default_factory=FieldSettings)
    orbit: OrbitSettings = field(default_factory=OrbitSettings)
    noise: NoiseSettings = field(default_factory=NoiseSettings)

    def check(self) -> "ComposeSettings":
        """The settings; UserError for numbers that make no sense."""
        positive = ("size", "views", "samples", "budget", "anchor_views", "preview_every")
        for name in (*positive, "checkpoint_every", "fit_views", "coarse_steps"):
            if getattr(self, name) < 1:
                raise UserError(f"compose: {name} must be at least 1, got {getattr(self, name)}.")
        return self


COMPOSE_PRESETS: dict[str, ComposeSettings] = {
    "tiny": ComposeSettings(
        preset="tiny",
        size=32,
        samples=64,
        budget=12_000,
        coarse_steps=120,
        anchor_steps=60,
        anchor_views=12,
        object_steps=60,
        avatar_steps=60,
        fit_steps=200,
        fit_size=64,
        cells=32,
        mesh_resolution=64,
        radiance=FieldSettings(resolutions=(16, 48)),
        noise=NoiseSettings(anneal_steps=120),
    ),
    "small": ComposeSettings(),
    # The published number of steps; DeepFloyd IF sees 64 x 64 pixels, MVDream 256 x 256.
    "gpu": ComposeSettings(
        preset="gpu",
        size=128,
        views=4,
        samples=192,
        budget=400_000,
        coarse_steps=3000,
        anchor_steps=500,
        anchor_views=48,
        object_steps=1500,
        avatar_steps=1000,
        fit_size=512,
        distortion_weight=1e-3,
        orientation_weight=1e-3,
        cells=96,
        mesh_resolution=192,
        radiance=FieldSettings(resolutions=(32, 64, 160), width=48),
        noise=NoiseSettings(anneal_steps=3000),
    ),
}


def compose_preset(name: str) -> ComposeSettings:
    """Settings of a preset. UserError listing the known ones."""
    if name not in COMPOSE_PRESETS:
        raise UserError(
            f"no preset '{name}'.{nearest_hint(name, COMPOSE_PRESETS)} Known presets: {', '.join(COMPOSE_PRESETS)}."
        )
    return replace(COMPOSE_PRESETS[name])
