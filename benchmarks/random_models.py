"""The bias of stored draws: critical strengths of random models against those of the expectation.

    python -m benchmarks.random_models [--samples 60] [--draws 4 16 64] [--json FILE]

Two models, each evaluated with a few stored draws:

- A linear model with noise of standard deviation 1 on its margin. The critical strength of the
  expectation is exact: noise has the median 0. The table gives the mean difference from it and the
  standard deviation of the difference, in strengths that move the margin by 1.
- `concat` on `digits`, with Gaussian noise of 1.6 on pixels from 0 to 16. The attack sees the
  stored draws and fits them. The table gives how often a witness fails under 1,000 fresh draws, on
  average, and the share of the witnesses that fail in fewer than half of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import harness
from harness.tasks import Task

FRESH, AT_ONCE = 1000, 50
SIGMA = 1.6
SCENARIO = "image@linf:1.6"


class Noisy(torch.nn.Module):
    """The margin is the sum of four values, with noise."""

    def forward(self, inputs: dict[str, Tensor], present: object = None) -> Tensor:
        evidence = inputs["a"].sum(1) + torch.randn(len(inputs["a"]))
        return torch.stack([-evidence / 2, evidence / 2], 1)


class Blurred(torch.nn.Module):
    """A network that sees its image under noise."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        image = inputs["image"]
        answer: Tensor = self.network({**inputs, "image": image + SIGMA * torch.randn_like(image)}, present)
        return answer


def linear(draws: int, samples: int) -> dict[str, float]:
    """The differences of the critical strengths from those of the expectation."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % 2
    a = (2.0 * labels[:, None] - 1) * (1 + torch.rand(samples, 4, generator=generator))
    task = Task.from_arrays({"a": a}, labels, splits="test", name="linear")
    run = harness.evaluate(
        task, {"noisy": Noisy()}, samples="all", draws=draws, scenarios=["a@linf:0.25"], limit=100, **quiet()
    )
    margins = dict(zip(task.splits["test"].samples, a.sum(1).abs().tolist(), strict=True))
    apart = torch.tensor([row.strength - margins[row.sample] for row in run.ledger.itertuples()])
    return {"mean difference": float(apart.mean()), "standard deviation": float(apart.std())}


def fitted(draws: int, samples: int) -> dict[str, float]:
    """How often witnesses fail under fresh draws."""
    from harness.engine.loading import load_model, load_task

    task = load_task("digits")
    model = Blurred(load_model("concat", task, torch.device("cpu")).module).eval()
    run = harness.evaluate(
        task, {"noisy": model}, samples=samples, draws=draws, scenarios=[SCENARIO], witnesses="all", **quiet()
    )
    split, failing = task.splits["test"], []
    for tensors, rows in run.directory.witnesses():
        for row in rows:
            if 0 < row["strength"] < float("inf"):
                moved = tensors[f"{row['scenario']}|{row['sample']}|image"]
                failing.append(fails(model, task, split.samples.index(row["sample"]), moved))
    found = torch.tensor(failing)
    return {
        "witnesses": len(found),
        "failing fresh draws, mean": float(found.mean()),
        "fail in fewer than half": float((found < 0.5).double().mean()),
        "robust score": float((run.ledger.strength > 1).mean()),
    }


@torch.no_grad()
def fails(model: torch.nn.Module, task: Task, row: int, image: Tensor) -> float:
    """The share of fresh draws in which a witness fails."""
    torch.manual_seed(row)
    batch = task.splits["test"].take([row] * AT_ONCE)
    inputs = {**batch.inputs, "image": image.expand(AT_ONCE, *image.shape)}
    wrong = [
        model(inputs, task.present(batch)).argmax(1).ne(batch.targets).double().mean() for _ in range(FRESH // AT_ONCE)
    ]
    return float(torch.stack(wrong).mean())


def quiet() -> dict[str, Any]:
    return {"trust": False, "schedule": "none"}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--draws", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    rows = []
    for draws in chosen.draws:
        for name, measured in (("linear", linear(draws, 400)), ("concat on digits", fitted(draws, chosen.samples))):
            rows.append({"model": name, "draws": draws, **measured})
            print(name, f"{draws} draws:", ", ".join(f"{what} {value:.3g}" for what, value in measured.items()))
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
