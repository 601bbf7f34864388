"""The contract of every registered task and model, parametrised over the registry itself."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from harness.engine.loading import Loaded, load_task
from harness.models.protocols import Factored
from harness.references.registry import KINDS, names, summary
from harness.tasks import (
    Boxes,
    Enhancement,
    FreeAnswers,
    Heads,
    Images,
    MultiLabel,
    Problem,
    Regression,
    Segmentation,
    SoftCounting,
    Task,
)
from harness.tasks.files.dataroot import VARIABLE, NoData
from harness.tasks.problems.free_answers import ANSWERS, Spoken
from tests import featurefiles, filmfiles, picturefiles

JUDGED = 200  # samples of a split: maps of all would fill the memory
UNBOUNDED = ("psnr", "kid", "fid", "si", "pesq")  # metrics that are no shares
WRITERS = featurefiles.WRITERS | picturefiles.WRITERS | filmfiles.WRITERS


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with small files in the layout of each data set that nobody may pass on."""
    root = tmp_path_factory.mktemp("data")
    for name, write in WRITERS.items():
        write(root / name)
    return root


def loaded(name: str, made: Path) -> Task:
    """A registered task, on made files where it has them."""
    with pytest.MonkeyPatch.context() as patch:
        if name in WRITERS:
            patch.setenv(VARIABLE, str(made))
        try:
            return load_task(name)
        except NoData as error:
            pytest.skip(str(error))


@pytest.fixture(scope="session", params=sorted(names("task")))
def task(request: pytest.FixtureRequest, made: Path) -> Task:
    return loaded(request.param, made)


def perfect_and_wrong(problem: Problem, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs that are right, and outputs that are not."""
    if isinstance(problem, Regression):
        return targets[:, None], targets[:, None] + 3 * problem.tolerance
    if isinstance(problem, Enhancement):
        return targets[:, 0], torch.randn(targets[:, 0].shape, generator=torch.Generator().manual_seed(0))
    if isinstance(problem, MultiLabel):
        return 2.0 * targets - 1, 1 - 2.0 * targets
    if isinstance(problem, Segmentation):
        known = targets.where(targets != problem.ignore, 0)
        maps = nn.functional.one_hot(known, problem.classes).movedim(-1, 1).float()
        return maps, -maps
    if isinstance(problem, Images):
        low, high = problem.span
        return targets, torch.where(targets < (low + high) / 2, high, low)
    if isinstance(problem, Boxes):
        return seeing(problem, targets), seeing(
            problem, torch.tensor([[[0, 0, 0, 0.01, 0.01]]]).expand(len(targets), -1, -1)
        )
    targets = problem.truth(targets) if isinstance(problem, SoftCounting) else targets
    sizes, labels = (
        (problem.sizes, problem.split(targets)) if isinstance(problem, Heads) else ([problem.shape[0]], [targets])
    )
    perfect = torch.cat([nn.functional.one_hot(y, size) for size, y in zip(sizes, labels, strict=True)], dim=1).float()
    return perfect, -perfect


def spoken(problem: FreeAnswers, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs that say the first of the answers (B, ways, n) by a lead of 1, and others that say
    token 1.
    """
    tokens = nn.functional.pad(answers[:, 0], (0, problem.length - answers.shape[2]), value=-1)
    lead = torch.ones(len(answers), problem.ways, problem.length * problem.rivals)
    parts = [(lead, tokens), (-lead, torch.ones_like(tokens))]
    right, wrong = (
        Spoken(leads, -lead[..., 0], lead[:, 0, 0], said).packed(problem.vocabulary) for leads, said in parts
    )
    return right, wrong


def seeing(problem: Boxes, targets: Tensor) -> Tensor:
    """Outputs whose first places see these objects, each with certainty; the others see nothing."""
    outputs = torch.zeros(len(targets), *problem.shape)
    outputs[..., problem.classes] = 30.0
    kinds, objects = targets[..., 0].long().where(targets[..., 0] >= 0, problem.classes), targets.shape[1]
    outputs[:, :objects, : problem.classes + 1] = 30.0 * nn.functional.one_hot(kinds, problem.classes + 1)
    outputs[:, :objects, problem.classes + 1 :] = targets[..., 1:]
    return outputs


def test_a_task_is_the_same_twice(task: Task, made: Path) -> None:
    again = loaded(task.name, made)
    assert (again.data_hash, again.definition_hash) == (task.data_hash, task.definition_hash)


def test_a_task_judges_perfect_and_wrong_answers(task: Task) -> None:
    for whole in task.splits.values():
        assert len(set(whole.samples)) == len(whole)
        split = whole.take(range(min(len(whole), JUDGED)))
        if isinstance(task.problem, FreeAnswers):
            perfect, wrong = spoken(task.problem, split.inputs[ANSWERS])
        else:
            perfect, wrong = perfect_and_wrong(task.problem, split.targets)
        assert perfect.shape == (len(split), *task.problem.shape)
        assert bool((task.problem.score(perfect, split.targets) == 1).all())
        assert not bool(task.problem.verdict(perfect, split.targets).fails.any())
        assert bool((task.problem.score(wrong, split.targets) == 0).all())
        assert bool(task.problem.verdict(wrong, split.targets).fails.all())
        verdict = task.problem.verdict(
            torch.randn(perfect.shape, generator=torch.Generator().manual_seed(0)), split.targets
        )
        assert torch.equal(verdict.losses["margin"] < 0, ~verdict.fails) or isinstance(task.problem, Regression)
        metrics = task.problem.metrics(task.problem.tally(perfect, split.targets))
        assert all(0 <= value <= 1 + 1e-9 for name, value in metrics.items() if name.split("_")[0] not in UNBOUNDED)


def test_a_stand_in_lies_in_the_range(task: Task) -> None:
    for modality in task.modalities:
        x = task.splits["test"].take([0]).inputs[modality.name]
        stand_in, (low, high) = modality.stand_in(x), modality.valid.over(x).ends
        assert stand_in.shape == x.shape and bool(((low <= stand_in) & (stand_in <= high)).all())
        modality.check(stand_in)  # raises where it is no valid input


def test_a_model_answers_each_sample_alone_and_finitely(system: Loaded, digits: Task) -> None:
    batch = digits.splits["test"].take(range(8))
    with torch.no_grad():
        outputs = system.module(batch.inputs, None)
        swapped = system.module({name: x.flip(0) for name, x in batch.inputs.items()}, None)
        nothing = system.module(batch.inputs, torch.zeros(8, 3, dtype=torch.bool))
    assert outputs.shape == (8, digits.width)
    assert bool(outputs.isfinite().all()) and bool(nothing.isfinite().all())
    torch.testing.assert_close(swapped.flip(0), outputs, rtol=1e-4, atol=1e-5)


def test_a_factored_model_is_its_two_halves(system: Loaded, digits: Task) -> None:
    if not isinstance(system.module, Factored):
        pytest.skip("not factored")
    batch = digits.splits["test"].take(range(8))
    present = torch.rand(8, 3, generator=torch.Generator().manual_seed(0)) < 0.7
    module = system.module
    with torch.no_grad():
        features = {name: module.encode(name, batch.inputs[name]) for name in module.encoded}
        assert torch.equal(module.fuse(features, present), module.forward(batch.inputs, present))


def test_a_model_can_be_attacked_in_everything_it_reads(system: Loaded, digits: Task) -> None:
    batch = digits.splits["test"].take(range(8))
    inputs = {name: x.clone().requires_grad_() for name, x in batch.inputs.items()}
    loss = digits.problem.loss(system.module(inputs, None), batch.targets).sum()
    reads = getattr(system.module, "encoded", digits.names)
    for name, gradient in zip(inputs, torch.autograd.grad(loss, list(inputs.values()), allow_unused=True), strict=True):
        assert (gradient is not None and bool(gradient.any())) == (name in reads), name


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in names(kind)])  # type: ignore[arg-type]
def test_every_name_has_a_summary(kind: str, name: str) -> None:
    said = summary(kind, name)  # type: ignore[arg-type]
    assert 10 < len(said) < 200
