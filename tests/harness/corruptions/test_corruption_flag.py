"""From the flag `--corruption` to the sweep, the table and the page."""

import sys
from pathlib import Path

import pytest

from attacks.errors import BadInput
from harness.analysis.summary import summarise
from harness.cli import main
from harness.corruptions.corruption import SEVERITIES, parse_all
from harness.reporting.report import render
from harness.run.directory import RunDirectory
from harness.tasks import Task
from tests.commandline import own_folder

OWN = """
def fog(x, severity, modality, generator):
    x += 10.0 * severity
    return x
def flat(x, severity, modality, generator): return x[..., :1]
def hole(x, severity, modality, generator): return x / 0 * 0
def few(x): return x
"""


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    toy = [
        "evaluate",
        "--task",
        "my.py:MyTask",
        "--model",
        "my.py:build",
        "--samples",
        "6",
        "--repeats",
        "2",
        "--out",
        "run",
    ]
    monkeypatch.setattr(sys, "argv", ["harness", *toy, *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_from_the_flag_to_the_table_and_the_page(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_folder(elsewhere, OWN)
    assert run(monkeypatch, "--corruption", "sensor@noise", "--corruption", "image@my.py:fog:1, 2,1") == 0
    directory = RunDirectory("run")
    rows = [row for row in directory.table("sweep").to_pylist() if row["kind"] == "corruption"]
    assert {(row["name"], row["level"]) for row in rows} == {
        *(("sensor@noise", float(severity)) for severity in SEVERITIES),
        ("image@my.py:fog", 1.0),
        ("image@my.py:fog", 2.0),
    }
    assert len(rows) == 6 * 2 * 8
    assert {row["present"] for row in rows} == {"11"}
    clean = {row["sample"]: (row["score"], row["label"]) for row in directory.table("samples").to_pylist()}
    assert all((row["score"], row["label"]) == clean[row["sample"]] for row in rows if row["level"] == 0)
    sections = summarise(directory).sections
    assert list(sections["corrupted, severity 2"]) == ["image@my.py:fog"]
    assert list(sections["corrupted, severity 5"]) == ["sensor@noise"]
    assert set(sections["missing"]) == {"image", "sensor"}
    page = render(directory)
    third = page.index("Average case: severity against score")
    assert page.index("Average case: fraction missing against score") < third < page.rindex('"text":"sensor@noise"')


def test_a_file_means_the_same_as_flags(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_folder(elsewhere, OWN)
    (elsewhere / "c.yaml").write_text("corruption: sensor@dropout:0,4\n")
    assert run(monkeypatch, "--config", "c.yaml") == 0
    levels = {
        (row["name"], row["level"])
        for row in RunDirectory("run").table("sweep").to_pylist()
        if row["kind"] == "corruption"
    }
    assert levels == {("sensor@dropout", 0.0), ("sensor@dropout", 4.0)}


def test_the_command_line_refuses_in_one_sentence(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own_folder(elsewhere, OWN)
    assert run(monkeypatch, "--corruption", "sensor@dropuot") == 2
    said = capsys.readouterr().err
    assert (
        said.startswith("error: unknown corruption 'dropuot'")
        and "did you mean dropout" in said
        and len(said.splitlines()) == 1
    )


def test_a_run_without_corruptions_has_no_such_section(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_folder(elsewhere, OWN)
    assert run(monkeypatch) == 0
    assert not any("corrupted" in section for section in summarise(RunDirectory("run")).sections)
    assert "severity against score" not in render(RunDirectory("run"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imag@noise", "unknown modality 'imag' in task 'digits': did you mean image"),
        ("image@nose:1", "unknown corruption 'nose' of modality 'image', which is of kind image: did you mean noise"),
        ("image@typos", "of kind image, but there is one of kind text"),
        ("image@noise:6", "'6' is not a severity; a severity is a whole number from 0 (clean) to 5"),
        ("image@noise:-1", "'-1' is not a severity"),
        ("image@noise:0,1.5", "'1.5' is not a severity"),
        ("image@noise:high", "'high' is not a severity"),
        ("image@noise:", "'' is not a severity"),
        ("image", "does not parse: write MODALITY@NAME:SEVERITY"),
        ("image@my.py:fgo:1", "unknown object 'fgo' in my.py: did you mean fog"),
        (
            "image@my.py:flat:1",
            "corruption 'image@my.py:flat' at severity 1, sample 'test-0000': it must return a sample of shape",
        ),
        ("audio@my.py:flat:1", "it must return a sample of shape (4000,) in the same shape, not as (1,)"),
        ("image@my.py:hole:2", "64 values came back as NaN or infinite"),
        (
            "image@my.py:few:3",
            "TypeError: few() takes 1 positional argument but 4 were given; it must take (x, severity",
        ),
    ],
)
def test_bad_input_is_one_sentence(elsewhere: Path, digits: Task, text: str, message: str) -> None:
    own_folder(elsewhere, OWN)
    with pytest.raises(BadInput) as error:
        parse_all([text], digits)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_one_corruption_is_named_once(digits: Task) -> None:
    with pytest.raises(BadInput, match=r"'image@noise' is named twice: name it once, with all its severities"):
        parse_all(["image@noise:1", "image@noise:2"], digits)
