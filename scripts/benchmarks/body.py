"""Seconds to pose a body and pull a gradient back through it: hoijax beside the body-models package.

    python -m scripts.benchmarks.body --json docs/results/body_speed.json

Forward and backward over a batch of frames of a loss on all vertices and joints, with gradients of pose and
translation. The SMPL-X file has the real sizes (10,475 vertices, 55 joints, 486 pose correctives) and made
numbers, so no licence is needed. The contestants take turns in one process, round after round; read the
ratios, not the seconds. Compilation is not counted.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # PyTorch's idle threads must not spin
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

VERTICES, JOINTS, BETAS, CORRECTIVES = 10475, 55, 20, 486
Contestants = dict[str, Callable[[], np.ndarray]]
"""Each runs once, waits for the device and returns the gradient of the pose."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0: its own choice")
    parser.add_argument("--json", type=Path, help="write rows and summary here")
    return parser.parse_args()


def made_smplx(path: Path) -> Path:
    """An SMPL-X npz of the real sizes: skin in blobs around a made skeleton, four joints per vertex."""
    from hoijax.bodies import JOINT_NAMES, JOINT_PARENTS, load_body

    rng = np.random.default_rng(0)
    anny = load_body("anny")
    chosen = np.sort(rng.choice(len(anny.template), VERTICES, replace=False))
    template = np.asarray(anny.template)[chosen].astype(np.float64)
    weights = np.zeros((VERTICES, JOINTS))
    np.add.at(
        weights,
        (np.arange(VERTICES)[:, None], np.asarray(anny.skin_indices)[chosen]),
        np.asarray(anny.skin_weights)[chosen],
    )
    near = ((template[None] - np.asarray(anny.joints_template)[:, None]) ** 2).sum(-1)
    regressor = np.exp(-near / 0.02**2) + 1e-12
    parents = np.array(JOINT_PARENTS)
    parents[0] = 2**32 - 1
    np.savez(
        path,
        v_template=template,
        shapedirs=rng.normal(size=(VERTICES, 3, 400)) * 1e-3,
        posedirs=rng.normal(size=(VERTICES, 3, CORRECTIVES)) * 1e-4,
        J_regressor=regressor / regressor.sum(1, keepdims=True),
        kintree_table=np.array([parents, range(JOINTS)], np.uint32),
        weights=weights / weights.sum(1, keepdims=True),
        f=rng.integers(0, VERTICES, (20908, 3)).astype(np.uint32),
        hands_meanl=np.zeros(45),
        hands_meanr=np.zeros(45),
        joint2num=np.array({name: i for i, name in enumerate(JOINT_NAMES)}, dtype=object),
    )
    return path


def hoijax_runner(body: Any, pose: np.ndarray, move: np.ndarray, pick: np.ndarray | None = None):
    import jax
    import jax.numpy as jnp

    shaped = body.shape(jnp.zeros(min(BETAS, body.shape_directions.shape[-1])))
    if pick is not None:
        shaped = shaped.subset(pick)

    @jax.jit
    def gradient(shaped, pose, move):
        def loss(pose, move):
            posed = jax.vmap(shaped.pose)(pose, move)
            return jnp.mean(posed.vertices_world**2) + jnp.mean(posed.joints_world**2)

        return jax.grad(loss, (0, 1))(pose, move)

    given = shaped, jnp.asarray(pose), jnp.asarray(move)
    return lambda: np.asarray(jax.block_until_ready(gradient(*given))[0])


def identity_of(model: Any, xp: Any, count: int) -> Any:
    """The mean shape, prepared once outside the timing as ours is (the package's own fast path)."""
    return model.prepare_identity(
        xp.zeros((count, model.NUM_SHAPE_COEFFS)), xp.zeros((count, model.NUM_EXPR_COEFFS))
    )


def theirs(model: Any, identity: Any, pose: Any, move: Any) -> Any:
    """The same loss on a body-models SMPL-X."""
    given = {
        "body_pose": pose[:, 1:22],
        "head_pose": pose[:, 22:25],
        "hand_pose": pose[:, 25:],
        "pelvis_rotation": pose[:, 0],
        "global_translation": move,
        "identity": identity,
    }
    vertices, joints = model.forward_vertices(**given), model.forward_skeleton(**given)
    return (vertices**2).mean() + (joints[..., :3, 3] ** 2).mean()


def body_models_jax(path: Path, pose: np.ndarray, move: np.ndarray):
    import jax
    import jax.numpy as jnp
    from body_models.smplx.jax import SMPLX

    model = SMPLX(model_path=path, flat_hand_mean=True)
    identity = jax.tree.map(jnp.asarray, identity_of(model, jnp, 1))
    gradient = jax.jit(jax.grad(lambda p, m, i: theirs(model, i, p, m), (0, 1)))
    given = jnp.asarray(pose), jnp.asarray(move), identity
    return lambda: np.asarray(jax.block_until_ready(gradient(*given))[0])


def body_models_torch(path: Path, pose: np.ndarray, move: np.ndarray, threads: int):
    import torch
    from body_models.smplx.torch import SMPLX

    if threads:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = SMPLX(model_path=path, flat_hand_mean=True).to(device)

    with torch.device(device), torch.no_grad():
        identity = identity_of(model, torch, 1)

    def run() -> np.ndarray:
        p, m = (torch.as_tensor(x, device=device).requires_grad_() for x in (pose, move))
        theirs(model, identity, p, m).backward()
        assert p.grad is not None
        return p.grad.cpu().numpy()

    return run


def measure(contestants: Contestants, rounds: int) -> list[dict[str, Any]]:
    for run in contestants.values():
        run()
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            begin, begin_cpu = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - begin)
            cpu[name].append(time.process_time() - begin_cpu)
    return [
        {
            "name": name,
            "seconds": median(wall[name]),
            "cpu_seconds": median(cpu[name]),
            "rounds_seconds": wall[name],
        }
        for name in contestants
    ]


def main() -> None:
    arguments = parse_arguments()
    rng = np.random.default_rng(1)
    pose = (0.2 * rng.normal(size=(arguments.frames, JOINTS, 3))).astype(np.float32)
    move = rng.normal(size=(arguments.frames, 3)).astype(np.float32)
    from hoijax.bodies import load_body, load_smplx

    with tempfile.TemporaryDirectory() as folder:
        path = made_smplx(Path(folder) / "SMPLX_NEUTRAL.npz")
        smplx = load_smplx(path, betas=BETAS)
        pick = np.sort(rng.choice(VERTICES, 1000, replace=False))
        ours = "hoijax SMPL-X"
        contestants: Contestants = {
            ours: hoijax_runner(smplx, pose, move),
            "body-models SMPL-X, JAX": body_models_jax(path, pose, move),
            "body-models SMPL-X, PyTorch": body_models_torch(path, pose, move, arguments.threads),
            "hoijax SMPL-X, no correctives": hoijax_runner(
                smplx.replace(pose_correctives=None),  # pyright: ignore[reportAttributeAccessIssue]
                pose,
                move,
            ),
            "hoijax Anny": hoijax_runner(load_body("anny"), pose, move),
            "hoijax SMPL-X, 1,000 vertices": hoijax_runner(smplx, pose, move, pick),
        }
        reference = contestants[ours]()
        scale = np.abs(reference).max()
        for name in list(contestants)[1:3]:
            error = np.abs(contestants[name]() - reference).max() / scale
            assert error < 1e-3, f"{name} computes something else: {error}"
        rows = measure(contestants, arguments.rounds)
    report(rows, arguments)


def report(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    import jax
    from rich.console import Console
    from rich.table import Table

    base = rows[0]
    table = Table("contestant", "ms", "CPU ms", "x hoijax", "x hoijax CPU")
    for row in rows:
        ratios = [row[key] / base[key] for key in ("seconds", "cpu_seconds")]
        row["ratio"], row["cpu_ratio"] = ratios
        numbers = [f"{1e3 * row[key]:.1f}" for key in ("seconds", "cpu_seconds")]
        table.add_row(row["name"], *numbers, *(f"{ratio:.2f}" for ratio in ratios))
    Console().print(f"{arguments.frames} frames, forward and backward", table)
    device = jax.devices()[0]
    kind = device.device_kind if device.platform != "cpu" else platform.processor() or "cpu"
    summary = {
        "frames": arguments.frames,
        "ratio_vs_body_models_jax": rows[1]["ratio"],
        "ratio_vs_body_models_torch": rows[2]["ratio"],
        "device": f"{device.platform}: {kind}, {os.cpu_count()} cores",
    }
    print(json.dumps(summary))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"rows": rows, "summary": summary}, indent=2) + "\n")


if __name__ == "__main__":
    main()
