"""Law 12: code is known by every value that it holds, of any kind, wherever it holds it."""

import re
import types
from collections import deque
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from sklearn.linear_model import LinearRegression

from harness.references.livecode import code_behind, model_code
from harness.tasks import Classification, Regression
from harness.tasks.identity import definition_hash


def module_of(text: str) -> types.ModuleType:
    """As a cell of a notebook makes it: there is no file."""
    made = types.ModuleType("__main__")
    exec(compile(text, "<cell>", "exec"), made.__dict__)
    return made


CELL = """
import torch
import numpy as np
SCALE, TABLE, ARRAY = 2.0, torch.ones(3), np.ones(3)
def around(x): return x * SCALE
class Base:
    LIMIT = 1
class Mine(Base):
    def score(self, x): return around(x) + TABLE.sum() + ARRAY.sum() + self.LIMIT
    @property
    def width(self): return 1
"""
REWRITTEN = [
    ("SCALE, TABLE", "SCALE, TABLE"),
    ("2.0", "3.0"),
    ("x * SCALE", "x + SCALE"),
    ("LIMIT = 1", "LIMIT = 2"),
    ("torch.ones(3)", "torch.zeros(3)"),
]
REWRITTEN += [("np.ones(3)", "np.zeros(3)"), ("return 1", "return 2")]


@pytest.mark.parametrize(("old", "new"), REWRITTEN)
def test_a_class_of_a_notebook_is_known_by_all_that_it_refers_to(old: str, new: str) -> None:
    before, after = (code_behind(module_of(text).Mine()) for text in (CELL, CELL.replace(old, new)))
    assert (before == after) == (old == new)


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value

    def __call__(self, x: object) -> object:
        return x, self.value


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


def scaled(factor: object) -> Callable[[object], object]:
    return lambda x: (x, factor)


VALUES: dict[str, Callable[[int], object]] = {
    "a number": float,
    "a number of NumPy": np.float32,
    "a date of NumPy": lambda k: np.datetime64(2000 + k, "Y"),
    "a decimal": Decimal,
    "a date": lambda k: date(2000 + k, 1, 1),
    "a pattern": lambda k: re.compile("a" * k),
    "a list": lambda k: [k],
    "a set": lambda k: {k},
    "a dictionary": lambda k: {k: 1},
    "a deque": lambda k: deque([k]),
    "an object": Plain,
    "an object with slots": Slotted,
    "a call of an object": lambda k: Plain(k).__call__,
    "a closure": scaled,
    "closures": lambda k: [scaled(0), scaled([k]), scaled([0])],
    "a partial": lambda k: partial(pow, k),
    "partials": lambda k: [partial(pow, 0), partial(pow, k), partial(pow, 0)],
    "a cached function": lambda k: lru_cache(scaled(k)),
    "an array of objects": lambda k: np.array([k, "a"], object),
    "a masked array": lambda k: np.ma.array([1, 1], mask=[k == 1, k == 2]),
    "a sparse tensor": lambda k: torch.full((2, 2), k).to_sparse(),
    "a tensor in rows": lambda k: torch.full((2, 2), k).float().to_sparse_csr(),
    "a quantised tensor": lambda k: torch.quantize_per_tensor(torch.full((2,), float(k)), 0.1, 0, torch.qint8),
    "a conjugate": lambda k: torch.tensor([k * 1j]).conj(),
    "a tensor without values": lambda k: torch.ones(k, device="meta"),
    "a table of pandas": lambda k: pd.DataFrame({"a": [k]}),
    "a matrix of SciPy": lambda k: scipy.sparse.csr_matrix([[k, 0]]),
    "an array of Arrow": lambda k: pa.array([k]),
    "a fitted estimator": lambda k: LinearRegression().fit([[0.0], [1.0]], [0.0, float(k)]),
    "a method of a set": lambda k: {k}.__contains__,
    "bytes in view": lambda k: memoryview(bytes([k])),
    "a type of tensors": lambda k: (torch.float32, torch.float64)[k - 1],
}
HOLDERS: dict[str, Callable[[object], object]] = {
    "an attribute of an object": Plain,
    "a global": lambda value: function_of(value),
    "a closure": scaled,
    "a constant of a class": lambda value: type("Own", (), {"VALUE": value, "__module__": "__main__"}),
}


def function_of(value: object) -> object:
    made = module_of("def f(x): return x, VALUE\n")
    made.__dict__["VALUE"] = value
    return made.__dict__["f"]


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("kind", VALUES)
def test_a_value_of_any_kind_is_known_wherever_code_holds_it(kind: str, holder: str) -> None:
    one, same, two = (code_behind(HOLDERS[holder](VALUES[kind](k))) for k in (1, 1, 2))
    assert one == same != two


@pytest.mark.parametrize("kind", ["a sparse tensor", "a conjugate", "a tensor without values", "a number of NumPy"])
def test_a_problem_may_hold_any_value(kind: str) -> None:
    one, same, two = (definition_hash("own", [], Plain(VALUES[kind](k)), {}) for k in (1, 1, 2))  # type: ignore[arg-type]
    assert one == same != two


def test_a_file_may_lie_elsewhere() -> None:
    assert code_behind(Plain(Path("a"))) == code_behind(Plain(Path("b")))


def test_what_is_ours_or_installed_is_known_by_its_version() -> None:
    assert code_behind(Classification(3)) == code_behind(Classification(4)) != code_behind(Regression(1.0))
    assert model_code(torch.nn.Linear(2, 2)) == model_code(torch.nn.Linear(3, 3))


def test_what_was_set_in_a_users_module_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules_of_mine.py").write_text("TABLE = {1: 2}\n")
    monkeypatch.syspath_prepend(tmp_path)
    made = module_of("import rules_of_mine\ndef f(x): return rules_of_mine.TABLE.get(x)\n")
    before = code_behind(made.__dict__["f"])
    made.__dict__["rules_of_mine"].TABLE[1] = 3
    assert code_behind(made.__dict__["f"]) != before
