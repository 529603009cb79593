"""One aggregator for every loss: mask, reduce, weight by schedule, report.

A loss is a short pure function `PosedScene -> (values, mask)` with values of shape
(entities..., frames). It is reduced to the *mean over frames, sum over entities* with a fixed
denominator (missing frames count as zeros), so a weight means the same in every scene.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hoijax.losses.curvature import Curvature

LossFunction = Callable[
    ..., tuple[Float[Array, "*entities frames"], Bool[Array, "*entities frames"]]
]
"""(posed) or, of a term that has a robust scale, (posed, scale) -> (values, mask)."""
SCALE = ".scale"
"""TERM.scale names the scale of a term's robust kernel, among weights and factors of a sweep."""


@dataclass(frozen=True)
class LossTerm:
    """A named loss with its default weight schedule, linear from `start` to `end` over the run."""

    name: str
    function: LossFunction
    start: float
    end: float
    curvature: Callable[..., Curvature] | None = None
    """Called as `function`: curvature of the term summed over frames, for Newton steps. None: what its
    module declares, or else what its values tell (`losses.curvature`)."""
    reads_pixel_neighbors: bool = False
    """The function reads `Neighbors.nearest_sample`: only then are these kept up to date."""
    scale: float | None = None
    """Default scale of the robust kernel, in the residual's unit; None: the function takes none."""

    @classmethod
    def constant(cls, name: str, function: LossFunction, weight: float, **options) -> "LossTerm":
        """A term whose weight stays; options are the other fields."""
        return cls(name, function, weight, weight, **options)


Weights = dict[str, Float[Array, " 2"]]
"""Start and end weight of every term: traced arrays, so a sweep never recompiles. Under TERM.scale the
scale of the term's robust kernel, twice: it is the same over the run, so that losses compare."""


def weight_names(terms: Sequence[LossTerm]) -> list[str]:
    """What `default_weights` can be told: terms, and the scales of those that have one."""
    scales = [term.name + SCALE for term in terms if term.scale is not None]
    return [*(term.name for term in terms), *scales]


def default_weights(
    terms: Sequence[LossTerm], overrides: Mapping[str, float | tuple[float, float]] | None = None
) -> Weights:
    """Weights of the terms as arrays; an override is a number (constant) or (start, end).

    "TERM.scale" sets the scale of a robust kernel, one positive number. Raises KeyError naming the
    nearest and all known ones when an override names none of them, and for a scale that is none.
    """
    overrides, known = dict(overrides or {}), weight_names(terms)
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, 1, 0.5)
        meant = f"did you mean '{near[0]}'? " if near else ""
        raise KeyError(f"unknown loss terms {unknown}; {meant}known: {known}")
    weights = {}
    for term in terms:
        value = overrides.get(term.name, (term.start, term.end))
        start, end = (value, value) if isinstance(value, int | float) else value
        weights[term.name] = jax.device_put(np.array([start, end], np.float32))
        if term.scale is not None:
            name = term.name + SCALE
            value = overrides.get(name, term.scale)
            first, last = (value, value) if isinstance(value, int | float) else value
            if not first == last > 0.0:
                raise KeyError(f"{name} is one number above 0, got {value}")
            weights[name] = jax.device_put(np.array([first, last], np.float32))
    return weights


def scale_arguments(term: LossTerm, weights: Weights | None) -> tuple[Float[Array, ""], ...]:
    """What a term's function and curvature are given besides what is posed."""
    if term.scale is None or weights is None:
        return ()
    return (weights[term.name + SCALE][0],)


def reduce_term(term: LossTerm, posed: Any, weights: Weights | None = None) -> Float[Array, ""]:
    """Unweighted value of one term: mean over frames, sum over entities, masked with zeros.

    weights: for the scale; without them the function's own.
    """
    values, mask = term.function(posed, *scale_arguments(term, weights))
    return jnp.sum(jnp.where(mask, values, 0.0)) / values.shape[-1]


def evaluate(
    terms: Sequence[LossTerm],
    posed: Any,
    weights: Weights,
    progress: Float[Array, ""] | float,
) -> tuple[Float[Array, ""], Float[Array, " n"]]:
    """Weighted total at `progress` in [0, 1] of the schedules, and every term's unweighted value."""
    report = jnp.stack([reduce_term(term, posed, weights) for term in terms])
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
