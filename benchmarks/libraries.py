"""The search against the attacks of adv-lib and foolbox, on small fusion models, side by side in
one process.

    pip install numba && pip install --no-deps adv-lib==0.2.8 && python benchmarks/libraries.py
    --json libraries.json

Convolutional and attention fusion of a picture (1, 8, 8) and 16 features in [0, 1], trained plainly
and adversarially (FGSM on both), two seeds each. Scenarios: each modality alone in L∞, L2 and L1,
and both together in L∞, which is one input for a library. Radii: 32, evenly spaced up to twice the
median critical strength. Every attack runs 500 steps (EAD: 5 binary searches of 100; APGD: 10
halvings of the radius, 100 each, from the clean input; Brendel-Bethge: 500 from where adv-lib's FMN
ended).

`excess` is the mean over radii of the robust accuracy that the search leaves, less what the attack
leaves, in points: below 0 the search is the stronger. `beaten` is the share of samples whose
strength is more than 1 % above the best of all attacks.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.norms import NORMS
from attacks.objective import Classification
from attacks.presets import STANDARD
from attacks.region import Inputs, Range
from attacks.search import search

KINDS = ("conv", "attention")
SEEDS = (0, 1)
STEPS = 500
CLASSES, PIXELS, FEATURES = 6, 64, 16
BATCHES, RATE, STRENGTH = 400, 2e-3, 0.05
RADII = 32
ORDERS = {"linf": float("inf"), "l2": 2.0, "l1": 1.0}
SCENARIOS = [(norm, names) for norm in NORMS for names in (("a",), ("b",))] + [("linf", ("a", "b"))]


class Fusion(nn.Module):
    """Encodes both modalities in 32 numbers each, and concatenates or attends."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        layers = (
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.a = nn.Sequential(*layers, nn.Linear(128, 32))
        self.b = nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU())
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True) if kind == "attention" else None
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, CLASSES))

    def forward(self, inputs: Inputs) -> Tensor:
        tokens = torch.stack([self.a(inputs["a"]), self.b(inputs["b"])], 1)
        if self.attention is not None:
            tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        logits: Tensor = self.head(tokens.flatten(1))
        return logits


def trained(kind: str, adversarial: bool, seed: int, samples: int) -> tuple[Fusion, Inputs, Tensor]:
    """A model, and new samples with their labels, one for which it is right or wrong."""
    torch.manual_seed(seed)
    model = Fusion(kind)
    pictures, features = torch.rand(CLASSES, PIXELS) * 0.5 + 0.25, torch.randn(CLASSES, FEATURES) * 0.6

    def drawn(count: int) -> tuple[Inputs, Tensor]:
        labels = torch.randint(CLASSES, (count,))
        a = (pictures[labels] + 0.18 * torch.randn(count, PIXELS)).clamp(0, 1).view(count, 1, 8, 8)
        return {"a": a, "b": (0.5 + 0.2 * (features[labels] + torch.randn(count, FEATURES))).clamp(0, 1)}, labels

    optimizer = torch.optim.Adam(model.parameters(), RATE)
    for _ in range(BATCHES):
        inputs, labels = drawn(128)
        if adversarial:
            leaves = {name: x.clone().requires_grad_() for name, x in inputs.items()}
            gradients = torch.autograd.grad(F.cross_entropy(model(leaves), labels), list(leaves.values()))
            inputs = {
                name: (x + STRENGTH * g.sign()).clamp(0, 1)
                for (name, x), g in zip(inputs.items(), gradients, strict=True)
            }
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model.eval().requires_grad_(False), *drawn(samples)


class Flat(nn.Module):
    """The attacked modalities as one input (B, 1, 1, N) in [0, 1].

    The last values are 0 or 1, read at 1/2, and tell the sample: some attacks take subsets of a
    batch. They have no gradient.
    """

    def __init__(self, model: nn.Module, inputs: Inputs, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.inputs, self.names = model, inputs, names
        self.bits = len(inputs["a"]).bit_length()

    def clean(self) -> Tensor:
        """The untouched inputs."""
        rows = torch.arange(len(self.inputs["a"]))
        numbers = (rows[:, None] >> torch.arange(self.bits)) & 1
        return torch.cat([*(self.inputs[name].flatten(1) for name in self.names), numbers.float()], 1)[:, None, None]

    def forward(self, image: Tensor) -> Tensor:
        *parts, numbers = image.flatten(1).split(
            [*(self.inputs[name][0].numel() for name in self.names), self.bits], dim=1
        )
        whole = len(image) == len(self.inputs["a"])  # random steps may move the numbers
        rows = torch.arange(len(image)) if whole else ((numbers > 0.5).long() << torch.arange(self.bits)).sum(1)
        inputs = {name: x[rows] for name, x in self.inputs.items()}
        moved = {name: part.reshape(inputs[name].shape) for name, part in zip(self.names, parts, strict=True)}
        logits: Tensor = self.model({**inputs, **moved})
        return logits

    @torch.no_grad()
    def distance(self, image: Tensor, labels: Tensor, norm: str) -> Tensor:
        """How far each image is from the clean one, float64 (B,); inf where the model is right
        about it.
        """
        image = image.clamp(0, 1)
        change = (image - self.clean()).flatten(1)[:, : -self.bits].double()
        failed = self(image).argmax(1) != labels
        return torch.where(failed, NORMS[norm].size(change), float("inf"))


Attack = Callable[[Flat, Tensor, Tensor, float], Tensor]
"""Model, clean images, labels and a radius that breaks nearly all of them -> attacked images."""


def adv_lib() -> ModuleType:
    """The attacks of adv-lib; what it draws pictures with is not needed for them."""
    for name in (
        "torchvision",
        "torchvision.models",
        "torchvision.transforms",
        "torchvision.transforms.functional",
        "torchvision.datasets",
        "torchvision.utils",
        "visdom",
        "visdom_logger",
    ):
        sys.modules.setdefault(name, MagicMock())
    try:
        import adv_lib.attacks
    except ImportError:
        raise SystemExit("adv-lib is missing: pip install adv-lib==0.2.8 --no-deps") from None
    return adv_lib.attacks  # type: ignore[no-any-return]


def of_adv_lib(norm: str) -> Iterator[tuple[str, Attack]]:
    lib, order = adv_lib(), ORDERS[norm]
    apgd = sys.modules["adv_lib.attacks.auto_pgd"].minimal_apgd
    yield "adv-lib FMN", lambda m, x, y, far: lib.fmn(m, x, y, norm=order, steps=STEPS)
    yield "adv-lib PDPGD", lambda m, x, y, far: lib.pdpgd(m, x, y, norm=order, num_steps=STEPS)
    yield "adv-lib FAB", lambda m, x, y, far: lib.fab(m, x, y, norm=order, n_iter=STEPS)
    yield (
        "adv-lib APGD",
        lambda m, x, y, far: apgd(
            m, x, y, norm=order, max_eps=far, n_iter=STEPS // 5, binary_search_steps=10, use_rs=False
        ),
    )
    if norm != "linf":
        yield "adv-lib ALMA", lambda m, x, y, far: lib.alma(m, x, y, distance=norm, num_steps=STEPS)
    if norm == "l2":
        yield "adv-lib DDN", lambda m, x, y, far: lib.ddn(m, x, y, steps=STEPS, levels=None)


def of_foolbox(norm: str) -> Iterator[tuple[str, Attack]]:
    import foolbox

    box = foolbox.attacks
    fmn = {"linf": box.LInfFMNAttack, "l2": box.L2FMNAttack, "l1": box.L1FMNAttack}[norm](steps=STEPS)
    walk = {"linf": box.LinfinityBrendelBethgeAttack, "l2": box.L2BrendelBethgeAttack, "l1": box.L1BrendelBethgeAttack}[
        norm
    ](steps=STEPS)
    yield "foolbox FMN", boxed(fmn)
    if norm != "linf":
        yield (
            "foolbox EAD",
            boxed(
                box.EADAttack(
                    binary_search_steps=5,
                    steps=STEPS // 5,
                    decision_rule="L1" if norm == "l1" else "EN",
                    abort_early=False,
                )
            ),
        )
    if norm == "l2":
        yield "foolbox DDN", boxed(box.DDNAttack(steps=STEPS))

    def from_fmn(model: Flat, x: Tensor, labels: Tensor, far: float) -> Tensor:
        """Brendel-Bethge needs a failure to start from; samples without one stay where they are."""
        start: Tensor = adv_lib().fmn(model, x, labels, norm=ORDERS[norm], steps=STEPS)
        rows = model.distance(start, labels, norm).isfinite().nonzero().squeeze(1)
        if not len(rows):
            return start
        moved = walk(
            foolbox.PyTorchModel(model, bounds=(0, 1)),
            x[rows],
            labels[rows],
            starting_points=start[rows],
            epsilons=None,
        )[0]
        return start.index_copy(0, rows, moved)

    yield "foolbox BB", from_fmn


def boxed(attack: Any) -> Attack:
    """An attack of foolbox."""
    import foolbox

    def attacked(model: Flat, x: Tensor, labels: Tensor, far: float) -> Tensor:
        images: Tensor = attack(foolbox.PyTorchModel(model, bounds=(0, 1)), x, labels, epsilons=None)[0]
        return images

    return attacked


@dataclass(frozen=True)
class Line:
    """One attack on one model under one scenario; see the module."""

    model: str
    scenario: str
    norm: str
    attack: str
    excess: float
    beaten: float
    seconds: float


def compared(
    kind: str, adversarial: bool, seed: int, samples: int, norms: list[str], names: list[str]
) -> Iterator[Line]:
    model, inputs, labels = trained(kind, adversarial, seed, samples)
    title = f"{kind}, {'adversarial' if adversarial else 'plain'}, seed {seed}"
    for norm, attacked in SCENARIOS:
        if norm not in norms:
            continue
        flat = Flat(model, inputs, attacked).eval()
        scenario, started = " + ".join(f"{name}@{norm}:1" for name in attacked), time.perf_counter()
        bounds = dict.fromkeys(attacked, Range(0.0, 1.0))
        found = search(Classification(model, labels), inputs, bounds, scenario, algorithm=STANDARD, limit=1e4)
        mine, seconds = found.strength, time.perf_counter() - started
        radii = 2 * mine[(mine > 0) & mine.isfinite()].median() * torch.arange(1, RADII + 1) / RADII
        best = torch.full_like(mine, float("inf"))
        for name, attack in [*of_adv_lib(norm), *of_foolbox(norm)]:
            if names and name not in names:
                continue
            strength, took = measured(flat, labels, norm, attack, 2 * float(radii[-1]))
            strength = strength.masked_fill(mine == 0, 0.0)
            best = torch.minimum(best, strength)
            yield Line(title, scenario, norm, name, *against(mine, strength, radii), took)
        yield Line(title, scenario, norm, "best of all", *against(mine, best, radii), seconds)
        print(f"{title}: {scenario}: {found.gradients.double().mean():.0f} gradients", flush=True)


def measured(flat: Flat, labels: Tensor, norm: str, attack: Attack, far: float) -> tuple[Tensor, float]:
    torch.manual_seed(0)
    started = time.perf_counter()
    images = attack(flat, flat.clean(), labels, far)
    return flat.distance(images, labels, norm), time.perf_counter() - started


def against(mine: Tensor, theirs: Tensor, radii: Tensor) -> tuple[float, float]:
    """Mean excess over the radii in points, and the share beaten by more than 1 %."""
    curves = [(strength[:, None] > radii).double().mean(0) for strength in (mine, theirs)]
    worth = mine > 0
    return 100 * float((curves[0] - curves[1]).mean()), float((mine > 1.01 * theirs)[worth].double().mean())


def summary(lines: list[Line]) -> str:
    """A row for each norm and attack: mean and largest excess over models and scenarios, and the
    share beaten.
    """
    rows = [
        "| norm | attack | cells | mean excess | largest excess | beaten by > 1 % | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for norm, attack in dict.fromkeys((line.norm, line.attack) for line in lines):
        some = [line for line in lines if (line.norm, line.attack) == (norm, attack)]
        mean, largest = sum(line.excess for line in some) / len(some), max(line.excess for line in some)
        beaten, seconds = (sum(getattr(line, field) for line in some) / len(some) for field in ("beaten", "seconds"))
        rows.append(
            f"| {norm} | {attack} | {len(some)} | {mean:.2f} | {largest:.2f} | {100 * beaten:.1f} % | {seconds:.1f} |"
        )
    return "\n".join(rows)


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--norms", default=",".join(NORMS))
    parser.add_argument("--attacks", default="", help="names joined by commas; all if absent")
    parser.add_argument("--samples", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[Line] = []
    for kind, adversarial, seed in product(KINDS, (False, True), SEEDS):
        names = [name for name in options.attacks.split(",") if name]
        lines += compared(kind, adversarial, seed, options.samples, options.norms.split(","), names)
        options.json.write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n")
    print(summary(lines))


if __name__ == "__main__":
    main()
