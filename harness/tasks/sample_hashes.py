"""Hashes of single samples: of their inputs, and of inputs and target."""

from __future__ import annotations

import hashlib

from harness.tasks.batch import PLACE, Batch


def sample_hashes(batch: Batch) -> list[str]:
    """A hash of each sample's inputs and target, 16 hexadecimal digits."""
    return [whole for _, whole in hash_pairs(batch)]


def hash_pairs(batch: Batch) -> list[tuple[str, str]]:
    """For each sample, a hash of its inputs, and a hash of inputs and target."""
    return [pair for part in batch.in_parts() for pair in _hash_pairs(part)]


def _hash_pairs(batch: Batch) -> list[tuple[str, str]]:
    columns = [batch.inputs[name] for name in sorted(batch.inputs) if name != PLACE] + [batch.targets]
    *arrays, targets = (column.detach().cpu().contiguous().numpy() for column in columns)
    hashes = []
    for row in range(len(batch)):
        inputs = hashlib.sha256(b"".join(array[row].tobytes() for array in arrays))
        whole = inputs.copy()
        whole.update(targets[row].tobytes())
        hashes.append((inputs.hexdigest()[:16], whole.hexdigest()[:16]))
    return hashes
