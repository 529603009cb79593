"""Overlapping windows of a long clip: which frames, what they see, and how their answers are joined.

Windows have one length, so that one compiled program solves all of them. In the frames that two
windows share, poses pass from one to the other on SE(3).
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from hoijax.bundle.observations import Observations
from hoijax.errors import UserError
from hoijax.geometry.rotations import matrix_to_rotation_6d, rotation_6d_to_matrix
from hoijax.scene.scene import Scene, Unknowns

Span = tuple[int, int]
Piece = TypeVar("Piece")
MIN_WINDOW = 8
OVERLAP_SHARE = 0.25
_FIRST_AXIS = ("intrinsics", "Ts_world_camera", "instance_ids", "frame_mask", "color_images")
_TIMELESS = ("body_betas", "body_rest_joints")


@dataclass(frozen=True)
class Windows:
    """Spans of frames (begin, end), all of one length; neighbors share frames."""

    frame_count: int
    spans: tuple[Span, ...]

    @property
    def owned(self) -> tuple[Span, ...]:
        """Frames that each window answers for: borders are in the middle of the shared frames."""
        middles = [(b[0] + a[1]) // 2 for a, b in zip(self.spans[:-1], self.spans[1:], strict=True)]
        edges = [0, *middles, self.frame_count]
        return tuple(itertools.pairwise(edges))

    def own(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, int, int]]:
        """(piece, begin, end) of every window: the frames it answers for, counted in the window."""
        for piece, span, (a, b) in zip(pieces, self.spans, self.owned, strict=True):
            yield piece, a - span[0], b - span[0]


def windows_of(frame_count: int, window: int) -> Windows:
    """As few windows as share a quarter of their frames, spread evenly.

    Raises UserError for windows too short to share frames.
    """
    if window < MIN_WINDOW:
        raise UserError(f"--window {window}: a window needs at least {MIN_WINDOW} frames.")
    if window >= frame_count:
        return Windows(frame_count, ((0, frame_count),))
    shared = max(int(window * OVERLAP_SHARE), 2)
    count = math.ceil((frame_count - shared) / (window - shared))
    begins = np.round(np.linspace(0, frame_count - window, count)).astype(int)
    return Windows(frame_count, tuple((int(b), int(b) + window) for b in begins))


def observations_between(o: Observations, span: Span) -> Observations:
    """The frames of a span."""
    a, b = span
    cut = {}
    for field in dataclasses.fields(o):
        value = getattr(o, field.name)
        if field.name not in _TIMELESS and value is not None:
            cut[field.name] = value[a:b] if field.name in _FIRST_AXIS else value[:, a:b]
    return dataclasses.replace(o, **cut)


def scene_between(scene: Scene, span: Span) -> Scene:
    """The frames of a span; constants stay."""
    return scene_at(scene, slice(*span))


def scene_at(scene: Scene, frames: slice) -> Scene:
    """Some of the frames; constants stay."""
    seen = {
        field.name: getattr(scene.observed, field.name)[:, frames]
        for field in dataclasses.fields(scene.observed)
        if field.name != "part_of_sample"
    }
    return dataclasses.replace(
        scene,
        observed=dataclasses.replace(scene.observed, **seen),
        cameras=dataclasses.replace(
            scene.cameras,
            Ts_pointmap_world=scene.cameras.Ts_pointmap_world[frames],
            intrinsics=scene.cameras.intrinsics[frames],
        ),
        body_vertices_world=scene.body_vertices_world[:, frames],
        edges=dataclasses.replace(scene.edges, points=scene.edges.points[:, :, frames]),
        drops=None if scene.drops is None else scene.drops[:, frames],
        silhouettes=None
        if (seen_in := scene.silhouettes) is None
        else dataclasses.replace(
            seen_in,
            outline=jax.tree.map(lambda x: x[:, frames], seen_in.outline),
            contact_possible=None
            if (possible := seen_in.contact_possible) is None
            else possible[:, :, frames],
        ),
    )


def fade(count: int) -> Float[ndarray, " {count}"]:
    """Fractions of the later window over the frames that two share: smooth from near 0 to near 1."""
    x = (np.arange(count) + 1.0) / (count + 1.0)
    return x * x * (3.0 - 2.0 * x)


def blend_rotations(
    a: Float[ndarray, "*batch t 3 3"], b: Float[ndarray, "*batch t 3 3"], fraction: ndarray
) -> Float[ndarray, "*batch t 3 3"]:
    """From a to b along the shorter turn, by the fraction of each frame."""
    between = Rotation.from_matrix((np.swapaxes(a, -1, -2) @ b).reshape(-1, 3, 3)).as_rotvec()
    part = between.reshape(*a.shape[:-2], 3) * fraction[:, None]
    rotation = Rotation.from_rotvec(part.reshape(-1, 3)).as_matrix().reshape(a.shape)
    return a @ rotation


def join_similarities(
    windows: Windows, pieces: Sequence[Float[ndarray, "w 4 4"]]
) -> Float[ndarray, "T 4 4"]:
    """Similarities of overlapping windows as one row: scale, turn and place pass over smoothly."""
    joined = np.array(pieces[0], np.float64)
    for (begin, _), piece in zip(windows.spans[1:], pieces[1:], strict=True):
        shared = len(joined) - begin
        old, new, fraction = joined[begin:], np.array(piece[:shared], np.float64), fade(shared)
        scales = [np.cbrt(np.linalg.det(Ts[:, :3, :3])) for Ts in (old, new)]
        turned = [
            Ts[:, :3, :3] / s[:, None, None] for Ts, s in zip((old, new), scales, strict=True)
        ]
        scale = np.exp((1.0 - fraction) * np.log(scales[0]) + fraction * np.log(scales[1]))
        mixed = old + fraction[:, None, None] * (new - old)
        mixed[:, :3, :3] = scale[:, None, None] * blend_rotations(turned[0], turned[1], fraction)
        joined = np.concatenate([joined[:begin], mixed, piece[shared:]])
    return joined.astype(np.float32)


@dataclass
class Poses:
    """Trajectories of K candidates in the centerd frames, growing window by window."""

    rotations: Float[ndarray, "K O t 3 3"]
    translations: Float[ndarray, "K O t 3"]
    seams: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """Of every join: how far apart the two windows were in the frames that they share."""

    def take(self, begin: int, new: "Poses") -> None:
        """Join what the window that begins at frame `begin` found."""
        shared = self.rotations.shape[2] - begin
        old_r, old_x = self.rotations[:, :, begin:], self.translations[:, :, begin:]
        new_r, new_x = new.rotations[:, :, :shared], new.translations[:, :, :shared]
        apart = np.linalg.norm(new_x - old_x, axis=-1)
        trace = np.einsum("koTij,koTij->koT", old_r, new_r)
        angle = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
        self.seams.append(
            {"frame": begin, "cm": 100 * float(apart.max()), "degrees": float(angle.max())}
        )
        fraction = fade(shared)
        mixed_r = blend_rotations(old_r, new_r, fraction)
        mixed_x = old_x + fraction[:, None] * (new_x - old_x)
        parts = [self.rotations[:, :, :begin], mixed_r, new.rotations[:, :, shared:]]
        self.rotations = np.concatenate(parts, axis=2)
        parts = [self.translations[:, :, :begin], mixed_x, new.translations[:, :, shared:]]
        self.translations = np.concatenate(parts, axis=2)

    def go_on(self, span: Span, track: "Poses") -> "Poses":
        """Where a window starts: what is solved already, then its track, turned to fit on.

        A window may have left its track for a near-symmetric twin; what follows goes along.
        """
        a, b = span
        solved = self.rotations.shape[2]
        last = solved - 1
        twin = np.swapaxes(track.rotations[:, :, last], -1, -2) @ self.rotations[:, :, last]
        rest = track.rotations[:, :, solved:b] @ twin[:, :, None]
        rotations = np.concatenate([self.rotations[:, :, a:], rest], axis=2)
        moved = [self.translations[:, :, a:], track.translations[:, :, solved:b]]
        return Poses(rotations, np.concatenate(moved, axis=2))

    def between(self, span: Span) -> "Poses":
        a, b = span
        return Poses(self.rotations[:, :, a:b], self.translations[:, :, a:b])

    @property
    def unknowns(self) -> Unknowns:
        rotations = jnp.asarray(self.rotations, jnp.float32)
        return Unknowns(
            matrix_to_rotation_6d(rotations), jnp.asarray(self.translations, jnp.float32)
        )

    @staticmethod
    def of(unknowns: Unknowns) -> "Poses":
        rotations = rotation_6d_to_matrix(jnp.asarray(unknowns.object_rotation_6d))
        return Poses(
            np.asarray(rotations, np.float64), np.asarray(unknowns.object_translation, np.float64)
        )
