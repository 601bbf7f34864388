"""What a linear bound covers: every step that is known, and no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.certify import Guarded, Uncertified, bounded, certified_strength, enumerated_strength
from attacks.objective import Classification
from attacks.region import Inputs, Range, Region
from attacks.scenario import parse

SAMPLES, WIDE, POINTS = 4, 8, 400
SCENARIO = parse("a@linf:0.3 + b@l2:0.5")
STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "relu in place": lambda z: (z + 0.0).relu_(),
    "leaky relu": lambda z: F.leaky_relu(z, 0.1),
    "gelu": F.gelu,
    "gelu, tanh": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "elu": F.elu,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "log": lambda z: (z.square() + 0.1).log(),
    "sqrt": lambda z: (z.square() + 0.1).sqrt(),
    "rsqrt": lambda z: (z**2 + 0.1).rsqrt(),
    "reciprocal": lambda z: 1 / (z**2 + 0.5),
    "abs": abs,
    "gate": lambda z: z[:, :4] * torch.sigmoid(z[:, 4:]),
    "square of itself": lambda z: z * z,
    "quotient": lambda z: z[:, :4] / (1 + z[:, 4:].exp()),
    "maximum": lambda z: torch.maximum(z[:, :4], z[:, 4:]),
    "minimum": lambda z: torch.minimum(z, torch.tensor(0.2)),
    "amax": lambda z: z.view(-1, 2, 4).amax(1),
    "max": lambda z: z.view(-1, 2, 4).max(2).values,
    "softmax": lambda z: z.softmax(1),
    "masked softmax": lambda z: z.masked_fill(torch.arange(WIDE) > 4, -torch.inf).softmax(1),
    "log softmax": lambda z: F.log_softmax(z, 1),
    "logsumexp": lambda z: z.view(-1, 2, 4).logsumexp(2),
    "layer norm": lambda z: F.layer_norm(z, (WIDE,), torch.linspace(0.5, 1, WIDE), torch.ones(WIDE)),
    "attention": lambda z: F.scaled_dot_product_attention(*3 * (z.view(-1, 1, 4, 2),)).flatten(1),
    "max pool 1d": lambda z: F.max_pool1d(z.unsqueeze(1), 3, 2, 1).flatten(1),
    "max pool 2d": lambda z: F.max_pool2d(z.view(-1, 1, 2, 4), 2).flatten(1),
    "max pool, rounded up": lambda z: F.max_pool1d(z.unsqueeze(1), 3, 2, 1, ceil_mode=True).flatten(1),
    "max pool 2d, rounded up": lambda z: F.max_pool2d(z.view(-1, 1, 2, 4), (2, 3), 2, ceil_mode=True).flatten(1),
    "adaptive max pool": lambda z: F.adaptive_max_pool1d(z.unsqueeze(1), 3).flatten(1),
    "average pool": lambda z: F.avg_pool1d(z.unsqueeze(1), 2).flatten(1),
    "spectrum": lambda z: (lambda s: s.real.square() + s.imag.square())(
        torch.stft(z, 8, 4, window=torch.hann_window(8), return_complex=True)
    ).flatten(1),
}


class Mixing(nn.Module):
    """Two modalities, one layer, one step, one layer."""

    def __init__(self, step: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.step = nn.Linear(5, WIDE), step
        self.last = nn.Linear(step(torch.ones(2, WIDE)).shape[1], 3)
        self.requires_grad_(False)

    def forward(self, inputs: Inputs) -> Tensor:
        answer: Tensor = self.last(self.step(self.first(torch.cat([inputs["a"], inputs["b"]], 1))))
        return answer


def batch() -> Inputs:
    generator = torch.Generator().manual_seed(0)
    return {"a": torch.rand(SAMPLES, 3, generator=generator), "b": torch.randn(SAMPLES, 2, generator=generator)}


def region() -> Region:
    return Region.of(batch(), {"a": Range(0.0, 1.0)}, SCENARIO)


def whole(outputs: Tensor) -> Tensor:
    """Every output, and its opposite."""
    return torch.cat([outputs, -outputs], 1)


def lowest(model: Callable[[Inputs], Tensor], strength: float) -> Tensor:
    """The lower bound of each sample's smallest output or opposite."""
    strengths = torch.full((SAMPLES,), strength, dtype=torch.float64)
    return bounded(Guarded(model, whole), region(), strengths).margin


@pytest.mark.parametrize("strength", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("step", STEPS)
def test_no_point_is_below_the_bound(step: str, strength: float) -> None:
    model, around = Mixing(STEPS[step]), region()
    bound = lowest(model, strength)
    assert bool(bound.isfinite().all())
    generator = torch.Generator().manual_seed(1)
    for _ in range(POINTS):
        change = {name: torch.randn(x.shape, generator=generator) for name, x in around.clean.items()}
        longest = {name: strength * torch.rand(SAMPLES, generator=generator).sqrt() for name in change}
        at = around.project({name: x + 9 * change[name] for name, x in around.clean.items()}, longest["a"])
        assert bool((whole(model(around.complete(at))).amin(1).double() >= bound).all())


@pytest.mark.parametrize("step", STEPS)
def test_a_tiny_strength_leaves_the_clean_outputs(step: str) -> None:
    model = Mixing(STEPS[step])
    clean = whole(model(batch())).amin(1).double()
    assert torch.allclose(lowest(model, 1e-5), clean, atol=1e-2, rtol=1e-2)


class Secret(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, z: Tensor) -> Tensor:
        return z.sin()

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:  # type: ignore[override]
        return g


def branching(z: Tensor) -> Tensor:
    return z if bool((z > 0).all()) else -z


def scripted(z: Tensor) -> Tensor:
    answer: Tensor = torch.jit.trace(torch.relu, torch.ones(2, WIDE))(z)
    return answer


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "clamp": (lambda z: z.clamp(-50, 50), "clamp"),
    "hardtanh": (lambda z: F.hardtanh(z, -10, 10), "hardtanh"),
    "clamp_min": (lambda z: z.clamp_min(-50), "clamp"),
    "sine": (torch.sin, "sin"),
    "torchscript": (scripted, ""),
    "own backward": (lambda z: Secret.apply(z), ""),  # type: ignore[no-untyped-call]
    "branch": (branching, "leave the graph by"),
    "comparison": (lambda z: torch.where(z > 0, z, 0.0), "leave the graph by"),
    "detached": (lambda z: z * z.detach(), "leave the graph by detach"),
    "number": (lambda z: z * float(z.sum()), "leave the graph by"),
    "data": (lambda z: z + z.data, "leave the graph by data"),
    "rounded": (lambda z: z + (z.round() - z).detach(), ""),
    "argmax": (lambda z: z[:, z.argmax(1)], "leave the graph by argmax"),
    "no gradients": (torch.no_grad()(lambda z: z.relu() + 1.0), ""),
    "random": (lambda z: z + torch.randn(z.shape), "random numbers"),
    "dropout that stays on": (lambda z: F.dropout(z, 0.5, training=True), ""),
    "batch norm that learns": (lambda z: F.batch_norm(z, None, None, training=True), ""),
    "sorting": (lambda z: z.sort(1).values, ""),
    "spread over the batch": (lambda z: z - z.amax(0), "over the samples"),
    "mean of the batch": (lambda z: (z - z.mean(0)).relu(), "other samples"),
    "rows of several samples": (lambda z: z.view(-1, 4).relu().view(-1, WIDE), "several rows"),
    "half precision": (lambda z: z.half().float().relu(), "rounded to float16"),
    "autocast": (lambda z: torch.autocast("cpu", torch.bfloat16)(F.linear)(z, torch.eye(WIDE)).float(), "bfloat16"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("step", REFUSED)
def test_what_is_not_known_is_refused(step: str) -> None:
    function, named = REFUSED[step]
    with pytest.raises(Uncertified, match=named):
        lowest(Mixing(function), 1.0)


def test_a_step_in_place_leaves_no_stale_interval() -> None:
    """The interval of a value must not hold for what it became."""

    def shifted(z: Tensor) -> Tensor:
        z = z + 0.0
        z.add_(-3.0)
        return z.relu() + F.gelu(z)

    model, around = Mixing(shifted), region()
    bound = lowest(model, 1.0)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        far = {name: x + torch.randn(x.shape, generator=generator) for name, x in around.clean.items()}
        at = around.project(far, torch.ones(SAMPLES))
        assert bool((whole(model(around.complete(at))).amin(1).double() >= bound).all())


def test_what_the_model_does_not_read_changes_nothing() -> None:
    """Steps on inputs that are not attacked may be of any kind."""
    model = Mixing(torch.sin)
    around = Region.of({**batch(), "c": torch.ones(SAMPLES, 2)}, {}, parse("c@linf:1"))
    bound = bounded(Guarded(model, whole), around, torch.ones(SAMPLES, dtype=torch.float64))
    assert torch.equal(bound.margin, whole(model(batch())).amin(1).double())


@pytest.mark.parametrize("edit", ["a@patch:0.1", "a@stuck:1"])
def test_edits_without_a_linear_bound_are_refused(edit: str) -> None:
    inputs = {"a": torch.rand(2, 1, 6, 6)}
    guarded = Guarded(lambda given: given["a"][:, 0, 0, :2], whole)
    with pytest.raises(Uncertified, match="no linear bound"):
        certified_strength(guarded, inputs, {"a": Range(0.0, 1.0)}, edit, torch.ones(2))


def test_enumeration_finds_the_smallest_failing_edit() -> None:
    """Two letters, three places; the model fails when a row's second letter stands at its place."""
    needs = torch.tensor([1, 2, 3])
    text = F.one_hot(torch.zeros(3, 3, dtype=torch.int64), 2).float()

    def forward(inputs: Inputs) -> Tensor:
        changed = inputs["text"][:, :, 1].sum(1)
        wanted = inputs["needs"].squeeze(1)
        return torch.stack([wanted - 0.5 - changed, torch.zeros_like(changed)], 1)

    inputs = {"text": text, "needs": needs[:, None].float()}
    objective = Classification(forward, torch.zeros(3, dtype=torch.int64))
    found = enumerated_strength(objective, inputs, {"text": Range(0.0, 1.0)}, "text@tokens:1")
    assert found.strength.tolist() == [1.0, 2.0, 3.0]  # beyond two replacements nothing is known
    assert bool(found.ended.all())
    with pytest.raises(Uncertified, match="one modality"):
        enumerated_strength(objective, inputs, {}, "text@tokens:1 + needs@linf:1")


def test_attention_of_torch_is_taken_apart() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0).eval().requires_grad_(False)
    with pytest.raises(Uncertified):
        lowest(lambda inputs: layer(torch.cat([inputs["a"], inputs["b"]], 1)[:, None, :4]).flatten(1).sin(), 0.1)
