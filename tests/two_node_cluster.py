"""Observe a prompts file on a local Ray cluster of two nodes with the fakes of `tiny_priors`.

    python two_node_cluster.py PROMPTS OUT CACHE

Run by tests/test_many.py in a process of its own: Ray's warnings and threads stay out of pytest.
"""

import json
import os
import sys
from pathlib import Path

os.environ.update(RAY_DISABLE_IMPORT_WARNING="1", RAY_USAGE_STATS_ENABLED="0")
os.environ.setdefault("RAY_memory_usage_threshold", "0.99")

import ray
from ray.cluster_utils import Cluster
from tiny_priors import TinyModels

from priors.observe.many_scenes import observe_many
from priors.observe.run import ObserveOptions
from priors.settings import ObserveSettings


def main(prompts: str, out: str, cache: str) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    nodes = sum(node["Alive"] for node in ray.nodes())
    settings = ObserveSettings(frames=12, height=96, width=128, image_tries=1, image_candidates=1)
    options = ObserveOptions(settings, cache=Path(cache))
    progress = observe_many(
        Path(prompts), Path(out), options, models=TinyModels, cluster="ray", log=print
    )
    print(json.dumps({"nodes": nodes, "done": progress.done, "failures": progress.failed}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
