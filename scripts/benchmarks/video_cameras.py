"""People that several calibrated cameras film: how far a body from one of them is from what all see.

    hoijax observe "a man steps on a box" --video cam03.mp4 --objects box.ply --prior packaged \
        --hint box=0:0,800,232,195 --out bundles/cam03                               # and the others
    python -m scripts.benchmarks.video_cameras Calib.qca.txt bundles/cam0? --turned cam03

The clips measured in docs/priors.md are those of `Pose2Sim/Demo_SinglePerson` (wheel `pose2sim`, BSD-3-Clause).
Bundles are named as the cameras of a Qualisys calibration are, and are of the same moments. Their keypoints
are triangulated, each from the largest group of cameras that agree; the limbs of each camera's own body are
compared with that. The joints of a keypoint network are its own: some centimetres of the error are theirs.
"""

import itertools
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro
from numpy import ndarray
from rich.console import Console
from rich.table import Table
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

import hoijax
from hoijax.bodies import load_body
from hoijax.bundle.observations import Observations
from hoijax.initialization.evidence import body_keypoints
from hoijax.results.protocols.shared import similarity

LIMBS, HIPS = slice(2, 14), (8, 11)
AGREE = 15.0 / 1280.0
"""Of the image's height: farther from a triangulated keypoint a camera does not agree."""
SURE = 0.1
"""Confidence from which on a keypoint is triangulated."""


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    calibration: tyro.conf.Positional[Path]
    """Qualisys' .qca.txt."""
    bundles: tyro.conf.Positional[tuple[Path, ...]]
    turned: tuple[str, ...] = ()
    """Cameras that were moved after they were calibrated: left out of the triangulation, then turned to what
    the others see."""


@dataclass
class Camera:
    """A calibrated camera and what was seen through it; lengths in metres, pixels of the bundle."""

    name: str
    K: ndarray
    R: ndarray
    t: ndarray
    seen: Observations
    pixels: ndarray  # (T, 18, 2), without distortion
    sure: ndarray  # (T, 18)

    @property
    def matrix(self) -> ndarray:
        return self.K @ np.c_[self.R, self.t]

    def project(self, points: ndarray) -> ndarray:
        """Pixels of points in the world."""
        x = (points @ self.R.T + self.t) @ self.K.T
        return x[..., :2] / x[..., 2:]


def read_camera(calibration: Path, bundle: Path) -> Camera:
    """The calibrated camera of the bundle's name; camera axes x right, y down, z ahead."""
    for entry in ElementTree.parse(calibration).getroot().iterfind("cameras/camera"):
        if entry.attrib["serial"] == bundle.name:
            break
    else:
        raise hoijax.UserError(f"{calibration} has no camera {bundle.name}.")
    parts = {part.tag: part.attrib for part in entry}
    inside, pose = parts["intrinsic"], parts["transform"]
    fx, fy, cx, cy, height = (
        float(inside[key]) / 64.0  # stored in 64ths of pixels
        for key in (
            "focalLengthU",
            "focalLengthV",
            "centerPointU",
            "centerPointV",
            "sensorMaxV",
        )
    )
    seen = hoijax.read_bundle(bundle).observations
    scale = seen.image_size[0] / round(height + 1)
    K = np.diag([scale, scale, 1.0]) @ np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    flip = np.diag([1.0, -1.0, -1.0])
    R = flip @ np.array([float(pose[f"r{a}{b}"]) for a in "123" for b in "123"]).reshape(3, 3)
    t = -R @ np.array([float(pose[axis]) for axis in "xyz"]) / 1000.0
    lens = [float(inside[f"{kind}Distortion{i}"]) / 64.0 for kind in ("radial", "tangental") for i in (1, 2)]  # fmt: skip
    points = np.ascontiguousarray(seen.keypoints[0, ..., :2], np.float64)
    pixels = cv2.undistortPoints(points.reshape(-1, 1, 2), K, np.array(lens), P=K)
    return Camera(bundle.name, K, R, t, seen, pixels.reshape(points.shape), seen.keypoints[0, ..., 2])  # fmt: skip


def triangulated(cameras: list[Camera]) -> tuple[ndarray, ndarray]:
    """((T, 18, 3) keypoints in the world, (T, 18) mean distance in pixels); NaN where no two cameras agree."""
    shape = cameras[0].sure.shape
    points, error = np.full((*shape, 3), np.nan), np.full(shape, np.nan)
    limit = AGREE * cameras[0].seen.image_size[0]
    groups = [
        list(group)
        for count in range(len(cameras), 1, -1)
        for group in itertools.combinations(cameras, count)
    ]
    for t, k in np.ndindex(shape):
        for group in groups:  # the largest first
            if min(camera.sure[t, k] for camera in group) < SURE:
                continue
            point, apart = _intersection(group, t, k)
            if apart.max() < limit:
                points[t, k], error[t, k] = point, apart.mean()
                break
    return points, error


def _intersection(cameras: list[Camera], t: int, k: int) -> tuple[ndarray, ndarray]:
    """(the point nearest to the rays of a keypoint, its distance from each in pixels)."""
    rows = []
    for camera in cameras:
        P, weight = camera.matrix, np.sqrt(camera.sure[t, k])
        rows += [weight * (u * P[2] - P[i]) for i, u in enumerate(camera.pixels[t, k])]
    x = np.linalg.svd(np.array(rows))[2][-1]
    point = x[:3] / x[3]
    seen = [np.linalg.norm(c.project(point) - c.pixels[t, k]) for c in cameras]
    return point, np.array(seen)


def turn_to(camera: Camera, points: ndarray) -> float:
    """Turn a camera in its place until it sees the points at its keypoints; the degrees."""
    good = (camera.sure > 0.4) & np.isfinite(points[..., 0])
    good[:, [0, 1, *range(14, 18)]] = False
    R, t = camera.R, camera.t

    def apart(turn: ndarray) -> ndarray:
        T = Rotation.from_rotvec(turn).as_matrix()
        camera.R, camera.t = T @ R, T @ t
        return (camera.project(points[good]) - camera.pixels[good]).ravel()

    found = least_squares(apart, np.zeros(3), loss="soft_l1", f_scale=5.0).x
    apart(found)
    return float(np.degrees(np.linalg.norm(found)))


def errors(camera: Camera, points: ndarray) -> dict[str, float]:
    """Centimetres between the limbs of the camera's body and the points, in its frame; means over frames."""
    o = camera.seen
    true = (points @ camera.R.T + camera.t)[:, LIMBS]
    T = np.linalg.inv(np.asarray(o.Ts_world_camera, np.float64))
    joints = body_keypoints(load_body("anny"), o, 0)
    found = (np.einsum("tij,tkj->tki", T[:, :3, :3], joints) + T[:, None, :3, 3])[:, LIMBS]
    whole = np.isfinite(true).all(axis=(1, 2))
    true, found = true[whole], found[whole]
    hips = [h - LIMBS.start for h in HIPS]
    middles = [x[:, hips].mean(axis=1, keepdims=True) for x in (true, found)]
    aligned = [_aligned(a, b) for a, b in zip(found, true, strict=True)]
    return {
        "frames": float(whole.sum()),
        "hips aligned": 100 * _apart(found - middles[1], true - middles[0]),
        "turned, scaled": 100 * _apart(np.array([a for a, _ in aligned]), true),
        "in the camera's frame": 100 * _apart(found, true),
        "depth": float(np.median(middles[1][..., 2] / middles[0][..., 2])),
        "size": float(1.0 / np.median([scale for _, scale in aligned])),
    }


def _apart(a: ndarray, b: ndarray) -> float:
    return float(np.linalg.norm(a - b, axis=-1).mean())


def _aligned(points: ndarray, target: ndarray) -> tuple[ndarray, float]:
    """(points after the similarity that brings them nearest to the target, its scale)."""
    scale, rotation, shift = similarity(points, target)
    return scale * points @ rotation.T + shift, scale


def main(options: Options) -> None:
    """Print the table."""
    cameras = [read_camera(options.calibration, bundle) for bundle in options.bundles]
    points, _ = triangulated([c for c in cameras if c.name not in options.turned])
    degrees = {c.name: turn_to(c, points) for c in cameras if c.name in options.turned}
    points, error = triangulated(cameras)
    limbs = error[:, LIMBS]
    print(f"triangulated {np.isfinite(limbs).mean():.0%} of limb keypoints, {np.nanmedian(limbs):.1f} pixels off")  # fmt: skip
    rows = {camera.name: errors(camera, points) for camera in cameras}
    table = Table("camera", "turned", *next(iter(rows.values())))
    for name, row in rows.items():
        table.add_row(name, f"{degrees.get(name, 0.0):.1f}", *(f"{x:.4g}" for x in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
