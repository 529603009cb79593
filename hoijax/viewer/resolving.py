"""Edit a result and solve again from where it stands: edges, weights, dragged poses.

Nothing that changes shapes is edited, so the program that `hoijax solve` compiled runs again; but for a
dragged pose in a clip without depth, which has no points to move.
"""

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.losses.term import LossTerm, Weights
from hoijax.methods.base import Method, method_named
from hoijax.methods.passes import Prepared
from hoijax.methods.running import run_pass
from hoijax.results.result import Result
from hoijax.scene.build_objects import with_space_for_points
from hoijax.scene.scene import Scene
from hoijax.solver.per_frame import frame_terms
from hoijax.viewer.motion import edge_labels

MIN_POINTS = 64
"""That a dragged pose enters with: a clip without depth has none."""
REACH = 3
"""Frames to either side that go along with a dragged pose, less and less."""


@dataclass(frozen=True)
class Edits:
    """What to change before solving again."""

    groups_off: frozenset[int] = frozenset()
    """Rows of `Result.contact` (edge groups of the graph) that no longer count."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """By which factor a term's weight changes, by name."""
    key_poses: Mapping[tuple[int, int], Float[ndarray, "4 4"]] = field(default_factory=dict)
    """T_world_asset by (object, frame): where the user put it."""


class Resolver:
    """The last pass of the method that a result came from, ready to be run again.

    Raises UserError where the method cannot be continued, or the terms are not known here.
    """

    def __init__(self, result: Result, bundle: Bundle) -> None:
        self.method, self.settings = method_of(result), settings_of(result)
        prepared = self.method.reopen(bundle, result, self.settings)
        known = {term.name: term for term in prepared.terms}
        if unknown := set(result.term_names) - known.keys():
            raise UserError(
                "the result was solved with terms of its own, which the viewer does not know: "
                f"{', '.join(sorted(unknown))}."
            )
        # An older result lacks terms that the method has today.
        self.terms: tuple[LossTerm, ...] = tuple(known[name] for name in result.term_names)
        self.prepared = dataclasses.replace(prepared, terms=self.terms)
        self.step = self.method.passes(self.settings)[-1]
        self.numbers = self.method.numbers(self.settings, self.terms, weights_of(result))
        self.centers = np.stack([asset.center for asset in result.assets])

    @property
    def weights(self) -> Weights:
        """Start and end weight of every term without edits."""
        return self.numbers.weights

    def final_weights(self) -> Float[ndarray, " n"]:
        """Those of the last pass at its end."""
        weights = self.step.weights(self.numbers.weights)
        return np.array([float(weights[term.name][1]) for term in self.terms], np.float32)

    def edited_weights(self, edits: Edits) -> dict[str, tuple[float, float]]:
        """Start and end weight of every term under the edits."""
        factors = {name: edits.factors.get(name, 1.0) for name in self.weights}
        return {
            name: (float(pair[0]) * factors[name], float(pair[1]) * factors[name])
            for name, pair in self.weights.items()
        }

    def solve(self, result: Result, edits: Edits) -> Result:
        """All candidates of `result` from where they stand, under the edits."""
        prepared = self._edited(with_key_poses(result, edits), edits)
        numbers = self.method.numbers(self.settings, self.terms, self.edited_weights(edits))
        _, solution = run_pass(dataclasses.replace(self.step, before=None), prepared, None, numbers)
        solved = self.method.result(prepared, solution)
        return dataclasses.replace(solved, contact=result.contact, run=result.run)

    def frame_terms(self, result: Result, edits: Edits | None = None) -> Float[ndarray, "K n T"]:
        """Weighted loss of every term in every frame; their mean over frames is the term's loss."""
        edits = edits or Edits()
        prepared = self._edited(result, edits)
        values = frame_terms(
            self.step.problem(self.terms),
            prepared.scene,
            prepared.initial,
            prepared.neighbors,
            self.weights,
        )
        factors = np.array([edits.factors.get(term.name, 1.0) for term in self.terms], np.float32)
        return np.asarray(values) * (self.final_weights() * factors)[None, :, None]

    def _edited(self, result: Result, edits: Edits) -> Prepared:
        """The candidates where `result` has them, in the edited scene."""
        prepared = self.method.moved(self.prepared, result)
        return dataclasses.replace(prepared, scene=self._edited_scene(prepared.scene, edits))

    def _edited_scene(self, scene: Scene, edits: Edits) -> Scene:
        mask = np.array(scene.edges.mask)
        mask[sorted(edits.groups_off)] = False
        scene = dataclasses.replace(
            scene, edges=dataclasses.replace(scene.edges, mask=jnp.asarray(mask))
        )
        return self._observed_keys(scene, edits) if edits.key_poses else scene

    def _observed_keys(self, scene: Scene, edits: Edits) -> Scene:
        """A dragged pose enters as an observation: the object's surface, seen right there."""
        o = with_space_for_points(scene.observed, MIN_POINTS)
        points, mask = np.array(o.points_world), np.array(o.point_mask)
        shares, grids = np.array(o.part_shares), np.array(o.part_grids)
        detected, distance = np.array(o.detected), np.array(o.mask_distance)
        samples = np.asarray(scene.objects.samples)
        parts = np.asarray(scene.objects.sample_parts)
        first = np.asarray(scene.objects.first_grid)
        count = points.shape[2]
        for (i, t), T in edits.key_poses.items():
            surface = np.resize(samples[i], (count, 3)) + self.centers[i]
            points[i, t] = surface @ T[:3, :3].T + T[:3, 3]
            labels = np.resize(parts[i], count)
            one_hot = labels[:, None] == np.arange(shares.shape[-1])
            shares[i, t] = one_hot / np.maximum(one_hot.sum(axis=0, keepdims=True), 1)
            grids[i, t] = np.where(labels >= 0, first[i] + 2 + labels, first[i] + 1)
            mask[i, t], detected[i, t], distance[i, t] = True, True, 0.0
        observed = dataclasses.replace(
            o,
            points_world=jnp.asarray(points, jnp.float32),
            point_mask=jnp.asarray(mask),
            part_shares=jnp.asarray(shares, jnp.float32),
            part_grids=jnp.asarray(grids, jnp.int32),
            detected=jnp.asarray(detected),
            mask_distance=jnp.asarray(distance, jnp.float32),
        )
        return dataclasses.replace(scene, observed=observed)


def recorded(result: Result, resolver: Resolver, edits: Edits, bundle: Path) -> Result:
    """The result with its edits in what becomes run.json; `bundle` is where the observations lie."""
    labels = edge_labels(result)
    groups = result.contact_table.group
    run = {
        **result.run,
        "bundle": str(bundle.absolute()),
        "weights": {name: list(pair) for name, pair in resolver.edited_weights(edits).items()},
        "edits": {
            "edges_off": [labels[e] for e in np.flatnonzero(np.isin(groups, [*edits.groups_off]))],
            "weight_factors": dict(edits.factors),
            "key_poses": [
                {"object": result.assets[o].name, "frame": t, "T_world_object": T.tolist()}
                for (o, t), T in sorted(edits.key_poses.items())
            ],
        },
    }
    return dataclasses.replace(result, run=run)


def method_of(result: Result) -> Method:
    """The method that a result came from; folders of early versions name none."""
    return method_named(result.run.get("method") or "hoi-page")


def settings_of(result: Result) -> Any:
    """The settings a result was solved with. Raises UserError where they cannot be read."""
    return method_of(result).stored(result.run.get("settings"))


def weights_of(result: Result) -> dict[str, float | tuple[float, float]]:
    """The weights that were given to the solve."""
    given = result.run.get("weights") or {}
    return {name: tuple(x) if isinstance(x, list) else x for name, x in given.items()}


def with_key_poses(result: Result, edits: Edits) -> Result:
    """Start poses moved to the dragged ones; neighbors in time go along, as a bell of `REACH`.

    The same motion in the world is applied to every candidate that differs at the key.
    """
    rotations = np.array(result.object_rotations, np.float64)
    translations = np.array(result.object_translations, np.float64)
    frames = np.arange(result.frame_count)
    for (o, t), T in edits.key_poses.items():
        bell = 0.5 + 0.5 * np.cos(np.pi * np.clip(np.abs(frames - t) / (REACH + 1), 0, 1))
        rotation = T[:3, :3].astype(np.float64) @ rotations[:, o, t].swapaxes(-1, -2)
        shift = T[:3, 3] - translations[:, o, t]
        axis = np.asarray(_log(rotation))
        for f in np.flatnonzero(bell > 0):
            rotations[:, o, f] = _exp(axis * bell[f]) @ rotations[:, o, f]
            translations[:, o, f] += shift * bell[f]
    return dataclasses.replace(
        result,
        object_rotations=rotations.astype(np.float32),
        object_translations=translations.astype(np.float32),
    )


def _log(rotations: Float[ndarray, "K 3 3"]) -> Float[ndarray, "K 3"]:
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(rotations).as_rotvec()


def _exp(axes: Float[ndarray, "K 3"]) -> Float[ndarray, "K 3 3"]:
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(axes).as_matrix()


def final_weights(result: Result) -> Float[ndarray, " n"]:
    """Final weight of every term by the result's own record; 1 for terms that are not known here."""
    known: Weights = {}
    with contextlib.suppress(UserError):
        method, settings = method_of(result), settings_of(result)
        terms = [term for term in method.terms(settings) if term.name in result.term_names]
        numbers = method.numbers(settings, terms, weights_of(result))
        known = method.passes(settings)[-1].weights(numbers.weights)
    return np.array(
        [float(known[name][1]) if name in known else 1.0 for name in result.term_names], np.float32
    )
