"""Attributions: exact for a linear model, zero for unread inputs, and stored for clean, attacked
and incomplete inputs.
"""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from typer.testing import CliRunner

from attacks.region import Inputs
from harness.cli import app
from harness.commands.evaluate import evaluate
from harness.engine.ledger import witness_hashes
from harness.engine.loading import Loaded, load_model
from harness.engine.plan import prepare
from harness.explain.attributions import cases
from harness.explain.methods import ABLATION, GRADIENTS, Case, explained, pieces
from harness.explain.selection import CLOSEST, FURTHEST, RANDOM, samples
from harness.models.checkpoint import weight_hash
from harness.references.code_consent import configured
from harness.run.config import Evaluation
from harness.run.directory import RunDirectory
from harness.tasks import Modality, Task
from tests.tiny import tiny

CPU = torch.device("cpu")


class Plain(nn.Module):
    """Linear in `a` and `b` of the tiny task; `step` makes it a staircase, whose gradient is
    zero.
    """

    def __init__(self, task: Task, read: tuple[str, ...] = ("a", "b"), step: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weights = nn.ParameterDict(
            {
                m.name: torch.randn(task.width, m.shape[0], generator=generator)
                for m in task.modalities
                if m.name in read
            }
        )
        self.step = step

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        logits = torch.stack([inputs[name] @ weight.T for name, weight in self.weights.items()]).sum(0)
        return (4 * logits).round() / 4 if self.step else logits


def clean(task: Task, count: int = 6) -> Case:
    batch = task.splits["test"].take(range(count))
    return Case("clean", batch, torch.ones(count, len(task.modalities), dtype=torch.bool))


def test_of_a_linear_model_each_value_tells_its_weight_times_its_distance_from_the_stand_in() -> None:
    task = tiny(2)
    model, case = Plain(task), clean(task, 40)
    told = explained(model, task, case)
    logits = model(case.batch.inputs)
    runner_up = logits.scatter(1, case.batch.targets[:, None], float("-inf")).argmax(1)
    for name in task.names:
        weight, stand_in = model.weights[name], task.modality(name).stand_in(torch.zeros(1))
        expected = (weight[case.batch.targets] - weight[runner_up]) * (case.batch.inputs[name] - stand_in)
        # the stand-ins answer 0: no kink on the path
        torch.testing.assert_close(told.parts[name], expected, rtol=1e-3, atol=1e-4)
    assert told.method == GRADIENTS
    total = sum(part.sum(1) for part in told.parts.values())
    torch.testing.assert_close(total, told.output - told.baseline + told.delta(task.names))
    assert told.delta(task.names).abs().max() < 0.1 * (told.output - told.baseline).abs().max()


def test_a_modality_that_is_not_read_has_no_share_and_no_shapley_value(tmp_path: Path) -> None:
    rows = stored(tmp_path, "deaf")
    unread = [row for row in rows if row["modality"] == "b"]
    assert unread and all(row["share"] < 0.01 and row["shapley"] == 0 for row in unread)
    assert all(row["share"] > 0.99 for row in rows if row["modality"] == "a" and row["condition"] not in ("missing a",))


def test_a_staircase_is_explained_by_ablation() -> None:
    task = tiny(2)
    model, case = Plain(task, step=True), clean(tiny(2))
    told = explained(model, task, case)
    assert told.method == ABLATION
    without = {**case.batch.inputs, "a": case.batch.inputs["a"].clone()}
    without["a"][:, 2] = task.modality("a").stand_in(torch.zeros(1)).expand(6)[2]
    margins = [
        task.problem.verdict(model(inputs), case.batch.targets).losses["margin"]
        for inputs in (case.batch.inputs, without)
    ]
    torch.testing.assert_close(told.parts["a"][:, 2], margins[1] - margins[0])


def test_a_missing_modality_contributes_nothing_and_shapley_values_add_up(tmp_path: Path) -> None:
    rows = stored(tmp_path, "both")
    gone = [row for row in rows if row["condition"] == "missing a" and row["modality"] == "a"]
    assert gone and all(row["share"] == 0 and row["shapley"] == 0 for row in gone)
    task, model = tiny(2), Plain(tiny(2))
    for row in (row for row in rows if row["condition"] == "clean" and row["modality"] == "a"):
        other = next(
            r for r in rows if r["condition"] == "clean" and r["modality"] == "b" and r["sample"] == row["sample"]
        )
        batch = task.splits["test"].take([task.splits["test"].samples.index(row["sample"])])
        ends = [
            -task.problem.verdict(
                model(task.with_stand_ins(batch.inputs, torch.tensor([[here, here]]))), batch.targets
            ).losses["margin"]
            for here in (True, False)
        ]
        assert row["shapley"] + other["shapley"] == pytest.approx((ends[0] - ends[1]).item(), abs=1e-5)
        assert row["output"] == pytest.approx(ends[0].item(), abs=1e-5)


def test_sums_are_the_difference_up_to_the_stored_delta_in_every_condition(tmp_path: Path) -> None:
    rows, tensors = stored(tmp_path, "both"), held(tmp_path / "both")
    conditions = {(row["sample"], row["condition"]) for row in rows}
    assert {condition for _, condition in conditions} >= {"clean", "missing a", "missing b", "a@linf:0.1"}
    for sample, condition in conditions:
        parts = [row for row in rows if (row["sample"], row["condition"]) == (sample, condition)]
        total = sum(tensors[row["tensor"]].sum().item() for row in parts)
        assert total == pytest.approx(parts[0]["output"] - parts[0]["baseline"] + parts[0]["delta"], abs=1e-4)
        assert sum(row["share"] for row in parts) == pytest.approx(1)


def test_the_witness_explained_is_that_of_the_ledger(tmp_path: Path) -> None:
    stored(tmp_path, "both")
    directory = RunDirectory(str(tmp_path / "both"))
    ledger = directory.table("ledger").to_pylist()
    config = configured(directory.url, directory.describe())
    task, model = tiny(2), Plain(tiny(2)).eval()
    work = prepare(config, task, [Loaded(config.model[0], model, "", "")], {})
    chosen = samples(work, work.models[0], directory.table("ledger"))
    rows = [task.splits["test"].samples.index(sample) for sample in chosen]
    for case in cases(work, work.models[0], task.splits["test"].take(rows)):
        if "@" not in case.name:
            continue
        scenario = next(scenario for scenario in work.requested if str(scenario) == case.name)
        known = {row["sample"]: row["witness"] for row in ledger if row["scenario"] == case.name}
        found = witness_hashes(case.batch.inputs, scenario)
        assert [known[sample] for sample in case.batch.samples] == list(found)


def test_the_closest_the_furthest_and_some_at_random(tmp_path: Path) -> None:
    rows = stored(tmp_path, "both")
    ledger = RunDirectory(str(tmp_path / "both")).table("ledger").to_pylist()
    least: dict[str, float] = {}
    for row in ledger:
        least[row["sample"]] = min(row["strength"], least.get(row["sample"], float("inf")))
    why = {row["sample"]: row["why"] for row in rows}
    assert sorted(why.values()) == [CLOSEST, FURTHEST, RANDOM]
    standing = {sample: strength for sample, strength in least.items() if strength > 0}
    assert least[next(s for s, w in why.items() if w == CLOSEST)] == min(standing.values())
    assert least[next(s for s, w in why.items() if w == FURTHEST)] == max(standing.values())


def test_pieces_cover_each_modality_in_about_64_parts() -> None:
    for kind, shape in (
        ("image", (3, 28, 28)),
        ("image", (5, 7)),
        ("audio", (6400,)),
        ("features", (5,)),
        ("features", (300,)),
    ):
        mask = pieces(Modality("x", shape, kind), shape)
        assert mask.shape == shape and mask.min() == 0
        assert 1 <= len(mask.unique()) <= 100
    picture = pieces(Modality("x", (3, 16, 16), "image"), (3, 16, 16))
    assert torch.equal(picture[0], picture[2]) and picture[0, 0, 0] == picture[0, 1, 1] != picture[0, 0, 2]


def test_the_sound_is_explained_on_the_waveform_and_on_its_log_mel_energies(digits: Task) -> None:
    model = load_model("concat", digits, CPU)
    before, state = weight_hash(model.module), torch.get_rng_state()
    told = explained(model.module, digits, clean(digits, 3))
    assert told.parts["audio"].shape == (3, *digits.modality("audio").shape)
    assert told.parts["text"].shape == (3, digits.modality("text").shape[0])
    assert told.parts["audio, log-mel"].shape[:2] == (3, 32)
    assert weight_hash(model.module) == before and torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.module.parameters())


def test_attributions_on_the_command_line_and_later_for_a_finished_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    base = ["evaluate", "--model", "late", "--samples", "4", "--search", "fast", "--no-trust", "--out", str(out)]
    assert CliRunner().invoke(app, base).exit_code == 0
    assert not (out / "attributions").exists()
    assert CliRunner().invoke(app, [*base, "--attributions", "2"]).exit_code == 0
    table = RunDirectory(str(out)).table("attributions").to_pylist()
    assert (
        len({row["sample"] for row in table}) == 2
        and json.loads((out / "run.json").read_text())["config"]["attributions"] == 2
    )


def stored(folder: Path, which: str) -> list[dict[str, object]]:
    """The rows of a small run: a model of the tiny task that reads both modalities, or one that is
    deaf to `b`.
    """
    user = folder / "mine.py"
    user.write_text(
        "from tiny import tiny\n"
        "from test_attributions import Plain\n"
        "def task(): return tiny(2)\n"
        "def both(task): return Plain(task)\n"
        "def deaf(task): return Plain(task, ('a',))\n".replace("\\\n", "\n")
    )
    config = Evaluation(
        task=f"{user}:task",
        model=(f"{user}:{which}",),
        samples=24,
        search="fast",
        schedule=("mcar:0",),
        trust=False,
        attributions=3,
        device="cpu",
        limit=40.0,
        out=str(folder / which),
    )
    assert evaluate(config, Console(quiet=True)) == 0
    return RunDirectory(str(folder / which)).table("attributions").to_pylist()


def held(run: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    (file,) = (run / "attributions").glob("*.safetensors")
    return load_file(file)
