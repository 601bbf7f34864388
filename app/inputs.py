"""The inputs of a model: a sample of a run's task untouched, and as in a stored witness."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.queries import rows
from app.runs import Run
from app.tensors import read
from attacks.errors import BadInput
from attacks.region import Inputs
from attacks.scenario import parse
from harness.engine.knn_consistency import unlabelled
from harness.engine.ledger import keys_of, witness_hash
from harness.engine.loading import code_at, load_task
from harness.references.code_consent import configured
from harness.references.registry import code_of
from harness.reporting.sample_gallery import absent_from, untouched
from harness.tasks import Task
from harness.tasks.files.dataroot import data_root, else_in


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of a task: its inputs, each without the batch's axis, and the modalities that it
    came without.
    """

    task: Task
    inputs: Inputs
    absent: frozenset[str]


def sample_of(run: Run, name: str) -> Sample:
    """A sample as the run saw it.

    Raises:
        BadInput: its task cannot be loaded here, or has other data now.
    """
    with else_in(configured(run.url, run.description).data_root):
        task = _task(run.config.task, run.config.judge, str(data_root()), consent(run))
    stored = rows(run, "select hash from samples where sample = ? limit 1", (name,))
    return Sample(task, untouched(task, name, stored[0]["hash"] if stored else None), absent_from(task, name))


def runs_code(run: Run) -> bool:
    """Whether showing the run's inputs means running a file or module that the run names, and not a
    task of the harness.
    """
    return code_of(run.config.task) is not None


def consent(run: Run) -> str:
    """The scope of a consent to run code: this run, the file or module that it names, and the
    present contents of that file.
    """
    place = code_of(run.config.task) or ""
    return hashlib.sha256(json.dumps([run.url, place, code_at(place)]).encode()).hexdigest()[:16]


def witness_of(run: Run, row: dict[str, Any]) -> Inputs:
    """The attacked modalities of the witness behind a row of the ledger; empty where it was not
    kept.

    Raises:
        BadInput: the file is damaged.
    """
    path = f"{run.root}/witnesses/{cell_of(row['file'])}.safetensors"
    names = parse(row["scenario"]).attacked_names
    keys = keys_of(row, names)
    held = read(run.files, path, lambda key: key in keys.values())
    moved = {name: held[key] for name, key in keys.items() if key in held}
    if moved and (len(moved) < len(names) or witness_hash([moved[name] for name in names]) != row["witness"]):
        raise BadInput(f"run {run.url} is damaged: {path} does not hold the witness that the ledger names")
    return moved


def cell_of(file: str) -> str:
    """The cell that a part of a table is of, by the part's path."""
    return file.rsplit("/", 1)[-1].removesuffix(".parquet")


@st.cache_resource(max_entries=3, show_spinner="Loading the task's data")
def _task(text: str, judge: str, root: str, allowed: str) -> Task:
    """A task with its data; The data folder `root` and the consent only separate entries of the
    cache.
    """
    task = load_task(text)
    return unlabelled(task) if judge == "neighbours" else task
