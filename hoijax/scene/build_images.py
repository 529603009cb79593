"""Small images of what was seen, and coarse meshes to render into them (host)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8
from numpy import ndarray

from hoijax.bodies.low_poly import low_poly
from hoijax.bodies.skinned_body import ShapedBody
from hoijax.bundle.observations import Observations
from hoijax.geometry.camera import NEAR
from hoijax.geometry.camera_motion import average_static_camera
from hoijax.geometry.transforms import invert_rigid
from hoijax.objects.asset import Asset
from hoijax.programs import program
from hoijax.rendering.small_images import averaged
from hoijax.rendering.soft_raster import join_samples, sample_mesh
from hoijax.runtime import on_device
from hoijax.scene.images import ObservedImages
from hoijax.scene.posed import PosedScene
from hoijax.settings import AnchorSettings

CELL = 0.05
"""Metres between the vertices of the rendered skin, and between the rendered points of everything."""
VISIBLE_SLACK = 0.06
"""Metres a point may lie behind the rendered surface of its pixel and be painted from it."""


def rendered_skin(person: ShapedBody) -> tuple[Int[ndarray, " s"], Int[ndarray, "f 3"]]:
    """Vertices of the skin that are rendered, and triangles of them."""
    return low_poly(np.asarray(person.vertices_rest), np.asarray(person.faces), CELL)


def observed_images(
    observations: Observations,
    assets: tuple[Asset, ...],
    skin: list[tuple[Float[ndarray, "s 3"], Int[ndarray, "f 3"]]],
    Ts_world_pointmap: Float[ndarray, "T 4 4"],
    settings: AnchorSettings,
) -> ObservedImages:
    """Everything of ObservedImages, without colors. skin: coarse rest mesh of every person."""
    o, width = observations, settings.render_width
    chosen = np.arange(0, o.frame_count, settings.image_every)
    people, objects = o.person_count, o.object_count
    step = max(o.image_size[1] // width, 1)
    masks = _shrunk(o.instance_ids[chosen], people + objects, step)
    samples, counts = [], []
    for i, (vertices, faces) in enumerate(skin):
        samples.append(
            sample_mesh(vertices, faces, _one_hot(i, people + objects, len(faces)), CELL)
        )
        counts.append(len(vertices))
    points, owners = [], []
    for i, asset in enumerate(assets):
        vertices = asset.vertices - asset.center
        features = _one_hot(people + i, people + objects, len(asset.faces))
        sampled = sample_mesh(vertices, asset.faces, features, CELL)
        used, renumbered = np.unique(sampled.corners, return_inverse=True)
        corners = renumbered.reshape(-1, 3).astype(np.int32)
        samples.append(sampled.replace(corners=corners))  # pyright: ignore[reportAttributeAccessIssue]
        counts.append(len(used))
        points.append(vertices[used])
        owners.append(np.full(len(used), i, np.int32))
    Ts_world_camera = average_static_camera(np.asarray(o.Ts_world_camera)).astype(np.float32)
    intrinsics = np.array(o.intrinsics, np.float32)[chosen]
    intrinsics[:, :2] /= step
    depth, depth_mask = observed_depth(o, Ts_world_pointmap, Ts_world_camera, masks.shape[1:3])
    detected = masks.sum(axis=(1, 2)) > 0.0
    detected[:, people:] &= np.asarray(o.object_detected).T[chosen]
    return ObservedImages(
        samples=jax.tree.map(jnp.asarray, join_samples(samples, counts)),
        object_vertices=on_device(np.concatenate(points), jnp.float32),
        vertex_object=on_device(np.concatenate(owners)),
        chosen=on_device(chosen, jnp.int32),
        Ts_world_camera=on_device(Ts_world_camera[chosen]),
        intrinsics=on_device(intrinsics),
        target=on_device(masks),
        channel_weights=on_device(detected, jnp.float32),
        depth=on_device(depth[chosen]),
        depth_mask=on_device(depth_mask[chosen]),
        skin_count=counts[0],
    )


def _one_hot(index: int, count: int, rows: int) -> Float[ndarray, "{rows} {count}"]:
    return np.tile(np.eye(count, dtype=np.float32)[index], (rows, 1))


def _shrunk(ids: UInt8[ndarray, "T H W"], count: int, step: int) -> Float[ndarray, "T h w {count}"]:
    """Share of each small pixel that every instance covers; the rest of a division is cut off."""
    t, height, width = ids.shape
    h, w = height // step, width // step
    cut = ids[:, : h * step, : w * step].reshape(t, h, step, w, step)
    shares = [(cut == i + 1).mean(axis=(2, 4)) for i in range(count)]
    return np.stack(shares, axis=-1).astype(np.float32)


def observed_depth(
    o: Observations,
    Ts_world_pointmap: Float[ndarray, "T 4 4"],
    Ts_world_camera: Float[ndarray, "T 4 4"],
    size: tuple[int, int],
) -> tuple[Float[ndarray, "T h w"], ndarray]:
    """Mean depth of all observed points in each pixel of images of a size, and where there are any."""
    step = o.image_size[1] // size[1]
    total, count = (np.zeros((o.frame_count, *size)) for _ in range(2))
    T_camera_pointmap = invert_rigid(Ts_world_camera) @ Ts_world_pointmap
    for kind in ("person", "object"):
        points, pixels = getattr(o, f"{kind}_points"), getattr(o, f"{kind}_pixels")
        mask = np.array(getattr(o, f"{kind}_point_mask"))
        along = np.einsum("tj,atnj->atn", T_camera_pointmap[:, 2, :3], points)
        along = along + T_camera_pointmap[:, 2, 3][:, None]
        column, row = (np.floor(pixels[..., i] / step).astype(int) for i in (0, 1))
        mask &= (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0]) & (along > NEAR)
        frame = np.broadcast_to(np.arange(o.frame_count)[None, :, None], mask.shape)
        cell = frame[mask], row[mask], column[mask]
        np.add.at(total, cell, along[mask])
        np.add.at(count, cell, 1.0)
    return (total / np.maximum(count, 1.0)).astype(np.float32), count > 0.0


def with_colors(
    images: ObservedImages, posed: PosedScene, video: UInt8[ndarray, "T H W 3"]
) -> ObservedImages:
    """The meshes painted from a clip as they are posed now, and the clip as further channels.

    Every rendered point takes the mean color of the pixels in which it is nearest and its instance
    was seen (what was tracked wrong is not painted like its background); points that are never seen take
    the mean of their instance. (The paper's avatar has learned colors instead.)
    """
    t, h, w = images.depth.shape
    small = averaged(video[np.asarray(images.chosen)], h, w)
    instances = images.target.shape[-1]
    seen, color = _observed_colors(images, posed, jnp.asarray(small))
    weight = np.asarray(seen.sum(axis=0))[:, None]
    total = np.asarray(jnp.einsum("ts,tsc->sc", seen, color))
    owner = np.asarray(images.samples.features).argmax(axis=-1)
    painted = np.zeros_like(total)
    for i in range(instances):
        mine = owner == i
        mean = total[mine].sum(axis=0) / max(weight[mine].sum(), 1e-6)
        color_of = total[mine] / np.maximum(weight[mine], 1e-6)
        painted[mine] = np.where(weight[mine] > 0.5, color_of, mean)
    features = jnp.concatenate([images.samples.features, jnp.asarray(painted, jnp.float32)], -1)
    any_seen = jnp.max(images.channel_weights, axis=1, keepdims=True)
    return dataclasses.replace(
        images,
        samples=images.samples.replace(features=features),  # pyright: ignore[reportAttributeAccessIssue]
        target=jnp.concatenate([images.target, jnp.asarray(small)], axis=-1),
        channel_weights=jnp.concatenate(
            [images.channel_weights, jnp.broadcast_to(any_seen, (t, 3))], axis=-1
        ),
    )


@program
def _observed_colors(
    images: ObservedImages, posed: PosedScene, small: Float[Array, "T h w 3"]
) -> tuple[Float[Array, "T S"], Float[Array, "T S 3"]]:
    """Whether a rendered point is nearest in its pixel, and that pixel's color."""
    rendered, samples = posed.rendered_image, images.samples
    assert rendered is not None
    h, w = images.depth.shape[1:]

    def one(vertices, k, T, depth, features, image, target):
        points = jnp.sum(vertices[samples.corners] * samples.barycentric[..., None], axis=1)
        local = jnp.sum((points - T[:3, 3])[:, None] * T[:3, :3].T[None], axis=-1)
        z = jnp.maximum(local[:, 2], NEAR)
        u, v = (local[:, i] / z * k[i, i] + k[i, 2] for i in (0, 1))
        inside = (u >= 0) & (u < w) & (v >= 0) & (v < h)
        row, column = (jnp.clip(x, 0, n - 1).astype(jnp.int32) for x, n in ((v, h), (u, w)))
        visibility = jnp.sum(features[row, column] * samples.features, axis=-1)
        is_same_mesh = jnp.sum(target[row, column] * samples.features, axis=-1) > 0.5
        nearest = (
            inside & is_same_mesh & (z < depth[row, column] + VISIBLE_SLACK) & (visibility > 0.5)
        )
        return nearest.astype(jnp.float32), image[row, column]

    return jax.vmap(one)(
        posed.rendered_vertices,
        images.intrinsics,
        images.Ts_world_camera,
        rendered.depth,
        rendered.features[..., : samples.features.shape[-1]],
        small,
        images.target,
    )


def with_depth(
    images: ObservedImages, observations: Observations, Ts_world_pointmap: Float[ndarray, "T 4 4"]
) -> ObservedImages:
    """The images with depths of point maps that were aligned again."""
    cameras = average_static_camera(np.asarray(observations.Ts_world_camera)).astype(np.float32)
    height, width = images.depth.shape[1:]
    depth, mask = observed_depth(observations, Ts_world_pointmap, cameras, (height, width))
    chosen = np.asarray(images.chosen)
    return dataclasses.replace(
        images, depth=on_device(depth[chosen]), depth_mask=on_device(mask[chosen])
    )
