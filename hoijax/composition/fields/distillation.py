"""Score distillation (SDS): render, ask the guidance how the image should change, pull it back.

The guidance runs outside `jit`: a render leaves the compiled program with its pull-back (`jax.vjp`), the
gradient of the image comes back, and a second program pulls it to the parameters and steps. So nothing is
rendered twice, and PyTorch sees the very memory of the image (DLPack).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from hoijax.composition.fields.guidance import Guidance, ViewCameras
from hoijax.errors import UserError
from hoijax.geometry.descent import gradient_step

__all__ = ["Distiller", "Render", "StepReport", "TrainState", "stack_cameras"]

Render = Callable[
    [Any, Any, Float[Array, "N 3 3"], Float[Array, "N 4 4"], Array],
    tuple[Float[Array, "N H W 3"], Float[Array, ""], Mapping[str, Array]],
]
"""(parameters, constants, intrinsics, Ts_world_camera, key) -> (images, regularizer, numbers to log)."""


@flax.struct.dataclass
class TrainState:
    """Everything that a step changes: what a checkpoint holds."""

    params: Any
    moments: Any
    step: Int[Array, ""]
    skipped: Int[Array, ""]
    """Steps whose gradient was not finite."""


@dataclass(frozen=True)
class StepReport:
    """What one step saw."""

    step: int
    gradient_norm: float
    noise: float
    """Mean share of the diffusion time."""
    regularizer: float
    finite: bool
    values: Mapping[str, float] = field(default_factory=dict)


class Distiller:
    """Distils a guidance into the parameters of a `Render`.

    learning_rate: of Adam, a number or an optax schedule. max_skipped: steps in a row with a gradient
    that is not finite after which it gives up.
    """

    def __init__(
        self,
        render: Render,
        guidance: Guidance,
        *,
        learning_rate: Any = 0.01,
        max_skipped: int = 10,
    ):
        self.guidance = guidance
        self.max_skipped = max_skipped
        self._adam = optax.adam(learning_rate, b2=0.99, eps=1e-12)
        self._in_a_row = 0

        @jax.jit
        def forward(params, constants, intrinsics, Ts_world_camera, key):
            def pictured(p):
                images, regularizer, values = render(p, constants, intrinsics, Ts_world_camera, key)
                return (images, regularizer), values

            (images, regularizer), pull, values = jax.vjp(pictured, params, has_aux=True)
            return images, regularizer, pull, values

        @jax.jit
        def advance(state: TrainState, pull, gradient):
            (slope,) = pull((gradient, jnp.ones(())))
            sound = jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(slope)]))
            params, moments = gradient_step(self._adam, slope, state.moments, state.params)

            def keep(new, old):
                return jnp.where(sound, new, old)

            return TrainState(
                params=jax.tree.map(keep, params, state.params),
                moments=jax.tree.map(keep, moments, state.moments),
                step=state.step + 1,
                skipped=state.skipped + jnp.where(sound, 0, 1),
            ), sound

        self._forward, self._advance = forward, advance

    def init(self, params: Any) -> TrainState:
        """The state before the first step."""
        zero = jnp.zeros((), jnp.int32)
        return TrainState(params, self._adam.init(params), zero, zero)

    def step(
        self,
        state: TrainState,
        constants: Any,
        prompts: Sequence[str],
        cameras: ViewCameras,
        seed: int,
    ) -> tuple[TrainState, StepReport]:
        """One step. UserError after `max_skipped` gradients in a row that are not finite.

        All randomness follows from the seed and the number of the step: a resumed run repeats it.
        """
        number = int(state.step)
        key_render, key_noise = jax.random.split(jax.random.fold_in(jax.random.key(seed), number))
        images, regularizer, pull, values = self._forward(
            state.params, constants, *stack_cameras(cameras), key_render
        )
        gradient, info = self.guidance(images, prompts, cameras, key_noise, number)
        sound = False
        if info.finite:
            gradient = jnp.asarray(gradient, jnp.float32) / images.shape[0]
            state, is_sound = self._advance(state, pull, gradient)
            sound = bool(is_sound)
        else:
            state = state.replace(step=state.step + 1, skipped=state.skipped + 1)  # pyright: ignore
        self._in_a_row = 0 if sound else self._in_a_row + 1
        if self._in_a_row >= self.max_skipped:
            raise UserError(
                f"distillation: the gradient was not finite in {self._in_a_row} steps in a row (up to step "
                f"{number}). Render smaller images, lower the learning rate, or take --precision float32."
            )
        report = StepReport(
            number,
            info.gradient_norm,
            float(np.mean(info.noise_levels)),
            float(regularizer),
            sound,
            {name: float(x) for name, x in values.items()},
        )
        return state, report


def stack_cameras(cameras: ViewCameras) -> tuple[Float[Array, "N 3 3"], Float[Array, "N 4 4"]]:
    """Intrinsics and poses as arrays on the device."""
    return (
        jnp.asarray(cameras.intrinsics, jnp.float32),
        jnp.asarray(cameras.Ts_world_camera, jnp.float32),
    )
