"""Trials: one system on one task with one seed, trained and then evaluated.

A finished trial is not repeated.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import torch
from rich.console import Console

from attacks.errors import BadInput
from attacks.presets import VERSION
from harness.analysis.curves import arrow_of
from harness.commands.evaluate import evaluate
from harness.engine.environment import choose_device, device_name
from harness.engine.executors.parent import end_with_parent
from harness.engine.loading import code_hash, load_model, load_task
from harness.engine.progress import reporting
from harness.models import checkpoint
from harness.references.options import plain
from harness.references.registry import names, resolve
from harness.reproduce.cost import cost
from harness.reproduce.record import INFLUENCES, SPLIT, Record
from harness.reproduce.setting import Effort, Setting, System, reading, small_effort
from harness.run.config import Evaluation
from harness.run.directory import RunDirectory
from harness.tasks import Task
from harness.training.train import Training, train

AT_ONCE = 256
SAMPLES_SEED = 0  # of which samples are tested: the same for every system and seed, so that all are paired


@dataclass(frozen=True)
class Trial:
    """The work for one row and one seed. The names of its files hold a key of all that determines
    them.

    Attributes:
        folder: the folder of the study's checkpoints and runs.
        records: the folder of the study's records; its page is written from them.
        metric: the metric over the set whose values are recorded; empty: none.
        read: the branch that is evaluated; empty: the whole model.
    """

    task: str
    system: System
    seed: int
    effort: Effort
    folder: Path
    records: Path
    key: str
    metric: str = ""
    read: str = ""

    @property
    def name(self) -> str:
        return self._named(self.row)

    @property
    def row(self) -> str:
        """The system's name in tables."""
        return reading(self.system.name, self.read) if self.read else self.system.name

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / f"{self._named(self.system.name)}{checkpoint.SUFFIX}"

    @property
    def model(self) -> str:
        """What is evaluated: the checkpoint, or one branch of it."""
        if not self.read:
            return str(self.checkpoint)
        name, _, options = self.system.model.partition("?")
        return f"{names('model')[name]}?{f'{options}&' if options else ''}read={self.read}@{self.checkpoint}"

    def _named(self, row: str) -> str:
        plain = "".join(letter if letter.isalnum() else "-" for letter in row)
        return f"{self.task}/{plain}-{self.seed}-{self.key}"

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(str(self.folder / "runs" / self.name))

    @property
    def trained(self) -> bool:
        """The card is written last."""
        return self.checkpoint.with_suffix(".json").exists()

    @property
    def record(self) -> Path:
        return self.records / f"{self.name}.parquet"

    @property
    def done(self) -> bool:
        return self.record.exists()

    @property
    def training(self) -> Training:
        system = self.system
        return Training(
            self.task,
            system.model,
            system.recipe,
            self.seed,
            self.effort.epochs,
            out=str(self.checkpoint),
            train_missing=system.missing,
            train_samples=self.effort.learnt_from,
        )

    @property
    def evaluation(self) -> Evaluation:
        return Evaluation(
            task=self.task,
            model=(self.model,),
            schedule=("mcar:0",),
            repeats=1,
            seed=SAMPLES_SEED,
            search=self.effort.search if self.system.attacked and not self.effort.attack else "none",
            attack=(self.effort.attack,) if self.system.attacked and self.effort.attack else (),
            limit=self.effort.limit,
            samples=self.effort.samples,
            batch_size=128,
            witnesses="none",
            trust=False,
            out=self.directory.url,
        )


def trials(setting: Setting, task: Task, folder: Path, records: Path, small: bool) -> list[Trial]:
    """All trials of a setting, seed by seed: in a study that is stopped, the first seeds are
    complete.
    """
    effort = small_effort(setting.effort) if small else setting.effort
    keyed = [(system, _key(setting.task, system, effort, task)) for system in setting.systems]
    return [
        Trial(setting.task, system, seed, effort, folder, records, key, setting.metric, read)
        for seed in effort.seeds
        for system, key in keyed
        for read in ("", *system.reads)
    ]


def recorded(planned: Sequence[Trial]) -> list[Trial]:
    """The trials of the seeds whose trials are all done."""
    lacking = {trial.seed for trial in planned if not trial.done}
    return [trial for trial in planned if trial.seed not in lacking]


def _key(name: str, system: System, effort: Effort, task: Task) -> str:
    """A hash of what is trained, on which data, by which code, and how it is tested, without the
    row's name and the seeds.
    """
    described = replace(system, name=""), replace(effort, seeds=())
    code = [code_hash(resolve("model", plain(system.model))), code_hash(resolve("recipe", plain(system.recipe)))]
    parts = [name, repr(described), task.data_hash, task.definition_hash, *code, *filter(None, [effort.attack])]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]


def perform(trial: Trial, device: str) -> str:
    """Train, evaluate and record, as far as it is not done; return the name of the trial."""
    quiet = Console(quiet=True)
    if not trial.trained:
        train(replace(trial.training, device=device), quiet)
    code = evaluate(trial.evaluation.model_copy(update={"device": device}), quiet)
    if code:
        raise BadInput(f"{trial.name} could not be evaluated: see the folder {trial.directory.url}/errors")
    found(trial, choose_device(device)).write(trial.record)
    return trial.name


def found(trial: Trial, device: torch.device) -> Record:
    """The record of a trial that is trained and evaluated, with its model's scores on every test
    sample.
    """
    task = load_task(trial.task)
    module, split = load_model(trial.model, task, device).module, task.splits["test"]
    parts = [split.take(rows).to(device) for rows in torch.arange(len(split)).split(AT_ONCE)]
    with torch.no_grad():
        scores = torch.cat([task.problem.score(module(part.inputs, None), part.targets) for part in parts])
    tables = {name: trial.directory.table(name) for name in ("samples", "sweep", "ledger")}
    tables[INFLUENCES] = _influences(trial)
    tables[SPLIT] = pa.table({"score": scores.double().cpu().numpy()})
    card, spent = checkpoint.read_card(trial.checkpoint), cost(module.to("cpu"), task, torch.device("cpu"))
    return Record(
        tables, {key: card[key] for key in ("metrics", "seconds", "versions")}, spent, device_name(device), VERSION
    )


def _influences(trial: Trial) -> pa.Table:
    """Those on the trial's metric: untouched, at strength 1, and with a modality missing."""
    sql = "select * from rows where metric = $metric and level in (0, 1)"
    return arrow_of(sql, {"metric": trial.metric}, rows=trial.directory.table("influences"))


def perform_all(todo: Iterable[Trial], jobs: int, device: str, console: Console) -> None:
    """Perform every trial that is not done, `jobs` at a time, each on its share of the cores.

    Raises:
        BadInput: a trial cannot be trained or evaluated; the results of finished trials stay.
    """
    # settings may share trials
    left = [trial for trial in {trial.name: trial for trial in todo}.values() if not trial.done]
    whole, branches = [each for each in left if not each.read], [each for each in left if each.read]
    work = partial(perform, device=device)
    with reporting(console, "reproduce", len(left)) as reporter:
        for part in (whole, branches):  # a branch is read of what was trained before
            for name in _in_processes(work, part, jobs) if jobs > 1 and len(part) > 1 else map(work, part):
                reporter.advance(1, f"trials, {name}")


def _started(threads: int) -> None:
    end_with_parent()
    torch.set_num_threads(threads)


def _in_processes(work: Callable[[Trial], str], left: Sequence[Trial], jobs: int) -> Iterator[str]:
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_started, initargs=(threads,)) as pool:
        futures = [pool.submit(work, trial) for trial in left]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
