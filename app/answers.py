"""Answers that are maps, images, sounds or boxes: the target, the untouched and the attacked
answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import streamlit as st

from app.inputs import Sample, cell_of, witness_of
from app.runs import Run
from app.tensors import read
from app.view import EVALUATE, empty, remark, shown, taken_away
from attacks.errors import BadInput
from attacks.region import Inputs
from harness.engine.answers import ATTACKED, answer_keys
from harness.reporting import answers
from harness.reporting.boxes import COLUMNS, ImageTrace, images_under
from harness.reporting.sample_gallery import can_be_of


def draw(run: Run, row: dict[str, Any], sample: Sample | None) -> None:
    """The stored answers that belong to a row of the ledger; nothing if the label is enough.

    Boxes lie on the image, if there is a sample.
    """
    form = run.description.answer
    if form is None:
        return None
    st.subheader("Answers", anchor=False)
    stored = answers_of(run, row)
    if not stored:
        return empty("The answers were not kept.", *EVALUATE, "--task", run.config.task, "--witnesses", "all")
    if not answers.shown_as(form, stored):
        kind = "boxes" if form.kind == "boxes" else f"{form.kind}s of the same size"
        return remark(f"The stored answers of sample {row['sample']} are not shown: they are not {kind}.")
    if ATTACKED not in stored:
        remark("There is no attacked answer: no attack succeeded.")
    figure = answers.figure_of(form, stored, _pictures(run, row, sample) if form.kind == "boxes" else None)
    shown(figure, "answers")
    for column, (title, wave) in zip(st.columns(3), answers.sounds_of(form, stored).items(), strict=False):
        column.audio(wave, format="audio/wav")
        column.caption(title)
    return taken_away("answers", _by_place(form.kind, stored), {"Answers": figure})


def _pictures(run: Run, row: dict[str, Any], sample: Sample | None) -> Mapping[str, ImageTrace]:
    """The image under boxes; nothing if the inputs cannot be shown. The page then gives the
    reason.
    """
    if sample is None:
        return {}
    try:
        witness = witness_of(run, row)
    except BadInput:
        return {}
    return images_under(sample.task.modalities, sample.inputs, witness) if can_be_of(witness, sample.inputs) else {}


def answers_of(run: Run, row: dict[str, Any]) -> Inputs:
    """The stored answers, by their names in `harness.engine.answers`; empty if none were kept.

    Raises:
        BadInput: the file is damaged.
    """
    path, keys = f"{run.root}/witnesses/{cell_of(row['file'])}.safetensors", answer_keys(row)
    held = read(run.files, path, lambda key: key in keys.values())
    return {name: held[key] for name, key in keys.items() if key in held}


def _by_place(kind: str, stored: Inputs) -> pa.Table:
    """Values of the answers side by side; of boxes, which may differ in number, a row each."""
    if kind != "boxes":
        return pa.table({name: x.flatten().tolist() for name, x in stored.items()})
    rows = [(name, *box) for name, x in stored.items() for box in x.tolist() if box[0] >= 0]
    return pa.Table.from_pylist([dict(zip(("answer", *COLUMNS), row, strict=True)) for row in rows])
