"""What the user may choose of an export."""

from collections.abc import Callable
from dataclasses import dataclass

from hoijax.exporters.clip import Clip
from hoijax.exporters.resample import resample_clip


@dataclass(frozen=True)
class ExportOptions:
    """fps: None keeps the clip's. up: the world's up axis, where the format leaves the choice; None: its own.

    progress: called with (done, total) after every frame of a video; what it raises ends the export.
    """

    fps: float | None = None
    up: str | None = None
    progress: Callable[[int, int], None] | None = None

    def resampled(self, clip: Clip) -> Clip:
        """The clip at the frame rate that was asked for."""
        return clip if self.fps is None else resample_clip(clip, self.fps)
