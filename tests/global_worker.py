"""One process of a distributed solve: `python tests/global_worker.py RANK COUNT PORT`; prints JSON."""

import json
import sys

import jax

rank, count, port = map(int, sys.argv[1:])
if count > 1:
    jax.distributed.initialize(f"127.0.0.1:{port}", count, rank)

from compiled_text import collectives_in  # noqa: E402
from test_batch import make_jobs, make_weights, solve  # noqa: E402  # after the processes have met

from hoijax.solver.multihost import (  # noqa: E402
    GlobalBatch,
    tell_all,
)

SCENES = 5
jobs = make_jobs(SCENES)
# Unequal shares: one process has four scenes, the other one, and in the second run none.
own = list(range(SCENES)) if count == 1 else ([0, 1, 2, 3], [4])[rank]
batch = GlobalBatch(solve)
weights = make_weights(0.0, 50.0)
found = batch.run([jobs[i] for i in own], jobs[0], weights)
again = batch.run([jobs[0]] if rank == 0 else [], jobs[0], weights)
(program,) = batch.compiled.values()
print(
    json.dumps(
        {
            "devices": jax.device_count(),
            "local": jax.local_device_count(),
            "losses": {i: s.losses.tolist() for i, s in zip(own, found, strict=True)},
            "again": [s.losses.tolist() for s in again],
            "collectives": collectives_in(program),
            "told": tell_all({"rank": rank}),
        }
    )
)
