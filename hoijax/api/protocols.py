"""Results, or other people's motions, measured by the field's protocols: one clip or a folder of many."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hoijax.api.result_folder import find_ground_truth
from hoijax.errors import UserError
from hoijax.importers.mesh_folders import mesh_folders
from hoijax.importers.mesh_motions import (
    motions_of_ground_truth,
    motions_of_result,
    read_mesh_motions,
)
from hoijax.results.protocols.mesh_motion import MeshMotion
from hoijax.results.protocols.registry import mean_rows, measure, protocol_names
from hoijax.results.result import load_result

Pairs = tuple[MeshMotion, ...]


@dataclass(frozen=True)
class ProtocolScores:
    """Values by clip, then by "protocol/metric"."""

    clips: dict[str, dict[str, float]]
    omitted: dict[str, dict[str, str]]
    """What was not measured: clip -> "protocol/measure" -> reason."""
    missing: dict[str, str]
    """Clips that could not be measured at all -> reason."""

    @property
    def mean(self) -> dict[str, float]:
        return mean_rows(list(self.clips.values()))


def evaluate_protocols(
    path: str | Path,
    protocols: str = "all",
    *,
    truth: str | Path | None = None,
    objects: Sequence[str | Path] = (),
    body: str = "anny",
    fps: float | None = None,
) -> ProtocolScores:
    """Measure one clip, or every clip of a folder (`hoijax evaluate RESULT --protocol chois,v2d`).

    path: result folder, npz of vertices, two folders of meshes, AMASS, OMOMO, InterAct or InterMimic
    motion, or a folder of such. fps: of motions whose files have no frame rate.
    truth: the same for the ground truth; of a folder, the files or folders of the same names. Without
    it a result is compared with its bundle's truth, where there is one. Several objects or people of a
    clip are averaged. Raises UserError when nothing can be measured.
    """
    names = protocol_names(protocols)
    path, truth = Path(path), None if truth is None else Path(truth)
    if not path.exists() or (truth is not None and not truth.exists()):
        raise UserError(f"'{path if not path.exists() else truth}' does not exist.")
    if _is_clip(path):
        pairs = _read(path, truth, objects, body, fps)
        values, omitted = _measure(pairs, names)
        return ProtocolScores({path.name: values}, {path.name: omitted}, {})
    clips, omissions, missing = {}, {}, {}
    for name, (clip, true) in _entries(path, truth).items():
        try:
            if clip is None:
                raise UserError("the ground truth has it, the results do not")
            clips[name], omissions[name] = _measure(_read(clip, true, objects, body, fps), names)
        except UserError as error:
            missing[name] = str(error)
    if not clips:
        listed = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise UserError(f"'{path}' holds nothing to measure. {listed}".strip())
    return ProtocolScores(clips, omissions, missing)


def _is_clip(path: Path) -> bool:
    inside = any((path / name).is_file() for name in ("run.json", "human.npz"))
    return path.is_file() or inside or mesh_folders(path) is not None


def _entries(path: Path, truth: Path | None) -> dict[str, tuple[Path | None, Path | None]]:
    """Clip and its truth by name; a clip that only the ground truth has is None."""

    def inside(folder: Path) -> dict[str, Path]:
        children = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        return {p.stem: p for p in children if p.is_dir() or p.suffix in (".npz", ".pt")}

    clips = inside(path)
    if truth is None:
        return {name: (clip, None) for name, clip in clips.items()}
    truths = inside(truth)
    return {name: (clips.get(name), truths.get(name)) for name in sorted({*clips, *truths})}


def _read(
    path: Path, truth: Path | None, objects: Sequence[str | Path], body: str, fps: float | None
) -> list[tuple[MeshMotion, MeshMotion | None]]:
    """Every person-object pair of a clip, with its truth at the same times."""
    predicted, true = read_pairs(path, objects, body, fps)
    if truth is not None:
        true, _ = read_pairs(truth, objects, body, fps)
    if true is None:
        return [(motion, None) for motion in predicted]
    if len(true) != len(predicted):
        raise UserError(
            f"'{path}' has {len(predicted)} person-object pairs, its ground truth {len(true)}."
        )
    return [(p, t.at_frames_of(p)) for p, t in zip(predicted, true, strict=True)]


def read_pairs(
    path: Path,
    objects: Sequence[str | Path],
    body: str,
    fps: float | None = None,
    *,
    with_truth: bool = True,
) -> tuple[Pairs, Pairs | None]:
    """A clip's pairs, and their truth where the clip itself knows it and it is asked for."""
    if not (path / "run.json").is_file():
        return read_mesh_motions(path, objects, body, fps), None
    result = load_result(path)
    if not len(result.body_betas):
        raise UserError(
            f"the result in '{path}' has no bodies; protocols measure people with objects."
        )
    ground_truth = find_ground_truth(result, path) if with_truth else None
    true = None if ground_truth is None else motions_of_ground_truth(result, ground_truth)
    return motions_of_result(result), true


def _measure(
    pairs: list[tuple[MeshMotion, MeshMotion | None]], names: Sequence[str]
) -> tuple[dict[str, float], dict[str, str]]:
    measured = [measure(predicted, true, names) for predicted, true in pairs]
    omitted = {name: reason for _, reasons in measured for name, reason in reasons.items()}
    return mean_rows([values for values, _ in measured]), omitted
