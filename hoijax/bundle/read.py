"""Reading a bundle: all files checked, every problem found at once, the ground truth left alone."""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np

from hoijax.affordance.graph import PartAffordanceGraph, graph_problems
from hoijax.bundle.bundle import Bundle
from hoijax.bundle.evidence import (
    absent_keys,
    layout_of,
    observation_value_problems,
    observations_from,
)
from hoijax.bundle.files import MANIFEST, BundleFiles, unsafe_name
from hoijax.bundle.observations import Observations
from hoijax.bundle.plausibility import (
    OBSERVATION_LIMITS,
    TRUTH_LIMITS,
    magnitude_problems,
)
from hoijax.bundle.read_assets import parts_file, read_asset
from hoijax.bundle.schema import (
    EVERY_ARRAY,
    TRUTH_DTYPES,
    TRUTH_SHAPES,
    GroundTruth,
    Manifest,
    array_problems,
    manifest_problems,
    observation_layout,
    rigid_problems,
)
from hoijax.io.npz import read_npz
from hoijax.io.validation import parse_json, validation_problems
from hoijax.objects.appearance import checked_appearance
from hoijax.objects.articulated.joints import Joint, joints_between

AFFORDANCE = "affordance.json"
OBSERVATIONS = "observations.npz"
TRUTH = "truth.npz"
VIDEO = "video.mp4"


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _read_manifest(files: BundleFiles) -> tuple[Manifest | None, list[str]]:
    if MANIFEST not in files.names():
        return None, [f"{MANIFEST}: is missing; is this the folder of a bundle?"]
    try:
        data = parse_json(files.read(MANIFEST).decode("utf-8"))
    except ValueError as error:  # covers text that is not UTF-8
        return None, [f"{MANIFEST}: expected JSON, found damage: {error}"]
    problems = manifest_problems(data)
    problems = problems or [
        f"{MANIFEST}: key {problem}" for problem in validation_problems(Manifest, data)
    ]
    if problems:
        return None, problems
    manifest = Manifest.model_validate(data)
    named = [node.name for node in (*manifest.people, *manifest.objects)]
    repeated = sorted({name for name in named if named.count(name) > 1})
    problems += [f"{MANIFEST}: the name {name!r} is used twice" for name in repeated]
    keys = observation_layout()[0]
    for key in manifest.provenance:
        if key not in (*keys, EVERY_ARRAY):
            problems.append(f"{MANIFEST}: key 'provenance': {key!r} is no array of {OBSERVATIONS}")
    return manifest, problems


def _provenance_problems(arrays: Mapping[str, np.ndarray], manifest: Manifest) -> list[str]:
    missing = [key for key in arrays if key not in manifest.provenance]
    if not missing or EVERY_ARRAY in manifest.provenance:
        return []
    return [
        f"{MANIFEST}: key 'provenance': says nothing of {', '.join(missing)}; "
        f"{EVERY_ARRAY!r} stands for all arrays not named"
    ]


def _read_files(
    files: BundleFiles, manifest: Manifest, reports_all: bool
) -> tuple[dict[str, bytes], list[str]]:
    """(content of every file that is used, problems with names and hashes)."""
    contents: dict[str, bytes] = {}
    problems: list[str] = []
    present = set(files.names()) - {MANIFEST}
    used = {AFFORDANCE, OBSERVATIONS, *(node.file for node in manifest.objects)}
    used |= {name for node in manifest.objects if (name := parts_file(node)) in manifest.sha256}
    previews = {node.preview for node in manifest.objects if node.preview}
    used |= previews & present & set(manifest.sha256)
    known = used | {TRUTH, VIDEO} | previews
    for name in sorted({*used, *manifest.sha256}):
        if reason := unsafe_name(name):
            problems.append(f"{MANIFEST}: the file name {name!r} {reason}")
        elif name not in manifest.sha256:
            problems.append(f"{MANIFEST}: key 'sha256': {name} is missing; list every file")
        elif name not in used and not reports_all:
            continue  # the ground truth, above all
        elif name not in present:
            problems.append(f"{name}: is missing; {MANIFEST} lists it")
        else:
            try:
                content = files.read(name)
            except ValueError as error:
                problems.append(f"{name}: {error}")
                continue
            if name in used:
                contents[name] = content
            if (actual := digest(content)) != manifest.sha256[name]:
                problems.append(
                    f"{name}: expected SHA-256 {manifest.sha256[name]}, found {actual}; the file "
                    "was changed or damaged after the bundle was made"
                )
    if reports_all:
        listed = set(manifest.sha256)
        problems += [f"{name}: is not listed in {MANIFEST}" for name in sorted(present - listed)]
        problems += [f"{name}: has no use in a bundle" for name in sorted(listed - known)]
    return contents, problems


def inspect_bundle(files: BundleFiles, reports_all: bool) -> tuple[Bundle | None, list[str]]:
    """(the bundle, where nothing stands in the way; every problem). Never looks into the ground truth.

    reports_all: also files without a use and files that are not read, by their hash.
    """
    manifest, problems = _read_manifest(files)
    if manifest is None:
        return None, problems
    contents, file_problems = _read_files(files, manifest, reports_all)
    problems += file_problems
    assets = []
    for node in manifest.objects:
        if node.file in contents:
            asset, asset_problems = read_asset(node, contents)
            appearance = checked_appearance(contents.get(node.preview or ""))
            if asset is not None and appearance is not None:
                asset = dataclasses.replace(asset, appearance=appearance)
            problems += asset_problems
            assets.append(asset)
    graph, graph_errors = _read_graph(contents, manifest)
    observations, absent, array_errors = _read_observations(contents, manifest)
    joints, joint_errors = _read_joints(manifest)
    problems += graph_errors + array_errors + joint_errors
    if problems or graph is None or observations is None:
        return None, problems
    bundle = Bundle(
        manifest.prompt,
        manifest.fps,
        graph,
        tuple(asset for asset in assets if asset is not None),
        tuple(person.body for person in manifest.people),
        observations,
        manifest.provenance,
        {node.name: node.yaws for node in manifest.objects if node.yaws},
        joints,
        absent,
    )
    return bundle, []


def _read_joints(manifest: Manifest) -> tuple[tuple[Joint, ...], list[str]]:
    rows, problems = [], []
    for joint in manifest.joints:
        T = np.array(joint.T_parent_joint)
        where = f"{MANIFEST}: key 'joints': T_parent_joint of '{joint.name}'"
        problems += rigid_problems(T[None].astype(np.float32), where)
        lower = -np.inf if joint.lower is None else joint.lower
        upper = np.inf if joint.upper is None else joint.upper
        axis = np.array(joint.axis)
        rows.append((joint.name, joint.kind, joint.parent, joint.child, T, axis, (lower, upper)))
    joints, wrong = joints_between([node.name for node in manifest.objects], rows)
    return joints, problems + [f"{MANIFEST}: key 'joints': {problem}" for problem in wrong]


def _read_graph(
    contents: Mapping[str, bytes], manifest: Manifest
) -> tuple[PartAffordanceGraph | None, list[str]]:
    if AFFORDANCE not in contents:
        return None, []
    try:
        data = parse_json(contents[AFFORDANCE].decode("utf-8"))
    except ValueError as error:
        return None, [f"{AFFORDANCE}: expected JSON, found damage: {error}"]
    problems = graph_problems(data)
    graph = None
    if not problems:
        graph = PartAffordanceGraph.model_validate(data)
        problems = graph.check_against({node.name: node.parts for node in manifest.objects})
        named, expected = [p.name for p in graph.people], [p.name for p in manifest.people]
        if named != expected:
            problems.append(f"people: expected {expected} as in {MANIFEST}, found {named}")
    return graph, [f"{AFFORDANCE}: {problem}" for problem in problems]


def _read_observations(
    contents: Mapping[str, bytes], manifest: Manifest
) -> tuple[Observations | None, tuple[str, ...], list[str]]:
    """(observations with padding for what the file lacks, the arrays it lacks, problems)."""
    if OBSERVATIONS not in contents:
        return None, (), []
    arrays, damage = read_npz(contents[OBSERVATIONS], OBSERVATIONS)
    if not arrays and damage:
        return None, (), list(damage.values())
    shapes, dtypes, optional = layout_of(manifest.version, [*arrays, *damage])
    sizes = _sizes(manifest)
    problems = array_problems(arrays, OBSERVATIONS, shapes, dtypes, sizes, damage, optional)
    limits = {key: limit for key, limit in OBSERVATION_LIMITS.items() if key in arrays}
    problems = problems or magnitude_problems(arrays, limits, OBSERVATIONS)
    problems += _provenance_problems(arrays, manifest)
    if problems:
        return None, (), problems
    absent = absent_keys(arrays)
    observations = observations_from(arrays, {axis: size for axis, (size, _) in sizes.items()})
    names = [node.name for node in manifest.objects]
    counts = [len(node.parts) for node in manifest.objects]
    problems = observation_value_problems(observations, absent, names, counts)
    return observations, absent, problems


def _sizes(manifest: Manifest) -> dict[str, tuple[int, str]]:
    """Axis lengths that bundle.json sets, and how to name them in a message."""
    height, width = manifest.image_size
    return {
        "T": (manifest.frame_count, f"frame_count in {MANIFEST}"),
        "H": (height, f"image_size in {MANIFEST}"),
        "W": (width, f"image_size in {MANIFEST}"),
        "P": (len(manifest.people), f"people in {MANIFEST}"),
        "O": (len(manifest.objects), f"objects in {MANIFEST}"),
    }


def inspect_ground_truth(files: BundleFiles) -> tuple[GroundTruth | None, list[str]]:
    """(the ground truth, where nothing stands in the way; every problem)."""
    manifest, problems = _read_manifest(files)
    if manifest is None or problems:
        return None, problems
    if TRUTH not in files.names() or TRUTH not in manifest.sha256:
        return None, [f"{TRUTH}: is missing; only made and captured scenes have one"]
    try:
        content, graph_content = files.read(TRUTH), files.read(AFFORDANCE)
    except (ValueError, KeyError) as error:
        return None, [f"{TRUTH}: {error}"]
    if (actual := digest(content)) != manifest.sha256[TRUTH]:
        problems = [f"{TRUTH}: expected SHA-256 {manifest.sha256[TRUTH]}, found {actual}"]
    graph, graph_errors = _read_graph({AFFORDANCE: graph_content}, manifest)
    arrays, damage = read_npz(content, TRUTH)
    problems += graph_errors
    if graph is None or (not arrays and damage):
        return None, problems + list(damage.values())
    sizes = _sizes(manifest) | {"E": (len(graph.edges), f"edges in {AFFORDANCE}")}
    problems += array_problems(arrays, TRUTH, TRUTH_SHAPES, TRUTH_DTYPES, sizes, damage)
    problems = problems or magnitude_problems(arrays, TRUTH_LIMITS, TRUTH)
    if problems:
        return None, problems
    for key in ("Ts_world_object", "Ts_world_camera"):
        problems += rigid_problems(arrays[key], f"{TRUTH}: key {key!r}")
    return GroundTruth(**arrays), problems
