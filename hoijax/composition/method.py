"""Interaction composition (AnchorHOI section 1) stage by stage: fields, person, object, a static scene.

Each stage is a function from what came before to a pytree that a checkpoint holds; `Composer` runs them in
order and continues where an earlier run ended.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.bodies.fitting.fit import known_person
from hoijax.bodies.skinned_body import SkinnedBody
from hoijax.composition.avatar import (
    AvatarRender,
    AvatarSurface,
    Look,
    avatar_surface,
    mesh_layer,
    painted,
)
from hoijax.composition.body_fit import BodyFit, fit_body, skeletons_of
from hoijax.composition.field_stages import (
    FieldRender,
    align_part,
    check_field,
    render_views,
    start_field,
)
from hoijax.composition.fields.cameras import ring_cameras
from hoijax.composition.fields.composition import Entity, refresh_occupancy
from hoijax.composition.fields.distillation import Distiller, TrainState
from hoijax.composition.fields.guidance import Prompts, ViewCameras
from hoijax.composition.fields.known_scene import HUMAN, OBJECT
from hoijax.composition.observers import Observers
from hoijax.composition.settings import ComposeSettings
from hoijax.composition.stage_loop import Hooks, StageLoop, adam_rate
from hoijax.errors import UserError
from hoijax.io.checkpoints import DONE
from hoijax.progress import Stopwatch

__all__ = ["Composer", "Composition", "posed_avatar"]

RING_ELEVATIONS = (5.0, 35.0)
SCENE_PROMPT_SHARE = 2
"""Of the object's steps every second shows the composed scene."""


@dataclass
class Composition:
    """Everything a composition ends with."""

    coarse: Entity
    anchor: Entity
    object: Entity
    look: Look
    surface: AvatarSurface
    fit: BodyFit
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: int = 0
    """Steps whose gradient was not finite."""


class Composer:
    """Runs the stages of one composition."""

    def __init__(
        self,
        prompts: Prompts,
        settings: ComposeSettings,
        observers: Observers,
        body: SkinnedBody,
        hooks: Hooks | None = None,
    ):
        self.prompts, self.settings = prompts, settings.check()
        self.observers, self.body = observers, body
        self.hooks = hooks or Hooks()
        self.loop = StageLoop(self.settings, observers.guidance, self.hooks)

    def run(self) -> Composition:
        """All stages, with checkpoints between and in them."""
        coarse = self.coarse()
        check_field(coarse, self.settings, "coarse")
        anchor, part = self.split(coarse)
        check_field(anchor, self.settings, "anchor")
        look, surface = self.avatar()
        fit = self.fit(anchor, look, surface)
        done = self.finish_object(part, look, surface, fit)
        check_field(done, self.settings, "object")
        return Composition(
            coarse, anchor, done, look, surface, fit, dict(self.loop.seconds), self.loop.skipped
        )

    def coarse(self) -> Entity:
        """The human-object field of the interaction prompt (eq. 1)."""
        s = self.settings

        def prompts(step: int) -> str:
            return self.prompts.interaction

        return self._distil_field("coarse", start_field(s), s.coarse_steps, prompts)

    def split(self, coarse: Entity) -> tuple[Entity, Entity]:
        """The anchor (the person) and the object part of the coarse field."""
        s = self.settings
        saved = self.loop.saved("parts", (coarse, coarse))
        if saved is not None:
            return saved
        watch = Stopwatch(self.loop.seconds, self.hooks.log)
        cameras = self.ring(s.anchor_views, s.size)
        images = np.asarray(render_views(coarse, cameras, s).color)
        masks = self.observers.segment(images.reshape(-1, s.size, s.size, 3), cameras)
        for number, name in ((HUMAN, "person"), (OBJECT, "object")):
            if not (masks == number).any():
                raise UserError(
                    f"no {name} was found in the renders of the coarse field. Distil it for longer, or with "
                    "another --seed."
                )
        parts = []
        for number, name in ((HUMAN, "anchor"), (OBJECT, "object part")):
            entity, losses = align_part(coarse, cameras, masks, number, s)
            self.hooks.log(f"{name}: alignment loss {losses[0]:.5f} -> {losses[-1]:.5f}")
            parts.append(entity)
            self.loop.preview(name.replace(" ", "_"), s.anchor_steps, entity)
        self.loop.save("parts", DONE, tuple(parts))
        watch.lap("split")
        return parts[0], parts[1]

    def avatar(self) -> tuple[Look, AvatarSurface]:
        """Shape, offsets and colors of the person, standing."""
        s = self.settings
        pixel = 2.0 * s.orbit.distance * np.tan(np.radians(s.orbit.field_of_view) / 2) / s.size
        surface = avatar_surface(self.body, float(pixel))
        start = Look.plain(len(self.body.template))
        render = AvatarRender(surface, s)
        distiller = Distiller(
            render, self.observers.guidance, learning_rate=adam_rate(s, s.avatar_steps)
        )
        state = self.loop.run(
            "avatar",
            distiller,
            distiller.init(start),
            s.avatar_steps,
            lambda step, cameras: (None, self.prompts.human),
            lambda step, state: self.loop.preview_render("avatar", step, render, state.params),
        )
        return state.params, surface

    def fit(self, anchor: Entity, look: Look, surface: AvatarSurface) -> BodyFit:
        """{s, r, t, theta} of the avatar on the anchor's skeletons (eq. 2)."""
        s = self.settings
        watch = Stopwatch(self.loop.seconds, self.hooks.log)
        cameras = self.ring(s.fit_views, s.fit_size)
        images = np.asarray(render_views(anchor, cameras, s, s.fit_size).color)
        keypoints = self.observers.detect(images.reshape(-1, s.fit_size, s.fit_size, 3), cameras)
        shaped = self.body.shape(look.betas)
        person = known_person(self.body, np.asarray(look.betas), np.asarray(shaped.joints_rest))
        fit = fit_body(person, skeletons_of(keypoints, cameras), steps=s.fit_steps)
        watch.lap("body fit")
        self.hooks.log(
            f"body fit: from {fit.label}, scale {fit.scale:.3f}, energy {np.nanmin(fit.energies):.1f}"
        )
        return fit

    def finish_object(
        self, part: Entity, look: Look, surface: AvatarSurface, fit: BodyFit
    ) -> Entity:
        """The object alone and the composed scene in turn: what the person hid is filled in."""
        s = self.settings
        posed = posed_avatar(surface, look, fit)
        samples = painted(surface, look.colors)

        def layer(step: int, cameras: ViewCameras):
            if step % SCENE_PROMPT_SHARE == 0:
                return None, self.prompts.object
            return mesh_layer(samples, posed, cameras, (s.size, s.size)), self.prompts.interaction

        return self._distil_field("object", part, s.object_steps, layer)

    def ring(self, count: int, size: int) -> ViewCameras:
        """About `count` canonical cameras on two rings."""
        each = max(-(-count // len(RING_ELEVATIONS)), 2)
        return ring_cameras(self.settings.orbit, each, (size, size), RING_ELEVATIONS)

    def _distil_field(self, stage: str, entity: Entity, steps: int, prompts: Callable) -> Entity:
        """Distil into a field. prompts: step -> text, or (step, cameras) -> (layer, text)."""
        s = self.settings
        distiller = Distiller(
            FieldRender(s), self.observers.guidance, learning_rate=adam_rate(s, steps)
        )
        held = [entity]

        def constants(step: int, cameras: ViewCameras):
            if stage == "coarse":
                return (held[0], None), prompts(step)
            layer, text = prompts(step, cameras)
            return (held[0], layer), text

        def after(step: int, state: TrainState) -> None:
            if step % s.occupancy_every == s.occupancy_every - 1:
                held[0] = refresh_occupancy(
                    held[0].replace(params=state.params),  # pyright: ignore
                    jax.random.fold_in(jax.random.key(s.seed), step),
                )
            if step % s.preview_every == s.preview_every - 1 or step == steps - 1:
                self.loop.preview(stage, step + 1, held[0].replace(params=state.params))  # pyright: ignore

        def pack(state: TrainState) -> Any:
            return state, held[0].occupancy

        def unpack(saved: Any) -> TrainState:
            held[0] = held[0].replace(occupancy=saved[1])  # pyright: ignore
            return saved[0]

        state = self.loop.run(
            stage, distiller, distiller.init(entity.params), steps, constants, after, pack, unpack
        )
        return held[0].replace(params=state.params)  # pyright: ignore


def posed_avatar(surface: AvatarSurface, look: Look, fit: BodyFit) -> Float[Array, "V 3"]:
    """Skin of the fitted avatar in the world."""
    person = surface.person(look)
    person = person.replace(  # pyright: ignore
        vertices_rest=person.vertices_rest * fit.scale, joints_rest=person.joints_rest * fit.scale
    )
    posed = person.pose(
        jnp.asarray(fit.rotations, jnp.float32), jnp.asarray(fit.translation, jnp.float32)
    )
    return jnp.asarray(posed.vertices_world)
