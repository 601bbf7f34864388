"""Memory of data sets of photographs: read one at a time, and held in memory.

    python -m benchmarks.lazy [--counts 500 2000 20000] [--train] [--json FILE]

Images of 3×224×224 are generated, as uint8 where they are read and as float32 where they are held.
A process of its own evaluates 200 of them with the network of a few megabytes of activations, or
trains on them for an epoch. The peak is the proportional memory (PSS) of that process and all that
it started, looked up twenty times a second on Linux; the seconds run from the process's start to
the first step of the search.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLES, BATCH = 200, 16
CODE = '''
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from attacks.presets import FAST
from harness.tasks import Classification, Task

COUNT, LAZY, BEGUN = {count}, {lazy}, {begun}
SIDE = 224


def label(index):
    return index % 2


def picture(index):
    """Noise, lighter in one half; eight bits."""
    random = np.random.default_rng(index)
    noise = random.integers(0, 200, (3, SIDE, SIDE), dtype=np.uint8)
    half = slice(0, SIDE // 2) if label(index) else slice(SIDE // 2, SIDE)
    noise[:, half] += 40
    return noise


class Pictures(torch.utils.data.Dataset):
    def __init__(self, first, count):
        self.first, self.count = first, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {{"image": picture(self.first + index)}}, label(self.first + index)


def task():
    problem, kinds = Classification(2), {{"image": "image"}}
    learnt = COUNT if {train} else 0
    if LAZY:
        parts = {{"test": Pictures(0, SAMPLES)}} if learnt else {{"test": Pictures(0, COUNT)}}
        if learnt:
            parts |= {{"train": Pictures(SAMPLES, COUNT), "val": Pictures(SAMPLES + COUNT, SAMPLES)}}
        return Task.from_dataset(parts, problem=problem, kinds=kinds, readers=2)
    images = torch.empty(COUNT, 3, SIDE, SIDE)
    for index in range(COUNT):
        images[index] = torch.from_numpy(picture(index))
    labels = torch.arange(COUNT) % 2
    return Task.from_arrays(
        {{"image": images}}, labels, kinds=kinds, ranges={{"image": (0, 255)}}, splits="test", duplicates="allowed",
        problem=problem,
    )


SAMPLES = {samples}


class Net(nn.Module):
    """A stem of stride 4: 32 maps of 56×56 are 0.4 MB a sample; all together 1 MB."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 7, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
            nn.Linear(128, 2),
        )

    def forward(self, inputs, present=None):
        return self.layers(inputs["image"] / 255 - 0.5)


def build(task):
    torch.manual_seed(0)
    return Net()


def search(state):
    began = Path("began")
    if not began.exists():
        began.write_text(str(time.time() - BEGUN))
    return FAST(state)
'''


def tree(process: int) -> set[int]:
    """A process and all that it started."""
    found, left = {process}, [process]
    while left:
        for task in Path(f"/proc/{left.pop()}/task").glob("*/children"):
            started = {int(each) for each in task.read_text().split()}
            left += started - found
            found |= started
    return found


def proportional(process: int) -> int:
    """Bytes of proportional memory of a process; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def peak(words: list[str], folder: Path) -> float:
    """The largest proportional memory of a command and its processes, in GB."""
    command = [sys.executable, "-m", "harness", *words]
    with (folder / "printed").open("w") as printed:
        process = subprocess.Popen(command, cwd=folder, stdout=printed, stderr=subprocess.STDOUT)
        most = 0
        while process.poll() is None:
            try:
                most = max(most, sum(map(proportional, tree(process.pid))))
            except OSError:
                continue
            time.sleep(0.05)
    if process.returncode:
        raise SystemExit(
            f"{' '.join(words)} ended with {process.returncode}: {(folder / 'printed').read_text()[-2000:]}"
        )
    return most / 1e9


def measured(count: int, lazy: bool, train: bool) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code = CODE.format(count=count, lazy=lazy, begun=time.time(), train=train, samples=SAMPLES)
        (folder / "big.py").write_text(code)
        words = [
            "train",
            "--model",
            "big.py:build",
            "--task",
            "big.py:task",
            "--epochs",
            "1",
            "--out",
            "net.safetensors",
        ]
        if not train:
            words = [
                "evaluate", "--task", "big.py:task", "--model", "big.py:build", "--search", "big.py:search",
                "--samples", str(SAMPLES), "--batch-size", str(BATCH), "--witnesses", "none", "--out", "run",
            ]  # fmt: off
        begun = time.monotonic()
        most = peak(words, folder)
        began = folder / "began"
        return {
            "images": count,
            "as": "read" if lazy else "held",
            "verb": words[0],
            "peak_gb": round(most, 2),
            "data_gb": round(count * 3 * 224 * 224 * 4 / 1e9, 2),
            "first_step_s": round(float(began.read_text()), 1) if began.is_file() else None,
            "seconds": round(time.monotonic() - begun, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 2_000, 20_000])
    parser.add_argument("--ways", choices=["read", "held"], nargs="+", default=["read", "held"])
    parser.add_argument("--train", action="store_true", help="train on them for an epoch instead")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows = []
    for count in options.counts:
        for way in options.ways:
            rows.append(measured(count, way == "read", options.train))
            print(rows[-1], flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
