"""Objects from a Python program: while a call runs, names stand for them, like references on a
command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from attacks.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

    from harness.tasks import Task

Kind = Literal["task", "model"]
_HELD: ContextVar[Mapping[tuple[str, str], Any]] = ContextVar("held", default=MappingProxyType({}))


@contextmanager
def holding(kind: Kind, objects: Mapping[str, Any]) -> Iterator[None]:
    """Let names stand for objects, in this thread, until the block ends."""
    before = _HELD.set({**_HELD.get(), **{(kind, name): each for name, each in objects.items()}})
    try:
        yield
    finally:
        _HELD.reset(before)


def held(kind: Kind, name: str) -> Any | None:
    """The object that a name stands for; None where it is a reference."""
    return _HELD.get().get((kind, name))


@contextmanager
def as_reference(task: Task | str) -> Iterator[str]:
    """The reference of a task; a task as an object has its name as reference until the block ends.

    Raises:
        BadInput: it is neither.
    """
    from harness.tasks import Task as Known

    if isinstance(task, str):
        yield task
    elif isinstance(task, Known):
        with holding("task", {task.name: task}):
            yield task.name
    else:
        raise BadInput(
            f"task is of type {type(task).__name__}: give a harness.tasks.Task (Task.from_arrays makes one), or a"
            " reference"
        )


@contextmanager
def as_references(models: Mapping[str, Any] | Sequence[str] | nn.Module | str) -> Iterator[tuple[str, ...]]:
    """The references of models; models as objects have their names as references until the block
    ends. Modules keep their mode and their device.

    Raises:
        BadInput: one is neither a model nor a reference, or its name cannot be used.
    """
    from torch import nn

    from attacks.objective import preserved
    from harness.models.calling import network_of

    if isinstance(models, str):
        yield (models,)
    elif isinstance(models, nn.Module):
        with as_references({type(models).__name__: models}) as names:
            yield names
    elif isinstance(models, Mapping):
        _refuse_names(models)
        wrapped = [network_of(each) for each in models.values()]
        modules = [each for each in (*models.values(), *wrapped) if isinstance(each, nn.Module)]
        with holding("model", models), ExitStack() as stack:
            for module in modules:
                stack.enter_context(preserved(module))
            yield tuple(models)
    elif not isinstance(models, Sequence):
        raise BadInput(
            f"models is of type {type(models).__name__}: give modules by name, as {{'mine': network}}, or references"
        )
    else:
        for each in models:
            if not isinstance(each, str):
                raise BadInput(
                    f"models holds a {type(each).__name__} without a name: give objects by name, as {{'mine': network}}"
                )
        yield tuple(models)


@contextmanager
def as_model(model: str | nn.Module | Callable[[Task], nn.Module]) -> Iterator[str]:
    """The reference of one model; an object has its own name as reference until the block ends.

    Raises:
        BadInput: it is neither a model nor a reference.
    """
    if isinstance(model, str):
        yield model
    else:
        with as_references({getattr(model, "__name__", type(model).__name__): model}) as (name,):
            yield name


def _refuse_names(models: Mapping[str, Any]) -> None:
    for name, each in models.items():
        if not isinstance(name, str) or not name.strip() or ":" in name or name.endswith(".safetensors"):
            raise BadInput(f"models has the name {name!r}: give a text without ':' that does not end in .safetensors")
        if not callable(each) and not isinstance(each, str):
            raise BadInput(
                f"model {name!r} is of type {type(each).__name__}: give an nn.Module, a function that builds one, or a"
                " reference"
            )
