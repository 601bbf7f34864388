"""Some samples of a run as the models got them, untouched and attacked, for a page that opens
without a network.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup
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
from harness.reporting.boxes import images_under
from harness.run.description import AnswerForm, Description
from harness.run.directory import RunDirectory
from harness.tasks import Task
from harness.tasks.files.dataroot import else_in
from harness.tasks.modality import Modality
from harness.tasks.readable import tokens
from harness.tasks.sample_hashes import sample_hashes

ENLARGED = 5.0  # the change, beside what it changed
NO_WITNESS = "the stored witness of sample {!r} has another shape or type than the sample, or is not finite"
DRAWN = ("model", "sample", "hash", "target", "label")
"""The columns of the samples that drawings read."""
MODELS = 4  # at most so many samples, each of another model


@dataclass(frozen=True, eq=False)
class Drawing:
    """A part of a page; what is empty is left out.

    Attributes:
        sample: the heading of a new sample.
        texts: HTML, a text each.
        sounds: the addresses of sounds, by title; they hold the sound itself.
    """

    sample: str = ""
    title: str = ""
    note: str = ""
    figure: go.Figure | None = None
    texts: Sequence[Markup] = ()
    sounds: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ShownSample:
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
        raise BadInput(f"task {task.name!r} has no sample {name!r} here: the run was made on other data")
    batch = split.take([split.samples.index(name)])
    if known is not None and known != sample_hashes(batch)[0]:
        raise BadInput(f"sample {name!r} of task {task.name!r} has changed since the run was made")
    return {key: x[0] for key, x in batch.inputs.items()}


def absent_from(task: Task, name: str) -> frozenset[str]:
    """The modalities that a test sample came without."""
    split = task.splits["test"]
    there = task.present(split.take([split.samples.index(name)]))[0].tolist()
    return frozenset(each for each, here in zip(task.names, there, strict=True) if not here)


def can_be_of(witness: Inputs, inputs: Inputs) -> bool:
    """Whether stored tensors can be a changed version of a sample's inputs: the same shapes and
    types, and finite.
    """
    kinds = {name: (x.shape, x.dtype) for name, x in inputs.items()}
    return all(kinds.get(name) == (x.shape, x.dtype) and bool(x.isfinite().all()) for name, x in witness.items())


def rows_to_show(described: Description) -> Callable[[pa.Table], pa.Table]:
    """Selects the rows of a ledger that `shown_samples` chooses from."""
    largest = _largest(described)
    return lambda part: part.filter(pc.equal(part.column("scenario"), largest))


def _largest(described: Description) -> str:
    """The requested scenario that attacks most modalities; empty if none was requested."""
    return max(described.identity.scenarios, key=lambda each: len(parse(each).attacked), default="")


def shown_samples(directory: RunDirectory) -> list[ShownSample]:
    """The first models, each with the sample that failed soonest under the largest requested
    scenario, among those with a stored witness.
    """
    described = directory.describe()
    largest = _largest(described)
    found: dict[str, ShownSample] = {}
    for tensors, rows in directory.witnesses(stored=True):
        wanted = [row for row in rows if (row["scenario"], row["threshold"]) == (largest, described.threshold)]
        kept = [sample for row in wanted if (sample := _shown_sample(row, tensors)) is not None]
        for sample in sorted(kept, key=lambda each: (each.row["strength"], each.row["sample"]))[:1]:
            before = found.get(sample.row["model"])
            if before is None or sample.row["strength"] < before.row["strength"]:
                found[sample.row["model"]] = sample
    models = described.identity.config.model
    return [found[model] for model in models if model in found][:MODELS]


def _shown_sample(row: Mapping[str, Any], tensors: Inputs) -> ShownSample | None:
    """A row of the ledger with its witness, if the sample was attacked to failure and that is
    stored, as the ledger names it.
    """
    names = parse(row["scenario"]).attacked_names
    witness = {name: tensors[key] for name, key in keys_of(row, names).items() if key in tensors}
    if row["status"] != "ok" or not row["strength"] > 0 or len(witness) < len(names):
        return None
    stored = {name: tensors[key] for name, key in answer_keys(row).items() if key in tensors}
    return (
        ShownSample(row, witness, stored) if witness_hash([witness[name] for name in names]) == row["witness"] else None
    )


def drawings(directory: RunDirectory) -> Iterator[Drawing]:
    """The drawings of the shown samples, or one sentence with the reason why there are none: code
    that only the run names is not executed for a page.
    """
    chosen = shown_samples(directory)
    if not chosen:
        yield Drawing(note="None: no witness of the largest scenario is stored (--witnesses).")
        return
    samples, form = directory.table("samples", DRAWN), directory.describe().answer
    task, clean = None, [Inputs() for _ in chosen]
    try:
        task = _task_of(directory)
        hashes = dict(query("select sample, any_value(hash) from samples group by sample", samples=samples))
        clean = [untouched(task, each.row["sample"], hashes.get(each.row["sample"])) for each in chosen]
    except BadInput as error:
        yield Drawing(note=f"Not shown: {error}")
    for sample, inputs in zip(chosen, clean, strict=True):
        parts = [*_answers(form, sample, inputs, task), *(_inputs(sample, inputs, task) if task and inputs else ())]
        if parts:
            yield Drawing(f"{sample.row['model']}, {sample.row['sample']}", note=_caption(sample, samples))
            yield from parts


def _task_of(directory: RunDirectory) -> Task:
    """The task of a run.

    Raises:
        BadInput: it is code that only the run names, or cannot be loaded.
    """
    config = configured(directory.url, directory.describe())
    if code_of(config.task):
        raise BadInput(
            f"the inputs come from {config.task}, which is code that this run names. `report` does not run it."
            " `dashboard` asks for your consent first."
        )
    with else_in(config.data_root):
        return load_task(config.task)


def _answers(form: AnswerForm | None, sample: ShownSample, inputs: Inputs, task: Task | None) -> Iterator[Drawing]:
    """The target, the untouched and the attacked answer, where they are stored; boxes on the
    picture, where the inputs can be had.
    """
    stored, pictures = sample.answers, {}
    if task and inputs and can_be_of(sample.witness, inputs):
        pictures = images_under(task.modalities, inputs, sample.witness)
    if form is not None and not stored:
        yield Drawing(
            note="The answers are not shown: they were not kept, because an earlier version made this part of the run."
        )
    if form is None or not answers.shown_as(form, stored):
        return
    yield Drawing(
        title="answer",
        figure=answers.figure_of(form, stored, pictures),
        sounds=_playable(answers.sounds_of(form, stored)),
    )


def _caption(sample: ShownSample, samples: Any) -> str:
    row = sample.row
    sql = (
        f"select target, label from samples where model = '{_quoted(row['model'])}' and sample ="
        f" '{_quoted(row['sample'])}'"
    )
    answers = query(sql, samples=samples)
    known = "".join(f"target {target}, untouched answer {clean},  " for target, clean in answers)
    graded = "" if row["threshold"] is None else f", at threshold {row['threshold']:g} of the untouched score"
    return (
        f"{row['model']}, sample {row['sample']}: {known}attacked answer "
        f"{row['label']}. Critical strength"
        f" {row['strength']:.4g} under {row['scenario']}, found by attack{graded}."
    )


def _quoted(name: str) -> str:
    return name.replace("'", "''")


def _inputs(sample: ShownSample, inputs: Inputs, task: Task) -> Iterator[Drawing]:
    if not can_be_of(sample.witness, inputs):
        yield Drawing(note=f"Not shown: {NO_WITNESS.format(sample.row['sample'])}.")
        return
    absent = absent_from(task, sample.row["sample"])
    for modality in task.modalities:
        if modality.name in absent:
            yield Drawing(title=f"{modality.name}, which this sample came without")
            continue
        moved = sample.witness.get(modality.name)
        if moved is not None and moved.equal(inputs[modality.name]):
            moved = None  # the attack could do without it
        yield _input(task, modality, inputs, moved)


def _input(task: Task, modality: Modality, inputs: Inputs, moved: Tensor | None) -> Drawing:
    clean = inputs[modality.name]
    title = f"{modality.name}, {'untouched' if moved is None else 'attacked'}"
    if images.is_tokens(modality, clean):
        before, *changed = [tokens(task, modality, inputs, x) for x in _both(clean, moved)]
        return Drawing(title=title, texts=[images.text(modality, before, now) for now in (before, *changed)])
    sounds = [images.playable(modality, x) for x in _both(clean, moved)] if images.is_wave(modality) else []
    figure = images.combine_single_modality(modality, clean, moved, ENLARGED)
    return Drawing(title=title, figure=figure, sounds=_playable(dict(zip(images.TITLES, sounds, strict=False))))


def _both(clean: Tensor, moved: Tensor | None) -> Sequence[Tensor]:
    return [clean] if moved is None else [clean, moved]


def _playable(waves: Mapping[str, bytes]) -> dict[str, str]:
    """Addresses that hold the sounds themselves."""
    return {title: f"data:audio/wav;base64,{base64.b64encode(wave).decode()}" for title, wave in waves.items()}
