"""Samples that lack modalities by nature, from the arrays to every number of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import harness
from attacks.errors import BadInput
from harness.analysis.summary import summarise
from harness.tasks import Task
from tests.commandline import run
from tests.harness.engine.incomplete_task import LACKING, LIMIT, SAMPLES, Sum, arrays, incomplete, mask
from tests.harness.tasks.one_by_one import one_by_one

A, B, BOTH = "a@linf:0.1", "b@linf:0.1", "a@linf:0.1 + b@linf:0.1"
SOURCE = """
from tests.harness.engine.incomplete_task import Sum, incomplete as task
def build(task): return Sum()
"""


def found(**options: Any) -> harness.Run:
    return harness.evaluate(
        incomplete(), {"sum": Sum()}, scenarios=[A, B, BOTH], **{"search": "fast", "trust": False, **options}
    )


def with_nan(x: Tensor, rows: list[int]) -> Tensor:
    x = x.clone()
    x[rows] = torch.nan
    return x


def masked(x: Tensor, rows: list[int]) -> Any:
    array = np.ma.array(x.numpy())
    array[rows] = np.ma.masked
    return array


def with_none(x: Tensor, rows: list[int]) -> Any:
    return [None if row in rows else each for row, each in enumerate(x)]


FORMS = {
    "mask": lambda inputs: Task.from_arrays(inputs, arrays()[1], present=mask(), splits="test"),
    "by name": lambda inputs: Task.from_arrays(
        inputs, arrays()[1], present={"a": mask()[:, 0], "b": mask()[:, 1].numpy()}, splits="test"
    ),
    **{
        name: lambda inputs, form=form: Task.from_arrays(
            {key: form(x, LACKING[key]) for key, x in inputs.items()}, arrays()[1], splits="test"
        )
        for name, form in (("NaN", with_nan), ("masked", masked), ("None", with_none))
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_absence_is_one(form: str) -> None:
    task = FORMS[form](arrays()[0])
    there = task.splits["test"].present
    assert there is not None and torch.equal(there, mask())
    reference = FORMS["mask"](arrays()[0])
    assert task.data_hash == reference.data_hash and task.definition_hash == reference.definition_hash


def test_a_complete_task_is_what_it_was() -> None:
    inputs, targets = arrays()
    whole = [Task.from_arrays(inputs, targets, **options) for options in ({}, {"present": torch.ones(SAMPLES, 2) == 1})]
    assert whole[0].definition_hash == whole[1].definition_hash and whole[1].splits["test"].present is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"present": torch.ones(SAMPLES, 3) == 1},
            r"present has shape \(24, 3\): give \(24, 2\), a column for each of a, b",
        ),
        ({"present": {"c": torch.ones(SAMPLES) == 1}}, "unknown modality 'c'"),
        (
            {"present": {"a": torch.ones(3) == 1}},
            r"present of 'a' has shape \(3,\): give one value per sample, \(24,\)",
        ),
        ({"present": torch.zeros(SAMPLES, 2) == 1}, "sample '000000' in split 'test' .* has no modality at all"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], why: str) -> None:
    inputs, targets = arrays()
    with pytest.raises(BadInput, match=why):
        Task.from_arrays(inputs, targets, splits="test", **options)


def test_some_nan_in_a_sample_is_a_fault() -> None:
    inputs, targets = arrays()
    inputs["a"][0, 0] = torch.nan
    with pytest.raises(BadInput, match="modality 'a' holds NaN in 1 samples"):
        Task.from_arrays(inputs, targets)


def test_no_attack_is_counted_on_what_is_absent() -> None:
    ledger = found().ledger.set_index(["scenario", "sample"])
    names = incomplete().splits["test"].samples
    for scenario, lacking in ((A, LACKING["a"]), (B, LACKING["b"]), (BOTH, LACKING["a"] + LACKING["b"])):
        status = ledger.loc[scenario]["status"]
        assert [status[names[row]] == "skipped" for row in range(SAMPLES)] == [row in lacking for row in range(SAMPLES)]
        assert ledger.loc[scenario]["strength"].isna().sum() == len(lacking)


def test_strengths_are_those_of_what_is_there() -> None:
    """Of a linear model: its margin over the sum of the radii."""
    inputs, targets = arrays()
    there = torch.stack([inputs["a"].sum(1), inputs["b"].sum(1)], 1).where(mask(), torch.zeros(()))
    margin = (2 * targets - 1) * there.sum(1)
    exact = (margin / 0.3).clamp_min(0)
    ledger = found(search="standard").ledger.query("scenario == @A and status == 'ok'")
    for sample, strength in zip(ledger["sample"], ledger["strength"], strict=True):
        expected = float(exact[int(sample)])
        assert strength == pytest.approx(expected if expected <= LIMIT else torch.inf, rel=0.02, abs=1e-6)


def test_schedules_act_on_what_is_there_and_clean_is_as_it_came() -> None:
    sweep = found(schedules=["mcar:0,0.5"]).sweep
    pattern = {f"{row:06d}": "".join("01"[int(bit)] for bit in each) for row, each in enumerate(mask())}
    clean = sweep.query("name == 'mcar' and level == 0")
    assert dict(zip(clean["sample"], clean["present"], strict=True)) == pattern
    assert all(
        bit <= own for sample, bits in zip(sweep["sample"], sweep["present"], strict=True)
        for bit, own in zip(bits, pattern[sample], strict=True)
    )  # fmt: skip


def test_tables_tell_complete_and_incomplete_samples_apart() -> None:
    run = found()
    summary = run.summary
    rows = {row.condition: row for row in summary.itertuples()}
    assert rows["clean, complete samples"].samples == 17 and rows["clean, incomplete samples"].samples == 7
    assert rows["clean"].samples == SAMPLES and rows[BOTH].samples == 17


def test_the_ledger_is_the_same_for_any_batch_and_every_sample_once(tmp_path: Path) -> None:
    """Rows that lack the same modalities are searched together."""
    ledgers = [
        found(batch_size=size).ledger.drop(columns="run").sort_values(["scenario", "sample"], ignore_index=True)
        for size in (24, 5)
    ]
    assert ledgers[0].equals(ledgers[1]) and not ledgers[0].duplicated(["scenario", "sample"]).any()


def test_a_run_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluated with trust and attributions, verified, reported, gated, and resumed."""
    (tmp_path / "my.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    where = (
        "--task",
        "my.py:task",
        "--model",
        "my.py:build",
        "--search",
        "fast",
        "--attributions",
        "3",
        "--out",
        "run",
    )
    attacks = ("--scenario", A, "--scenario", BOTH, "--witnesses", "all")
    (tmp_path / "gates.yaml").write_text(
        f"gates:\n  - {{model: 'my.py:build', scenario: '{A}', min: 0.0}}\n  - {{model: 'my.py:build', min: 0.1}}\n"
    )
    for command in (
        ("evaluate", *where, *attacks),
        ("evaluate", *where, *attacks),
        ("verify", "run", "--code", "my.py"),
        ("verify", "run", "--files"),
        ("report", "run"),
    ):
        assert run(monkeypatch, *command) == 0, command
    assert run(monkeypatch, "gate", "run", "--gates", "gates.yaml") == 0


def test_recipes_that_ignore_absence_are_refused() -> None:
    splits = ["train", "val", "test"] * 8
    with pytest.raises(
        BadInput, match="samples of task 'incomplete' lack modalities: recipe 'crmt' treats every input as present"
    ):
        harness.train(incomplete(splits), "concat", recipe="crmt")
    harness.train(incomplete(splits), "concat", epochs=1)


def test_no_row_of_untouched_samples_stands_beside_clean_where_only_the_samples_differ() -> None:
    run = found(schedule="none")
    assert "untouched" not in set(run.summary["condition"])


def test_scores_with_sets_missing_are_over_complete_samples() -> None:
    """Incomplete samples may be harder: they stand in no row."""
    from app.screens.average import SETS
    from harness.analysis.curves import query

    run = found(search="none")
    rows = query(f"select present, samples from ({SETS})", sweep=run.directory.table("sweep"))
    lacking = {row for rows in LACKING.values() for row in rows}
    assert len(rows) == 4 and {count for _, count in rows} == {SAMPLES - len(lacking)}


class Embedded(Sum):
    def embed(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        there = torch.ones(len(inputs["a"]), 2, dtype=torch.bool) if present is None else present
        return torch.cat([(inputs[name] + 5) * there[:, i : i + 1] for i, name in enumerate(("a", "b"))], 1)


def test_untouched_incomplete_samples_keep_their_neighbours() -> None:
    task = incomplete(splits=["train"] * 12 + ["test"] * 12)
    run = harness.evaluate(task, {"m": Embedded()}, judge="neighbours", search="none", trust=False, schedule="none")
    assert set(run.summary["score"]) == {1.0}


@pytest.mark.parametrize("way", ["held", "read"])
def test_the_summary_counts_what_is_lacking(way: str) -> None:
    task = incomplete() if way == "held" else one_by_one(incomplete())
    run = harness.evaluate(task, {"sum": Sum()}, search="none", trust=False, schedule="none")
    assert any("Of 24 samples 3 lack a, 4 lack b, as they came" in note for note in summarise(run.directory).notes)
