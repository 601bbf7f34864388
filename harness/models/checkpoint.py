"""Checkpoints: weights as safetensors, and beside them a checkpoint card with their origin and
their hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from attacks.errors import BadInput, shown
from harness.models.calling import Answered, Called
from harness.storage.files import write_whole
from harness.storage.tensorfile import as_bytes
from harness.tasks.files.textfiles import read_text

SUFFIX = ".safetensors"
LOST = 0.01  # the largest rounding, as a share of the largest number: half precision takes less
HASH = "sha256"  # the card's key for that of the file of weights
REAL = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
"""The types that a real parameter may be read from. The eight bits of float8 mean little without
their scale.
"""
COMMITTED = Path(__file__).parent / "weights"


def committed(task: str, model: str) -> Path:
    """The path of weights that travel with the package, whether or not they exist."""
    return COMMITTED / task / f"{model}{SUFFIX}"


def save(path: Path, model: nn.Module, card: dict[str, Any]) -> None:
    """Write the weights and, beside them as JSON, the card with their hash; each appears whole or
    not at all.

    Raises:
        BadInput: they cannot be written.
    """
    weights = to_safetensors(
        {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, weights)
        hashed = {**card, HASH: hashlib.sha256(weights).hexdigest()}
        write_whole(path.with_suffix(".json"), json.dumps(hashed, indent=1).encode() + b"\n")
    except OSError as error:
        raise BadInput(
            f"checkpoint {path} cannot be written: {error.strerror or error}; fix this and train again"
        ) from None


def check_storable(model: nn.Module) -> None:
    """Refuse a model whose state no checkpoint can hold, before it is trained.

    Raises:
        BadInput: naming what is not a dense tensor.
    """
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
            kind = "a sparse or quantised tensor" if isinstance(value, Tensor) else f"of type {type(value).__name__}"
            raise BadInput(
                f"the model's state holds {name!r}, {kind}, which no checkpoint can hold: keep it out of the"
                " state_dict, as register_buffer(..., persistent=False) does"
            )


def read_card(path: Path) -> dict[str, Any]:
    """The card of a checkpoint.

    Raises:
        BadInput: there is no card, or it cannot be read.
    """
    name = path.with_suffix(".json").name
    try:
        card: dict[str, Any] = json.loads(read_text(path.with_suffix(".json")))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"checkpoint {path} has no readable card {name}: {error}") from None
    if not isinstance(card, dict) or not all(isinstance(card.get(key), str) for key in ("model", "task")):
        raise BadInput(
            f"checkpoint {path} has no readable card {name}: it needs the keys 'model' and 'task', as `train`"
            " writes them"
        )
    return card


def load(path: Path, model: nn.Module) -> None:
    """Fill a model with the weights of a checkpoint.

    Raises:
        BadInput: the file cannot be read, does not fit the model, or is not the one whose hash its
            card has.
    """
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"checkpoint {path} cannot be read: {error}") from None
    model = _inner(model, weights)
    expected = model.state_dict()
    _check_names(path, weights, expected)
    for name in weights.keys() & expected.keys():
        _check_type(path, name, weights[name], expected[name])
    _check_hash(path)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise BadInput(f"checkpoint {path} does not fit the model: {reason}") from None


def _inner(model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network behind the adapter that calls it, where the weights are the network's own."""
    inside = isinstance(model, Called | Answered) and not weights.keys() & model.state_dict().keys()
    network: nn.Module = model.network if inside else model  # type: ignore[assignment]
    return network


def _check_names(path: Path, weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Refuse the names that DataParallel (module.), torch.compile (_orig_mod.) or Lightning
    (model.) leave.
    """
    first = next(iter(expected), "")
    for prefix in {name.removesuffix(first) for name in weights if name.endswith(f".{first}")}:
        if all(f"{prefix}{name}" in weights for name in expected):
            raise BadInput(
                f"checkpoint {path} has {prefix!r} before the names of its tensors, because a wrapper was saved: "
                f"save the state_dict of the inner model, or remove {prefix!r} from the names"
            )


def _check_type(path: Path, name: str, found: Tensor, expected: Tensor) -> None:
    """Refuse a tensor whose type cannot hold the model's numbers, and one that holds NaN."""
    real, both = expected.is_floating_point(), (found.dtype, expected.dtype)
    if (
        found.dtype not in REAL
        if real
        else torch.promote_types(*both) != expected.dtype or _kind(found) != _kind(expected)
    ):
        raise BadInput(
            f"checkpoint {path} holds {name!r} as {found.dtype}, and the model needs {expected.dtype}: save "
            + (
                "real numbers (float16 to float64), with a quantised model's scales multiplied in"
                if real
                else "that type"
            )
        )
    if real and bool(found.isnan().any()):
        raise BadInput(
            f"checkpoint {path} holds NaN in {name!r}: its training diverged, or it is damaged; train it again"
        )
    if real and bool(found.isfinite().all()) and not _fits(found, expected.dtype):
        raise BadInput(f"checkpoint {path} holds numbers in {name!r} beyond {expected.dtype}: save numbers nearer to 1")


def _fits(x: Tensor, kind: torch.dtype) -> bool:
    """Whether a type holds numbers, except for rounding: no number becomes infinite, and not all
    become 0.
    """
    narrow, size = x.to(kind), x.abs()
    return bool(narrow.isfinite().all()) and bool(
        ((narrow.to(x.dtype) - x).abs() <= LOST * size.max()).all() if x.numel() else True
    )


def _kind(x: Tensor) -> str:
    return (
        "bool"
        if x.dtype == torch.bool
        else "complex"
        if x.is_complex()
        else "real"
        if x.is_floating_point()
        else "whole"
    )


def _check_hash(path: Path) -> None:
    """Refuse weights that differ from those of their card. Older cards have no hash, and are not
    checked.
    """
    if not path.with_suffix(".json").is_file():
        return
    card = read_card(path)
    if odd := next((key for key in card if key != HASH and key.strip().lower().replace("-", "") == HASH), None):
        raise BadInput(
            f"the card of checkpoint {path} has {shown(odd)}, and the hash of the weights is {HASH!r}: rename it"
        )
    if HASH not in card:
        return
    said = card[HASH]
    if not isinstance(said, str) or not re.fullmatch("[0-9a-fA-F]{64}", said):
        raise BadInput(
            f"the card of checkpoint {path} has {shown(said)} for {HASH!r}, which is not a SHA-256: write the hash of"
            " the"
            " weights, or remove the line"
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != said.lower():
        raise BadInput(
            f"checkpoint {path} has SHA-256 {found[:16]}…, and its card names {shown(said)[1:17]}…: it is damaged or"
            f" was changed; fetch it again, or remove {HASH!r} from the card if you intended the change"
        )


def weight_hash(model: nn.Module) -> str:
    """SHA-256 over all parameters and buffers by name, those among them that no checkpoint
    holds.
    """
    digest, held = hashlib.sha256(), {**model.state_dict(), **dict(model.named_buffers())}
    for name, value in sorted((name, value) for name, value in held.items() if isinstance(value, Tensor)):
        if not is_lazy(value):  # a layer that the model never used has no values yet
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(as_bytes(value))
    return digest.hexdigest()
