"""CEN: what is exchanged, where, and what each loss moves."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.models.dense.asymfusion import asymfusion
from harness.models.dense.branches import Branches, Ensembled
from harness.models.dense.cen import Cen, Exchanging, cen, exchanges
from harness.models.dense.exchange import exchanged, own_part
from harness.models.dense.refinenet import Network, Plan, refinenet_of
from harness.models.dense.resnet import SIZES, Bottleneck, Place
from harness.models.fused import Fused
from harness.training.train import Training, fit
from tests.harness.models.dense.small import CLASSES, SAMPLES, inputs_of, small

PLACE = Place(narrow=12, inner=4, branches=2, stride=1, dilation=1, last=True)
HERE = torch.ones(3, 2, dtype=torch.bool)
THETA = 0.02


def maps(count: int, channels: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [torch.randn(3, channels, 5, 6, generator=generator) for _ in range(count)]


def gammas_of(model: nn.Module) -> list[list[torch.Tensor]]:
    return [each.gammas() for each in exchanges(model).values()]


def scaled(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for gammas in gammas_of(model):
            for gamma in gammas:
                gamma.fill_(value)


def settled(model: nn.Module) -> nn.Module:
    """Evaluation mode, with statistics and norms that differ between branches."""
    generator = torch.Generator().manual_seed(1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(0, 0.1, generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.normal_(part.bias, 0, 0.1, generator)
    return model.eval()


def whole_present(rows: int = SAMPLES) -> torch.Tensor:
    return torch.ones(rows, 2, dtype=torch.bool)


def test_large_scales_keep_every_channel() -> None:
    a, b = maps(2)
    kept = exchanged([a, b], [torch.full((4,), THETA), torch.full((4,), -THETA)], THETA, HERE)
    assert torch.equal(kept[0], a) and torch.equal(kept[1], b)


def test_small_scales_swap_every_channel() -> None:
    a, b = maps(2)
    swapped = exchanged([a, b], [torch.full((4,), 0.0199), torch.zeros(4)], THETA, HERE)
    assert torch.equal(swapped[0], b) and torch.equal(swapped[1], a)


def test_only_the_scale_below_the_threshold_is_exchanged() -> None:
    a, b = maps(2)
    first, second = exchanged([a, b], [torch.tensor([1.0, 0.02, 0.0199, -0.5]), torch.ones(4)], THETA, HERE)
    assert torch.equal(first[:, 2], b[:, 2])
    assert torch.equal(first[:, [0, 1, 3]], a[:, [0, 1, 3]])
    assert torch.equal(second, b)


def test_three_modalities_give_the_mean_of_the_others() -> None:
    a, b, c = maps(3)
    here = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
    first, *_ = exchanged([a, b, c], [torch.zeros(4), torch.ones(4), torch.ones(4)], THETA, here)
    torch.testing.assert_close(first[0], (b[0] + c[0]) / 2)
    assert torch.equal(first[1], b[1]) and torch.equal(first[2], a[2])


def test_a_missing_modality_gives_no_channel() -> None:
    a, b = maps(2)
    here = torch.tensor([[True, False], [False, True], [True, True]])
    first, second = exchanged([a, b], [torch.zeros(4), torch.zeros(4)], THETA, here)
    assert torch.equal(first[0], a[0]) and torch.equal(second[1], b[1])
    assert torch.equal(first[2], b[2]) and torch.equal(second[2], a[2])


@pytest.mark.parametrize(("branches", "channels"), [(2, 16), (2, 5), (3, 16), (1, 8)])
def test_private_channels_cover_each_channel_once(branches: int, channels: int) -> None:
    whole = torch.arange(channels)
    assert torch.equal(torch.cat([own_part(whole, place, branches) for place in range(branches)]), whole)


def test_the_penalty_moves_only_private_scales_of_the_second_norm() -> None:
    block = Exchanging(PLACE, THETA, 0.5)
    block.penalty().backward()
    first, second = (gamma.grad for gamma in block.gammas())
    assert first is not None and first.tolist() == [0.5, 0.5, 0, 0]
    assert second is not None and second.tolist() == [0, 0, 0.5, 0.5]
    moved = {id(gamma) for gamma in block.gammas()}
    assert all(parameter.grad is None for parameter in block.parameters() if id(parameter) not in moved)


def plainly(block: Bottleneck, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The first branch, written out: the second branch enters after the second norm only."""

    def normed(part: nn.Module, branch: int, z: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = part.norms[branch](part.convolve(z))  # type: ignore[index, operator]
        return answer

    inner = [normed(block.middle, m, normed(block.reduce, m, z).relu()) for m, z in enumerate((x, y))]
    inner[0][:, 1] = inner[1][:, 1]
    return (normed(block.widen, 0, inner[0].relu()) + normed(block.shortcut, 0, x)).relu()


def test_the_exchange_stands_after_the_second_norm() -> None:
    torch.manual_seed(0)
    block = settled(Exchanging(PLACE, THETA, 0.0))
    assert isinstance(block, Exchanging)
    x, y = maps(2, channels=12)
    with torch.no_grad():
        block.gammas()[0][1] = 0.001
        for norms in (block.reduce.norms, block.widen.norms):
            norms[0].weight[2] = 0.001  # type: ignore[index]
        torch.testing.assert_close(block([x, y], HERE)[0], plainly(block, x, y))


def test_one_modality_is_a_plain_network() -> None:
    plan = Plan(3, (CLASSES, 24, 24), SIZES["small"])
    torch.manual_seed(0)
    plain = settled(Network(plan, 1))
    exchanging = Network(plan, 1, lambda place: Exchanging(place, 1e9, 1.0)).eval()
    exchanging.load_state_dict(plain.state_dict())
    x, here = inputs_of(small((24, 24)))["rgb"], torch.ones(SAMPLES, 1, dtype=torch.bool)
    assert torch.equal(exchanging([x], here)[0], plain([x], here)[0])


def test_without_a_threshold_branches_are_independent() -> None:
    task = small((24, 24))
    model, inputs = settled(cen(task, threshold=0.0)), inputs_of(task)
    assert isinstance(model, Fused) and isinstance(model.fusion, Branches)
    scaled(model, 0.0)
    features, here = model.ordered({name: model.encode(name, inputs[name]) for name in task.names}, None)
    rgb, depth = model.fusion.branches(features, here)
    moved_rgb, moved_depth = model.fusion.branches([features[0], features[1].flip(0)], here)
    assert torch.equal(rgb, moved_rgb) and not torch.equal(depth, moved_depth)
    torch.testing.assert_close(alone(model.fusion, 0)(features[0]), rgb)
    torch.testing.assert_close(alone(model.fusion, 1)(features[1]), depth)


def alone(model: Branches, branch: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """The plain network with the shared convolutions and the norms of one branch."""
    plain, other = Network(Plan(3, (CLASSES, 24, 24), SIZES["small"]), 1).eval(), f".norms.{1 - branch}."
    state = {name: value for name, value in model.network.state_dict().items() if other not in name}
    plain.load_state_dict({name.replace(f".norms.{branch}.", ".norms.0."): value for name, value in state.items()})
    return lambda x: plain([x], torch.ones(len(x), 1, dtype=torch.bool))[0]


def test_the_loss_of_the_ensemble_moves_only_its_weights() -> None:
    task = small((24, 24))
    model, way = cen(task), Cen()
    (stage,) = way.setup(model, task, 1)
    loss = way.loss

    def only_the_last(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(outputs)
        return loss(outputs, targets) * (len(calls) == len(task.names) + 1)

    calls: list[torch.Tensor] = []
    way.loss = only_the_last  # type: ignore[method-assign]
    Ensembled.step(way, task.splits["train"], stage).backward()
    moved = {name for name, each in model.named_parameters() if each.grad is not None and bool(each.grad.any())}
    assert moved == {"fusion.alpha"}


def test_the_loss_is_the_sum_of_all_outputs_and_penalties() -> None:
    task, batch = small((24, 24)), small((24, 24)).splits["train"]
    torch.manual_seed(0)
    model = cen(task, sparsity=0.01, size="small").eval()
    losses = []
    for penalty in (0.0, 0.01):
        for each in exchanges(model).values():
            each.sparsity = penalty
        way = Cen()
        (stage,) = way.setup(model, task, 1)
        losses.append(way.step(batch, stage))
    total = sum(
        own_part(gamma, place, 2).abs().sum() for gammas in gammas_of(model) for place, gamma in enumerate(gammas)
    )
    torch.testing.assert_close(losses[1] - losses[0], 3 * 0.01 * torch.as_tensor(total), rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        outputs = [cen_read(model, place)(batch.inputs) for place in (0, 1, None)]
        each = torch.stack([F.cross_entropy(x, batch.targets, ignore_index=255) for x in outputs]).sum()
    torch.testing.assert_close(losses[0], each, rtol=1e-3, atol=1e-4)


def cen_read(model: Fused, place: int | None) -> Fused:
    assert isinstance(model.fusion, Branches)
    model.fusion.read = place
    return model


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_missing_modality_leaves_the_other_branch_alone(threshold: float) -> None:
    task = small((24, 24))
    model, inputs = settled(cen(task, threshold=threshold)), inputs_of(task)
    assert isinstance(model, Fused)
    present = whole_present()
    present[:, 1] = False
    ensemble = model(inputs, present)
    assert torch.equal(ensemble, cen_read(model, 0)(inputs, present))
    for each in exchanges(model).values():
        each.threshold = 0.0
    assert torch.equal(ensemble, model(inputs))
    assert not cen_read(model, 1)(inputs, present).any()


def test_branches_are_read_from_the_same_weights() -> None:
    task = small((24, 24))
    whole = settled(cen(task))
    assert isinstance(whole, Fused)
    scaled(whole, 0.01)
    answers = [whole(inputs_of(task))]
    for name in task.names:
        model = cen(task, read=name).eval()
        model.load_state_dict(whole.state_dict())
        answers.append(model(inputs_of(task)))
    torch.testing.assert_close(answers[0], (answers[1] + answers[2]) / 2)
    with pytest.raises(BadInput, match="'audio'"):
        cen(task, read="audio")


def test_attacked_depth_reaches_the_branch_of_rgb_only_by_exchange() -> None:
    task = small((24, 24))
    model, inputs = settled(cen(task, read="rgb")), inputs_of(task)
    moved = {**inputs, "depth": 1 - inputs["depth"]}
    scaled(model, 1.0)
    assert torch.equal(model(inputs), model(moved))
    scaled(model, 0.01)
    assert not torch.equal(model(inputs), model(moved))


def test_only_private_norms_are_added() -> None:
    task = small((24, 24))
    two, one = cen(task), refinenet_of(task, "rgb")
    norms = sum(each.weight.numel() + each.bias.numel() for each in one.modules() if isinstance(each, nn.BatchNorm2d))
    count = {name: sum(x.numel() for x in each.parameters()) for name, each in (("two", two), ("one", one))}
    assert count["two"] - count["one"] == norms + len(task.names)  # and the weights of the ensemble


def test_the_card_shows_the_share_that_is_exchanged() -> None:
    task = small((24, 24))
    way = Cen(epochs=1)
    model, score = fit(Training("small", "cen", "cen", epochs=1), task, way, torch.device("cpu"), quiet())
    assert 0 <= score <= 1
    measured = way.measured(task.splits["test"])
    assert len(measured) == sum(SIZES["small"].layers) * len(task.names)
    assert set(measured.values()) == {0.0} and "exchanged 1.1 rgb" in measured
    gammas_of(model)[0][1].data[:4] = 0
    assert way.measured(task.splits["test"])["exchanged 1.1 depth"] == 4 / SIZES["small"].inner[0]


def quiet() -> Console:
    return Console(file=io.StringIO())


def test_a_penalty_makes_channels_exchange() -> None:
    task = small((24, 24))
    way = Cen(learning_rate=0.01, epochs=30)
    torch.manual_seed(0)
    model = cen(task, sparsity=1.0)
    (stage,) = way.setup(model, task, None)
    for _ in range(30):
        stage.optimizer.zero_grad()
        way.step(task.splits["train"], stage).backward()
        stage.optimizer.step()
        way.after_step(stage)
    for gammas in gammas_of(model):
        for place, gamma in enumerate(gammas):
            own, other = own_part(gamma, place, 2), own_part(gamma, 1 - place, 2)
            assert own.abs().mean() < other.abs().mean() / 2


def test_other_models_and_other_channels_are_refused() -> None:
    task = small((24, 24))
    with pytest.raises(BadInput, match="'cen'"):
        Cen().setup(refinenet_of(task, "rgb"), task, 1)
    with pytest.raises(BadInput, match="exchanges channels"):
        Cen().setup(asymfusion(task), task, 1)
    with pytest.raises(BadInput, match=r"'depth' of task 'small' has 2 channels"):
        cen(small((24, 24), depth=(2, 24, 24)))
