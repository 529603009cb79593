"""One aggregator for every loss: mask, reduce, weight by schedule, report.

A loss is a short pure function `PosedScene -> (values, mask)` with values of shape
(entities..., frames). It is reduced to the *mean over frames, sum over entities* with a fixed
denominator (missing frames count as zeros), so a weight means the same in every scene.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hoijax.scene import PosedScene

LossFunction = Callable[
    [PosedScene], tuple[Float[Array, "*entities frames"], Bool[Array, "*entities frames"]]
]


@dataclass(frozen=True)
class LossTerm:
    """A named loss with its default weight schedule, linear from `start` to `end` over the run."""

    name: str
    function: LossFunction
    start: float
    end: float
    reads_pixel_neighbours: bool = False
    """The function reads `Neighbours.nearest_sample`: only then are these kept up to date."""

    @classmethod
    def constant(
        cls, name: str, function: LossFunction, weight: float, *, pixel_neighbours: bool = False
    ) -> "LossTerm":
        """A term whose weight stays."""
        return cls(name, function, weight, weight, pixel_neighbours)


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


def reduce_term(term: LossTerm, posed: PosedScene) -> Float[Array, ""]:
    """Unweighted value of one term: mean over frames, sum over entities, masked with zeros."""
    values, mask = term.function(posed)
    return jnp.sum(jnp.where(mask, values, 0.0)) / values.shape[-1]


def evaluate(
    terms: Sequence[LossTerm],
    posed: PosedScene,
    weights: Weights,
    progress: Float[Array, ""] | float,
) -> tuple[Float[Array, ""], Float[Array, " n"]]:
    """Weighted total at `progress` in [0, 1] of the schedules, and every term's unweighted value."""
    report = jnp.stack([reduce_term(term, posed) for term in terms])
    ramp = jnp.stack([weights[term.name] for term in terms])
    current = ramp[:, 0] + (ramp[:, 1] - ramp[:, 0]) * progress
    return jnp.sum(current * report), report


def final_total(
    terms: Sequence[LossTerm], report: Float[Array, "*batch n"], weights: Weights
) -> Float[Array, "*batch"]:
    """Total under the final weights: comparable over steps while schedules move."""
    final = jnp.stack([weights[term.name][1] for term in terms])
    return jnp.sum(report * final, axis=-1)
