"""Translation: what the papers state of U-Nets, fusion and channel exchange, in numbers."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.engine.loading import build_model
from harness.models.dense.cen_translation import CenTranslation, cen_translation
from harness.models.dense.exchange import ensembled, penalised
from harness.models.dense.pix2pix import Translator, UNet, pix2pix, pix2pix_of, widths
from harness.models.dense.pix2pix_recipe import Discriminator, Pix2Pix
from harness.models.dense.translation_fusion import Operation, Place, apart, translation_fusion
from harness.models.protocols import Factored
from harness.tasks import Batch, Images, Modality, Task
from harness.training.train import Training, fit

SAMPLES = 6
SPAN = (0.0, 255.0)
HERE = torch.ones(SAMPLES, 2, dtype=torch.bool)
BUILDERS = {
    "pix2pix": pix2pix,
    "cen": lambda task: cen_translation(task, theta=0.1, gamma=0.1),
    **{
        f"{operation}-{place}": lambda task, operation=operation, place=place: translation_fusion(
            task, operation, place
        )
        for operation, place in product(get_args(Operation), get_args(Place))
    },
}


def small(size: tuple[int, int] = (32, 48), channels: tuple[int, int] = (1, 3), colour: float | None = None) -> Task:
    """A task of depth and normals to an image, of one colour or of noise."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"depth": (channels[0], *size), "normal": (channels[1], *size)}
    modalities = tuple(Modality(name, shape, "image", 0.0, 1.0) for name, shape in shapes.items())
    inputs = {name: torch.rand(SAMPLES, *shape, generator=generator) for name, shape in shapes.items()}
    targets = 255 * torch.rand(SAMPLES, 3, *size, generator=generator)
    targets = targets if colour is None else torch.full_like(targets, 255 * colour)
    splits = {
        split: Batch(tuple(f"{split}{row}" for row in range(SAMPLES)), inputs, targets, ("all",) * SAMPLES)
        for split in ("train", "val", "test")
    }
    return Task("small", modalities, Images((3, *size), SPAN), splits, duplicates="allowed")


def scattered(model: nn.Module) -> nn.Module:
    """The model with scales of norms on both sides of any threshold."""
    generator = torch.Generator().manual_seed(1)
    for part in model.modules():
        if isinstance(part, nn.InstanceNorm2d):
            nn.init.uniform_(part.weight, 0.0, 0.2, generator)
            nn.init.uniform_(part.bias, -0.2, 0.2, generator)
    return model.eval()


def net(name: str, task: Task) -> Translator:
    torch.manual_seed(0)
    model = scattered(BUILDERS[name](task))
    assert isinstance(model, Translator)
    return model


@pytest.fixture(scope="module")
def task() -> Task:
    return small()


@pytest.mark.parametrize("name", BUILDERS)
def test_a_sample_is_answered_alone_as_in_a_batch_and_twice_alike(name: str, task: Task) -> None:
    model, inputs = net(name, task), task.splits["test"].inputs
    whole = model(inputs)
    assert whole.shape == (SAMPLES, 3, 32, 48)
    assert bool(((whole >= SPAN[0]) & (whole <= SPAN[1])).all())
    assert torch.equal(whole, model(inputs))
    alone = torch.cat([model({key: x[row : row + 1] for key, x in inputs.items()}) for row in range(SAMPLES)])
    torch.testing.assert_close(alone, whole, rtol=0, atol=1e-3)


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("name", BUILDERS)
def test_what_is_missing_has_no_influence(name: str, column: int, task: Task) -> None:
    model, inputs = net(name, task), task.splits["test"].inputs
    present = HERE.clone()
    present[:, column] = False
    moved = {**inputs, task.names[column]: 1 - inputs[task.names[column]]}
    assert torch.equal(model(inputs, present), model(moved, present))
    assert not torch.equal(model(inputs), model(moved))
    assert bool(model(inputs, torch.zeros_like(present)).isfinite().all())


@pytest.mark.parametrize("name", BUILDERS)
def test_halves_equal_the_whole(name: str, task: Task) -> None:
    model, inputs = net(name, task), task.splits["test"].inputs
    if not isinstance(model, Factored):
        pytest.skip("not factored")
    features = {key: model.encode(key, inputs[key]) for key in model.encoded}
    assert torch.equal(model.fuse(features, None), model(inputs))


@pytest.mark.parametrize("name", BUILDERS)
def test_everything_learns_and_is_attacked(name: str, task: Task) -> None:
    model = net(name, task).train()
    inputs = {key: x.clone().requires_grad_() for key, x in task.splits["test"].inputs.items()}
    model(inputs).square().mean().backward()
    assert all(x.grad is not None and bool(x.grad.any()) for x in inputs.values())
    recipe = Pix2Pix(batch_size=SAMPLES)
    (stage,) = recipe.setup(model, task, 1)
    stage.optimizer.zero_grad()
    loss = recipe.step(task.splits["train"], stage)
    judged = [x.grad.clone() for x in recipe.judge.parameters() if x.grad is not None]
    loss.backward()
    assert all(x.grad is not None for x in model.parameters())
    assert judged and all(map(torch.equal, judged, (x.grad for x in recipe.judge.parameters()))), "the model's loss"


def test_pix2pix_is_the_u_net_of_the_paper() -> None:
    """As written in the paper, from its layers, and with its sizes."""
    task = small((32, 32))
    model = scattered(pix2pix_of(task, "normal", width=4, levels=3))
    assert isinstance(model, UNet)
    x = task.splits["test"].inputs["normal"]
    down, up = model.encoder.convolutions, model.decoder.convolutions
    first = down[0](2 * x - 1)
    second = F.instance_norm(down[1](F.leaky_relu(first, 0.2)), weight=model.encoder.norms[0][1].weight)
    second = second + model.encoder.norms[0][1].bias[:, None, None]
    third = down[2](F.leaky_relu(second, 0.2))
    inner, outer = model.decoder.norms[0]
    joined = torch.cat([inner(up[0](F.relu(third))), second], 1)
    joined = torch.cat([outer(up[1](F.relu(joined))), first], 1)
    expected = 127.5 + 127.5 * torch.tanh(up[2](F.relu(joined)))
    torch.testing.assert_close(model({"normal": x}), expected, rtol=0, atol=1e-3)
    assert widths(64, 8) == [64, 128, 256, 512, 512, 512, 512, 512]


def test_the_published_size_is_that_of_the_paper() -> None:
    task = small((256, 256))
    model = pix2pix_of(task, "normal", width=64, levels=8)
    assert 54_000_000 < sum(x.numel() for x in model.parameters()) < 55_000_000
    drops = [each.p for each in model.decoder.dropouts]
    assert drops == [0.5] * 3 + [0.0] * 4
    judge = Discriminator(6, 64)
    assert judge(*torch.zeros(2, 1, 3, 256, 256)).shape == (1, 1, 30, 30), "a patch of 70×70 pixels"


@pytest.mark.parametrize("name", ["depth", "normal"])
def test_with_one_modality_channel_exchange_is_a_plain_u_net(name: str, task: Task) -> None:
    alone = CenTranslation(task, [name], theta=1e9, sparsity=0.0, gamma=0.2, width=8, levels=4)
    plain = pix2pix_of(task, name, width=8, levels=4)
    weights = {key: x for key, x in alone.state_dict().items() if key != "alpha"}
    plain.load_state_dict(weights)
    inputs = task.splits["test"].inputs
    assert torch.equal(alone.eval()(inputs), plain.eval()(inputs))


def test_without_a_threshold_the_branches_are_independent(task: Task) -> None:
    """θ = 0: two U-Nets that share their convolutions."""
    model = scattered(cen_translation(task, theta=0.0, width=8))
    assert isinstance(model, CenTranslation)
    inputs = task.splits["test"].inputs
    drawn = model.branches(model.tiled(inputs), HERE)
    for branch, image in enumerate(model.tiled(inputs)):
        alone = CenTranslation(task, ["normal"], theta=0.0, sparsity=0.0, gamma=0.2, width=8, levels=4).eval()
        kept = {
            key.replace(f".norms.{branch}.", ".norms.0."): x
            for key, x in model.state_dict().items()
            if key != "alpha" and f".norms.{1 - branch}." not in key
        }
        alone.load_state_dict({**kept, "alpha": torch.zeros(1)})
        assert torch.equal(alone.branches([image], HERE[:, :1])[0], drawn[branch])


def test_a_branch_whose_other_is_missing_runs_alone(task: Task) -> None:
    model = scattered(cen_translation(task, theta=0.1, width=8))
    assert isinstance(model, CenTranslation)
    inputs, present = task.splits["test"].inputs, HERE.clone()
    present[:, 1] = False
    model_alone = scattered(cen_translation(task, theta=0.0, width=8))
    model_alone.load_state_dict(model.state_dict())
    assert isinstance(model_alone, CenTranslation)
    alone = model_alone.branches(model_alone.tiled(inputs), HERE)[0]
    torch.testing.assert_close(model(inputs, present), model.scaled(alone), rtol=0, atol=1e-4)


def test_the_loss_of_the_ensemble_moves_alpha_alone(task: Task) -> None:
    model = scattered(cen_translation(task, theta=0.1, width=8)).train()
    assert isinstance(model, CenTranslation)
    lesson = model.lesson(task.splits["train"].inputs)
    assert lesson.ensemble is not None
    lesson.ensemble.square().mean().backward()
    moved = {name for name, x in model.named_parameters() if x.grad is not None and bool(x.grad.any())}
    assert moved == {"alpha"}


def test_the_ensemble_is_never_judged(task: Task) -> None:
    model = cen_translation(task, width=8)
    recipe, seen = Pix2Pix(batch_size=SAMPLES), []
    (stage,) = recipe.setup(model, task, 1)
    recipe.judge.register_forward_pre_hook(lambda module, images: seen.append(images[1]))
    recipe.step(task.splits["train"], stage)
    drawn = model.lesson(task.splits["train"].inputs)
    assert len(seen) == 6, "each branch: the target and the image in the judge's step, the image again in the model's"
    assert drawn.ensemble is not None
    assert not any(image.shape == drawn.ensemble.shape and torch.equal(image, drawn.ensemble) for image in seen)


def test_the_weights_of_the_ensemble_are_a_softmax_over_what_is_present() -> None:
    images, alpha = [torch.zeros(2, 1, 1, 1), torch.ones(2, 1, 1, 1)], torch.tensor([0.0, 1.0])
    here = torch.tensor([[True, True], [False, True]])
    found = ensembled(images, alpha, here).flatten()
    torch.testing.assert_close(found, torch.stack([alpha.softmax(0)[1], torch.tensor(1.0)]))


def test_each_branch_is_penalised_in_its_own_half() -> None:
    scales = [torch.full((5,), 1.0).requires_grad_(), torch.full((5,), -1.0).requires_grad_()]
    penalised(scales).backward()
    halves = [scale.grad for scale in scales]
    assert all(each is not None for each in halves)
    assert halves[0].ne(0).tolist() == [True] * 3 + [False] * 2
    assert halves[1].ne(0).tolist() == [False] * 3 + [True] * 2


def test_the_share_of_exchanged_channels_is_reported(task: Task) -> None:
    model = cen_translation(task, theta=0.1, gamma=0.2, width=8)
    model.scales()[0][1].data[:4] = 0.0
    assert model.measured() == {
        "exchanged 2 depth": 0.0,
        "exchanged 2 normal": 0.25,
        "exchanged 3 depth": 0.0,
        "exchanged 3 normal": 0.0,
        "weight_depth": 0.5,
        "weight_normal": 0.5,
    }


def test_streams_are_fused_at_the_place(task: Task) -> None:
    where = {place: translation_fusion(task, "concat", place, 8, 4) for place in get_args(Place)}
    assert {place: model.at for place, model in where.items()} == {"early": 0, "middle": 1, "late": 3, "all": 3}
    joins = {place: [type(each).__name__ for each in model.joins] for place, model in where.items()}
    assert joins == {
        "early": ["Concat"],
        "middle": ["Average", "Concat"],
        "late": ["Average"] * 3 + ["Concat"],
        "all": ["Concat"] * 4,
    }
    assert translation_fusion(small((256, 256)), "concat", "middle", 2, 8).at == 3, "the fourth of eight"


def test_aligned_maps_are_those_of_one_distribution() -> None:
    ours = torch.randn(8, 4, 3, 3)
    assert float(apart(ours, ours)) == pytest.approx(0, abs=1e-6)
    assert float(apart(ours, ours + 5)) > float(apart(ours, ours + 0.1)) > 0


def test_alignment_is_learnt_by_its_penalty(task: Task) -> None:
    inputs = task.splits["train"].inputs
    aligned, averaged = (translation_fusion(task, each, "late", 8) for each in ("align", "average"))
    assert isinstance(aligned.lesson(inputs).penalty, Tensor) and averaged.lesson(inputs).penalty == 0.0


@pytest.mark.parametrize("name", ["pix2pix", "pix2pix-normal", "translation-fusion?operation=align", "cen-translation"])
def test_the_recipe_lowers_the_error(name: str) -> None:
    task = small((16, 16), colour=0.2)
    recipe = Pix2Pix(learning_rate=1e-2, batch_size=3, discriminator_width=4)
    with pytest.raises(BadInput, match="images of 16×16 pixels are too small for its discriminator: train on 24×24"):
        recipe.setup(build_model(name, task), task, 1)
    task = small((32, 32), colour=0.2)
    joined = "&" if "?" in name else "?"
    training = Training("small", f"{name}{joined}width=4", "pix2pix", epochs=15)
    model, score = fit(training, task, recipe, torch.device("cpu"), Console(quiet=True))
    assert score > 0.5, "an untrained model answers the middle of the range, whose score is 0"
    assert not model.training


def test_other_tasks_are_refused(digits: Task) -> None:
    for build in (pix2pix, translation_fusion, cen_translation):
        with pytest.raises(BadInput, match=r"'digits' asks for answers of shape \(10,\)"):
            build(digits)
        with pytest.raises(BadInput, match="36×48 pixels, which cannot be halved 4 times"):
            build(small((36, 48)))
    assert pix2pix(small((36, 48)), levels=2)(small((36, 48)).splits["test"].inputs).shape == (SAMPLES, 3, 36, 48)
    with pytest.raises(BadInput, match=r"'depth' of task 'small' has 2 channels, and branches .* take 1 or 3"):
        cen_translation(small(channels=(2, 3)))
    with pytest.raises(BadInput, match="recipe 'pix2pix' trains models that translate images, not Linear"):
        Pix2Pix().setup(nn.Linear(1, 1), small(), 1)
