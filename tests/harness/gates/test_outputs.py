"""JUnit, SARIF, Markdown and JSON: what they say, and that no name can say more than a name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rich.console import Console

from harness.gates.decide import Verdict
from harness.gates.file import GatesFile, gate_of
from harness.gates.outputs import Report, as_json, as_junit, as_markdown, as_sarif, numbers, printed, write

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


def test_changes_have_the_sign_of_the_measure() -> None:
    assert [numbers(each) for each in report().verdicts] == ["0.800 [0.70, 0.90]", "-", "-0.100 [-0.15, -0.05]", "-0.100 [-0.15, -0.05]"]


def test_markdown_has_changes_first_and_failures_before_all() -> None:
    lines = as_markdown(report()).splitlines()
    assert lines[0] == "### Robustness gates: 2 pass, 1 fail, 1 inconclusive"
    rows = [line for line in lines if line.startswith("| ") and "verdict" not in line]
    assert "**fail**" in rows[0] and "-0.100" in rows[0] and "rises" in rows[1] and "inconclusive" in rows[2]
    assert lines.index("| change | verdict | gate | why |") < lines.index("| value | verdict | gate | why |")


def test_junit_counts() -> None:
    for setting, (errors, skipped, kind) in {4: ("1", "0", "error"), "fail": ("1", "0", "error"), "pass": ("0", "1", "skipped")}.items():
        suite = ElementTree.fromstring(as_junit(report(inconclusive=setting)))
        assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
            "tests": "4", "failures": "1", "errors": errors, "skipped": skipped,
        }  # fmt: skip
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
