"""The loop that every distilled stage of a composition runs in."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy import ndarray

from hoijax.composition.field_stages import render_views
from hoijax.composition.fields.cameras import random_cameras, ring_cameras
from hoijax.composition.fields.composition import Entity
from hoijax.composition.fields.distillation import Distiller, StepReport, TrainState
from hoijax.composition.fields.guidance import Guidance, ViewCameras
from hoijax.composition.settings import ComposeSettings
from hoijax.io import sigterm
from hoijax.io.checkpoints import DONE, Checkpoints
from hoijax.progress import Log, Stopwatch, silent


@dataclass(frozen=True)
class Hooks:
    """What watches a run: text for people, images, checkpoints."""

    log: Log = silent
    preview: Callable[[str, int, ndarray], None] = lambda stage, step, image: None
    """(stage, step, (H, W, 3) linear RGB)."""
    checkpoints: Checkpoints | None = None


class StageLoop:
    """Runs distillations step by step: resumes, previews, checkpoints, stops on SIGTERM."""

    def __init__(self, settings: ComposeSettings, guidance: Guidance, hooks: Hooks):
        self.settings, self.guidance, self.hooks = settings, guidance, hooks
        self.seconds: dict[str, float] = {}
        self.skipped = 0

    def run(
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
        """Resume, step, preview, checkpoint.

        constants: (step, cameras) -> (constants of the render, prompt). after: (step, state), what follows a step.
        pack, unpack: of a checkpoint, which may hold more than the state.
        """
        s, hooks = self.settings, self.hooks
        watch = Stopwatch(self.seconds, self.hooks.log)
        saved = self.saved(stage, pack(state))
        if saved is not None:
            state = unpack(saved)
            hooks.log(f"{stage}: continued at step {int(state.step)} of {steps}")
        size = (s.size, s.size)
        group = int(getattr(self.guidance, "group", 1))  # views that belong together
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
                    self.save(stage, DONE if step + 1 == steps else step + 1, pack(state))
                if told:
                    self._leave(stage, step + 1)
        self.skipped += int(state.skipped)
        if int(state.skipped):
            hooks.log(
                f"{stage}: {int(state.skipped)} steps skipped, their gradients were not finite"
            )
        watch.lap(stage)
        return state

    def saved(self, stage: str, like: Any) -> Any:
        checkpoints = self.hooks.checkpoints
        if checkpoints is None or checkpoints.latest(stage) is None:
            return None
        return checkpoints.load(stage, like)

    def save(self, stage: str, step: int | str, tree: Any) -> None:
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

    def preview(self, stage: str, step: int, entity: Entity) -> None:
        s = self.settings
        seen = np.asarray(render_views(entity, self._preview_cameras(), s).color)
        self.hooks.preview(
            stage, step, np.concatenate(list(seen.reshape(-1, s.size, s.size, 3)), 1)
        )

    def preview_render(self, stage: str, step: int, render: Callable, params: Any) -> None:
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


def adam_rate(settings: ComposeSettings, steps: int) -> Any:
    """Adam's rate: as published, then down to a tenth over the last half."""
    return optax.piecewise_interpolate_schedule(
        "cosine", settings.learning_rate, {steps // 2: 1.0, max(steps, 2): 0.1}
    )
