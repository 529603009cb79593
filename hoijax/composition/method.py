"""Interaction composition (AnchorHOI section 1) stage by stage: fields, person, object, a static scene.

Each stage is a function from what came before to a pytree that a checkpoint holds; `Composer` runs them in
order and continues where an earlier run ended.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from numpy import ndarray

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
from hoijax.composition.fields.cameras import random_cameras, ring_cameras
from hoijax.composition.fields.composition import Entity, refresh_occupancy
from hoijax.composition.fields.distillation import Distiller, StepReport, TrainState
from hoijax.composition.fields.guidance import Guidance, Prompts, ViewCameras
from hoijax.composition.fields.known_scene import HUMAN, OBJECT
from hoijax.composition.settings import ComposeSettings
from hoijax.errors import UserError
from hoijax.io import sigterm
from hoijax.io.checkpoints import DONE, Checkpoints
from hoijax.progress import Log, Stopwatch, silent

__all__ = ["Composer", "Composition", "Hooks", "Observers", "Segmenter", "SkeletonDetector"]

RING_ELEVATIONS = (5.0, 35.0)
SCENE_PROMPT_SHARE = 2
"""Of the object's steps every second shows the composed scene."""


@runtime_checkable
class Segmenter(Protocol):
    """Which pixels of images show the person (HUMAN) and which the object (OBJECT)."""

    def __call__(
        self, images: Float[ndarray, "N H W 3"], cameras: ViewCameras, /
    ) -> Int[ndarray, "N H W"]: ...


@runtime_checkable
class SkeletonDetector(Protocol):
    """OpenPose-18 keypoints of the one person in images: u, v, confidence."""

    def __call__(
        self, images: Float[ndarray, "N H W 3"], cameras: ViewCameras, /
    ) -> Float[ndarray, "N 18 3"]: ...


@dataclass(frozen=True)
class Observers:
    """The frozen models of a composition."""

    guidance: Guidance
    segment: Segmenter
    detect: SkeletonDetector


@dataclass(frozen=True)
class Hooks:
    """What watches a run: text for people, images, checkpoints."""

    log: Log = silent
    preview: Callable[[str, int, ndarray], None] = lambda stage, step, image: None
    """(stage, step, (H, W, 3) linear RGB)."""
    checkpoints: Checkpoints | None = None


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
        self.seconds: dict[str, float] = {}
        self.skipped = 0

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
            coarse, anchor, done, look, surface, fit, dict(self.seconds), self.skipped
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
        saved = self._saved("parts", (coarse, coarse))
        if saved is not None:
            return saved
        watch = Stopwatch(self.seconds, self.hooks.log)
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
            self._preview(name.replace(" ", "_"), s.anchor_steps, entity)
        self._save("parts", DONE, tuple(parts))
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
            render, self.observers.guidance, learning_rate=_rate(s, s.avatar_steps)
        )
        state = self._distil(
            "avatar",
            distiller,
            distiller.init(start),
            s.avatar_steps,
            lambda step, cameras: (None, self.prompts.human),
            lambda step, state: self._preview_render("avatar", step, render, state.params),
        )
        return state.params, surface

    def fit(self, anchor: Entity, look: Look, surface: AvatarSurface) -> BodyFit:
        """{s, r, t, theta} of the avatar on the anchor's skeletons (eq. 2)."""
        s = self.settings
        watch = Stopwatch(self.seconds, self.hooks.log)
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
            FieldRender(s), self.observers.guidance, learning_rate=_rate(s, steps)
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
                self._preview(stage, step + 1, held[0].replace(params=state.params))  # pyright: ignore

        def pack(state: TrainState) -> Any:
            return state, held[0].occupancy

        def unpack(saved: Any) -> TrainState:
            held[0] = held[0].replace(occupancy=saved[1])  # pyright: ignore
            return saved[0]

        state = self._distil(
            stage, distiller, distiller.init(entity.params), steps, constants, after, pack, unpack
        )
        return held[0].replace(params=state.params)  # pyright: ignore

    def _distil(
        self,
        stage: str,
        distiller: Distiller,
        state: TrainState,
        steps: int,
        constants: Callable,
        after: Callable,
        pack: Callable = lambda state: state,
        unpack: Callable = lambda saved: saved,
    ) -> TrainState:
        """The loop of a stage: continue, step, look, keep."""
        s, hooks = self.settings, self.hooks
        watch = Stopwatch(self.seconds, self.hooks.log)
        saved = self._saved(stage, pack(state))
        if saved is not None:
            state = unpack(saved)
            hooks.log(f"{stage}: continued at step {int(state.step)} of {steps}")
        size = (s.size, s.size)
        group = int(getattr(self.observers.guidance, "group", 1))  # views that belong together
        views = -(-s.views // group) * group
        report: StepReport | None = None
        with sigterm.held():  # until a step is over and can be kept
            while (step := int(state.step)) < steps:
                cameras = random_cameras(s.orbit, views, size, s.seed, step, group)
                held, prompt = constants(step, cameras)
                state, report = distiller.step(state, held, [prompt] * views, cameras, s.seed)
                after(step, state)
                if (step + 1) % s.preview_every == 0:
                    per_step = (time.perf_counter() - watch.start) / (step + 1)
                    hooks.log(
                        f"{stage}: step {step + 1} of {steps}, gradient {report.gradient_norm:.3g}, noise "
                        f"{report.noise:.2f}, {1e3 * per_step:.0f} ms a step"
                    )
                told = sigterm.asked()
                if told or (step + 1) % s.checkpoint_every == 0 or step + 1 == steps:
                    self._save(stage, DONE if step + 1 == steps else step + 1, pack(state))
                if told:
                    self._leave(stage, step + 1)
        self.skipped += int(state.skipped)
        if int(state.skipped):
            hooks.log(
                f"{stage}: {int(state.skipped)} steps skipped, their gradients were not finite"
            )
        watch.lap(stage)
        return state

    def _saved(self, stage: str, like: Any) -> Any:
        checkpoints = self.hooks.checkpoints
        if checkpoints is None or checkpoints.latest(stage) is None:
            return None
        return checkpoints.load(stage, like)

    def _save(self, stage: str, step: int | str, tree: Any) -> None:
        if self.hooks.checkpoints is not None:
            self.hooks.checkpoints.save_soon(stage, step, tree)

    def _leave(self, stage: str, step: int) -> None:
        """SIGTERM: wait for the checkpoint that is being written, then exit."""
        if self.hooks.checkpoints is not None:
            self.hooks.checkpoints.wait()
            self.hooks.log(
                f"stopped: {stage} is checkpointed after step {step}; the same command resumes there"
            )
        sigterm.leave_if_asked()

    def _preview(self, stage: str, step: int, entity: Entity) -> None:
        s = self.settings
        seen = np.asarray(render_views(entity, self._preview_cameras(), s).color)
        self.hooks.preview(
            stage, step, np.concatenate(list(seen.reshape(-1, s.size, s.size, 3)), 1)
        )

    def _preview_render(self, stage: str, step: int, render: Callable, params: Any) -> None:
        s = self.settings
        if step % s.preview_every != s.preview_every - 1 and step != s.avatar_steps - 1:
            return
        cameras = self._preview_cameras()
        draw = jax.jit(lambda p, K, T: render(p, None, K, T, None)[0])
        views = [
            np.asarray(draw(params, jnp.asarray(K)[None], jnp.asarray(T)[None]))[0]
            for K, T in zip(cameras.intrinsics, cameras.Ts_world_camera, strict=True)
        ]
        self.hooks.preview(stage, step + 1, np.concatenate(views, 1))

    def _preview_cameras(self) -> ViewCameras:
        size = (self.settings.size, self.settings.size)
        return ring_cameras(self.settings.orbit, 4, size, (12.0,), first=20.0)


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


def _rate(settings: ComposeSettings, steps: int) -> Any:
    """Adam's rate: as published, then down to a tenth over the last half."""
    return optax.piecewise_interpolate_schedule(
        "cosine", settings.learning_rate, {steps // 2: 1.0, max(steps, 2): 0.1}
    )
