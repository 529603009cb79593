"""Mass, motion and the wrench that a rigid object needs from its surroundings."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.geometry.transforms import GRAVITY
from hoijax.physics.decomposition import thickened
from hoijax.results.protocols.mesh_motion import MeshMotion
from hoijax.results.protocols.shared import similarity

MAX_MASS, MAX_DENSITY = 1e5, 22_590.0
"""Kilograms, and kg/m3, above which a number is a mistake."""
MAX_BEND = 0.1
"""Of its radius by which an object's vertices may leave a rigid motion (root mean square of a frame)."""
SMOOTHED_SECONDS = 0.4
"""Window of the cubic (Savitzky-Golay) that accelerations are taken from: a millimeter of jitter at
30 fps is 2 m/s2 in plain second differences."""


@dataclass(frozen=True)
class RigidMotion:
    """An object's mass and motion; world axes, SI units, moments about its center of mass."""

    mass: float
    radius: float
    """Half the diagonal of the object's box: the lever that moments are measured by."""
    center: Float[ndarray, "3"]
    """Of mass, in the object's frame."""
    inertia: Float[ndarray, "3 3"]
    """About the center of mass, axes of the object's frame."""
    centers: Float[ndarray, "T 3"]
    forces: Float[ndarray, "T 3"]
    """m (a - g): what contacts must supply."""
    torques: Float[ndarray, "T 3"]
    """I alpha + omega x I omega."""
    rotations: Float[ndarray, "T 3 3"]
    translations: Float[ndarray, "T 3"]
    """World point = rotation x point of the object's frame, its mesh in the first frame, + translation."""
    velocities: Float[ndarray, "T 6"]
    """Of the center of mass (m/s), and angular (rad/s)."""

    @property
    def weight(self) -> float:
        """Newtons."""
        return self.mass * float(np.linalg.norm(GRAVITY))

    def in_object(self, points: Float[ndarray, "T N 3"]) -> Float[ndarray, "T N 3"]:
        """World points in the object's frame."""
        return (points - self.translations[:, None]) @ self.rotations


def rigid_motion(
    motion: MeshMotion, mass: float | None = None, density: float = 100.0
) -> RigidMotion:
    """The object's motion as that of a rigid body of evenly spread mass.

    mass: kilograms; by default `density` (kg/m3) times the volume of its convex hull, which is that of
    hollow or leaky scans too. Raises UserError for masses and densities that are not positive or
    larger than anything has, for clips of fewer than four frames, and for objects that change their shape.
    """
    import trimesh

    for value, most in ((1.0 if mass is None else mass, MAX_MASS), (density, MAX_DENSITY)):
        if not 0 < value <= most:
            raise UserError(
                "mass (kg) and density (kg/m3) must be positive numbers, at most "
                f"{MAX_MASS:g} and {MAX_DENSITY:g} (osmium's)."
            )
    if motion.frame_count < 4:
        raise UserError(f"accelerations need 4 frames or more; the clip has {motion.frame_count}.")
    vertices = motion.object_vertices.astype(np.float64)
    hull = trimesh.convex.convex_hull(thickened(vertices[0]))
    hull.density = density if mass is None else mass / hull.volume
    properties = hull.mass_properties
    frames = [similarity(vertices[0], v, scaled=False) for v in vertices]
    rotations = np.stack([rotation for _, rotation, _ in frames])
    shifts = np.stack([translation for _, _, translation in frames])
    _check_rigid(vertices, rotations, shifts)
    centers = rotations @ np.asarray(properties.center_mass) + shifts
    acceleration = smoothed_derivative(centers, motion.fps, 2)
    omega, alpha = _angular(rotations, motion.fps)
    inertia = rotations @ np.asarray(properties.inertia) @ rotations.swapaxes(-1, -2)
    momentum = np.einsum("tij,tj->ti", inertia, omega)
    torques = np.einsum("tij,tj->ti", inertia, alpha) + np.cross(omega, momentum)
    total = float(properties.mass)
    if total > MAX_MASS:
        raise UserError(
            f"at {density:g} kg/m3 the object weighs {total:.3g} kg (at most {MAX_MASS:g}): give its mass, or "
            "a mesh in metres."
        )
    return RigidMotion(
        mass=total,
        radius=float(np.linalg.norm(np.ptp(vertices[0], axis=0))) / 2,
        center=np.asarray(properties.center_mass),
        inertia=np.asarray(properties.inertia),
        centers=centers,
        forces=total * (acceleration - GRAVITY),
        torques=torques,
        rotations=rotations,
        translations=shifts,
        velocities=np.concatenate([smoothed_derivative(centers, motion.fps, 1), omega], axis=1),
    )


def _check_rigid(
    vertices: Float[ndarray, "T M 3"],
    rotations: Float[ndarray, "T 3 3"],
    shifts: Float[ndarray, "T 3"],
) -> None:
    off = vertices - (vertices[0] @ rotations.swapaxes(-1, -2) + shifts[:, None])
    bends = np.sqrt((off**2).sum(axis=-1).mean(axis=1))
    radius = float(np.linalg.norm(np.ptp(vertices[0], axis=0))) / 2
    if bends.max() > MAX_BEND * radius:
        raise UserError(
            f"the object changes its shape: in frame {int(bends.argmax())} its vertices are "
            f"{bends.max() * 100:.1f} cm (root mean square) from those of the first frame moved rigidly. "
            "The verdict knows rigid objects only: give each rigid part as an object."
        )


def smoothed_derivative(
    values: Float[ndarray, "T *D"], fps: float, order: int
) -> Float[ndarray, "T *D"]:
    """Derivative of a cubic fitted around every frame; exact for cubics, at the ends too.

    What `scipy.signal.savgol_filter(mode="interp")` gives, whose import takes longer than a verdict.
    """
    frames = len(values)
    window = max(5, 2 * round(SMOOTHED_SECONDS * fps / 2) + 1)
    if window > frames:
        window = frames if frames % 2 else frames - 1
    at = (np.arange(window) - window // 2) / fps
    powers = np.vander(at, min(3, window - 1) + 1, increasing=True)
    derived = np.polynomial.polynomial.polyder(np.eye(powers.shape[1]), order)  # (degree, powers)
    weights = powers[:, : len(derived)] @ derived @ np.linalg.pinv(powers)
    first = np.clip(np.arange(frames) - window // 2, 0, frames - window)  # of each frame's window
    windows = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)[first]
    return np.einsum("t...w,tw->t...", windows, weights[np.arange(frames) - first])


def _angular(
    rotations: Float[ndarray, "T 3 3"], fps: float
) -> tuple[Float[ndarray, "T 3"], Float[ndarray, "T 3"]]:
    """Angular velocity and acceleration in the world, by smoothing the turned axes."""
    columns = rotations.reshape(len(rotations), 9)
    first = smoothed_derivative(columns, fps, 1).reshape(-1, 3, 3)
    cross = first @ rotations.swapaxes(-1, -2)
    cross = (cross - cross.swapaxes(-1, -2)) / 2
    omega = np.stack([cross[:, 2, 1], cross[:, 0, 2], cross[:, 1, 0]], axis=-1)
    return omega, smoothed_derivative(omega, fps, 1)
