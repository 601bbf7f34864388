"""`verify`: every stored witness of a run, and every certificate, re-checked from disk."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.eot import judged
from attacks.errors import BadInput, plain
from attacks.region import Inputs, Region
from attacks.scenario import Scenario, parse
from attacks.verify import verify
from harness.commands.certificates import doubted
from harness.engine.answers import ATTACKED, answer_keys
from harness.engine.graded import floor_of
from harness.engine.ledger import keys_of, witness_hashes
from harness.engine.loading import Loaded
from harness.engine.model_checks import check_models
from harness.engine.objective import TaskObjective
from harness.engine.plan import Work, load_all, prepare
from harness.engine.resuming import standing_at
from harness.engine.standing import another_model, describe, standing
from harness.references.code_consent import permitted
from harness.run.directory import RunDirectory
from harness.tasks import Task
from harness.tasks.files.dataroot import else_in, use
from harness.tasks.sample_hashes import sample_hashes

CPU = torch.device("cpu")
AT_ONCE = 64  # samples that are compared


@dataclass(frozen=True)
class Claim:
    """The ledger's claim about one stored witness."""

    model: str
    sample: str
    scenario: str
    strength: float
    witness: str

    def __str__(self) -> str:
        return f"{self.model}, sample {self.sample}, {self.scenario} at strength {self.strength:.4g}"


def verify_witnesses(run: str, code: Collection[str], data_root: str | None) -> int:
    """Re-check every witness, print those that fail and how many hold.

    Returns:
        the exit code: 0, or 3 where a witness fails.

    Raises:
        BadInput: as `reopened` does.
    """
    use(data_root)
    directory = RunDirectory(run)
    work = reopened(directory, code)
    codes = [_counted("witnesses", _claims(directory, work))]
    if work.config.certify is not None:
        codes.append(_counted("certificates", doubted(directory, work)))
    return max(codes)


def _counted(what: str, checked: Iterable[tuple[object, bool]]) -> int:
    """Print what does not hold, and how many hold; 3 where one does not."""
    every = list(checked)
    failed = [claim for claim, holds in every if not holds]
    for claim in failed:
        print(plain(f"does not hold: {claim}"))
    print(f"{len(every)} {what} re-checked, {len(every) - len(failed)} hold")
    return 3 if failed else 0


def reopened(directory: RunDirectory, code: Collection[str] = ()) -> Work:
    """The task, the models and the scenarios of a run, as they were.

    Args:
        code: the files and modules that the run names and that may be run.

    Raises:
        BadInput: there is no run, it names other code, its task or a model has changed, or it holds
            other samples than the task.
    """
    description = directory.describe()
    identity = description.identity
    config = permitted(directory.url, description, code)
    with else_in(config.data_root):
        task, loaded = load_all(config, CPU)
    if (task.data_hash, task.definition_hash) != (identity.data, identity.task_definition):
        raise BadInput(
            f"task {config.task!r} has changed (data or definition) since run {directory.url} was made: "
            "its witnesses cannot be re-checked"
        )
    _check_samples(directory, task)
    work = prepare(config, task, loaded, check_models(loaded, task, CPU, config))
    if why := another_model(standing_at(directory), standing(work, describe(work, CPU)), ["weights"]):
        raise BadInput(f"run {directory.url} {why}: its witnesses cannot be re-checked")
    return work


def recheck(directory: RunDirectory, code: Collection[str] = ()) -> Iterator[tuple[Claim, bool]]:
    """Every claim whose witness the run keeps, and whether it holds: the witness exists, its bytes
    have the stored hash, and range, radius and failure are as claimed.

    Args:
        code: the files and modules that the run names and that may be run.

    Raises:
        BadInput: as `reopened`.
    """
    yield from _claims(directory, reopened(directory, code))


def _claims(directory: RunDirectory, work: Work) -> Iterator[tuple[Claim, bool]]:
    task, config = work.task, work.config
    models = {model.name: model for model in work.models}
    for tensors, rows in directory.witnesses():
        for row in rows:
            if row["sample"] not in work.kept_samples or row["status"] != "ok" or row["strength"] == float("inf"):
                continue
            claim = Claim(*(row[key] for key in ("model", "sample", "scenario", "strength", "witness")))
            scenario = parse(claim.scenario)
            keys, floor = keys_of(row, scenario.attacked_names), floor_of(row["clean_score"], row["threshold"])
            if keys and claim.model in models:
                moved = {name: tensors[key] for name, key in keys.items() if key in tensors}
                there = len(moved) == len(keys)
                answer = tensors.get(answer_keys(row)[ATTACKED])
                yield (
                    claim,
                    there and _holds(task, models[claim.model], claim, scenario, moved, config.seed, floor, answer),
                )


def _check_samples(directory: RunDirectory, task: Task) -> None:
    """Every row of the samples has the hash, target and group of the task's own sample.

    Raises:
        BadInput: a row differs.
    """
    names = ("hash", "target", "group")
    stored = directory.table("samples", ("sample", *names)).to_pylist()
    known = _of_task(task, {row["sample"] for row in stored})
    for row in stored:
        own = dict(zip(names, known[row["sample"]], strict=True)) if row["sample"] in known else {}
        wrong = next((name for name in names if name not in own or row[name] != own[name]), "")
        if wrong:
            theirs = f"has {own[wrong]!r}" if own else "does not have this sample"
            raise BadInput(
                f"run {directory.url} is damaged: sample {row['sample']!r} has {wrong} {row[wrong]!r} there, but"
                f" task {task.name!r} {theirs}: restore its samples, or run it again"
            )


def _of_task(task: Task, samples: Collection[str]) -> dict[str, tuple[str, str, str]]:
    """Hash, target and group of these samples of the task; others are left out."""
    split, found = task.splits["test"], dict[str, tuple[str, str, str]]()
    rows = torch.tensor([row for row, sample in enumerate(split.samples) if sample in samples], dtype=torch.int64)
    for batch in split.each([part.tolist() for part in rows.split(AT_ONCE)]):
        columns = sample_hashes(batch), task.problem.label(batch.targets), batch.groups
        found |= dict(zip(batch.samples, zip(*columns, strict=True), strict=True))
    return found


def _holds(
    task: Task,
    model: Loaded,
    claim: Claim,
    scenario: Scenario,
    moved: Inputs,
    seed: int,
    floor: Tensor | None,
    answer: Tensor | None,
) -> bool:
    split = task.splits["test"]
    batch = split.take([split.samples.index(claim.sample)])
    witness = {**batch.inputs, **{name: x[None] for name, x in moved.items()}}
    objective = TaskObjective(model.module, task, batch.targets, task.present(batch, scenario.missing), {}).below(floor)
    strength = torch.tensor([claim.strength], dtype=torch.float64)
    alike = all(witness[name].shape == x.shape and witness[name].dtype == x.dtype for name, x in batch.inputs.items())
    if not alike or not _intact(witness, scenario, claim):
        return False
    if answer is not None and not scenario.edits and not _answered(objective, witness, answer):
        return False
    over = judged(objective, Region.of(batch.inputs, task.bounds(batch), scenario), batch.samples, seed)
    return bool(verify(over, batch.inputs, witness, task.bounds(batch), scenario, strength))


def _answered(objective: TaskObjective, witness: Inputs, stored: Tensor) -> bool:
    """Whether the model's answer to a witness is the stored one, up to the rounding of another
    machine: at most 1 % of whole numbers differ, and real numbers differ by at most 1e-3 of their
    spread.
    """
    with torch.no_grad():
        answer = objective.task.problem.predictions(objective.outputs(witness))[0]
    if answer.shape != stored.shape or answer.is_floating_point() != stored.is_floating_point():
        return False
    if answer.is_floating_point() and answer.ndim == 2:
        return _same_boxes(answer, stored)
    if not answer.is_floating_point():
        return float((answer != stored).double().mean()) <= 0.01
    spread = float(answer.max() - answer.min())
    return bool(((answer - stored).abs() <= 1e-3 * max(spread, 1e-6)).all())


def _same_boxes(answer: Tensor, stored: Tensor) -> bool:
    """Whether nine of ten boxes (n, 6) of each answer are near a box of the other: boxes with
    almost the same confidence may change places, or suppress each other.
    """
    ours, theirs = (x[x[:, 0] >= 0] for x in (answer, stored))
    if not len(ours) or not len(theirs):
        return len(ours) == len(theirs)
    near = (ours[:, None] - theirs).abs().amax(2) <= 1e-3
    return all(float(near.any(axis).double().mean()) >= 0.9 for axis in (0, 1))


def _intact(witness: dict[str, Tensor], scenario: Scenario, claim: Claim) -> bool:
    return witness_hashes(witness, scenario) == [claim.witness]
