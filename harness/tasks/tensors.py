"""Arrays of any library as plain tensors. No part of an array is dropped silently."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.masked import MaskedTensor

from attacks.errors import BadInput, shown

KINDS = {
    "O": "Python objects, such as FIRST: give one array of numbers",
    "U": "text, such as FIRST: number its values",
    "S": "text, such as FIRST: number its values",
    "M": "dates: convert them to numbers",
    "m": "durations: convert them to numbers",
    "V": "records of several fields: give each field as an array",
}
MEND = "give a tensor or a NumPy array, one entry per sample"
ONE_BY_ONE = (
    "it holds its samples one by one: give one array per modality, as in torch.stack([dataset[i][0] for i in"
    " range(len(dataset))])"
)
ORIENTATION = 0x0112  # EXIF
SHORT = 2  # bytes of whole numbers that float32 holds without loss
LOST = 1e-4  # the largest rounding, as a share of the distance from the smallest value to the largest
CONSTANT = 1e-12  # values that vary less, as a share of their size, are a constant with rounding
AT_ONCE = 2**22  # values that a check looks at at a time, so that it needs little memory


def pieces(x: Tensor) -> Iterator[slice]:
    """The rows of a large tensor (N, ...), a few million values at a time."""
    step = max(1, AT_ONCE // max(1, math.prod(x.shape[1:])))
    for start in range(0, len(x), step):
        yield slice(start, min(start + step, len(x)))


def as_tensor(what: str, values: Any) -> Tensor:
    """The values in their own type, on the CPU.

    Args:
        what: their name in messages, as in ``modality 'image'``.
        values: a tensor, a NumPy array or an object that becomes one (pandas, JAX, ...), or numbers
            in lists.

    Raises:
        BadInput: they are masked, sparse, quantised, ragged or not numbers.
    """
    tensor = _tensor(what, values)
    if not tensor.ndim:
        raise BadInput(f"{what} must have one entry per sample, but is the single value {tensor.item()}")
    return tensor


def constant_tensor(what: str, value: Any) -> Tensor:
    """A number, or an array of them, in float32: an end of a range, or the stand-in of a modality.

    Raises:
        BadInput: see `as_tensor`; or it is complex.
    """
    x = torch.tensor(float(value)) if isinstance(value, int | float) else _tensor(what, value)
    if x.is_complex():
        raise BadInput(f"{what} is complex: give real numbers")
    return x.float()


def _tensor(what: str, values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return _dense(what, values)
    with warnings.catch_warnings():  # an array that may not be written stays as it is: no one writes to it
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(native(what, _array(what, values)))


def real_tensor(what: str, values: Any) -> Tensor:
    """The values in float32.

    Raises:
        BadInput: see `real_values`.
    """
    return real_values(what, values).float()


def real_tensors(what: str, values: Sequence[Tensor]) -> Tensor:
    """Values of one shape together in float32, (N, ...), also where their types differ.

    Raises:
        BadInput: see `real_values`.
    """
    if len({x.dtype for x in values}) == 1:
        return real_tensor(what, torch.stack(list(values)))
    return torch.stack([real_tensor(what, x[None])[0] for x in values])


def real_values(what: str, values: Any) -> Tensor:
    """Values in their own type, which float32 holds.

    Raises:
        BadInput: see `as_tensor`; or they are complex, beyond the range of float32, or need more
            digits than it has.
    """
    x = as_tensor(what, values)
    if x.is_complex():
        raise BadInput(
            f"{what} is complex: give its absolute value, or real and imaginary parts as two channels"
            " (torch.view_as_real)"
        )
    if x.dtype == torch.float64:  # float32 holds every shorter type
        _check_rounding(what, x)
    elif not x.is_floating_point() and x.element_size() > SHORT:
        _check_exact(what, x)
    return x


def target_tensor(what: str, values: Any, real: bool) -> Tensor:
    """Targets: real values in float32, as those of a regression are; others as whole numbers.

    Args:
        real: also whole numbers are real values.

    Raises:
        BadInput: see `real_tensor`; or whole numbers are beyond 64 bits with a sign.
    """
    targets = as_tensor(what, values)
    if targets.is_floating_point() or targets.is_complex() or real:
        return real_tensor(what, targets)
    if targets.dtype == torch.uint64 and int(targets.numpy().max(initial=0)) > torch.iinfo(torch.int64).max:
        raise BadInput(f"{what} reaches {targets.numpy().max()}, beyond 64 bits with a sign: number the classes from 0")
    return targets.long()


def mask_tensor(what: str, values: Any) -> Tensor:
    """Yes or no, bool.

    Raises:
        BadInput: see `as_tensor`; or they are numbers other than 0 and 1.
    """
    mask = as_tensor(what, values)
    if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
        raise BadInput(
            f"{what} holds {mask[(mask != 0) & (mask != 1)][0].item():g}: give True or False for each value, not"
            " lengths"
        )
    return mask.bool()


def native(what: str, array: NDArray[Any]) -> NDArray[Any]:
    """Numbers in this machine's byte order, contiguous, in a type that tensors know.

    Raises:
        BadInput: the array holds no numbers.
    """
    if array.dtype.kind == "V" and not array.dtype.names and np.can_cast(array.dtype, np.float32):
        array = array.astype(np.float32)  # bfloat16 and its like, which NumPy itself does not know
    if array.dtype.kind in KINDS:
        first = shown(array.reshape(-1)[:1].tolist()[0]) if array.size else "none"
        raise BadInput(f"{what} holds {KINDS[array.dtype.kind].replace('FIRST', first)}")
    kind = (
        np.dtype(np.float64)
        if array.dtype.kind == "f" and array.dtype.itemsize > np.dtype(np.float64).itemsize
        else array.dtype
    )
    return np.asarray(array, kind.newbyteorder("="), order="C" if min(array.strides, default=0) < 0 else "K")


def _dense(what: str, values: Tensor) -> Tensor:
    for strange, kind, mend in (
        (isinstance(values, MaskedTensor), "masked", "fill the masked values, and mark the others with valid="),
        (values.is_quantized, "quantised", "call .dequantize()"),
        (values.is_nested, "nested", "pad it with torch.nested.to_padded_tensor, and mark the real values with valid="),
        (values.layout != torch.strided, "sparse", "call .to_dense()"),
        (values.is_meta, "on the device meta, without values", "load it first"),
    ):
        if strange:
            raise BadInput(f"{what} is {kind}: {mend}")
    return values.detach().resolve_conj().resolve_neg().cpu()


def _check_pictures(what: str, values: Any) -> None:
    """Refuse pictures of Pillow whose pixels are not what they show."""
    for each in values if isinstance(values, list | tuple) else [values]:
        if type(each).__module__.partition(".")[0] != "PIL":
            return
        if each.mode not in ("L", "RGB", "I;16", "F", "1") or "transparency" in each.info:
            raise BadInput(
                f"{what} holds a picture of type {each.mode!r}, whose numbers are not what it shows: call"
                " .convert('RGB'), and put transparent pixels on a background first"
            )
        if each.getexif().get(ORIENTATION, 1) != 1:
            raise BadInput(f"{what} holds a picture that is turned by its EXIF: call PIL.ImageOps.exif_transpose")


def _array(what: str, values: Any) -> NDArray[Any]:
    _check_pictures(what, values)
    if count := _masked(values):
        raise BadInput(
            f"{what} has {count} masked values: fill them (.filled(0)), or mark the real values with valid=, if the"
            " others are"
            " padding"
        )
    if isinstance(values, Sequence) and not isinstance(values, str | bytes | memoryview):
        return _stacked(what, list(values))
    if isinstance(values, memoryview):
        return _called(what, lambda: np.asarray(values))
    if isinstance(values, str | bytes) or not (hasattr(values, "__array__") or hasattr(values, "__array_interface__")):
        one_by_one = hasattr(values, "__getitem__") and not isinstance(values, str | bytes | Mapping)
        mend = "it is sparse: call .toarray()" if hasattr(values, "toarray") else ONE_BY_ONE if one_by_one else MEND
        raise BadInput(f"{what} is of type {type(values).__name__}, which is not an array; {mend}")
    return _called(what, lambda: np.asarray(np.ma.getdata(values) if isinstance(values, np.ma.MaskedArray) else values))


def check_indices(tables: Mapping[str, Any]) -> None:
    """Refuse tables of pandas whose rows have different names, or another order: arrays are joined
    by position.

    Args:
        tables: all arguments, by their name in messages; those without an index of pandas are
            skipped.

    Raises:
        BadInput: naming two whose indices differ.
    """
    indexed = {
        what: each.index
        for what, each in tables.items()
        if type(each).__module__.partition(".")[0] == "pandas" and hasattr(each, "index")
    }
    for what, index in list(indexed.items())[1:]:
        first = next(iter(indexed))
        if not index.equals(indexed[first]):
            raise BadInput(
                f"{first} and {what} have different pandas indices, but rows are joined by position: give both in one"
                " order, as in b.loc[a.index], or call .reset_index(drop=True) on both to keep their order"
            )


def columns_by_name(given: Any) -> Any:
    """A pandas table of `present` by the names of its columns, where it has names."""
    columns = getattr(given, "columns", None)
    if isinstance(given, Mapping) or columns is None or not all(isinstance(each, str) for each in columns):
        return given
    return {name: given[name] for name in columns}


def check_columns(what: str, table: Any, other: str, second: Any) -> None:
    """Refuse two tables of pandas with the same columns in another order: they are joined by
    position.

    Raises:
        BadInput: naming both.
    """
    columns, others = getattr(table, "columns", None), getattr(second, "columns", None)
    if columns is not None and others is not None and not columns.equals(others):
        raise BadInput(
            f"{what} and {other} have different pandas columns, but columns are joined by position: give both in one"
            " order, as in b[a.columns], or as arrays"
        )


def _masked(values: Any) -> int:
    """How many values are masked, also in lists of masked arrays."""
    if isinstance(values, np.ma.MaskedArray):
        return int(np.ma.getmaskarray(values).sum())
    return sum(map(_masked, values)) if isinstance(values, list | tuple) else 0


def _stacked(what: str, values: list[Any]) -> NDArray[Any]:
    """Lists as one array."""
    if values and all(isinstance(each, Tensor) for each in values):
        dense = [_dense(what, each) for each in values]
        return _called(
            what, lambda: np.asarray(torch.stack([x.float() if x.dtype == torch.bfloat16 else x for x in dense]))
        )
    return _called(what, lambda: np.asarray(values))


def _called(what: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    try:
        return make()
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise BadInput(
            f"{what} cannot be made an array: {error}; give numbers, of one shape for every sample"
        ) from None


def _check_exact(what: str, x: Tensor) -> None:
    for rows in pieces(x):
        whole = x[rows].numpy()
        with np.errstate(invalid="ignore"):
            lost = x[rows].float().numpy().astype(whole.dtype) != whole
        if lost.any():
            raise BadInput(
                f"{what} holds {whole[lost].flat[0]}, which float32 rounds: subtract a constant, or give it as several"
                " values"
            )


def _check_rounding(what: str, x: Tensor) -> None:
    finite, worst = True, 0.0
    for part in (x[rows] for rows in pieces(x)):
        narrow, real = part.float(), part.isfinite()
        if bool((real & ~narrow.isfinite()).any()):
            raise BadInput(f"{what} reaches {x[x.isfinite()].abs().max():g}, beyond float32: divide it by a constant")
        finite &= bool(real.all())
        worst = max(worst, float((part - narrow).abs().max()) if finite and part.numel() else 0.0)
    if not finite or not x.numel():
        return
    low, high = (float(end) for end in x.aminmax())
    if worst > LOST * (high - low) > LOST * CONSTANT * max(-low, high):
        raise BadInput(
            f"{what} spans {high - low:g}, which float32 rounds by up to {worst:g}: subtract its mean, or change its"
            " unit"
        )
