"""Put one glb into another: what an object looks like, under the node that moves it."""

import copy
from typing import Any

from pygltflib import GLTF2

from hoijax.exporters.gltf_buffer import GltfBuffer

_TEXTURES_OF_SURFACE = ("baseColorTexture", "metallicRoughnessTexture")
_TEXTURES_OF_MATERIAL = ("normalTexture", "occlusionTexture", "emissiveTexture")


class EmbeddedGlb:
    """The tables of a self-contained glb, numbered on from those of a file that is being written."""

    def __init__(self, glb: bytes, buffer: GltfBuffer) -> None:
        self.gltf: Any = copy.deepcopy(GLTF2.load_from_bytes(glb))
        blob = self.gltf.binary_blob() or b""
        offset, views, accessors = len(buffer.blob), len(buffer.views), len(buffer.accessors)
        buffer.blob += blob + b"\0" * (-len(blob) % 4)
        for view in self.gltf.bufferViews:
            view.byteOffset = (view.byteOffset or 0) + offset
            view.buffer = 0
        for row in [*self.gltf.accessors, *self.gltf.images]:
            if row.bufferView is not None:
                row.bufferView += views
        buffer.views += self.gltf.bufferViews
        buffer.accessors += self.gltf.accessors
        for mesh in self.gltf.meshes:
            for primitive in mesh.primitives:
                if primitive.indices is not None:
                    primitive.indices += accessors
                for key, index in vars(primitive.attributes).items():
                    if isinstance(index, int):
                        setattr(primitive.attributes, key, index + accessors)

    def numbered_from(
        self, *, nodes: int, meshes: int, materials: int, textures: int, images: int, samplers: int
    ) -> Any:
        """The tables, with every index raised by the length of the table it goes behind."""
        gltf = self.gltf
        for texture in gltf.textures:
            texture.source = None if texture.source is None else texture.source + images
            texture.sampler = None if texture.sampler is None else texture.sampler + samplers
        for material in gltf.materials:
            surface = material.pbrMetallicRoughness
            slots = [getattr(surface, key, None) for key in _TEXTURES_OF_SURFACE]
            slots += [getattr(material, key, None) for key in _TEXTURES_OF_MATERIAL]
            for slot in slots:
                if slot is not None:
                    slot.index += textures
        for mesh in gltf.meshes:
            for primitive in mesh.primitives:
                if primitive.material is not None:
                    primitive.material += materials
        for node in gltf.nodes:
            node.children = [child + nodes for child in node.children or []]
            node.mesh = None if node.mesh is None else node.mesh + meshes
            node.camera = node.skin = None
        return gltf

    @property
    def roots(self) -> list[int]:
        return list(self.gltf.scenes[self.gltf.scene or 0].nodes)
