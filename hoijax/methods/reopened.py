"""A result as what a solve starts from: its bodies in the bundle, its contact as states."""

import dataclasses

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bundle.write import Bundle
from hoijax.initialization.evidence import complete
from hoijax.results.result import Result


def completed_with(bundle: Bundle, result: Result) -> Bundle:
    """The bundle as the solve read it: bodies that it lacks are the result's, and are not fitted again."""
    whole = bundle.observations.body_mask.all()
    return complete(bundle if whole else with_bodies_of(bundle, result))


def with_bodies_of(bundle: Bundle, result: Result) -> Bundle:
    """The bundle with the bodies of a result."""
    observations = dataclasses.replace(
        bundle.observations,
        body_rotations=result.body_rotations,
        body_translations=result.body_translations,
        body_betas=result.body_betas,
        body_rest_joints=result.body_rest_joints,
        body_mask=np.ones_like(bundle.observations.body_mask),
    )
    return dataclasses.replace(bundle, observations=observations)


def contact_states_of(result: Result, rows: int) -> Float[ndarray, "K {rows} T"]:
    """Contact states on the padded rows of a scene."""
    states = np.ones((len(result.contact), rows, result.frame_count), np.float32)
    states[:, : result.contact.shape[1]] = result.contact
    return states
