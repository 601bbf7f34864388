"""Answers in words: a model says a text, and a judge scores it.

Greedy decoding says a given answer exactly when, at each of its positions, the end included, the
right token leads, given the right ones before. So the margin of an answer is its smallest lead. One
pass over the answer gives all leads, with a gradient. What the model says in other words is judged
as text, and is then an answer whose margin counts, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from attacks.errors import BadInput, plain, shown
from attacks.objective import Verdict
from harness.tasks.arguments import check_lists, check_whole
from harness.tasks.judges import RATES, Judge, Rates, judge_named

ANSWERS = "answers"  # the extra input of the acceptable answers' tokens, int64 (ways, length), -1 behind the end
MOST_RIVALS = 4096  # leads over single tokens that an output holds
CLOSE = 1e-6  # a margin of the verdict is at least so large: what was said decides on which side it is


@dataclass(frozen=True, eq=False)
class Spoken:
    """The parts of an output of a model that answers in words.

    Attributes:
        leads: of each acceptable answer (B, ways, length · rivals): how far the token at each
            position leads, over each other token or over the nearest one (see
            `FreeAnswers.rivals`). Where there is nothing to lead over, the largest lead stands.
        likelihoods: the mean log-likelihood per token of each answer, (B, ways).
        lead: the smallest lead of what is said, (B,).
        tokens: what is said, int64 (B, length), -1 behind its end.
    """

    leads: Tensor
    likelihoods: Tensor
    lead: Tensor
    tokens: Tensor

    def packed(self, vocabulary: int) -> Tensor:
        """As one tensor; tokens as shares of the vocabulary, so that they do not outweigh leads."""
        shares = (self.tokens + 1).to(self.leads.dtype) / (vocabulary + 1)
        return torch.cat([self.leads.flatten(1), self.likelihoods, self.lead[:, None], shares], 1)

    @property
    def best(self) -> Tensor:
        """The smallest lead of the acceptable answer that leads most, (B,)."""
        return self.leads.amin(2).amax(1)


@dataclass(frozen=True)
class FreeAnswers:
    """A free answer in words; targets int64 (B,) number the rows of `right`.

    Models are `harness.models.words.speaking`.

    Attributes:
        right: of each target the acceptable answers.
        decode: the text of a list of tokens, the last of which may be the end token.
        vocabulary: how many tokens there are.
        length: how many tokens are said at most.
        ways: how many of the acceptable answers have a margin; see `tokens_of`.
        judge: a name of `harness.tasks.judges.JUDGES`, or a function (said, right) of texts that
            gives a score in [0, 1].
        passes: the score from which an answer is right.
    """

    right: tuple[tuple[str, ...], ...]
    decode: Callable[[Sequence[int]], str] = field(repr=False)
    vocabulary: int
    length: int
    ways: int = 1
    judge: str | Judge = "exact"
    passes: float = 0.5

    def __post_init__(self) -> None:
        for name in ("vocabulary", "length", "ways"):
            check_whole(f"{name} of free answers", getattr(self, name))
        if not isinstance(self.passes, float | int) or not 0 < self.passes <= 1:
            raise BadInput(f"passes of free answers is {shown(self.passes)}: give a score above 0, up to 1")
        check_lists("answers", self.right)
        if empty := [row for row, each in enumerate(self.right) if not each]:
            raise BadInput(f"target {empty[0]} has no acceptable answer: give at least one text")
        _ = self._judge

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.ways * self.length * self.rivals + self.ways + 1 + self.length,)

    @property
    def rivals(self) -> int:
        """Over how many tokens each lead is reported: over all for one acceptable answer from a
        small vocabulary, so that the search may aim at each; else over the nearest.
        """
        return self.vocabulary if self.ways == 1 and self.length * self.vocabulary <= MOST_RIVALS else 1

    @cached_property
    def _judge(self) -> tuple[str, Judge]:
        return judge_named(self.judge)

    @property
    def _rates(self) -> Rates | None:
        return RATES.get(self.judge) if isinstance(self.judge, str) else None

    def spoken(self, outputs: Tensor) -> Spoken:
        """The parts of outputs (B, *shape)."""
        widths = [self.ways * self.length * self.rivals, self.ways, 1, self.length]
        leads, likelihoods, lead, shares = outputs.split(widths, 1)
        tokens = (shares.detach().double() * (self.vocabulary + 1)).round().long().clamp(0, self.vocabulary) - 1
        return Spoken(leads.unflatten(1, (self.ways, -1)), likelihoods, lead.squeeze(1), tokens)

    def check_targets(self, targets: Tensor) -> None:
        if (
            targets.dtype != torch.int64
            or targets.ndim != 1
            or not bool(((targets >= 0) & (targets < len(self.right))).all())
        ):
            raise BadInput(
                f"targets must be whole numbers (int64) from 0 to {len(self.right) - 1}, one per sample: they number"
                " the rows of `right`"
            )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy of a token of the first acceptable answer."""
        return -self.spoken(outputs).likelihoods[:, 0]

    def predictions(self, outputs: Tensor) -> Tensor:
        """What is said, as tokens (B, length)."""
        return self.spoken(outputs).tokens

    def texts(self, tokens: Tensor) -> list[str]:
        """The texts of tokens (B, length)."""
        return [self.decode([token for token in row if token >= 0]) for row in tokens.tolist()]

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        said = zip(self.texts(self.predictions(outputs)), targets.tolist(), strict=True)
        return torch.tensor([self._judged(text, self.right[row]) for text, row in said], device=outputs.device)

    def _judged(self, said: str, right: Sequence[str]) -> float:
        """The judge's score of a text.

        Raises:
            BadInput: the judge raises, or its score is no number from 0 to 1.
        """
        name, judge = self._judge
        where = f"the text {shown(said)}, where {shown(list(right))} is right"
        try:
            given = judge(said, right)
            score = float(given)
        except Exception as error:  # of a user's judge
            raise BadInput(
                f"judge {name!r} raises {type(error).__name__}: {plain(str(error))} on {where}: mend the judge"
            ) from error
        if not 0 <= score <= 1:
            raise BadInput(f"judge {name!r} gives the score {shown(given)} to {where}: a score is a number from 0 to 1")
        return score

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        """The margin is that of the acceptable answer that leads most; or of what is said, where
        that is right in other words.
        """
        spoken = self.spoken(outputs)
        fails, best = self.score(outputs, targets) < self.passes, spoken.best
        lead = torch.where(fails, best, torch.maximum(best, spoken.lead))
        margin = torch.where(fails, (-lead).clamp_min(CLOSE), (-lead).clamp_max(-CLOSE))
        losses = {"margin": margin, "cross_entropy": -spoken.likelihoods.amax(1)}
        return Verdict(losses, fails, self._positions(spoken, fails, margin) if self.ways == 1 else None)

    def _positions(self, spoken: Spoken, fails: Tensor, margin: Tensor) -> Tensor:
        """How far other tokens are ahead at the positions of the only acceptable answer, as a
        classifier's margins (B, 1 + length · rivals). Where something else decides, all are the
        margin.
        """
        decides = fails == (spoken.best <= 0)
        ahead = torch.where(decides[:, None], -spoken.leads[:, 0], margin[:, None])
        return torch.cat([torch.full_like(margin[:, None], float("-inf")), ahead], 1)

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        """What is said, from tokens (B, length); or the first acceptable answer, from targets."""
        if answers.ndim == 1:
            return [self.right[row][0] for row in answers.tolist()]
        return self.texts(answers)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The score, whether what is said is right, and what the judge's rates count."""
        score = self.score(outputs, targets).double()
        columns = [score, (score >= self.passes).double()]
        if rates := self._rates:
            said = zip(self.texts(self.predictions(outputs)), targets.tolist(), strict=True)
            counts = [rates.count(text, self.right[row]) for text, row in said]
            columns += score.new_tensor(counts).reshape(len(score), 2 * len(rates.names)).unbind(1)
        return torch.stack(columns, 1)

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        """The mean score, named by the judge, the share of right answers, and the judge's rates."""
        found = {self._judge[0]: float(tallies[:, 0].mean()), "accuracy": float(tallies[:, 1].mean())}
        errors, most = tallies[:, 2::2].sum(0), tallies[:, 3::2].sum(0).clamp_min(1)
        names = self._rates.names if self._rates else ()
        return found | dict(zip(names, (errors / most).tolist(), strict=True))


def tokens_of(right: Sequence[Sequence[str]], encode: Callable[[str], Sequence[int]], end: int, ways: int) -> Tensor:
    """The tokens of acceptable answers as the extra input `ANSWERS`, int64 (N, ways, length): each
    ends with the token `end`, and -1 fills the rest. The most frequent answers of a sample come
    first; where it has fewer than `ways`, its first stands again.

    Raises:
        BadInput: a sample has no acceptable answer, or one that is not a text, or `ways` is not a
            whole number from 1.
    """
    check_whole("ways", ways)
    check_lists("answers", right)
    rows = []
    for number, texts in enumerate(right):
        if not texts:
            raise BadInput(f"sample {number} has no acceptable answer: give at least one text")
        ranked = sorted(dict.fromkeys(texts), key=lambda text: -list(texts).count(text))[:ways]
        coded = [[*encode(text), end] for text in ranked]
        rows.append(coded + [coded[0]] * (ways - len(coded)))
    longest = max(len(coded) for row in rows for coded in row)
    return torch.tensor([[coded + [-1] * (longest - len(coded)) for coded in row] for row in rows])
