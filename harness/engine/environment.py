"""The environment of a number: the device, the versions, the commit."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import torch

from attacks.errors import BadInput, unknown

DEVICES = ("auto", "cpu", "cuda")
PACKAGES = ("torch", "numpy", "scikit-learn", "pyarrow", "duckdb")


def choose_device(wanted: str) -> torch.device:
    """The device to compute on.

    Raises:
        BadInput: the device is not auto, cpu or cuda, or it is cuda and the machine has none.
    """
    if wanted not in DEVICES:
        raise unknown("device", wanted, DEVICES)
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: this machine has no CUDA device that torch can use; use auto or cpu")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def device_name(device: torch.device) -> str:
    """The name of the GPU, or the CPU with the number of threads that torch uses."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"


def machine(device: torch.device) -> str:
    """The hardware that decides the last bits of an answer, beside the versions of the libraries:
    the processor, and the GPU if there is one.
    """
    kind = f"{platform.machine()}, {_processor()}, {torch.backends.cpu.get_cpu_capability()}"
    return f"{kind}, {device_name(device)}" if device.type == "cuda" else kind


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a number may depend on."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES}


def git_commit() -> str | None:
    """The commit of the current repository, if there is one."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
