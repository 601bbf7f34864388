"""Checkpoints: weights as safetensors, and a card beside them that says where they came from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.files import write_whole

SUFFIX = ".safetensors"
COMMITTED = Path(__file__).parent / "weights"


def committed(task: str, model: str) -> Path:
    """Where the weights that travel with the package lie, whether or not they exist."""
    return COMMITTED / task / f"{model}{SUFFIX}"


def save(path: Path, model: nn.Module, card: dict[str, Any]) -> None:
    """Write the weights and, beside them as JSON, the card; each appears whole or not at all.

    Raises:
        BadInput: they cannot be written.
    """
    weights = to_safetensors({name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, weights)
        write_whole(path.with_suffix(".json"), json.dumps(card, indent=1).encode() + b"\n")
    except OSError as error:
        raise BadInput(f"checkpoint {path} cannot be written: {error.strerror or error}; mend that and train again") from None


def read_card(path: Path) -> dict[str, Any]:
    """The card of a checkpoint.

    Raises:
        BadInput: there is none, or it cannot be read.
    """
    name = path.with_suffix(".json").name
    try:
        card: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"checkpoint {path} has no readable card {name}: {error}") from None
    if not isinstance(card, dict) or not all(isinstance(card.get(key), str) for key in ("model", "task")):
        raise BadInput(f"checkpoint {path} has no readable card {name}: it must say its 'model' and its 'task', as `train` writes it")
    return card


def load(path: Path, model: nn.Module) -> None:
    """Fill a model with the weights of a checkpoint.

    Raises:
        BadInput: the file cannot be read or does not fit the model.
    """
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"checkpoint {path} cannot be read: {error}") from None
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise BadInput(f"checkpoint {path} does not fit the model: {reason}") from None


def weight_hash(model: nn.Module) -> str:
    """SHA-256 over all parameters and buffers by name, those among them that no checkpoint holds."""
    digest, held = hashlib.sha256(), {**model.state_dict(), **dict(model.named_buffers())}
    for name, value in sorted((name, value) for name, value in held.items() if isinstance(value, Tensor)):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
