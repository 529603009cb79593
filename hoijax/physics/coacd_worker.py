"""CoACD in a process of its own: it can be ended, it may crash, and its memory is bounded.

Called as `python -P coacd_worker.py IN.npz OUT.npz`: vertices (V, 3) and faces (F, 3) to the vertices of all
pieces (N, 3) and how many of them each has (P,). Imports nothing of hoijax: it starts in half a second.
"""

import sys

import coacd
import numpy as np

MAX_PIECES = 24
CONCAVITY = 0.1
"""Of a piece, as CoACD measures it (0 convex .. 1)."""
MAX_BYTES = 8 << 30


def decompose(source: str, target: str) -> None:
    """Read a mesh, write its pieces; coarse enough for seconds."""
    with np.load(source, allow_pickle=False) as mesh:
        vertices, faces = mesh["vertices"], mesh["faces"]
    coacd.set_log_level("off")
    parts = coacd.run_coacd(
        coacd.Mesh(vertices, faces),
        threshold=CONCAVITY,
        max_convex_hull=MAX_PIECES,
        preprocess_resolution=20,
        resolution=500,
        mcts_nodes=5,
        mcts_iterations=20,
        mcts_max_depth=1,
        seed=0,
    )
    pieces = [np.asarray(points, np.float64).reshape(-1, 3) for points, _ in parts]
    counts = np.array([len(points) for points in pieces], np.int64)
    np.savez(target, vertices=np.concatenate(pieces), counts=counts)


if __name__ == "__main__":
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    decompose(*sys.argv[1:])
