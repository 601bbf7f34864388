"""Attacks without labels: a sample fails when less than half of its nearest training samples stay
nearest.
"""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.commands.evaluate import evaluate
from harness.commands.verify import recheck
from harness.engine.knn_consistency import NEIGHBOURS, Neighbourhood, Watched, unlabelled, watched
from harness.engine.loading import Loaded
from harness.models.contrastive.simclr import simclr
from harness.models.fusion.concat import concat
from harness.run.config import Evaluation
from harness.run.directory import RunDirectory
from tests.tiny import tiny

CPU = torch.device("cpu")


class Straight(nn.Module):
    """Embeds its input as it is."""

    def embed(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        return inputs["x"]


def watching(bank: Tensor, untouched: Tensor, count: int) -> Watched:
    unit = F.normalize(bank, dim=1)
    return Watched(Straight(), unit, (F.normalize(untouched, dim=1) @ unit.T).topk(count).indices)


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_it_fails_exactly_when_less_than_half_of_the_neighbours_stay(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    bank, x = torch.randn(40, 6, generator=generator), torch.randn(200, 6, generator=generator)
    model = watching(bank, x, count)
    assert bool((model({"x": x, "row": torch.arange(200)})[:, 2] == 1).all())
    moved = x + torch.randn(200, 6, generator=generator) * torch.linspace(0, 2, 200)[:, None]
    outputs = model({"x": moved, "row": torch.arange(200)})
    now = (F.normalize(moved, dim=1) @ model.bank.T).topk(count).indices  # type: ignore[operator]
    kept = torch.tensor([len({*a} & {*b}) for a, b in zip(now.tolist(), model.near.tolist(), strict=True)])  # type: ignore[operator]
    torch.testing.assert_close(outputs[:, 2], kept / count)
    fails = Neighbourhood().verdict(outputs, torch.zeros(200)).fails
    assert fails.tolist() == (kept < -(-count // 2)).tolist()
    assert 0 < int(fails.sum()) < 200


def test_models_without_an_embedding_are_refused() -> None:
    task = unlabelled(tiny(2))
    with pytest.raises(BadInput, match="has no embedding whose neighbours could be compared"):
        watched(Loaded("concat", concat(task), "", ""), task, CPU, [0])


def test_a_missing_modality_has_no_influence_on_an_embedding() -> None:
    task = tiny(2)
    model = simclr(task, "a").eval()
    batch = task.splits["test"].take(range(8))
    gone = torch.tensor([[False, True]]).expand(8, -1)
    other = {**batch.inputs, "a": torch.zeros_like(batch.inputs["a"])}
    torch.testing.assert_close(model.embed(batch.inputs, gone), model.embed(other, gone))


def test_evaluate_judges_embeddings_and_verify_holds(tmp_path: Path) -> None:
    """Two models in one run, each by its own neighbourhoods; at strength 0 every neighbour is
    there.
    """
    user = tmp_path / "mine.py"
    user.write_text(
        "import torch\nfrom harness.tasks import Task\ndef task():\n    g = torch.Generator().manual_seed(0)\n    x ="
        " torch.randn(400, 8, generator=g)\n    return Task.from_arrays({'x': x, 'y': x + torch.randn(400, 8,"
        " generator=g)}, torch.arange(400) % 2, name='toy')\nclass Net(torch.nn.Module):\n    def __init__(self,"
        " turned):\n        super().__init__()\n        self.turned = turned\n    def embed(self, inputs,"
        " present=None):\n        return inputs['x'] if self.turned else torch.cat([inputs['x'], inputs['y']], 1)\n   "
        " def forward(self, inputs, present=None):\n        return self.embed(inputs, present)[:, :2]\ndef one(task):"
        " return Net(False)\ndef other(task): return Net(True)\n"
    )
    config = Evaluation(
        task=f"{user}:task",
        model=(f"{user}:one", f"{user}:other"),
        scenario=("x@linf:1", "y@l2:1"),
        judge="neighbours",
        search="fast",
        samples=16,
        limit=4.0,
        witnesses="all",
        schedule=("mcar:0,0.5",),
        trust=True,
        out=str(tmp_path / "run"),
    )
    assert evaluate(config, Console(quiet=True)) == 0
    directory = RunDirectory(str(tmp_path / "run"))
    rows = directory.table("ledger").to_pylist()
    moved = [row for row in rows if row["scenario"] == "x@linf:1"]
    assert moved and all(row["clean_score"] == 1 for row in rows)
    found = [row for row in moved if row["strength"] < float("inf")]
    assert found and all(
        0 < row["strength"] <= 4 and float(row["label"]) < (NEIGHBOURS + 1) // 2 / NEIGHBOURS for row in found
    )
    unread = [row for row in rows if row["scenario"] == "y@l2:1" and row["model"].endswith("other")]
    assert all(row["strength"] == float("inf") for row in unread)
    claims = list(recheck(directory, [str(user)]))
    assert claims and all(holds for _, holds in claims)
    assert "without labels" in json.loads((tmp_path / "run" / "run.json").read_text())["note"]
