"""Networks as they come, where a guess would give a wrong number: nothing is dropped or mixed up
without a word.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import harness
from attacks.errors import BadInput
from harness.models.calling import Called, fitted, wrap
from harness.tasks import Task
from tests.harness.models.halves import Halves, Ours, Positional, task

QUIET: dict[str, Any] = {"search": "none", "trust": False, "schedule": "none"}


def test_the_answer_of_a_model_in_our_convention_is_named() -> None:
    inputs = task().splits["test"].inputs
    turned = wrap(Ours(), answer=lambda outputs: -outputs)(task())
    torch.testing.assert_close(turned(inputs), -Ours()(inputs))


class Optional(Halves):
    def forward(self, batch: dict[str, Tensor], prior: Any = 0.0) -> Tensor:
        return self.both(batch["image"], batch["sound"]) + prior


def test_an_optional_second_parameter_does_not_get_the_mask() -> None:
    model, inputs = fitted(Optional(), task()), task().splits["test"].inputs
    assert isinstance(model, Called)
    torch.testing.assert_close(model(inputs, torch.ones(len(inputs["sound"]), 2, dtype=torch.bool)), Optional()(inputs))


class Four(nn.Module):
    def forward(self, a: Tensor, b: Tensor, c: Tensor, last: Tensor) -> Tensor:
        return a[:, :3] + 2 * b[:, :3] + last[:, :3]


def test_four_inputs_that_may_change_places_are_not_guessed() -> None:
    shapes = dict.fromkeys(("ct", "mri", "pet", "us"), (4,))
    with pytest.raises(BadInput, match=r"takes inputs by position, and the orders ct, mri, pet, us and .* both work"):
        fitted(Four(), task(shapes))


class Names(Halves):
    """One parameter has the name of a modality, the other has another."""

    def forward(self, image: Tensor | None = None, waves: Tensor | None = None) -> Tensor:
        assert image is not None
        return self.both(image, torch.zeros(len(image), 6) if waves is None else waves)


def test_no_input_is_left_out_because_its_parameter_has_another_name() -> None:
    inputs = task().splits["test"].inputs
    torch.testing.assert_close(fitted(Names(), task())(inputs), Names()(*inputs.values()))


class Learner(Positional):
    pass


def learnt_from(network: nn.Module) -> Task:
    return Task.from_arrays(
        task().splits["test"].held.inputs, torch.arange(12) % 3, splits=["train"] * 6 + ["val"] * 3 + ["test"] * 3
    )  # type: ignore[attr-defined]


def test_a_wrapped_network_stays_as_it_was() -> None:
    """Its mode, where it is evaluated; its weights, where a copy is trained."""
    network = Learner().train()
    before, data = copy.deepcopy(network.state_dict()), learnt_from(network)
    harness.evaluate(data, {"mine": harness.wrap(network, call="positional")}, **QUIET)
    assert network.training
    model = harness.train(data, harness.wrap(network, call="positional"), epochs=1)
    assert all(torch.equal(before[name], x) for name, x in network.state_dict().items())
    assert any(not torch.equal(before[name], x) for name, x in model.network.state_dict().items())  # type: ignore[operator, union-attr]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_compilers_return() -> None:
    network = Positional()
    compiled = torch.compile(network, backend="eager")
    for model in (compiled, harness.wrap(compiled, call="positional")):
        assert harness.evaluate(task(), {"mine": model}, **QUIET).status == "complete"
    with pytest.raises(BadInput, match="is TorchScript, of which no copy can be trained"):
        harness.train(learnt_from(network), torch.jit.script(network))


CODE = """
from tests.harness.models.halves import Positional, task
def make(): return task()
def build(task): return Positional()
"""


@pytest.mark.parametrize("prefix", ["", "network.", "module.", "_orig_mod."])
def test_the_weights_of_a_network_are_its_own(prefix: str, elsewhere: Path) -> None:
    (elsewhere / "my.py").write_text(CODE)
    network = Positional()
    with torch.no_grad():
        network.seen.weight.zero_()
    save_file({f"{prefix}{name}": x for name, x in network.state_dict().items()}, "own.safetensors")
    Path("own.json").write_text(json.dumps({"model": "my.py:build", "task": "arrays"}))
    reference = "my.py:build@own.safetensors"
    if prefix in ("module.", "_orig_mod."):
        with pytest.raises(BadInput, match=f"has '{prefix}' before the names of its tensors"):
            harness.evaluate("my.py:make", reference, **QUIET)
        return
    scores = [
        harness.evaluate(task(), model, **QUIET).summary["score"].tolist() for model in (reference, {"m": network})
    ]
    assert scores[0] == scores[1]


class TakesPresent(Halves):
    """Names its inputs, and wants to know which are there."""

    def forward(self, image: Tensor, sound: Tensor, present: Tensor | None = None) -> Tensor:
        seen = torch.ones(len(image), 2) if present is None else present.float()
        return self.both(image * seen[:, :1].reshape(-1, *[1] * (image.ndim - 1)), sound * seen[:, 1:])


def test_a_network_that_names_its_inputs_also_gets_what_is_present() -> None:
    inputs = task().splits["test"].inputs
    there = torch.ones(len(inputs["sound"]), 2, dtype=torch.bool)
    for model in (fitted(TakesPresent(), task()), wrap(TakesPresent(), "keywords")(task())):
        assert isinstance(model, Called) and model.call == "keywords"
        torch.testing.assert_close(model(inputs, there), TakesPresent()(**inputs))
        deaf = there & torch.tensor([True, False])
        torch.testing.assert_close(model(inputs, deaf), TakesPresent()(**inputs, present=deaf))


@dataclass
class Returned:
    features: Tensor
    scores: Tensor


class Dataclass(Halves):
    def forward(self, image: Tensor, sound: Tensor) -> Returned:
        return Returned(image, self.both(image, sound))


def test_the_answer_of_a_dataclass_is_the_only_tensor_of_its_shape() -> None:
    inputs = task().splits["test"].inputs
    torch.testing.assert_close(fitted(Dataclass(), task())(inputs), Dataclass()(**inputs).scores)
