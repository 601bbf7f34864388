"""Counter-based randomness: a draw is a function of its key, not of earlier draws."""

from __future__ import annotations

import hashlib

import torch


def keyed_seed(*key: object) -> int:
    """A 63-bit seed from any printable key."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def keyed_generator(*key: object) -> torch.Generator:
    """A CPU generator seeded from the key; the draws are the same on every device."""
    return torch.Generator().manual_seed(keyed_seed(*key))
