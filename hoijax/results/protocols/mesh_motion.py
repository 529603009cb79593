"""What every protocol measures: one person and one object as meshes in time."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.geometry.mesh_queries import signed_distance

Value = TypeVar("Value")
SURFACE_SAMPLES = 8196
"""Surface points of a mesh in chamfer distances, as BEHAVE's evaluation takes."""
KNUCKLES = (28, 43)
"""Joints of the 55 of SMPL-X that stand for the palms: left_middle1, right_middle1."""
WRISTS = (20, 21)


class NotGiven(UserError):
    """A measure needs what the motion or its truth does not have; it is listed as omitted."""


def given(value: Value | None, what: str) -> Value:
    """The value, which must be there. Raises NotGiven naming it."""
    if value is None:
        raise NotGiven(f"needs {what}")
    return value


@dataclass(frozen=True)
class MeshMotion:
    """One person and one object over T frames; world frame, metres, y up."""

    fps: float
    body_vertices: Float[ndarray, "T V 3"]
    body_faces: Int[ndarray, "F 3"]
    object_vertices: Float[ndarray, "T M 3"]
    object_faces: Int[ndarray, "G 3"]
    body_joints: Float[ndarray, "T J 3"] | None = None
    """22 joints in SMPL's order, then two palms (24) or the rest of SMPL-X's (55)."""
    hand_vertices: Int[ndarray, "H"] | None = None
    """Indices of the body's vertices that are hand."""
    body_parts: Int[ndarray, "V"] | None = None
    """Part of every body vertex; negative: none."""
    object_name: str = ""

    @property
    def frame_count(self) -> int:
        return len(self.body_vertices)

    @property
    def joints(self) -> Float[ndarray, "T J 3"]:
        """Raises NotGiven where there are none."""
        return given(self.body_joints, "joints")

    @property
    def joints22(self) -> Float[ndarray, "T 22 3"]:
        return self.joints[:, :22]

    @property
    def hands(self) -> Int[ndarray, "H"]:
        """Raises NotGiven where they are not marked."""
        return given(self.hand_vertices, "hand vertices")

    @cached_property
    def palms(self) -> tuple[Float[ndarray, "T 2 3"], float]:
        """Palm joints and CHOIS's contact threshold for them in metres; wrists where there are none."""
        joints = self.joints
        if joints.shape[1] == 22:
            return joints[:, WRISTS], 0.10
        return joints[:, KNUCKLES if joints.shape[1] > max(KNUCKLES) else (22, 23)], 0.05

    @cached_property
    def body_signed_distance(self) -> Float[ndarray, "T V"]:
        """Of the body's vertices to the object's surface, metres, negative inside."""
        frames = zip(self.body_vertices, self.object_vertices, strict=True)
        return np.stack([signed_distance(p, v, self.object_faces) for p, v in frames])

    @property
    def hand_signed_distance(self) -> Float[ndarray, "T H"]:
        return self.body_signed_distance[:, self.hands]

    def body_samples(self) -> Float[ndarray, "T n 3"]:
        """Surface samples of the body; the same places of the mesh in every frame."""
        return surface_samples(self.body_vertices, self.body_faces)

    def object_samples(self) -> Float[ndarray, "T n 3"]:
        """Surface samples of the object; the same places of the mesh in every frame."""
        return surface_samples(self.object_vertices, self.object_faces)

    def moved(
        self, scale: float, rotation: Float[ndarray, "3 3"], translation: Float[ndarray, "3"]
    ) -> "MeshMotion":
        """Every point x as scale * rotation x + translation."""

        def move(points: ndarray) -> ndarray:
            return scale * points @ rotation.T + translation

        return dataclasses.replace(
            self,
            body_vertices=move(self.body_vertices),
            object_vertices=move(self.object_vertices),
            body_joints=None if self.body_joints is None else move(self.body_joints),
        )

    def frames(self, chosen: ndarray | slice) -> "MeshMotion":
        """Some of the frames."""
        return dataclasses.replace(
            self,
            body_vertices=self.body_vertices[chosen],
            object_vertices=self.object_vertices[chosen],
            body_joints=None if self.body_joints is None else self.body_joints[chosen],
        )

    def at_frames_of(self, other: "MeshMotion") -> "MeshMotion":
        """This motion at the times of another's frames, linear between its own.

        Raises UserError unless both last equally long, to one frame of the slower.
        """
        count, rate = other.frame_count, other.fps
        if np.isclose(rate, self.fps) and count == self.frame_count:
            return self
        ends = (count - 1) / rate, (self.frame_count - 1) / self.fps
        if abs(ends[0] - ends[1]) > 1.001 / min(rate, self.fps):
            raise UserError(
                f"the motion lasts {ends[0]:.2f} s ({count} frames at {rate:g} fps), its truth "
                f"{ends[1]:.2f} s ({self.frame_count} at {self.fps:g}); cut both to the same stretch."
            )
        at = np.clip(np.arange(count) / rate * self.fps, 0, self.frame_count - 1)
        before = np.floor(at).astype(int)
        after = np.minimum(before + 1, self.frame_count - 1)
        part = (at - before)[:, None, None]

        def between(points: ndarray) -> ndarray:
            return (1 - part) * points[before] + part * points[after]

        return dataclasses.replace(
            self,
            fps=rate,
            body_vertices=between(self.body_vertices),
            object_vertices=between(self.object_vertices),
            body_joints=None if self.body_joints is None else between(self.body_joints),
        )


def surface_samples(
    vertices: Float[ndarray, "T M 3"],
    faces: Int[ndarray, "G 3"],
    count: int = SURFACE_SAMPLES,
) -> Float[ndarray, "T n 3"]:
    """Points spread by area over the first frame's mesh, followed through all frames; always the same.

    A mesh without faces is its own samples.
    """
    if not len(faces):
        return vertices
    rng = np.random.default_rng(0)
    a, b, c = (vertices[0, faces[:, i]].astype(np.float64) for i in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=-1)
    chosen = faces[rng.choice(len(faces), count, p=areas / areas.sum())]
    u, v = rng.random((2, count))
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    weights = np.stack([1 - u - v, u, v], axis=-1)
    return np.einsum("nk,tnkd->tnd", weights, vertices[:, chosen])
