"""HotFlip (Ebrahimi et al., ACL 2018): the fewest tokens to change, greedily, with a beam.

One gradient ranks every replacement of a token to first order; the most promising are tried by a
forward pass, and the best few texts are edited further. Several texts take turns, in the order of
the strengths at which their budgets grow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.edits.tokens import replacements
from attacks.objective import Named, judged_gradient, refuse_nan
from attacks.region import Inputs, Region, take
from attacks.scenario import Ball
from attacks.search_state import SearchState

BEAM = 3  # texts kept after each edit
CANDIDATES = 32  # replacements tried on each of them
MARGIN = Named("margin")
NEVER = float("-inf")


@dataclass(frozen=True, eq=False)
class Edited:
    """The best texts after one more edit.

    Attributes:
        strength: the strength that this many edits need.
        rows: the samples that were edited: those with a larger best known strength, and a token
            left to change.
        texts: the edited modalities of these rows.
    """

    strength: float
    rows: Tensor
    texts: Inputs


@dataclass(frozen=True, eq=False)
class Beam:
    """Texts being edited.

    Attributes:
        texts: per modality, (B, BEAM, positions, vocabulary).
        alive: which of them are texts, bool (B, BEAM).
    """

    texts: Inputs
    alive: Tensor

    @staticmethod
    def of(region: Region) -> Beam:
        """The untouched texts."""
        texts = {
            ball.modality: _matrix(region.inputs[ball.modality])[:, None].repeat(1, BEAM, 1, 1)
            for ball in region.scenario.edits
        }
        alive = torch.zeros(len(region), BEAM, dtype=torch.bool, device=next(iter(texts.values())).device)
        alive[:, 0] = True
        return Beam(texts, alive)

    def take(self, rows: Tensor) -> Beam:
        return Beam(take(self.texts, rows), self.alive[rows])

    def put(self, rows: Tensor, other: Beam) -> Beam:
        texts = {name: x.index_copy(0, rows, other.texts[name]) for name, x in self.texts.items()}
        return Beam(texts, self.alive.index_copy(0, rows, other.alive))


def hotflip(state: SearchState) -> Iterator[Edited]:
    """Edit the texts of a state, one token more each time, with everything else untouched, and
    propose the texts that fail.

    A sample leaves when its best known strength, also one found by the caller between two edits,
    is reached.

    Raises:
        ModelBroke: the model answers NaN.
    """
    region, beam = state.region, Beam.of(state.region)
    free = {ball.modality: _replaceable(region, ball) for ball in region.scenario.edits}
    movable = {name: mask.any(-1).sum(1) for name, mask in free.items()}
    for strength, name, count in _turns(region.scenario.edits, movable, state.limit):
        rows = ((state.best.strength > strength) & (movable[name] >= count)).nonzero().squeeze(1)
        if not len(rows):
            continue
        chosen, value = _edited_once(state, rows, beam.take(rows), name, free[name][rows])
        beam = beam.put(rows, chosen)
        texts = {name: x[:, 0].reshape(len(rows), *region.inputs[name].shape[1:]) for name, x in chosen.texts.items()}
        met = (value >= 0).nonzero().squeeze(1)
        state.propose(rows[met], {**take(region.clean, rows[met]), **take(texts, met)}, f"hotflip-{BEAM}")
        yield Edited(strength, rows, texts)


def _turns(balls: tuple[Ball, ...], movable: dict[str, Tensor], limit: float) -> list[tuple[float, str, int]]:
    """Every edit up to the limit: the strength that pays for it, the modality, and how many it has
    had with it.
    """
    most = {ball.modality: int(movable[ball.modality].max()) for ball in balls}
    turns = [
        (count / ball.radius, ball.modality, count) for ball in balls for count in range(1, most[ball.modality] + 1)
    ]
    return sorted(turn for turn in turns if turn[0] <= limit)


def _matrix(x: Tensor) -> Tensor:
    """Reshape to (B, positions, vocabulary)."""
    return x.flatten(1, -2)


def _replaceable(region: Region, ball: Ball) -> Tensor:
    valid = region.ranges[ball.modality]
    return _matrix(replacements(region.inputs[ball.modality], torch.as_tensor(valid.low), torch.as_tensor(valid.high)))


def _edited_once(state: SearchState, rows: Tensor, beam: Beam, name: str, free: Tensor) -> tuple[Beam, Tensor]:
    """The best texts with one more token of the named modality replaced, and the margin of the
    first, (R,).
    """
    row, slot = beam.alive.nonzero().unbind(1)
    shape = state.region.inputs[name].shape[1:]
    objective, region = state.fast.take(rows[row]), state.region.take(rows[row])
    here = {key: x[row, slot].reshape(len(row), *region.inputs[key].shape[1:]) for key, x in beam.texts.items()}
    _, value, gradient = judged_gradient(objective, region, here, MARGIN)
    refuse_nan(value.isnan())
    state.spend(rows, beam.alive.sum(1))
    text, slopes = _matrix(here[name]), _matrix(gradient[name])
    untouched = (text == _matrix(region.inputs[name])).all(-1, keepdim=True)
    gain = torch.where(free[row] & untouched, slopes - (slopes * text).sum(-1, keepdim=True), NEVER).flatten(1)
    gain, place = gain.topk(min(CANDIDATES, gain.shape[1]), dim=1)
    position, token = place // text.shape[-1], place % text.shape[-1]
    value = torch.full((*beam.alive.shape, gain.shape[1]), NEVER, device=value.device)
    for turn in range(gain.shape[1]):
        with torch.no_grad():
            there = _replaced(text, position[:, turn], token[:, turn]).reshape(-1, *shape)
            reached = MARGIN(objective(region.complete({**here, name: there})))
        refuse_nan(reached.isnan())
        value[row, slot, turn] = torch.where(gain[:, turn] > NEVER, reached.float(), NEVER)
    every = torch.zeros_like(value, dtype=torch.int64)
    return _best(beam, name, value, every.index_put((row, slot), position), every.index_put((row, slot), token))


def _best(beam: Beam, name: str, value: Tensor, position: Tensor, token: Tensor) -> tuple[Beam, Tensor]:
    """The best different texts among the candidates (R, BEAM, candidates)."""
    spelt = {key: x.argmax(-1)[:, :, None].repeat(1, 1, value.shape[2], 1) for key, x in beam.texts.items()}
    spelt[name] = spelt[name].scatter(3, position[..., None], token[..., None])
    spelling = torch.cat(list(spelt.values()), dim=3).flatten(1, 2)
    value, position, token = value.flatten(1), position.flatten(1), token.flatten(1)
    each = torch.arange(len(value), device=value.device)
    values, chosen = [], []
    for _ in range(BEAM):
        best, place = value.max(1)
        parent = {key: x[each, place // (value.shape[1] // BEAM)] for key, x in beam.texts.items()}
        chosen.append({**parent, name: _replaced(parent[name], position[each, place], token[each, place])})
        values.append(best)
        value = torch.where((spelling == spelling[each, place][:, None]).all(-1), NEVER, value)
    texts = {key: torch.stack([each[key] for each in chosen], dim=1) for key in beam.texts}
    return Beam(texts, torch.stack(values, dim=1) > NEVER), values[0]


def _replaced(text: Tensor, position: Tensor, token: Tensor) -> Tensor:
    """The text (R, positions, vocabulary) with one row of each made the one-hot vector of the
    token.
    """
    row = torch.arange(len(text), device=text.device)
    return text.index_put((row, position), F.one_hot(token, text.shape[-1]).to(text.dtype))
