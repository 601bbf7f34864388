"""AsymFusion: which channels are swapped, where they move, and in which bottlenecks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attacks.errors import BadInput
from harness.models.dense.asymfusion import Shuffling, asymfusion, shifted, shuffled
from harness.models.dense.branches import Ensembled
from harness.models.dense.cen import cen
from harness.models.dense.refinenet import Network, Plan, refinenet_of
from harness.models.dense.resnet import SIZES, Bottleneck, Convolution, Place
from tests.harness.models.dense.small import CLASSES, SAMPLES, inputs_of, small

BOTH = torch.ones(3, 1, 1, 1, dtype=torch.bool)


def maps(channels: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(channels)
    return [torch.randn(3, channels, 4, 5, generator=generator) for _ in range(2)]


@pytest.mark.parametrize(("channels", "swapped"), [(64, 16), (128, 28), (256, 52), (512, 104)])
def test_a_shuffle_swaps_the_last_channels(channels: int, swapped: int) -> None:
    a, b = maps(channels)
    first, second = shuffled([a, b], BOTH)
    kept = channels - swapped
    assert torch.equal(first[:, :kept], a[:, :kept]) and torch.equal(first[:, kept:], b[:, kept:])
    assert torch.equal(second[:, :kept], b[:, :kept]) and torch.equal(second[:, kept:], a[:, kept:])


@pytest.mark.parametrize("channels", [4, 16, 24, 64])
def test_two_shuffles_are_the_identity(channels: int) -> None:
    a, b = maps(channels)
    first, second = shuffled(shuffled([a, b], BOTH), BOTH)
    assert torch.equal(first, a) and torch.equal(second, b)


def test_groups_move_down_right_left_and_up() -> None:
    x = torch.zeros(1, 6, 3, 3)
    x[:, :, 1, 1] = torch.arange(1.0, 7)
    moved = shifted(x)
    places = {tuple(place[1:]): value for place, value in zip(moved.nonzero().tolist(), moved[moved > 0], strict=True)}
    assert {place: value.item() for place, value in places.items()} == {
        (0, 2, 1): 1,
        (1, 1, 2): 2,
        (2, 1, 0): 3,
        (3, 0, 1): 4,
    }


def test_content_leaves_at_the_edge() -> None:
    x = torch.ones(1, 5, 3, 3)
    moved = shifted(x)
    assert moved[0, 0].tolist() == [[0, 0, 0], [1, 1, 1], [1, 1, 1]]
    assert moved[0, 3].tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]
    assert not moved[0, 4].any()


def normed(part: Convolution, branch: int, x: torch.Tensor) -> torch.Tensor:
    answer: torch.Tensor = part.norms[branch](part.convolve(x))
    return answer


def test_a_bottleneck_shuffles_shifts_and_shuffles() -> None:
    torch.manual_seed(0)
    place = Place(narrow=40, inner=10, branches=2, stride=1, dilation=1, last=True)
    block = Shuffling(place).eval()
    for norm in (part for part in block.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    x, y = maps(40)
    a, b = (normed(block.reduce, m, z).relu() for m, z in enumerate((x, y)))
    a2 = normed(block.middle, 0, torch.cat([a[:, :8], b[:, 8:]], 1)).relu() + shifted(b)
    b2 = normed(block.middle, 1, torch.cat([b[:, :8], a[:, 8:]], 1)).relu() + shifted(a)
    first = (normed(block.widen, 0, torch.cat([a2[:, :8], b2[:, 8:]], 1)) + x).relu()
    second = (normed(block.widen, 1, torch.cat([b2[:, :8], a2[:, 8:]], 1)) + y).relu()
    for made, expected in zip(block([x, y], torch.ones(3, 2, dtype=torch.bool)), (first, second), strict=True):
        torch.testing.assert_close(made, expected)


def test_a_missing_modality_leaves_the_other_alone() -> None:
    torch.manual_seed(0)
    block = Shuffling(Place(narrow=40, inner=10, branches=2, stride=1, dilation=1, last=True)).eval()
    a, b = maps(40)
    here = torch.tensor([[True, False], [True, True], [True, False]])
    first, _ = block([a, b], here)
    plain = Bottleneck.inside(block, [x.relu() for x in block.reduce([a, b])], here)
    torch.testing.assert_close(first[::2], (block.widen(plain)[0] + a).relu()[::2])
    assert not torch.equal(first, block([a, b.flip(3)], here)[0])


def test_every_last_bottleneck_of_a_stage_shuffles() -> None:
    model = asymfusion(small((24, 24)))
    where = {name[-3:] for name, part in model.named_modules() if isinstance(part, Shuffling)}
    assert where == {f"{stage}.{count - 1}" for stage, count in enumerate(SIZES["small"].layers)}


def test_it_has_the_parameters_of_its_rival_without_exchange() -> None:
    task = small((24, 24))
    shapes = [{name: x.shape for name, x in build(task).state_dict().items()} for build in (asymfusion, cen)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("branches", "published"), [(1, 118.10), (2, 118.20)])
def test_the_published_size_has_the_published_parameters(branches: int, published: float) -> None:
    """Of the paper's RefineNet on ResNet-101 alone, and of its fusion, in millions."""
    with torch.device("meta"):
        network = Network(Plan(3, (40, 480, 640), SIZES["resnet101"]), branches)
    assert sum(x.numel() for x in network.parameters()) / 1e6 == pytest.approx(published, abs=0.006)


def test_one_modality_is_a_plain_network() -> None:
    plan = Plan(3, (CLASSES, 24, 24), SIZES["small"])
    torch.manual_seed(0)
    plain, shuffling = Network(plan, 1).eval(), Network(plan, 1, Shuffling).eval()
    shuffling.load_state_dict(plain.state_dict())
    x, here = inputs_of(small((24, 24)))["rgb"], torch.ones(SAMPLES, 1, dtype=torch.bool)
    assert torch.equal(shuffling([x], here)[0], plain([x], here)[0])


def test_branches_are_read_from_the_same_weights() -> None:
    task = small((24, 24))
    torch.manual_seed(0)
    whole = asymfusion(task).eval()
    answers = [whole(inputs_of(task))]
    for name in task.names:
        model = asymfusion(task, read=name).eval()
        model.load_state_dict(whole.state_dict())
        answers.append(model(inputs_of(task)))
    torch.testing.assert_close(answers[0], (answers[1] + answers[2]) / 2)


def test_three_modalities_and_plain_models_are_refused() -> None:
    with pytest.raises(BadInput, match="3 modalities"):
        asymfusion(small((24, 24), more=("heat",)))
    task = small((24, 24))
    with pytest.raises(BadInput, match="'asymfusion'"):
        Ensembled().setup(refinenet_of(task, "rgb"), task, 1)
