"""The numbers that papers on CMU-MOSI and CMU-MOSEI report of a predicted sentiment in [-3, 3]."""

from __future__ import annotations

from torch import Tensor

from harness.tasks.problems.problem import regression_metrics

STRONGEST = 3


def sentiment_metrics(predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Metrics of predictions and targets (N,): MAE, Pearson's r, accuracy in seven and in two
    classes.

    Seven classes: clipped to ±3 and rounded, half to even. Two: above 0 or not, over all samples
    (``acc2_with_zero``) and over those whose target is not 0 (``acc2_without_zero``; 0 if all
    targets are 0).
    """
    seven = [x.double().clamp(-STRONGEST, STRONGEST).round() for x in (predictions, targets)]
    same = ((predictions > 0) == (targets > 0)).double()
    told = same[targets != 0]
    return {
        "acc2_with_zero": same.mean().item(),
        "acc2_without_zero": told.mean().item() if len(told) else 0.0,
        "acc7": (seven[0] == seven[1]).double().mean().item(),
        **{name: value for name, value in regression_metrics(predictions, targets).items() if name != "rmse"},
    }
