"""Enhancement: a clean sound from a noisy one, judged by the improvement over the noisy sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attacks.errors import BadInput
from attacks.objective import Verdict

TINY = 1e-8
FLOOR_DB, CEILING_DB = -60.0, 60.0  # ratios are kept between these
NOT_DEFINED = float("-inf")  # of a measure: the sound is too short, or its package is not installed
PESQ_MODES = {8000: "nb", 16000: "wb"}  # by sample rate


@dataclass(frozen=True)
class Enhancement:
    """A waveform (T,); outputs (B, T), targets (B, 2, T): the clean sound, and the noisy one that
    the model was given, untouched.

    The score is the improvement of the scale-invariant signal-to-distortion ratio (SI-SDR, Le Roux
    et al., ICASSP 2019) over the noisy sound, as a share of `best`, from 0 to 1. A sample has
    failed when its score falls below a share of its untouched score; at threshold 0, when the
    answer is no better than the noisy sound.

    Attributes:
        length: T.
        best: the improvement of score 1, in decibels.
        sample_rate: in Hz, for STOI and PESQ. PESQ (ITU-T P.862) exists at 8,000 (narrow band) and
            at 16,000 (wide band).
        thresholds: shares of the untouched score.
    """

    length: int
    best: float = 20.0
    sample_rate: int = 8000
    thresholds: tuple[float, ...] = (0.5, 0.0)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    def check_targets(self, targets: Tensor) -> None:
        if not targets.is_floating_point() or tuple(targets.shape[1:]) != (2, self.length):
            raise BadInput(
                f"targets have shape {tuple(targets.shape)} of {targets.dtype}: give real numbers (N, 2,"
                f" {self.length}), the clean sound and the noisy one"
            )
        if not bool(targets.isfinite().all()) or not bool(targets[:, 0].any(1).all()):
            raise BadInput("a clean sound is silent, or not finite: leave that sample out")

    def improvement(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """SI-SDR of the answer less that of the noisy sound, in decibels, (B,)."""
        clean, noisy = targets.unbind(1)
        return si_sdr(outputs, clean) - si_sdr(noisy, clean)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return -si_sdr(outputs, targets[:, 0])

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (self.improvement(outputs, targets) / self.best).clamp(0, 1)

    def verdict(self, outputs: Tensor, targets: Tensor, floor: Tensor | None = None) -> Verdict:
        """Whether each score is below its floor (B,), or is 0; without a floor, below the first
        threshold.
        """
        improvement = self.improvement(outputs, targets)
        scores = (improvement / self.best).clamp(0, 1)
        floor = torch.full_like(scores, self.thresholds[0]) if floor is None else floor
        margin = self.best * floor.to(improvement.dtype) - improvement
        return Verdict({"margin": margin}, margin >= 0, scores=scores.detach())

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        """How noisy the sound of a target is; what an answer gains."""
        if targets is None:
            return [f"{value:.1f} dB" for value in si_sdr(answers[:, 1], answers[:, 0]).tolist()]
        return [f"{value:+.1f} dB" for value in self.improvement(answers, targets).tolist()]

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Improvement and SI-SDR in decibels, STOI and PESQ; `NOT_DEFINED` where there is none."""
        clean = targets[:, 0]
        pairs = zip(clean.cpu(), outputs.detach().cpu(), strict=True)
        perceived = [_perceived(*each, self.sample_rate) for each in pairs]
        ratios = torch.stack([self.improvement(outputs, targets), si_sdr(outputs, clean)], 1).double()
        return torch.cat([ratios, torch.tensor(perceived, dtype=torch.float64, device=outputs.device)], 1)

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        """The means of SI-SDR improvement, SI-SDR, and of STOI and PESQ over the samples that have
        them; PESQ has its mode in its name. `stoi_undefined` is the share of the samples without
        STOI, of a sound too short or an answer that is silent; PESQ has the same.
        """
        pesq = f"pesq_{PESQ_MODES.get(self.sample_rate, '')}"
        ratios = {"si_sdr_improvement": tallies[:, 0].mean().item(), "si_sdr": tallies[:, 1].mean().item()}
        return {**ratios, **_over_defined("stoi", tallies[:, 2]), **_over_defined(pesq, tallies[:, 3])}


def _over_defined(name: str, values: Tensor) -> dict[str, float]:
    """The mean of the defined values and the share of the others, if any value is defined."""
    defined = values.isfinite()
    if not bool(defined.any()):
        return {}
    return {name: values[defined].mean().item(), f"{name}_undefined": 1 - defined.double().mean().item()}


def si_sdr(answer: Tensor, clean: Tensor) -> Tensor:
    """The scale-invariant signal-to-distortion ratio in decibels, (B,), of zero-mean (B, T)."""
    answer, clean = (x - x.mean(1, keepdim=True) for x in (answer, clean))
    share = (answer * clean).sum(1, keepdim=True) / clean.square().sum(1, keepdim=True).clamp_min(TINY)
    target = share * clean
    signal, noise = target.square().sum(1), (answer - target).square().sum(1)
    ratio = 10 * torch.log10((signal + TINY**2) / (noise + TINY**2))
    return ratio.clamp(FLOOR_DB, CEILING_DB)


def _perceived(clean: Tensor, answer: Tensor, rate: int) -> tuple[float, float]:
    """STOI and PESQ of one sound."""
    return _stoi(clean, answer, rate), _pesq(clean, answer, rate)


def _stoi(clean: Tensor, answer: Tensor, rate: int) -> float:
    try:
        from pystoi import stoi
    except ImportError:
        return NOT_DEFINED
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns, and answers a number, where too few frames are left
        try:
            return float(stoi(clean.double().numpy(), answer.double().numpy(), rate, extended=False))
        except (RuntimeWarning, ValueError, IndexError):
            return NOT_DEFINED


def _pesq(clean: Tensor, answer: Tensor, rate: int) -> float:
    try:
        from pesq import PesqError, pesq
    except ImportError:
        return NOT_DEFINED
    if rate not in PESQ_MODES:  # the package would print its manual for each sound
        return NOT_DEFINED
    with np.errstate(all="ignore"):  # it divides by the peak of a silent answer
        try:
            return float(pesq(rate, clean.double().numpy(), answer.double().numpy(), PESQ_MODES[rate]))
        except (PesqError, ValueError):
            return NOT_DEFINED
