"""The parts of every page: choice of run, words, figures and downloads."""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.csv
import streamlit as st

from app.runs import Run, found
from attacks.errors import BadInput
from harness.run.status import onwards

DEFAULT = "runs"  # where `evaluate` writes by default
FRESH = 2.0  # seconds for which the list of runs is not looked up again
HARNESS = ("python", "-m", "harness")
EVALUATE = (*HARNESS, "evaluate")


def addresses() -> list[str]:
    """The folders and runs the dashboard was opened on."""
    return sys.argv[1:] or [DEFAULT]


@st.cache_data(ttl=FRESH, show_spinner=False)
def looked_up(named: Sequence[str]) -> list[Run]:
    """All runs there, also those that are skipped."""
    return found(named)


def readable() -> list[Run]:
    """The runs that can be shown."""
    return [run for run in looked_up(addresses()) if not run.problem]


def page(title: str, about: str, draw: Callable[[], None]) -> None:
    """A page under its title. Unreadable input shows as one sentence."""
    st.title(title, anchor=False)
    st.caption(about)
    sections(draw)


def of_a_run(draw: Callable[[Run], None]) -> Callable[[], None]:
    """The body of a page that shows one run, which is chosen in the side bar."""

    def drawn() -> None:
        runs = readable()
        if not runs:
            return no_runs()
        run = chosen_run(st.sidebar, "Run", "run")
        note_of(run)
        return draw(run)

    return drawn


def chosen(place: Any, label: str, options: Sequence[str], key: str, first: str | None = None) -> str:
    """A choice between options of a run. The address always names it, because the first option may
    change.

    Args:
        place: where it is drawn.
        first: the choice if the address has none; by default the first option.

    Raises:
        BadInput: the address names an option that does not exist, or there are no options.
    """
    if not options:
        raise BadInput(f"{label}: this run has nothing to choose from")
    wanted = st.query_params.get(key)
    if key not in st.session_state or st.session_state[key] not in (*options, None):
        st.session_state[key] = wanted if wanted in options else None if wanted else first or options[0]
    value = place.selectbox(label, options, key=key, placeholder="choose another")
    if value is None:
        raise BadInput(f"{label} {wanted!r}, which this address names, is not in this run: choose another")
    if wanted != value:
        st.query_params[key] = value
    return str(value)


def at_threshold(run: Run) -> Run:
    """The run at a threshold, which is chosen in the side bar if graded answers have several."""
    shares = {str(share): share for share in run.description.identity.thresholds}
    if len(shares) < 2:
        return run
    return replace(run, chosen=shares[chosen(st.sidebar, "Threshold", list(shares), "threshold")])


def chosen_run(place: Any, label: str, key: str) -> Run:
    """A run among those that can be read.

    Raises:
        BadInput: the address names a run that cannot be read, or does not exist.
    """
    runs = {run.label: run for run in looked_up(addresses())}
    try:
        return runs[chosen(place, label, [name for name, run in runs.items() if not run.problem], key)]
    except BadInput:
        skipped = runs.get(st.query_params.get(key, ""))
        if skipped is None or not skipped.problem:
            raise
        raise BadInput(f"{label} {skipped.label!r} is skipped: {skipped.problem}") from None


def sections(*parts: Callable[[], None]) -> None:
    """Parts of a page, one below the other. A part that cannot be drawn shows one sentence in its
    place.
    """
    for part in parts:
        try:
            part()
        except BadInput as error:
            st.error(plain(str(error)))


def note_of(run: Run) -> None:
    """The note beside every number of a run that is not complete."""
    status = run.description.status
    if status != "complete":
        st.info(plain(f"This run is {status}: the results so far are shown; {onwards(status)}."))


def no_runs() -> None:
    """How to make a run, where there is nothing to show."""
    empty(
        f"There are no runs to show in {', '.join(addresses())}.",
        *EVALUATE,
        "--out",
        f"{addresses()[0].rstrip('/')}/first",
    )


def empty(why: str, *command: str) -> None:
    """The state of a view without data: the reason, and the command to run. Words from a run are
    quoted for a shell.
    """
    st.info(plain(f"{why} To fill this view, run:"))
    st.code(shlex.join(command), language="bash")


def remark(text: str) -> None:
    """A remark that may hold words of a run."""
    st.caption(plain(text))


def plain(text: str) -> str:
    """Text from outside for Markdown: every special character is escaped, on one line.

    A zero-width space keeps addresses from becoming links and colons from becoming emoji.
    """
    signed = re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))
    return signed.replace("\\:", "\\:\u200b").replace("\\@", "\\@\u200b").replace("www\\.", "www\u200b\\.")


def shown(figure: go.Figure, key: str) -> None:
    """Draw a figure as wide as its place."""
    figure.update_layout(width=None, margin_t=60 if figure.layout.title.text else 30)
    st.plotly_chart(
        figure, key=f"figure-{key}", config={"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}
    )


def taken_away(name: str, data: pa.Table | Sequence[Mapping[str, Any]], figures: Mapping[str, go.Figure]) -> None:
    """The view's data as CSV and its figures as pages that need no network, made on request."""
    table = data if isinstance(data, pa.Table) else pa.Table.from_pylist([dict(row) for row in data])
    with st.container(horizontal=True):
        st.download_button(
            "Data (CSV)",
            partial(as_csv, table),
            f"{name}.csv",
            "text/csv",
            key=f"{name}-csv",
            icon=":material/table:",
            on_click="ignore",
        )
        for title, figure in figures.items():
            st.download_button(
                f"{title} (HTML)",
                partial(as_page, figure),
                f"{name}-{_file_name(title)}.html",
                "text/html",
                key=f"{name}-{title}-html",
                icon=":material/show_chart:",
                on_click="ignore",
            )


def as_csv(table: pa.Table) -> bytes:
    """A table as CSV, with its header."""
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(table, buffer)
    return buffer.getvalue()


def as_page(figure: go.Figure) -> str:
    """A figure as a page of its own, its library included."""
    page: str = figure.to_html(include_plotlyjs=True)
    return page


def _file_name(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")
