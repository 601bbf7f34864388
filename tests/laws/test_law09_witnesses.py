"""Law 9: every stored witness passes `verify`, asked of the whole model."""

import io
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import load_file

from attacks.scenario import parse
from attacks.verify import verify
from harness.config import resolve
from harness.evaluate import evaluate
from harness.loading import load_model
from harness.objective import TaskObjective
from harness.rundir import RunDirectory
from harness.tasks import Task


def test_stored_witnesses_verify(elsewhere: Path, digits: Task) -> None:
    config = resolve(None, {"out": "run", "samples": 6, "model": ("mean",), "witnesses": "all"})
    assert evaluate(config, Console(file=io.StringIO())) == 0
    kept = {key: x for part in (elsewhere / "run" / "witnesses").iterdir() for key, x in load_file(part).items()}
    module, names = load_model("mean", digits, torch.device("cpu")).module, digits.splits["test"].samples
    rows = [row for row in RunDirectory("run").table("ledger").to_pylist() if row["strength"] < float("inf")]
    assert len(rows) > 30
    for row in rows:
        batch, scenario = digits.splits["test"].take([names.index(row["sample"])]), parse(row["scenario"])
        witness = dict(batch.inputs)
        for name in scenario.attacked_names:
            witness[name] = kept[f"{scenario}|{row['sample']}|{name}"][None]
        objective = TaskObjective(module, digits, batch.targets, torch.ones(1, 3, dtype=torch.bool), {})
        claim = (objective, batch.inputs, witness, digits.bounds(batch), scenario)
        assert bool(verify(*claim, torch.tensor([row["strength"]], dtype=torch.float64)))
        if row["strength"] > 0:
            assert not bool(verify(*claim, torch.tensor([row["strength"] * 0.99], dtype=torch.float64)))
