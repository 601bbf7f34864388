"""`report`: a run's curves as one self-contained page, or its tables as Markdown for a pull
request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from attacks.errors import BadInput, plain
from harness.analysis.class_tables import ClassTable, class_tables
from harness.analysis.curves import CURVED, corruption_curves, missing_curves, robust_curves, strength_grid
from harness.analysis.summary import SWEPT, Summary, measures_of, summarise
from harness.run.directory import RunDirectory
from harness.storage.files import path_of, write_url

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from harness.reporting.figures import Curves

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .25rem .9rem .25rem 0; text-align: left; }}
th {{ border-bottom: 1px solid #999; }} .section td {{ font-weight: 600; padding-top: .8rem; }} .note {{ color: #555; }}
.panels {{ display: flex; flex-wrap: wrap; }}
figure {{ display: inline-block; margin: 0 1rem 0 0; }} figcaption {{ color: #555; text-align: center; }}
</style></head><body><h1>{title}</h1>{table}{notes}{robust}
{missing}{corrupted}{classes}
<h2>Some samples, untouched and attacked</h2>{samples}</body></html>
"""
ROBUST = '<h2>Worst case: strength against robust score</h2><div class="panels">{}</div>'
MISSING = '<h2>Average case: fraction missing against score</h2><div class="panels">{}</div>'
CORRUPTED = '<h2>Average case: severity against score</h2><div class="panels">{}</div>'
CLASSES = "<h2>By class: clean, and the worst that is known at strength 1</h2>{}"


def write_report(directory: RunDirectory, url: str | None = None) -> str:
    """Write the page, by default into the run directory, and return where.

    Raises:
        BadInput: there is no run, it has no results yet, or the page cannot be written.
    """
    return _written(url or f"{directory.url.rstrip('/')}/report.html", lambda: render(directory))


def write_markdown(directory: RunDirectory, url: str) -> str:
    """Write the tables as Markdown, and return where.

    Raises:
        BadInput: there is no run, it has no results yet, or the file cannot be written.
    """
    return _written(url, lambda: as_markdown(directory))


def _written(where: str, made: Callable[[], str]) -> str:
    if "://" not in where and not path_of(where).parent.is_dir():
        raise BadInput(
            f"the report cannot be written to {where}: there is no folder {Path(where).parent}; make it, or name"
            " another"
        )
    content = made()
    try:
        write_url(where, content.encode(errors="replace"))  # a path on a command line may hold bytes that are not text
    except OSError as error:
        raise BadInput(f"the report cannot be written to {where}: {error.strerror or error}") from None
    return where


def as_markdown(directory: RunDirectory) -> str:
    """The summary, the notes with every raised flag, and the measures folded away; names are
    escaped, they may hold markup.
    """
    description, summary = directory.describe(), summarise(directory)
    if not directory.table("ledger", ("status",)).num_rows:
        raise BadInput(f"run {directory.url} has no results yet: run its evaluate command first")
    rows = []
    for section, conditions in summary.sections.items():
        for condition, shares in conditions.items():
            rows.append([f"{section}: {condition}" if section else condition, *summary.cells(condition, shares)])
    measured, remarks = measures_of(directory)
    more = [
        [name, *(str(values[m]) if m in values else "-" for m in summary.models)] for name, values in measured.items()
    ]
    parts = [
        f"### Robustness of {', '.join(map(_code, summary.models))} on {_code(description.identity.config.task)}",
        _lines(["score", *summary.models], rows),
        "\n".join(f"- {_marked(note)}" for note in summary.notes),
        "<details><summary>Measures</summary>",
        _lines(["measure", *summary.models], more),
        "\n".join(f"- {_marked(remark)}" for remark in remarks),
        "</details>",
        *_folded_classes(class_tables(directory.notes.metrics())),
        f"Run {_code(description.run)}, {_marked(summary.status)}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _folded_classes(tables: Sequence[ClassTable]) -> list[str]:
    """The metrics of single classes as Markdown; empty where answers have none."""
    parts = []
    for table in tables:
        rows = [[name, *map(_written_value, values)] for name, values in table.rows.items()]
        parts += [f"{_code(table.metric)} of {_code(table.model)}", _lines(["class", *table.columns], rows)]
    title = "<details><summary>By class: clean, and the worst that is known at strength 1</summary>"
    return [title, *parts, "</details>"] if parts else []


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; its first row and column are names."""
    lines = ["| " + " | ".join(_code(cell) for cell in head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join([_code(row[0]), *map(_marked, row[1:])]) + " |" for row in rows]
    return "\n".join(lines)


def _code(text: str) -> str:
    """A name as code: nothing in it is markup, and no @ calls a user of GitHub."""
    return f"`{plain(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def _marked(text: str) -> str:
    """Prose that Markdown shows as it is, without calling a user by an @."""
    return re.sub(r"([\\`*_{}\[\]<>|~#])", r"\\\1", plain(text)).replace("@", "<span>@</span>")


def render(directory: RunDirectory) -> str:
    """The page as text; it needs no network to be read."""
    from harness.reporting.figures import curves_figured, figured, figures
    from harness.reporting.sample_gallery import shown

    description, summary = directory.describe(), summarise(directory)
    ledger, fronts = directory.ledger(CURVED["ledger"]), directory.table("fronts", CURVED["fronts"])
    sweep = directory.table("sweep", SWEPT)
    if not ledger.num_rows:
        raise BadInput(f"run {directory.url} has no results yet: run its evaluate command first")
    curves = robust_curves(ledger, strength_grid(ledger), fronts) if description.attacked else {}
    models = [figured(model) for model in summary.models]
    robust = figures(curves_figured(curves), models, "strength", "robust score")
    missing = figures(curves_figured(_levels(missing_curves(sweep))), models, "fraction missing", "score")
    corrupted = figures(curves_figured(_levels(corruption_curves(sweep))), models, "severity", "score")
    script = iter([True])  # the first figure brings the library

    def drawn(figure: go.Figure) -> str:
        return _html(figure, next(script, False))

    robust_html, missing_html, corrupted_html = ("".join(map(drawn, panels)) for panels in (robust, missing, corrupted))
    classes_html = "".join(map(_by_class, class_tables(directory.notes.metrics())))
    samples_html = "".join(each if isinstance(each, str) else drawn(each) for each in shown(directory))
    return PAGE.format(
        title=escape(f"Run {description.run} on {description.identity.config.task}"),
        table=_table(summary),
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in summary.notes),
        robust=ROBUST.format(robust_html) if robust else "",
        missing=MISSING.format(missing_html) if missing else "",
        corrupted=CORRUPTED.format(corrupted_html) if corrupted else "",
        classes=CLASSES.format(classes_html) if classes_html else "",
        samples=samples_html,
    )


def notebook(directory: RunDirectory) -> str:
    """The table of a run and its curves, for a notebook."""
    from harness.reporting.figures import robust_figure

    summary = summarise(directory)
    notes = "".join(f"<p>{escape(note)}</p>" for note in summary.notes)
    return f"{_table(summary)}{notes}{_html(robust_figure(directory), True)}"


def _html(figure: go.Figure, with_library: bool) -> str:
    import plotly.io

    html: str = plotly.io.to_html(figure, full_html=False, include_plotlyjs=with_library)
    return html


def _levels(curves: Curves) -> Curves:
    """Schedules that were run at more than one level: a single point makes no curve."""
    return {key: points for key, points in curves.items() if len(points) > 1}


def _table(summary: Summary) -> str:
    head = "".join(f"<th>{escape(model)}</th>" for model in summary.models)
    rows = []
    for section, conditions in summary.sections.items():
        if section:
            rows.append(f'<tr class="section"><td>{escape(section)}</td></tr>')
        for condition, shares in conditions.items():
            cells = "".join(f"<td>{cell}</td>" for cell in summary.cells(condition, shares))
            rows.append(f"<tr><td>{escape(condition)}</td>{cells}</tr>")
    return f"<table><tr><th>score</th>{head}</tr>{''.join(rows)}</table>"


def _by_class(table: ClassTable) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = [
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{_written_value(value)}</td>' for value in values)}</tr>"
        for name, values in table.rows.items()
    ]
    title = f"<h3>{escape(table.metric)}, {escape(table.model)}</h3>"
    return f"{title}<table><tr><th>class</th>{head}</tr>{''.join(rows)}</table>"


def _written_value(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
