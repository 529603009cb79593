"""Designs of a sweep: which numbers are varied, and which combinations of them are solved.

A factor is a loss weight (`contact`), one end of its schedule (`contact.end`), the scale of a term's
robust kernel (`object_points.scale`) or, for Adam, a learning rate; all of them are traced arrays, so no design compiles anything.
"""

import difflib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.errors import UserError, nearest_hint
from hoijax.losses.term import SCALE, LossTerm, weight_names
from hoijax.methods.base import RATES

Ramp = tuple[float, float]
Design = dict[str, Ramp]
KINDS = ("full", "random", "sobol")
LOGARITHMIC_FROM = 100.0
"""A range whose ends differ by this factor or more is sampled by its logarithm."""


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`."""

    low: float
    high: float

    def at(self, fraction: float) -> float:
        """The number at a fraction in [0, 1] of the way, in its logarithm where the range is wide."""
        if self.low > 0.0 and self.high / self.low >= LOGARITHMIC_FROM:
            return float(self.low * (self.high / self.low) ** fraction)
        return self.low + (self.high - self.low) * fraction


Factors = dict[str, list[Ramp] | Range]


def factor_names(table: Sequence[LossTerm], rates: Iterable[str] = ()) -> list[str]:
    """What can be varied: weights and scales of the terms, and learning rates (`Method.rates`)."""
    ends = [f"{term.name}.{end}" for term in table for end in ("start", "end")]
    return [*weight_names(table), *ends, *rates]


def parse_factors(text: str, known: Sequence[str]) -> Factors:
    """ "contact=0,1e2 penetration=0:10,5 ground=1..1e3" to the values of each factor.

    a:b ramps a weight from a to b; a..b is every number between, for random and Sobol designs.
    Raises UserError for what cannot be read, and for unknown names with the nearest known one.
    """
    factors: Factors = {}
    for item in text.split():
        name, equals, values = item.partition("=")
        factor = _range(values) if ".." in values else _values(values)
        if not equals or factor is None or name in factors:
            raise UserError(
                f"--weights: cannot read '{item}'. Write every name once, with its values: "
                '"contact=0,1e2,1e3 penetration=0,0:10" (a:b ramps from a to b; a..b is a range).'
            )
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)
            raise UserError(
                f"--weights: '{name}' {_what_is_wrong(name)}. Did you mean '{near[0]}'? Known: "
                f"{', '.join(k for k in known if '.' not in k or k.endswith(SCALE))}; and "
                "NAME.start, NAME.end."
            )
        ramps = isinstance(factor, list) and any(a != b for a, b in factor)
        if ramps and ("." in name or name in RATES):
            raise UserError(f"--weights: '{item}' is one number and cannot ramp from a to b.")
        least = factor.low if isinstance(factor, Range) else min(a for a, _ in factor)
        if name.endswith(SCALE) and least <= 0.0:
            raise UserError(f"--weights: '{item}': a scale is above 0.")
        factors[name] = factor
    if not factors:
        raise UserError('--weights names no weight. Write such as "contact=0,1e2,1e3".')
    for name in factors:
        term, _, end = name.partition(".")
        if end in ("start", "end") and term in factors:
            raise UserError(f"--weights: '{name}' and '{term}' set the same number. Keep one.")
    return factors


def _what_is_wrong(name: str) -> str:
    if name in RATES:
        return "needs --optimizer adam"
    return "is no robust scale of a term" if name.endswith(SCALE) else "is no loss term"


def _values(text: str) -> list[Ramp] | None:
    try:
        ramps = [[float(end) for end in value.split(":")] for value in text.split(",")]
    except ValueError:
        return None
    if not all(len(ramp) in (1, 2) and all(map(math.isfinite, ramp)) for ramp in ramps):
        return None
    return [(ramp[0], ramp[-1]) for ramp in ramps]


def _range(text: str) -> Range | None:
    low, _, high = text.partition("..")
    try:
        limits = Range(float(low), float(high))
    except ValueError:
        return None
    sound = math.isfinite(limits.low) and math.isfinite(limits.high) and limits.low < limits.high
    return limits if sound else None


def make_designs(
    factors: Factors, kind: str = "full", samples: int | None = None, seed: int = 0
) -> list[Design]:
    """The combinations to solve. kind: "full" (factorial), "random" or "sobol" (scrambled).

    Raises UserError where the kind, the factors and the number of samples do not fit.
    """
    if kind not in KINDS:
        raise UserError(
            f"--design: no design '{kind}'.{nearest_hint(kind, KINDS)} Known: {', '.join(KINDS)}."
        )
    if kind == "full":
        ranges = [name for name, values in factors.items() if isinstance(values, Range)]
        if ranges:
            raise UserError(
                f"--weights: {ranges[0]} is a range. Give --design sobol or random, or values."
            )
        if samples is not None:
            raise UserError("--samples is for --design random and sobol.")
        return full_factorial({n: v for n, v in factors.items() if isinstance(v, list)})
    if samples is None or samples < 1:
        raise UserError(f"--design {kind} needs --samples, at least 1.")
    if kind == "random":
        shares = np.random.default_rng(seed).random((samples, len(factors)))
    else:
        from scipy.stats import qmc

        # A power of two fills the cube evenly; of it, the first points are a good part.
        power = max(math.ceil(math.log2(samples)), 0)
        sampler = qmc.Sobol(len(factors), scramble=True, rng=np.random.default_rng(seed))
        shares = sampler.random_base2(power)[:samples]
    return [_chosen(factors, row) for row in shares]


def _chosen(factors: Factors, shares: Float[ndarray, " n"]) -> Design:
    design: Design = {}
    for (name, values), fraction in zip(factors.items(), shares, strict=True):
        if isinstance(values, Range):
            number = float(f"{values.at(float(fraction)):.6g}")  # tables show what was solved
            design[name] = (number, number)
        else:
            design[name] = values[min(int(fraction * len(values)), len(values) - 1)]
    return design


def full_factorial(factors: Mapping[str, Sequence[Ramp]]) -> list[Design]:
    """Every combination of the values; the last name changes fastest."""
    return [
        dict(zip(factors, chosen, strict=True)) for chosen in itertools.product(*factors.values())
    ]


def overrides_of(design: Design, table: Sequence[LossTerm]) -> dict[str, Ramp]:
    """Start and end weight of every term that a design sets, and the robust scales it sets."""
    ramps: dict[str, Ramp] = {}
    for term in table:
        start, end = design.get(term.name, (term.start, term.end))
        start = design.get(f"{term.name}.start", (start, 0.0))[0]
        end = design.get(f"{term.name}.end", (end, 0.0))[0]
        if (start, end) != (term.start, term.end):
            ramps[term.name] = (start, end)
        if term.name + SCALE in design:
            ramps[term.name + SCALE] = design[term.name + SCALE]
    return ramps


def rates_of(design: Design) -> dict[str, float]:
    """Learning rates that a design sets, by name."""
    return {name: design[name][0] for name in RATES if name in design}
