"""Fast throws without depth: does a solved flight fall as it should, and how large is the ball then?

    python -m scripts.benchmarks.throws --json docs/results/throws.json

The choreographed throw at a filmed clip's frame rate, its flight as long as asked; rendered, without any
depth and without errors, and solved with meshes of a wrong size. m/s^2 of the flight (true: 9.81), diameter
over the true one, and the centers' median distance from the truth.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from jaxtyping import Float
from numpy import ndarray
from rich.console import Console
from scipy.spatial.transform import Rotation

import hoijax
from hoijax.exporters.resample import resample_positions, resample_rotations
from hoijax.geometry.transforms import GRAVITY, compose_rigid
from hoijax.results.geometry_queries import moved_points
from hoijax.runtime import describe_device, enable_compilation_cache
from hoijax.scene.resizing import resized_bundle
from priors.synthetic.erring_observations import erring_bundle
from priors.synthetic.from_text import BODY, scene_of_text
from priors.synthetic.ground_truth import KnownMotion, RenderedGroundTruth, rendered_ground_truth
from scripts.benchmarks.robustness import without_depth

G = -float(GRAVITY[1])
TEXT = "a person throws a ball up and catches it"
BESIDE = 0.5
"""Seconds before and after the flight."""


@dataclass(frozen=True)
class Options:
    fps: tuple[float, ...] = (24.0, 30.0)
    seconds: tuple[float, ...] = (0.8,)
    """How long the ball flies."""
    sizes: tuple[float, ...] = (1.0, 0.9)
    """Of the mesh given, over the true one."""
    json: Path | None = None


def resampled_throw(
    scene: RenderedGroundTruth, rate: float, fps: float, seconds: float
) -> tuple[RenderedGroundTruth, ndarray]:
    """(the throw of a scene of `rate` at `fps`, its flight `seconds` long; the frames of the flight)."""
    T = np.asarray(scene.Ts_world_object, np.float64)[0]
    height, grid = T[:, 1, 3], np.arange(len(T)) / rate
    falls = np.flatnonzero(np.abs(np.diff(height, 2) * rate**2 + G) < 0.5) + 1
    begin, end = (falls[0] - 1) / rate, (falls[-1] + 1) / rate
    time = np.arange(0, 2 * BESIDE + seconds, 1 / fps) - BESIDE
    at = np.interp(
        time, [-BESIDE, 0, seconds, seconds + BESIDE], [begin - BESIDE, begin, end, end + BESIDE]
    )
    at = np.clip(at, 0, grid[-1])
    frames = at * rate
    turned = resample_rotations(Rotation.from_matrix(T[:, :3, :3]).as_rotvec(), frames)
    centers = resample_positions(T[:, :3, 3], frames)
    flies = (time >= 0) & (time <= seconds)
    low, high = np.interp([begin, end], grid, height)
    speed = (high - low) / seconds + 0.5 * G * seconds
    centers[flies, 1] = low + speed * time[flies] - 0.5 * G * time[flies] ** 2
    people = (np.asarray(x, np.float64) for x in (scene.body_rotations, scene.body_translations))
    rotations, translations = (
        np.stack([resample(person, frames) for person in x]).astype(np.float32)
        for x, resample in zip(people, (resample_rotations, resample_positions), strict=True)
    )
    motion = KnownMotion(
        rotations,
        translations,
        scene.body_betas,
        scene.body_rest_joints,
    )
    contact = np.asarray(scene.edge_contact)[:, np.round(frames).astype(int)] & ~flies
    poses = compose_rigid(Rotation.from_rotvec(turned).as_matrix(), centers)
    known = rendered_ground_truth(BODY, motion, scene.assets, poses[None], contact)
    return known, np.flatnonzero(flies)[1:-1]


def centers_of(
    Ts_world_object: Float[ndarray, "T 4 4"], center: Float[ndarray, " 3"]
) -> Float[ndarray, "T 3"]:
    """Where an object's center is: the origin of a ball's file may lie under it, and a ball may turn unseen."""
    return moved_points(center[None], Ts_world_object)[:, 0]


def fall(heights: Float[ndarray, " T"], flight: ndarray, fps: float) -> float:
    """Downward m/s^2 of the parabola through a flight."""
    return float(-2 * np.polyfit(flight / fps, heights[flight], 2)[0])


def main(options: Options) -> None:
    enable_compilation_cache()
    rows = []
    ball = hoijax.load_objects(["ball"])
    scene, script, rate = scene_of_text(TEXT, ball, frames=40, seed=0)
    for fps, seconds in ((f, s) for f in options.fps for s in options.seconds):
        known, flight = resampled_throw(scene, rate, fps, seconds)
        errors = {"prompt": TEXT, "fps": fps, "body": BODY, "strengths": {}, "seed": 4}
        bundle = without_depth(erring_bundle(known, script.graph, **errors)[0])
        truth = centers_of(known.Ts_world_object[0], ball[0].center)
        for size in options.sizes:
            result = hoijax.solve(resized_bundle(bundle, np.full((1, 3), size)), method="joint")
            path = centers_of(np.asarray(result.Ts_world_object)[0], result.assets[0].center)
            away = np.linalg.norm(path - truth, axis=-1)
            rows.append({
                "fps": fps,
                "flight_s": seconds,
                "mesh": size,
                "fall_m_s2": round(fall(path[:, 1], flight, fps), 2),
                "diameter": round(float((result.assets[0].extents / ball[0].extents).mean()), 3),
                "median_cm": round(100 * float(np.median(away)), 1),
            })  # fmt: skip
            Console().print(rows[-1])
    if options.json is not None:
        content = {"device": describe_device(), "rows": rows}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
