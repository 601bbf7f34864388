"""The field's numbers agree with the field's packages; bad targets are refused in a sentence."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from torch import Tensor

from attacks.errors import BadInput
from harness.tasks import Enhancement, Images, MultiLabel, Values
from harness.tasks.problems.distances import fid, floor, kid
from harness.tasks.problems.enhancement import si_sdr
from harness.tasks.problems.images import ssim

DRAWS = 100


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_labels_agree_with_scikit_learn() -> None:
    generator, problem = draws(), MultiLabel(4)
    for _ in range(DRAWS):
        targets = torch.randint(2, (20, 4), generator=generator)
        targets[0] = 1
        logits = torch.randn(20, 4, generator=generator) + targets
        found = problem.metrics(problem.tally(logits, targets))
        answers = (logits > 0).long().numpy()
        assert found["micro_f1"] == pytest.approx(f1_score(targets, answers, average="micro"))
        assert found["macro_f1"] == pytest.approx(f1_score(targets, answers, average="macro", zero_division=0))
        assert found["mean_average_precision"] == pytest.approx(
            average_precision_score(targets, logits, average="macro")
        )
        assert found["exact_match"] == pytest.approx(float((answers == targets.numpy()).all(1).mean()))


def test_values_by_numpy() -> None:
    generator, problem = draws(), Values((1.0, 0.5))
    targets, outputs = torch.randn(30, 2, generator=generator), torch.randn(30, 2, generator=generator)
    found = problem.metrics(problem.tally(outputs, targets))
    assert found["rmse 1"] == pytest.approx(float(np.sqrt(((outputs - targets)[:, 1].numpy() ** 2).mean())))
    assert found["correlation 0"] == pytest.approx(float(np.corrcoef(outputs[:, 0], targets[:, 0])[0, 1]), rel=1e-5)
    verdict = problem.verdict(outputs, targets)
    assert torch.equal(verdict.fails, ((outputs - targets).abs() > torch.tensor([1.0, 0.5])).any(1))
    assert torch.equal(problem.score(outputs, targets) < 0.5, verdict.fails)


def test_images_agree_with_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    generator, problem = draws(), Images((3, 16, 16))
    for _ in range(DRAWS):
        ours, theirs = (torch.rand(2, 3, 16, 16, generator=generator) for _ in range(2))
        assert ssim(ours, theirs, 1.0) == pytest.approx(
            functional.structural_similarity_index_measure(ours, theirs, data_range=1.0, reduction="none"), abs=1e-4
        )
        peak = functional.peak_signal_noise_ratio(ours, theirs, data_range=1.0, reduction="none", dim=(1, 2, 3))
        assert problem.metrics(problem.tally(ours, theirs))["psnr"] == pytest.approx(float(peak.mean()), abs=1e-4)


@dataclass(frozen=True)
class Means:
    """Means over the quarters of an image as features."""

    name: str = "means"
    width: int = 12

    def __call__(self, images: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


def test_fid_and_kid_agree_with_torchmetrics() -> None:
    frechet = pytest.importorskip("torchmetrics.image.fid")
    kernel = pytest.importorskip("torchmetrics.image.kid")
    generator = draws()
    for _ in range(DRAWS):
        ours, theirs = torch.randn(2, 40, 8, generator=generator).double()
        theirs = theirs * 1.5 + 0.2
        moments = [x for each in (ours, theirs) for x in (each.mean(0), each.T.cov())]
        assert fid(ours, theirs) == pytest.approx(float(frechet._compute_fid(*moments)), abs=1e-6)
        assert kid(ours, theirs) == pytest.approx(float(kernel.poly_mmd(ours, theirs)), abs=1e-9)


def test_a_set_is_at_no_distance_from_itself() -> None:
    images = torch.rand(50, 3, 8, 8, generator=draws())
    problem = Images((3, 8, 8), extractor=Means())
    found = problem.metrics(problem.tally(images, images))
    assert found["fid_means"] == pytest.approx(0, abs=1e-6) and found["kid_means"] < 0
    assert problem.metrics(problem.tally(images[:10], images[:10])).keys().isdisjoint({"fid_means"})


def test_the_floor_is_the_distance_between_the_halves() -> None:
    real = torch.randn(81, 8, generator=draws())
    for distance in (kid, fid):
        assert floor(distance, real) == distance(real[:40], real[40:80])
    assert abs(floor(kid, real)) < kid(real[:40], real[40:] + 1), "two samples of one distribution are near"
    for distance, few in ((kid, 3), (fid, 17)):
        with pytest.raises(BadInput, match=f"{few} images have halves of {few // 2}, .* give at least"):
            floor(distance, real[:few])


def test_an_extractor_of_too_many_features_is_refused() -> None:
    with pytest.raises(BadInput, match="has 32767 features: give at most 32766"):
        Images((3, 8, 8), extractor=Means(width=32767)).check_targets(torch.zeros(1, 3, 8, 8))


def test_si_sdr_agrees_with_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.audio")
    generator = draws()
    for _ in range(DRAWS):
        clean = torch.randn(3, 500, generator=generator)
        answer = clean + torch.rand(3, 1, generator=generator) * torch.randn(3, 500, generator=generator)
        reference = functional.scale_invariant_signal_distortion_ratio(answer, clean, zero_mean=True)
        torch.testing.assert_close(si_sdr(answer, clean), reference, atol=1e-3, rtol=1e-3)


def test_stoi_is_of_sounds_that_are_long_enough() -> None:
    stoi = pytest.importorskip("pystoi").stoi
    generator, rate = draws(), 10_000
    clean = torch.randn(1, 2 * rate, generator=generator)
    noisy = clean + torch.randn(1, 2 * rate, generator=generator)
    problem = Enhancement(2 * rate, sample_rate=rate)
    found = problem.metrics(problem.tally(noisy, torch.stack([clean, noisy], 1)))
    assert found["stoi"] == pytest.approx(stoi(clean[0].double().numpy(), noisy[0].double().numpy(), rate))
    short = Enhancement(400, sample_rate=rate)
    tally = short.tally(noisy[:, :400], torch.stack([clean, noisy], 1)[..., :400])
    assert "stoi" not in short.metrics(tally), "too short for the measure: left out of it"


def test_the_sounds_that_a_measure_leaves_out_are_counted() -> None:
    """Three of four are silent but for a moment, too short to measure."""
    pytest.importorskip("pystoi")
    generator, rate = draws(), 10_000
    clean = torch.randn(4, 2 * rate, generator=generator)
    clean[1:, 400:] = 0
    noisy = clean + 0.1 * torch.randn(4, 2 * rate, generator=generator)
    problem = Enhancement(2 * rate, sample_rate=rate)
    found = problem.metrics(problem.tally(noisy, torch.stack([clean, noisy], 1)))
    assert found["stoi_undefined"] == 0.75 and 0 < found["stoi"] <= 1


@pytest.mark.parametrize(("rate", "mode"), [(8_000, "nb"), (16_000, "wb")])
def test_pesq_is_that_of_the_package_in_the_mode_of_the_rate(rate: int, mode: str) -> None:
    pesq = pytest.importorskip("pesq").pesq
    generator, problem = draws(), Enhancement(rate, sample_rate=rate)
    clean = torch.randn(4, rate, generator=generator) * 0.1
    noisy = clean + 0.1 * torch.rand(4, 1, generator=generator) * torch.randn(4, rate, generator=generator)
    found = problem.metrics(problem.tally(noisy, torch.stack([clean, noisy], 1)))
    expected = [pesq(rate, c.double().numpy(), n.double().numpy(), mode) for c, n in zip(clean, noisy, strict=True)]
    assert found[f"pesq_{mode}"] == pytest.approx(sum(expected) / 4)


@pytest.mark.parametrize(
    "answer", [torch.zeros(1, 8000), torch.full((1, 8000), torch.nan), torch.full((1, 8000), 1e30)]
)
def test_an_answer_that_pesq_does_not_take_is_left_out(answer: torch.Tensor) -> None:
    clean = torch.randn(1, 8000, generator=draws())
    found = Enhancement(8000).metrics(Enhancement(8000).tally(answer, torch.stack([clean, clean], 1)))
    assert not [name for name in found if name.startswith("pesq")]


def test_there_is_no_pesq_at_other_rates(capfd: pytest.CaptureFixture[str]) -> None:
    """Nor does the package print its manual."""
    sound = torch.randn(1, 22_050, generator=draws())
    problem = Enhancement(22_050, sample_rate=22_050)
    found = problem.metrics(problem.tally(sound, torch.stack([sound, sound], 1)))
    assert not [name for name in found if name.startswith("pesq")] and not capfd.readouterr().out


@pytest.mark.parametrize(
    ("problem", "targets", "why"),
    [
        (MultiLabel(3), torch.zeros(4, 2, dtype=torch.int64), "give int64 \\(N, 3\\) of 0 and 1"),
        (MultiLabel(3), torch.full((4, 3), 2), "whether each label is there"),
        (MultiLabel(3, ("a",)), torch.zeros(4, 3, dtype=torch.int64), "name each label"),
        (MultiLabel(0), torch.zeros(4, 0, dtype=torch.int64), "takes 1 to 32768 labels"),
        (Values((1.0,)), torch.zeros(4, 2), "one for each tolerance"),
        (Values((1.0, 1.0)), torch.tensor([[0.0, torch.inf]]), "finite real numbers"),
        (Images((1, 4, 4)), torch.zeros(2, 4, 4), "give images"),
        (Images((1, 4, 4)), torch.full((2, 1, 4, 4), 2.0), "reach beyond"),
        (Enhancement(8), torch.zeros(2, 8), "the clean sound and the noisy one"),
        (Enhancement(8), torch.zeros(2, 2, 8), "a clean sound is silent"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused(problem: object, targets: torch.Tensor, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        problem.check_targets(targets)  # type: ignore[attr-defined]


@pytest.mark.parametrize("tolerances", [(1.0, 0.0), (), 0.1, (0.1, float("nan")), (0.1, float("inf")), ("a",)], ids=str)
def test_tolerances_that_cannot_be_meant_are_refused(tolerances: object) -> None:
    with pytest.raises(BadInput, match="tolerances above 0"):
        Values(tolerances)  # type: ignore[arg-type]
