"""Cells as tasks of Ray: on the cores or GPUs of this machine, or of the cluster at an address.

Each core (of a GPU run, each GPU) has a worker, an actor that loads the task and the models once. A
worker that dies, with its node or alone, gives its cell back, and another takes its place as soon
as the cluster has room for it.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from attacks.errors import BadInput
from harness.engine.cell import Progress
from harness.engine.executors.outcome import Failed, Outcome
from harness.engine.executors.worker import Begun, Sent, begun, gradients, ready, received, request, worked
from harness.engine.plan import Cell, Work
from harness.run.schema import Parts
from harness.storage.output import make_patient
from harness.tasks.files.dataroot import VARIABLE

ATTEMPTS = 3  # nodes die by themselves: a cell is an error only if it kills its worker again and again
PATIENCE = 5.0  # seconds for a cluster to answer
GONE = 3.0  # seconds without a node after which the cluster counts as lost
FAREWELL = 2.0  # seconds for a cluster to let go of this process
LOOK = 1.0  # seconds between two looks at whether it is still there
STORE = 256 * 2**20  # bytes of Ray's memory on this machine: results of cells are fetched at once
SETTINGS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # otherwise Ray warns of a change in later versions
    "RAY_USAGE_STATS_ENABLED": "0",  # else it reports to its makers
    "RAY_worker_niceness": "0",  # else workers yield to all else on this machine, as those of --engine local do not
}


def library() -> Any:
    """The library Ray, if it is installed.

    Raises:
        BadInput: it is not installed.
    """
    os.environ.update({name: value for name, value in SETTINGS.items() if name not in os.environ})
    try:
        import ray
    except ImportError:
        raise BadInput(
            "--engine ray needs Ray: pip install 'multimodal-robustness-harness[ray]', or use --engine local"
        ) from None
    return ray


class Worker:
    """A worker in a process of Ray. It runs in the driver's folder, and does one cell after the
    other.
    """

    def load(self, folder: str, path: list[str], data_root: str | None, start: Begun) -> None:
        """Load the task and the models, as the driver did.

        Raises:
            BadInput: the driver's folder is not on this machine.
        """
        if not Path(folder).is_dir():
            mend = "run from a folder that every node has, with the same files"
            raise BadInput(
                f"node {socket.gethostname()} of the Ray cluster has no folder {folder}, in which this command runs:"
                f" {mend}"
            )
        os.chdir(folder)
        sys.path += [entry for entry in path if entry not in sys.path]
        os.environ.update({} if data_root is None else {VARIABLE: data_root})
        make_patient()
        ready(start, 1)

    def work(self, model: str, key: str, rows: tuple[int, ...], seconds: float | None) -> Sent:
        return worked(model, key, rows, seconds)


@dataclass(eq=False)
class _Slot:
    """A worker, its present cell (None while it loads or waits), and how many loading workers its
    place has lost.
    """

    actor: Any
    cell: Cell | None = None
    deaths: int = 0


def on_ray(
    work: Work, left: deque[Cell], device: torch.device, progress: Progress, deadline: float | None
) -> Iterator[tuple[Cell, Outcome]]:
    """Do as many cells at a time as the cluster has cores, or GPUs, for; see `serially`."""
    ray, finished, killed = library(), False, Counter[str]()
    with _connected(ray, work.config.address):
        wanted = "GPU" if device.type == "cuda" else "CPU"
        actors = ray.remote(num_cpus=0, num_gpus=1)(Worker) if wanted == "GPU" else ray.remote(num_cpus=1)(Worker)
        calls, idle = dict[Any, _Slot](), list[_Slot]()

        def begin(deaths: int = 0) -> None:
            slot = _Slot(actors.remote(), deaths=deaths)
            calls[slot.actor.load.remote(*_standing(work, device))] = slot

        for _ in range(min(_room(ray, wanted), len(left))):
            begin()
        while left or any(slot.cell for slot in calls.values()):
            while left and idle:
                slot = idle.pop()
                slot.cell = left.popleft()
                calls[slot.actor.work.remote(*request(slot.cell, deadline if finished else None))] = slot
            if not calls:
                raise BadInput(
                    f"every Ray worker was killed {ATTEMPTS} times while it loaded the task and the models: check"
                    " its memory"
                )
            done = _ended(ray, list(calls), wanted)
            slot = calls.pop(done)
            cell, slot.cell = slot.cell, None
            try:
                sent = ray.get(done)
            except ray.exceptions.RayTaskError as error:  # not of the cell, whose faults are its outcome
                raise error.cause from None
            except ray.exceptions.RayError:
                ray.kill(slot.actor)
                deaths = slot.deaths + (cell is None)
                if deaths < ATTEMPTS:
                    begin(deaths)
                if cell is not None:
                    killed[cell.key] += 1
                    if killed[cell.key] == ATTEMPTS:
                        yield (
                            cell,
                            Failed(
                                f"its worker was killed {ATTEMPTS} times: by its node, because memory ran out, or by a"
                                " library\n"
                            ),
                        )
                    else:
                        left.append(cell)
                continue
            idle.append(slot)
            if cell is not None:
                outcome = received(sent)
                finished = finished or isinstance(outcome, Parts)
                progress(len(cell.rows) * work.search_count, gradients(outcome))
                yield cell, outcome


def _ended(ray: Any, calls: list[Any], wanted: str) -> Any:
    """The first call that has come to an end.

    Raises:
        BadInput: no node of the cluster has answered for some seconds; Ray itself would wait for
            ever.
    """
    seen = time.monotonic()
    while True:
        done, _ = ray.wait(calls, num_returns=1, timeout=LOOK)
        if done:
            return done[0]
        if _is_alive(ray, wanted):
            seen = time.monotonic()
        elif time.monotonic() - seen > GONE:
            raise BadInput(
                "the Ray cluster has no node left: start nodes and run the same command, which resumes the run"
            )


def _is_alive(ray: Any, wanted: str) -> bool:
    """Whether the cluster's head answers, and a node has the resources that a worker needs. Ray
    notices a dead node after 15 seconds.
    """
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    if not _answers(host, int(port)):
        return False
    able = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(wanted)]
    return any(_answers(node["NodeManagerAddress"], node["NodeManagerPort"]) for node in able)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=LOOK).close()
    except OSError:
        return False
    return True


def _standing(work: Work, device: torch.device) -> tuple[str, list[str], str | None, Begun]:
    return str(Path.cwd()), sys.path, os.environ.get(VARIABLE), begun(work, device)


def _room(ray: Any, wanted: str) -> int:
    room = int(ray.cluster_resources().get(wanted, 0))
    if not room:
        raise BadInput(f"the Ray cluster has no {wanted}: add nodes that have one, or choose another --device")
    return room


def _reached(address: str) -> None:
    """The address, after a check that a cluster answers there: Ray itself would go on asking.

    Raises:
        BadInput: there is no such address, or no cluster answers within seconds.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # `auto`, or another word of Ray's
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise BadInput(f"--address {address}: no Ray cluster can be reached there: {error}") from None


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Ray on this machine for as long as the block lasts, or the cluster at an address.

    Raises:
        BadInput: no cluster answers there.
    """
    if address is not None:
        _reached(address)
    here = {"address": "local", "include_dashboard": False, "object_store_memory": STORE}
    try:
        ray.init(**(here if address is None else {"address": address}), log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(
            f"--address {address}: no Ray cluster can be reached there: {reason}" if address else f"Ray: {reason}"
        ) from None
    try:
        yield
    finally:
        end = threading.Thread(target=ray.shutdown, daemon=True)  # it waits long for a cluster that is gone
        end.start()
        end.join(FAREWELL)
