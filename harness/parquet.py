"""Parquet, in and out: the one place that knows how the tables of runs and baselines are read and written."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq


def decoded(content: bytes) -> pa.Table:
    """The table of a file's content; a page whose checksum is not its own is an error.

    Without Arrow's threads: a process that ends right after a read is aborted by them, nearly always, whatever it had to say
    (seen with pyarrow 26).

    Raises:
        pyarrow.ArrowException, OSError: it is damaged, or not Parquet.
    """
    return pq.read_table(io.BytesIO(content), use_threads=False, page_checksum_verification=True)


def encoded(table: pa.Table, compression: str = "snappy") -> bytes:
    """A file's content, every page with its checksum; the same table gives the same bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression, write_page_checksum=True)
    return buffer.getvalue()
