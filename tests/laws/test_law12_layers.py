"""Law 12: a model is also known by what its installed layers hold, by its hooks, and by its
TorchScript.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from harness.references.livecode import layer_values, model_code

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def hooked(top: float, way: str = "register_forward_hook") -> nn.Module:
    net = nn.Linear(3, 2)

    def after(module: nn.Module, inputs: object, outputs: Tensor) -> Tensor:
        return outputs.clamp(max=top)

    def before(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0].clamp(max=top),)

    getattr(net, way)(after if way == "register_forward_hook" else before)
    return net


class Scripted(nn.Module):
    def __init__(self, top: float) -> None:
        super().__init__()
        self.top = top

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(max=self.top)


LAYERS: dict[str, Callable[[float], nn.Module]] = {
    "Threshold": lambda top: nn.Threshold(top, 50.0),
    "LeakyReLU": nn.LeakyReLU,
    "Hardtanh": lambda top: nn.Hardtanh(-top, top),
    "Dropout": lambda top: nn.Dropout(top / 10),
    "Upsample": lambda top: nn.Upsample(scale_factor=top),
    "MaxPool2d": lambda top: nn.MaxPool2d(int(2 * top)),
    "BatchNorm1d": lambda top: nn.BatchNorm1d(3, eps=top),
}
CODE: dict[str, Callable[[float], nn.Module]] = {
    "a forward hook": hooked,
    "a hook before": lambda top: hooked(top, "register_forward_pre_hook"),
    "TorchScript": lambda top: torch.jit.script(Scripted(top)),
}


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_a_value_of_an_installed_layer_is_known(name: str, built: bool) -> None:
    found = [layer_values(nn.Sequential(nn.Linear(3, 3), LAYERS[name](top)), built) for top in (1.0, 1.0, 2.0)]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("name", CODE)
def test_what_acts_in_a_model_is_known(name: str) -> None:
    found = [model_code(nn.Sequential(CODE[name](top))) for top in (1.0, 1.0, 2.0)]
    assert found[0] == found[1] != found[2]


def test_a_hook_that_is_added_is_known() -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    before = model_code(net)
    handle = net[0].register_forward_hook(lambda module, inputs, outputs: outputs + 1)
    assert model_code(net) != before
    handle.remove()
    assert model_code(net) == before


def test_answering_changes_nothing_of_it() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.LeakyReLU(), hooked(1.0))
    before = model_code(net), layer_values(net, built=False)
    net(torch.randn(4, 3))
    assert (model_code(net), layer_values(net, built=False)) == before


def test_a_file_of_torchscript_is_known_by_what_it_holds(tmp_path: Path) -> None:
    found = []
    for number, top in enumerate((1.0, 1.0, 2.0)):
        path = tmp_path / f"{number}.pt"
        torch.jit.save(torch.jit.script(Scripted(top)), path)
        found.append(model_code(nn.Sequential(torch.jit.load(path))))
    assert found[0] == found[1] != found[2]
