"""Law 7: model, modes, gradients, inputs and the global random state are as they were, also after
an exception.
"""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from attacks.objective import Classification, preserved
from attacks.region import Inputs, Region
from attacks.search import search
from harness.references.registry import names, resolve


def net() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 3))
    model.train()
    model[1].eval()  # a frozen batch norm in a model that trains
    model[0].weight.requires_grad_(False)
    model[4].weight.grad = torch.full_like(model[4].weight, 7.0)
    return model


def state(model: nn.Module) -> list[object]:
    values = [v.clone() for v in model.state_dict().values()]
    gradients = [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    return [[m.training for m in model.modules()], values, gradients, torch.random.get_rng_state()]


def same(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and torch.equal(left, right)
    if isinstance(left, (list, tuple)):
        return isinstance(right, (list, tuple)) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return left == right


def run(kind: str, name: str, objective: Classification, inputs: Inputs) -> None:
    target = resolve(kind, name).target  # type: ignore[arg-type]
    if kind == "search":
        algorithm = target(queries=20) if isinstance(target, type) else target
        search(objective, inputs, {}, "x@linf:0.1", algorithm=algorithm)
    else:
        target(objective, Region.of(inputs, {}, "x@linf:0.1"), 1.0)


ALGORITHMS = [
    (kind, name)
    for kind in ("search", "attack")
    for name in names(kind)  # type: ignore[arg-type]
    if name != "none" and not hasattr(resolve(kind, name).target, "losses")  # type: ignore[arg-type]  # those are of maps
]


@pytest.mark.parametrize(("kind", "name"), ALGORITHMS)
@pytest.mark.parametrize("crashes", [False, True])
def test_no_trace(kind: str, name: str, crashes: bool) -> None:
    model, inputs, calls = net(), {"x": torch.randn(5, 6)}, 0

    def forward(i: Inputs) -> torch.Tensor:
        nonlocal calls
        calls += 1
        torch.rand(1)  # a model that draws from the global state
        if crashes and calls > 1:
            raise RuntimeError("the model broke")
        assert not model.training
        return model(i["x"])

    with preserved(model):
        labels = model(inputs["x"]).argmax(1)  # right untouched, so that an attack has work to do
    before, kept = state(model), inputs["x"].clone()
    expected = pytest.raises(RuntimeError, match="the model broke") if crashes else nullcontext()
    with expected, preserved(model):
        run(kind, name, Classification(forward, labels), inputs)
    assert calls > 1
    assert same(state(model), before)
    assert torch.equal(inputs["x"], kept)


def test_recurrent_layers_run_without_cudnn() -> None:
    """It differentiates them in training mode only; nested, and where the layer breaks, it is on
    again afterwards.
    """
    seen = []

    class Watched(nn.GRU):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
            seen.append(torch.backends.cudnn.enabled)
            return super().forward(x)

    gru = Watched(4, 3, batch_first=True)
    with preserved(gru), preserved(nn.Sequential(gru)):
        gru(torch.randn(2, 5, 4))
        assert torch.backends.cudnn.enabled
        with pytest.raises(RuntimeError):
            gru(torch.randn(2, 5, 7))
        assert torch.backends.cudnn.enabled
    gru(torch.randn(2, 5, 4))
    assert seen == [False, False, True]
    assert not gru._forward_pre_hooks and not gru._forward_hooks
