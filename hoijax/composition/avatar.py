"""The canonical avatar: shape, vertex offsets and colors distilled in a standing pose, on a mesh."""

from collections.abc import Callable
from dataclasses import dataclass

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hoijax.bodies.pose_prior import canonical_pose
from hoijax.bodies.skinned_body import ShapedBody, SkinnedBody
from hoijax.composition.field_stages import MeshLayer
from hoijax.composition.fields.guidance import ViewCameras
from hoijax.composition.settings import ComposeSettings
from hoijax.rendering.soft_raster import SurfaceSamples, render, sample_mesh

__all__ = ["AvatarRender", "AvatarSurface", "Look", "avatar_surface", "mesh_layer"]

OFFSET_UNIT, COLOR_UNIT, BETA_UNIT = 0.01, 8.0, 5.0
"""Metres, logits, standard deviations of one unit of an unknown: Adam moves all at the same rate."""
OFFSET_WEIGHT, SMOOTH_WEIGHT, BETA_WEIGHT, COLOR_SMOOTH = 1e-3, 3e-2, 2e-2, 2e-3
BETA_COUNT = 10


@flax.struct.dataclass
class Look:
    """Unknowns Theta = (beta, D, C) of an avatar, and the background of its images."""

    betas_unit: Float[Array, " B"]
    offsets_unit: Float[Array, "V 3"]
    colors_unit: Float[Array, "V 3"]
    background: Float[Array, " 3"]

    @property
    def betas(self) -> Float[Array, " B"]:
        """Shape parameters."""
        return BETA_UNIT * self.betas_unit

    @property
    def offsets(self) -> Float[Array, "V 3"]:
        """Metres, in the rest pose."""
        return OFFSET_UNIT * self.offsets_unit

    @property
    def colors(self) -> Float[Array, "V 3"]:
        """Linear RGB."""
        return jax.nn.sigmoid(COLOR_UNIT * self.colors_unit)

    @classmethod
    def plain(cls, vertices: int, betas: int = BETA_COUNT) -> "Look":
        """The mean body, grey."""
        return cls(
            jnp.zeros(betas), jnp.zeros((vertices, 3)), jnp.zeros((vertices, 3)), jnp.full(3, 0.22)
        )


@dataclass(frozen=True)
class AvatarSurface:
    """What is drawn of a body: samples of its mesh, the edges that keep it smooth."""

    body: SkinnedBody
    samples: SurfaceSamples
    edges: Int[np.ndarray, "E 2"]

    def person(self, look: Look) -> ShapedBody:
        """The shaped body with the avatar's offsets."""
        shaped = self.body.shape(look.betas)
        return shaped.replace(vertices_rest=shaped.vertices_rest + look.offsets)  # pyright: ignore


def avatar_surface(body: SkinnedBody, pixel: float) -> AvatarSurface:
    """Samples half a pixel apart (pixel: metres that one covers)."""
    template, faces = np.asarray(body.template), np.asarray(body.faces)
    samples = sample_mesh(template, faces, np.zeros((len(faces), 3), np.float32), 0.5 * pixel)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0).astype(np.int32)
    return AvatarSurface(body, samples, edges)


def standing_vertices(person: ShapedBody) -> Float[Array, "V 3"]:
    """Skin in the canonical pose, the lowest point on the ground, the pelvis over the origin."""
    posed = jnp.asarray(person.pose(jnp.asarray(canonical_pose()), jnp.zeros(3)).vertices_world)
    pelvis = person.joints_rest[0]
    shift = jnp.stack([-pelvis[0], -jnp.min(posed[:, 1]), -pelvis[2]])
    return posed + shift


def painted(surface: AvatarSurface, colors: Float[Array, "V 3"]) -> SurfaceSamples:
    """The samples with the vertices' colors."""
    mixed = jnp.sum(
        colors[jnp.asarray(surface.samples.corners)]
        * jnp.asarray(surface.samples.barycentric)[..., None],
        axis=1,
    )
    return surface.samples.replace(features=mixed)  # pyright: ignore[reportAttributeAccessIssue]


def AvatarRender(surface: AvatarSurface, settings: ComposeSettings) -> Callable:
    """`hoijax.composition.fields.distillation.Render` of the standing avatar; no constants."""
    size = (settings.size, settings.size)
    edges = surface.edges

    def draw(params: Look, constants, intrinsics, Ts_world_camera, key):
        vertices = standing_vertices(surface.person(params))
        samples = painted(surface, params.colors)
        behind = jax.nn.sigmoid(COLOR_UNIT * params.background)
        images = jnp.stack(
            [
                render(samples, vertices, intrinsics[i], Ts_world_camera[i], size).over(behind)
                for i in range(intrinsics.shape[0])
            ]
        )
        bent = params.offsets_unit[edges[:, 0]] - params.offsets_unit[edges[:, 1]]
        faded = params.colors_unit[edges[:, 0]] - params.colors_unit[edges[:, 1]]
        price = (
            OFFSET_WEIGHT * jnp.sum(params.offsets_unit**2)
            + SMOOTH_WEIGHT * jnp.sum(bent**2)
            + BETA_WEIGHT * jnp.sum(params.betas**2)
            + COLOR_SMOOTH * jnp.sum((COLOR_UNIT * faded) ** 2)
        )
        return images, price, {"offset": jnp.mean(jnp.abs(params.offsets))}

    return draw


def mesh_layer(
    samples: SurfaceSamples,
    vertices_world: Float[Array, "V 3"],
    cameras: ViewCameras,
    size: tuple[int, int],
) -> MeshLayer:
    """A posed, painted mesh as a layer for `compose_fields.FieldRender`."""
    views = [
        _layer_of(samples, vertices_world, jnp.asarray(K), jnp.asarray(T), size)
        for K, T in zip(cameras.intrinsics, cameras.Ts_world_camera, strict=True)
    ]
    return jax.tree.map(lambda *x: jnp.stack(x), *views)


def _layer(samples, vertices_world, intrinsics, T_world_camera, size) -> MeshLayer:
    drawn = render(samples, vertices_world, intrinsics, T_world_camera, size)
    v, u = jnp.meshgrid(
        jnp.arange(size[0], dtype=jnp.float32) + 0.5,
        jnp.arange(size[1], dtype=jnp.float32) + 0.5,
        indexing="ij",
    )
    x = (u - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (v - intrinsics[1, 2]) / intrinsics[1, 1]
    along = drawn.depth * jnp.sqrt(1.0 + x**2 + y**2)
    return MeshLayer(
        color=drawn.features.reshape(-1, 3),
        coverage=drawn.coverage.reshape(-1),
        distance=along.reshape(-1),
    )


_layer_of = jax.jit(_layer, static_argnames=("size",))
