"""A scene on disk: what was asked, what was seen, and where every number came from.

A folder or a zip of one, described in docs/bundle.md well enough to write one with numpy and json
alone. Nothing is read that is not listed with its SHA-256 in bundle.json, nothing is pickled, and
every problem of a damaged or foreign bundle is reported at once.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hoijax.bundle.bundle import Bundle
from hoijax.bundle.files import MANIFEST, open_bundle, write_files
from hoijax.bundle.observations import Observations
from hoijax.bundle.read import (
    AFFORDANCE,
    OBSERVATIONS,
    TRUTH,
    VIDEO,
    digest,
    inspect_bundle,
    inspect_ground_truth,
)
from hoijax.bundle.schema import (
    FORMAT,
    MESH_SHAPES,
    SAMPLE_SHAPES,
    VERSION,
    GroundTruth,
    Provenance,
)
from hoijax.errors import UserError
from hoijax.io.npz import npz_bytes
from hoijax.io.validation import count_of, numbered
from hoijax.objects.articulated.joints import joint_rows
from hoijax.objects.asset import Asset, save_asset

__all__ = [
    "Bundle",
    "GroundTruth",
    "Provenance",
    "bundle_hash",
    "check_bundle",
    "read_bundle",
    "read_ground_truth",
    "write_bundle",
]


def write_bundle(
    path: str | Path,
    bundle: Bundle,
    ground_truth: GroundTruth | None = None,
    video: bytes | None = None,
) -> Path:
    """Write a bundle to a folder, or to a zip where the path ends in .zip; all of it or nothing.

    truth: what really happened, for the metrics. video: the content of an mp4.
    Equal content gives equal bytes on one machine, in every file. Raises UserError when `read_bundle`
    would refuse the result, or when it cannot be written.
    """
    path = Path(path)
    files, objects = _asset_files(bundle.assets)
    for entry, asset in zip(objects, bundle.assets, strict=True):
        if yaws := bundle.proposed_yaws.get(asset.name):
            entry["yaws"] = [float(yaw) for yaw in yaws]
    files[AFFORDANCE] = bundle.affordance.to_json().encode()
    arrays = _arrays(bundle.observations)
    if not bundle.observations.color_images.size:
        del arrays["color_images"]
    files[OBSERVATIONS] = npz_bytes({k: a for k, a in arrays.items() if k not in bundle.absent})
    if ground_truth is not None:
        files[TRUTH] = npz_bytes(_arrays(ground_truth))
    if video is not None:
        files[VIDEO] = video
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "prompt": bundle.prompt,
        "fps": float(bundle.fps),
        "frame_count": bundle.frame_count,
        "image_size": bundle.image_size,
        "people": [
            {"name": person.name, "body": body}
            for person, body in zip(bundle.affordance.people, bundle.bodies, strict=True)
        ],
        "objects": objects,
        **({"joints": joint_rows(bundle.joints, bundle.assets)} if bundle.joints else {}),
        "provenance": {key: p.model_dump(mode="json") for key, p in bundle.provenance.items()},
        "sha256": {name: digest(files[name]) for name in sorted(files)},
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files = {MANIFEST: text.encode(), **{name: files[name] for name in sorted(files)}}
    _, problems = inspect_bundle(_FilesInMemory(files), reports_all=True)
    _, ground_truth_problems = (
        inspect_ground_truth(_FilesInMemory(files)) if ground_truth is not None else (None, [])
    )
    if problems or ground_truth_problems:
        raise _refusal(path, problems + ground_truth_problems, "cannot be written, it would have")
    write_files(path, files)
    return path


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle, having checked all of it but the ground truth, which is not even opened.

    Raises UserError that lists every problem: the file, the key, what was expected and found.
    """
    with open_bundle(Path(path)) as files:
        bundle, problems = inspect_bundle(files, reports_all=False)
    if bundle is None or problems:
        raise _refusal(path, problems)
    return bundle


def read_ground_truth(path: str | Path) -> GroundTruth:
    """Read what really happened from a bundle that has it, for the metrics.

    Raises UserError when the bundle has none, or a damaged one.
    """
    with open_bundle(Path(path)) as files:
        ground_truth, problems = inspect_ground_truth(files)
    if ground_truth is None or problems:
        raise _refusal(path, problems)
    return ground_truth


def check_bundle(path: str | Path) -> list[str]:
    """Every problem of a bundle at once, beside those of `read_bundle` also files without a use.

    The bytes of the ground truth are compared with their SHA-256; what is in them is not looked at.
    """
    try:
        with open_bundle(Path(path)) as files:
            return inspect_bundle(files, reports_all=True)[1]
    except UserError as error:
        return [str(error)]


def bundle_hash(path: str | Path) -> str:
    """SHA-256 of bundle.json, which holds that of every other file: the identity of a scene.

    The same for a folder and its zip. `read_bundle` makes sure that the files still fit.
    """
    with open_bundle(Path(path)) as files:
        if MANIFEST not in files.names():
            raise _refusal(path, [f"{MANIFEST}: is missing"])
        return digest(files.read(MANIFEST))


class _FilesInMemory:
    def __init__(self, files: Mapping[str, bytes]):
        self.files = files

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        return self.files[name]


def _refusal(path: str | Path, problems: list[str], verb: str = "has") -> UserError:
    return UserError(f"the bundle {path} {verb} {count_of(problems)}:\n{numbered(problems)}")


def _arrays(struct: Observations | GroundTruth) -> dict[str, np.ndarray]:
    fields = struct.__annotations__
    return {key: np.asarray(getattr(struct, key)) for key in fields}


def _asset_files(
    assets: tuple[Asset, ...],
) -> tuple[dict[str, bytes], list[dict[str, object]]]:
    """(files, their entries in bundle.json) of the objects.

    The arrays themselves are what is read back: a glb regroups faces and vertices by part, and
    the seeded samples follow that order, so a replay from it would not be the same to the bit.
    """
    files: dict[str, bytes] = {}
    entries: list[dict[str, object]] = []
    for i, asset in enumerate(assets):
        stem = re.sub(r"[^a-z0-9_-]+", "_", asset.name.lower()).strip("_") or "object"
        stem = f"{stem}_{i}" if f"objects/{stem}.npz" in files else stem
        keys = [*MESH_SHAPES, *SAMPLE_SHAPES]
        files[f"objects/{stem}.npz"] = npz_bytes({key: getattr(asset, key) for key in keys})
        files[f"objects/{stem}.glb"] = asset.appearance or _parts_glb(asset)
        entries.append(
            {
                "name": asset.name,
                "parts": list(asset.part_names),
                "file": f"objects/{stem}.npz",
                "preview": f"objects/{stem}.glb",
            }
        )
    return files, entries


def _parts_glb(asset: Asset) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return save_asset(asset, Path(folder) / "object.glb").read_bytes()
