"""A known motion, seen by priors that err (priors are joined here only, and lazily)."""

from collections.abc import Mapping, Sequence
from typing import Any

from hoijax.bundle.schema import GroundTruth
from hoijax.bundle.write import Bundle

ALL, EACH = "all", "each"


def families_named(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the families meant, every family); "each" means every one, "all" is kept: all together.

    Raises UserError for a family that does not exist.
    """
    from priors.synthetic.error_families import FAMILIES, check_families

    chosen = list(FAMILIES) if list(names) == [EACH] else list(names)
    check_families({name: 1.0 for name in chosen if name != ALL})
    return chosen, list(FAMILIES)


def known_scene(bundle: Bundle, motion: GroundTruth) -> Any:
    """The bundle's people and objects moving as `motion` says, before its camera."""
    from priors.synthetic.known_clip import scene_of_bundle

    return scene_of_bundle(bundle, motion)


def seen_with_errors(
    scene: Any, bundle: Bundle, strengths: Mapping[str, float], seed: int
) -> tuple[Bundle, GroundTruth]:
    """What priors with these errors would have seen of a scene of `known_scene`; and what is true."""
    from priors.synthetic.erring_observations import erring_bundle

    return erring_bundle(
        scene,
        bundle.affordance,
        prompt=bundle.prompt,
        fps=bundle.fps,
        body=bundle.body,
        strengths=strengths,
        seed=seed,
    )
