"""Training is seeded, and gives the committed checkpoints."""

import io
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.engine.loading import Loaded, build_model, load_model
from harness.models import checkpoint
from harness.models.fused import Fused
from harness.models.recipe import Stage, Supervised
from harness.models.scheduled import Scheduled
from harness.references.registry import MODALITY, names
from harness.tasks import Batch, Task
from harness.training.train import EVALUATED_AT_ONCE, Training, _file_name, fewer, fit, recipe_of
from tests.conftest import registered_models
from tests.harness.registered import names_in

CPU = torch.device("cpu")


def test_a_recipe_takes_options() -> None:
    recipe = recipe_of("supervised?learning_rate=0.5&weight_decay=0")
    assert isinstance(recipe, Supervised)
    assert (recipe.learning_rate, recipe.weight_decay) == (0.5, 0)


def test_a_model_takes_options(digits: Task) -> None:
    plain, halved = (build_model(text, digits) for text in ("mmtm", "mmtm?gate_scale=1"))
    assert [x.fusion.exchange.gate_scale for x in (plain, halved) if isinstance(x, Fused)] == [2, 1]  # type: ignore[union-attr]
    with pytest.raises(BadInput, match="did you mean gate_scale"):
        build_model("mmtm?gate_scal=1", digits)
    with pytest.raises(BadInput, match="gate_scale takes a number"):
        build_model("mmtm?gate_scale=wide", digits)
    assert load_model("mmtm?gate_scale=2", digits, CPU).weights == load_model("mmtm", digits, CPU).weights
    with pytest.raises(BadInput, match="'mmtm\\?gate_scale=1' has no weights"):
        load_model("mmtm?gate_scale=1", digits, CPU)


@pytest.mark.parametrize(
    ("model", "name"),
    [("mutan?attention=false", "mutan-attention-false"), ("x/y.py:build", "x_y.py_build"), ("concat?", "concat")],
)
def test_a_checkpoint_is_named_so_that_shells_take_it_as_it_is(model: str, name: str) -> None:
    assert _file_name(model) == name


def test_a_part_of_the_training_samples(digits: Task) -> None:
    parts = [fewer(digits, Training("digits", "concat", seed=seed, train_samples=9)).splits for seed in (0, 0, 1)]
    assert [len(part["train"]) for part in parts] == [9, 9, 9]
    assert parts[0]["train"].samples == parts[1]["train"].samples != parts[2]["train"].samples
    assert set(parts[0]["train"].samples) <= set(digits.splits["train"].samples)
    assert parts[0]["val"] is digits.splits["val"]
    assert fewer(digits, Training("digits", "concat", train_samples=10**6)) is digits
    with pytest.raises(BadInput, match="--train-samples 0"):
        Training("digits", "concat", train_samples=0)


class Worse(Supervised):
    """Judged by how few epochs there were: the first is the best of a stage that is judged."""

    def __init__(self, *judged: bool) -> None:
        super().__init__()
        self.judged, self.validated, self.epoch = judged, 0, 0

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        (stage,) = super().setup(model, task, epochs)
        return [
            replace(stage, name=str(number), batch_size=1_000, judged=judged)
            for number, judged in enumerate(self.judged)
        ]

    def after_step(self, stage: Stage) -> None:
        self.epoch += 1

    def validate(self, batch: Batch) -> Tensor:
        self.validated += 1
        return torch.full((len(batch),), 1 / (1 + self.epoch))


def test_of_a_stage_that_is_not_judged_the_last_epoch_is_kept(digits: Task) -> None:
    few = fewer(digits, Training("digits", "early", train_samples=128))
    batches = -(-len(digits.splits["val"]) // EVALUATED_AT_ONCE)
    fitted, said = {}, {}
    for judged in ((True,), (False,), (False, True)):
        recipe, console = Worse(*judged), Console(file=io.StringIO())
        fitted[judged], score = fit(Training("digits", "early", epochs=3), few, recipe, CPU, console)
        assert score == pytest.approx({(True,): 1 / 2, (False,): 1 / 4, (False, True): 1 / 5}[judged])
        assert recipe.validated == batches * (1 if judged == (False,) else 3), (
            "once for the score, where no epoch is judged"
        )
        said[judged] = console.file.getvalue()  # type: ignore[attr-defined]
    first, last = (fitted[each,].state_dict() for each in (True, False))
    assert not all(torch.equal(one, other) for one, other in zip(first.values(), last.values(), strict=True))
    once = fit(Training("digits", "early", epochs=1), few, Worse(True), CPU, Console(file=io.StringIO()))[
        0
    ].state_dict()
    assert all(torch.equal(one, other) for one, other in zip(first.values(), once.values(), strict=True))
    assert "validation score" in said[True,] and "validation score" not in said[False,]


def test_a_norm_over_batches_is_given_two_samples_or_more(digits: Task) -> None:
    """Sixty-four samples are a batch, and one is left over. A single sample, or batches of one,
    give one sentence.
    """
    training, quiet = Training("digits", "latent-ensemble", epochs=1), Console(file=io.StringIO())
    left, recipe = fewer(digits, replace(training, train_samples=65)), Scheduled()
    fit(training, left, recipe, CPU, quiet)
    assert recipe.schedule.last_epoch == 2, "as many steps as the schedule was told"
    assert recipe.schedule.get_last_lr() == [0.0]
    for few, recipe in (
        (left, recipe_of("scheduled?batch_size=1")),
        (fewer(digits, replace(training, train_samples=1)), Supervised()),
    ):
        with pytest.raises(BadInput, match="'latent-ensemble' normalises over batches, but these hold one sample"):
            fit(training, few, recipe, CPU, quiet)


def test_probabilities_of_nan_blame_the_learning_rate_and_other_errors_stay(digits: Task) -> None:
    class Drawing(Supervised):
        odds = float("nan")

        def step(self, batch: Batch, stage: Stage) -> Tensor:
            torch.multinomial(torch.full((3,), self.odds), 1 if math.isnan(self.odds) else 4)
            return super().step(batch, stage)

    training = Training("digits", "only-image", epochs=1, train_samples=64)
    recipe, few, quiet = Drawing(), fewer(digits, training), Console(file=io.StringIO())
    with pytest.raises(BadInput, match="probabilities became NaN in stage 'supervised': lower the learning rate"):
        fit(training, few, recipe, CPU, quiet)
    recipe.odds = 1.0
    with pytest.raises(RuntimeError, match="cannot sample"):
        fit(training, few, recipe, CPU, quiet)


@pytest.mark.parametrize("recipe", ["supervised?learning_rate=1e30", "scheduled?learning_rate=1e30&last=true"])
def test_what_answers_nan_has_no_score(digits: Task, recipe: str) -> None:
    training = Training("digits", "only-image", epochs=1, train_samples=64)
    with pytest.raises(BadInput, match="training diverged, the model answers NaN or infinity: lower the learning rate"):
        fit(training, fewer(digits, training), recipe_of(recipe), CPU, Console(file=io.StringIO()))


def test_two_runs_agree(digits: Task) -> None:
    runs = [
        fit(Training("digits", "only-text", epochs=1), digits, Supervised(), CPU, Console(file=io.StringIO()))
        for _ in range(2)
    ]
    assert checkpoint.weight_hash(runs[0][0]) == checkpoint.weight_hash(runs[1][0])


@pytest.mark.parametrize("name", ["late"])
def test_retrained_lands_near_the_committed(digits: Task, name: str) -> None:
    model, _ = fit(Training("digits", name), digits, Supervised(), CPU, Console(file=io.StringIO()))
    test = digits.splits["test"]
    with torch.no_grad():
        accuracy = digits.problem.score(model(test.inputs, None), test.targets).mean().item()
    card = checkpoint.read_card(checkpoint.committed("digits", name))
    assert accuracy == pytest.approx(card["metrics"]["test_accuracy"], abs=0.02)


def test_cards_tell_the_truth(system: Loaded, digits: Task) -> None:
    path, test = checkpoint.committed("digits", system.name), digits.splits["test"]
    card = checkpoint.read_card(path)
    with torch.no_grad():
        accuracy = digits.problem.score(system.module(test.inputs, None), test.targets).mean().item()
    assert accuracy == pytest.approx(card["metrics"]["test_accuracy"], abs=1e-6)
    assert card["data_hash"] == digits.data_hash
    assert path.stat().st_size < 500_000


def test_all_weights_together_stay_small() -> None:
    assert sum(path.stat().st_size for path in checkpoint.COMMITTED.rglob("*.safetensors")) < 11_000_000


def test_models_without_weights_are_tested_as_they_are_built() -> None:
    """In the tests of their folder."""
    plain = {name: place for name, place in names("model").items() if MODALITY not in name}
    without = {place.split(".")[2] for name, place in plain.items() if name not in registered_models()}
    assert without == {"fusion", "missing", "contrastive", "counting", "dense", "action", "speech", "words"}


def test_every_fusion_beats_every_single_modality() -> None:
    accuracy = {
        name: checkpoint.read_card(checkpoint.committed("digits", name))["metrics"]["test_accuracy"]
        for name in registered_models()
        if name.startswith("only-") or name in names_in("harness.models.fusion")
    }
    singles = [accuracy.pop(name) for name in list(accuracy) if name.startswith("only")]
    assert max(singles) < 0.97
    assert min(accuracy.values()) > max(singles)
