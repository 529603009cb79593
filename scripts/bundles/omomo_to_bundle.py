"""Turn a captured OMOMO interaction into an observation bundle with truth.

    python -m scripts.bundles.omomo_to_bundle ../shared/data/omomo/sub2_woodchair_006.npz --out bundles/chair

The free body is posed with the captured motion on the captured bone lengths; body and object are
rendered by ray casting and degraded by the noise model, so the solver sees what imperfect priors
would say of a video. The truth goes into truth.npz, which the solver never opens.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from hoijax.affordance.graph import (
    AffordanceEdge,
    AffordanceObject,
    AffordancePerson,
    PartAffordanceGraph,
    PartReference,
)
from hoijax.bodies import load_body
from hoijax.bodies.kinematics import SMPLH_JOINTS, rotations_from_smplh
from hoijax.bundle.write import Bundle, Provenance, write_bundle
from hoijax.errors import UserError
from hoijax.geometry.transforms import compose_rigid
from hoijax.objects.asset import Asset, asset_from_arrays, load_asset
from priors.synthetic.ground_truth import KnownMotion, rendered_ground_truth
from priors.synthetic.observation_noise import NoiseModel
from priors.synthetic.rendered_observations import RenderedGroundTruth, observe_with_ground_truth

WHOLE_OBJECT_PART = "body"


@dataclass(frozen=True)
class Options:
    """Options of the conversion."""

    sequence: tyro.conf.Positional[Path]
    """A `<sequence>.npz` in the format of shared/data/omomo/README.md."""
    out: Path
    """Bundle folder (or .zip) to write."""
    frames: int = 49
    stride: int = 3
    """Take every n-th captured frame (30 fps); shortened where the sequence is too short."""
    seed: int = 0
    azimuth: float = 35.0
    """Degrees between the world's +z axis and the camera."""
    noise: bool = True
    """Off: perfect observations (for tests)."""


def chosen_frames(contact: np.ndarray, frames: int, stride: int) -> np.ndarray:
    """Indices of a window around the contact, shortened in stride where the clip is too short."""
    count = len(contact)
    if count < frames:
        raise UserError(f"the sequence has {count} frames; {frames} are asked for.")
    stride = max(1, min(stride, (count - 1) // (frames - 1)))
    touched = np.flatnonzero(contact == 1)
    middle = int(touched.mean()) if len(touched) else count // 2
    span = (frames - 1) * stride
    start = int(np.clip(middle - span // 2, 0, count - 1 - span))
    return start + stride * np.arange(frames)


def labeled_asset(path: Path, name: str) -> Asset:
    """The captured mesh with parts by position, as an open-vocabulary segmenter would name them."""
    plain = load_asset(path, name=name)
    centers = plain.vertices[plain.faces].mean(axis=1)
    if name == "woodchair":  # up is +z in this scan; the seat is near z = 0
        z = centers[:, 2]
        labels = np.where(z > 0.05, 1, np.where(z < -0.06, 2, 0))
        parts = ("seat", "backrest", "legs")
    elif name == "largetable":  # up is +y
        labels, parts = np.where(centers[:, 1] > 0.015, 0, 1), ("top", "legs")
    else:
        labels, parts = np.zeros(len(centers), int), (WHOLE_OBJECT_PART,)
    return asset_from_arrays(name, plain.vertices, plain.faces, labels, parts)


def captured_motion(data: dict[str, np.ndarray], frames: np.ndarray) -> KnownMotion:
    """The captured body as SMPL-X parameters on the captured bone lengths (pelvis at the origin)."""
    count = len(frames)
    body_and_hands = np.concatenate(
        [
            data["root_orient"][frames].reshape(count, 1, 3),
            data["pose_body"][frames].reshape(count, 21, 3),
            data["pose_hand"][frames].reshape(count, 30, 3),
        ],
        axis=1,
    )
    body = load_body("anny")
    neutral = np.asarray(body.joints_template)
    rest = neutral - neutral[15] + data["rest_joints"][15]  # jaw and eyes were not captured: ours
    rest[list(SMPLH_JOINTS)] = data["rest_joints"]
    betas = body.fit_betas(rest)
    return KnownMotion(
        rotations_from_smplh(body_and_hands)[None],
        data["trans"][frames][None].astype(np.float32),
        betas[None],
        rest[None].astype(np.float32),
    )


def captured_graph(
    data: dict[str, np.ndarray], frames: np.ndarray, asset: Asset, Ts: np.ndarray
) -> tuple[PartAffordanceGraph, np.ndarray]:
    """A graph in place of a language model's: hands that the capture marks, on the part they are at.

    Contact is marked as intermittent (a_c false) and static in the object's frame (a_s true).
    """
    names = [str(name) for name in data["joint_names"]]
    wrists = {side: names.index(f"{side}_wrist") for side in ("left", "right")}
    fingers = {side: names.index(f"{side}_middle3") for side in ("left", "right")}
    edges, states = [], []
    for side, wrist in wrists.items():
        labels = data["contact_human"][frames]
        touching = (labels[:, wrist] == 1) | (labels[:, fingers[side]] == 1)
        if touching.sum() < 3:
            continue
        palm = data["joint_positions"][frames][:, names.index(f"{side}_middle1")]
        local = np.einsum("tji,tj->ti", Ts[:, :3, :3], palm - Ts[:, :3, 3])[touching]
        distance = np.linalg.norm(local[:, None] - asset.samples[None], axis=-1)
        nearest = asset.sample_parts[np.argmin(distance, axis=1)]
        part = asset.part_names[np.bincount(nearest).argmax()]
        edges.append(
            AffordanceEdge(
                first=PartReference(entity="person 1", part=f"{side}_hand"),
                second=PartReference(entity=asset.name, part=part),
                is_continuous=False,
                is_rel_static=True,
            )
        )
        states.append(touching)
    graph = PartAffordanceGraph(
        objects=(
            AffordanceObject(
                name=asset.name,
                parts=asset.part_names,
                is_translational=True,
                is_rotational=True,
                description=f"a {asset.name}",
            ),
        ),
        people=(AffordancePerson(name="person 1", description="a person"),),
        edges=tuple(edges),
        video_prompt=str(data["caption"]),
    )
    return graph, np.stack(states)


def read_sequence(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a sequence. Raises UserError where the file is not one."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            data = {key: stored[key] for key in stored.files}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the sequence '{path}': {error}") from error
    if "object_mesh" not in data or "contact_object" not in data:
        raise UserError(f"'{path}' is not a captured sequence: keys {sorted(data)}.")
    return data


@dataclass(frozen=True)
class CapturedScene:
    """A window of a capture as a known scene, with the graph it fulfils."""

    scene: RenderedGroundTruth
    graph: PartAffordanceGraph
    caption: str
    fps: float
    source: str


def captured_scene(options: Options) -> CapturedScene:
    """The window of a sequence that the options choose. Raises UserError where there is none."""
    data = read_sequence(options.sequence)
    frames = chosen_frames(data["contact_object"], options.frames, options.stride)
    asset = labeled_asset(
        options.sequence.parent / str(data["object_mesh"]), str(data["object_name"])
    )
    Ts = compose_rigid(data["object_rotation"][frames], data["object_translation"][frames])
    graph, contact = captured_graph(data, frames, asset, Ts)
    scene = rendered_ground_truth(
        "anny",
        captured_motion(data, frames),
        (asset,),
        Ts[None],
        contact,
        azimuth_degrees=options.azimuth,
    )
    fps = float(data["fps"]) / int(frames[1] - frames[0])
    return CapturedScene(scene, graph, str(data["caption"]), fps, str(data["source"]))


def convert(options: Options) -> Path:
    """Write the bundle and return its path."""
    captured = captured_scene(options)
    noise = NoiseModel() if options.noise else NoiseModel.none()
    rendered = observe_with_ground_truth(captured.scene, noise, options.seed)
    provenance = Provenance(
        model="priors.synthetic.rendered_observations",
        revision="1",
        settings={**dataclasses.asdict(noise), "source": captured.source},
        seed=options.seed,
    )
    bundle = Bundle(
        prompt=captured.caption,
        fps=captured.fps,
        affordance=captured.graph,
        assets=captured.scene.assets,
        bodies=("anny",),
        observations=rendered.observations,
        provenance={"*": provenance},
    )
    return write_bundle(options.out, bundle, ground_truth=rendered.ground_truth)


def main() -> None:
    """Command line."""
    print(convert(tyro.cli(Options, description=__doc__)))


if __name__ == "__main__":
    main()
