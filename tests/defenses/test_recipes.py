"""Every recipe here lowers its loss and leaves a trained model."""

import io
import math

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.region import Inputs
from defenses.adversary import Adversary, joined, repeated
from defenses.modality_dropout import some_present
from defenses.multi_source_adversarial import MultiSourceAdversarial
from defenses.protocols import penalty
from defenses.schedule import ADVERSARIAL
from defenses.single_source_adversarial import SingleSourceAdversarial
from defenses.varmat import Varmat, vulnerabilities
from harness.engine.loading import build_model
from harness.models.dense.cen import exchanges
from harness.models.recipe import Recipe
from harness.references.registry import resolve
from harness.tasks import Task
from harness.training.train import Training, fit
from tests.harness.models.dense.small import small
from tests.tiny import tiny

ROBUST_FUSION = ("robust-fusion", "single-source-adversarial")
TRAINED = [
    ROBUST_FUSION,
    ("latent-ensemble", "single-source-adversarial"),
    ("gating", "multi-source-adversarial"),
    ("concat", "varmat"),
    ("crmt", "crmt"),
    ("mean", "modality-dropout"),
]


class Opaque(nn.Module):
    """A model that is not factored."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        outputs: Tensor = self.inner(inputs, present)
        return outputs


@pytest.mark.parametrize(("name", "recipe"), TRAINED)
@pytest.mark.parametrize("modalities", [2, 3])
def test_a_trained_model_is_right(name: str, recipe: str, modalities: int) -> None:
    task = tiny(modalities)
    way: Recipe = resolve("recipe", recipe).target()
    model, best = fit(
        Training("tiny", name, recipe, epochs=6), task, way, torch.device("cpu"), Console(file=io.StringIO())
    )
    test = task.splits["test"]
    with torch.no_grad():
        assert task.problem.score(model(test.inputs, None), test.targets).mean() > 0.9
    assert 0 <= best <= 1


@pytest.mark.parametrize(("name", "recipe"), TRAINED)
def test_a_loss_falls(name: str, recipe: str) -> None:
    task = tiny()
    torch.manual_seed(0)
    model, way = build_model(name, task), resolve("recipe", recipe).target()
    for stage in way.setup(model, task, 3):
        losses = []
        for _ in range(stage.epochs * -(-len(task.splits["train"]) // stage.batch_size)):
            stage.optimizer.zero_grad()
            loss = way.step(task.splits["train"].take(range(64)), stage)
            loss.backward()
            stage.optimizer.step()
            way.after_step(stage)
            losses.append(loss.item())
        assert losses[-1] < losses[0]


@pytest.mark.parametrize("recipe", [SingleSourceAdversarial, MultiSourceAdversarial])
def test_a_model_need_not_be_factored(recipe: type[SingleSourceAdversarial] | type[MultiSourceAdversarial]) -> None:
    task = tiny(2)
    way, losses = recipe(), []
    for opaque in (True, False):
        torch.manual_seed(0)
        model = build_model("concat", task).eval()  # dropout would draw in another order
        _, stage = way.setup(Opaque(model) if opaque else model, task, None)
        losses.append(way.step(task.splits["val"], stage))
    torch.testing.assert_close(losses[0], losses[1])


def test_regressions_are_trained_too() -> None:
    task = tiny(2, regression=True)
    model, way = build_model("robust-fusion", task), SingleSourceAdversarial()
    _, stage = way.setup(model, task, None)
    assert stage.name == ADVERSARIAL
    assert way.step(task.splits["train"], stage).isfinite()


@pytest.mark.parametrize(
    ("recipe", "opaque"),
    [
        ("single-source-adversarial", False),
        ("single-source-adversarial", True),
        ("multi-source-adversarial", False),
        ("multi-source-adversarial", True),
        ("varmat", False),
        ("modality-dropout", False),
    ],
)
def test_answers_may_be_maps(recipe: str, opaque: bool) -> None:
    task = small((16, 16))
    model: nn.Module = build_model("segmenter", task).eval()
    way: Recipe = resolve("recipe", recipe).target()
    batch = task.splits["train"]
    *_, stage = way.setup(Opaque(model) if opaque else model, task, 1)
    loss = way.step(batch, stage)
    assert loss.shape == () and bool(loss.isfinite())
    assert way.validate(batch).shape == (len(batch),)


def test_scales_of_exchanged_channels_cost_something() -> None:
    task = small((16, 16))
    model = build_model("cen?sparsity=0.5", task)
    costs = [each.penalty() for each in exchanges(model).values()]
    torch.testing.assert_close(penalty(model, torch.zeros(())), torch.stack(costs).sum())


@pytest.mark.parametrize("shape", [(), (2,), (3, 4)])
def test_targets_are_repeated_as_inputs_are(shape: tuple[int, ...]) -> None:
    targets = torch.arange(5 * math.prod(shape)).reshape(5, *shape)
    assert torch.equal(repeated(targets, 3), joined([{"a": targets}] * 3)["a"])


def test_the_odd_one_out_is_learnt() -> None:
    task = tiny(3)
    torch.manual_seed(0)
    model, way, batch = build_model("robust-fusion", task), SingleSourceAdversarial(), task.splits["test"]
    warm_up, _ = way.setup(model, task, None)
    for epoch in range(60):
        warm_up.optimizer.zero_grad()
        rows = torch.randperm(len(task.splits["train"]), generator=torch.Generator().manual_seed(epoch))
        way.step(task.splits["train"].take(rows), warm_up).backward()
        warm_up.optimizer.step()
    model.eval()
    features = {name: model.encode(name, batch.inputs[name]) for name in task.names}  # type: ignore[operator]
    swapped = {**features, "a": features["a"].roll(1, 0)}
    clean, odd = model.odd(joined([features, swapped])).argmax(1).view(2, -1)  # type: ignore[operator]
    assert (clean == 3).float().mean() > 0.8
    assert (odd == 0)[batch.targets != batch.targets.roll(1)].float().mean() > 0.8


def test_each_expert_learns_the_task_alone() -> None:
    task = tiny(3)
    torch.manual_seed(0)
    model, batch, losses = build_model("robust-fusion", task).eval(), task.splits["val"], []
    for weight in (0.0, 1.0):
        way = SingleSourceAdversarial(expert_weight=weight)
        warm_up, _ = way.setup(model, task, None)
        losses.append(way.step(batch, warm_up))
    alone = model.alone({name: model.encode(name, batch.inputs[name]) for name in task.names})  # type: ignore[operator]
    each = torch.stack([task.problem.loss(said, batch.targets).mean() for said in alone.unbind(1)])
    torch.testing.assert_close(losses[1] - losses[0], each.mean())


def test_varmat_needs_features(digits: Task) -> None:
    with pytest.raises(BadInput, match="factored"):
        Varmat().setup(Opaque(build_model("concat", digits)), digits, None)


def test_vulnerabilities_are_gradient_norms() -> None:
    z, y = torch.randn(4, 3, requires_grad=True), torch.randn(4, 2, requires_grad=True)
    losses = 3 * z.sum(1) + y.square().sum(1) / 2
    torch.testing.assert_close(vulnerabilities(losses, [z, y]), 3 * 3**0.5 + y.norm(dim=1))


def test_something_is_always_present() -> None:
    torch.manual_seed(0)
    present = some_present(4000, 3, 0.5)
    assert bool(present.any(1).all())
    assert (~present).float().mean(0).tolist() == pytest.approx([0.5 - 0.125 / 3] * 3, abs=0.03)
    assert bool((some_present(50, 2, 1.0).sum(1) == 1).all())


def test_a_stronger_attack_examines() -> None:
    assert SingleSourceAdversarial(steps=3).examination == Adversary(6)
