"""How much memory the driver needs for a run of a million samples under seven scenarios.

    python benchmarks/memory.py [--samples 1000000] [--keep FOLDER]

The task, the model and the search are stubs, and all rows but those of the last cell are written
directly. Then the real commands work on the run, each a process of its own whose largest resident
memory is what the operating system says of it: `evaluate` plans, does the cell that is left,
checks, attributes and summarises; `report` and `gate` read the whole.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WANTED = 2.0  # GB
STUB = """
import torch
from harness.tasks import Task

COUNT = {count}

class Signs(torch.nn.Module):
    def forward(self, inputs, present=None):
        evidence = sum(x.mean(1) for name, x in sorted(inputs.items()))
        return torch.stack([-evidence, evidence], dim=1)

def build(task): return Signs()
def search(state): pass

def task():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(COUNT + 20) % 2
    side = 2.0 * labels[:, None] - 1
    inputs = {{name: side + torch.randn(len(labels), 2, generator=generator) for name in ("a", "b", "c")}}
    return Task.from_arrays(inputs, labels, splits=["train"] * 10 + ["val"] * 10 + ["test"] * COUNT)
"""
GATES = """
gates:
  - {model: "stub.py:build", min: 0.1}
  - {model: "stub.py:build", scenario: "a@linf:0.5", min: 0.1}
  - {model: "stub.py:build", scenario: "a@linf:0.5", measure: median critical strength, min: 0.1}
  - {model: "stub.py:build", measure: worst modality, strength: 1, min: 0.1}
  - {model: "stub.py:build", schedule: mcar, measure: area, min: 0.1}
"""
CONFIG: dict[str, Any] = {
    "task": "stub.py:task",
    "model": ("stub.py:build",),
    "scenario": ("a@linf:0.5 + b@linf:0.5 + c@linf:0.5", "a@linf:0.5"),
    "search": "stub.py:search",
    "samples": "all",
    "schedule": ("mcar:0,0.5",),
    "repeats": 1,
    "witnesses": "none",
    "attributions": 3,
    "out": "run",
}
COMMANDS = {
    "evaluate": ["evaluate", "--config", "run.yaml"],
    "report": ["report", "run", "--markdown", "tables.md"],
    "gate": ["gate", "run", "--gates", "gates.yaml"],
}
MAKE = (
    "import sys; from pathlib import Path; from benchmarks.memory import prepare_folder as p; p(Path(sys.argv[1]),"
    " int(sys.argv[2]))"
)


def prepare_folder(folder: Path, samples: int, cell: int = 4_096) -> None:
    """The files that the commands name, and the run without its last cell; in that folder, which is
    left again.
    """
    from harness.run.config import Evaluation, dump

    folder.mkdir(exist_ok=True)
    with contextlib.chdir(folder):
        Path("stub.py").write_text(STUB.format(count=samples))
        Path("gates.yaml").write_text(GATES)
        config = Evaluation.model_validate({**CONFIG, "batch_size": cell})
        Path("run.yaml").write_text(dump(config))
        _write(config)


def _write(config: Any) -> None:
    import torch

    from harness.engine.model_checks import check_models
    from harness.engine.plan import cells, load_all, prepare
    from harness.engine.standing import describe
    from harness.run.directory import RunDirectory

    cpu = torch.device("cpu")
    task, models = load_all(config, cpu)
    answering = check_models(models, task, cpu, config)
    work = prepare(config, task, models, answering)
    directory = RunDirectory(config.out)
    directory.start(describe(work, cpu), {name: each.fingerprint for name, each in answering.items()})
    for cell in cells(work)[:-1]:
        directory.put(cell.key, _tables(work, cell.rows), {}, "")
    directory.release()


def _tables(work: Any, rows: tuple[int, ...]) -> dict[str, Any]:
    """What a cell might find, as tables."""
    import numpy as np
    import pyarrow as pa

    from attacks.scenario import closure
    from harness.engine.ledger import scenario_columns
    from harness.run.schema import OPTIONAL, SCHEMAS

    random, count, names = np.random.RandomState(rows[0]), len(rows), work.task.splits["test"].samples
    samples = [names[row] for row in rows]
    shared = {
        "run": work.run,
        "task": work.task.name,
        "model": work.models[0].name,
        "seed": 0,
        "status": "ok",
        "limit": work.config.limit,
    }
    score = random.randint(2, size=count).astype(float)
    answers = {
        "target": [f"{each:g}" for each in score],
        "label": [f"{each:g}" for each in score],
        "tally": [[each, each] for each in score],
        "threshold": None,
        "score": score,
        "clean_score": score,
        "group": "all",
        "hash": samples,
        "witness": samples,
    }
    found: dict[str, list[dict[str, Any]]] = {"samples": [{}], "ledger": [], "sweep": [], "fronts": []}
    for scenario in (each for group in work.scenarios for each in closure(group)):
        strength = np.where(score > 0, random.exponential(1, count).clip(max=8), 0.0)
        found["ledger"].append({**scenario_columns(scenario), "strength": strength, "finder": "stub", "gradients": 100})
    levels = {(str(each), level) for each in work.schedules for level in each.levels}
    for schedule, level in sorted(levels):
        away = [letter in schedule.partition("(")[2] for letter in "abc"] if level == 1 else [level > 0, False, False]
        present = "".join("01"[not each] for each in away)
        kind = "corruption" if "@" in schedule else "schedule"
        found["sweep"].append({"kind": kind, "name": schedule, "level": level, "repeat": 0, "present": present})
    whole = {}
    for name in found:
        schema = pa.schema([field for field in SCHEMAS[name] if field.name not in OPTIONAL.get(name, ())])
        parts = []
        for part in found[name]:
            row = {**shared, **answers, "sample": samples, **part}
            columns = [row[field.name] if np.ndim(row[field.name]) else [row[field.name]] * count for field in schema]
            parts.append(
                pa.table(
                    [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
                )
            )
        whole[name] = pa.concat_tables([schema.empty_table(), *parts]).combine_chunks()
    return whole


def measured(folder: Path) -> Iterator[tuple[str, float, float]]:
    """Per command, its largest resident memory in GB, and seconds. This process is small: a child
    counts from what it is born with.
    """
    for name, words in COMMANDS.items():
        begun = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "harness", *words], cwd=folder, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 3, 4):
            raise SystemExit(f"{name} ended with {process.returncode}")
        yield name, usage.ru_maxrss * 1024 / 1e9, time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="where to make the run, and leave it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        made = [sys.executable, "-c", MAKE, str(folder), str(given.samples)]
        subprocess.run(made, check=True, cwd=Path(__file__).parents[1])
        most = 0.0
        for name, memory, seconds in measured(folder):
            print(f"{name}: {memory:.2f} GB at most, {seconds:.0f} s", flush=True)
            most = max(most, memory)
    print(f"{given.samples} samples × 7 scenarios: {most:.2f} GB at most (wanted: {WANTED:g})")
    sys.exit(most > WANTED)


if __name__ == "__main__":
    main()
