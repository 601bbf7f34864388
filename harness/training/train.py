"""`train`: any model on any task, by a recipe."""

from __future__ import annotations

import copy
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from attacks.errors import BadInput, shown
from harness.engine.environment import choose_device, versions
from harness.engine.loading import load_task, new_model
from harness.engine.probe import probe
from harness.engine.progress import Reporter, reporting
from harness.models import checkpoint
from harness.models.recipe import Measuring, Recipe, Stage
from harness.references import options
from harness.references.registry import resolve
from harness.references.userfile import stand_for
from harness.tasks import Batch, Task
from harness.training.train_missing import LEARNT_FROM, Missing, described, grid, incomplete, tag
from harness.version import __version__

EVALUATED_AT_ONCE = 256
SEEDS = 2**63
LOWER = "lower the learning rate or check the inputs"


@dataclass(frozen=True)
class Training:
    """The options of a training."""

    task: str
    model: str
    recipe: str = "supervised"
    seed: int = 0
    epochs: int | None = None
    device: str = "auto"
    out: str | None = None
    train_missing: tuple[str, ...] = ()
    train_samples: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.train_missing, str):
            raise BadInput(f"train_missing {self.train_missing!r}: give a list of texts")
        if self.train_samples is not None and self.train_samples < 1:
            raise BadInput(f"--train-samples {self.train_samples}: give 1 or more")
        if not 0 <= self.seed < SEEDS:
            raise BadInput(f"--seed {self.seed}: give a whole number from 0 to 2**63 - 1")


def train(training: Training, console: Console) -> list[Path]:
    """Train a model, keep its best epoch by validation score, and write checkpoint and card.

    It trains once for each combination of the rates at which modalities are missing in training, or
    once if no rates are given.

    Returns:
        the paths of the checkpoints, which `--model` takes.

    Raises:
        BadInput: before training, unknown names, a checkpoint that cannot be written, or a model
            that cannot be trained or does not fit the task; later, a loss that is not finite.
    """
    stand_for({})  # forget the code that an earlier command of this process allowed
    task, device = load_task(training.task), choose_device(training.device)
    _refuse_unheeded(training, task)
    combinations = grid(training.train_missing, task.names)
    paths = [writable(_place(training, task, missing, len(combinations) > 1)) for missing in combinations]
    for path, missing in zip(paths, combinations, strict=True):
        _train_one(training, task, missing, path, device, console)
    return paths


def recipe_of(text: str) -> Recipe:
    """A recipe by its reference, with options as ``byol?momentum=0.99&batch_size=64``.

    Raises:
        BadInput: no such recipe or option, or a value that is not of the option's type.
    """
    way = resolve("recipe", options.plain(text)).target
    recipe: Recipe = way(**options.chosen("recipe", text, way))
    return recipe


def _refuse_unheeded(training: Training, task: Task) -> None:
    """Refuse a recipe that ignores missing inputs: it would learn from stand-ins, and the
    checkpoint card would be wrong.
    """
    lacking = any(task.splits[name].present is not None for name in LEARNT_FROM)
    if (training.train_missing or lacking) and not getattr(recipe_of(training.recipe), "heeds_present", False):
        why = "--train-missing" if training.train_missing else f"samples of task {task.name!r} lack modalities"
        raise _unheeded(why, training.recipe)


def _unheeded(why: str, recipe: str) -> BadInput:
    return BadInput(
        f"{why}: recipe {recipe!r} treats every input as present: use 'supervised', or set heeds_present = True in a"
        " recipe of your own that uses batch.present"
    )


def trained(training: Training, console: Console) -> nn.Module:
    """Train a model and return it at its best epoch, on the CPU; where `out` names a file,
    checkpoint and card are written, too.

    Raises:
        BadInput: as `train`, or several rates are named at which inputs are missing.
    """
    stand_for({})
    task, device = load_task(training.task), choose_device(training.device)
    _refuse_unheeded(training, task)
    missing, *others = grid(training.train_missing, task.names)
    if others:
        raise BadInput(
            f"train_missing {training.train_missing!r} makes {1 + len(others)} models: call train once for each rate"
        )
    path = writable(training.out) if training.out else None
    return _train_one(training, task, missing, path, device, console).cpu()


def _train_one(
    training: Training, task: Task, missing: Missing, path: Path | None, device: torch.device, console: Console
) -> nn.Module:
    recipe = recipe_of(training.recipe)
    learnt_from, started = incomplete(fewer(task, training), missing, training.seed), time.monotonic()
    model, validation = fit(training, learnt_from, recipe, device, console)
    if path is None:
        return model
    seconds = time.monotonic() - started
    with torch.no_grad():
        known = recipe.measured(task.splits["test"]) if isinstance(recipe, Measuring) else {}
    tested = _metrics(model, task, task.splits["test"], device) | known
    metrics = {"validation_score": validation} | {f"test_{name}": value for name, value in tested.items()}
    card = {**_card(training, task, metrics), "seconds": round(seconds, 1)}
    if training.train_samples is not None:
        card["train_samples"] = len(learnt_from.splits["train"])
    if missing:
        card["train_missing"] = described(missing, learnt_from)
    checkpoint.save(path, model, card)
    console.print(
        f"{path}: " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()), soft_wrap=True, markup=False
    )
    return model


def fewer(task: Task, training: Training) -> Task:
    """The task with at most so many training samples, chosen by the seed; validation and test stay
    whole.

    Raises:
        BadInput: the task has no training or no validation samples.
    """
    split, _ = (task.splits[name] for name in LEARNT_FROM)
    most = training.train_samples
    if most is None or most >= len(split):
        return task
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(training.seed))[:most]
    return replace(task, splits={**task.splits, "train": split.some(rows)})


def _place(training: Training, task: Task, missing: Missing, several: bool) -> str:
    """The path of a checkpoint. Its name holds the missing modalities, unless the user named this
    one file.
    """
    if not training.out:
        return f"checkpoints/{task.name}/{_file_name(training.model)}{tag(missing)}{checkpoint.SUFFIX}"
    named = training.out.endswith(checkpoint.SUFFIX)
    return (
        f"{training.out.removesuffix(checkpoint.SUFFIX)}{tag(missing)}{checkpoint.SUFFIX}"
        if several and named
        else training.out
    )


def writable(out: str) -> Path:
    """The path of a checkpoint, its folder made.

    Raises:
        BadInput: nothing can be written there.
    """
    path = Path(out)
    if "://" in out:
        raise BadInput(f"--out {out}: a checkpoint is a local file: name a path")
    if path.suffix != checkpoint.SUFFIX:
        raise BadInput(f"--out {out}: a checkpoint's name ends in {checkpoint.SUFFIX}")
    if path.is_dir():
        raise BadInput(f"--out {out} is a folder: name a file in it")
    trial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise BadInput(f"--out {out} cannot be written: {error.strerror or error}") from None
    return path


def fit(
    training: Training, task: Task, recipe: Recipe, device: torch.device, console: Console
) -> tuple[nn.Module, float]:
    """Build and train a model. The global random state does not change.

    Returns:
        the model at its best epoch (see `Stage.judged`), and its validation score.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(training.seed)
        model = new_model(training.model, task).to(device)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise BadInput(f"model {training.model!r} has no parameters to train: evaluate it without training")
        if probe(training.model, model, task, device)[0] is not model:
            raise BadInput(f"model {training.model!r} takes only a few samples at once: train it elsewhere")
        checkpoint.check_storable(model)
        best = None
        for stage in recipe.setup(model, task, training.epochs):
            _refuse_single(training.model, model, min(stage.batch_size, len(task.splits["train"])))
            with reporting(console, f"train {training.model}, {stage.name}", stage.epochs) as reporter:
                best = _fit_stage(model, task, recipe, stage, training.seed, device, reporter)
        score = _validation_score(model, recipe, task.splits["val"], device) if best is None else best
    return model.eval(), score


def _fit_stage(
    model: nn.Module, task: Task, recipe: Recipe, stage: Stage, seed: int, device: torch.device, reporter: Reporter
) -> float | None:
    """The best validation score; the model then has the weights of that epoch. None for a stage
    without validation.
    """
    order = torch.Generator().manual_seed(seed)
    best, weights, stale = -1.0, copy.deepcopy(model.state_dict()), 0
    for _ in range(stage.epochs):
        model.train()
        losses = [
            _step(recipe, stage, batch) for batch in _shuffled(task.splits["train"], stage.batch_size, order, device)
        ]
        model.eval()
        loss = sum(losses) / len(losses)
        if not stage.judged:
            reporter.advance(1, f"epochs, loss {loss:.3f}")
            continue
        score = _validation_score(model, recipe, task.splits["val"], device)
        reporter.advance(1, f"epochs, loss {loss:.3f}, validation score {score:.3f}")
        stale = 0 if score > best else stale + 1
        if score > best:
            best, weights = score, copy.deepcopy(model.state_dict())
        if stale > stage.patience:
            break
    if not stage.judged:
        return None
    model.load_state_dict(weights)
    return best


def _refuse_single(name: str, model: nn.Module, size: int) -> None:
    if size == 1 and any(isinstance(part, nn.BatchNorm1d) for part in model.modules()):
        raise BadInput(
            f"model {name!r} normalises over batches, but these hold one sample: train on at least 2 samples, in"
            " batches of at least 2"
        )


def _step(recipe: Recipe, stage: Stage, batch: Batch) -> float:
    if batch.present is not None and not getattr(recipe, "heeds_present", False):  # known once it is read
        raise _unheeded(f"sample {shown(batch.samples[0])} or one beside it lacks a modality", type(recipe).__name__)
    stage.optimizer.zero_grad(set_to_none=True)
    try:
        loss = recipe.step(batch, stage)
    except RuntimeError as error:
        if "`nan`" not in str(error):
            raise
        # torch refuses to draw by them
        raise BadInput(f"probabilities became NaN in stage {stage.name!r}: {LOWER}") from None
    if not bool(loss.isfinite()):
        raise BadInput(f"the training loss became {loss.item()} in stage {stage.name!r}: {LOWER}")
    loss.backward()
    stage.optimizer.step()
    recipe.after_step(stage)
    return loss.item()


def _shuffled(split: Batch, size: int, order: torch.Generator, device: torch.device) -> Iterator[Batch]:
    """All samples in batches. If one sample remains alone, the first joins it: a norm over a batch
    needs two samples.
    """
    drawn = torch.randperm(len(split), generator=order)
    batches = [
        torch.cat([rows, drawn[:1]]) if len(rows) == 1 < min(size, len(split)) else rows for rows in drawn.split(size)
    ]
    for batch in split.each([rows.tolist() for rows in batches]):
        yield batch.to(device)


def _in_order(split: Batch, device: torch.device) -> Iterator[Batch]:
    for batch in split.each([rows.tolist() for rows in torch.arange(len(split)).split(EVALUATED_AT_ONCE)]):
        yield batch.to(device)


@torch.no_grad()
def _validation_score(model: nn.Module, recipe: Recipe, split: Batch, device: torch.device) -> float:
    """The mean score. An answer of NaN counts as worse than any other."""
    watched = model.register_forward_hook(_refuse_diverged)
    try:
        return torch.cat([recipe.validate(batch).double() for batch in _in_order(split, device)]).mean().item()
    finally:
        watched.remove()


def _refuse_diverged(module: nn.Module, inputs: Any, outputs: Any) -> None:
    if isinstance(outputs, Tensor) and not bool(outputs.isfinite().all()):
        raise BadInput(f"training diverged, the model answers NaN or infinity: {LOWER}")


@torch.no_grad()
def _metrics(model: nn.Module, task: Task, split: Batch, device: torch.device) -> dict[str, float]:
    tallies = [
        task.problem.tally(model(batch.inputs, batch.present), batch.targets).cpu()
        for batch in _in_order(split, device)
    ]
    return task.metrics(torch.cat(tallies), split.groups)


def _card(training: Training, task: Task, metrics: dict[str, float]) -> dict[str, Any]:
    return {
        "model": training.model,
        "task": task.name,
        "recipe": training.recipe,
        "seed": training.seed,
        "data_hash": task.data_hash,
        "versions": {"harness": __version__, **versions()},
        "metrics": metrics,
        "command": ["python", "-m", "harness", *sys.argv[1:]],
    }


def _file_name(model: str) -> str:
    """A model's reference without characters that folders and shells interpret."""
    return re.sub(r"[?&=]+", "-", re.sub(r"[/:]", "_", model)).strip("-")
