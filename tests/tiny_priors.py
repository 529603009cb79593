"""Priors that know the answer: a choreographed scene, rendered, and one fake model a role.

Every model satisfies its protocol in `priors.protocols` and answers from the same truth, looked up
by the image it is shown; so the chain of stages has an exact oracle. Every call is counted, on disk
too where HOIJAX_TEST_CALLS names a file, so that a killed process can be asked afterwards.
"""

import dataclasses
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hoijax.affordance.graph import PartAffordanceGraph
from hoijax.errors import UserError
from hoijax.objects.asset import Asset, load_asset
from hoijax.rendering.raycast import RenderMesh, cast
from hoijax.rendering.shading import shade
from priors.choreography.choreographer import choreograph
from priors.language.script import Script
from priors.protocols import BodyMotion, Detection, ModelId, PointMaps, Prompt, Tracks, Video
from priors.synthetic.from_text import make_script
from priors.synthetic.ground_truth import KnownMotion, rendered_ground_truth
from priors.synthetic.rendered_observations import RenderedGroundTruth

TEXT, FRAMES = "a person carries a box with both hands", 12
FPS = 8.0
SMALL = (96, 128)  # height, width


@dataclass(frozen=True)
class Answers:
    """A rendered scene of P people: what a perfect prior would say of every frame."""

    graph: PartAffordanceGraph
    assets: tuple[Asset, ...]
    frames: np.ndarray  # (T, H, W, 3)
    labels: np.ndarray  # (T, H, W)
    parts: np.ndarray
    points: np.ndarray  # (T, H, W, 3)
    keypoints: np.ndarray  # (P, T, 18, 3)
    intrinsics: np.ndarray
    T_world_camera: np.ndarray
    Ts_world_object: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    betas: np.ndarray
    rest_joints: np.ndarray

    @property
    def people(self) -> int:
        return len(self.keypoints)

    def frame(self, image: np.ndarray) -> int:
        """Which frame an image is."""
        same = (self.frames == image).all((1, 2, 3))
        assert same.sum() == 1, "an image that is no frame of the scene, or two frames alike"
        return int(np.flatnonzero(same)[0])


ARRAYS = [field.name for field in dataclasses.fields(Answers)][2:]


@lru_cache(maxsize=4)
def answers(text: str = TEXT, objects: tuple[str, ...] = ("box",), frames: int = FRAMES) -> Answers:
    """The scene of a sentence over procedural objects.

    Kept in the folder HOIJAX_TEST_SCENES where that is set: processes of one test make it once.
    """
    assets = tuple(load_asset(name) for name in objects)
    script = make_script(text, assets)
    folder = os.environ.get("HOIJAX_TEST_SCENES")
    path = Path(folder or ".") / f"{'-'.join(text.split())}-{frames}.npz"
    if folder and path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            return Answers(script.graph, assets, **{name: stored[name] for name in ARRAYS})
    made = _made(script, assets, frames)
    if folder:
        np.savez(path, **{name: getattr(made, name) for name in ARRAYS})
    return made


def _made(script: Script, assets: tuple[Asset, ...], frames: int) -> Answers:
    scene = choreograph(script, assets, frames=frames, seed=0)
    motion = KnownMotion(scene.joint_rotations, scene.translation, scene.betas, scene.rest_joints)
    camera = type(scene.camera).from_field_of_view(42.0, SMALL[1], SMALL[0])
    view = (camera, scene.T_world_camera)
    truth = rendered_ground_truth(
        "anny", motion, assets, scene.Ts_world_object, scene.contact, view=view
    )
    images = [_cast(truth, t) for t in range(frames)]
    return Answers(
        graph=script.graph,
        assets=assets,
        frames=np.stack([shade(picture) for picture in images]),
        labels=np.stack([p.instance_ids for p in images]),
        parts=np.stack([p.part_ids for p in images]),
        points=np.stack([p.points_camera for p in images]),
        keypoints=_project(truth),
        intrinsics=camera.matrix,
        T_world_camera=np.asarray(scene.T_world_camera, np.float32),
        Ts_world_object=scene.Ts_world_object,
        rotations=scene.joint_rotations,
        translations=scene.translation,
        betas=scene.betas,
        rest_joints=scene.rest_joints,
    )


def _cast(truth: RenderedGroundTruth, t: int):
    people = len(truth.person_vertices_world)
    meshes = [
        RenderMesh(
            truth.person_vertices_world[p, t], truth.person_faces, p + 1, None, (0.8, 0.6, 0.5)
        )
        for p in range(people)
    ]
    for o, asset in enumerate(truth.assets):
        T = truth.Ts_world_object[o, t]
        vertices = (asset.vertices @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
        meshes.append(
            RenderMesh(vertices, asset.faces, people + o + 1, asset.face_parts, (0.3, 0.4, 0.7))
        )
    return cast(meshes, truth.camera, truth.T_world_camera)


def _project(truth: RenderedGroundTruth) -> np.ndarray:
    inverse = np.linalg.inv(truth.T_world_camera)
    local = truth.keypoints_world @ inverse[:3, :3].T + inverse[:3, 3]
    c = truth.camera
    uv = local[..., :2] / local[..., 2:] * [c.fx, c.fy] + [c.cx, c.cy]
    return np.concatenate([uv, np.full((*uv.shape[:-1], 1), 0.9)], -1).astype(np.float32)


def _boxes(mask: np.ndarray) -> np.ndarray | None:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


@dataclass
class Fake:
    """Shared by all fakes: the scene, an id, and a count of calls."""

    scene: Answers
    name: str = "exact"
    calls: int = 0

    @property
    def model_id(self) -> ModelId:
        return ModelId(f"tests/{type(self).__name__}-{self.name}", "1")

    def called(self) -> None:
        self.calls += 1
        if path := os.environ.get("HOIJAX_TEST_CALLS"):
            with Path(path).open("a") as stream:
                stream.write(f"{type(self).__name__}\n")
        if os.environ.get("HOIJAX_TEST_HANG") == type(self).__name__:
            Path(os.environ["HOIJAX_TEST_HUNG"]).touch()
            time.sleep(600)
        once = os.environ.get("HOIJAX_TEST_DIE_ONCE", "")
        if once.startswith(f"{type(self).__name__}="):
            path = Path(once.partition("=")[2])
            if not path.exists():
                path.touch()
                os.kill(os.getpid(), signal.SIGKILL)


class Author(Fake):
    """The language model."""

    def graph(self, text: str, assets: Sequence[Asset], seed: int) -> PartAffordanceGraph:
        self.called()
        if "impossible" in text:
            raise UserError("nobody can do that. Ask for something else")
        return self.scene.graph


class Painter(Fake):
    def generate(self, prompt, *, height, width, seeds):
        self.called()
        return np.stack([self.scene.frames[0] for _ in seeds])


class Filmer(Fake):
    def generate(self, image, prompt, *, frames, seed):
        self.called()
        return Video(self.scene.frames[:frames], FPS)


class Finder(Fake):
    """Knows "person", the objects by description, and parts by "the PART part of the OBJECT"."""

    def detect(self, image, phrases):
        self.called()
        t, people = self.scene.frame(image), self.scene.people
        found = []
        for number, phrase in enumerate(phrases):
            masks = []
            if phrase == "person":
                masks = [self.scene.labels[t] == p + 1 for p in range(people)]
            for o, (asset, node) in enumerate(
                zip(self.scene.assets, self.scene.graph.objects, strict=True)
            ):
                mine = self.scene.labels[t] == people + o + 1
                if phrase in (node.description, node.name):
                    masks.append(mine)
                for q, part in enumerate(asset.part_names):
                    if phrase == f"the {part} part of the {asset.name}":
                        masks.append(mine & (self.scene.parts[t] == q))
            boxes = [box for mask in masks if (box := _boxes(mask)) is not None]
            found += [Detection(number, box, 0.9) for box in boxes]
        return found


class Tracker(Fake):
    """Gives every prompt the true mask whose box fits it best in the prompt's frame."""

    def track(self, frames, prompts: Sequence[Prompt]) -> Tracks:
        if len(frames) > 1:  # single images are the image stage's: clips are counted
            self.called()
        labels, parts = self.scene.labels, self.scene.parts
        order = [self.scene.frame(frame) for frame in frames]
        people = self.scene.people
        candidates = [labels == i + 1 for i in range(labels.max())]
        for o, asset in enumerate(self.scene.assets):
            if len(asset.part_names) > 1:
                candidates += [
                    (labels == people + o + 1) & (parts == q) for q in range(len(asset.part_names))
                ]
        masks = []
        for prompt in prompts:
            t = order[prompt.frame]
            boxes = [_boxes(c[t]) for c in candidates]
            errors = [np.inf if b is None else np.abs(b - prompt.box).max() for b in boxes]
            masks.append(candidates[int(np.argmin(errors))][order])
        stacked = np.stack(masks)
        return Tracks(stacked, stacked.any((2, 3)).astype(np.float32))


class Geometer(Fake):
    def point_maps(self, frames, intrinsics=None) -> PointMaps:
        self.called()
        order = [self.scene.frame(frame) for frame in frames]
        K = np.tile(self.scene.intrinsics, (len(order), 1, 1))
        return PointMaps(self.scene.points[order], self.scene.labels[order] > 0, K)


class Jointer(Fake):
    def keypoints(self, frames, boxes, present):
        self.called()
        order = [self.scene.frame(frame) for frame in frames]
        seen = int(np.flatnonzero(present)[0])
        center = 0.5 * (boxes[seen, :2] + boxes[seen, 2:])
        middle = self.scene.keypoints[:, order[seen], :, :2].mean(1)
        person = int(np.argmin(np.abs(middle - center).sum(-1)))
        return np.where(present[:, None, None], self.scene.keypoints[person][order], 0).astype(
            np.float32
        )


class Recoverer(Fake):
    def recover(self, video, keypoints, person_masks, maps, other_masks=None) -> BodyMotion:
        self.called()
        scene, frames = self.scene, len(video.frames)
        order = [scene.frame(frame) for frame in video.frames]
        errors = np.abs(scene.keypoints[:, order, :, :2] - keypoints[None, :, :, :2])
        p = int(np.argmin(errors.mean((1, 2, 3))))
        return BodyMotion(
            scene.rotations[p][order],
            scene.translations[p][order],
            scene.betas[p],
            scene.rest_joints[p],
            np.tile(scene.T_world_camera, (frames, 1, 1)),
        )


ROLES = {
    "language": Author,
    "image": Painter,
    "video": Filmer,
    "detector": Finder,
    "segmenter": Tracker,
    "geometry": Geometer,
    "keypoints": Jointer,
    "body": Recoverer,
}


@dataclass
class TinyModels:
    """`priors.observe.chain.Models` of fakes over one scene."""

    scene: Answers = field(default_factory=answers)
    replaced: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)

    def get(self, role: str) -> Any:
        if role in self.replaced:
            return self.replaced[role]
        if role not in ROLES:
            return None
        return self.made.setdefault(role, ROLES[role](self.scene))

    def release(self, roles: Sequence[str]) -> None:
        pass

    def check_ready(self, roles: Sequence[str]) -> None:
        pass

    def calls(self) -> dict[str, int]:
        return {role: model.calls for role, model in self.made.items()}
