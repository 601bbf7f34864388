"""Networks as they come: each way to be called, each form of answer, and what is refused."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from attacks.errors import BadInput
from harness.models.calling import Called, fitted, wrap
from harness.references.livecode import model_code
from tests.harness.models.halves import Halves, Ours, Positional, task


class Keywords(Halves):
    def forward(self, *, sound: Tensor, image: Tensor) -> Tensor:
        return self.both(image, sound)


class ByName(Halves):
    def forward(self, sound: Tensor, image: Tensor, scale: float = 1.0) -> Tensor:
        return scale * self.both(image, sound)


class AnyKeywords(Halves):
    def forward(self, **inputs: Tensor) -> Tensor:
        return self.both(inputs["image"], inputs["sound"])


class WithPresent(Halves):
    def forward(self, sound: Tensor, image: Tensor, present: Tensor) -> Tensor:
        return self.both(image * present[:, 0, None, None, None], sound * present[:, 1, None])


class OneAtATime(Halves):
    def forward(self, image: Tensor, sound: Tensor) -> Tensor:
        if len(image) > 1:
            raise ValueError("one sample at a time")
        return self.both(image, sound)


class AnyPositions(Halves):
    def forward(self, *xs: Tensor) -> Tensor:
        return self.both(*xs)


class OneDict(Halves):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.both(batch["image"], batch["sound"])


class OneTuple(Halves):
    def forward(self, xs: Any) -> Tensor:
        return self.both(xs[0], xs[1])


class OursByOtherNames(Halves):
    def forward(self, x: dict[str, Tensor], there: Tensor) -> Tensor:
        return self.both(x["image"], x["sound"])


WAYS = (Keywords, ByName, AnyKeywords, Positional, AnyPositions, OneDict, OneTuple, Ours, OursByOtherNames)


@pytest.mark.parametrize("kind", WAYS)
def test_the_way_follows_from_the_signature(kind: type[Halves]) -> None:
    network = kind()
    model = fitted(network, task())
    batch = task().splits["test"]
    expected = network.both(batch.inputs["image"], batch.inputs["sound"])
    assert torch.equal(model(batch.inputs, torch.ones(len(batch), 2, dtype=torch.bool)), expected)
    assert (model is network) == (kind in (Ours, OursByOtherNames))


@pytest.mark.parametrize("kind", [*WAYS, torch.jit.script])
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_network_is_evaluated_as_it_comes(kind: Any) -> None:
    network = torch.jit.script(Positional()) if kind is torch.jit.script else kind()
    run = harness.evaluate(
        task(), {"mine": network}, scenarios=["image@linf:0.1"], search="fast", schedules=["none"], trust=False
    )
    assert run.status == "complete" and not run.errors


FORMS: dict[str, tuple[Callable[[Tensor], Any], Any]] = {
    "tensor": (lambda logits: logits, None),
    "tuple": (lambda logits: (logits.new_zeros(len(logits), 7), logits), None),
    "list": (lambda logits: [logits], None),
    "dictionary": (lambda logits: {"loss": logits.sum(), "scores": logits}, None),
    "logits": (lambda logits: {"logits": logits, "hidden": logits + 1}, None),
    "object": (lambda logits: SimpleNamespace(logits=logits, hidden=logits), None),
    "ordered": (lambda logits: OrderedDict(logits=logits), None),
    "index": (lambda logits: (logits + 1, logits), 1),
    "key": (lambda logits: {"a": logits + 1, "b": logits}, "b"),
    "attribute": (lambda logits: SimpleNamespace(a=logits + 1, b=logits), "b"),
    "function": (lambda logits: (logits + 1,), lambda returned: returned[0] - 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_answer_is_found(form: str) -> None:
    returned, answer = FORMS[form]

    class Returning(Halves):
        def forward(self, image: Tensor, sound: Tensor) -> Any:
            return returned(self.both(image, sound))

    network, batch = Returning(), task().splits["test"]
    model = wrap(network, answer=answer)(task())
    expected = network.both(batch.inputs["image"], batch.inputs["sound"])
    torch.testing.assert_close(model(batch.inputs), expected)


@pytest.mark.parametrize("way", ["keywords", "positional", "dict", "tuple"])
def test_a_way_can_be_named(way: Any) -> None:
    kinds: dict[str, type[Halves]] = {
        "keywords": ByName, "positional": Positional, "dict": OneDict, "tuple": OneTuple
    }  # fmt: skip
    model = wrap(kinds[way](), call=way)(task())
    assert isinstance(model, Called) and model.call == way


def test_a_function_calls_the_network() -> None:
    network, batch = Positional(), task().splits["test"]
    model = wrap(network, call=lambda net, inputs: net(inputs["image"] / 2, inputs["sound"]))(task())
    expected = network.both(batch.inputs["image"] / 2, batch.inputs["sound"])
    torch.testing.assert_close(model(batch.inputs), expected)


def test_another_function_is_another_model() -> None:
    """So a run with the one does not go on with the other."""
    networks = [wrap(Positional(), answer=each)(task()) for each in (lambda x: x, lambda x: -x)]
    assert model_code(networks[0]) != model_code(networks[1])


class Swappable(nn.Module):
    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return torch.stack([one.sum(1), other.sum(1), one[:, 0]], 1)


def test_inputs_that_fit_in_either_order_are_not_guessed() -> None:
    alike = task({"left": (6,), "right": (6,)})
    with pytest.raises(BadInput, match="the orders left, right and right, left both work"):
        fitted(Swappable(), alike)
    model = wrap(Swappable(), call="positional")(alike)
    assert torch.equal(model(alike.splits["test"].inputs)[:, 0], alike.splits["test"].inputs["left"].sum(1))


class Deaf(Halves):
    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.seen(image.flatten(1))
        return logits


def test_a_network_may_read_some_of_the_inputs() -> None:
    model = fitted(Deaf(), task())
    assert isinstance(model, Called) and model.names == ("image",)


class Pixels(nn.Module):
    def forward(self, pixels: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        return pixels


class Texts(Halves):
    def forward(self, image: Tensor, sound: Tensor) -> Any:
        return "a cat"


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (Pixels(), r"Pixels.forward\(pixels: .*, tokens: .*, mask: .*\) does not take the inputs image, sound"),
        (Texts(), r"Texts.forward.*it returns str without the answer 'logits'"),
    ],
)
def test_the_sentence_names_the_signature_and_the_mend(network: nn.Module, why: str) -> None:
    with pytest.raises(BadInput, match=why) as caught:
        harness.evaluate(task(), {"mine": network})
    assert "harness.wrap(network, " in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("network", "call"), [(nn.Linear(2, 2), "keyword"), (3, None)])
def test_what_is_no_network_or_no_way_is_refused(network: Any, call: Any) -> None:
    with pytest.raises(BadInput, match=r"did you mean keywords|takes a torch.nn.Module, the path of an ONNX file"):
        wrap(network, call=call)


def test_the_network_stays_as_it_was() -> None:
    network = Positional().train()
    fitted(network, task())
    assert network.training and all(each.grad is None for each in network.parameters())


def test_a_network_that_takes_one_sample_at_a_time_is_called_so() -> None:
    found = harness.evaluate(task(), {"net": OneAtATime(), "any": ByName()}, search="fast", schedule="none")
    ledger = found.ledger.sort_values(["scenario", "sample"])
    strengths = [ledger[ledger.model == name].strength.tolist() for name in ("net", "any")]
    assert strengths[0] == pytest.approx(strengths[1], rel=1e-3)


def test_a_mask_of_what_is_present_may_be_required() -> None:
    called = fitted(WithPresent(), task())
    inputs = task().splits["test"].take(range(2)).inputs
    alone = called(inputs, torch.tensor([[True, False]] * 2))
    torch.testing.assert_close(alone, Halves().both(inputs["image"], 0 * inputs["sound"]))
