"""The radiance field of `hoijax.composition.fields` written the plain way in PyTorch: every sample is evaluated.

A baseline for speed and a twin for tests: the same parameters give the same image. `grid_sample` for the
dense grids, `linear` layers, alpha compositing.
"""

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from hoijax.composition.fields.radiance_field import FieldSettings


def to_torch_params(params: Any) -> dict[str, torch.Tensor]:
    """Leaves of a field's parameters ({"field", "background"}) by name, as leaves that take gradients."""
    field, background = params["field"], params["background"]
    encoding = field["DenseGridEncoding_0"]
    named = {name: encoding[name] for name in sorted(encoding)}
    for layer in ("hidden", "values"):
        named |= {f"{layer}_{part}": field[layer][part] for part in ("kernel", "bias")}
    named |= {"constant": background["constant"], "slope": background["slope"]}
    return {
        name: torch.tensor(np.array(value), requires_grad=True) for name, value in named.items()
    }


def field_values(
    params: dict[str, torch.Tensor], settings: FieldSettings, points: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Density (n,) per metre and color (n, 3) at points (n, 3) of the field's frame."""
    local = (points - torch.tensor(settings.center)) / settings.half_side
    inside = (local.abs() <= 1.0).all(dim=-1)
    where = local.flip(-1)[None, None, None]  # grid_sample takes (fastest, ..., slowest)
    features = []
    for level, resolution in enumerate(settings.resolutions):
        table = params[f"level_{level}"].reshape(resolution, resolution, resolution, -1)
        seen = functional.grid_sample(
            table.permute(3, 0, 1, 2)[None], where, align_corners=True, padding_mode="border"
        )
        features.append(seen[0, :, 0, 0].T)
    hidden = torch.cat(features, dim=-1) @ params["hidden_kernel"] + params["hidden_bias"]
    raw = functional.relu(hidden) @ params["values_kernel"] + params["values_bias"]
    towards_middle = (1.0 - ((local**2).sum(-1) + 1e-6).sqrt()).clamp(min=0.0)
    density = functional.softplus(
        raw[:, 0] + settings.density_bias + settings.blob * towards_middle
    )
    return settings.density_scale * density * inside, torch.sigmoid(raw[:, 1:])


def render(
    params: dict[str, torch.Tensor],
    settings: FieldSettings,
    origins: torch.Tensor,
    directions: torch.Tensor,
    samples: int,
) -> torch.Tensor:
    """Colors (R, 3) of rays (world = the field's frame), samples in the middles of equal stretches."""
    lower = torch.tensor(settings.center) - settings.half_side
    upper = torch.tensor(settings.center) + settings.half_side
    small = directions.abs() < 1e-9
    inverse = 1.0 / torch.where(small, torch.full_like(directions, 1e-9), directions)
    first, second = (lower - origins) * inverse, (upper - origins) * inverse
    near = torch.minimum(first, second).amax(dim=-1).clamp(min=0.0)
    far = torch.maximum(first, second).amin(dim=-1)
    hit = far > near
    near, far = torch.where(hit, near, 0.0 * near), torch.where(hit, far, 0.0 * far)
    delta = ((far - near) / samples)[:, None]
    depths = near[:, None] + delta * (torch.arange(samples) + 0.5)
    points = origins[:, None] + depths[..., None] * directions[:, None]
    density, color = field_values(params, settings, points.reshape(-1, 3))
    thickness = density.reshape(depths.shape) * delta
    before = torch.cumsum(thickness, dim=-1) - thickness
    weights = torch.exp(-before) * -torch.expm1(-thickness)
    behind = torch.sigmoid(params["constant"] + directions @ params["slope"])
    seen = (weights[..., None] * color.reshape(*depths.shape, 3)).sum(dim=1)
    return seen + (1.0 - weights.sum(dim=-1, keepdim=True)) * behind
