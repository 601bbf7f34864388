"""`report`: a finished run's tables, printed and as files."""

from __future__ import annotations

from rich.console import Console

from harness.analysis.summary import printed, printed_measures, summarise
from harness.reporting.report import as_markdown, reading, write_markdown, write_report


def report(run: str, html: str | None, markdown: str | None, console: Console) -> None:
    """Print the tables and write the HTML page; with `markdown="-"` print the Markdown tables only.

    Args:
        html: where the page goes; beside the run if neither is named.
        markdown: where the Markdown tables go; nowhere if absent.

    Raises:
        BadInput: there is no run, or a file cannot be written.
    """
    page = markdown != "-" and bool(html or not markdown)
    directory = reading(run, page)
    if markdown == "-":
        print(as_markdown(directory), end="")
        return
    summary = summarise(directory)
    console.print(printed(summary))
    console.print(printed_measures(directory, summary.models))
    if page:
        console.print(f"curves in {write_report(directory, html)}", soft_wrap=True, markup=False)
    if markdown:
        console.print(f"tables in {write_markdown(directory, markdown)}", soft_wrap=True, markup=False)
