"""How much of a device's memory a solve takes: what fits, and how long windows may be."""

from typing import Any

import jax

from hoijax.bundle.write import Bundle
from hoijax.errors import UserError
from hoijax.progress import Log
from hoijax.settings import SceneSettings
from hoijax.solver.batch import MEMORY_SHARE, free_memory

BYTES_PER_POSE = 0.75e6
"""Of the descent for one object, frame and candidate: XLA's own account of the compiled program, 0.73
to 0.75 MB for K = 2 and 6, 16 and 49 frames, the settings `default` (`tests/test_long_clips.py`)."""
BYTES_PER_FRAME = 0.7e6
"""Of a scene: skin of one person, observed points and masks of one object at 480 x 720 pixels."""
MEASURED_POINTS = 384
SHORTEST, WHOLE_STEPS = 24, 8


def descent_bytes(candidates: int, frames: int, objects: int = 1, points: int = 384) -> int:
    """Bytes that the descent of `candidates` trajectories takes, its scene included."""
    poses = candidates * frames * objects * BYTES_PER_POSE * max(points / MEASURED_POINTS, 1.0)
    return int(poses + frames * objects * BYTES_PER_FRAME)


def max_candidates(free: int, frames: int = 49, objects: int = 1) -> int:
    """The largest power of two of candidates that fits `free` bytes; 0 where none does."""
    count = 1
    while descent_bytes(2 * count, frames, objects) <= MEMORY_SHARE * free:
        count *= 2
    return count if descent_bytes(count, frames, objects) <= MEMORY_SHARE * free else 0


def free_bytes(device: Any = None) -> int:
    """What a device (the first, if none is named) has left."""
    return free_memory(device or jax.local_devices()[0])


def check_memory(candidates: int, frames: int, objects: int, points: int) -> None:
    """Raises UserError, before anything is allocated, where a solve cannot fit the device's memory."""
    needed, free = descent_bytes(candidates, frames, objects, points), free_bytes()
    if needed > free:
        most = max_candidates(free, frames, objects)
        raise UserError(
            f"{candidates} candidates of {frames} frames take about {needed / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free: give "
            + (f"--inits {most} or fewer." if most else "fewer --frames, or --window.")
        )


def chosen_window(bundle: Bundle, settings: SceneSettings, asked: int | None, log: Log) -> int:
    """Frames of a window: as asked, or the whole clip, or else as many as fit the memory."""
    frames = bundle.frame_count
    if asked is not None:
        return min(asked, frames)
    if not settings.infer_contact:
        return frames
    budget = MEMORY_SHARE * free_bytes()
    needed = descent_bytes(settings.candidates_at_once, frames, len(bundle.assets), settings.points)
    if needed <= budget:
        return frames
    fit = int(frames * budget / needed) // WHOLE_STEPS * WHOLE_STEPS
    window = min(max(fit, SHORTEST), frames)
    log(
        f"the whole clip would take {needed / 1e9:.1f} GB of {free_bytes() / 1e9:.1f} GB free: "
        f"solved in windows of {window} frames"
    )
    return window
