"""A radiance field: density and color at every point of a cube, and a background (Flax).

Lengths are metres, densities per metre (optical depth per length). A field knows only its own frame;
`hoijax.composition.fields.composition` places fields in the world.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hoijax.composition.fields.encoding import DenseGridEncoding

__all__ = ["Background", "FieldSettings", "FieldValues", "RadianceField", "init_field"]

Params = Mapping[str, Any]


@dataclass(frozen=True)
class FieldSettings:
    """Size and resolution of a field."""

    center: tuple[float, float, float] = (0.0, 0.9, 0.0)
    """Middle of the cube in the field's frame, metres."""
    half_side: float = 1.05
    """Half the cube's edge, metres."""
    resolutions: tuple[int, ...] = (24, 96)
    features: int = 4
    width: int = 24
    """Hidden units of the small network behind the grids."""
    density_scale: float = 60.0
    """Density per metre of one unit of the network's (softplus) output."""
    density_bias: float = -5.0
    """Where that output starts: a thin fog in which everything can still grow."""
    blob: float = 2.0
    """Added to it in the middle of the cube and falling to zero at its faces (DreamFusion, A.2)."""


@flax.struct.dataclass
class FieldValues:
    """Density (per metre, zero outside of the cube) and color (linear RGB in [0, 1]) at n points."""

    density: Float[Array, " n"]
    color: Float[Array, "n 3"]


class RadianceField(nn.Module):
    """Dense grids and a small network; points are in the field's frame, metres."""

    settings: FieldSettings

    @nn.compact
    def __call__(self, points: Float[Array, "n 3"]) -> FieldValues:
        s = self.settings
        local = (points - jnp.asarray(s.center)) / s.half_side
        inside = jnp.all(jnp.abs(local) <= 1.0, axis=-1)
        encoding = DenseGridEncoding(s.resolutions, s.features)
        hidden = encoding(0.5 * (local + 1.0))
        hidden = nn.relu(nn.Dense(s.width, name="hidden")(hidden))
        raw = nn.Dense(4, name="values")(hidden)
        towards_middle = jnp.maximum(1.0 - jnp.sqrt(jnp.sum(local**2, axis=-1) + 1e-6), 0.0)
        density = nn.softplus(raw[:, 0] + s.density_bias + s.blob * towards_middle)
        return FieldValues(
            density=jnp.where(inside, s.density_scale * density, 0.0),
            color=nn.sigmoid(raw[:, 1:]),
        )


class Background(nn.Module):
    """Color of what lies behind everything, by direction: a constant and a linear part."""

    color: tuple[float, float, float] = (0.85, 0.85, 0.85)
    """Where it starts."""

    @nn.compact
    def __call__(self, directions: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
        start = jnp.asarray(self.color)
        logit = self.param("constant", lambda key: jnp.log(start / (1.0 - start)))
        slope = self.param("slope", nn.initializers.zeros_init(), (3, 3))
        return nn.sigmoid(logit + directions @ slope)


def init_field(settings: FieldSettings, key: Array) -> dict[str, Any]:
    """Fresh parameters {"field": ..., "background": ...}."""
    points, directions = jnp.zeros((1, 3)), jnp.ones((1, 3))
    key_field, key_background = jax.random.split(key)
    return {
        "field": RadianceField(settings).init(key_field, points)["params"],
        "background": Background().init(key_background, directions)["params"],
    }
