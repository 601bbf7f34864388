"""Where the weights of a model are, and for which task: checkpoints, and the weights that travel
with the package.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from attacks.errors import BadInput
from harness.models import checkpoint
from harness.references import options
from harness.references.objects import held
from harness.references.registry import code_of, names, resolve
from harness.run.config import Evaluation
from harness.tasks import Task

_WITH_CODE = re.compile(r"(?P<code>[^@]+:[^@:/]+)@(?P<weights>.+)")


def with_task(config: Evaluation) -> Evaluation:
    """The evaluation on its task, or, where it names none, on the task that the weights of its
    models are for.

    A model of a user's own decides nothing. Where no model decides, the task is the default one.

    Raises:
        BadInput: the weights of two models are for different tasks, or there is no such model.
    """
    if "task" in config.model_fields_set:
        return config
    known = {model: tasks for model in config.model if (tasks := tasks_of(model))}
    common = [task for task in next(iter(known.values()), []) if all(task in tasks for tasks in known.values())]
    if known and not common:
        each = "; ".join(f"{model!r} for {', '.join(tasks)}" for model, tasks in known.items())
        raise BadInput(f"the weights of the models are for different tasks ({each}): evaluate each task by itself")
    return config if not common or config.task in common else config.model_copy(update={"task": common[0]})


def tasks_of(model: str) -> list[str]:
    """The registered tasks that a model has weights for: that of a checkpoint's card, or those of
    the weights that travel with the package. Empty for a reference to code, and for an object.

    Raises:
        BadInput: no such model, or the card cannot be read.
    """
    if held("model", model) is not None:
        return []
    if model.endswith(checkpoint.SUFFIX):
        task = checkpoint.read_card(_apart(model)[1])["task"]
        return [task] if task in names("task") else []
    return [] if ":" in model else _tasks_travelled_for(model)


def of_checkpoint(text: str, task: Task) -> tuple[str, Path]:
    """The builder of a checkpoint's model, named with it or by its card, and the path of the
    weights.

    Raises:
        BadInput: the card cannot be read, names code, or is of another task.
    """
    code, weights = _apart(text)
    card = checkpoint.read_card(weights)
    if card["task"] != task.name:
        raise BadInput(
            f"checkpoint {weights} was trained on task {card['task']!r}, not on {task.name!r}: train one on it"
        )
    if code is None and code_of(card["model"]) is not None:
        named = f"{card['model']}@{weights}"
        raise BadInput(
            f"checkpoint {weights} has a checkpoint card that names code: if you trust that code, name both, --model"
            f" {named!r}"
        )
    return code or card["model"], weights


def _apart(text: str) -> tuple[str | None, Path]:
    """The code that is named with a checkpoint, if any, and the checkpoint."""
    match = _WITH_CODE.fullmatch(text)
    return (match["code"], Path(match["weights"])) if match else (None, Path(text))


def committed_weights(name: str, task: Task) -> Path:
    """The weights of a registered name that travel with the package.

    Raises:
        BadInput: there are none for the task.
    """
    path = checkpoint.committed(task.name, _file_of(name))
    if path.is_file():
        return path
    kind, others = options.plain(name), _tasks_travelled_for(name)
    own = [each for each in names("recipe") if kind in (each, *(f"{each}-{modality}" for modality in task.names))]
    recipe = ("--recipe", own[0]) if own else ()
    words = ["python", "-m", "harness", "train", "--task", task.name, "--model", name, *recipe]
    instead = f"evaluate it on --task {' or '.join(others)}, or " if others else ""
    raise BadInput(
        f"model {name!r} has no weights for task {task.name!r}: {instead}train it ({shlex.join(words)}) and name the"
        " checkpoint that this command writes"
    )


def _tasks_travelled_for(name: str) -> list[str]:
    file = _file_of(name)
    return [
        each.name for each in sorted(checkpoint.COMMITTED.iterdir()) if checkpoint.committed(each.name, file).is_file()
    ]


def _file_of(name: str) -> str:
    """The name of a model's file; an option at its default changes nothing."""
    return options.shortest("model", name, resolve("model", options.plain(name)).target)
