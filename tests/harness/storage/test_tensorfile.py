"""The bytes of a tensor are those of its values, however it lies in memory."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harness.storage.tensorfile import as_bytes, from_bytes, to_bytes

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


@pytest.mark.parametrize("view", VIEWS)
def test_a_file_holds_the_values(view: str) -> None:
    x = VIEWS[view](torch.arange(12.0).reshape(3, 4))
    plain = torch.tensor(x.tolist(), dtype=x.dtype).reshape(x.shape)
    content = to_bytes({"x": x, "again": x})
    assert content == to_bytes({"x": plain, "again": plain.clone()})
    assert torch.equal(from_bytes(content)["x"], plain)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "sparse": lambda x: x.to_sparse(),
    "sparse rows": lambda x: x.to_sparse_csr(),
    "conjugate": lambda x: torch.complex(x, -x).conj(),
    "negative": lambda x: torch.complex(x, x).conj().imag,
    "quantised": lambda x: torch.quantize_per_tensor(x, 0.5, 0, torch.qint8),
    "nested": lambda x: torch.nested.nested_tensor([x[0], x[1, :2]]),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:Sparse CSR", "ignore:The PyTorch API of nested")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tensor_of_any_layout_has_bytes_that_change_with_its_values(layout: str) -> None:
    x = torch.arange(12.0).reshape(3, 4)
    one, same, other = (as_bytes(LAYOUTS[layout](each)) for each in (x, x.clone(), x + 1))
    assert one == same != other and one


def test_a_tensor_without_values_has_no_bytes() -> None:
    assert as_bytes(torch.ones(3, device="meta")) == b""
