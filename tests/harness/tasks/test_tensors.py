"""Law 14 for arrays: one content in every layout, library and byte order is one task; everything
else is one sentence.
"""

import array
from collections import UserDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from attacks.errors import BadInput
from harness.tasks import Classification, Regression, Task
from harness.tasks.tensors import as_tensor, native, real_tensor

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float16).astype(np.float32)  # exact in every width
Y = np.arange(20) % 2
WHOLE = np.arange(60).reshape(20, 3)


def task(x: Any = X, y: Any = Y, **options: Any) -> Task:
    return Task.from_arrays({"x": x}, y, **options)


def mapped(folder: Path) -> np.ndarray:
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode="r")


def locked(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values


SAME: dict[str, Callable[[Path], Any]] = {
    **{f"{kind.__name__}": lambda _, kind=kind: X.astype(kind) for kind in (np.float16, np.float64, np.longdouble)},  # type: ignore[misc]
    **{f"big-endian {kind}": lambda _, kind=kind: X.astype(f">{kind}") for kind in ("f2", "f4", "f8")},  # type: ignore[misc]
    "memory-mapped": mapped,
    "read-only": lambda _: locked(X.copy()),
    "Fortran order": lambda _: np.asfortranarray(X),
    "strided": lambda _: np.repeat(X, 2, 0)[::2],
    "backwards": lambda _: X[::-1].copy()[::-1],
    "masked without a mask": lambda _: np.ma.masked_array(X, mask=False),
    "tensor": lambda _: torch.tensor(X),
    "tensor, double": lambda _: torch.tensor(X).double(),
    "tensor, half": lambda _: torch.tensor(X).half(),
    "tensor, transposed": lambda _: torch.tensor(X.T.copy()).T,
    "tensor with gradient": lambda _: torch.tensor(X, requires_grad=True),
    "parameter": lambda _: torch.nn.Parameter(torch.tensor(X)),
    "conjugate's real part": lambda _: torch.complex(torch.tensor(X), torch.tensor(X)).conj().real,
    "negative view": lambda _: torch.complex(torch.tensor(X), -torch.tensor(X)).conj().imag,
    "frame": lambda _: pd.DataFrame(X),
    "frame with another index": lambda _: pd.DataFrame(X, index=list(range(20))[::-1]),
    "lists": lambda _: X.tolist(),
    "list of arrays": lambda _: list(X),
    "tuple of tensors": lambda _: tuple(torch.tensor(X)),
    "list of tensors with gradient": lambda _: list(torch.tensor(X, requires_grad=True)),
}


@pytest.mark.parametrize("name", SAME)
def test_one_content_is_one_task(name: str, tmp_path: Path) -> None:
    same = task(SAME[name](tmp_path))
    assert (same.data_hash, same.definition_hash) == (task().data_hash, task().definition_hash)


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", ">i2", "i4", ">i4", "u4", "i8", "u8", ">u8"])
def test_whole_numbers_of_any_width_are_one_task(kind: str) -> None:
    same, plain = task(WHOLE.astype(kind), Y.astype(kind)), task(WHOLE.astype(np.float32))
    assert same.data_hash == plain.data_hash and same.splits["test"].targets.dtype == torch.int64


def test_bfloat16_in_lists_is_the_same() -> None:
    half = torch.tensor(X).bfloat16()
    assert task(list(half)).data_hash == task(half).data_hash == task(half.float()).data_hash


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bfloat16])
def test_short_real_numbers_are_themselves(kind: torch.dtype) -> None:
    short = torch.tensor(X).to(kind)
    assert torch.equal(real_tensor("x", short), short.float())


def test_yes_and_no_are_numbers() -> None:
    same = task(WHOLE % 2 == 0, Y == 1)
    assert same.data_hash == task((WHOLE % 2 == 0).astype(float)).data_hash


@pytest.mark.parametrize(
    "y", [Y.tolist(), pd.Series(Y), tuple(Y), range(20), array.array("i", Y.tolist()), list(torch.tensor(Y))]
)
def test_targets_come_from_any_library(y: Any) -> None:
    expected = np.arange(20) if isinstance(y, range) else Y
    assert task(y=y).data_hash == task(y=expected).data_hash


def test_targets_of_a_regression_are_real() -> None:
    same = [task(y=Y.astype(kind), problem=Regression(1.0)).data_hash for kind in ("i8", "f4", "f8", ">f8", "u1", "?")]
    assert len(set(same)) == 1


def masked() -> Any:
    return np.ma.masked_array(X, mask=X > 1)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "masked": (masked, "has [0-9]+ masked values: fill them"),
    "list of masked": (lambda: list(masked()), "has [0-9]+ masked values"),
    "masked in lists": (lambda: [[row, row] for row in masked()], "has [0-9]+ masked values"),
    "complex": (lambda: X + 1j * X, "is complex: give its absolute value"),
    "complex tensor": (lambda: torch.complex(torch.tensor(X), torch.tensor(X)), "is complex"),
    "sparse tensor": (lambda: torch.tensor(X).to_sparse(), r"is sparse: call \.to_dense"),
    "sparse matrix": (lambda: scipy.sparse.csr_matrix(X), r"is of type csr_matrix.*; it is sparse: call \.toarray"),
    "meta": (lambda: torch.tensor(X).to("meta"), "is on the device meta"),
    "nested": (
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        "is nested: pad",
    ),
    "ragged": (lambda: [[1.0, 2.0], [1.0]] * 10, "cannot be made an array: .*inhomogeneous"),
    "ragged tensors": (lambda: [torch.ones(2), torch.ones(3)] * 10, "cannot be made an array: .*equal size"),
    "objects": (lambda: X.astype(object), "holds Python objects, such as"),
    "nothing known": (lambda: pd.DataFrame(X, dtype="Float64").where(X > 0), "holds (Python objects|NaN)"),
    "mixed frame": (lambda: pd.DataFrame({"a": X[:, 0], "b": ["x"] * 20}), "holds Python objects"),
    "text": (lambda: X.astype(str), "holds text, such as .*: number its values"),
    "bytes": (lambda: X.astype("S5"), "holds text"),
    "dates": (lambda: np.zeros((20, 3), "M8[s]"), "holds dates: convert"),
    "durations": (lambda: np.zeros((20, 3), "m8[s]"), "holds durations: convert"),
    "records": (lambda: np.zeros(20, [("a", "f4"), ("b", "i4")]), "holds records of several fields"),
    "data set": (lambda: TensorDataset(torch.tensor(X)), "is of type TensorDataset, .* holds its samples one by one"),
    "loader": (lambda: DataLoader(TensorDataset(torch.tensor(X))), "is of type DataLoader, which is not an array"),
    "generator": (lambda: (row for row in X), "is of type generator, which is not an array"),
    "dictionary": (lambda: UserDict(a=X), "is of type UserDict, which is not an array"),
    "string": (lambda: "images.npy", "is of type str, which is not an array"),
    "nothing": (lambda: None, "is of type NoneType, which is not an array"),
    "one number": (lambda: 3.0, "is of type float, which is not an array"),
    "one number in an array": (lambda: np.array(3.0), "must have one entry per sample, but is the single value 3"),
    "whole beyond float32": (lambda: WHOLE + 2**24, "holds 16777217, which float32 rounds"),
    "whole far beyond": (
        lambda: np.full((20, 3), 2**63 + 1, np.uint64),
        "holds 9223372036854775809, which float32 rounds",
    ),
    "real beyond float32": (lambda: X.astype(float) * 1e300, "reaches .*, beyond float32: divide"),
    "real too small for float32": (lambda: X.astype(float) * 1e-300, "spans .*, which float32 rounds"),
    "seconds since 1970": (
        lambda: 1.7e9 + WHOLE.astype(float),
        "spans 59, which float32 rounds by up to .*: subtract its mean",
    ),
    "NaN": (lambda: np.where(X > 1, np.nan, X), "holds NaN in"),
    "infinite": (lambda: np.where(X > 1, np.inf, X), "holds infinite values"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_lost_is_one_sentence(name: str) -> None:
    make, said = REFUSED[name]
    with pytest.raises(BadInput, match=f"^modality 'x' {said}"):
        task(make())


NO_TARGETS: dict[str, tuple[Any, str]] = {
    "masked": (np.ma.masked_array(Y, mask=Y > 0), "has 10 masked values"),
    "complex": (Y * 1j, "is complex"),
    "words": (["yes", "no"] * 10, "holds text, such as .*yes.*: number its values"),
    "boxes": ([{"boxes": torch.zeros(1, 4)}] * 20, "holds Python objects"),
    "none known": ([None] * 20, "holds Python objects"),
    "dates": (np.zeros(20, "M8[s]"), "holds dates"),
    "beyond 64 bits": (np.full(20, 2**64 - 1, np.uint64), "reaches 18446744073709551615, beyond 64 bits with a sign"),
    "data set": (TensorDataset(torch.tensor(Y)), "is of type TensorDataset"),
}


@pytest.mark.parametrize("name", NO_TARGETS)
def test_targets_that_are_no_numbers_are_one_sentence(name: str) -> None:
    values, said = NO_TARGETS[name]
    with pytest.raises(BadInput, match=f"^the array of targets {said}"):
        task(y=values)


def test_whole_targets_of_a_regression_are_not_rounded() -> None:
    with pytest.raises(BadInput, match="the array of targets holds 16777217, which float32 rounds"):
        task(y=Y + 2**24, problem=Regression(1.0))


@pytest.mark.parametrize("inputs", [TensorDataset(torch.tensor(X)), [X], X, {0: X}])
def test_inputs_are_named(inputs: Any) -> None:
    with pytest.raises(BadInput, match="inputs must be a dictionary of names and arrays"):
        Task.from_arrays(inputs, Y)


@pytest.mark.parametrize("option", ["valid", "editable"])
def test_masks_are_yes_or_no(option: str) -> None:
    for yes in (
        np.ones((20, 3), bool),
        np.ones((20, 3)),
        torch.ones(20, 3, dtype=torch.uint8),
        np.ones((20, 3)).tolist(),
    ):
        assert (
            task(**{option: {"x": yes}}).definition_hash
            == task(**{option: {"x": np.ones((20, 3), bool)}}).definition_hash
        )
    for lengths, held in ((np.arange(20), "2"), (np.full((20, 3), 0.5), "0.5"), (np.full((20, 3), np.nan), "nan")):
        with pytest.raises(
            BadInput, match=f"the mask of modality 'x' holds {held}: give True or False for each value, not lengths"
        ):
            task(**{option: {"x": lengths}})


def test_ids_are_the_same_from_any_library() -> None:
    wanted = task(samples=list(range(20))).splits["test"].samples
    for ids in (np.arange(20), torch.arange(20), list(torch.arange(20)), list(np.arange(20)), pd.Series(range(20))):
        assert task(samples=ids).splits["test"].samples == wanted
    with pytest.raises(BadInput, match="got 19: '3' appears more than once"):
        task(samples=[3, *range(1, 20)])


CONSTANTS: dict[str, tuple[dict[str, Any], str]] = {
    "masked range": (
        {"ranges": {"x": (np.ma.masked_array([-9.0, -9, -9], [True, False, False]), 9)}},
        "has 1 masked values",
    ),
    "complex range": ({"ranges": {"x": (0j, 1)}}, "is of type complex"),
    "text for a range": ({"ranges": {"x": ("low", 9)}}, "is of type str"),
    "complex absent value": ({"absent": {"x": np.zeros(3, complex)}}, "is complex"),
    "text for an absent value": ({"absent": {"x": "none"}}, "is of type str"),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_ranges_and_absent_values_are_numbers(name: str) -> None:
    options, said = CONSTANTS[name]
    with pytest.raises(BadInput, match=f"the (range|absent value) of modality 'x' .*{said}"):
        task(**options)


def test_ranges_may_be_in_any_order_and_library() -> None:
    ends = (np.full(3, -9.0, ">f8"), [9, 9, 9])
    assert (
        task(ranges={"x": ends}).definition_hash
        == task(ranges={"x": (torch.full((3,), -9.0), torch.full((3,), 9.0))}).definition_hash
    )


def test_a_problem_has_what_problems_have() -> None:
    with pytest.raises(BadInput, match=r"the problem of task 'arrays' is not a .*: add shape, check_targets, loss"):
        task(problem=3)


def test_what_is_given_is_not_narrowed() -> None:
    given = task(extra_inputs={"near": np.full((20, 2), 2**40)}).splits["test"].inputs["near"]
    assert given.dtype == torch.int64 and bool((given == 2**40).all())
    with pytest.raises(BadInput, match="input 'near' reaches 1e\\+300, beyond float32"):
        task(extra_inputs={"near": np.full((20, 2), 1e300)})


def test_numbers_are_in_this_machines_order() -> None:
    assert native("x", X.astype(">f8")).dtype == np.float64
    assert task(problem=Classification(2)).problem == Classification(2)


SHUFFLED = np.random.default_rng(0).permutation(20)
JOINED = {
    "targets": lambda: {"y": pd.Series(Y, index=SHUFFLED)},
    "ids": lambda: {"samples": pd.Series(range(20), index=SHUFFLED)},
    "a mask": lambda: {"valid": {"x": pd.DataFrame(np.ones((20, 3), bool), index=SHUFFLED)}},
    "groups": lambda: {"groups": pd.Series(["a"] * 20, index=SHUFFLED)},
    "fewer rows named": lambda: {"y": pd.Series(Y, index=range(1, 21))},
}


@pytest.mark.parametrize("name", JOINED)
def test_rows_of_pandas_are_never_joined_across_their_names(name: str) -> None:
    frame = pd.DataFrame(X)
    with pytest.raises(BadInput, match=r"modality 'x' and .* have different pandas indices.*reset_index"):
        task(frame, **JOINED[name]())
    task(frame, pd.Series(Y, index=frame.index))
    task(frame.to_numpy(), **JOINED[name]()) if name == "targets" else None


def test_a_view_of_memory_is_its_array() -> None:
    assert task(memoryview(X)).data_hash == task(X).data_hash
    assert task(memoryview(np.asfortranarray(X))).data_hash == task(X).data_hash


def turned() -> Image.Image:
    picture = Image.new("RGB", (4, 4))
    picture.getexif()[0x0112] = 6
    return picture


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Image.new("P", (4, 4)), "type 'P', whose numbers are not what it shows"),
        (lambda: Image.new("RGBA", (4, 4)), "type 'RGBA'"),
        (turned, "turned by its EXIF: call PIL.ImageOps.exif_transpose"),
    ],
)
def test_pictures_are_numbers_only_where_those_are_what_they_show(
    make: Callable[[], Image.Image], why: str, several: bool
) -> None:
    with pytest.raises(BadInput, match=why):
        as_tensor("the image", [make()] if several else make())
    assert as_tensor("the image", [Image.new("L", (4, 4), 7)]).unique().tolist() == [7]


@pytest.mark.parametrize("what", ["present of one", "present as a table", "a mask"])
def test_tables_of_pandas_are_joined_by_name(what: str) -> None:
    index = [f"s{row}" for row in range(12)]
    x = pd.DataFrame(np.random.default_rng(0).random((12, 2)), index=index, columns=["p", "q"])
    other = pd.Series([True] * 6 + [False] * 6, index=index)
    options: dict[str, Any] = {
        "present of one": {"present": {"a": other.iloc[::-1]}},
        "present as a table": {"present": pd.DataFrame({"a": other, "b": True}).iloc[::-1]},
        "a mask": {"valid": {"a": pd.DataFrame(True, index=index, columns=["q", "p"])}},
    }[what]
    inputs, targets = {"a": x, "b": np.ones((12, 3))}, pd.Series(np.arange(12) % 2, index=index)
    with pytest.raises(BadInput, match=r"different pandas (indices|columns), but"):
        Task.from_arrays(inputs, targets, splits="test", **options)


def test_columns_of_present_are_found_by_name() -> None:
    x = {"a": np.ones((12, 2)), "b": np.ones((12, 3))}
    given = pd.DataFrame({"b": True, "a": [True] * 6 + [False] * 6})
    task = Task.from_arrays(x, np.arange(12) % 2, splits="test", present=given)
    there = task.splits["test"].take(range(12)).present
    assert there is not None and there.tolist() == [[row < 6, True] for row in range(12)]


@pytest.mark.parametrize("option", ["samples", "groups", "sources", "splits"])
@pytest.mark.parametrize("given", [{str(row): "train" for row in range(20)}, {"train", "test"}])
def test_names_without_an_order_are_refused(option: str, given: Any) -> None:
    with pytest.raises(BadInput, match="give a list, one name for each sample"):
        Task.from_arrays({"a": X}, Y, **{option: given})
