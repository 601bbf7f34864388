"""Retrieval: the rank of a query's own item, whose rivals are held and whose own copy does not
count.
"""

import pytest
import torch
from torch import Tensor

from attacks.errors import BadInput
from attacks.presets import STANDARD
from attacks.scenario import parse
from attacks.search_state import search_all
from harness.engine.objective import TaskObjective
from harness.tasks import Retrieval
from tests.harness.tasks.problems.linear_tasks import MODELS, WEIGHTS, pairs

SMALL = Retrieval(4)
TARGETS = torch.tensor([2])


@pytest.mark.parametrize(
    ("own", "held", "rank"),
    [
        (3.0, (0.0, 1.0, 9.0, 2.0), 1),  # the held copy of the own item does not count
        (1.5, (0.0, 1.0, 9.0, 2.0), 2),
        (2.0, (0.0, 1.0, 9.0, 2.0), 2),  # a tie
        (-1.0, (0.0, 1.0, 9.0, 2.0), 4),
    ],
)
def test_the_rank_is_that_of_the_own_item_as_it_is_now(own: float, held: tuple[float, ...], rank: int) -> None:
    outputs = torch.tensor([[own, *held]])
    assert SMALL.tally(outputs, TARGETS).tolist() == [[rank]]
    assert SMALL.label(SMALL.predictions(outputs), TARGETS) == [f"rank {rank}"]
    for within in (1, 2, 3):
        problem = Retrieval(4, within)
        verdict = problem.verdict(outputs, TARGETS)
        assert verdict.fails.tolist() == [rank > within] == (verdict.losses["margin"] >= 0).tolist()
        assert problem.score(outputs, TARGETS).tolist() == [float(rank <= within)]


def test_metrics_are_recall_and_the_median_rank() -> None:
    ranks = torch.tensor([[1.0], [2], [5], [6], [40]], dtype=torch.float64)
    found = Retrieval(50).metrics(ranks)
    assert found == {"recall@1": 0.2, "recall@5": 0.6, "recall@10": 0.8, "median_rank": 5.0}
    assert "recall@10" not in Retrieval(6).metrics(ranks[:3]), "there are fewer items"


def test_the_loss_is_the_cross_entropy_among_all_other_items() -> None:
    outputs = torch.tensor([[3.0, 0.0, 1.0, 9.0, 2.0]])
    expected = -torch.tensor([3.0, 0.0, 1.0, 2.0]).log_softmax(0)[0]
    assert SMALL.loss(outputs, TARGETS).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("name", "norm"), [("sound", "linf"), ("sound", "l2"), ("text", "linf"), ("text", "l1")])
def test_critical_strengths_of_either_side_are_exact(name: str, norm: str) -> None:
    """Of the query, whose change moves all similarities, and of its item, which moves alone."""
    task, model = pairs(), MODELS["pairs"]()
    batch = task.splits["test"].take(range(6))
    assert isinstance(model.gallery, Tensor)
    query, own = batch.inputs["sound"] @ WEIGHTS[:4], batch.inputs["text"]
    behind = ((query * own).sum(1, keepdim=True) - query @ model.gallery.T).double()
    ways = (own[:, None] - model.gallery) @ WEIGHTS[:4].T if name == "sound" else query[:, None].expand(-1, 60, -1)
    size = {"linf": ways.abs().sum(2), "l2": ways.norm(dim=2), "l1": ways.abs().amax(2)}[norm].double()
    exact = (behind / size).scatter(1, batch.targets[:, None], torch.inf).amin(1).clamp_min(0)
    objective = TaskObjective(model, task, batch.targets, torch.ones(6, 2, dtype=torch.bool), {})
    ((_, found),) = search_all(
        STANDARD,
        objective,
        batch.inputs,
        task.bounds(batch),
        [parse(f"{name}@{norm}:0.1")],
        samples=batch.samples,
        limit=1e6,
    )
    assert (0.1 * found.strength).tolist() == pytest.approx(exact.tolist(), rel=0.02)


@pytest.mark.parametrize(
    ("problem", "targets", "why"),
    [
        (SMALL, torch.tensor([0, 4]), "hold item 4: number the 4 items from 0"),
        (SMALL, torch.tensor([-1]), "hold item -1"),
        (SMALL, torch.zeros(3), "give the number of each query's item"),
        (SMALL, torch.zeros(3, 1, dtype=torch.int64), "int64 \\(N,\\)"),
        (Retrieval(1), torch.tensor([0]), "at least 2 items"),
        (Retrieval(4, 4), torch.tensor([0]), "within=4"),
        (Retrieval(4, 0), torch.tensor([0]), "within=0"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused(problem: Retrieval, targets: Tensor, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        problem.check_targets(targets)
