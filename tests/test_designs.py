"""Designs of a sweep: values, ranges, ramps, schedule ends; what cannot be swept; tables."""

import numpy as np
import pytest

from hoijax.errors import UserError
from hoijax.experiments.designs import (
    Range,
    factor_names,
    full_factorial,
    make_designs,
    overrides_of,
    parse_factors,
    rates_of,
)
from hoijax.experiments.tables import half_width, latex, markdown, mean_row, pareto_front
from hoijax.methods.hoi_page.method import METHOD
from hoijax.methods.hoi_page.terms import DEFAULT_TERMS

KNOWN = factor_names(DEFAULT_TERMS, METHOD.rates(METHOD.settings(optimizer="adam")))


def test_full_factorial_of_values_and_ramps():
    designs = make_designs(parse_factors("contact=0,1e2 penetration=0:10,5,7", KNOWN))
    assert len(designs) == 6
    assert designs[0] == {"contact": (0.0, 0.0), "penetration": (0.0, 10.0)}
    assert designs[4] == {"contact": (100.0, 100.0), "penetration": (5.0, 5.0)}
    assert len(full_factorial({f"f{i}": [(0.0, 0.0)] * 3 for i in range(4)})) == 81


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("contcat=1", r"'contcat' is no loss term. Did you mean 'contact'\?"),
        ("contact", "cannot read 'contact'"),
        ("contact=", "cannot read"),
        ("contact=1,x", "cannot read"),
        ("contact=1:2:3", "cannot read"),
        ("contact=nan", "cannot read"),
        ("contact=5..1", "cannot read"),
        ("contact=1..inf", "cannot read"),
        ("contact=1 contact=2", "cannot read"),
        ("contact.end=1:2", "one number"),
        ("contact=1 contact.end=2", "set the same number"),
        ("", "names no weight"),
    ],
)
def test_what_cannot_be_swept_is_refused(text, says):
    with pytest.raises(UserError, match=says):
        parse_factors(text, KNOWN)


def test_learning_rates_are_adams():
    with pytest.raises(UserError, match="needs --optimizer adam"):
        parse_factors(
            "learning_rate=0.1", factor_names(DEFAULT_TERMS, METHOD.rates(METHOD.settings()))
        )
    (design,) = make_designs(parse_factors("learning_rate=0.5", KNOWN))
    assert rates_of(design) == {"learning_rate": 0.5}


@pytest.mark.parametrize(
    ("kind", "samples", "says"),
    [
        ("full", None, "is a range"),
        ("sobol", None, "needs --samples"),
        ("random", 0, "needs --samples"),
        ("latin", 4, "no design 'latin'"),
    ],
)
def test_designs_that_do_not_fit_their_factors_are_refused(kind, samples, says):
    with pytest.raises(UserError, match=says):
        make_designs(parse_factors("contact=1..2", KNOWN), kind, samples)


def test_sobol_fills_every_sixteenth_and_random_is_seeded():
    factors = parse_factors("contact=1..1e4 penetration=0,1 ground=2..3", KNOWN)
    assert factors["contact"] == Range(1.0, 1e4)
    designs = make_designs(factors, "sobol", 16, seed=3)
    shares = np.log10([design["contact"][0] for design in designs]) / 4.0
    assert sorted((shares * 16).astype(int)) == list(range(16)), "one in every sixteenth"
    assert sum(design["penetration"][0] for design in designs) == 8
    assert all(2.0 <= design["ground"][0] <= 3.0 for design in designs)
    a, b, c = (make_designs(factors, "random", 5, seed=seed) for seed in (0, 0, 1))
    assert a == b != c


def test_one_end_of_a_schedule_is_set_and_the_other_kept():
    (design,) = make_designs(parse_factors("contact_drift.end=7 contact.start=2", KNOWN))
    assert overrides_of(design, DEFAULT_TERMS) == {
        "contact": (2.0, 10.0),
        "contact_drift": (1.0, 7.0),
    }


def test_means_and_confidence_intervals_over_scenes_and_seeds():
    singles = [
        {"bundle": bundle, "seed": seed, "design": 0, "w(contact)": "1", "loss": x}
        for bundle, seed, x in (("a", 0, 0.5), ("a", 1, 1.5), ("b", 0, 3.0), ("b", 1, 3.0))
    ]
    row = mean_row(singles, {"w(contact)": "1"})
    assert row["loss"] == 2.0
    assert row["loss +-"] == pytest.approx(12.706, rel=1e-3)  # scenes 1 and 3; t with 1 freedom
    seeds = mean_row(singles[:2], {"w(contact)": "1"})
    assert seeds["loss +-"] == pytest.approx(12.706 * 0.5, rel=1e-3)
    assert half_width(np.array([4.0])) == 0.0
    assert markdown([row]) == "| w(contact) | loss |\n| --- | --- |\n| 1 | 2 ± 13 |\n"
    assert latex([{"w(a_b)": "1", "x": 0.5}]) == (
        "\\begin{tabular}{rr}\n\\toprule\nw(a\\_b) & x \\\\\n\\midrule\n1 & 0.5 \\\\\n"
        "\\bottomrule\n\\end{tabular}\n"
    )


def test_the_pareto_front_by_brute_force(rng):
    costs, gains = rng.integers(0, 8, 60).astype(float), rng.integers(0, 8, 60).astype(float)
    better = (costs[:, None] <= costs) & (gains[:, None] >= gains)
    strictly = better & ((costs[:, None] < costs) | (gains[:, None] > gains))
    best = {(costs[i], gains[i]) for i in range(60) if not strictly[:, i].any()}
    front = pareto_front(costs, gains)
    assert {(costs[i], gains[i]) for i in front} == best
    assert len(front) == len(best)
