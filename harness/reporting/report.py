"""`report`: a run's curves as one self-contained page, or its tables as Markdown for a pull
request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attacks.errors import BadInput, plain
from harness.analysis.class_tables import ClassTable, class_tables
from harness.analysis.curves import CURVED, corruption_curves, missing_curves, robust_curves, strength_grid
from harness.analysis.summary import SUMMARISED, SWEPT, measures_of, summarise
from harness.run.directory import RunDirectory
from harness.run.reading import Reading
from harness.storage.files import path_of, write_url

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from markupsafe import Markup

    from harness.reporting.figures import Curves

FIGURED = (
    ("Worst case: strength against robust score", "strength", "robust score"),
    ("Average case: fraction missing against score", "fraction missing", "score"),
    ("Average case: severity against score", "severity", "score"),
)
"""The headings of the curves, with the titles of their axes."""


def reading(url: str, page: bool) -> Reading:
    """The run at a URL, for tables as Markdown and, if `page`, for the page.

    Raises:
        BadInput: there is no run.
    """
    if not page:
        return Reading(url, SUMMARISED)
    from harness.reporting.sample_gallery import DRAWN, rows_to_show

    samples = tuple(dict.fromkeys([*SUMMARISED["samples"], *DRAWN]))
    return Reading(url, {**SUMMARISED, "samples": samples}, rows_to_show(RunDirectory(url).describe()))


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
        rows = [
            [name, *("-" if value is None else f"{value:.3f}" for value in values)]
            for name, values in table.rows.items()
        ]
        parts += [f"{_code(table.metric)} of {_code(table.model)}", _lines(["class", *table.columns], rows)]
    title = "<details><summary>By class: clean, and with the worst known answers at strength 1</summary>"
    return [title, *parts, "</details>"] if parts else []


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; its first row and column are names."""
    lines = ["| " + " | ".join(_code(cell) for cell in head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join([_code(row[0]), *map(_marked, row[1:])]) + " |" for row in rows]
    return "\n".join(lines)


def _code(text: str) -> str:
    """A name as code: it contains no markup, and no @ mentions a user of GitHub."""
    return f"`{plain(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def _marked(text: str) -> str:
    """Text that Markdown shows unchanged, and that mentions no user with @."""
    return re.sub(r"([\\`*_{}\[\]<>|~#])", r"\\\1", plain(text)).replace("@", "<span>@</span>")


def render(directory: RunDirectory) -> str:
    """The page as text; it needs no network to be read."""
    from harness.reporting.figures import curves_figured, figured, figures
    from harness.reporting.sample_gallery import drawings

    description, summary = directory.describe(), summarise(directory)
    ledger, fronts = directory.ledger(CURVED["ledger"]), directory.table("fronts", CURVED["fronts"])
    sweep = directory.table("sweep", SWEPT)
    if not ledger.num_rows:
        raise BadInput(f"run {directory.url} has no results yet: run its evaluate command first")
    curves = (
        robust_curves(ledger, strength_grid(ledger), fronts) if description.attacked else {},
        _levels(missing_curves(sweep)),
        _levels(corruption_curves(sweep)),
    )
    models = [figured(model) for model in summary.models]
    drawn = [
        (heading, figures(curves_figured(each), models, across, up))
        for each, (heading, across, up) in zip(curves, FIGURED, strict=True)
    ]
    return _filled(
        "report.html.j2",
        title=f"Run {description.run} on {description.identity.config.task}",
        summary=summary,
        curves=[(heading, panels) for heading, panels in drawn if panels],
        classes=class_tables(directory.notes.metrics()),
        samples=drawings(directory),
    )


def notebook(directory: RunDirectory) -> str:
    """The table of a run and its curves, for a notebook."""
    from harness.reporting.figures import robust_figure

    return _filled("notebook.html.j2", summary=summarise(directory), figure=robust_figure(directory))


def _filled(template: str, **values: Any) -> str:
    """A template of this folder with its values; all of them are escaped but for plotly's HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("harness.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    with_library = iter([True])  # the first figure of a page brings plotly's script
    return pages.get_template(template).render(plot=lambda figure: _html(figure, next(with_library, False)), **values)


def _html(figure: go.Figure, with_library: bool) -> Markup:
    import plotly.io
    from markupsafe import Markup

    return Markup(plotly.io.to_html(figure, full_html=False, include_plotlyjs=with_library))


def _levels(curves: Curves) -> Curves:
    """Schedules that were run at more than one level: a single point makes no curve."""
    return {key: points for key, points in curves.items() if len(points) > 1}
