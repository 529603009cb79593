"""A whole method in one file: objects are shifted onto what was seen, and do not turn."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from hoijax.bodies import load_body
from hoijax.errors import UserError
from hoijax.losses.fit import robust_object_points
from hoijax.losses.smoothness import translation_smoothness
from hoijax.losses.term import LossTerm
from hoijax.methods.base import Method
from hoijax.methods.passes import Pass, Prepared
from hoijax.results.result import Result
from hoijax.scene.build_objects import build_scene, posed_bodies
from hoijax.scene.posed import pose_scene
from hoijax.scene.scene import Unknowns
from hoijax.settings import SceneSettings
from hoijax.solver.adam import Adam
from hoijax.solver.neighbor_lists import first_neighbors
from hoijax.solver.problem import Problem

TERMS = (
    LossTerm.constant("object_points", robust_object_points, 1e3, scale=0.1),
    LossTerm.constant("translation_smoothness", translation_smoothness, 1e2),
)


@dataclass(frozen=True)
class ShiftSettings(SceneSettings):
    """Everything this method can be told."""

    inits: int = 2
    """Candidates: heights that objects start at."""
    steps: int = 5
    """Steps of its only pass."""
    gap: float = 0.1
    """Metres between the heights that candidates start at."""
    learning_rate: float = 0.02
    """Of the first step."""
    final_learning_rate: float = 0.001
    """Of the last step."""


def keep(scene, unknowns, neighbors, rarely):
    return neighbors


def problem(terms):
    return Problem(terms, pose_scene, keep)


class Shift(Method[ShiftSettings]):
    name = "shift"
    presets: ClassVar = {"default": ShiftSettings(), "wide": ShiftSettings(preset="wide", gap=0.5)}

    def check(self, settings):
        super().check(settings)
        if settings.gap < 0.0:
            raise UserError(f"--gap is 0 or more, got {settings.gap}.")

    def terms(self, settings):
        return TERMS

    def prepare(self, bundle, settings, terms, lap):
        o = bundle.observations
        bodies = posed_bodies(load_body(bundle.body), o)
        scene = build_scene(bundle, np.asarray(o.Ts_world_camera), bodies, settings)
        lap("scene")
        shape = (settings.inits, len(bundle.assets), bundle.frame_count)
        heights = settings.gap * np.arange(settings.inits)
        center = np.asarray(scene.observed.points_world).mean(axis=(1, 2))
        place = np.broadcast_to(center[None, :, None], (*shape, 3)).astype(np.float32)
        place = place + heights[:, None, None, None].astype(np.float32) * np.eye(3)[1]
        six = np.broadcast_to(np.float32([1, 0, 0, 0, 1, 0]), (*shape, 6))
        initial = Unknowns(jnp.asarray(six), jnp.asarray(place, jnp.float32))
        states = np.ones(
            (settings.inits, scene.edges.mask.shape[0], bundle.frame_count), np.float32
        )
        neighbors = first_neighbors(scene, states)
        labels = tuple(f"{100 * height:g} cm up" for height in heights)
        return Prepared(bundle, (*TERMS, *terms), scene, initial, neighbors, labels)

    def passes(self, settings):
        return (Pass("shift", problem, lambda rates, count: Adam(settings.steps, 5, **rates)),)

    def result(self, prepared, solution):
        bundle, o = prepared.bundle, prepared.bundle.observations
        shifts = np.asarray(solution.unknowns.object_translation)
        centers = np.asarray(prepared.scene.objects.centers)[None, :, None]
        eye = np.broadcast_to(np.eye(3, dtype=np.float32), (*shifts.shape, 3))
        return Result(
            prompt=bundle.prompt,
            fps=bundle.fps,
            affordance=bundle.affordance,
            assets=bundle.assets,
            body_name=bundle.body,
            body_rotations=o.body_rotations,
            body_translations=o.body_translations,
            body_betas=o.body_betas,
            body_rest_joints=o.body_rest_joints,
            object_rotations=eye.copy(),
            object_translations=shifts - centers,
            losses=np.asarray(solution.losses),
            initial_losses=np.asarray(solution.initial_losses),
            codes=np.asarray(solution.codes),
            labels=prepared.labels,
            term_names=tuple(term.name for term in prepared.terms),
            reports=np.asarray(solution.reports),
            history=np.asarray(solution.history),
            contact=np.ones((len(shifts), 1, shifts.shape[2]), bool),
            Ts_world_pointmap=np.asarray(o.Ts_world_camera),
        )


METHOD = Shift()
