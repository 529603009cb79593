"""One aggregator for every loss: mask, reduce, weight by schedule, report.

A loss is a short pure function `PosedScene -> (values, mask)` with values of shape
(entities..., frames). It is reduced to the *mean over frames, sum over entities* with a fixed
denominator (missing frames count as zeros), so a weight means the same in every scene.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.curvature import Curvature
from hoijax.scene import PosedScene

LossFunction = Callable[
    [Any], tuple[Float[Array, "*entities frames"], Bool[Array, "*entities frames"]]
]


@dataclass(frozen=True)
class LossTerm:
    """A named loss with its default weight schedule, linear from `start` to `end` over the run."""

    name: str
    function: LossFunction
    start: float
    end: float
    curvature: Callable[[PosedScene], Curvature] | None = None
    """Curvature of the term summed over frames, for Newton steps; without it the term pulls by its
    gradient alone, which is right but may be slow."""
    reads_pixel_neighbours: bool = False
    """The function reads `Neighbours.nearest_sample`: only then are these kept up to date."""

    @classmethod
    def constant(cls, name: str, function: LossFunction, weight: float, **options) -> "LossTerm":
        """A term whose weight stays; options are `curvature` and `reads_pixel_neighbours`."""
        return cls(name, function, weight, weight, **options)


Weights = dict[str, Float[Array, " 2"]]
"""Start and end weight of every term: traced arrays, so a sweep never recompiles."""


def default_weights(
    terms: Sequence[LossTerm], overrides: Mapping[str, float | tuple[float, float]] | None = None
) -> Weights:
    """Weights of the terms as arrays; an override is a number (constant) or (start, end).

    Raises KeyError naming the known terms when an override names none of them.
    """
    overrides = dict(overrides or {})
    unknown = sorted(set(overrides) - {term.name for term in terms})
    if unknown:
        raise KeyError(f"unknown loss terms {unknown}; known: {[term.name for term in terms]}")
    weights = {}
    for term in terms:
        value = overrides.get(term.name, (term.start, term.end))
        start, end = (value, value) if isinstance(value, int | float) else value
        weights[term.name] = jnp.asarray([start, end], jnp.float32)
    return weights


def reduce_term(term: LossTerm, posed: Any) -> Float[Array, ""]:
    """Unweighted value of one term: mean over frames, sum over entities, masked with zeros."""
    values, mask = term.function(posed)
    return jnp.sum(jnp.where(mask, values, 0.0)) / values.shape[-1]


def evaluate(
    terms: Sequence[LossTerm],
    posed: Any,
    weights: Weights,
    progress: Float[Array, ""] | float,
) -> tuple[Float[Array, ""], Float[Array, " n"]]:
    """Weighted total at `progress` in [0, 1] of the schedules, and every term's unweighted value."""
    report = jnp.stack([reduce_term(term, posed) for term in terms])
    return jnp.sum(weights_at(terms, weights, progress) * report), report


def weights_at(
    terms: Sequence[LossTerm], weights: Weights, progress: Float[Array, ""] | float
) -> Float[Array, " n"]:
    """Weight of every term at `progress` in [0, 1] of its schedule."""
    ramp = jnp.stack([weights[term.name] for term in terms])
    return ramp[:, 0] + (ramp[:, 1] - ramp[:, 0]) * progress


def final_total(
    terms: Sequence[LossTerm], report: Float[Array, "*batch n"], weights: Weights
) -> Float[Array, "*batch"]:
    """Total under the final weights: comparable over steps while schedules move."""
    final = jnp.stack([weights[term.name][1] for term in terms])
    return jnp.sum(report * final, axis=-1)
