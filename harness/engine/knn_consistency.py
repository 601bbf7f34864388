"""Judge an embedding without labels: how many of its nearest training samples an attack replaces.

An encoder gives no class. Instead, a sample has to keep its neighbours: it fails when fewer than
half of its nearest training samples, untouched, are still among its nearest. So every attack, sweep
and check of the harness applies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.objective import Verdict, preserved
from attacks.randomness import keyed_seed
from attacks.region import Inputs
from harness.engine.loading import Loaded
from harness.tasks import Batch, Task
from harness.tasks.problems.problem import OneNumber

NEIGHBOURS = 10
MOST_KEPT = 1_000  # training samples that are looked among
AT_ONCE = 256
UNKNOWN = -1  # no row of the bank: to ask for the neighbours of a sample that is not tested is an error
ROW = "row"  # the input that identifies the sample; it is not a modality, and nothing changes it


@runtime_checkable
class Embedding(Protocol):
    """A model with an embedding (B, D) of its inputs; a missing modality has no influence on it."""

    def embed(self, inputs: Inputs, present: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Neighbourhood(OneNumber):
    """Whether a sample keeps its neighbours. Outputs are those of `Watched`, (B, 3); targets are
    all 0 and unused.

    The score, and the prediction, is the share of neighbours kept.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        return (3,)

    def check_targets(self, targets: Tensor) -> None:
        """Accept all targets: they are unused."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss that an attack raises; it is not for training."""
        return outputs[:, 1] - outputs[:, 0]

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs[:, 2]

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs[:, 2]

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        margin = outputs[:, 1] - outputs[:, 0]
        return Verdict({"margin": margin}, margin >= 0)

    def measured(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        return {"neighbours_kept": predictions.double().mean().item()}


class Watched(nn.Module):
    """How far a sample keeps its untouched neighbours: (B, 3) for inputs with their `row`.

    With k neighbours, of which m, the half rounded up, must stay: first the similarity of the m-th
    nearest of them now, then that of the (k - m + 1)-th nearest other sample. While the first is
    larger, m of them are among the k nearest; otherwise they are not. Third, the share of them
    among the k nearest.

    Args:
        bank: embeddings of training samples, (N, D), of unit length.
        near: the untouched neighbours of every test sample, rows of the bank, (T, k).
    """

    def __init__(self, model: Embedding, bank: Tensor, near: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("bank", bank)
        self.register_buffer("near", near)

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        similar = _unit(self.model.embed(inputs, present)) @ self.bank.T  # type: ignore[operator]
        near: Tensor = self.near[inputs[ROW]]  # type: ignore[index]
        count = near.shape[1]
        must = -(-count // 2)
        own = similar.gather(1, near)
        others = similar.scatter(1, near, float("-inf"))
        stays, comes = own.topk(must).values[:, -1], others.topk(count - must + 1).values[:, -1]
        kept = (similar.topk(count).indices[:, :, None] == near[:, None]).any(2).to(own.dtype).mean(1)
        return torch.stack([stays, comes, kept], 1)


def unlabelled(task: Task) -> Task:
    """The task with `Neighbourhood` for its problem: the same inputs under the same names, no
    labels.
    """
    splits = {name: split.followed_by(_with_rows(split)) for name, split in task.splits.items()}
    note = (
        f"judged without labels: a sample fails when less than half of its {NEIGHBOURS} nearest training samples stay"
        " nearest"
    )
    notes = "; ".join(each for each in (task.notes, note) if each)
    return replace(
        task,
        problem=Neighbourhood(),
        splits=splits,
        extra_inputs=(*task.extra_inputs, ROW),
        note=notes,
        report_groups=(),
    )


def _with_rows(split: Batch) -> Callable[[Batch], Batch]:
    numbers = {sample: row for row, sample in enumerate(split.samples)}

    def change(batch: Batch) -> Batch:
        rows = torch.tensor([numbers[sample] for sample in batch.samples])
        return replace(batch, inputs={**batch.inputs, ROW: rows}, targets=torch.zeros_like(rows))

    return change


def watched(loaded: Loaded, task: Task, device: torch.device, rows: Sequence[int]) -> Watched:
    """A model with the neighbourhoods of those test samples; `task` as `unlabelled` made it.

    Raises:
        BadInput: the model has no embedding, or one of the wrong shape.
    """
    model = loaded.module
    if not isinstance(model, Embedding):
        raise BadInput(
            f"model {loaded.name!r} has no embedding whose neighbours could be compared: take simclr, byol or infonce, "
            "or give your model a method embed(inputs, present) that returns (B, D)"
        )
    train = task.splits["train"]
    order = sorted(range(len(train)), key=lambda row: keyed_seed("neighbours", 0, train.samples[row]))
    with preserved(model), torch.no_grad():
        bank = _embedded(loaded.name, model, train.take(sorted(order[:MOST_KEPT])), device)
        test = task.splits["test"]
        queries = _embedded(loaded.name, model, test.some(rows), device)
        found = torch.cat(
            [(part @ bank.T).topk(min(NEIGHBOURS, len(bank) - 1)).indices for part in queries.split(AT_ONCE)]
        )
        near = found.new_full((len(test), found.shape[1]), UNKNOWN)
        near[torch.as_tensor(rows, device=device)] = found
    return Watched(model, bank, near).to(device).eval()


def _embedded(name: str, model: Embedding, split: Batch, device: torch.device) -> Tensor:
    parts = []
    for rows in torch.arange(len(split)).split(AT_ONCE):
        batch = split.take(rows).to(device)
        z = model.embed(batch.inputs, batch.present)
        if z.ndim != 2 or len(z) != len(batch) or not bool(z.isfinite().all()):
            raise BadInput(
                f"model {name!r} embeds {len(batch)} samples as {tuple(z.shape)}: it must be (B, D), and finite"
            )
        parts.append(_unit(z))
    return torch.cat(parts)


def _unit(z: Tensor) -> Tensor:
    return F.normalize(z, dim=1)
