"""The bytes of a tensor are those of its values, however it lies in memory."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harness.storage.tensorfile import as_bytes

VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "turned": lambda x: x.mT,
    "every second": lambda x: x[:, ::2],
    "one value of a column": lambda x: x[:1, 1],
    "one value": lambda x: x[1, 1],
    "the real part": lambda x: torch.complex(x, x).real[:1, 1],
    "repeated": lambda x: x[:1].expand(3, -1),
    "nothing": lambda x: x[:0],
    "half": lambda x: x.bfloat16()[:1, 1],
}


@pytest.mark.parametrize("view", VIEWS)
def test_bytes_are_those_of_the_values(view: str) -> None:
    x = VIEWS[view](torch.arange(12.0).reshape(3, 4))
    assert as_bytes(x) == as_bytes(torch.tensor(x.tolist(), dtype=x.dtype).reshape(x.shape))
