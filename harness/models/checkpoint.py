"""Checkpoints: weights as safetensors, and a card beside them that says where they came from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from attacks.errors import BadInput

SUFFIX = ".safetensors"
COMMITTED = Path(__file__).parent / "weights"


def committed(task: str, model: str) -> Path:
    """Where the weights that travel with the package lie, whether or not they exist."""
    return COMMITTED / task / f"{model}{SUFFIX}"


def save(path: Path, model: nn.Module, card: dict[str, Any]) -> None:
    """Write the weights and, beside them as JSON, the card."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}, path)
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")


def read_card(path: Path) -> dict[str, Any]:
    """The card of a checkpoint.

    Raises:
        BadInput: there is none, or it cannot be read.
    """
    try:
        card: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        return {"model": card["model"], "task": card["task"], **card}
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"checkpoint {path} has no readable card {path.with_suffix('.json').name}: {error}") from None


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
    """SHA-256 over all parameters and persistent buffers, by name."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
