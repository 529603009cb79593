"""Numbers of the command line that cannot be meant, refused before anything is imported or allocated."""

import math
import traceback
from collections.abc import Mapping
from typing import Any

from hoijax.errors import UserError

BOUNDS: Mapping[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "seeds": (1, 1000),
    "frames": (3, 10_000),
    "inits": (1, 1024),
    "steps": (1, 1_000_000),
    "samples": (1, 65_536),
    "window": (1, 100_000),
    "workers": (1, 1024),
    "static_frame": (0, 1_000_000),
    "candidate": (1, 1024),
    "render_width": (0, 2048),
    "fps": (0.1, 1000.0),
    "width": (16, 8192),
    "height": (16, 8192),
    "people": (0, 16),
    "pieces": (0.5, 100_000.0),
    "levels": (2, 1000),
    "mass": (1e-4, 1e5),
    "density": (0.1, 3e4),
    "friction": (0.0, 100.0),
    "margin": (0.0, 1.0),
    "points": (8, 65_536),
    "contact_points": (1, 4096),
    "contact_reach": (1e-3, 10.0),
    "grid_resolution": (4, 256),
    "round_steps": (1, 1_000_000),
    "track_steps": (0, 1_000_000),
    "refresh_every": (1, 1_000_000),
    "image_every": (1, 10_000),
    "learning_rate": (1e-8, 10.0),
    "final_learning_rate": (0.0, 10.0),
}
"""(least, most) of a flag, by its field; every command that has the field has the bounds."""
MAX_SCALE = 1e9
MAX_WEIGHT = 1e12
MAX_WORDS = 500


def check_bounds(command: Any) -> None:
    """Raises UserError for the first number of a command that is out of bounds, and for endless texts."""
    for name, (least, most) in BOUNDS.items():
        value = getattr(command, name, None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            flag = name.replace("_", "-")
            if not value >= least:  # NaN too
                raise UserError(f"--{flag} must be at least {least}, got {value}.")
            if value > most:
                raise UserError(f"--{flag} must be at most {most}, got {value}.")
    scale = getattr(command, "scale", 1.0)
    if isinstance(scale, float) and scale > MAX_SCALE:
        raise UserError(f"--scale must be a positive number of at most {MAX_SCALE:g}, got {scale}.")
    text = getattr(command, "text", None)
    if isinstance(text, str) and len(text.split()) > MAX_WORDS:
        raise UserError(
            f"the sentence has {len(text.split())} words; at most {MAX_WORDS}. Say one interaction."
        )


def check_weight(item: str, number: float) -> None:
    """Raises UserError where a number is no weight of a loss."""
    if not (math.isfinite(number) and 0.0 <= number <= MAX_WEIGHT):
        raise UserError(f"--weights: '{item}': a weight is a number from 0 to {MAX_WEIGHT:g}.")


NO_DEVICE = "JAX_PLATFORMS names a device that is not here: unset it, or set it to cpu."


def environment_problem(error: RuntimeError | AssertionError) -> str | None:
    """What is wrong with the machine's settings, where that is what an error says; None otherwise."""
    if isinstance(error, AssertionError):  # JAX's own, of a device that it knows and does not find
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        return NO_DEVICE if frame.f_globals.get("__name__") == "jax._src.xla_bridge" else None
    text = str(error)
    if "Unable to initialize backend" in text or "Unknown backend" in text:
        line = text.splitlines()[0]
        return f"{line} {NO_DEVICE}"
    if "home directory" in text:
        return "this user has no home folder: set HOME to a folder that may be written."
    return None
