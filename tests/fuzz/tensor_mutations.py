"""Mutations of the tensors beside a ledger."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pyarrow as pa
import torch

from harness.engine.ledger import witness_hash
from harness.storage.parquet import decoded, encoded
from harness.storage.tensorfile import from_bytes, to_bytes


def tensors(draw: random.Random, run: Path) -> None:
    """Tensors have another shape, type or key; now and then the ledger's hashes are those of the
    new ones.
    """
    files = sorted((run / draw.choice(["witnesses", "witnesses", "attributions"])).glob("*.safetensors"))
    if not files:
        return
    file = draw.choice(files)
    held = from_bytes(file.read_bytes())
    made = {key: shaped(draw, x) for key, x in held.items()} if draw.random() < 0.5 else dict(held)
    for key in draw.sample(list(held), min(3, len(held))):
        x = made.pop(key)
        made[draw.choice([key, key, f"{key}x", key.rpartition("|")[0], "", "|||"])] = shaped(draw, x)
    file.write_bytes(to_bytes(made))
    part = run / "ledger" / f"{file.stem}.parquet"
    if part.exists() and draw.random() < 0.7:
        agree(part, made)


def agree(part: Path, held: dict[str, torch.Tensor]) -> None:
    """Have the ledger name the witnesses that are there."""
    table = decoded(part.read_bytes())
    hashes = []
    for row in table.to_pylist():
        there = [
            held[key]
            for name in row["attacked"].split("+")
            if (key := f"{row['scenario']}|{row['sample']}|{name}") in held
        ]
        hashes.append(witness_hash(there) if there else row["witness"])
    part.write_bytes(
        encoded(table.set_column(table.column_names.index("witness"), "witness", pa.array(hashes, pa.string())))
    )


def shaped(draw: random.Random, x: torch.Tensor) -> torch.Tensor:
    x = x.real.clone() if x.is_complex() else x
    flat = x.flatten()
    made = [
        x,
        x[None],
        flat[:1],
        flat[:0],
        flat,
        x.sum(),
        torch.cat([flat, flat]),
        x.double(),
        x.half(),
        x.bfloat16(),
        x.long(),
        x > 0,
        x * math.nan,
        x * math.inf,
        x * 1e30,
        torch.zeros(3, 2, 1, 2),
        x.to(torch.complex64),
    ]
    return draw.choice(made).contiguous().clone()
