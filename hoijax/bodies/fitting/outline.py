"""A body motion that fills its person's masks: poses and flesh together, from a motion that keypoints gave.

Keypoints say where bones are, but of far legs and of people who leave the image they are often wrong, and
of flesh and clothes they say nothing. Masks say both: no skin is seen beside a mask, and all of a mask
has skin near it. What hides a person, and the borders of the image, say nothing.
"""

from dataclasses import dataclass

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt

from hoijax.bodies.fitting.energy import FitData, MotionUnknowns, energy, evidence, pose_motion
from hoijax.bodies.fitting.fit import moved, posed_starts, rotations_of, skin_subset, time_basis
from hoijax.bodies.fitting.person import FEWEST_FRAMES
from hoijax.bodies.fitting.residuals import bend
from hoijax.bodies.kinematics import JOINT_NAMES
from hoijax.bodies.skinned_body import PosedBody, ShapedBody, SkinnedBody
from hoijax.geometry.bilinear import bilinear, pack_corners
from hoijax.geometry.camera import project
from hoijax.geometry.descent import cosine_rate, descend
from hoijax.geometry.nearest import nearest_indices
from hoijax.geometry.safe_math import geman_mcclure
from hoijax.geometry.thinning import thinned
from hoijax.geometry.transforms import transform_points
from hoijax.programs import program

__all__ = ["FilledMotion", "Outlines", "fill_masks", "outlines_of"]

ROWS = 120
"""Of the images in which distances from masks are read."""
EDGES = 160
"""Pixels of a mask's edge that are compared in a frame."""
INSIDE = 96
"""Pixels inside it: two legs at the edges of one wide mask leave a gap."""
SKIN_VERTICES = 1440
SIGMA = 0.012
"""Of the focal length: a mask's edge, as sure as a keypoint (`energy.KEYPOINT_SIGMA`)."""
RHO = 0.06
"""Of the focal length: Geman-McClure's scale; an edge without skin so near is not the person's."""
COUNT = 120.0
"""Independent edges and vertices in a frame: neighbors err alike."""
FLESH_SIGMA = 3.0
"""Of betas about bones that stay; clothes count as flesh."""
ENDS = tuple(
    (JOINT_NAMES.index(end), JOINT_NAMES.index(base))
    for end, base in (
        ("left_middle1", "left_wrist"),
        ("right_middle1", "right_wrist"),
        ("left_thumb1", "left_wrist"),
        ("right_thumb1", "right_wrist"),
        ("left_eye_smplhf", "head"),
        ("left_foot", "left_ankle"),
        ("right_foot", "right_ankle"),
    )
)
ENDS_ACCELERATION = 4.0
"""Metres per second squared of these ends about their bases: how hands, head and feet turn few pixels show,
and what is not shown trembles with the masks."""
FLESH_RATE = 5.0
"""Betas by which one of the descent's unit changes flesh."""
STEPS, REFRESH_EVERY = 300, 20
FIRST_RATE, LAST_RATE = 0.02, 0.001
RHO_KEYPOINTS = 0.03
"""Of the focal length: a keypoint that masks contradict by more says little."""


@flax.struct.dataclass
class Outlines:
    """One person's masks, frames first; lengths are pixels over the focal length."""

    beside: Float[Array, "T h w 4"]
    """Distance to where the person may be seen, as `pack_corners` has it."""
    to_grid: Float[Array, ""]
    """Grid cells in a pixel."""
    edges: Float[Array, "T N 2"]
    """Pixels of the mask's edge and inside it, ..."""
    weights: Float[Array, "T N"]
    """and 1 / their number, or 0."""
    seen: Float[Array, " T"]
    """1: the frame has a mask."""


@dataclass(frozen=True)
class FilledMotion:
    """The motion with other poses and flesh; size and bones stay."""

    rotations: Float[ndarray, "T 55 3"]
    translations: Float[ndarray, "T 3"]
    betas: Float[ndarray, " B"]


def outlines_of(
    person: Bool[ndarray, "T H W"],
    others: Bool[ndarray, "T H W"] | None,
    intrinsics: Float[ndarray, "T 3 3"],
) -> Outlines:
    """What masks say (host). others: what may hide the person."""
    height = person.shape[1]
    step = max(height // ROWS, 1)
    focal = 0.5 * (intrinsics[:, 0, 0] + intrinsics[:, 1, 1])
    hidden = np.zeros_like(person) if others is None else others & ~person
    fields, edges, weights = [], [], []
    for t, (mask, cover) in enumerate(zip(person, hidden, strict=True)):
        away = distance_transform_edt(~(mask | cover)[::step, ::step]) * step
        fields.append(
            np.minimum(np.asarray(away) / focal[t], 4.0 * RHO) if mask.any() else 0 * away
        )
        inner = np.asarray(binary_erosion(mask, border_value=1), bool)
        covered = np.asarray(binary_dilation(cover, iterations=2), bool)
        rim = np.argwhere(mask & ~inner & ~covered)
        inside = np.argwhere(inner & ~covered)
        chosen = np.concatenate([thinned(rim, EDGES), thinned(inside, INSIDE)])
        padding = EDGES + INSIDE - len(chosen)
        edges.append(np.pad(chosen[:, ::-1] + 0.5, ((0, padding), (0, 0))))
        weights.append(np.pad(np.full(len(chosen), 1.0 / max(len(chosen), 1)), (0, padding)))
    return Outlines(
        beside=jnp.asarray(pack_corners(np.stack(fields)), jnp.float32),
        to_grid=jnp.asarray(1.0 / step, jnp.float32),
        edges=jnp.asarray(np.stack(edges), jnp.float32),
        weights=jnp.asarray(np.stack(weights), jnp.float32),
        seen=jnp.asarray(person.any(axis=(1, 2)), jnp.float32),
    )


def outline_energy(
    pixels: Float[Array, "T v 2"],
    focal: Float[Array, " T"],
    outlines: Outlines,
    nearest: Int[Array, "T N"],
) -> Float[Array, " T"]:
    """Skin beside masks and masks without skin, robust and squared, in each frame.

    nearest: the projected vertex next to each edge pixel.
    """
    cells = (pixels - 0.5) * outlines.to_grid
    beside = jax.vmap(bilinear)(outlines.beside, cells)
    skin = jnp.mean(geman_mcclure(beside**2, RHO), axis=-1)
    target = jnp.take_along_axis(pixels, nearest[..., None], axis=1, mode="clip")
    apart = (target - outlines.edges) / focal[:, None, None]
    squared = jnp.sum(apart**2, axis=-1)
    edge = jnp.sum(outlines.weights * geman_mcclure(squared, RHO), axis=-1)
    return outlines.seen * (skin + edge)


@program(static=("steps",))
def _descend(
    person: ShapedBody,
    directions: Float[Array, "v 3 B"],
    data: FitData,
    outlines: Outlines,
    start: MotionUnknowns,
    *,
    steps: int,
) -> tuple[MotionUnknowns, Float[Array, " B"]]:
    """(motion, betas), from a motion of an average person."""
    basis = jnp.asarray(time_basis(data.keypoints.shape[0]))
    focal = 0.5 * (data.intrinsics[:, 0, 0] + data.intrinsics[:, 1, 1])
    no_points = jnp.zeros(data.points_world.shape[:2], jnp.int32)

    def after(change: tuple[MotionUnknowns, Array]) -> tuple[MotionUnknowns, Array, ShapedBody]:
        motion, flesh = moved(start, change[0], basis), FLESH_RATE * change[1]
        rest = person.vertices_rest + directions @ flesh
        return motion, flesh, person.replace(vertices_rest=rest)  # pyright: ignore

    def pixels_of(posed: PosedBody) -> Float[Array, "T v 2"]:
        skin = jnp.asarray(posed.vertices_world)
        return project(transform_points(data.Ts_camera_world, skin), data.intrinsics)

    def nearest_of(change: tuple[MotionUnknowns, Array]) -> Array:
        motion, _, shaped = after(change)
        return nearest_indices(outlines.edges, pixels_of(pose_motion(shaped, motion)))

    def cost(change: tuple[MotionUnknowns, Array], nearest: Array, _: Array) -> Array:
        motion, flesh, shaped = after(change)
        rest = energy(motion, shaped, data, no_points, jnp.asarray(RHO_KEYPOINTS))
        posed = pose_motion(shaped, motion)
        seen = outline_energy(pixels_of(posed), focal, outlines, nearest)
        joints, ends = jnp.asarray(posed.joints_world), jnp.array(ENDS)
        turning = bend(joints[:, ends[:, 0]] - joints[:, ends[:, 1]])
        wobble = jnp.sum((2.0 * data.fps**2 * turning / ENDS_ACCELERATION) ** 2, axis=(-1, -2))
        swollen = jnp.sum((flesh / FLESH_SIGMA) ** 2)
        seen = 0.5 * COUNT * seen / SIGMA**2 + 0.5 * wobble
        return rest + jnp.mean(seen) + 0.5 * swollen

    still = jax.tree.map(
        lambda x: jnp.zeros((basis.shape[1], *x.shape[1:])) if x.ndim else x * 0.0, start
    )
    rate = optax.adam(cosine_rate(FIRST_RATE, LAST_RATE, steps))
    first = still, jnp.zeros(directions.shape[-1])
    change, _ = descend(cost, first, rate, steps, refresh=nearest_of, refresh_every=REFRESH_EVERY)
    return after(change)[:2]


def fill_masks(
    rotations: Float[ndarray, "T 55 3"],
    translations: Float[ndarray, "T 3"],
    rest_joints: Float[ndarray, "55 3"],
    outlines: Outlines,
    *,
    body: SkinnedBody,
    keypoints: Float[ndarray, "T 18 3"],
    intrinsics: Float[ndarray, "T 3 3"],
    Ts_world_camera: Float[ndarray, "T 4 4"],
    fps: float,
    lifts: Float[ndarray, "T 18"] | None = None,
    steps: int = STEPS,
) -> FilledMotion:
    """The motion with poses and flesh changed until an average person on these bones fills the masks.

    lifts: see `fit_person`. steps: a multiple of `REFRESH_EVERY`.
    """
    frames = len(rotations)
    index = np.minimum(np.arange(max(frames, FEWEST_FRAMES)), frames - 1)
    person, directions = _with_flesh(body, rest_joints)
    seen = keypoints[index], np.asarray(intrinsics)[index], np.asarray(Ts_world_camera)[index]
    data = evidence(
        person,
        *seen,
        None,
        None,
        fps,
        known=True,
        estimate=np.asarray(rotations)[index, :22],
        lifts=None if lifts is None else lifts[index],
    )
    start = posed_starts(rotations[None, index, :22], (translations + rest_joints[0])[index])
    outlines = jax.tree.map(lambda x: x[index] if x.ndim else x, outlines)
    motion, flesh = _descend(
        person, directions, data, outlines, jax.tree.map(lambda x: x[0], start), steps=steps
    )
    return FilledMotion(
        rotations=np.asarray(rotations_of(motion))[:frames],
        translations=np.asarray(motion.pelvis - rest_joints[0], np.float32)[:frames],
        betas=np.asarray(flesh, np.float32),
    )


def _with_flesh(
    body: SkinnedBody, rest_joints: Float[ndarray, "55 3"]
) -> tuple[ShapedBody, Float[ndarray, "v 3 B"]]:
    """(part of the skin of an average person, how each of the betas moves it), on bones that stay."""
    chosen = skin_subset(body, SKIN_VERTICES)

    def on_bones(betas: ndarray) -> ShapedBody:
        return body.shape(betas.astype(np.float32)).with_rest_joints(rest_joints)

    count = body.shape_directions.shape[-1]
    average = on_bones(np.zeros(count))
    moved_skin = [np.asarray(on_bones(one).vertices_rest)[chosen] for one in np.eye(count)]
    person = average.subset(chosen)
    return person, np.stack(moved_skin, -1) - np.asarray(person.vertices_rest)[..., None]
