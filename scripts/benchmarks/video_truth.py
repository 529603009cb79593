"""The whole chain on clips of another renderer whose truth is known: pixels in, centimetres out.

    pip install bpy
    python -m scripts.benchmarks.video_truth --only sub2 sub3 --out out/video_truth --json out/video_truth.json

Known scenes (choreographed, and captured ones where `../shared/data/omomo` is) are filmed by Blender's Cycles
(`scripts.benchmarks.blender_render`): a dressed person, textures, shadows, a pitched camera. `generate
--prior packaged` gets the clip, the mesh and one box around the object in frame 0; the truth is only compared
with. Worlds are brought together by their cameras, so that errors are those in the camera's frame.
"""

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
import tyro
from PIL import Image
from rich.console import Console

import hoijax
from hoijax.api.observed import find_observed
from hoijax.api.solve import generate
from hoijax.bodies import load_body
from hoijax.bundle.schema import GroundTruth
from hoijax.exporters.clip import clip_view, turn_world
from hoijax.geometry.camera import PinholeCamera, camera_pitch
from hoijax.io.video import write_video
from hoijax.results.evaluation import Evaluator
from hoijax.results.protocols.shared import similarity
from hoijax.runtime import describe_device
from priors.synthetic.rendered_observations import RenderedGroundTruth, ground_truth_of
from scripts.benchmarks.robustness import Options as SceneOptions
from scripts.benchmarks.robustness import against_body, known_scenes
from scripts.benchmarks.video import ious

WIDTH, HEIGHT = 480, 360
UPRIGHT = {"woodchair": "z", "largebox": "-z"}
"""Which axis of a captured mesh points up; y of all others."""
MEASURED = (
    "mpjpe_mm",
    "pa_mpjpe_mm",
    "translation_cm",
    "rotation_deg",
    "adds_cm",
    "contact_f1@5cm",
)


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    out: Path = Path("out/video_truth")
    """A folder a scene; frames and results that are there are not made again."""
    only: tuple[str, ...] = ("",)
    """Parts of scenes' names."""
    frames: int = 49
    azimuth: float = 35.0
    """Of captured scenes: degrees between the world's +z axis and the camera."""
    focal: bool = True
    """Whether the chain is told the field of view, as from a phone's data sheet."""
    json: Path | None = None


def filmed(scene: RenderedGroundTruth, fps: float, folder: Path, look: int) -> RenderedGroundTruth:
    """The scene before a camera of `WIDTH` x `HEIGHT`; leaves clip.mp4."""
    camera = scene.camera
    zoom = WIDTH / camera.width
    camera = PinholeCamera(camera.fx * zoom, camera.fy * zoom, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)
    scene = dataclasses.replace(scene, camera=camera)
    if (folder / "clip.mp4").exists():
        return scene
    body, asset = load_body("anny"), scene.assets[0]
    weights, joints = np.asarray(body.skin_weights), np.asarray(body.skin_indices)
    T = scene.Ts_world_object[0]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "scene.npz",
        vertices=scene.person_vertices_world[0],
        faces=scene.person_faces,
        skin_joints=joints[np.arange(len(joints)), weights.argmax(1)],
        template=np.asarray(body.template),
        object_vertices=asset.vertices @ np.swapaxes(T[:, :3, :3], 1, 2) + T[:, None, :3, 3],
        object_faces=asset.faces,
        T_world_camera=scene.T_world_camera,
        focal=camera.fx,
    )
    renderer = [sys.executable, "-m", "scripts.benchmarks.blender_render", str(folder)]
    size = ["--width", str(WIDTH), "--height", str(HEIGHT), "--look", str(look)]
    subprocess.run([*renderer, *size], check=True, stdout=subprocess.DEVNULL)
    frames = sorted((folder / "frames").glob("*.png"))
    write_video(
        folder / "clip.mp4",
        np.stack([np.asarray(Image.open(path).convert("RGB")) for path in frames]),
        fps,
    )
    return scene


def solved(scene: RenderedGroundTruth, text: str, folder: Path, options: Options) -> Path:
    """The result of `generate --prior packaged`."""
    out, asset = folder / "result", scene.assets[0]
    if out.exists():
        return out
    mesh = folder / f"{asset.name}.ply"
    trimesh.Trimesh(asset.vertices, asset.faces, process=False).export(mesh)
    rows, columns = np.nonzero(scene.pictures.instance_ids[0] == 2)
    low = np.array([columns.min(), rows.min()]) - 2
    size = np.array([columns.max(), rows.max()]) + 3 - low
    stages = {
        "video": folder / "clip.mp4",
        "prior": "packaged",
        "whole_clip": True,
        "hints": (f"{asset.name}=0:{low[0]},{low[1]},{size[0]},{size[1]}",),
        "intrinsics": str(scene.camera.fx) if options.focal else None,
    }
    up = UPRIGHT.get(asset.name, "y")
    generate(text, [f"{asset.name}={mesh},up={up}"], out, stage_options=stages, log=print)
    return out


def in_world_of(truth: GroundTruth, Ts_world_camera: np.ndarray, turn: np.ndarray) -> GroundTruth:
    """The truth in a world in which its camera stands where another one does.

    turn: rotation from the truth's mesh to the mesh as it was loaded.
    """
    move = np.asarray(Ts_world_camera, float) @ np.linalg.inv(truth.Ts_world_camera.astype(float))
    move = move[0]
    rotations, translations = [], []
    for p, rest in enumerate(truth.body_rest_joints):
        turned = turn_world(
            truth.body_rotations[p], truth.body_translations[p], rest[0], move[:3, :3]
        )
        rotations.append(turned[0])
        translations.append(turned[1] + move[:3, 3])
    objects = move @ truth.Ts_world_object
    objects[..., :3, :3] = objects[..., :3, :3] @ turn.T
    return dataclasses.replace(
        truth,
        Ts_world_object=objects.astype(np.float32),
        Ts_world_camera=np.asarray(Ts_world_camera, np.float32),
        body_rotations=np.stack(rotations).astype(np.float32),
        body_translations=np.stack(translations).astype(np.float32),
    )


def measured(scene: RenderedGroundTruth, folder: Path) -> dict[str, float]:
    """Errors of a result, and how well its masks cover the true silhouettes."""
    result = hoijax.load_result(folder)
    observed = find_observed(result, folder)
    view = clip_view(result, observed)
    if observed is None or view is None:
        raise hoijax.UserError(f"{folder}: its bundle or the clip in it is gone.")
    asset, loaded = scene.assets[0], result.assets[0]
    turn = similarity(asset.vertices, loaded.vertices)[1]
    truth = in_world_of(ground_truth_of(scene), view.Ts_world_camera, turn)
    body = load_body(result.body_name)
    values = Evaluator(result, body, truth).measure(result.winner)
    row = {name: float(values[name]) for name in MEASURED if name in values}
    row["object_against_body_cm"] = against_body(result, truth, body)[0]
    seen, true = observed.bundle.observations.instance_ids, scene.pictures.instance_ids
    row |= {f"mask_iou_{name}": value for name, value in ious(seen, true).items()}
    row["pitch_error_deg"] = camera_pitch(view.Ts_world_camera[0]) - camera_pitch(
        scene.T_world_camera
    )
    return {name: round(value, 3) for name, value in row.items()}


def main() -> None:
    """Command line."""
    options = tyro.cli(Options, description=__doc__)
    scenes = SceneOptions(frames=options.frames, only=options.only, azimuth=options.azimuth)
    rows = []
    for look, (name, tuned, known) in enumerate(known_scenes(scenes)):
        folder = options.out / name
        scene = filmed(known["scene"], known["fps"], folder, look)
        rows.append(
            {"scene": name, "tuned": tuned}
            | measured(scene, solved(scene, known["prompt"], folder, options))
        )
        Console().print(rows[-1])
    if options.json is not None:
        report = {"device": describe_device(), "focal_given": options.focal, "rows": rows}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
