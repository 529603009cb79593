"""The clip again in MuJoCo: the object free under gravity, the skin driven as it was solved.

Gradients through rigid contact are no base to solve on; to ask a simulator whether a solved clip would
hold is another matter. Every half second of the clip the object is let go for up to two seconds. It
collides, as convex pieces, with the ground and with the skin that touches it at the start: up to MAX_PADS
pads on its surface, each carried along by its patch of skin through a spring, as flesh and arms give way,
and pressed by the force that it needs to bear in the support's sense. Gaps and depths of the start are
thereby forgiven, and what happens afterwards is not. Skin that comes later does not touch.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from hoijax.errors import UserError
from hoijax.geometry.transforms import GRAVITY
from hoijax.physics.decomposition import EXTRA, ConvexPieces, convex_pieces
from hoijax.physics.pads import Pads, place_pads
from hoijax.physics.rigid_motion import RigidMotion
from hoijax.physics.support import Support, SupportSettings
from hoijax.results.protocols.mesh_motion import MeshMotion

MAX_PADS = 24
PAD_RADIUS, PAD_MASS = 0.008, 0.05
PAD_STIFFNESS = 3000.0
"""N/m of a pad's spring; all pads of a hand together are as stiff as an arm that holds something."""
MAX_SPRING = 30.0
"""Newtons beyond which a pad's spring gives way: what hands are too deep inside of is not crushed."""
PAD_DAMPING = 2 * np.sqrt(PAD_STIFFNESS * PAD_MASS)
STEP = 0.002
LOST_DISTANCE, LOST_DEGREES = 0.10, 30.0
DRIFT_SECONDS = (0.5, 1.0, 2.0)
HELD_SECONDS = 1.0
START_EVERY = 0.5
LIFTED = 0.03
"""Metres above the ground of the object's lowest point above which it is carried."""


@dataclass(frozen=True)
class Replay:
    """What became of the object that was let go in the frames `starts`."""

    starts: Int[ndarray, "W"]
    carried: Bool[ndarray, "W"]
    """Off the ground and touched at the start."""
    held_seconds: Float[ndarray, "W"]
    """Until it was 10 cm or 30 degrees off; the window's length where it never was."""
    window_seconds: Float[ndarray, "W"]
    drift: Float[ndarray, "W D"]
    """Metres off after DRIFT_SECONDS; NaN beyond the clip's end."""
    slip: Float[ndarray, "W"]
    """Metres that pads slid over the object within HELD_SECONDS, their mean."""
    force: Float[ndarray, "W"]
    """Largest sum of the pads' pressing, object weights."""
    pieces: ConvexPieces

    @property
    def held(self) -> Bool[ndarray, "W"]:
        """Kept for a second, or to the end of the clip where that comes first."""
        return self.held_seconds >= np.minimum(HELD_SECONDS, self.window_seconds) - 1e-6


def replay(
    motion: MeshMotion, rigid: RigidMotion, support: Support, settings: SupportSettings
) -> Replay:
    """Let the object go every half second. Raises UserError where no simulator is installed.

    The last starts leave half a second or more of the clip.
    """
    try:
        import mujoco
    except ImportError as error:
        raise UserError(EXTRA) from error
    pieces = convex_pieces(motion.object_vertices[0], motion.object_faces)
    model = _model(mujoco, rigid, pieces, settings.friction)
    every = max(1, round(START_EVERY * motion.fps))
    last = motion.frame_count - 1 - round(START_EVERY * motion.fps)
    starts = np.arange(0, max(last, 0) + 1, every)
    rows = []
    for start in starts:
        end = min(motion.frame_count - 1, start + round(max(DRIFT_SECONDS) * motion.fps))
        frames = range(start, end + 1)
        pads = place_pads(motion, rigid, support, settings, pieces, frames, MAX_PADS)
        rows.append(_Window(mujoco, model, rigid, pads, motion.fps, int(start), int(end)).run())
    lowest = motion.object_vertices[starts][..., 1].min(axis=1)
    touched = np.array([(support.contacts[t].parts >= -1).any() for t in starts], bool)
    held, length, drift, slip, force = map(np.array, zip(*rows, strict=True))
    return Replay(starts, (lowest > LIFTED) & touched, held, length, drift, slip, force, pieces)


class _Window:
    """One simulation, from `start` to `end`."""

    def __init__(
        self,
        mujoco: Any,
        model: Any,
        rigid: RigidMotion,
        pads: Pads,
        fps: float,
        start: int,
        end: int,
    ) -> None:
        self.mujoco, self.model, self.rigid, self.pads, self.fps = mujoco, model, rigid, pads, fps
        self.start, self.frames = start, end - start
        self.data = mujoco.MjData(model)
        self.count = pads.targets.shape[1]
        self._begin()

    def _begin(self) -> None:
        from scipy.spatial.transform import Rotation

        rigid, start, data = self.rigid, self.start, self.data
        rotation = rigid.rotations[start]
        data.qpos[:3] = rigid.translations[start]
        data.qpos[3:7] = Rotation.from_matrix(rotation).as_quat(scalar_first=True)
        spin = rigid.velocities[start, 3:]
        lever = rotation @ rigid.center
        data.qvel[:3] = rigid.velocities[start, :3] - np.cross(spin, lever)
        data.qvel[3:6] = rotation.T @ spin
        self.pad_qpos = data.qpos[7:].reshape(MAX_PADS, 3)
        self.pad_qvel = data.qvel[6:].reshape(MAX_PADS, 3)
        self.pad_force = data.qfrc_applied[6:].reshape(MAX_PADS, 3)
        self.pad_qpos[:] = 100.0 + np.arange(MAX_PADS)[:, None]  # those without contact are away
        if self.count:
            self.pad_qpos[: self.count] = self.pads.targets[0]
            if self.frames:
                self.pad_qvel[: self.count] = (
                    self.pads.targets[1] - self.pads.targets[0]
                ) * self.fps

    def run(self) -> tuple[float, float, ndarray, float, float]:
        """(held seconds, window seconds, drift, slip, force)."""
        steps = round(1 / (self.fps * STEP))
        length = self.frames / self.fps
        held, drift = length, np.full(len(DRIFT_SECONDS), np.nan)
        slip = force = 0.0
        for frame in range(1, self.frames + 1):
            for step in range(steps):
                self._drive(frame - 1, (step + 1) / steps, steps)
                self.mujoco.mj_step(self.model, self.data)
            now = frame / self.fps
            distance, degrees = self._off(self.start + frame)
            if held == length and (distance > LOST_DISTANCE or degrees > LOST_DEGREES):
                held = min(now, length - 1e-5)
            reached = (np.abs(np.array(DRIFT_SECONDS) - now) <= 0.5 / self.fps) & np.isnan(drift)
            drift[reached] = distance
            force = max(force, self._pressing())
            if now <= HELD_SECONDS + 1e-6 and held == length:
                slip = self._slip()
        return held, length, drift, slip, force

    def _drive(self, before: int, part: float, steps: int) -> None:
        """Springs of the pads towards where the skin is, and what they press with."""
        if not self.count:
            return
        n, pads = self.count, self.pads
        step = pads.targets[before + 1] - pads.targets[before]
        target = pads.targets[before] + part * step
        press = (1 - part) * pads.forces[before] + part * pads.forces[before + 1]
        spring = PAD_STIFFNESS * (target - self.pad_qpos[:n])
        size = np.linalg.norm(spring, axis=-1, keepdims=True)
        self.pad_force[:n] = press + spring * np.minimum(1, MAX_SPRING / np.maximum(size, 1e-9))
        self.pad_force[:n] += PAD_DAMPING * step * self.fps  # the joints damp what is their own

    def _object(self) -> tuple[ndarray, ndarray]:
        from scipy.spatial.transform import Rotation

        turned = Rotation.from_quat(self.data.qpos[3:7], scalar_first=True).as_matrix()
        return turned, self.data.qpos[:3].copy()

    def _off(self, frame: int) -> tuple[float, float]:
        """Metres of the center of mass, and degrees, from where the clip has it."""
        rotation, translation = self._object()
        center = rotation @ self.rigid.center + translation
        cosine = (np.trace(rotation @ self.rigid.rotations[frame].T) - 1) / 2
        return float(np.linalg.norm(center - self.rigid.centers[frame])), float(
            np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        )

    def _slip(self) -> float:
        """Mean way of the pads over the object since the start, along its surface."""
        if not self.count:
            return 0.0
        rotation, translation = self._object()
        places = (self.pad_qpos[: self.count] - translation) @ rotation
        first = self.rigid
        start = (self.pads.targets[0] - first.translations[self.start]) @ first.rotations[
            self.start
        ]
        way = places - start
        normals = self.pads.normals
        return float(
            np.linalg.norm(way - (way * normals).sum(-1, keepdims=True) * normals, axis=-1).mean()
        )

    def _pressing(self) -> float:
        """Sum of normal forces between pads and object, in object weights."""
        total, wrench = 0.0, np.zeros(6)
        for i in range(self.data.ncon):
            if max(self.data.contact[i].geom) >= self.model.ngeom - MAX_PADS:
                self.mujoco.mj_contactForce(self.model, self.data, i, wrench)
                total += wrench[0]
        return total / self.rigid.weight


def _model(mujoco: Any, rigid: RigidMotion, pieces: ConvexPieces, friction: float) -> Any:
    """The object in its own frame, the ground y = 0, and pads that slide along world axes."""
    meshes, geoms = [], []
    for i, points in enumerate(pieces.pieces):
        meshes.append(f'<mesh name="piece{i}" vertex="{_text(points)}"/>')
        geoms.append(f'<geom type="mesh" mesh="piece{i}" mass="0" contype="1" conaffinity="6"/>')
    i = rigid.inertia
    inertia = _text([i[0, 0], i[1, 1], i[2, 2], i[0, 1], i[0, 2], i[1, 2]])
    slides = "".join(
        f'<joint type="slide" axis="{axis}" damping="{PAD_DAMPING:.9g}"/>'
        for axis in ("1 0 0", "0 1 0", "0 0 1")
    )
    pads = "".join(
        f'<body gravcomp="1">{slides}<geom type="sphere" size="{PAD_RADIUS}" mass="{PAD_MASS}" '
        'contype="4" conaffinity="0"/></body>'
        for _ in range(MAX_PADS)
    )
    return mujoco.MjModel.from_xml_string(f"""<mujoco>
<option timestep="{STEP}" gravity="{" ".join(map(str, GRAVITY))}" integrator="implicitfast" cone="elliptic" impratio="10"/>
<default><geom friction="{friction} 0.005 0.0001" solref="0.01 1"/></default>
<asset>{"".join(meshes)}</asset>
<worldbody>
<geom type="plane" size="0 0 1" zaxis="0 1 0" contype="2" conaffinity="0"/>
<body><freejoint/>
<inertial pos="{_text(rigid.center)}" mass="{rigid.mass:.9g}" fullinertia="{inertia}"/>
{"".join(geoms)}</body>
{pads}
</worldbody>
</mujoco>""")


def _text(values: Any) -> str:
    return " ".join(f"{float(value):.9g}" for value in np.asarray(values).reshape(-1))
