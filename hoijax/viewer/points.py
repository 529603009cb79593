"""A scene and one candidate in the browser, as points: what was observed, where objects and bodies are."""

from typing import Any

import jax
import numpy as np

from hoijax.errors import UserError
from hoijax.scene.posed import pose_scene
from hoijax.scene.scene import Scene, Unknowns
from hoijax.solver.neighbor_lists import empty_neighbors
from hoijax.viewer.server import HOST, start_server

SAMPLES = 1024
EYE = np.array([0.5, 0.3, 1.2])
"""From the middle of what is shown, in its longest sides: in front of people, a little above."""
COLORS = {"objects": (60, 120, 216), "bodies": (160, 160, 160), "observed": (220, 90, 40)}


def view(scene: Scene, unknowns: Unknowns, *, host: str = HOST, port: int = 0) -> Any:
    """Serve one candidate, such as `Solution.best`, with a slider over frames; returns the viser server.

    port: 0 takes any free one. Raises UserError where viser is missing or unknowns have a leading axis.
    """
    clouds = point_clouds(scene, unknowns)
    server = start_server(host, port)
    server.scene.set_up_direction("+y")
    server.scene.world_axes.visible = False
    server.scene.add_grid("/ground", width=4.0, height=4.0, plane="xz", cell_size=0.5)
    slider = server.gui.add_slider("Frame", 0, max(scene.frame_count - 1, 1), 1, 0)

    def draw(_: Any = None) -> None:
        frame = min(int(slider.value), scene.frame_count - 1)
        for name, frames in clouds.items():
            points = frames[frame].astype(np.float32)
            server.scene.add_point_cloud(f"/{name}", points, COLORS[name], point_size=0.01)

    slider.on_update(draw)
    draw()
    points = np.concatenate([frames[0] for frames in clouds.values()])
    middle, size = points.mean(axis=0), np.ptp(points, axis=0).max()
    server.initial_camera.position = tuple((middle + size * EYE).tolist())
    server.initial_camera.look_at = tuple(middle.tolist())
    return server


def point_clouds(scene: Scene, unknowns: Unknowns) -> dict[str, list[np.ndarray]]:
    """World points of every frame, by kind: (n, 3) each; kinds without any are left out."""
    if unknowns.object_translation.ndim != 3:
        raise UserError("view one candidate: `solution.best`, or one of x0 by jax.tree.map.")
    posed = jax.jit(pose_scene)(scene, unknowns, empty_neighbors(scene))
    objects = np.asarray(posed.samples_world(SAMPLES))
    bodies = np.asarray(posed.body_vertices_world)
    observed, mask = np.asarray(scene.observed.points_world), np.asarray(scene.observed.point_mask)
    frames = range(scene.frame_count)
    clouds = {
        "objects": [objects[:, t].reshape(-1, 3) for t in frames],
        "bodies": [bodies[:, t].reshape(-1, 3) for t in frames],
        "observed": [observed[:, t][mask[:, t]] for t in frames],
    }
    return {name: each for name, each in clouds.items() if any(len(points) for points in each)}
