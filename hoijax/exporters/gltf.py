"""An animated GLB: every person as a skinned mesh on the SMPL-X skeleton, every object as a node.

glTF has hoijax's own axes and units: right-handed, y up, metres; quaternions are xyzw there. Linear
blend skinning only: pose correctives (SMPL-X) have no place in glTF and are left out.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from pygltflib import (
    GLTF2,
    Animation,
    AnimationChannel,
    AnimationChannelTarget,
    AnimationSampler,
    Asset,
    Attributes,
    Buffer,
    Image,
    Material,
    Mesh,
    Node,
    PbrMetallicRoughness,
    Primitive,
    Sampler,
    Scene,
    Skin,
    Texture,
)
from scipy.spatial.transform import Rotation

from hoijax.bodies.skinned_body import JOINT_NAMES, JOINT_PARENTS
from hoijax.exporters.clip import PERSON_COLORS, Clip, PersonClip, face_part_runs, part_colors
from hoijax.exporters.gltf_buffer import GltfBuffer
from hoijax.exporters.gltf_embed import EmbeddedGlb
from hoijax.exporters.influences import fitted_influences
from hoijax.objects.articulated.joints import joint_rows
from hoijax.objects.asset import Asset as ObjectAsset
from hoijax.rendering.raycast import corner_normals

STILL = 1e-6  # radians or metres; what moves less gets no animation channel


def save_glb(path: str | Path, clip: Clip) -> Path:
    """Write a clip as one GLB with one animation, which plays at the clip's frame rate."""
    writer = _Writer(clip)
    for index, person in enumerate(clip.people):
        writer.add_person(person, index)
    for index in range(len(clip.assets)):
        writer.add_object(index)
    path = Path(path)
    path.write_bytes(b"".join(writer.finish().save_to_bytes()))
    return path


class _Writer:
    """Builds the tables of a glTF file, in the order people, objects."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.buffer = GltfBuffer()
        self.nodes: list[Node] = []
        self.roots: list[int] = []
        self.meshes: list[Mesh] = []
        self.skins: list[Skin] = []
        self.materials: list[Material] = []
        self.textures: list[Texture] = []
        self.images: list[Image] = []
        self.samplers: list[Sampler] = []
        self.animation = Animation(name="interaction", channels=[], samplers=[])
        seconds = np.arange(clip.frame_count, dtype=np.float32) / np.float32(clip.fps)
        self.times = self.buffer.add_values(seconds, bounds=True)

    def add_person(self, person: PersonClip, index: int) -> None:
        """A mesh node and beside it the skeleton; the skin alone moves the mesh.

        The skeleton hangs on a node of its own: readers that make one armature of all joints with a common
        parent (Blender) keep people apart.
        """
        shaped = person.shaped
        rest = np.asarray(shaped.joints_rest, np.float32)
        first = len(self.nodes)
        parents = np.array(JOINT_PARENTS)
        for joint, name in enumerate(JOINT_NAMES):
            parent = rest[parents[joint]] if joint else np.zeros(3, np.float32)
            children = [first + int(c) for c in np.flatnonzero(parents == joint)]
            offset = (rest[joint] - parent).tolist()
            self.nodes.append(
                Node(name=f"person_{index + 1}_{name}", translation=offset, children=children)
            )
        inverse_bind = np.tile(np.eye(4, dtype=np.float32), (len(rest), 1, 1))
        inverse_bind[:, :3, 3] = -rest
        self.skins.append(
            Skin(
                name=f"person_{index + 1}",
                inverseBindMatrices=self.buffer.add_values(
                    inverse_bind.swapaxes(1, 2).reshape(-1, 16)
                ),
                skeleton=first,
                joints=list(range(first, first + len(rest))),
            )
        )
        self.nodes.append(
            Node(
                name=f"person_{index + 1}",
                mesh=self._add_body_mesh(person, index),
                skin=len(self.skins) - 1,
            )
        )
        self.nodes.append(Node(name=f"person_{index + 1}_skeleton", children=[first]))
        self.roots += [len(self.nodes) - 1, len(self.nodes) - 2]
        for joint in range(len(rest)):
            self._rotate(first + joint, person.joint_rotations[:, joint])
        self._move(first, rest[0] + person.translations)

    def add_object(self, index: int) -> None:
        """A node that carries the object as its file shows it, else a mesh of one primitive per part."""
        asset = self.clip.assets[index]
        if asset.appearance is None:
            self.meshes.append(self._part_mesh(asset, index))
            node = Node(name=asset.name, mesh=len(self.meshes) - 1)
        else:
            node = Node(name=asset.name, children=self._embed(asset.appearance))
        node.extras = self._joint_extras(index)
        self.nodes.append(node)
        self.roots.append(len(self.nodes) - 1)
        poses = self.clip.Ts_world_object[index].astype(np.float64)
        self._rotate(len(self.nodes) - 1, Rotation.from_matrix(poses[:, :3, :3]).as_rotvec())
        self._move(len(self.nodes) - 1, poses[:, :3, 3])

    def _part_mesh(self, asset: ObjectAsset, index: int) -> Mesh:
        normals = corner_normals(asset.vertices, asset.faces)
        colors = part_colors(asset, index)
        primitives = []
        for part in face_part_runs(asset.face_parts):
            name = asset.name if part < 0 else f"{asset.name}_{asset.part_names[part]}"
            chosen = asset.face_parts == part
            vertices, vertex_normals, faces = _split_hard_edges(
                asset.vertices[asset.faces[chosen]], normals[chosen]
            )
            attributes = Attributes(
                POSITION=self.buffer.add_vertices(vertices, bounds=True),
                NORMAL=self.buffer.add_vertices(vertex_normals),
            )
            primitives.append(self._primitive(attributes, faces, name, colors[part]))
        return Mesh(name=asset.name, primitives=primitives)

    def _embed(self, appearance: bytes) -> list[int]:
        """The meshes and materials of another glb; indices of its root nodes."""
        first = len(self.nodes)
        embedded = EmbeddedGlb(appearance, self.buffer)
        tables = ("nodes", "meshes", "materials", "textures", "images", "samplers")
        gltf = embedded.numbered_from(**{key: len(getattr(self, key)) for key in tables})
        for key in tables:
            getattr(self, key).extend(getattr(gltf, key))
        return [first + root for root in embedded.roots]

    def _joint_extras(self, index: int) -> dict:
        """The joint that an object hangs on, with its value in every frame; empty for free objects."""
        clip = self.clip
        for d, joint in enumerate(clip.joints):
            if joint.child == index and clip.joint_values is not None:
                values = [round(float(value), 6) for value in clip.joint_values[d]]
                return {"joint": {**joint_rows([joint], clip.assets)[0], "values": values}}
        return {}

    def finish(self) -> GLTF2:
        """The file, with its buffer."""
        gltf = GLTF2(
            asset=Asset(version="2.0", generator="hoijax"),
            scene=0,
            scenes=[Scene(name="interaction", nodes=self.roots)],
            nodes=self.nodes,
            meshes=self.meshes,
            skins=self.skins,
            materials=self.materials,
            textures=self.textures,
            images=self.images,
            samplers=self.samplers,
            accessors=self.buffer.accessors,
            bufferViews=self.buffer.views,
            buffers=[Buffer(byteLength=len(self.buffer.blob))],
            animations=[self.animation] if self.animation.channels else [],
        )
        gltf.set_binary_blob(bytes(self.buffer.blob))
        return gltf

    def _add_body_mesh(self, person: PersonClip, index: int) -> int:
        shaped = person.shaped
        vertices = np.asarray(shaped.vertices_rest, np.float32)
        joints, weights = fitted_influences(person)
        faces = np.asarray(shaped.faces)
        attributes = Attributes(
            POSITION=self.buffer.add_vertices(vertices, bounds=True),
            NORMAL=self.buffer.add_vertices(_vertex_normals(vertices, faces)),
            JOINTS_0=self.buffer.add_vertices(joints.astype(np.uint8)),
            WEIGHTS_0=self.buffer.add_vertices(weights),
        )
        color = np.array(PERSON_COLORS[index % len(PERSON_COLORS)], np.float32)
        name = f"person_{index + 1}"
        self.meshes.append(
            Mesh(name=name, primitives=[self._primitive(attributes, faces, name, color)])
        )
        return len(self.meshes) - 1

    def _primitive(
        self, attributes: Attributes, faces: ndarray, name: str, color: ndarray
    ) -> Primitive:
        surface = PbrMetallicRoughness(
            baseColorFactor=[*color.tolist(), 1.0], metallicFactor=0.0, roughnessFactor=0.75
        )
        self.materials.append(Material(name=name, pbrMetallicRoughness=surface, doubleSided=True))
        return Primitive(
            attributes=attributes,
            indices=self.buffer.add_indices(faces),
            material=len(self.materials) - 1,
        )

    def _rotate(self, node: int, axis_angles: Float[ndarray, "T 3"]) -> None:
        """Rotation of a node over the clip; where it never moves, once and for all."""
        if np.abs(axis_angles - axis_angles[0]).max() < STILL:
            if np.abs(axis_angles[0]).max() > STILL:
                self.nodes[node].rotation = Rotation.from_rotvec(axis_angles[0]).as_quat().tolist()
            return
        quaternions = Rotation.from_rotvec(axis_angles).as_quat()
        dots = (quaternions[1:] * quaternions[:-1]).sum(-1)
        signs = np.cumprod(np.where(dots < 0, -1.0, 1.0))  # else a player turns the long way round
        quaternions[1:] *= signs[:, None]
        self._animate(node, "rotation", quaternions)

    def _move(self, node: int, positions: Float[ndarray, "T 3"]) -> None:
        self.nodes[node].translation = np.asarray(positions[0], np.float32).tolist()
        if np.abs(positions - positions[0]).max() >= STILL:
            self._animate(node, "translation", positions)

    def _animate(self, node: int, path: str, values: ndarray) -> None:
        output = self.buffer.add_values(values.astype(np.float32))
        samplers = self.animation.samplers
        samplers.append(AnimationSampler(input=self.times, output=output, interpolation="LINEAR"))
        target = AnimationChannelTarget(node=node, path=path)
        self.animation.channels.append(AnimationChannel(sampler=len(samplers) - 1, target=target))


def _vertex_normals(vertices: ndarray, faces: ndarray) -> Float[ndarray, "V 3"]:
    corners = vertices[faces]
    area_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    spread = np.repeat(area_normals, 3, axis=0)
    sums = np.stack(
        [np.bincount(faces.ravel(), spread[:, i], len(vertices)) for i in range(3)], axis=-1
    )
    length = np.linalg.norm(sums, axis=-1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0])  # a vertex of no face still needs a unit normal
    return np.where(length > 1e-12, sums / np.maximum(length, 1e-12), up).astype(np.float32)


def _split_hard_edges(
    corners: Float[ndarray, "F 3 3"], normals: Float[ndarray, "F 3 3"]
) -> tuple[ndarray, ndarray, ndarray]:
    """(vertices, normals, faces): corners merged where position and normal agree."""
    table = np.concatenate([corners, normals], axis=-1).reshape(-1, 6).astype(np.float32)
    _, first, inverse = np.unique(
        np.round(table, 5), axis=0, return_index=True, return_inverse=True
    )
    merged = table[first]
    return merged[:, :3].copy(), merged[:, 3:].copy(), inverse.reshape(-1, 3)
