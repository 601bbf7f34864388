"""Exact certificates of token edits: every replacement of one token, then of two, is tried."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import combinations

import torch
from torch import Tensor

from attacks.certify.affine import Uncertified
from attacks.certify.strength import Certified
from attacks.edits.tokens import replacements
from attacks.objective import Objective
from attacks.region import Bounds, Inputs, Region
from attacks.scenario import Scenario, parse

DEEPEST = 2  # tokens replaced at once
MOST_TRIED = 2**18  # texts of one sample
AT_ONCE = 1024  # texts in a call of the model


def enumerated_strength(
    objective: Objective,
    inputs: Inputs,
    bounds: Bounds,
    scenario: Scenario | str,
    deadline: float | None = None,
) -> Certified:
    """The largest strength below which no replacement of tokens makes a sample fail, by trying all.

    The model is the one that answers, in its own arithmetic, so the result is exact up to the size
    of edits that was tried: `DEEPEST` tokens, or fewer where those are more than `MOST_TRIED`
    texts.

    Args:
        objective: bound to this batch.
        deadline: by `time.monotonic`; then what is certified so far is returned.

    Raises:
        Uncertified: something other than the tokens of one modality is attacked.
    """
    wanted = parse(scenario) if isinstance(scenario, str) else scenario
    if len(wanted.attacked) != 1 or wanted.attacked[0].norm_name != "tokens":
        raise Uncertified("enumeration covers the tokens of one modality")
    region = Region.of(inputs, bounds, wanted)
    ball = wanted.attacked[0]
    found = [_withstood(objective, region, row, deadline) for row in range(len(region))]
    sizes = torch.tensor([size for size, _ in found], dtype=torch.float64)
    return Certified(sizes / ball.radius, torch.tensor([ended for _, ended in found]))


@torch.no_grad()
def _withstood(objective: Objective, region: Region, row: int, deadline: float | None) -> tuple[int, bool]:
    """The smallest number of replacements that may make one sample fail, as far as was tried (0 if
    it fails untouched), and whether there was time to try.
    """
    name = region.scenario.attacked[0].modality
    one = region.take(torch.tensor([row], device=region.inputs[name].device))
    chosen = torch.tensor([row], device=region.inputs[name].device)
    if bool(objective.take(chosen)(one.inputs).fails.any()):
        return 0, True
    x, valid = one.inputs[name], one.ranges[name]
    allowed = replacements(x, *valid.ends).flatten(0, -2)
    places = [(place, token) for place, token in allowed.nonzero().tolist()]
    for size in range(1, DEEPEST + 1):
        if _count(allowed, size) > MOST_TRIED:
            return size, True
        for texts in _texts(x, places, size):
            if deadline is not None and time.monotonic() > deadline:
                return size, False
            repeated = chosen.expand(len(texts))
            many = {other: value.expand(len(texts), *value.shape[1:]) for other, value in one.inputs.items()}
            if bool(objective.take(repeated)({**many, name: texts}).fails.any()):
                return size, True
    return DEEPEST + 1, True


def _count(allowed: Tensor, size: int) -> int:
    """How many texts differ in `size` tokens, from the allowed replacements (positions,
    vocabulary).
    """
    each = allowed.sum(1)
    return int(each.sum()) if size == 1 else int((each.sum() ** 2 - (each**2).sum()) // 2)


def _texts(x: Tensor, places: list[tuple[int, int]], size: int) -> Iterator[Tensor]:
    """The texts (up to `AT_ONCE`, ...) with this many tokens replaced, in turn."""
    waiting: list[tuple[tuple[int, int], ...]] = []
    for chosen in combinations(places, size):
        if len({place for place, _ in chosen}) < size:
            continue
        waiting.append(chosen)
        if len(waiting) == AT_ONCE:
            yield _replaced(x, waiting)
            waiting = []
    if waiting:
        yield _replaced(x, waiting)


def _replaced(x: Tensor, many: list[tuple[tuple[int, int], ...]]) -> Tensor:
    texts = x.expand(len(many), *x.shape[1:]).clone()
    rows = texts.view(len(many), -1, x.shape[-1])
    numbers = torch.arange(len(many), device=x.device)
    for step in zip(*many, strict=True):
        place, token = torch.tensor(step, device=x.device).unbind(1)
        rows[numbers, place] = 0.0
        rows[numbers, place, token] = 1.0
    return texts
