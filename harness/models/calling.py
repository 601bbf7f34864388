"""Networks as they come: how one is called, and where its answer lies in what it returns.

A model of the harness has ``forward(inputs, present)``. A network written for something else takes
keywords, positions, one dictionary or one tuple. Where its signature leaves one way that works,
that way is taken; else `wrap` names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations, permutations
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from attacks.errors import BadInput, plain, unknown
from attacks.objective import preserved
from attacks.region import Inputs
from harness.models.returned import Answer, found, placed
from harness.tasks import Task

Way = Literal["keywords", "positional", "dict", "tuple"]
Call = Way | Callable[[nn.Module, Inputs], Any]
WAYS: tuple[Way, ...] = get_args(Way)
OF_THE_HARNESS = "present"  # the parameter that names our own convention
TRIED = 2  # samples
FEW = 3  # inputs, of which every other order is tried, too; of more, every exchange of two
MEND = "write forward(inputs, present), or name the way: harness.wrap(network, call='keywords', answer='logits')"


class Called(nn.Module):
    """A network that is called in its own way, as a model of named inputs.

    Args:
        names: the inputs that it is given, in order.
        call: one of `WAYS`, or a function of the network and the inputs (B, ...) by name. By
            keywords, a network that takes `present` also gets which modalities are there.
        answer: the key, attribute or index of the outputs (B, *shape) in what the network returns,
            or a function of that; None: a tensor is the answer, else the `logits` are.
    """

    def __init__(self, network: nn.Module, names: Sequence[str], call: Call, answer: Answer | None = None) -> None:
        super().__init__()
        self.network, self.names, self.call, self.answer = network, tuple(names), call, answer
        self.takes_present = OF_THE_HARNESS in {each.name for each in parameters(network) or ()}

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, *shape); a missing modality holds its stand-in value."""
        return found(self.answer, self.returned(inputs, present))

    def returned(self, inputs: Inputs, present: Tensor | None = None) -> Any:
        """What the network returns."""
        given = {name: inputs[name] for name in self.names}
        if self.call == "keywords":
            return self.network(**given, **({OF_THE_HARNESS: present} if self.takes_present else {}))
        if self.call == "positional":
            return self.network(*given.values())
        if self.call == "dict":
            return self.network(given)
        return self.network(tuple(given.values())) if self.call == "tuple" else self.call(self.network, given)


class Answered(nn.Module):
    """A model of the harness whose answer is a part of what it returns, or a function of that."""

    def __init__(self, network: nn.Module, answer: Answer) -> None:
        super().__init__()
        self.network, self.answer = network, answer

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, *shape)."""
        return found(self.answer, self.network(inputs, present))


def wrap(
    network: nn.Module | str | Path | Any, call: Call | None = None, answer: Answer | None = None
) -> Callable[[Task], nn.Module]:
    """A network as a model under test: ``harness.evaluate(task, {"mine": harness.wrap(network)})``.

    Args:
        network: a module; the path of an ONNX file (see `outside.onnx_file`); or a fitted
            scikit-learn estimator or pipeline (see `outside.estimator`). The last two have no
            gradients.
        call: "keywords" (inputs by the names of the modalities), "positional" (in the order of the
            task), "dict", "tuple", or a function of the network and the inputs by name; by default
            what the signature says, where that is unambiguous.
        answer: the key, attribute or index of the outputs in what the network returns, or a
            function of that; by default its `logits`, or the only tensor of the task's shape.

    Returns:
        a function that builds the model for a task. It raises BadInput if the network does not work
        that way, or in no way, or in several.

    Raises:
        BadInput: the network is none of these, or there is no such way to call one.
    """
    if not isinstance(network, nn.Module):
        return _without_gradients(network, call, answer)
    if call is not None and not callable(call) and call not in WAYS:
        raise unknown("call", str(call), WAYS, where=" for harness.wrap")
    return partial(_wrapped, network, call, answer)


def _without_gradients(network: Any, call: Call | None, answer: Answer | None) -> Callable[[Task], nn.Module]:
    """An ONNX file or an estimator as a model."""
    if call is not None:
        raise BadInput("harness.wrap takes call for a torch.nn.Module only: leave it out")
    if isinstance(network, str | Path) and Path(network).suffix == ".onnx":
        from harness.models.outside.onnx_file import OnnxFile

        if callable(answer):
            raise BadInput("harness.wrap takes the name or the number of an output as answer of an ONNX file")
        return partial(OnnxFile, network, answer=0 if answer is None else answer)
    if isinstance(network, type) or not any(hasattr(network, name) for name in ("predict", "decision_function")):
        raise BadInput(
            "harness.wrap takes a torch.nn.Module, the path of an ONNX file or a fitted scikit-learn estimator, got"
            f" {network!r:.80}"
        )
    from harness.models.outside.estimator import Estimator

    return partial(Estimator, network)


def _wrapped(network: nn.Module, call: Call | None, answer: Answer | None, task: Task) -> nn.Module:
    if call is None:
        return fitted(network, task, answer)
    outcome = _tried(Called(network, _names(network, call, task), call, answer), task)
    if isinstance(outcome, Exception):
        raise _misfit(network, task, outcome, call)
    return outcome


def network_of(model: object) -> nn.Module | None:
    """The network that `wrap` holds; None of anything else."""
    return model.args[0] if isinstance(model, partial) and model.func is _wrapped else None


def _names(network: nn.Module, call: Call, task: Task) -> tuple[str, ...]:
    """The inputs that a way of calling passes on."""
    every, taken = (*task.names, *task.extra_inputs), parameters(network)
    if call in ("positional", "tuple"):
        return task.names
    if call != "keywords" or taken is None or _any_keyword(taken):
        return every
    return tuple(name for name in every if name in {each.name for each in taken})


def fitted(network: nn.Module, task: Task, answer: Answer | None = None) -> nn.Module:
    """The network itself where it is a model of the harness; else behind the one way to call it
    that works on two samples of the task.

    Raises:
        BadInput: no way works, or several do.
    """
    taken = parameters(network)
    if taken is None or _of_the_harness(taken, task):
        return network if answer is None else Answered(network, answer)
    if _takes_two(taken) and isinstance(_attempt(network, task, network), Tensor) and answer is None:
        return network
    working: list[Called] = []
    failed: list[Exception] = []
    for names, way in _candidates(taken, task):
        outcome = _in_order(Called(network, names, way, answer), task)
        if isinstance(outcome, Exception):
            failed.append(outcome)
            continue
        working.append(outcome)
        if way == "keywords":  # the names of the modalities are no coincidence
            return outcome
    if len(working) == 1:
        return working[0]
    if working:
        ways = " and ".join(f"call={each.call!r} with {', '.join(each.names)}" for each in working)
        raise BadInput(
            f"{_signed(network)} works in {len(working)} ways, {ways}: name one, as harness.wrap(network,"
            f" call={working[0].call!r})"
        )
    raise _misfit(network, task, failed[0] if failed else None)


def _of_the_harness(taken: Sequence[inspect.Parameter], task: Task) -> bool:
    """Whether a forward takes the inputs as one dictionary, and `present`; not where it names the
    modalities one by one.
    """
    names = {each.name for each in taken}
    one_by_one = set(task.names) <= names and names != {"inputs", OF_THE_HARNESS}
    return OF_THE_HARNESS in names and not one_by_one


def parameters(network: nn.Module) -> list[inspect.Parameter] | None:
    """What the network's forward takes; None where that cannot be known."""
    schema = getattr(network.forward, "schema", None)  # of TorchScript
    if schema is not None:
        return [
            inspect.Parameter(
                each.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=None if each.has_default_value() else inspect.Parameter.empty,
            )
            for each in schema.arguments[1:]
        ]
    try:
        return list(inspect.signature(network.forward).parameters.values())
    except (TypeError, ValueError):
        return None


def _takes_two(taken: Sequence[inspect.Parameter]) -> bool:
    """Whether a second parameter has to be given: an optional one need not be the mask of what is
    present.
    """
    required = [each for each in _positional(taken) if each.default is inspect.Parameter.empty]
    return len(required) == 2 or _any_position(taken)


def _candidates(taken: Sequence[inspect.Parameter], task: Task) -> Iterator[tuple[tuple[str, ...], Way]]:
    """The ways that a signature allows, the surest first."""
    every = (*task.names, *task.extra_inputs)
    named = tuple(name for name in every if _any_keyword(taken) or name in {each.name for each in taken})
    required = {each.name for each in _positional(taken) if each.default is inspect.Parameter.empty}
    unknown_too = any(each.name not in (*named, OF_THE_HARNESS) for each in _positional(taken))
    whole = set(task.names) <= set(named) or not unknown_too  # else an input would be left out without a word
    if named and required <= {*named, OF_THE_HARNESS} and whole:
        yield named, "keywords"
    most = len(every) if _any_position(taken) else len(_positional(taken))
    for names in dict.fromkeys((task.names, every)):
        if max(1, len(required)) <= len(names) <= most:
            yield names, "positional"
    if len(required) <= 1 <= most:
        yield every, "dict"
        yield task.names, "tuple"


def _positional(taken: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each for each in taken if each.kind in kinds]


def _any_position(taken: Sequence[inspect.Parameter]) -> bool:
    return any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in taken)


def _any_keyword(taken: Sequence[inspect.Parameter]) -> bool:
    return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken)


def _attempt(network: nn.Module, task: Task, act: Callable[[Inputs, Tensor], Any], count: int = TRIED) -> Any:
    """What an act on so many samples returns, or the exception that it raises; the network stays as
    it was.
    """
    batch = task.splits["test"].take(range(min(count, len(task.splits["test"]))))
    place = next(network.parameters(), torch.empty(0)).device
    inputs = {name: x.to(place) for name, x in batch.inputs.items()}
    present = task.present(batch).to(place)
    try:
        with preserved(network), torch.no_grad():
            network.eval()
            return act(inputs, present)
    except Exception as error:
        return error


def _tried(model: Called, task: Task) -> Called | Exception:
    """The model, with the place of its answer, if it answers two samples, or takes only one at a
    time; else why it does not.
    """

    def act(inputs: Inputs, present: Tensor) -> Called:
        returned = model.returned(inputs, present)
        shape = (len(next(iter(inputs.values()))), *task.problem.shape)
        answer = placed(returned, shape) if model.answer is None else model.answer
        found(answer, returned)
        return Called(model.network, model.names, model.call, answer)

    outcome: Called | Exception = _attempt(model.network, task, act)
    if isinstance(outcome, Exception) and not isinstance(outcome, BadInput):
        single: Called | Exception = _attempt(model.network, task, act, 1)
        return single if isinstance(single, Called) else outcome
    return outcome


def _in_order(model: Called, task: Task) -> Called | Exception:
    """The same; by position, every other order of few inputs has to fail. Where it works, too, the
    order of the modalities may not be the network's.
    """
    outcome = _tried(model, task)
    if isinstance(outcome, Exception) or model.call not in ("positional", "tuple"):
        return outcome
    for order in permutations(model.names) if len(model.names) <= FEW else _exchanged(model.names):
        if order != model.names and isinstance(_tried(Called(model.network, order, model.call), task), Called):
            return BadInput(
                f"it takes inputs by position, and the orders {', '.join(model.names)} and {', '.join(order)} both work"
            )
    return outcome


def _exchanged(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The orders in which two names have changed places."""
    for first, second in combinations(range(len(names)), 2):
        order = list(names)
        order[first], order[second] = order[second], order[first]
        yield tuple(order)


def _signed(network: nn.Module) -> str:
    taken = parameters(network)
    return f"{type(network).__name__}.forward({', '.join(map(str, taken or ()))})"


def _misfit(network: nn.Module, task: Task, error: Exception | None, call: Call | None = None) -> BadInput:
    """Why no way works, or the way that was named.

    Args:
        error: what it raised; a BadInput says what is wrong with its answer.
    """
    if isinstance(error, BadInput):
        return BadInput(f"{_signed(network)}: {error}")
    why = f" ({type(error).__name__}: {plain(str(error))[:200]})" if error is not None else ""
    if call is None:
        return BadInput(f"{_signed(network)} does not take the inputs {', '.join(task.names)} as they are{why}: {MEND}")
    way = "the function call" if callable(call) else f"call={call!r}"
    return BadInput(
        f"{_signed(network)} does not work with {way} on the inputs {', '.join(task.names)}{why}: name another way, or"
        " give a function of the network and the inputs"
    )
