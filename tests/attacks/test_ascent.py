"""Inside a block of steps nothing is read back from the device; APGD's checkpoints are the
paper's.
"""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from attacks.apgd import apgd, checkpoints
from attacks.ascent import BLOCK
from attacks.fmn import fmn
from attacks.pgd import pgd
from attacks.region import Region
from benchmarks.oracles.linear import random_linear

READS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::item", "aten::masked_select"}


class Reads(TorchDispatchMode):
    """Counts the operations that would wait for the device: those whose result decides a shape or
    leaves it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split(".")[0]
        masked = name == "aten::index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if masked or name in READS:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def reads(attack: Any, steps: int, scenario: str) -> int:
    model = random_linear(4, bounded=True)
    region = Region.of(model.inputs, model.bounds, scenario)
    with Reads() as counted:
        if attack is fmn:
            fmn(model.objective(), region, 8.0, steps=steps)
        else:
            attack(model.objective(), region, 1e-4, steps=steps)
    return counted.counts.total()


@pytest.mark.parametrize("attack", [pgd, apgd, fmn])
@pytest.mark.parametrize("scenario", ["a@linf:0.1", "a@l2:0.1 + b@linf:0.1", "a@l1:0.1 + b@l2:0.2"])
def test_one_look_per_block(attack: Any, scenario: str) -> None:
    short, long = (reads(attack, blocks * BLOCK, scenario) for blocks in (2, 6))
    assert long - short <= 4, "four more blocks, one look each"


def test_the_count_sees_a_read() -> None:
    with Reads() as counted:
        bool(torch.ones(3).any())
        torch.ones(3)[torch.ones(3).bool()]
    assert counted.counts.total() == 2


def test_checkpoints_are_the_papers() -> None:
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_apgd_climbs_at_least_as_high_as_its_start() -> None:
    torch.manual_seed(0)
    model = random_linear(4, bounded=True)
    region = Region.of(model.inputs, model.bounds, "a@linf:0.2 + b@l2:0.1")
    weak = apgd(model.objective(), region, 1e-3, steps=20)
    strong = apgd(model.objective(), region, 50.0, steps=20)
    assert int(strong.fails.sum()) > int(weak.fails.sum())
    assert bool((region.gauge(strong.inputs) <= 50 * (1 + 1e-6)).all())
