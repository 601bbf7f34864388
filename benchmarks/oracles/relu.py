"""Small ReLU networks: the critical strength by mixed-integer programming (Tjeng et al., ICLR
2019).

A unit whose sign is settled within the reach of the best known strength is linear; every other one
takes a binary variable, with bounds from interval arithmetic, in the first layer from the balls
themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.objective import Classification
from attacks.region import Inputs, Range
from attacks.scenario import Scenario
from benchmarks.oracles.linear import rise_of
from benchmarks.oracles.program import SLACK, Array, Program

LARGEST = 8.0  # strengths beyond are not asked for
LEARNT_FROM = 2_000


@dataclass(frozen=True, eq=False)
class Network:
    """A perceptron with ReLU between its layers, on the modalities one after the other, in [0, 1].

    Attributes:
        layers: weight (out, in) and bias (out,) of each.
        inputs: per modality (B, values).
    """

    layers: list[tuple[Tensor, Tensor]]
    inputs: Inputs

    @property
    def bounds(self) -> dict[str, Range]:
        return {name: Range(0.0, 1.0) for name in self.inputs}

    def logits(self, inputs: Inputs) -> Tensor:
        x = torch.cat([inputs[name] for name in self.inputs], 1)
        for weight, bias in self.layers[:-1]:
            x = F.relu(F.linear(x, weight, bias))
        return F.linear(x, *self.layers[-1])

    def objective(self) -> Classification:
        return Classification(self.logits, self.logits(self.inputs).argmax(1))

    def take(self, rows: Tensor) -> Network:
        return Network(self.layers, {name: x[rows] for name, x in self.inputs.items()})

    def exact(self, scenario: Scenario, known: Tensor) -> Tensor:
        """The critical strengths up to the known ones (B,), which have witnesses; nan where a
        program took too long.
        """
        logits = self.logits(self.inputs)
        return torch.tensor(
            [self._least(scenario, row, logits[row], best) for row, best in enumerate(known.tolist())]
        ).double()

    def _least(self, scenario: Scenario, row: int, logits: Tensor, known: float) -> float:
        right, best = int(logits.argmax()), known
        for wrong in logits.argsort(descending=True).tolist()[1:]:
            cap = min(best, LARGEST) * SLACK
            found = self._program(scenario, row, right, wrong, cap).solve()
            best = found if np.isnan(found) else min(best, found)
            if np.isnan(best):
                break
        return best

    def _program(self, scenario: Scenario, row: int, right: int, wrong: int, cap: float) -> Program:
        x = torch.cat(list(self.inputs.values()), 1)[row].double().numpy()
        program = Program.of(scenario, {name: each.shape[1] for name, each in self.inputs.items()}, -x, 1 - x, cap)
        columns, offset = np.arange(1, len(x) + 1), x
        low, high = self._reached(scenario, row, cap)
        for number, (weight, bias) in enumerate(self._numbers()[:-1]):
            if number:
                low, high = _intervals(weight, bias, np.maximum(low, 0), np.maximum(high, 0))
            columns = _units(program, columns, weight, weight @ offset + bias, low, high)
            offset = np.zeros(len(weight))
        weight, bias = self._numbers()[-1]
        ahead = weight[right] - weight[wrong]
        program.at_most(dict(zip(columns, ahead, strict=True)), float(bias[wrong] - bias[right]))
        return program

    def _numbers(self) -> list[tuple[Array, Array]]:
        return [(weight.double().numpy(), bias.double().numpy()) for weight, bias in self.layers]

    def _reached(self, scenario: Scenario, row: int, cap: float) -> tuple[Array, Array]:
        """Between what the units of the first layer can be at a strength."""
        weight, bias = (each.double() for each in self.layers[0])
        parts = dict(zip(self.inputs, weight.split([x.shape[1] for x in self.inputs.values()], dim=1), strict=True))
        middle = torch.cat([x[row] for x in self.inputs.values()]).double() @ weight.T + bias
        up, down = torch.zeros_like(middle), torch.zeros_like(middle)
        for ball in scenario.attacked:
            x, radius = (
                self.inputs[ball.modality][row].double()[None],
                middle.new_full((2 * len(bias), 1), cap * ball.radius),
            )
            directions = torch.cat([parts[ball.modality], -parts[ball.modality]])[None]
            rise, _ = rise_of(ball, directions, x, torch.zeros_like(x), torch.ones_like(x)).at(radius)
            up, down = up + rise[: len(bias), 0], down + rise[len(bias) :, 0]
        return (middle - down).numpy(), (middle + up).numpy()


def _intervals(weight: Array, bias: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Between what weight · h + bias can be, for h between low and high."""
    up, down = np.maximum(weight, 0), np.minimum(weight, 0)
    return up @ low + down @ high + bias, up @ high + down @ low + bias


def _units(program: Program, columns: Array, weight: Array, offset: Array, low: Array, high: Array) -> Array:
    """Columns h = max(0, weight · columns + offset), where the argument is known to lie between low
    and high.
    """
    units = program.add(np.maximum(low, 0), np.maximum(high, 0))
    for unit, slopes, shift, least, most in zip(units, weight, offset, low, high, strict=True):
        if most <= 0:
            continue  # its column can only be 0
        slope = dict(zip(columns, slopes, strict=True))
        program.at_most({**slope, unit: -1.0}, float(-shift))
        back = {column: -value for column, value in slope.items()}
        if least >= 0:
            program.at_most({**back, unit: 1.0}, float(shift))
            continue
        (on,) = program.add(np.zeros(1), np.ones(1), whole=True)
        program.at_most({**back, unit: 1.0, on: -least}, float(shift - least))
        program.at_most({unit: 1.0, on: -most}, 0.0)
    return units


def random_network(
    classes: int, hidden: tuple[int, ...], samples: int, seed: int, widths: dict[str, int], steps: int = 0
) -> Network:
    """A random network; or, after some steps of Adam on noisy templates, a trained one and samples
    that it is right about.
    """
    generator, sizes = torch.Generator().manual_seed(seed), [sum(widths.values()), *hidden, classes]
    labels = torch.randint(classes, (LEARNT_FROM,), generator=generator)
    templates, noise = (torch.rand(count, sizes[0], generator=generator) for count in (classes, LEARNT_FROM))
    x = (templates[labels] + 0.8 * (noise - 0.5)).clamp(0, 1)
    layers = [
        (torch.randn(wide, narrow, generator=generator) * (2 / narrow) ** 0.5, torch.zeros(wide))
        for narrow, wide in pairwise(sizes)
    ]
    network = Network(layers, _split(x, widths))
    _train(network, labels, steps)
    right = network.objective().labels == labels
    return Network(layers, _split(x[right | (steps == 0)][:samples], widths))


def _split(x: Tensor, widths: dict[str, int]) -> Inputs:
    return dict(zip(widths, x.split(list(widths.values()), dim=1), strict=True))


def _train(network: Network, labels: Tensor, steps: int) -> None:
    parameters = [each.requires_grad_() for layer in network.layers for each in layer]
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(network.logits(network.inputs), labels).backward()
        optimizer.step()
    for each in parameters:
        each.requires_grad_(False)
