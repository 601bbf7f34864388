"""The families of models on which `benchmarks/exact.py` measures the search."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.norms import NORMS
from attacks.region import Range
from attacks.scenario import Ball, Scenario
from benchmarks.cases import POOL, Case, Title, first, first_order, of_linear, radii_of, seeded
from benchmarks.oracles.linear import WIDTHS, Linear, random_linear
from benchmarks.oracles.pieces import Pieces, random_pieces
from benchmarks.oracles.relu import Network, random_network
from benchmarks.oracles.texts import Texts, random_texts

MIXED = [
    dict(zip("abc", names, strict=True)) for names in (("linf", "l2", "l1"), ("l2", "l1", "linf"), ("l1", "linf", "l2"))
]
RANGES = ("infinite", "finite", "per feature")
SHAPES = {"l0": (8,), "dead": (2, 3, 3), "stuck": (5,), "shift": (10,), "tokens": (5, 4)}
LARGE = 1000.0
TRAINED = 200  # steps of Adam
NARROW = {"a": 5, "b": 3}
POLYHEDRAL = {"linf": {"a": "linf", "b": "linf"}, "l1": {"a": "l1", "b": "l1"}, "mixed": {"a": "linf", "b": "l1"}}


def pool_of(classes: int, count: int, seed: int, ranges: Sequence[str]) -> Linear:
    """`random_linear` with inputs of which a fifth lies at each end of [0, 1], as in pictures, and
    kinds of ranges in turn.
    """
    model = random_linear(classes, count, seed=seed)
    inputs = {name: (1.6 * x - 0.3).clamp(0, 1) for name, x in model.inputs.items()}
    kind = torch.arange(count) % len(ranges)
    bounds = {}
    for name, x in inputs.items():
        low, high = torch.rand(2, x.shape[1], generator=seeded("ranges", name, seed))
        ends = {"infinite": (-math.inf, math.inf), "finite": (0.0, 1.0), "per feature": (-low, 1 + high)}
        chosen = [[torch.as_tensor(end).expand(x.shape[1]) for end in ends[each]] for each in ranges]
        bounds[name] = Range(*(torch.stack([each[side] for each in chosen])[kind] for side in (0, 1)))
    return Linear(model.weights, inputs, bounds)


def linear(scale: float) -> Iterator[Case]:
    """Every non-empty subset of three modalities, 2 to 100 classes; ranges of three kinds, a third
    of the samples each.
    """
    count = max(2, round(60 * scale))
    for number, (classes, seed) in enumerate(product((2, 3, 10, 100), range(2))):
        pool = pool_of(classes, POOL * count, number, RANGES)
        alike = {norm: dict.fromkeys("abc", norm) for norm in NORMS}
        for norms, balls in {**alike, "mixed": MIXED[number % len(MIXED)]}.items():
            yield of_linear(Title(f"linear, {classes} classes", norms, f"seed {seed}"), pool, balls, count)


def limit(scale: float) -> Iterator[Case]:
    """The same with a larger limit."""
    for case in linear(scale):
        yield replace(case, title=replace(case.title, kind=f"{case.title.kind}, limit {LARGE:g}"), limit=LARGE)


def groups(scale: float) -> Iterator[Case]:
    """Classes in groups of similar ones: W_j = the group's centre + a small difference."""
    count = max(2, round(64 * scale))
    for (classes, size), share in product(((32, 8), (100, 10), (1000, 20)), (0.05, 0.2)):
        inputs, generator = pool_of(2, 2 * count, classes, RANGES[:2]), seeded("groups", classes, share)
        weights = {name: _grouped(classes, size, share, WIDTHS[name], generator) for name in "ab"}
        pool = Linear(
            weights, {name: inputs.inputs[name] for name in "ab"}, {name: inputs.bounds[name] for name in "ab"}
        )
        for norm in NORMS:
            title = Title(f"{classes} classes in groups of {size}", norm, f"differences of {share}")
            yield of_linear(title, pool, dict.fromkeys("ab", norm), count, choose=first)


def _grouped(classes: int, size: int, share: float, width: int, generator: torch.Generator) -> Tensor:
    centres = torch.randn(math.ceil(classes / size), width, generator=generator).repeat_interleave(size, 0)[:classes]
    return centres + share * torch.randn(classes, width, generator=generator)


def edits(scale: float) -> Iterator[Case]:
    """One edit beside a norm; beside two; and two different edits beside a norm."""
    count, kinds, norms = max(2, round(24 * scale)), list(SHAPES), list(NORMS)
    for number, (edit, norm, classes) in enumerate(product(kinds, norms, (2, 3, 5))):
        if edit == "stuck" and classes > 2:
            continue  # over random draws, only two classes have an exact answer
        for size in ((1.0, 3.0), (2.0, 1.5))[number % 2]:
            yield _beside(count, classes, {"a": norm}, {edit: size})
    for number, (edit, norm) in enumerate(product(kinds, norms)):
        other, second = norms[(number + 1) % 3], kinds[(kinds.index(edit) + 1 + number % 3) % len(kinds)]
        yield _beside(count, 2 if edit == "stuck" else 3, {"a": norm, "c": other}, {edit: (1.0, 2.0)[number % 2]})
        yield _beside(
            count, 2 if "stuck" in (edit, second) else 3, {"a": norm}, {edit: 1.0, second: (2.0, 1.5)[number % 2]}
        )


def _beside(count: int, classes: int, balls: dict[str, str], sizes: dict[str, float]) -> Case:
    generator = seeded(classes, balls, sizes)
    inputs = {name: torch.rand(POOL * count, WIDTHS[name], generator=generator) for name in balls}
    inputs |= {edit: editable(edit, POOL * count, generator) for edit in sizes}
    weights = {name: torch.randn(classes, x[0].numel(), generator=generator) for name, x in inputs.items()}
    pool = Linear(weights, inputs, {name: Range(-1.0 if name == "shift" else 0.0, 1.0) for name in inputs})
    details = (
        f"{classes} classes, {', '.join(f'{edit}:{size:g}' for edit, size in sizes.items())} beside"
        f" {' and '.join(balls.values())}"
    )
    kind = f"{'two edits' if len(sizes) > 1 else next(iter(sizes))} beside a norm"
    title = Title(kind, "mixed" if len(balls) > 1 else next(iter(balls.values())), details)
    return of_linear(title, pool, balls, count, edits=tuple(Ball(edit, edit, size) for edit, size in sizes.items()))


def editable(edit: str, count: int, generator: torch.Generator) -> Tensor:
    """Inputs of a shape that an edit goes with."""
    shape = SHAPES[edit]
    if edit == "tokens":
        return F.one_hot(torch.randint(shape[1], (count, shape[0]), generator=generator), shape[1]).float()
    values = torch.rand(count, *shape, generator=generator)
    return values * 2 - 1 if edit == "shift" else values


def pieces(scale: float) -> Iterator[Case]:
    """Maxima of linear pieces, two modalities in [0, 1]."""
    count = max(2, round(40 * scale))
    for classes, each in ((2, 4), (3, 3), (5, 2), (10, 2)):
        model = random_pieces(classes, each, count, classes, NARROW)
        for norms, balls in POLYHEDRAL.items():
            yield _small(Title("maxima of linear pieces", norms, f"{classes} classes of {each}"), model, balls)


def relu(scale: float) -> Iterator[Case]:
    """ReLU networks of 20, 40 and 60 units, random and trained, with one and two hidden layers;
    half of the samples a norm.
    """
    count = max(2, round(40 * scale))
    for number, (hidden, steps) in enumerate(
        product(((20,), (10, 10), (40,), (20, 20), (60,), (30, 30)), (0, TRAINED))
    ):
        if len(hidden) == 2 and sum(hidden) > 20 and not steps:
            continue  # untrained, such a network turns often within reach, and its programs take minutes
        classes, norms = 3 + number % 3, [*POLYHEDRAL, *POLYHEDRAL][number % 3 :][:2]
        model = random_network(classes, hidden, count, number, NARROW, steps)
        for rows, norm in zip(torch.arange(count).chunk(2), norms, strict=True):
            details = f"{classes} classes, {' + '.join(map(str, hidden))} units, {'trained' if steps else 'random'}"
            yield _small(
                Title(f"ReLU networks of {sum(hidden)} units", norm, details), model.take(rows), POLYHEDRAL[norm]
            )


def _small(title: Title, model: Pieces | Network, balls: dict[str, str]) -> Case:
    objective, samples = model.objective(), [str(row) for row in range(len(model.inputs["a"]))]
    radii = radii_of(balls, lambda scenario: first_order(objective, model.inputs, scenario), seeded(title))
    return Case(title, objective, model.inputs, model.bounds, Scenario(radii), samples, model.exact)


def texts(scale: float) -> Iterator[Case]:
    """Characters on their own and in pairs, alone and beside a norm; brute force to two edits."""
    count = max(2, round(64 * scale))
    for bigrams, classes, size, norm in product((False, True), (2, 3, 5), (1.0, 1.5), NORMS):
        model, kind = random_texts(classes, count, classes, bigrams), "bigrams" if bigrams else "a bag of characters"
        title = Title(f"tokens of {kind}", norm, f"{classes} classes, tokens:{size:g}")
        yield _of_texts(title, model, Ball("text", "tokens", size))


def _of_texts(title: Title, model: Texts, edit: Ball) -> Case:
    scenario = Scenario((*radii_of({"a": title.norms}, model.exact, seeded(title)), edit))
    samples = [str(row) for row in range(len(model.labels))]
    return Case(
        title, model.objective(), model.inputs, model.bounds, scenario, samples, lambda asked, known: model.exact(asked)
    )


FAMILIES: dict[str, Callable[[float], Iterator[Case]]] = {
    "linear": linear,
    "limit": limit,
    "groups": groups,
    "edits": edits,
    "pieces": pieces,
    "relu": relu,
    "texts": texts,
}
