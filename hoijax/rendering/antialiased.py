"""Images by one camera that stands still, with four rays a pixel only where surfaces meet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8
from numpy import ndarray

from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.rows import dot
from hoijax.rendering.rasterize import pixels_of_blocks, rasterize
from hoijax.rendering.raycast import CastImage, RayScene, RenderMesh
from hoijax.rendering.shading import Backdrop, make_backdrop, shade, shade_and_light

SAME_FACE = 0.9
"""Cosine between normals of neighboring pixels under which an edge is between them."""
SAME_DEPTH = 0.03
"""Part of the depth that neighboring pixels of one surface may differ by."""


@dataclass(frozen=True)
class StillView:
    """A camera, the same with twice the pixels along each side, and what both see without meshes."""

    camera: PinholeCamera
    fine: PinholeCamera
    T_world_camera: Float[ndarray, "4 4"]
    backdrop: Backdrop
    fine_backdrop: Backdrop

    @classmethod
    def of(cls, camera: PinholeCamera, T_world_camera: Float[ndarray, "4 4"]) -> "StillView":
        """The ground's tiles are averaged over the finer pixels."""
        fx, fy, cx, cy = (2 * x for x in (camera.fx, camera.fy, camera.cx, camera.cy))
        fine = PinholeCamera(fx, fy, cx, cy, 2 * camera.width, 2 * camera.height)
        backdrop = make_backdrop(camera, T_world_camera)
        fine_backdrop = make_backdrop(fine, T_world_camera)
        averaged = {
            name: _halved(getattr(fine_backdrop, name), fine).astype(getattr(backdrop, name).dtype)
            for name in ("color", "image", "ground_color")
        }
        backdrop = replace(backdrop, **averaged)
        return cls(camera, fine, T_world_camera, backdrop, fine_backdrop)

    def draw(
        self, meshes: Sequence[RenderMesh], casters: Sequence[RenderMesh]
    ) -> UInt8[ndarray, "H W 3"]:
        """A shaded image. casters: coarse meshes, for shadows."""
        scene = RayScene(meshes)
        seen = rasterize(scene, self.camera, self.T_world_camera)
        image, lit = shade_and_light(seen, self.backdrop, casters=RayScene(casters))
        edges = surface_edges(seen)
        quarters = pixels_of_blocks(np.flatnonzero(edges), self.fine)
        chosen = np.sort(quarters, axis=None)
        finer = rasterize(scene, self.fine, self.T_world_camera, edges)
        smooth = shade(finer, self.fine_backdrop, chosen, _doubled(lit)).reshape(-1, 3)
        total = smooth.take(quarters, axis=0).sum(axis=0, dtype=np.uint16)
        image[edges] = total // 4
        return image


def surface_edges(seen: CastImage) -> Bool[ndarray, "H W"]:
    """Pixels on either side of a change of mesh, of a step in depth or of a bend."""
    everywhere = np.zeros(seen.depth.shape, bool)
    window = _around(seen)
    edges, depths = everywhere[window], seen.depth[window]
    ids, normals = seen.instance_ids[window], seen.normals_world[window]
    for axis in (0, 1):
        here, there = ((slice(None),) * axis + (part,) for part in (slice(-1), slice(1, None)))
        depth, other = depths[here], depths[there]
        differ = ids[here] != ids[there]
        differ |= np.abs(depth - other) > SAME_DEPTH * np.maximum(depth, other)
        differ |= (dot(normals[here], normals[there]) < SAME_FACE) & (depth > 0)
        edges[here] |= differ
        edges[there] |= differ
    return everywhere


def _around(seen: CastImage) -> tuple[slice, slice]:
    """Rows and columns of all that is seen, and one more to each side."""
    if not len(seen.pixels):
        return slice(0), slice(0)
    places = np.divmod(seen.pixels, seen.camera.width)
    rows, columns = (slice(max(x.min() - 1, 0), x.max() + 2) for x in places)
    return rows, columns


def _doubled(values: ndarray) -> ndarray:
    return values.repeat(2, axis=0).repeat(2, axis=1)


def _halved(values: Shaped[ndarray, "N 3"], fine: PinholeCamera) -> Float[ndarray, "n 3"]:
    blocks = np.asarray(values, np.float32).reshape(fine.height // 2, 2, fine.width // 2, 2, 3)
    total = blocks[:, 0, :, 0] + blocks[:, 0, :, 1] + blocks[:, 1, :, 0] + blocks[:, 1, :, 1]
    return total.reshape(-1, 3) / np.float32(4)
