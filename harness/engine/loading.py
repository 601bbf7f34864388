"""Load a task and the models under test from references, and check them before any work."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from attacks.errors import BadInput
from harness.engine.probe import probe
from harness.engine.weights import committed_weights, of_checkpoint
from harness.models import checkpoint
from harness.models.calling import fitted
from harness.references import options
from harness.references.livecode import layer_values, model_code, model_values
from harness.references.objects import held
from harness.references.registry import Reference, code_of, names, resolve
from harness.references.sources import Reached, located, meaning, reached
from harness.references.userfile import inside, is_our_own, own_packages
from harness.storage.files import path_of
from harness.tasks import Task


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model under test: its reference, the module, and hashes of its weights and of its code."""

    name: str
    module: nn.Module
    weights: str
    code: str


def load_task(text: str) -> Task:
    """The task a reference names, with options as ``counting?tolerance=1``, or the object that the
    name stands for.

    Raises:
        BadInput: the reference does not resolve, or its object does not return a task.
    """
    if isinstance(given := held("task", text), Task):
        return given
    reference = with_options("task", text)
    if isinstance(reference.target, Task):
        return reference.target
    task = call(reference, "task")
    if not isinstance(task, Task):
        raise BadInput(
            f"task {text!r} must be a callable that returns a harness.tasks.Task, it returned {type(task).__name__}"
        )
    return task


def build_model(text: str, task: Task) -> nn.Module:
    """The untrained (or user-trained) module a reference builds for a task, with options as
    ``mmtm?gate_scale=1``.
    """
    reference = with_options("model", text)
    module = _built(call(reference, "model", task), text, task)
    if reference.folder:
        inside(reference.folder, module)
    return module


def new_model(name: str, task: Task) -> nn.Module:
    """The module to train: what a reference, or a function from a Python program, builds, or a copy
    of a program's module.
    """
    given = held("model", name)
    if given is None:
        return build_model(name, task)
    if isinstance(given, torch.jit.ScriptModule):
        raise BadInput(f"model {name!r} is TorchScript, of which no copy can be trained: give the module behind it")
    own = copy.deepcopy(given)  # also of the network that `wrap` holds
    return _built(own if isinstance(own, nn.Module) else call(Reference(name, own, None), "model", task), name, task)


def task_code(text: str) -> str:
    """SHA-256 of the code that a reference to a task names; empty for a task object from a Python
    program.
    """
    return "" if held("task", text) is not None else code_hash(with_options("task", text))


def with_options(kind: Literal["task", "model"], text: str) -> Reference:
    """The object of a reference, with its options bound to it.

    Raises:
        BadInput: no such name or option.
    """
    reference = resolve(kind, options.plain(text))
    target: Any = reference.target
    bound = options.chosen(kind, text, target) if callable(target) else {}
    return replace(reference, text=text, target=partial(target, **bound)) if bound else reference


def load_model(text: str, task: Task, device: torch.device, seed: int = 0) -> Loaded:
    """A model with its weights, on its device, tried on a few samples.

    Args:
        text: a registered name (weights travel with the package), a user's reference (it brings its
            own weights), the path of a checkpoint that `train` wrote, or, where its card names
            code, both as ``file.py:object@path.safetensors``: a card alone runs nothing.
        seed: the seed for random numbers while a model is built; the global random state does not
            change.

    Raises:
        BadInput: no such model, no weights, or a model that does not fit the task.
    """
    if (given := held("model", text)) is not None:
        return _given(text, given, task, device, seed)
    return _referred(text, task, device, seed)


def _referred(text: str, task: Task, device: torch.device, seed: int) -> Loaded:
    reference, weights = text, None
    by_name = not text.endswith(checkpoint.SUFFIX) and ":" not in text
    if text.endswith(checkpoint.SUFFIX):
        reference, weights = of_checkpoint(text, task)
    elif not by_name:
        _refuse_other_weights(text)
        _refuse_untrained(text)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        module = build_model(reference, task)
    values = [model_values(module), *([] if by_name else [layer_values(module, built=True)])]
    if by_name:  # after it was built: building checks that the task has the modality of a family's name
        weights = committed_weights(text, task)
    if weights is not None:
        checkpoint.load(weights, module)
    module, opened = probe(text, module.to(device).eval(), task, device)
    parts = [code_hash(with_options("model", reference)), model_code(module), *filter(None, values)]
    code = digest([*parts, *opened.values()])
    return Loaded(text, module, checkpoint.weight_hash(module), code)


def _given(name: str, given: Any, task: Task, device: torch.device, seed: int) -> Loaded:
    """A model from a Python program: a module, a function that builds one, or a reference under
    another name.
    """
    if isinstance(given, str):
        return replace(_referred(given, task, device, seed), name=name)  # not another model of the program
    if not isinstance(given, nn.Module):
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            given = call(Reference(name, given, None), "model", task)
    module, opened = probe(name, _built(given, name, task).to(device).eval(), task, device)
    code = digest([model_code(module), layer_values(module, built=False), *opened.values()])
    return Loaded(name, module, checkpoint.weight_hash(module), code)


def _built(module: Any, name: str, task: Task) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise BadInput(f"model {name!r} must build a torch.nn.Module, it built {type(module).__name__}")
    held = (*module.named_parameters(), *module.named_buffers())
    if empty := [each for each, x in held if x.is_meta]:
        raise BadInput(f"model {name!r} has no values for {empty[0]!r} (its device is meta): load its weights first")
    try:
        return fitted(module, task)
    except BadInput as error:
        raise BadInput(f"model {name!r}: {error}") from None


def call(reference: Reference, kind: str, *arguments: Any) -> Any:
    """Call the object of a reference; a user's file sees its own packages during the call."""
    target: Callable[..., Any] = reference.target
    if not callable(target):
        raise BadInput(f"{kind} {reference.text!r} is not callable: name a function that builds it")
    try:
        with own_packages(reference.folder) if reference.folder else nullcontext():
            return target(*arguments)
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        raise BadInput(f"{kind} {reference.text!r} cannot be built: {type(error).__name__}: {error}") from error


def _refuse_other_weights(text: str) -> None:
    """Weights that are named behind a reference are a checkpoint of the harness."""
    code, at, weights = text.rpartition("@")
    if at and code_of(code) is not None and Path(weights).suffix:
        raise BadInput(
            f"model {text!r} names weights that do not end in {checkpoint.SUFFIX}: name a checkpoint that `train`"
            f" wrote, or load {weights} in the function itself"
        )


def _refuse_untrained(text: str) -> None:
    """The harness's own models carry weights by their registered names only."""
    found = resolve("model", options.plain(text))
    module = sys.modules.get(getattr(found.target, "__module__", ""))
    defined = getattr(module, getattr(found.target, "__name__", ""), None) is found.target
    files = [found.source, getattr(module, "__file__", None) if defined else None]
    if any(file and is_our_own(Path(file)) for file in files):
        known = [name for name, place in names("model").items() if place.rpartition(":")[2] == text.rpartition(":")[2]]
        raise BadInput(
            f"model {text!r} is a model of the harness, and this reference would load it untrained: name it"
            f" {' or '.join(map(repr, known)) or 'by its registered name'}, or a checkpoint"
        )


def code_at(place: str) -> str:
    """The same for a file or module by its name, without running it; empty if there is no file."""
    path = path_of(place) if place.endswith(".py") else located(place)
    return _hash_of(reached(path)) if path is not None and path.is_file() else ""


def code_hash(reference: Reference) -> str:
    """SHA-256 of the file a reference names and, where it is not ours, of all it imports; empty if
    there is no file.

    Files are hashed by what they mean (`sources.meaning`), installed packages by their version.
    """
    if not reference.source:
        return ""
    start = Path(reference.source).resolve()
    return _hash_of(Reached([start], {}) if is_our_own(start) else reached(start, reference.folder))


def _hash_of(imported: Reached) -> str:
    found = hashlib.sha256()
    for path in imported.files:
        found.update(hashlib.sha256(meaning(path)).digest())
    if imported.packages:
        found.update(json.dumps(imported.packages, sort_keys=True).encode())
    return found.hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of a value that JSON can write."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
