"""Small images of some frames, and the coarse meshes that are rendered to be like them."""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hoijax.rendering.soft_raster import RenderedImage, SurfaceSamples, render

__all__ = ["ObservedImages", "render_images", "rendered_vertices"]


@flax.struct.dataclass
class ObservedImages:
    """Small images of some frames, and the coarse meshes that are rendered to be like them.

    Channels: one per instance (people, then objects) that is 1 where it is seen, then the colors red,
    green, blue in 0 to 1, where there is a video.
    """

    samples: SurfaceSamples
    """On the rendered vertices: of all people, one after the other, then of all objects."""
    object_vertices: Float[Array, "n 3"]
    """Centerd frame of their object."""
    vertex_object: Int[Array, " n"]
    chosen: Int[Array, " F"]
    """Frames of the clip that have an image."""
    Ts_world_camera: Float[Array, "F 4 4"]
    intrinsics: Float[Array, "F 3 3"]
    """In pixels of the small images."""
    target: Float[Array, "F h w C"]
    channel_weights: Float[Array, "F C"]
    """0 where an instance was missed in a frame."""
    depth: Float[Array, "F h w"]
    """Mean depth of the observed points in a pixel, metres."""
    depth_mask: Bool[Array, "F h w"]
    skin_count: int = flax.struct.field(pytree_node=False)
    """Rendered vertices of a person: the last ones of `MovingBodies.people`."""


def rendered_vertices(
    images: ObservedImages,
    skin_world: Float[Array, "P T s 3"],
    object_rotations: Float[Array, "O T 3 3"],
    object_translations: Float[Array, "O T 3"],
) -> Float[Array, "F v 3"]:
    """World vertices of the coarse meshes in the chosen frames: people, then objects."""
    rotation = object_rotations[:, images.chosen][images.vertex_object]
    turned = jnp.sum(rotation * images.object_vertices[:, None, None, :], axis=-1)
    objects = turned + object_translations[:, images.chosen][images.vertex_object]
    people = jnp.moveaxis(skin_world[:, images.chosen], 1, 0)
    people = people.reshape(people.shape[0], -1, 3)
    return jnp.concatenate([people, jnp.swapaxes(objects, 0, 1)], axis=1)


def render_images(images: ObservedImages, vertices: Float[Array, "F v 3"]) -> RenderedImage:
    """The posed scene in every chosen frame's small image."""
    height, width = images.depth.shape[1:]
    return jax.vmap(lambda v, k, T: render(images.samples, v, k, T, (height, width)))(
        vertices, images.intrinsics, images.Ts_world_camera
    )
