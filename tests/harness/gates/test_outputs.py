"""JUnit, SARIF, Markdown and JSON: their contents, and the escaping of names."""

from __future__ import annotations

import json
import re
from math import inf
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rich.console import Console

from harness.gates.decide import Verdict
from harness.gates.file import GatesFile, gate_of
from harness.gates.outputs import Report, as_json, as_junit, as_markdown, as_sarif, printed, write

EVIL = "<script>alert(1)</script>|`x`**b**[a](http://e.x)@you&amp;\x00\x1b[31m\n# h ]]> {0} \ufffe"


def report(name: str = "m", inconclusive: Any = 4) -> Report:
    held, dropped = gate_of(model=name, min=0.5), gate_of(model=name, scenario="image@linf:1", max_drop=0.02)
    risen = gate_of(model=name, scenario="image@linf:1", measure="gap to the oracle", max_drop=0.02)
    verdicts = [
        Verdict(held, "pass", "it keeps", 0.8, 0.7, 0.9, 100),
        Verdict(held, "inconclusive", f"why {name}"),
        Verdict(risen, "pass", "it keeps", -0.1, -0.15, -0.05, 100),
        Verdict(dropped, "fail", "the drop is larger", 0.1, 0.05, 0.15, 100),
    ]
    file = GatesFile(gates=tuple(verdict.gate for verdict in verdicts), inconclusive=inconclusive)
    return Report("my gates.yaml", file, verdicts)


def test_a_drop_and_a_gap_that_rises_are_above_zero_where_it_got_worse() -> None:
    assert [each.result for each in report().verdicts] == [
        "0.800 [0.70, 0.90]",
        "-",
        "-0.100 [-0.15, -0.05]",
        "+0.100 [+0.05, +0.15]",
    ]


def test_every_format_has_the_same_sign() -> None:
    """The text, and `value` in JSON and in a run's gates.json, which the dashboard shows."""
    verdict = report().verdicts[3]
    assert verdict.as_row()["value"] == 0.1 and verdict.as_row()["result"] == verdict.result == "+0.100 [+0.05, +0.15]"
    for text in (as_markdown(report()), as_junit(report()), as_sarif(report()).replace("\\\\", ""), as_json(report())):
        assert "+0.100 [+0.05, +0.15]" in text


def test_an_unknown_number_is_marked_in_every_format() -> None:
    """Too few samples; a median beyond the search; a drop of which nothing is known."""
    held = gate_of(model="m", scenario="image@linf:1", measure="median critical strength", min=9)
    dropped = gate_of(model="m", max_drop=0.02)
    texts = {
        "0.300 (too few samples)": Verdict(held, "inconclusive", "", 0.3, None, None, 5),
        "≥ 8 [7.20, ∞)": Verdict(held, "inconclusive", "", 8.0, 7.2, inf, 50, bound="≥"),
        "≤ -6.5 (-∞, -5.00]": Verdict(dropped, "inconclusive", "", -6.5, -inf, -5.0, 50, bound="≤"),
        "unknown (-∞, ∞)": Verdict(dropped, "inconclusive", "", 0.0, -inf, inf, 50, bound="unknown"),
    }
    found = Report("g", GatesFile(gates=tuple(each.gate for each in texts.values())), list(texts.values()))
    rows = json.loads(as_json(found))["gates"]
    assert [row["result"] for row in rows] == list(texts)
    assert [(row["value"], row["low"], row["high"]) for row in rows] == [
        (0.3, None, None),
        (8.0, 7.2, None),
        (-6.5, None, -5.0),
        (None, None, None),
    ]
    assert all(text in as_markdown(found) and text in as_junit(found) for text in texts)


def test_markdown_has_changes_first_and_failures_before_all() -> None:
    lines = as_markdown(report()).splitlines()
    assert lines[0] == "### Robustness gates: 2 pass, 1 fail, 1 inconclusive"
    rows = [line for line in lines if line.startswith("| ") and "verdict" not in line]
    assert "**fail**" in rows[0] and "+0.100" in rows[0] and "rises" in rows[1] and "inconclusive" in rows[2]
    assert lines.index("| drop | verdict | gate | why |") < lines.index("| value | verdict | gate | why |")


def test_junit_counts() -> None:
    for setting, (errors, skipped, kind) in {
        4: ("1", "0", "error"),
        "fail": ("1", "0", "error"),
        "pass": ("0", "1", "skipped"),
    }.items():
        suite = ElementTree.fromstring(as_junit(report(inconclusive=setting)))
        assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
            "tests": "4",
            "failures": "1",
            "errors": errors,
            "skipped": skipped,
        }
        assert len(suite.findall(f"testcase/{kind}")) == 1 and len(suite.findall("testcase/failure")) == 1


def test_sarif_points_into_the_file() -> None:
    (run,) = json.loads(as_sarif(report()))["runs"]
    assert [result["level"] for result in run["results"]] == ["none", "warning", "none", "error"]
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "my%20gates.yaml"
    assert {result["ruleId"] for result in run["results"]} <= {rule["id"] for rule in run["tool"]["driver"]["rules"]}


def test_names_are_only_names() -> None:
    evil = report(EVIL)
    markdown = as_markdown(evil)
    assert "<script" not in markdown and "`" not in markdown and "](" not in markdown and "@you" not in markdown
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    assert all(line.count("|") == 5 for line in tables) and len(tables) == 8, "no name adds a column or a row"
    junit = as_junit(evil)
    assert "<script" not in junit and len(ElementTree.fromstring(junit).findall("testcase")) == 4
    for result in json.loads(as_sarif(evil))["runs"][0]["results"]:
        text = result["message"]["text"]
        assert not re.search(r"(?<!\\)\[", text) and "\x1b" not in text and "\n" not in text
    assert len(json.loads(as_json(evil))["gates"]) == 4
    console = Console(width=500, record=True, quiet=True)
    console.print(printed(evil, suggest=True))
    assert "\x1b" not in console.export_text() and "\x00" not in console.export_text()


def test_every_format_is_written(tmp_path: Path) -> None:
    places = {form: str(tmp_path / form) for form in ("junit", "sarif", "markdown", "json")}
    write(report(EVIL), dict(places))
    assert all((tmp_path / form).read_text(encoding="utf-8") for form in places)
    assert json.loads((tmp_path / "json").read_text())["exit"] == 3
