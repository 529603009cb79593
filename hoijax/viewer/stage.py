"""A candidate and its observations as nodes of a viser scene; every frame only moves what is there."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from pygltflib import (
    GLTF2,
    Attributes,
    Buffer,
    Material,
    Mesh,
    Node,
    PbrMetallicRoughness,
    Primitive,
    Scene,
)
from scipy.spatial.transform import Rotation

from hoijax.exporters.clip import OBJECT_COLORS, PERSON_COLORS, face_part_runs, part_colors
from hoijax.exporters.gltf_buffer import GltfBuffer
from hoijax.exporters.influences import fitted_influences
from hoijax.results.observed import FoundBundle, camera_poses
from hoijax.results.result import Result
from hoijax.viewer.forces import ForceStage
from hoijax.viewer.images import camera_images, filled, points_world
from hoijax.viewer.motion import CandidateMotion, contact_patch

FRUSTUM = 0.25  # size of the camera in the scene
EDGE = 0.006  # metres: thickness of its edges
BEHIND = 1.0  # metres from the furthest thing to the image behind it
OBSERVED_POINTS = 512  # of an object or a person, drawn in a frame


def quaternion(rotation: Float[ndarray, "3 3"]) -> Float[ndarray, "4"]:
    """wxyz of a rotation matrix."""
    return Rotation.from_matrix(rotation).as_quat(scalar_first=True)


def srgb(linear) -> tuple[int, int, int]:
    """Bytes that a screen shows for linear RGB in [0, 1]."""
    r, g, b = (np.clip(np.asarray(linear), 0, 1) ** (1 / 2.2) * 255).astype(int).tolist()
    return r, g, b


class CandidateStage:
    """Bodies, objects and contact patches of one candidate below `/name`."""

    def __init__(self, scene: Any, name: str, motion: CandidateMotion) -> None:
        self.scene, self.motion = scene, motion
        self.frame = -1
        self.contacts_shown = True
        self.root = scene.add_frame(f"/{name}", show_axes=False)
        self.bodies = [self._add_body(name, p) for p in range(len(motion.clip.people))]
        self.objects = [self._add_object(name, o) for o in range(len(motion.clip.assets))]
        self.patches = [self._add_patch(name, t) for t in range(motion.clip.frame_count)]
        self.forces = ForceStage(scene, f"/{name}")

    def _add_body(self, name: str, index: int) -> Any:
        person = self.motion.clip.people[index]
        shaped = person.shaped
        rest = np.asarray(shaped.joints_rest)
        weights = np.zeros((len(shaped.vertices_rest), len(rest)), np.float32)
        # viser's client takes four joints a vertex, as browsers do: better ours than its choice.
        joints, shares = fitted_influences(person)
        np.add.at(weights, (np.arange(len(weights))[:, None], joints), shares)
        return self.scene.add_mesh_skinned(
            f"/{name}/person_{index + 1}",
            np.asarray(shaped.vertices_rest),
            np.asarray(shaped.faces),
            bone_wxyzs=np.tile([1.0, 0.0, 0.0, 0.0], (len(rest), 1)),
            bone_positions=rest,
            skin_weights=weights,
            color=srgb(PERSON_COLORS[index % len(PERSON_COLORS)]),
        )

    def _add_object(self, name: str, index: int) -> Any:
        """A frame that moves; below it what the file shows, or a mesh for every part in a shade of its own."""
        asset = self.motion.clip.assets[index]
        path = f"/{name}/objects/{index + 1}_{asset.name}"
        frame = self.scene.add_frame(path, show_axes=False)
        if asset.appearance is not None:
            self.scene.add_glb(f"{path}/appearance", glb_data=asset.appearance)
            return frame
        colors = part_colors(asset, index)
        for part in face_part_runs(asset.face_parts):
            faces = asset.faces[asset.face_parts == part]
            used, corners = np.unique(faces, return_inverse=True)
            self.scene.add_mesh_simple(
                f"{path}/{asset.part_names[part] if part >= 0 else 'rest'}",
                asset.vertices[used],
                corners.reshape(-1, 3),
                color=srgb(colors[part]),
                flat_shading=True,
                side="double",
            )
        return frame

    def _add_patch(self, name: str, frame: int) -> Any:
        """The skin near objects in one frame, or None where there is none."""
        parts = [
            contact_patch(
                person.vertices_world[frame],
                np.asarray(person.shaped.faces),
                self.motion.distances[p, frame],
            )
            for p, person in enumerate(self.motion.clip.people)
        ]
        starts = np.cumsum([0, *(len(vertices) for vertices, _, _ in parts[:-1])])
        vertices, faces, colors = (np.concatenate(column) for column in zip(*parts, strict=True))
        if not len(faces):
            return None
        offsets = np.concatenate(
            [
                np.full(len(part_faces), s, np.int32)
                for (_, part_faces, _), s in zip(parts, starts, strict=True)
            ]
        )
        return self.scene.add_glb(
            f"/{name}/contact/{frame:04d}",
            glb_data=colored_glb(vertices, faces + offsets[:, None], colors),
            visible=False,
            cast_shadow=False,
        )

    def change(self, motion: CandidateMotion) -> None:
        """Take another motion of the same people and objects."""
        for patch in self.patches:
            if patch is not None:
                patch.remove()
        self.motion, self.frame = motion, -1
        name = self.root.name.strip("/")
        self.patches = [self._add_patch(name, t) for t in range(motion.clip.frame_count)]

    def show(self, frame: int) -> None:
        """Move everything to a frame."""
        motion = self.motion
        for p, body in enumerate(self.bodies):
            for j, bone in enumerate(body.bones):
                bone.wxyz = motion.bone_wxyzs[p, frame, j]
                bone.position = motion.bone_positions[p, frame, j]
        for o, node in enumerate(self.objects):
            T = motion.clip.Ts_world_object[o, frame]
            node.wxyz, node.position = quaternion(T[:3, :3]), T[:3, 3]
        self._show_patch(self.frame, False)
        self._show_patch(frame, self.contacts_shown)
        self.frame = frame

    def show_contacts(self, shown: bool) -> None:
        self.contacts_shown = shown
        self._show_patch(self.frame, shown)

    def _show_patch(self, frame: int, shown: bool) -> None:
        if frame >= 0 and self.patches[frame] is not None:
            patch = self.patches[frame]
            if patch.visible != shown:
                patch.visible = shown

    def set_opacity(self, opacity: float | None) -> None:
        """See-through people; None is opaque."""
        for body in self.bodies:
            body.opacity = opacity

    def place(self, x: float, visible: bool) -> None:
        """Shift the whole candidate sideways by `x` metres; show or hide it."""
        self.root.position = (x, 0.0, 0.0)
        self.root.visible = visible


class ObservedStage:
    """What the solver was given: colored points, and the camera with its image."""

    def __init__(self, scene: Any, result: Result, observed: FoundBundle) -> None:
        o = observed.bundle.observations
        Ts = result.Ts_world_pointmap
        self.clouds = []
        groups = [
            ("person", o.person_points, o.person_point_mask, PERSON_COLORS),
            ("object", o.object_points, o.object_point_mask, OBJECT_COLORS),
        ]
        self.root = scene.add_frame("/observed", show_axes=False, visible=False)
        for kind, points, mask, colors in groups:
            world = points_world(points, Ts)
            for i in range(len(world)):
                cloud = np.stack(
                    [filled(p, m, OBSERVED_POINTS) for p, m in zip(world[i], mask[i], strict=True)]
                )
                node = scene.add_point_cloud(
                    f"/observed/{kind}_{i + 1}",
                    cloud[0],
                    srgb(np.array(colors[i % len(colors)]) * 0.6),
                    point_size=0.012,
                    point_shape="circle",
                    precision="float32",
                )
                self.clouds.append((node, cloud))
        self.images, self.picture_kind = camera_images(observed)
        self.rotations, self.positions = camera_poses(Ts)
        height, width = o.image_size
        self.aspect, focal = width / height, o.intrinsics[:, 1, 1]
        self.fovs = (2 * np.arctan(height / 2 / focal)).tolist()
        self.camera = scene.add_camera_frustum(
            "/camera",
            self.fovs[0],
            self.aspect,
            scale=FRUSTUM,
            thickness=EDGE,
            image=self.images[0],
            format="jpeg",
            visible=False,
            cast_shadow=False,
        )

    def show(self, frame: int) -> None:
        for node, cloud in self.clouds:
            node.points = cloud[frame]
        self.camera.image = self.images[frame]
        self.camera.fov = self.fovs[frame]
        self.camera.wxyz = quaternion(self.rotations[frame])
        self.camera.position = self.positions[frame]

    def picture_behind(self, motion: CandidateMotion) -> float:
        """Size of the camera's frustum whose image lies behind everything: from the camera's own place
        the scene then stands in the image, exactly."""
        eye, forward = self.positions[:, None], self.rotations[:, :, 2]
        clip = motion.clip
        places = [person.vertices_world[:, ::50] for person in clip.people]
        places += [clip.Ts_world_object[o][:, None, :3, 3] for o in range(len(clip.assets))]
        depths = [np.einsum("tni,ti->tn", points - eye, forward).max() for points in places]
        half = np.tan(self.fovs[0] / 2)
        # viser's frustum has the volume of a unit one: see CameraFrustum in its client
        return float((max(depths) + BEHIND) * np.cbrt(half * half * self.aspect / 3.0))

    def pose(self, frame: int) -> tuple[ndarray, ndarray, float]:
        """(wxyz, position, vertical field of view) of the camera."""
        return quaternion(self.rotations[frame]), self.positions[frame], self.fovs[frame]


def dress_scene(server: Any, motion: CandidateMotion) -> None:
    """Axes, ground, lights, and a camera from which the hands are seen."""
    from hoijax.exporters.video import choose_camera
    from hoijax.geometry.camera import PinholeCamera

    scene = server.scene
    scene.set_up_direction("+y")
    scene.world_axes.visible = False
    scene.add_grid("/ground", width=8.0, height=8.0, plane="xz", cell_size=0.5, section_size=1.0)
    camera, T_world_camera = choose_camera(motion.clip, 960, 720)
    assert isinstance(camera, PinholeCamera)
    eye, forward = T_world_camera[:3, 3], T_world_camera[:3, 2]
    middle = np.mean([p.vertices_world.mean(axis=(0, 1)) for p in motion.clip.people], axis=0)
    reach = float(np.dot(middle - eye, forward))
    server.initial_camera.position = tuple(eye.tolist())
    server.initial_camera.look_at = tuple((eye + reach * forward).tolist())
    server.initial_camera.fov = 0.8


def colored_glb(
    vertices: Float[ndarray, "n 3"], faces: Int[ndarray, "f 3"], colors: UInt8[ndarray, "n 3"]
) -> bytes:
    """A GLB of one matt mesh with a color for every vertex (sRGB in, linear stored as glTF asks)."""
    buffer = GltfBuffer()
    linear = ((colors / 255.0) ** 2.2 * 255).astype(np.uint8)
    opaque = np.concatenate([linear, np.full((len(linear), 1), 255, np.uint8)], axis=1)
    primitive = Primitive(
        attributes=Attributes(
            POSITION=buffer.add_vertices(vertices.astype(np.float32), bounds=True),
            COLOR_0=buffer.add_vertices(opaque),
        ),
        indices=buffer.add_indices(faces),
        material=0,
    )
    gltf = GLTF2(
        scene=0,
        scenes=[Scene(nodes=[0])],
        nodes=[Node(mesh=0)],
        meshes=[Mesh(primitives=[primitive])],
        materials=[
            Material(
                pbrMetallicRoughness=PbrMetallicRoughness(metallicFactor=0.0, roughnessFactor=1.0),
                emissiveFactor=[0.0, 0.0, 0.0],
                doubleSided=True,
            )
        ],
        accessors=buffer.accessors,
        bufferViews=buffer.views,
        buffers=[Buffer(byteLength=len(buffer.blob))],
    )
    gltf.accessors[primitive.attributes.COLOR_0].normalized = True  # pyright: ignore[reportArgumentType, reportCallIssue]
    gltf.set_binary_blob(bytes(buffer.blob))
    return b"".join(gltf.save_to_bytes())
