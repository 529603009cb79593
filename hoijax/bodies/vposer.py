"""VPoser as a pose prior, from weights that the user has (an npz of plain arrays; no torch).

Layout of VPoser 2 (human_body_prior): the state dict's names, with or without the prefix "vp_model.".
The encoder alone says how likely a pose is: poses of people lie near the origin of its latent space,
and come back from it as they went in.
"""

from __future__ import annotations

from pathlib import Path

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hoijax.errors import UserError
from hoijax.geometry.rotations import axis_angle_to_matrix
from hoijax.io.arrays import Field, field_problems
from hoijax.io.npz import read_npz, read_regular_file

JOINTS = 21
"""Body joints without the root."""
LEAK = 0.01
"""Slope of the leaky rectifier below zero."""
NORM_EPSILON = 1e-5
RETURN_SPREAD = 0.35
"""Radians by which a pose may come back changed: one standard deviation."""
HOW_TO_GET = (
    "VPoser is licensed: register at https://smpl-x.is.tue.mpg.de, download VPoser v2.0 and save its state "
    "dict as arrays: np.savez('vposer.npz', **{k: v.numpy() for k, v in torch.load(CKPT, "
    "weights_only=True)['state_dict'].items()})"
)
PREFIX = "vp_model."
LARGEST_WEIGHT = 1e6
_LINEAR = {
    "encoder_net.2": ("H", 3 * JOINTS),
    "encoder_net.6": ("H", "H"),
    "encoder_net.7": ("H", "H"),
    "encoder_net.8.mu": ("L", "H"),
    "decoder_net.0": ("H", "L"),
    "decoder_net.3": ("H", "H"),
    "decoder_net.5": (6 * JOINTS, "H"),
}
_NORMS = {"encoder_net.1": 3 * JOINTS, "encoder_net.4": "H"}


@flax.struct.dataclass
class Linear:
    """Weights (outputs, inputs) and bias; batch norms are folded into one of these."""

    weight: Float[Array, "n m"]
    bias: Float[Array, " n"]

    def __call__(self, x: Float[Array, "*batch m"]) -> Float[Array, "*batch n"]:
        return x @ self.weight.T + self.bias


@flax.struct.dataclass
class VPoser:
    """Encoder and decoder at inference: no dropout, fixed batch norms."""

    encoder: tuple[Linear, ...]
    """63 -> H (norm folded in), rectified; H -> H (norm folded in), H -> H, H -> L."""
    decoder: tuple[Linear, ...]

    def encode(self, pose: Float[Array, "*batch 21 3"]) -> Float[Array, "*batch L"]:
        """Mean of the latent code of axis-angles."""
        x = pose.reshape(*pose.shape[:-2], 3 * JOINTS)
        first, *others = self.encoder
        x = jax.nn.leaky_relu(first(x), LEAK)
        for layer in others:
            x = layer(x)
        return x

    def decode(self, code: Float[Array, "*batch L"]) -> Float[Array, "*batch 21 3 3"]:
        """Rotation matrices of a latent code."""
        *others, last = self.decoder
        for layer in others:
            code = jax.nn.leaky_relu(layer(code), LEAK)
        columns = last(code).reshape(*code.shape[:-1], JOINTS, 3, 2)
        a = _unit(columns[..., 0])
        b = columns[..., 1] - jnp.sum(a * columns[..., 1], axis=-1, keepdims=True) * a
        b = _unit(b)
        return jnp.stack([a, b, jnp.cross(a, b)], axis=-1)

    def energy(self, pose: Float[Array, "*batch 22 3"]) -> Float[Array, "*batch"]:
        """Negative log-likelihood, about: half the squared code, and how changed the pose comes back.

        pose: axis-angles of the first 22 joints; the root's is not used.
        """
        body = pose[..., 1:, :]
        code = self.encode(body)
        away = self.decode(code) - axis_angle_to_matrix(body)
        changed = 0.5 * jnp.sum(away**2, axis=(-1, -2, -3))  # squared angles where they are small
        return 0.5 * jnp.sum(code**2, axis=-1) + 0.5 * changed / RETURN_SPREAD**2


def _unit(v: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    return v / jnp.sqrt(jnp.maximum(jnp.sum(v**2, axis=-1, keepdims=True), 1e-16))


def load_vposer(path: str | Path) -> VPoser:
    """Read the weights. UserError names everything that is missing or of another shape."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"no VPoser weights at '{path}'. {HOW_TO_GET}")
    try:
        arrays, damage = read_npz(read_regular_file(path), path.name)
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be read: {error.strerror or error}. {HOW_TO_GET}"
        ) from error
    arrays = {key.removeprefix(PREFIX): np.asarray(value) for key, value in arrays.items()}
    problems = [*damage.values(), *_problems(arrays, path.name)]
    if problems:
        raise UserError(
            f"'{path}' does not hold VPoser weights: {'; '.join(problems)}. {HOW_TO_GET}"
        )
    linear = {name: _linear(arrays, name) for name in _LINEAR}
    scales = {name: _norm(arrays, name) for name in _NORMS}
    encoder = (
        _after_norm(linear["encoder_net.2"], *scales["encoder_net.1"]),
        _after_norm(linear["encoder_net.6"], *scales["encoder_net.4"]),
        linear["encoder_net.7"],
        linear["encoder_net.8.mu"],
    )
    decoder = [linear[f"decoder_net.{i}"] for i in (0, 3, 5)]

    def on_device(weight: np.ndarray, bias: np.ndarray) -> Linear:
        return Linear(jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32))

    return VPoser(
        tuple(on_device(*layer) for layer in encoder), tuple(on_device(*layer) for layer in decoder)
    )


def _problems(arrays: dict[str, np.ndarray], where: str) -> list[str]:
    fields = {}
    for name, shape in _LINEAR.items():
        axes = [str(axis) for axis in shape]
        fields[f"{name}.weight"] = Field(" ".join(axes), largest=LARGEST_WEIGHT)
        fields[f"{name}.bias"] = Field(axes[0], largest=LARGEST_WEIGHT)
    for name, size in _NORMS.items():
        for part in ("weight", "bias", "running_mean"):
            fields[f"{name}.{part}"] = Field(str(size), largest=LARGEST_WEIGHT)
        fields[f"{name}.running_var"] = Field(str(size), largest=LARGEST_WEIGHT, lowest=0.0)
    return field_problems(arrays, fields, where)


def _linear(arrays: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    return arrays[f"{name}.weight"].astype(np.float64), arrays[f"{name}.bias"].astype(np.float64)


def _norm(arrays: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """A batch norm with fixed statistics as factor and shift."""
    parts = ("weight", "bias", "running_mean", "running_var")
    weight, bias, mean, variance = (arrays[f"{name}.{p}"].astype(np.float64) for p in parts)
    factor = weight / np.sqrt(variance + NORM_EPSILON)
    return factor, bias - mean * factor


def _after_norm(
    layer: tuple[np.ndarray, np.ndarray], factor: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The layer with the norm before it folded in."""
    weight, bias = layer
    return weight * factor, bias + weight @ shift
