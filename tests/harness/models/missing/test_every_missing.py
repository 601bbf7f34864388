"""Every model that imputes a modality: the contract, any modalities, its training, and its
refusals.
"""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from attacks.errors import BadInput
from harness.engine.loading import build_model, load_model, load_task
from harness.engine.objective import TaskObjective
from harness.models import checkpoint
from harness.models.fused import Fused
from harness.models.missing.completed import Completed
from harness.models.missing.imputation import Autoencoder, Mean, autoencoder_imputation
from harness.models.missing.imputation_recipe import Imputation
from harness.models.missing.networks import MFCC, cosines, network
from harness.models.missing.smil import Codebook, smil
from harness.models.missing.smil_recipe import Smil
from harness.models.recipe import Recipe
from harness.references.registry import names, resolve
from harness.tasks import Modality, Task
from harness.tasks.files.dataroot import NoData
from harness.training.train import Training, fit
from harness.training.train_missing import grid, incomplete
from tests.harness.registered import names_in
from tests.tiny import tiny

CPU = torch.device("cpu")
FOLDER = "harness.models.missing"
PLACES = {name: names("model")[name] for name in names_in(FOLDER)}
TRAINED = [(name, "smil" if place.startswith(f"{FOLDER}.smil:") else "imputation") for name, place in PLACES.items()]


def lacking(task: Task, name: str, rate: float = 0.7) -> Task:
    return incomplete(task, grid((f"{name}:{rate}",), task.names)[0], 0)


def trained(task: Task, name: str, recipe: str, epochs: int = 3) -> Fused:
    way: Recipe = resolve("recipe", recipe).target()
    model, score = fit(Training(task.name, name, recipe, epochs=epochs), task, way, CPU, Console(file=io.StringIO()))
    assert isinstance(model, Fused) and 0 <= score <= 1
    return model


@pytest.fixture(params=PLACES)
def model(request: pytest.FixtureRequest, digits: Task) -> Fused:
    torch.manual_seed(0)
    module = build_model(request.param, digits).eval()
    assert isinstance(module, Fused)
    return module


def test_the_contract_is_kept(model: Fused, digits: Task) -> None:
    batch = digits.splits["test"].take(range(8))
    rows, others = batch.inputs, digits.splits["test"].take(range(8, 16)).inputs
    for column, name in enumerate(digits.names):
        present = torch.rand(8, 3, generator=torch.Generator().manual_seed(column)) < 0.5
        present[:, column] = False
        assert torch.equal(model(rows, present), model({**rows, name: others[name]}, present)), name
        reads = not torch.equal(model(rows, None), model({**rows, name: others[name]}, None))
        assert reads == (name in model.encoded)
    assert torch.equal(model(rows, torch.ones(8, 3, dtype=torch.bool)), model(rows, None))
    assert torch.equal(
        model.fuse({name: model.encode(name, rows[name]) for name in model.encoded}, present), model(rows, present)
    )
    nothing = model(rows, torch.zeros(8, 3, dtype=torch.bool))
    assert bool(nothing.isfinite().all()) and torch.equal(nothing, nothing[:1].expand(8, -1))


def test_every_value_can_be_attacked_also_where_the_sound_is_missing(model: Fused, digits: Task) -> None:
    batch = digits.splits["test"].take(range(8))
    for present in (None, torch.tensor([[True, False, True]]).expand(8, -1)):
        inputs = {name: batch.inputs[name].clone().requires_grad_() for name in model.encoded}
        gradients = torch.autograd.grad(
            digits.problem.loss(model(inputs, present), batch.targets).sum(), list(inputs.values())
        )
        read = {name for name, gradient in zip(inputs, gradients, strict=True) if bool(gradient.any())}
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)
        assert read == set(model.encoded) - (set() if present is None else {"audio"})


def test_a_sample_is_answered_alone(model: Fused, digits: Task) -> None:
    batch = digits.splits["test"].take(range(32))
    present = torch.rand(32, 3, generator=torch.Generator().manual_seed(0)) < 0.7
    objective = TaskObjective(model, digits, batch.targets, present, {})
    whole = objective.outputs(batch.inputs)
    for rows in (torch.arange(1), torch.arange(5, 10), torch.arange(31, -1, -1)):
        assert torch.equal(objective.take(rows).outputs(batch.take(rows).inputs), whole[rows])


@pytest.mark.parametrize(("name", "recipe", "modalities"), [*((*each, 2) for each in TRAINED), ("smil", "smil", 3)])
def test_incomplete_data_teach_it(name: str, recipe: str, modalities: int) -> None:
    task = tiny(modalities)
    last = task.names[-1]
    model = trained(lacking(task, last), name, recipe, epochs=8)
    test = task.splits["test"]
    for here in (True, False):
        present = torch.ones(len(test), modalities, dtype=torch.bool)
        present[:, -1] = here
        with torch.no_grad():
            assert task.problem.score(model(test.inputs, present), test.targets).mean() > 0.8, here


def test_regressions_are_completed_too() -> None:
    trained(lacking(tiny(2, regression=True), "b"), "smil-elbo", "smil", epochs=1)
    trained(lacking(tiny(2, regression=True), "b"), "mean-imputation", "imputation", epochs=1)


@pytest.mark.parametrize("way", [Smil, Imputation])
def test_the_net_of_the_missing_modality_is_frozen_after_the_first_stage(way: type[Smil] | type[Imputation]) -> None:
    task = lacking(tiny(2), "b")
    torch.manual_seed(0)
    model, recipe = smil(task), way()
    first, second = recipe.setup(model, task, None)
    net, batch = model.encoders["b"], task.splits["train"].take(range(64))
    assert not {id(p) for group in second.optimizer.param_groups for p in group["params"]} & {
        id(p) for p in net.parameters()
    }
    for stage in (first, second):
        before = [p.clone() for p in net.parameters()]
        for _ in range(3):
            model.train()
            stage.optimizer.zero_grad()
            recipe.step(batch, stage).backward()
            stage.optimizer.step()
            recipe.after_step(stage)
        moved = [not torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True)]
        assert any(moved) if stage is first else not any(moved)
    assert not net.training and bool(model.fusion.imputer.points.any())  # type: ignore[union-attr]


def test_only_complete_samples_give_their_features() -> None:
    task = tiny(2)
    incomplete_task = lacking(task, "b")
    train = incomplete_task.splits["train"]
    assert train.present is not None
    poisoned = replace(train, inputs={**train.inputs, "b": torch.where(train.present[:, 1:], train.inputs["b"], 1e3)})
    results = []
    for split in (train, poisoned):
        model = trained(
            replace(incomplete_task, splits={**incomplete_task.splits, "train": split}), "smil", "smil", epochs=1
        )
        results.append(checkpoint.weight_hash(model))
    assert results[0] == results[1]


def test_a_checkpoint_brings_the_codebook_back(tmp_path: Path) -> None:
    task = tiny(2)
    model = trained(lacking(task, "b"), "smil", "smil", epochs=1)
    path = tmp_path / "smil.safetensors"
    checkpoint.save(path, model, {"model": "smil", "task": task.name})
    loaded = load_model(str(path), task, CPU).module
    absent = torch.tensor([[True, False]]).expand(len(task.splits["test"]), -1)
    with torch.no_grad():
        assert torch.equal(loaded(task.splits["test"].inputs, absent), model(task.splits["test"].inputs, absent))
    fusion = model.fusion
    assert isinstance(fusion, Completed) and isinstance(fusion.imputer, Codebook) and bool(fusion.imputer.points.any())


def test_what_cannot_be_trained_is_refused() -> None:
    task = tiny(2)
    with pytest.raises(BadInput, match=r"no training sample of task 'tiny' lacks 'b'.*--train-missing b:0\.9"):
        Smil().setup(smil(task), task, None)
    with pytest.raises(BadInput, match="no training sample of task 'tiny' has 'b'"):
        Smil().setup(smil(task), lacking(task, "b", 1.0), None)
    with pytest.raises(BadInput, match="train model 'smil'"):
        Smil().setup(build_model("concat", task), task, None)
    with pytest.raises(BadInput, match="has only 'a'"):
        smil(tiny(1))
    with pytest.raises(BadInput, match="'sound'"):
        smil(task, "sound")


def test_any_modality_can_be_the_missing_one(digits: Task) -> None:
    assert smil(digits).encoded[smil(digits).fusion.position] == "audio"  # type: ignore[union-attr, index]
    model = smil(digits, "text").eval()
    inputs = digits.splits["test"].take(range(4)).inputs
    assert model(inputs, torch.tensor([[True, True, False]]).expand(4, -1)).shape == (4, 10)
    assert model.fusion.position == 2  # type: ignore[union-attr]


def test_the_networks_have_the_papers_sizes() -> None:
    image = Modality("image", (1, 28, 28), "image", 0.0, 255.0)
    sound = Modality("audio", (6_400,), "audio", -1.0, 1.0, sample_rate=8_000)
    for modality, size in ((image, 160), (sound, 320)):
        net, width = network(modality)
        assert net(torch.rand(2, *modality.shape)).shape == (2, size) and width == size
    assert MFCC(6_400, 8_000)(torch.rand(2, 6_400)).shape == (2, 20, 20)
    torch.testing.assert_close(cosines(20, 40) @ cosines(20, 40).T, torch.eye(20), atol=1e-5, rtol=0)
    assert network(Modality("vector", (5,)))[1] == 64
    assert network(Modality("short", (200,), "audio"))[1] == 64


def test_the_mean_is_the_complete_samples() -> None:
    mean, features = Mean(3), torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    mean.fit(features)
    assert torch.equal(mean(torch.zeros(2, 4)), features.mean(0).expand(2, -1))


def test_the_autoencoder_learns_from_its_own_error_only() -> None:
    imputer = Autoencoder(4, 3)
    assert not imputer(torch.rand(2, 4)).requires_grad and imputer.eval()(torch.rand(2, 4)).requires_grad
    observed = torch.rand(2, 4, requires_grad=True)
    imputer.cost(observed, torch.rand(2, 3)).backward()
    assert observed.grad is None and all(p.grad is not None for p in imputer.parameters())


def test_modality_dropout_learns_from_incomplete_data() -> None:
    trained(lacking(tiny(2), "b"), "zero-imputation", "modality-dropout", epochs=1)
    assert autoencoder_imputation(tiny(2)).encoded == ("a", "b")


def test_avmnist_reads_its_sound() -> None:
    try:
        task = load_task("avmnist-smil")
    except NoData as error:
        pytest.skip(str(error))
    model = smil(task).eval()
    assert sum(width for _, width in map(network, task.modalities)) == 480
    batch = task.splits["test"].take(range(8))
    inputs = {name: x.clone().requires_grad_() for name, x in batch.inputs.items()}
    gradients = torch.autograd.grad(task.problem.loss(model(inputs, None), batch.targets).sum(), list(inputs.values()))
    assert all(bool(gradient.isfinite().all()) and bool(gradient.any()) for gradient in gradients)
