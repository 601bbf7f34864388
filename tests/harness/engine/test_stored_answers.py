"""Answers that are maps, images or sounds lie beside the witnesses, and are those of the model."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from attacks.scenario import parse
from harness.commands.filecheck import file_faults
from harness.commands.verify import recheck
from harness.engine.answers import ATTACKED, TARGET, UNTOUCHED, answer_keys
from harness.engine.ledger import keys_of
from harness.run.directory import RunDirectory
from harness.storage.tensorfile import from_bytes, to_bytes
from harness.tasks.answer_form import as_answers
from tests.commandline import run
from tests.harness.tasks.problems.drawn_runs import KINDS, kept, made
from tests.harness.tasks.problems.linear_tasks import MODELS, TASKS


def stored(run: Path) -> dict[str, Tensor]:
    return {key: x for tensors, _ in RunDirectory(str(run)).witnesses() for key, x in tensors.items()}


def ledger(run: Path) -> list[dict[str, Any]]:
    return RunDirectory(str(run)).table("ledger").to_pylist()


@pytest.mark.parametrize("kind", [*KINDS, "boxes"])
def test_what_is_stored_is_what_the_model_answers(kind: str) -> None:
    """Asked again, at every threshold and under every scenario; the target in the form of it."""
    tensors, task, model = stored(kept(kind)), TASKS[kind](), MODELS[kind]()
    split = task.splits["test"]
    found = [row for row in ledger(kept(kind)) if row["strength"] < float("inf")]
    assert found
    for row in found:
        batch = split.take([split.samples.index(row["sample"])])
        names = keys_of(row, parse(row["scenario"]).attacked_names)
        moved = {**batch.inputs, **{name: tensors[key][None] for name, key in names.items()}}
        answers = {name: tensors[key] for name, key in answer_keys(row).items()}
        with torch.no_grad():
            clean, attacked = (task.problem.predictions(model(x)) for x in (batch.inputs, moved))
        target = as_answers(batch.targets, clean)
        assert target is not None and torch.equal(answers[TARGET].to(target.dtype), target[0])
        assert torch.allclose(answers[UNTOUCHED].to(clean.dtype), clean[0], atol=1e-6)
        assert torch.allclose(answers[ATTACKED].to(attacked.dtype), attacked[0], atol=1e-6)
        assert {x.dtype for x in answers.values()} == {torch.uint8 if kind == "maps" else torch.float32}


def test_labels_and_values_have_no_answers_stored(tmp_path: Path) -> None:
    run = made(tmp_path, "values")
    names = {key for row in ledger(run) for key in keys_of(row, parse(row["scenario"]).attacked_names).values()}
    assert stored(run).keys() <= names and RunDirectory(str(run)).describe().answer is None


@pytest.mark.parametrize("witnesses", ["none", 1])
def test_as_many_answers_are_kept_as_witnesses(tmp_path: Path, witnesses: object) -> None:
    run = made(tmp_path, "maps", witnesses=witnesses)
    samples = {key.split("|")[1] for key in stored(run) if key.startswith((TARGET, UNTOUCHED))}
    assert len(samples) == (0 if witnesses == "none" else 1) and not file_faults(RunDirectory(str(run)))


@pytest.mark.slow
def test_shards_merge_and_lost_cells_are_done_again(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(elsewhere, "maps")
    named = ("--task", f"{elsewhere}/my.py:task", "--model", f"{elsewhere}/my.py:build", "--search", "fast")
    asked = ("evaluate", *named, "--samples", "4", "--batch-size", "2", "--schedule", "none", "--witnesses", "all")
    for part in ("1", "2"):
        assert run(monkeypatch, *asked, "--no-trust", "--shard", f"{part}/2", "--out", f"part-{part}") == 0
    assert run(monkeypatch, "merge", "merged", "part-1", "part-2", "--code", f"{elsewhere}/my.py") == 0
    before = stored(whole)
    assert {key: x.tolist() for key, x in stored(Path("merged")).items()} == {k: x.tolist() for k, x in before.items()}
    assert not file_faults(RunDirectory("merged")) and RunDirectory("merged").describe().answer
    for folder in ("witnesses", "ledger"):
        shutil.rmtree(whole / folder)
    assert run(monkeypatch, *asked, "--no-trust", "--out", "run") == 0
    assert {key: x.tolist() for key, x in stored(whole).items()} == {k: x.tolist() for k, x in before.items()}


def changed(run: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    for file in (run / "witnesses").iterdir():
        file.write_bytes(to_bytes(change(from_bytes(file.read_bytes()))))


@pytest.mark.parametrize("kind", [*KINDS, "boxes"])
def test_verify_finds_an_answer_that_is_not_the_models(kind: str, tmp_path: Path) -> None:
    run, code = shutil.copytree(kept(kind), tmp_path / "run"), [f"{kept(kind).parent}/my.py"]
    assert all(holds for _, holds in recheck(RunDirectory(str(run)), code))
    changed(run, lambda held: {k: x.flip(-1) if k.startswith("answer|") else x for k, x in held.items()})
    assert not any(holds for _, holds in recheck(RunDirectory(str(run)), code))


@pytest.mark.parametrize("start", ["answer|", UNTOUCHED])
def test_verify_finds_files_that_lost_answers_or_hold_strange_ones(start: str, tmp_path: Path) -> None:
    run = shutil.copytree(kept("maps"), tmp_path / "run")
    changed(run, lambda held: {key: x for key, x in held.items() if not key.startswith(start)})
    which = "untouched" if start == UNTOUCHED else "attacked"
    assert f"lacks the {which} answer of sample" in " ".join(file_faults(RunDirectory(str(run))))
    strange = shutil.copytree(kept("maps"), tmp_path / "strange")
    changed(strange, lambda held: {**held, f"{start.strip('|')}|nobody": next(iter(held.values())).clone()})
    assert "|nobody', which the ledger does not" in " ".join(file_faults(RunDirectory(str(strange))))


@pytest.mark.parametrize("kind", [pytest.param("maps", marks=pytest.mark.slow), "values"])
def test_a_merge_takes_no_witness_nor_answer_of_a_sample_that_it_leaves_out(
    kind: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells of other sizes overlap in part."""
    pairs = made(elsewhere, kind)
    made(elsewhere, kind, batch_size=4, out=f"{elsewhere}/four")
    next((pairs / "ledger").iterdir()).unlink()
    assert run(monkeypatch, "merge", "merged", "run", "four", "--code", f"{elsewhere}/my.py") == 0
    assert stored(Path("merged")).keys() == stored(Path("four")).keys()
    assert not file_faults(RunDirectory("merged"))
