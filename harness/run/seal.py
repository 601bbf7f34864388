"""Checksums of the JSON files of a run: a flipped bit may show another number, or open a gate."""

from __future__ import annotations

import hashlib
import json

SEAL = "sha256"  # the key of the checksum


def checksum(content: object) -> str:
    """SHA-256 of a file's content, whatever the order of its keys and its layout."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
