"""Real clips from pixels to a result, on this machine's CPU: how well the result covers what was seen.

    python -m scripts.benchmarks.video --out out/video --json docs/results/video.json
    python -m scripts.benchmarks.video --only juggle --frames 49

Needs ../shared/data/video. No truth lies beside real clips: measured are the IoU of what the clip's camera
sees of the result and the masks it was solved from (and a peer's silhouettes where they exist), how far
joints reproject from keypoints, jerk, foot skate, and seconds. Look at OUT/CLIP/overlay.mp4 too.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import trimesh
import tyro
from rich.console import Console

import hoijax
from hoijax.api.observed import find_observed
from hoijax.api.solve import generate
from hoijax.bodies import load_body
from hoijax.bodies.keypoints import OPENPOSE_18
from hoijax.bodies.kinematics import JOINT_NAMES
from hoijax.exporters.clip import Clip, clip_from_result, clip_view
from hoijax.exporters.overlay import seen
from hoijax.importers.masks import read_label_masks
from hoijax.io.video import read_video, write_video
from hoijax.runtime import describe_device
from priors.models.camera_shake import estimate_shake
from scripts.benchmarks.video_checks import (
    VARIANTS,
    fall_accelerations,
    hint_of_variant,
    motion_apart,
    variant_of,
)

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "video"
LIMBS = [JOINT_NAMES.index(name) for name in OPENPOSE_18[2:14]]
SURE = 0.5
STEP = 2
"""Every second frame is compared."""


@dataclass(frozen=True)
class RealClip:
    """One clip and what a user would type for it."""

    text: str
    size: tuple[float, ...]
    """Metres of the object: a box's sides, a cylinder's radius and height, a ball's radius."""
    hint: str
    """One box in one frame, as `--hint` takes it."""
    camera: str = "auto"
    """"static" for a camera that goes with the person: `auto` refuses it and names this remedy."""


CLIPS = {
    "box": RealClip("a worker lifts a cardboard box", (0.9, 0.84, 0.75), "0:145,85,232,215"),
    "cylinder": RealClip(
        "a worker pushes a cylinder", (0.36, 1.73), "0:180,0,170,338", camera="static"
    ),
    "juggle": RealClip("a man kicks a ball", (0.11,), "0:614,284,78,76"),
}
"""Sizes are read off the images: the cylinder's with the person's shoulders, 1.41 m high, as the ruler, and
2.4 times as long as it is wide where all of it is in view. The ball's is a football's."""


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    out: Path = Path("out/video")
    """A result folder a clip; one that is there is measured, not made again."""
    only: tuple[str, ...] = tuple(CLIPS)
    frames: int | None = None
    """Of every clip from its start; all by default."""
    method: str = "joint"
    hint: tuple[str, ...] = ()
    """CLIP=FRAME:x,y,w,h in place of the table's."""
    variants: bool = False
    """Also solve every clip mirrored, reversed and at half rate, and say how far motions are apart."""
    json: Path | None = None


def object_mesh(clip: RealClip) -> trimesh.Trimesh:
    """A plain mesh of the object's kind and size, y up."""
    if len(clip.size) == 3:
        return trimesh.creation.box(clip.size)
    if len(clip.size) == 1:
        return trimesh.creation.icosphere(subdivisions=3, radius=clip.size[0])
    radius, height = clip.size
    turn = trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0])
    return trimesh.creation.cylinder(radius, height, sections=32, transform=turn)


def make(name: str, options: Options, hint: str, video: Path, out: Path) -> float:
    """The whole chain for a clip, as `hoijax generate --prior packaged`; its seconds."""
    clip, folder = CLIPS[name], options.out
    kind = {3: "box", 1: "ball", 2: "cylinder"}[len(clip.size)]
    folder.mkdir(parents=True, exist_ok=True)
    mesh = folder / f"{kind}.ply"
    object_mesh(clip).export(mesh)
    stages = {
        "video": video,
        "prior": "packaged",
        "whole_clip": options.frames is None,
        "hints": (f"{kind}={hint}",),
        "camera": clip.camera,
    }
    begun = time.perf_counter()
    generate(
        clip.text,
        [mesh],
        out,
        frames=options.frames or 49,
        method=options.method,
        stage_options=stages,
        log=print,
    )
    return time.perf_counter() - begun


def measured(name: str, folder: Path) -> dict[str, float]:
    """What can be said of a result without a truth."""
    result = hoijax.load_result(folder)
    observed = find_observed(result, folder)
    view = clip_view(result, observed)
    if observed is None or view is None:
        raise hoijax.UserError(f"{folder}: its bundle or the clip in it is gone.")
    body = load_body(result.body_name)
    clip = clip_from_result(result, body)
    clip = Clip(clip.fps, clip.people, clip.assets, clip.Ts_world_object, view=view)
    o = observed.bundle.observations
    drawn = drawn_labels(clip, o.instance_ids.shape[1:])
    row = {f"iou_{k}": v for k, v in ious(drawn, o.instance_ids[::STEP]).items()}
    if (DATA / name / "peer_masks").is_dir():
        peer = peer_masks(name)
        if peer.shape[1:] == o.instance_ids.shape[1:]:
            peer = peer[: result.frame_count : STEP]
            row |= {f"peer_iou_{k}": v for k, v in ious(drawn, peer).items()}
            row |= {f"mask_peer_iou_{k}": v for k, v in ious(o.instance_ids[::STEP], peer).items()}
    if len(CLIPS[name].size) == 1:
        diameter = float(np.mean(np.ptp(result.assets[0].vertices, axis=0)))
        falls = fall_accelerations(clip.Ts_world_object[0, :, 1, 3], result.fps)
        row |= {"ball_diameter_cm": 100.0 * diameter, "flights": float(len(falls))}
        row |= {"fall_m_s2": float(np.median(falls)) if len(falls) else float("nan")}
    row["keypoint_percent"] = keypoint_error(clip, o.keypoints, o.instance_ids.shape[1])
    metrics = json.loads((folder / "metrics.json").read_text())
    row |= {k: v for k, v in metrics.items() if "jerk" in k or "skate" in k}
    return row


def peer_masks(name: str) -> np.ndarray:
    """The peer's silhouettes, moved as the clip is where its camera is steadied."""
    peer, _ = read_label_masks(DATA / name / "peer_masks")
    if CLIPS[name].camera == "static":
        return peer
    shake = estimate_shake(read_video(DATA / name / "clip.mp4").frames)
    if shake.is_static:
        return peer
    size, nearest = peer.shape[:0:-1], cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    moved = zip(peer, shake.motions, strict=True)
    return np.stack([cv2.warpPerspective(labels, T, size, flags=nearest) for labels, T in moved])


def drawn_labels(clip: Clip, shape: tuple[int, int]) -> np.ndarray:
    """Labels of what the clip's camera sees of the result, every STEP-th frame."""
    blank = np.zeros((1, *shape, 3), np.uint8)
    return np.stack([seen(clip, t, blank).instance_ids for t in range(0, clip.frame_count, STEP)])


def ious(drawn: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean IoU over the frames in which a mask shows the entity."""
    overlaps = {}
    for number, name in ((1, "person"), (2, "object")):
        ours, theirs = drawn == number, labels == number
        frames = theirs.any((1, 2))
        both = (ours & theirs).sum((1, 2)) / np.maximum((ours | theirs).sum((1, 2)), 1)
        overlaps[name] = float(both[frames].mean()) if frames.any() else float("nan")
    return overlaps


def keypoint_error(clip: Clip, keypoints: np.ndarray, height: int) -> float:
    """Median distance of limb joints from confident keypoints, percent of the image's height."""
    assert clip.view is not None
    joints = clip.people[0].Ts_world_joint[..., :3, 3][:, LIMBS]
    T, k = clip.view.Ts_world_camera, clip.view.intrinsics
    local = np.einsum("tji,tnj->tni", T[:, :3, :3], joints - T[:, None, :3, 3])
    pixels = local[..., :2] / local[..., 2:] * k[:, None, [0, 1], [0, 1]] + k[:, None, :2, 2]
    seen_points = keypoints[0, :, 2:14]
    off = np.linalg.norm(pixels - seen_points[..., :2], axis=-1)
    return float(100 * np.median(off[seen_points[..., 2] > SURE]) / height)


def variants(name: str, options: Options, hint: str) -> dict[str, float]:
    """Centimetres between the clip's motion and those of its variants, undone: body's joints, object."""
    folder, row = options.out / name, {}
    whole = read_video(DATA / name / "clip.mp4", options.frames)
    base = motion_of(folder)
    for variant in VARIANTS:
        out = options.out / f"{name}-{variant.replace(' ', '-')}"
        if not (out / "run.json").is_file():
            frames = variant_of(whole.frames, variant)
            fps = whole.fps / 2 if variant == "half rate" else whole.fps
            clip = write_video(options.out / f"{out.name}.mp4", frames, fps, loss=0)
            at = hint_of_variant(hint, variant, frames.shape[2], len(whole.frames))
            count = None if options.frames is None else len(frames)
            make(name, replace(options, frames=count), at, clip, out)
        apart = motion_apart(*base, *motion_of(out), variant)
        row |= {
            f"{variant} {what} cm": 100.0 * x
            for what, x in zip(("body", "object"), apart, strict=True)
        }
    return row


def motion_of(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(places of the person's joints, centers of the object) in the world."""
    result = hoijax.load_result(folder)
    clip = clip_from_result(result, load_body(result.body_name))
    T = clip.Ts_world_object[0]
    centers = T[:, :3, :3] @ result.assets[0].center + T[:, :3, 3]
    return clip.people[0].Ts_world_joint[..., :3, 3], centers


def main(options: Options) -> None:
    """Make and measure the clips; rows to the screen and to a file."""
    rows = []
    hints = dict(item.split("=", 1) for item in options.hint)
    for name in options.only:
        row: dict = {"clip": name, "method": options.method}
        hint = hints.get(name, CLIPS[name].hint)
        try:
            if not (options.out / name / "run.json").is_file():
                video = DATA / name / "clip.mp4"
                seconds = make(name, options, hint, video, options.out / name)
                row["seconds"] = round(seconds, 1)
            row |= {k: round(v, 4) for k, v in measured(name, options.out / name).items()}
            if options.variants:
                row |= {k: round(v, 2) for k, v in variants(name, options, hint).items()}
        except hoijax.UserError as error:
            row["error"] = str(error)
        rows.append(row)
        Console().print(row)
    if options.json is not None:
        content = {"device": describe_device(), "rows": rows}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
