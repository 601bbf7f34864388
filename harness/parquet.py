"""Parquet, in and out: the one place that knows how the tables of runs and baselines are read and written."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

UNIQUE = {"sample", "hash", "witness", "tensor"}  # columns of texts that hardly recur


def decoded(content: bytes, schema: pa.Schema | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of a file's content; a page whose checksum is not its own is an error.

    Without Arrow's threads: a process that ends right after a read is aborted by them, nearly always, whatever it had to say
    (seen with pyarrow 26).

    Args:
        schema: that the file must have.
        columns: of these alone, texts that recur as dictionaries.

    Raises:
        pyarrow.ArrowException, OSError, ValueError: it is damaged, of another schema, or not Parquet.
    """
    if schema is not None and not pq.read_schema(io.BytesIO(content)).equals(schema):
        raise ValueError("other columns")
    recurring = [name for name in columns or () if name not in UNIQUE]  # of numbers, it is not heeded
    table = pq.read_table(
        io.BytesIO(content),
        columns=columns and list(columns),
        read_dictionary=recurring,
        use_threads=False,
        page_checksum_verification=True,
    )
    table.validate(full=True)
    return table


def encoded(table: pa.Table, compression: str = "snappy") -> bytes:
    """A file's content, every page with its checksum; the same table gives the same bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression, write_page_checksum=True)
    return buffer.getvalue()
