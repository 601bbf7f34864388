"""Verdicts for people and for machines: a table, Markdown for a pull request, JUnit, SARIF and
JSON.

Names come from the outside; each output escapes them in its own way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attacks.errors import BadInput, plain
from harness.gates.decide import FAIL, INCONCLUSIVE, PASS, Verdict, exit_code
from harness.gates.file import GatesFile
from harness.storage.files import write_url
from harness.version import __version__

CAVEAT = (
    "Worst-case numbers are upper bounds found by attack, not certificates. Intervals are 95 %. "
    "A drop is the number before minus the number now; the rise of a gap is the reverse. Above 0 is worse."
)
STYLES = {PASS: "green", FAIL: "bold red", INCONCLUSIVE: "yellow"}
SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True, eq=False)
class Report:
    """The verdicts of a gates file, and where it lies."""

    url: str
    file: GatesFile
    verdicts: Sequence[Verdict]

    @property
    def code(self) -> int:
        """The exit code."""
        return exit_code(self.file, self.verdicts)

    @property
    def counts(self) -> str:
        """The counts of verdicts, as '3 pass, 1 fail'."""
        found = [verdict.verdict for verdict in self.verdicts]
        return ", ".join(f"{found.count(each)} {each}" for each in (PASS, FAIL, INCONCLUSIVE) if each in found)


def printed(report: Report, suggest: bool) -> RenderableType:
    """The verdicts as a table for the terminal; `suggest` adds how many samples would decide."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("verdict", "gate", "value or drop", *(("samples that would decide",) if suggest else ()), "why"):
        table.add_column(column)
    for verdict in report.verdicts:
        extra = (Text(suggestion(verdict)),) if suggest else ()
        table.add_row(
            Text(verdict.verdict, STYLES[verdict.verdict]),
            Text(str(verdict.gate)),
            Text(verdict.result),
            *extra,
            Text(verdict.why),
        )
    return Group(table, Text(f"\n{report.counts}. {CAVEAT}", style="dim"))


def suggestion(verdict: Verdict) -> str:
    """How many samples would decide, if the numbers stay as they are."""
    if verdict.verdict != INCONCLUSIVE:
        return "-"
    return "more samples alone do not" if verdict.needed is None else f"{verdict.needed}, there are {verdict.samples}"


def as_markdown(report: Report) -> str:
    """The verdicts for a pull request: changes against the baseline first, and failures first among
    these.
    """
    changed = [verdict for verdict in report.verdicts if verdict.gate.compares]
    held = [verdict for verdict in report.verdicts if not verdict.gate.compares]
    parts = [f"### Robustness gates: {report.counts}"]
    parts += [_rows("drop", changed)] if changed else []
    parts += [_rows("value", held)] if held else []
    return "\n\n".join([*parts, CAVEAT]) + "\n"


def _rows(heading: str, verdicts: Sequence[Verdict]) -> str:
    order = [FAIL, INCONCLUSIVE, PASS]
    lines = [f"| {heading} | verdict | gate | why |", "|---|---|---|---|"]
    for verdict in sorted(verdicts, key=lambda each: order.index(each.verdict)):
        shown = f"**{verdict.verdict}**" if verdict.verdict == FAIL else verdict.verdict
        lines.append(f"| {verdict.result} | {shown} | {_code(str(verdict.gate))} | {_code(verdict.why)} |")
    return "\n".join(lines)


def _code(text: str) -> str:
    """A text inside `code`, where `@name` mentions nobody. Every character with a meaning in
    Markdown or HTML becomes an entity.
    """
    return f"<code>{''.join(each if each.isalnum() or each in ' .,' else f'&#{ord(each)};' for each in text)}</code>"


def as_junit(report: Report) -> str:
    """One test case per gate; an inconclusive one is skipped where the file lets it pass, else an
    error.
    """
    of = {kind: [verdict for verdict in report.verdicts if verdict.verdict == kind] for kind in (FAIL, INCONCLUSIVE)}
    lenient = report.file.inconclusive == "pass"
    suite = ElementTree.Element(
        "testsuite",
        name="robustness gates",
        tests=str(len(report.verdicts)),
        failures=str(len(of[FAIL])),
        errors=str(0 if lenient else len(of[INCONCLUSIVE])),
        skipped=str(len(of[INCONCLUSIVE]) if lenient else 0),
    )
    for verdict in report.verdicts:
        case = ElementTree.SubElement(suite, "testcase", classname="robustness", name=str(verdict.gate))
        if verdict.verdict != PASS:
            kind = "failure" if verdict.verdict == FAIL else "skipped" if lenient else "error"
            attributes = {"message": f"{verdict.why}; {verdict.result}"}
            ElementTree.SubElement(
                case, kind, attributes if kind == "skipped" else {**attributes, "type": verdict.verdict}
            )
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def as_sarif(report: Report) -> str:
    """SARIF 2.1.0, each result at the gate's line in the gates file."""
    rules = [
        {"id": kind, "shortDescription": {"text": f"a robustness gate is {kind}"}}
        for kind in (FAIL, INCONCLUSIVE, PASS)
    ]
    driver = {"name": "robustness gates", "version": __version__, "rules": rules}
    results = [
        _result(report.url, verdict, line) for verdict, line in zip(report.verdicts, report.file.lines, strict=True)
    ]
    return (
        json.dumps(
            {"$schema": SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}, indent=1
        )
        + "\n"
    )


def _result(url: str, verdict: Verdict, line: int) -> dict[str, Any]:
    kinds = {FAIL: ("fail", "error"), INCONCLUSIVE: ("fail", "warning"), PASS: ("pass", "none")}
    kind, level = kinds[verdict.verdict]
    text = f"{verdict.gate}: {verdict.verdict}, {verdict.result}; {verdict.why}"
    place = {"artifactLocation": {"uri": _uri(url)}, "region": {"startLine": line}}
    return {
        "ruleId": verdict.verdict,
        "kind": kind,
        "level": level,
        "message": {"text": _message(text)},
        "locations": [{"physicalLocation": place}],
    }


def _message(text: str) -> str:
    """In a message of SARIF, brackets make a link unless a backslash stands before them
    (3.11.6).
    """
    return "".join(f"\\{each}" if each in "\\[]" else each for each in text)


def _uri(url: str) -> str:
    from urllib.parse import quote

    return url if "://" in url else quote(url.replace("\\", "/"))


def as_json(report: Report) -> str:
    """Every verdict with its numbers, and the exit code."""
    rows = [
        {
            **verdict.as_row(),
            "model": plain(verdict.gate.model),
            "measure": verdict.gate.measure,
            "samples": verdict.samples,
            "needed": verdict.needed,
        }
        for verdict in report.verdicts
    ]
    return json.dumps({"exit": report.code, "gates": rows}, indent=1, allow_nan=False) + "\n"


WRITERS = {"junit": as_junit, "sarif": as_sarif, "markdown": as_markdown, "json": as_json}


def write(report: Report, wanted: dict[str, str | None]) -> None:
    """Write the formats whose place is given.

    Raises:
        BadInput: a place cannot be written to.
    """
    for form, url in wanted.items():
        if url is not None:
            try:
                write_url(url, WRITERS[form](report).encode())
            except OSError as error:
                raise BadInput(f"--{form} {url} cannot be written: {plain(str(error))}") from None
