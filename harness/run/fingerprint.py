"""The fingerprint of a model in a run: its answers, and the comparison with another model's
answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from harness.storage.tensorfile import checksum, from_bytes, to_bytes

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES, POINTS, LABELS, DRAWS = 16, 4, 128, 32
CLEAN, RANGE, MISSING, LABELLED = "clean", "range", "missing ", "labels"
BEYOND = 6.0  # standard errors between the means of two random models' draws; fewer may be chance
ALIKE = 1e-3  # as a share of the spread of the answers: kernels of another machine may change this much
VARIANCE = "variance"
Answers = dict[str, "Tensor"]
"""Maps a condition to the outputs and, behind them, score, prediction and margin: float64
(B, width + 3), or (B, 0) where the model raised."""

Exactness = Literal["bits", "about", "random"]
JUDGED = 3  # columns behind the outputs: score, prediction and margin


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The answers of a model.

    Attributes:
        exactness: whether two calls gave the same bits, nearly the same numbers, or neither. In the
            last case its answers are the means of `DRAWS` draws.
        variances: of these draws, shaped as the answers.
    """

    answers: Answers
    exactness: Exactness
    variances: Answers = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many samples it was taken on."""
        return sum(len(self.answers[name]) for name in (CLEAN, LABELLED) if name in self.answers)

    @property
    def labels_digest(self) -> str:
        """SHA-256 of the answers to labels that the fixed samples lack; empty where they lack no
        label.
        """
        return checksum({LABELLED: self.answers[LABELLED]}) if LABELLED in self.answers else ""

    @property
    def digest(self) -> str:
        """SHA-256 of every bit of the answers to the fixed samples and points."""
        digest = hashlib.sha256()
        for name, x in sorted(self.answers.items()):
            if name == LABELLED:
                continue
            digest.update(f"{name} {tuple(x.shape)}".encode() + x.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def differing(self, other: Fingerprint, exact: bool) -> tuple[int, int]:
        """The number of samples whose answers differ, untouched or with a modality missing, and the
        number of such random points.

        Args:
            exact: compare bit for bit, if the model repeats its answers bit for bit. Otherwise
                answers may differ by `ALIKE` of their spread, and so may the verdict of a sample
                that is so near to failing.
        """
        import torch

        if not self.answers or not other.answers:  # one has hung, so they cannot be compared
            return 0, 0
        # earlier versions did not ask
        known = [name for name in self.answers if name != LABELLED or name in other.answers]
        rows = {name: self._apart(other, name, exact) for name in known}
        samples = torch.stack([apart for name, apart in rows.items() if name not in (RANGE, LABELLED)]).any(0)
        return int(samples.sum()) + int(rows.get(LABELLED, samples[:0]).sum()), int(rows[RANGE].sum())

    def _apart(self, other: Fingerprint, name: str, exact: bool) -> Tensor:
        """Which rows of a condition differ, bool (B,)."""
        ours, theirs = self.answers[name], other.answers.get(name)
        kinds = {self.exactness, other.exactness}
        tolerance = 0.0 if exact and kinds == {"bits"} else ALIKE * spread(self.answers[CLEAN][:, :-JUDGED])
        if "random" in kinds:
            return _beyond_chance(ours, theirs, [each.variances.get(name) for each in (self, other)], tolerance)
        return apart_rows(ours, theirs, tolerance)


def spread(outputs: Tensor) -> float:
    """The distance of the largest from the smallest output; a model may answer -inf for impossible
    classes.
    """
    seen = outputs[outputs.isfinite()]
    return float(seen.max() - seen.min()) if len(seen) else 0.0


def apart_rows(ours: Tensor, theirs: Tensor | None, tolerance: float) -> Tensor:
    """Which rows of answers differ, bool (B,)."""
    import torch

    if theirs is None or ours.shape != theirs.shape:
        return torch.ones(len(ours), dtype=torch.bool)
    if not ours.shape[1]:
        return torch.zeros(len(ours), dtype=torch.bool)
    if not tolerance:
        return ~same(ours, theirs, 0.0).all(1)
    margins = ours[:, -1], theirs[:, -1]
    return ~same(ours, theirs, tolerance)[:, :-JUDGED].all(1) | another_verdict(*margins, tolerance)


def _beyond_chance(ours: Tensor, theirs: Tensor | None, variances: Sequence[Tensor | None], tolerance: float) -> Tensor:
    """Which rows of the means of draws differ by more than their variances explain; no rows if the
    variances are unknown.
    """
    import torch

    if theirs is None or ours.shape != theirs.shape:
        return torch.ones(len(ours), dtype=torch.bool)
    known = [x for x in variances if x is not None and x.shape == ours.shape]
    if not known:
        return torch.zeros(len(ours), dtype=torch.bool)
    own = torch.stack(known).sum(0)
    error = (torch.maximum(own, own.nanmean(0, keepdim=True)) / DRAWS).sqrt()  # a row that never varied may yet
    return ((ours - theirs).abs() > tolerance + BEYOND * error).any(1)


def same(ours: Tensor, theirs: Tensor, tolerance: float) -> Tensor:
    """Which numbers differ by no more than the tolerance, bool; NaN equals NaN."""
    return ((ours - theirs).abs() <= tolerance) | (ours == theirs) | (ours.isnan() & theirs.isnan())


def another_verdict(ours: Tensor, theirs: Tensor, tolerance: float) -> Tensor:
    """Whether one margin (B,) means failure and the other does not, by more than the tolerance,
    bool (B,).
    """
    import torch

    return ((ours >= 0) != (theirs >= 0)) & (torch.maximum(ours.abs(), theirs.abs()) > tolerance)


def packed(prints: Mapping[str, Fingerprint]) -> bytes:
    """Fingerprints by model as a file's content."""
    tensors: Answers = {}
    for model, each in prints.items():
        tensors |= {json.dumps([model, each.exactness, name]): x for name, x in each.answers.items()}
        tensors |= {json.dumps([model, each.exactness, name, VARIANCE]): x for name, x in each.variances.items()}
    return to_bytes(tensors)


def unpacked(content: bytes) -> dict[str, Fingerprint]:
    """Unpack the bytes of `packed`.

    Raises:
        ValueError: the bytes are something else.
    """
    found: dict[str, Fingerprint] = {}
    for key, x in from_bytes(content).items():
        model, exactness, name, *rest = json.loads(key)
        mine = found.setdefault(model, Fingerprint({}, exactness))
        (mine.variances if rest == [VARIANCE] else mine.answers)[name] = x
    return found
