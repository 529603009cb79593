"""A preview of a clip: H.264 video and a contact sheet, from one three-quarter camera."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from hoijax.bodies.low_poly import low_poly
from hoijax.exporters.clip import PERSON_COLORS, Clip, part_colors
from hoijax.geometry.camera import PinholeCamera
from hoijax.geometry.transforms import invert_rigid, look_at
from hoijax.io.video import write_video
from hoijax.objects.colored_triangles import colored_triangles
from hoijax.rendering.antialiased import StillView
from hoijax.rendering.rasterize import rasterize
from hoijax.rendering.raycast import RayScene, RenderMesh

FIELD_OF_VIEW = 32.0  # degrees, vertical
ELEVATION = 12.0  # degrees above the horizon
AZIMUTHS = (-40.0, 40.0, -65.0, 65.0, -20.0, 20.0)  # degrees off the first person's mean heading
FRAME_FILL = 0.86  # share of the image the motion may take
TOUCH_COLOR = np.array([0.90, 0.30, 0.22], np.float32)
TOUCH_RANGE = 0.03  # metres from the nearest surface sample
COARSE_CELL, FINE_CELL = 0.02, 0.01
"""Metres between vertices of the people and objects that cast shadows."""
MAX_THREADS = 16  # frames drawn at once
SHEET_ROWS, SHEET_COLUMNS, SHEET_GAP = 3, 4, 4


def save_preview(
    folder: str | Path,
    clip: Clip,
    *,
    size: tuple[int, int] = (480, 360),
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, Path]:
    """Write preview.mp4 at the clip's frame rate and contact_sheet.png; returns their paths.

    `size` is (width, height) in pixels, rounded up to even. `progress(done, total)` is called after
    every frame. Raises UserError when ffmpeg does not take the frames.
    """
    from PIL import Image

    frames = []

    def drawn() -> Iterator[UInt8[ndarray, "H W 3"]]:
        for image in render_clip(clip, size):
            frames.append(image)
            if progress:
                progress(len(frames), clip.frame_count)
            yield image

    folder = Path(folder)
    video = write_video(folder / "preview.mp4", drawn(), clip.fps)
    sheet = folder / "contact_sheet.png"
    Image.fromarray(contact_sheet(np.stack(frames))).save(sheet)
    return video, sheet


def render_clip(
    clip: Clip, size: tuple[int, int] = (480, 360)
) -> Iterator[UInt8[ndarray, "H W 3"]]:
    """Shaded images of all frames from one fixed camera, antialiased."""
    width, height = (2 * ((side + 1) // 2) for side in size)
    view = StillView.of(*choose_camera(clip, width, height))
    coarse = coarse_clip(clip)

    def draw(frame: int) -> UInt8[ndarray, "H W 3"]:
        return view.draw(clip_meshes(clip, frame), coarse(frame))

    with ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_THREADS)) as threads:
        yield from threads.map(draw, range(clip.frame_count))


def clip_meshes(clip: Clip, frame: int) -> list[RenderMesh]:
    """Everything in a frame: people in one color each, warmer where they touch an object; objects
    as their files show them, or with a shade for every part."""
    meshes = []
    for p, person in enumerate(clip.people):
        faces = np.asarray(person.shaped.faces)
        closeness = _closeness(clip, person.vertices_world[frame], frame)[faces].mean(-1)
        color = np.array(PERSON_COLORS[p % len(PERSON_COLORS)], np.float32)
        color = color + closeness[:, None] * (TOUCH_COLOR - color)
        meshes.append(RenderMesh(person.vertices_world[frame], faces, p + 1, color=color))
    for o, asset in enumerate(clip.assets):
        if asset.appearance is not None:
            vertices, faces, colors = colored_triangles(asset.appearance)
            vertices = clip.to_world(vertices, o, frame)
            meshes.append(RenderMesh(vertices, faces, len(clip.people) + o + 1, color=colors))
            continue
        colors = part_colors(asset, o)[asset.face_parts]  # -1 picks the last row: no part
        vertices = clip.to_world(asset.vertices, o, frame)
        meshes.append(
            RenderMesh(
                vertices, asset.faces, len(clip.people) + o + 1, asset.face_parts, color=colors
            )
        )
    return meshes


def coarse_clip(clip: Clip) -> Callable[[int], list[RenderMesh]]:
    """Coarse meshes of any frame's people and objects."""
    rests = [np.asarray(person.shaped.vertices_rest) for person in clip.people]
    faces = [np.asarray(person.shaped.faces) for person in clip.people]
    people = [low_poly(*mesh, COARSE_CELL) for mesh in zip(rests, faces, strict=True)]
    objects = [low_poly(asset.vertices, asset.faces, FINE_CELL) for asset in clip.assets]

    def meshes(frame: int) -> list[RenderMesh]:
        posed = [
            (person.vertices_world[frame][chosen], faces)
            for person, (chosen, faces) in zip(clip.people, people, strict=True)
        ]
        posed += [
            (clip.to_world(clip.assets[o].vertices[chosen], o, frame), faces)
            for o, (chosen, faces) in enumerate(objects)
        ]
        return [RenderMesh(vertices, faces, 1) for vertices, faces in posed]

    return meshes


def choose_camera(clip: Clip, width: int, height: int) -> tuple[PinholeCamera, ndarray]:
    """(camera, T_world_camera): a three-quarter view that keeps the whole clip in the image.

    Of a few headings to either side of the person's front, the one that shows most of the objects and,
    half as important, of the people.
    """
    camera = PinholeCamera.from_field_of_view(FIELD_OF_VIEW, width, height)
    points = _points_of_interest(clip)
    facing = _mean_heading(clip)
    candidates = [_fit_view(points, facing + np.radians(azimuth), camera) for azimuth in AZIMUTHS]
    return camera, candidates[int(np.argmax(_visible_shares(clip, candidates)))]


def contact_sheet(
    frames: UInt8[ndarray, "T H W 3"], rows: int = SHEET_ROWS, columns: int = SHEET_COLUMNS
) -> UInt8[ndarray, "h w 3"]:
    """Evenly spaced frames in reading order, the first and the last among them."""
    chosen = np.rint(np.linspace(0, len(frames) - 1, rows * columns)).astype(int)
    height, width = frames.shape[1:3]
    gap = SHEET_GAP
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, frame in enumerate(chosen):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = frames[frame]
    return sheet


def _closeness(
    clip: Clip, vertices_world: Float[ndarray, "V 3"], frame: int
) -> Float[ndarray, "V"]:
    """1 where a vertex touches an object's surface samples, falling to 0 at TOUCH_RANGE."""
    closeness = np.zeros(len(vertices_world), np.float32)
    for asset, tree, poses in zip(
        clip.assets, clip.sample_trees, clip.Ts_world_object, strict=True
    ):
        T_object_world = invert_rigid(poses[frame])
        local = vertices_world @ T_object_world[:3, :3].T + T_object_world[:3, 3]
        low, high = asset.vertices.min(0) - TOUCH_RANGE, asset.vertices.max(0) + TOUCH_RANGE
        near = np.flatnonzero(((local > low) & (local < high)).all(-1))
        distance, _ = tree.query(local[near], distance_upper_bound=TOUCH_RANGE)
        closeness[near] = np.maximum(closeness[near], 1 - np.minimum(distance / TOUCH_RANGE, 1))
    return closeness


def _points_of_interest(clip: Clip) -> Float[ndarray, "N 3"]:
    """A sample of everything that moves through the clip, never empty."""
    points = [np.array([[-0.3, 0.0, -0.3], [0.3, 0.0, 0.3]])]
    if clip.people or clip.assets:
        points = []
    points += [person.vertices_world[:, ::37].reshape(-1, 3) for person in clip.people]
    for o, asset in enumerate(clip.assets):
        poses = clip.Ts_world_object[o]
        low, high = asset.vertices.min(0), asset.vertices.max(0)
        corners = np.stack(np.meshgrid(*zip(low, high, strict=True)), -1).reshape(-1, 3)
        world = corners @ poses[:, :3, :3].swapaxes(-1, -2) + poses[:, None, :3, 3]
        points.append(world.reshape(-1, 3))
    return np.concatenate(points).astype(np.float64)


def _mean_heading(clip: Clip) -> float:
    """Angle about y from +z to where the first person faces on average, radians."""
    if not clip.people:
        return 0.0
    from scipy.spatial.transform import Rotation

    forward = Rotation.from_rotvec(clip.people[0].joint_rotations[:, 0]).apply([0.0, 0.0, 1.0])
    mean = forward.mean(axis=0)
    return float(np.arctan2(mean[0], mean[2]))


def _fit_view(points: ndarray, heading: float, camera: PinholeCamera) -> Float[ndarray, "4 4"]:
    """Closest T_world_camera in direction `heading` with all points inside the image's margin."""
    elevation = np.radians(ELEVATION)
    back = np.array(
        [
            np.sin(heading) * np.cos(elevation),
            np.sin(elevation),
            np.cos(heading) * np.cos(elevation),
        ]
    )
    T_world_camera = look_at(back, np.zeros(3)).astype(np.float64)
    right, down, forward = T_world_camera[:3, :3].T
    x, y, z = points @ right, points @ down, points @ forward
    slope_x = FRAME_FILL * camera.width / 2 / camera.fx
    slope_y = FRAME_FILL * camera.height / 2 / camera.fy

    def center_and_depth(along: ndarray, slope: float) -> tuple[float, float]:
        # inside the wedge |along - c| <= slope (z - eye): two planes touch the points
        lowest, highest = (slope * z + along).min(), (slope * z - along).min()
        return (lowest - highest) / 2, (lowest + highest) / (2 * slope)

    center_x, eye_x = center_and_depth(x, slope_x)
    center_y, eye_y = center_and_depth(y, slope_y)
    eye = center_x * right + center_y * down + min(eye_x, eye_y) * forward
    T_world_camera[:3, 3] = eye
    return T_world_camera.astype(np.float32)


def _visible_shares(clip: Clip, Ts_world_camera: Sequence[ndarray]) -> Float[ndarray, "C"]:
    """How much of the objects (and half as much, of the people) each camera sees, at three frames."""
    camera = PinholeCamera.from_field_of_view(FIELD_OF_VIEW, 80, 60)
    totals = np.zeros(len(Ts_world_camera))
    for frame in np.unique(np.linspace(0, clip.frame_count - 1, 3).astype(int)):
        meshes = clip_meshes(clip, int(frame))
        whole, *alone = RayScene(meshes), *(RayScene([mesh]) for mesh in meshes)
        for c, T_world_camera in enumerate(Ts_world_camera):
            seen = rasterize(whole, camera, T_world_camera).instance_ids
            for mesh, scene in zip(meshes, alone, strict=True):
                weight = 0.5 if mesh.instance_id <= len(clip.people) else 1.0
                most = len(rasterize(scene, camera, T_world_camera).pixels)
                totals[c] += weight * (seen == mesh.instance_id).sum() / max(most, 1)
    return totals
