"""Exhibits: samples of a run as a model was shown them, untouched and attacked, for a page that
opens without a network.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, TypeAlias

import plotly.graph_objects as go
from torch import Tensor

from attacks.errors import BadInput
from attacks.region import Inputs
from attacks.scenario import parse
from harness.analysis.curves import query
from harness.engine.answers import answer_keys
from harness.engine.ledger import keys_of, witness_hash
from harness.engine.loading import load_task
from harness.references.code_consent import configured
from harness.references.registry import code_of
from harness.reporting import answers, images
from harness.reporting.boxes import pictures_of
from harness.run.description import AnswerForm
from harness.run.directory import RunDirectory
from harness.tasks import Task
from harness.tasks.files.dataroot import else_in
from harness.tasks.modality import Modality
from harness.tasks.task import sample_hashes

ENLARGED = 5.0  # the change, beside what it changed
NO_WITNESS = "the stored witness of sample {!r} has another shape or type than the sample, or is not finite"
MODELS = 4  # at most so many samples, each of another model

Drawing: TypeAlias = str | go.Figure
"""HTML, or a figure that a page draws in its own way."""


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One sample of one model, as it failed.

    Attributes:
        row: of the ledger.
        witness: the attacked modalities, each without the batch's axis.
        answers: the stored ones, see `harness.engine.answers`.
    """

    row: Mapping[str, Any]
    witness: Inputs
    answers: Inputs


def untouched(task: Task, name: str, known: str | None) -> Inputs:
    """The inputs of a test sample, each without the batch's axis.

    Args:
        known: its hash when the run was made; None where nothing is known.

    Raises:
        BadInput: the task has no such sample here, or it holds other data than the run saw.
    """
    split = task.splits["test"]
    if name not in split.samples:
        raise BadInput(
            f"task {task.name!r} has no sample {name!r} here: its data are not those that the run was made on"
        )
    batch = split.take([split.samples.index(name)])
    if known is not None and known != sample_hashes(batch)[0]:
        raise BadInput(f"sample {name!r} of task {task.name!r} holds other data here than when the run was made")
    return {key: x[0] for key, x in batch.inputs.items()}


def can_be_of(witness: Inputs, inputs: Inputs) -> bool:
    """Whether stored tensors can be what a sample's inputs became: of their shapes and types, and
    finite.
    """
    kinds = {name: (x.shape, x.dtype) for name, x in inputs.items()}
    return all(kinds.get(name) == (x.shape, x.dtype) and bool(x.isfinite().all()) for name, x in witness.items())


def exhibits(directory: RunDirectory) -> list[Exhibit]:
    """The first models, each with the sample that failed soonest under the largest scenario asked
    for, among those with a stored witness.
    """
    described = directory.describe()
    asked, threshold = described.identity.scenarios, described.threshold
    largest = max(asked, key=lambda each: len(parse(each).attacked), default="")
    found: dict[str, Exhibit] = {}
    for tensors, rows in directory.witnesses(stored=True):
        wanted = [row for row in rows if (row["scenario"], row["threshold"]) == (largest, threshold)]
        kept = [exhibit for row in wanted if (exhibit := _exhibit(row, tensors)) is not None]
        for exhibit in sorted(kept, key=lambda each: (each.row["strength"], each.row["sample"]))[:1]:
            before = found.get(exhibit.row["model"])
            if before is None or exhibit.row["strength"] < before.row["strength"]:
                found[exhibit.row["model"]] = exhibit
    models = described.identity.config.model
    return [found[model] for model in models if model in found][:MODELS]


def _exhibit(row: Mapping[str, Any], tensors: Inputs) -> Exhibit | None:
    """A row of the ledger with its witness, if the sample was attacked to failure and that is
    stored, as the ledger names it.
    """
    names = parse(row["scenario"]).attacked_names
    witness = {name: tensors[key] for name, key in keys_of(row, names).items() if key in tensors}
    if row["status"] != "ok" or not row["strength"] > 0 or len(witness) < len(names):
        return None
    stored = {name: tensors[key] for name, key in answer_keys(row).items() if key in tensors}
    return Exhibit(row, witness, stored) if witness_hash([witness[name] for name in names]) == row["witness"] else None


def shown(directory: RunDirectory) -> Iterator[Drawing]:
    """The exhibits of a run, drawn; one sentence where they cannot be: code that only the run names
    is not run for a page.
    """
    chosen = exhibits(directory)
    if not chosen:
        yield _note("None: no witness of the largest scenario is stored (--witnesses).")
        return
    samples, form = directory.table("samples"), directory.describe().answer
    task, clean = None, [Inputs() for _ in chosen]
    try:
        task = _task_of(directory)
        hashes = dict(query("select sample, any_value(hash) from samples group by sample", samples=samples))
        clean = [untouched(task, each.row["sample"], hashes.get(each.row["sample"])) for each in chosen]
    except BadInput as error:
        yield _note(f"Not shown: {error}")
    for exhibit, inputs in zip(chosen, clean, strict=True):
        drawings = [
            *_answers(form, exhibit, inputs, task),
            *(_inputs(exhibit, inputs, task) if task and inputs else ()),
        ]
        if drawings:
            yield f"<h3>{escape(exhibit.row['model'])}, {escape(exhibit.row['sample'])}</h3>"
            yield _note(_said(exhibit, samples))
            yield from drawings


def _task_of(directory: RunDirectory) -> Task:
    """The task of a run.

    Raises:
        BadInput: it is code that only the run names, or cannot be loaded.
    """
    config = configured(directory.url, directory.describe())
    if code_of(config.task):
        raise BadInput(
            f"the inputs come from {config.task}, code that this run names; `dashboard` runs it when it is asked to."
        )
    with else_in(config.data_root):
        return load_task(config.task)


def _answers(form: AnswerForm | None, exhibit: Exhibit, inputs: Inputs, task: Task | None) -> Iterator[Drawing]:
    """The target, the untouched and the attacked answer, where they are stored; boxes on the
    picture, where the inputs can be had.
    """
    stored, pictures = exhibit.answers, {}
    if task and inputs and can_be_of(exhibit.witness, inputs):
        pictures = pictures_of(task.modalities, inputs, exhibit.witness)
    if form is not None and not stored:
        yield _note(
            "The answers are not shown: they were not kept, because an earlier version made this part of the run."
        )
    if form is None or not answers.shown_as(form, stored):
        return
    yield "<h4>answer</h4>"
    yield answers.figure_of(form, stored, pictures)
    yield "".join(_player(wave, title) for title, wave in answers.sounds_of(form, stored).items())


def _said(exhibit: Exhibit, samples: Any) -> str:
    row = exhibit.row
    sql = (
        f"select target, label from samples where model = '{_quoted(row['model'])}' and sample ="
        f" '{_quoted(row['sample'])}'"
    )
    answers = query(sql, samples=samples)
    known = "".join(f"the target is {target}, untouched it answers {clean}, " for target, clean in answers)
    graded = "" if row["threshold"] is None else f", at threshold {row['threshold']:g} of the untouched score"
    return (
        f"{row['model']}, sample {row['sample']}: {known}attacked "
        f"{row['label']}. Critical strength {row['strength']:.4g} under {row['scenario']}, found by attack{graded}."
    )


def _quoted(name: str) -> str:
    return name.replace("'", "''")


def _inputs(exhibit: Exhibit, inputs: Inputs, task: Task) -> Iterator[Drawing]:
    if not can_be_of(exhibit.witness, inputs):
        yield _note(f"Not shown: {NO_WITNESS.format(exhibit.row['sample'])}.")
        return
    for modality in task.modalities:
        moved = exhibit.witness.get(modality.name)
        if moved is not None and moved.equal(inputs[modality.name]):
            moved = None  # the attack could do without it
        yield f"<h4>{escape(modality.name)}, {'untouched' if moved is None else 'attacked'}</h4>"
        yield from _input(modality, inputs[modality.name], moved)


def _input(modality: Modality, clean: Tensor, moved: Tensor | None) -> Iterator[Drawing]:
    if images.is_tokens(modality, clean):
        yield "".join(images.text(modality, clean, x) for x in _both(clean, moved))
        return
    yield images.combine_single_modality(modality, clean, moved, ENLARGED)
    if images.is_wave(modality):
        yield "".join(
            _player(images.playable(modality, x), title)
            for title, x in zip(images.TITLES, _both(clean, moved), strict=False)
        )


def _both(clean: Tensor, moved: Tensor | None) -> Sequence[Tensor]:
    return [clean] if moved is None else [clean, moved]


def _player(wave: bytes, title: str) -> str:
    """A sound that is played where it stands."""
    source = f"data:audio/wav;base64,{base64.b64encode(wave).decode()}"
    return f'<figure><audio controls src="{source}"></audio><figcaption>{escape(title)}</figcaption></figure>'


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'
