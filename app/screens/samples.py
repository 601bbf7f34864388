"""Samples: the inputs of a model, untouched and attacked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from markupsafe import Markup, escape
from torch import Tensor

from app import answers, attributions
from app.inputs import Sample, consent, runs_code, sample_of, witness_of
from app.queries import rows
from app.runs import Run
from app.view import EVALUATE, at_threshold, chosen, empty, of_a_run, page, plain, remark, sections, shown, taken_away
from attacks.errors import BadInput
from attacks.region import Inputs
from attacks.scenario import Scenario, parse
from harness.reporting import images
from harness.reporting.figures import figured
from harness.reporting.sample_gallery import NO_WITNESS, can_be_of
from harness.tasks.modality import Modality
from harness.tasks.readable import tokens

LISTED = 300  # samples of the table
ORDERS = {"closest to failing": "asc", "furthest from failing": "desc"}
SCENARIOS = "select distinct scenario from ledger where status = 'ok' and model = ?"
SAMPLES = """
    select ledger.sample as sample, target, "group", samples.label as "answer untouched",
           samples.score as "score untouched", strength, ledger.label as "answer attacked",
           finder, witness, ledger.scenario as scenario, threshold, ledger.file as file
    from ledger join samples on samples.model = ledger.model and samples.sample = ledger.sample
    where ledger.status = 'ok' and ledger.model = ? and ledger.scenario = ? and contains(ledger.sample, ?)
    order by strength = 0, strength {}, ledger.sample limit {}
"""
HIDDEN = {"file", "witness", "scenario", "threshold"}


@of_a_run
def draw(run: Run) -> None:
    first, run = run, at_threshold(run)
    models = [row["model"] for row in rows(run, "select distinct model from ledger where status = 'ok'")]
    if not models:
        return empty("This run has no samples yet.", *EVALUATE, "--task", run.config.task, "--out", run.url)
    left, middle, order, finding = st.columns([2, 4, 2, 2], vertical_alignment="bottom")
    model = chosen(left, "Model", [each for each in run.models if each in models], "model")
    requested = run.description.identity.scenarios
    there = [row["scenario"] for row in rows(run, SCENARIOS, (model,))]
    scenarios = sorted(
        there, key=lambda each: (requested.index(each) if each in requested else len(requested), each.count("+"), each)
    )
    scenario = chosen(middle, "Scenario", scenarios, "scenario")
    by = order.selectbox("Order", list(ORDERS), key="order", bind="query-params")
    text = finding.text_input("Samples", key="name", bind="query-params", placeholder="part of a name")
    found = rows(run, SAMPLES.format(ORDERS[by], LISTED), (model, scenario, text))
    if not found:
        return remark("No sample name contains this text: change the text.")
    explained = _explained(run, model)
    _table([{**row, "attributions": row["sample"] in explained} for row in found])
    names = [row["sample"] for row in found]
    name = chosen(st, "Sample", names, "sample", next((each for each in names if each in explained), None))
    row = found[names.index(name)]
    _numbers(row)
    above = st.container()
    sample = _loaded(run, name)
    with above:
        sections(partial(answers.draw, run, row, sample))
    return sections(partial(_inputs, run, row, sample), partial(_attributions, first, model, row, sample))


def _explained(run: Run, model: str) -> set[str]:
    """The samples that have attributions, as far as these can be read."""
    try:
        return set(attributions.attributed(run, model))
    except BadInput:
        return set()


def _table(found: Sequence[dict[str, Any]]) -> None:
    table = [{name: value for name, value in row.items() if name not in HIDDEN} for row in found]
    st.dataframe(
        table,
        hide_index=True,
        height=230,
        column_config={"strength": st.column_config.NumberColumn("critical strength")},
    )
    more = f" The first {LISTED} are listed: narrow them down by name." if len(found) == LISTED else ""
    remark(
        "A critical strength is an upper bound found by attack, not a certificate. inf: no failure was found up to the"
        f" search limit. 0: the sample fails untouched; these are listed last.{more}"
    )
    taken_away("samples", table, {})


def _numbers(row: dict[str, Any]) -> None:
    if any(" " in str(row[name]).strip() for name in ("target", "answer untouched", "answer attacked")):
        return _sentences(row)
    target, clean, attacked, strength = st.columns(4)
    target.metric("Target", row["target"])
    clean.metric("Answer untouched", row["answer untouched"])
    attacked.metric("Answer attacked", row["answer attacked"])
    strength.metric("Critical strength", _number(row["strength"]), help="an upper bound found by attack")
    return None


def _sentences(row: dict[str, Any]) -> None:
    """Answers of several words, whole; the words that the attack changed are marked."""
    clean, attacked = (str(row[name] or "") for name in ("answer untouched", "answer attacked"))
    texts = {
        "Target": escape(str(row["target"])),
        "Answer untouched": escape(clean),
        "Answer attacked": images.changed_words(clean, attacked),
    }
    for column, (title, text) in zip(st.columns(3), texts.items(), strict=True):
        column.caption(title)
        column.html(Markup('<div style="font-size:1.2rem;">{}</div>').format(text or "—"))
    st.metric("Critical strength", _number(row["strength"]), help="an upper bound found by attack")


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}"


def _loaded(run: Run, name: str) -> Sample | None:
    """The sample's inputs; if they cannot be loaded, None, and the page shows the reason."""
    if runs_code(run):
        task = run.config.task
        st.info(
            plain(
                f"The inputs come from {task}, which is code that the run names. Showing the inputs runs this code:"
                " do it only if you trust the code."
            )
        )
        if not st.toggle("Run it and show the inputs", key=f"trusted-{consent(run)}"):
            return None
    try:
        return sample_of(run, name)
    except BadInput as error:
        st.warning(plain(f"The inputs cannot be shown: {error}"))
        return None


def _inputs(run: Run, row: dict[str, Any], sample: Sample | None) -> None:
    if sample is None:
        return
    st.subheader("Inputs", anchor=False)
    scenario, kept = parse(row["scenario"]), _kept(run, row)
    if kept and not can_be_of(kept, sample.inputs):
        st.warning(plain(f"Only the untouched inputs can be shown: {NO_WITNESS.format(row['sample'])}."))
        kept = None
    witness = kept or {}
    if scenario.attacked and kept == {}:
        why = "No attack succeeded on it" if row["strength"] == float("inf") else "Its witness was not kept"
        empty(
            f"{why}: only the untouched inputs can be shown.",
            *EVALUATE,
            "--task",
            run.config.task,
            "--witnesses",
            "all",
        )
    times = st.select_slider(
        "The change is shown enlarged", [1, 2, 5, 10, 20, 50, 100], 5, key="times", bind="query-params"
    )
    for modality in sample.task.modalities:
        name = modality.name
        absent = name in sample.absent
        state = "this sample came without it" if absent else _state(modality, scenario, witness)
        st.markdown(f"**{plain(name)}**: {plain(state)}")
        if name not in scenario.missing and not absent:
            _input(sample, modality, witness.get(name), times)


def _kept(run: Run, row: dict[str, Any]) -> Inputs | None:
    """The stored witness; if it cannot be read, None, and the page shows the reason."""
    try:
        return witness_of(run, row)
    except BadInput as error:
        st.warning(plain(f"Only the untouched inputs can be shown: {error}"))
        return None


def _state(modality: Modality, scenario: Scenario, witness: Inputs) -> str:
    name = modality.name
    if name in scenario.missing:
        return "missing; the model gets the stand-in value"
    return (
        f"attacked, {next(ball for ball in scenario.attacked if ball.modality == name)}"
        if name in witness
        else "untouched"
    )


def _input(sample: Sample, modality: Modality, moved: Tensor | None, times: float) -> None:
    clean = sample.inputs[modality.name]
    if images.is_tokens(modality, clean):
        before = tokens(sample.task, modality, sample.inputs, clean)
        for title, x in (("untouched", clean), ("attacked", moved)):
            if x is not None:
                remark(title)
                st.html(images.text(modality, before, tokens(sample.task, modality, sample.inputs, x)))
        if moved is not None and not bool((moved.max(1).values > 1 - 1e-3).all()):
            remark("The attack mixes tokens, which no text can do. The largest part of each mixture is shown.")
        return None
    figure = images.combine_single_modality(modality, clean, moved, times)
    shown(figure, f"input-{modality.name}")
    if images.is_wave(modality):
        sounds = {"untouched": clean} | (
            {} if moved is None else {"attacked": moved, f"change × {times:g}": (moved - clean) * times}
        )
        for column, (title, x) in zip(st.columns(3), sounds.items(), strict=False):
            column.audio(images.playable(modality, x), format="audio/wav")
            column.caption(title)
    return taken_away(f"input-{modality.name}", _values(clean, moved), {"Picture": figure})


def _values(clean: Tensor, moved: Tensor | None) -> list[dict[str, float]]:
    flat = clean.flatten().tolist()
    other = flat if moved is None else moved.flatten().tolist()
    return [{"untouched": a, "attacked": b} for a, b in zip(flat, other, strict=True)]


def _attributions(run: Run, model: str, row: dict[str, Any], sample: Sample | None) -> None:
    st.subheader("Attributions", anchor=False)
    explained = set(attributions.attributed(run, model))
    if not explained:
        return empty(
            "This run has no attributions of this model.", *EVALUATE, "--task", run.config.task, "--attributions", "8"
        )
    found = attributions.of_sample(run, model, row["sample"])
    if not found:
        return remark(f"This sample has no attributions; these samples have: {', '.join(sorted(explained))}.")
    remark(
        f"Chosen as {' and '.join(sorted({each['why'] for each in found}))}. The attributions explain how far the"
        " sample is from failing."
    )
    figure = attributions.shares(found)
    shown(figure, "shares")
    table = [{key: each[key] for key in attributions.COLUMNS} for each in found]
    st.dataframe(table, hide_index=True)
    taken_away("attributions", table, {"Shares": figure})
    for name, method in dict.fromkeys((each["modality"], each["method"]) for each in found):
        own = [each for each in found if (each["modality"], each["method"]) == (name, method)]
        _before_and_after(run, name, method, own, row["scenario"], sample)
    return None


def _before_and_after(
    run: Run, name: str, method: str, found: Sequence[attributions.Row], scenario: str, sample: Sample | None
) -> None:
    """One method's attributions of one modality, on the untouched input and under the scenario."""
    wanted = [each for each in found if each["condition"] in (attributions.CLEAN, scenario)]
    read = [
        (each, attributions.tensor_of(run, each))
        for each in sorted(wanted, key=lambda each: each["condition"] != attributions.CLEAN)
    ]
    pairs = [(_title(each), x) for each, x in read if x is not None]
    if not pairs:
        return
    st.markdown(f"**{plain(name)}**, {plain(method)}")
    modality = next((each for each in sample.task.modalities if each.name == name), None) if sample else None
    if (
        sample
        and modality
        and images.is_tokens(modality, sample.inputs[name])
        and _by_position(pairs, len(sample.inputs[name]))
    ):
        for each, x in read:
            if x is not None:
                moved = _moved(run, each, sample).get(name)
                words = tokens(sample.task, modality, sample.inputs, sample.inputs[name] if moved is None else moved)
                remark(f"{_title(each)}; red keeps the sample from failing, blue pushes it there")
                st.html(images.coloured(modality, words, images.weight_colours(x)))
        return
    figure = _boxed(sample, pairs) if name == attributions.BOXES else None
    figure = figure or attributions.maps(pairs)
    shown(figure, f"attribution-{name}-{method}")
    taken_away(
        f"attribution-{name}-{method}",
        [{"condition": title, "value": v} for title, x in pairs for v in x.flatten().tolist()],
        {"Map": figure},
    )


def _by_position(pairs: Sequence[tuple[str, Tensor]], positions: int) -> bool:
    return all(x.shape == (positions,) for _, x in pairs)


def _title(row: attributions.Row) -> str:
    return f"{'untouched' if row['condition'] == attributions.CLEAN else 'attacked'}, {row['method']}"


def _moved(run: Run, row: attributions.Row, sample: Sample) -> Inputs:
    """The attacked input that an attribution explains, if its witness is kept."""
    sql = (
        "select sample, scenario, threshold, file, witness from ledger"
        " where model = ? and sample = ? and scenario = ? and status = 'ok'"
    )
    found = rows(run, sql, (row["model"], row["sample"], row["condition"]))
    kept = (_kept(run, found[0]) or {}) if found else {}
    return kept if can_be_of(kept, sample.inputs) else {}


def _boxed(sample: Sample | None, pairs: Sequence[tuple[str, Tensor]]) -> go.Figure | None:
    """The boxes on the picture, of the first pair; None where there is no picture."""
    image = next((each for each in sample.task.modalities if each.kind == "image"), None) if sample else None
    if sample is None or image is None:
        return None
    picture = images.combine_single_modality(image, sample.inputs[image.name], None, 1.0)
    picture.layout.annotations[0].text = figured(pairs[0][0])
    return attributions.outlined(picture, pairs[0][1])


if __name__ == "__main__":
    page("Samples", "The inputs of a model, untouched and attacked, and the attributions of its output.", draw)
