"""`BodyRecovery` of a mesh sequence of any body: ours fitted to its surface, frame by frame."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hoijax.bodies.fitting.mesh_fit import MeshFit, fit_to_mesh, surface_error, vertex_normals
from hoijax.geometry.transforms import compose_rigid
from hoijax.importers.body_meshes import BodyMeshes
from hoijax.progress import Log, counted, silent
from priors.models.body_fit import fit_body
from priors.models.body_recovery import UP_FROM, BodyRecoverer, SeenPerson
from priors.models.from_files import check_length, entries_of, file_id, part_id
from priors.protocols import BodyMotion

__all__ = ["FileMeshes"]

POINTS = 512
MIN_FRAMES = 3
"""That the fit to keypoints works on; fewer are repeated."""


class FileMeshes(BodyRecoverer):
    """One person's meshes in the camera. Keypoints and the side that the camera sees give the pose, then
    the whole surface pulls: betas and bones in the middle frame, the pose in all."""

    def __init__(self, meshes: BodyMeshes, body_name: str = "anny"):
        """body_name: "anny", or the path of the user's SMPL-X or SMPL-H file."""
        self.meshes, self.body_name = meshes, body_name
        self.model_id = file_id(meshes.source)
        self._log: Log = silent

    def measured_at(self, size: tuple[int, int], scale: float) -> None:
        """The file is of a larger clip (width, height), which is read at `scale` times its size."""
        camera = self.meshes.intrinsics
        self.meshes = dataclasses.replace(
            self.meshes, intrinsics=camera and camera.measured_at(size)
        )

    def of_frames(self, numbers: Int[ndarray, " T"], log: Log = silent) -> None:
        """Only some frames of the file's clip are read, of these numbers. UserError where they are not there."""
        meshes = self.meshes
        entries = entries_of("--body", meshes.source, len(meshes.vertices), numbers, log)
        camera = meshes.intrinsics and meshes.intrinsics.of_frames(entries)
        self.meshes = dataclasses.replace(
            meshes, vertices=meshes.vertices[entries], intrinsics=camera
        )
        self.model_id = part_id(self.model_id, entries)

    @property
    def intrinsics(self):
        """Of the file, where it has them."""
        return self.meshes.intrinsics

    def check_clip(self, frames: int, height: int, width: int, log: Log = silent) -> None:
        """UserError where the file is shorter than the clip."""
        self._log, (count, size) = log, self.meshes.vertices.shape[:2]
        axes = "OpenGL's (turned)" if self.meshes.flipped else "OpenCV's"
        log(
            f"--body {self.meshes.source}: {count} meshes of {size} vertices, in {axes} camera axes"
        )
        check_length("--body", self.meshes.source, count, frames, log)

    def _recover(self, seen: SeenPerson) -> BodyMotion:
        """The motion on our body; up is that of the ground in the maps, else of upright edges or a level camera."""
        keypoints, maps = seen.keypoints, seen.maps
        rotation = seen.ground.T_world_camera[:3, :3].astype(np.float64)
        self._log(f"body: up is that of {UP_FROM[seen.ground.source]}")
        count = len(keypoints)
        world = self.meshes.vertices[:count] @ rotation.T
        position = np.array([0.0, -np.percentile(world[..., 1].min(1), 5), 0.0])
        pose = compose_rigid(rotation, position)
        start = self._start(keypoints, maps.intrinsics, pose, float(seen.video.fps))
        return self._refined(world + position, start)

    def _start(self, keypoints, intrinsics, pose: ndarray, fps: float) -> BodyMotion:
        """The fit to keypoints and to points of the side that the camera sees."""
        chosen = np.minimum(np.arange(max(len(keypoints), MIN_FRAMES)), len(keypoints) - 1)
        rng, points = np.random.default_rng(0), []
        for frame in chosen:
            vertices = self.meshes.vertices[frame]
            seen = (vertex_normals(vertices, self.meshes.faces) * vertices).sum(-1) < 0
            points.append(vertices[rng.choice(np.flatnonzero(seen), POINTS)])
        motion = fit_body(
            np.asarray(keypoints, np.float32)[chosen],
            np.asarray(intrinsics, np.float32)[chosen],
            np.repeat(pose[None], len(chosen), axis=0),
            body=self._body,
            person_points=np.stack(points).astype(np.float32),
            person_point_mask=np.ones((len(chosen), POINTS), bool),
            fps=fps,
        )
        per_frame = ("rotations", "translations", "Ts_world_camera")
        cut = {name: getattr(motion, name)[: len(keypoints)] for name in per_frame}
        return dataclasses.replace(motion, **cut)

    def _refined(self, world: Float[ndarray, "T V 3"], start: BodyMotion) -> BodyMotion:
        """The start pulled onto the meshes."""
        faces, middle = self.meshes.faces, len(world) // 2

        def begun(frame: int, betas, rest) -> MeshFit:
            translation = start.rest_joints[0] + start.translations[frame] - rest[0]
            return MeshFit(betas, rest, start.rotations[frame], translation)

        person = begun(middle, start.betas, start.rest_joints)
        person = fit_to_mesh(self._body, world[middle], faces, person)
        fits = []
        for frame in range(len(world)):
            known = begun(frame, person.betas, person.rest_joints)
            if frame == middle:
                fits.append(person)
            else:
                fits.append(fit_to_mesh(self._body, world[frame], faces, known, shape=False))
            counted(self._log, "body", frame + 1, len(world))
        error = surface_error(self._body, person, world[middle])
        self._log(f"body: our surface is {1000 * error.mean():.1f} mm from the mesh in the mean")
        return BodyMotion(
            rotations=np.stack([fit.rotations for fit in fits]),
            translations=np.stack([fit.translation for fit in fits]),
            betas=person.betas,
            rest_joints=person.rest_joints,
            Ts_world_camera=start.Ts_world_camera,
        )
