"""Candidates lie along the first axis of a pytree: which one is best, and picking some of them (host)."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.runtime import on_device


def ranking(losses: Any) -> Int[ndarray, "*b K"]:
    """Candidates from the lowest loss to the highest, along the last axis.

    Losses that are not finite come last; equal ones stay in order.
    """
    values: Float[ndarray, "*b K"] = np.asarray(losses)
    return np.argsort(np.where(np.isfinite(values), values, np.inf), axis=-1, kind="stable")


def lowest_loss(losses: Any) -> int:
    """The candidate with the lowest finite loss; the first where none is finite."""
    return int(ranking(losses)[0])


def taken(tree: Any, index: int | Int[ndarray, " n"]) -> Any:
    """One candidate, or several in the order of their indices. Scalars, which all share, stay."""
    return jax.tree.map(lambda x: on_device(np.asarray(x)[index]) if np.ndim(x) else x, tree)
