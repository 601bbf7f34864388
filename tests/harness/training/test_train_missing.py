"""Training on incomplete data: the missing parts, for how long, and the entry in the checkpoint
card.
"""

import io
import json
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from attacks.errors import BadInput
from harness.cli import main
from harness.models import checkpoint
from harness.models.recipe import Supervised
from harness.tasks import Task
from harness.training.train import Training, fit
from harness.training.train_missing import grid, incomplete, tag

CPU = torch.device("cpu")


def trained(task: Task) -> str:
    model, _ = fit(Training("digits", "only-text", epochs=1), task, Supervised(), CPU, Console(file=io.StringIO()))
    return checkpoint.weight_hash(model)


def test_a_fixed_part_of_training_and_validation_lacks_the_modality(digits: Task) -> None:
    (missing,) = grid(["audio:0.9"], digits.names)
    task, again = (incomplete(digits, missing, seed=0) for _ in range(2))
    for name in ("train", "val"):
        split, whole = task.splits[name], digits.splits[name]
        assert split.present is not None and again.splits[name].present is not None
        assert torch.equal(split.present, again.splits[name].present)
        assert (1 - split.present.double().mean(0)).tolist() == pytest.approx([0, 0.9, 0], abs=0.05)
        gone = ~split.present[:, 1]
        assert not bool(split.inputs["audio"][gone].any())
        assert torch.equal(split.inputs["audio"][~gone], whole.inputs["audio"][~gone])
        assert all(torch.equal(split.inputs[other], whole.inputs[other]) for other in ("image", "text"))
    assert task.splits["test"] is digits.splits["test"]
    other_seed = incomplete(digits, missing, seed=1).splits["train"].present
    assert other_seed is not None and not torch.equal(other_seed, task.splits["train"].present)


def test_what_lacks_at_a_rate_lacks_at_every_higher_one(digits: Task) -> None:
    low, high = (
        incomplete(digits, missing, 0).splits["train"].present for missing in grid(["mcar:0.3,0.6"], digits.names)
    )
    assert low is not None and high is not None and bool((high <= low).all())


def test_several_are_missing_at_once_and_a_gap_is_cut_out(digits: Task) -> None:
    (missing,) = grid(["audio:1", "fixed(text):1", "gap(image):0.5"], digits.names)
    split = incomplete(digits, missing, 0).splits["train"]
    assert split.present is not None and split.present.double().mean(0).tolist() == [1, 0, 0]
    assert (split.inputs["image"] == 0).double().mean().item() > 0.5


def test_a_grid_is_every_combination(digits: Task) -> None:
    tags = [
        tag(missing)
        for missing in grid(["audio:0,0.5", "imbalanced(image:0.1+text:0.5):1", "mcar:0.2,0.2"], digits.names)
    ]
    assert tags == [f"-audio-{rate}-imbalanced-image-0.1+text-0.5-1-mcar-0.2" for rate in ("0", "0.5")]
    assert grid([], digits.names) == [()]


def test_rate_zero_is_complete_training_bit_for_bit(digits: Task) -> None:
    (missing,) = grid(["text:0"], digits.names)
    assert trained(incomplete(digits, missing, 0)) == trained(digits)


def test_the_model_gets_the_present_modalities(digits: Task) -> None:
    (missing,) = grid(["text:1"], digits.names)
    seen = []

    class Watching(Supervised):
        def step(self, batch, stage):  # type: ignore[no-untyped-def]
            seen.append(batch.present)
            return super().step(batch, stage)

    fit(
        Training("digits", "only-text", epochs=1),
        incomplete(digits, missing, 0),
        Watching(),
        CPU,
        Console(file=io.StringIO()),
    )
    assert all(present is not None and not bool(present[:, 2].any()) and bool(present[:, :2].all()) for present in seen)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("adio:0.5", "unknown modality or schedule 'adio' in --train-missing 'adio:0.5': did you mean audio"),
        ("audio", "--train-missing 'audio' has no rate: write audio:0.9"),
        ("audio:1.5", "not between 0 and 1"),
        ("fixed(smell):1", "unknown modality 'smell'"),
    ],
)
def test_what_cannot_be_meant_is_refused(digits: Task, text: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        grid([text], digits.names)
    assert said in str(refused.value)


def test_a_recipe_that_would_learn_from_stand_ins_is_refused(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["harness", "train", "--model", "concat", "--recipe", "varmat", "--train-missing", "audio:0.9"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2 and "recipe 'varmat' treats every input as present" in capsys.readouterr().err
    assert not Path("checkpoints").exists()


def test_one_command_trains_a_checkpoint_per_rate(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["harness", "train", "--model", "only-text", "--epochs", "1", "--train-missing", "text:0,0.9"]
    for extra in ([], ["--out", "mine.safetensors"]):
        monkeypatch.setattr(sys, "argv", [*command, *extra])
        main()
    places = [
        "checkpoints/digits/only-text-text-0",
        "checkpoints/digits/only-text-text-0.9",
        "mine-text-0",
        "mine-text-0.9",
    ]
    assert all(Path(f"{place}.safetensors").is_file() for place in places)
    card = json.loads(Path(f"{places[1]}.json").read_text())
    assert card["train_missing"]["schedules"] == ["fixed(text):0.9"]
    assert card["train_missing"]["reached"] == pytest.approx({"image": 0, "audio": 0, "text": 0.9}, abs=0.02)
    assert (
        card["metrics"]["test_accuracy"] < json.loads(Path(f"{places[0]}.json").read_text())["metrics"]["test_accuracy"]
    )
