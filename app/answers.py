"""Answers that are maps, images or sounds: the target, the untouched and the attacked answer."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import streamlit as st

from app.inputs import cell_of
from app.runs import Run
from app.tensors import read
from app.view import EVALUATE, empty, remark, shown, taken_away
from attacks.region import Inputs
from harness.engine.answers import ATTACKED, answer_keys
from harness.reporting import answers


def draw(run: Run, row: dict[str, Any]) -> None:
    """The stored answers that belong to a row of the ledger; nothing if the label is enough."""
    form = run.description.answer
    if form is None:
        return None
    st.subheader("Answers", anchor=False)
    stored = answers_of(run, row)
    if not stored:
        return empty("The answers were not kept.", *EVALUATE, "--task", run.config.task, "--witnesses", "all")
    if not answers.shown_as(form, stored):
        return remark(
            f"The stored answers of sample {row['sample']} are not shown: they are no {form.kind}s of one size."
        )
    if ATTACKED not in stored:
        remark("There is no attacked answer: no attack succeeded.")
    figure = answers.figure_of(form, stored)
    shown(figure, "answers")
    for column, (title, wave) in zip(st.columns(3), answers.sounds_of(form, stored).items(), strict=False):
        column.audio(wave, format="audio/wav")
        column.caption(title)
    return taken_away("answers", _by_place(stored), {"Answers": figure})


def answers_of(run: Run, row: dict[str, Any]) -> Inputs:
    """The stored answers, by their names in `harness.engine.answers`; empty if none were kept.

    Raises:
        BadInput: the file is damaged.
    """
    path, keys = f"{run.root}/witnesses/{cell_of(row['file'])}.safetensors", answer_keys(row)
    held = read(run.files, path, lambda key: key in keys.values())
    return {name: held[key] for name, key in keys.items() if key in held}


def _by_place(stored: Inputs) -> pa.Table:
    return pa.table({name: x.flatten().tolist() for name, x in stored.items()})
