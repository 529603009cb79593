"""Many scenes on a Ray cluster (`--cluster ray` of `hoijax solve` and `observe`, extra `cluster`).

A task is told which scenes, not what is in them: paths travel, arrays do not, so every node must see
the same folders. A task works on the same folder as any other process, so what it shares with
runners outside Ray, and what a dead task leaves, is settled there; Ray starts lost tasks again.
"""

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hoijax.errors import UserError
from hoijax.progress import Log

Share = Callable[[Sequence[str]], tuple[int, int]]
SCENES_OF_A_TASK = 8
RETRIES = 10
"""Times Ray starts a task again whose worker or node was lost; above `folder.MAX_CRASHES`."""
CONNECT_SECONDS = 15.0


def check_cluster(cluster: str | None) -> None:
    """Raises UserError for a cluster that is not "ray", is not installed, or does not answer."""
    if cluster is None:
        return
    if cluster != "ray":
        raise UserError(f"--cluster: no cluster '{cluster}'. Known: ray.")
    if importlib.util.find_spec("ray") is None:
        raise UserError("--cluster ray needs Ray: pip install 'hoijax[cluster]'.")
    address = os.environ.get("RAY_ADDRESS")
    if address and address not in ("auto", "local"):
        _check_address(address)


def _check_address(address: str) -> None:
    import socket

    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise UserError(f"RAY_ADDRESS is '{address}'. Write host:port, ray://host:port or local.")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({error}). Start one (ray start "
            "--head), correct the address, or unset RAY_ADDRESS to use this machine."
        ) from error


def connect(log: Log) -> bool:
    """Join the cluster of $RAY_ADDRESS, or start Ray on this machine; whether it was started here."""
    import ray

    if ray.is_initialized():
        return False
    address = os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    try:
        ray.init(address=address or "local", **quiet)
    except Exception as error:
        raise UserError(
            f"Ray does not start or answer ({type(error).__name__}: {error}). Check RAY_ADDRESS."
        ) from error
    log(f"Ray: {'cluster at ' + address if address else 'this machine'}, {ray.cluster_resources()}")
    return True


def resources_of_a_task(cluster: Mapping[str, float]) -> dict[str, Any]:
    """What one task asks for: a GPU, the four chips of a TPU host, or a core."""
    if cluster.get("GPU", 0) >= 1:
        return {"num_gpus": 1, "num_cpus": 1}
    if cluster.get("TPU", 0) >= 1:
        return {"resources": {"TPU": min(4.0, cluster["TPU"])}, "num_cpus": 1}
    return {"num_cpus": 1}


def slots_of(cluster: Mapping[str, float], asked: Mapping[str, Any]) -> int:
    """How many tasks run at once."""
    wanted = {"CPU": asked["num_cpus"], "GPU": asked.get("num_gpus", 0)}
    wanted |= asked.get("resources", {})
    return max(int(min(cluster.get(k, 1) / n for k, n in wanted.items() if n)), 1)


def run_tasks(share: Share, names: Sequence[str], log: Log, most: int = SCENES_OF_A_TASK) -> None:
    """Do items by Ray tasks of at most `most` items; returns when all tasks have ended.

    share: does the items it is given, in a work folder, and returns (done, failed); it is pickled, so
    it names modules and paths and holds no arrays. What is still missing afterwards (of a task that
    died more often than Ray tries) is the caller's.
    """
    import ray
    from ray.exceptions import RayError

    started = connect(log)
    try:
        cluster = ray.cluster_resources()
        asked = resources_of_a_task(cluster)
        size = max(min(most, -(-len(names) // slots_of(cluster, asked))), 1)
        task = ray.remote(**asked, max_retries=RETRIES)(_do_share)
        shares = [list(names[i : i + size]) for i in range(0, len(names), size)]
        log(f"{len(shares)} tasks of up to {size} scenes, each with {asked}")
        waiting = [task.remote(share, item) for item in shares]
        while waiting:
            (reference,), waiting = ray.wait(waiting, num_returns=1)
            try:
                done, failed = ray.get(reference)
                log(f"task ended: {done} done, {failed} failed; {len(waiting)} tasks left")
            except RayError as error:
                log(f"a task was lost: {type(error).__name__}: {str(error).splitlines()[-1]}")
    finally:
        if started:
            ray.shutdown()  # ends what still runs


def _do_share(share: Share, names: list[str]) -> tuple[int, int]:
    return share(names)
