"""Parquet: the only place that reads and writes the tables of runs and baselines."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

MARK, DIGEST = b"sha256 of all else:", 32
ENDING = 8  # bytes after the footer: its length in four, and four letters
UNIQUE = {"sample", "hash", "witness", "tensor"}  # columns of texts that hardly recur
LISTS = ("tally",)  # columns of lists, which Parquet does not hold as a dictionary


def decoded(
    content: bytes,
    schema: pa.Schema | None = None,
    columns: Sequence[str] | None = None,
    optional: Collection[str] = (),
) -> pa.Table:
    """The table in a file's content; a changed byte is an error.

    It uses no threads of Arrow, neither for computing nor for reading ahead: they may abort a
    process that ends right after a read, and its output is lost (seen with pyarrow 26).
    `pyarrow.parquet.read_table` always reads ahead in a thread.

    Args:
        schema: that the file must have.
        columns: read only these; repeated texts become dictionaries.
        optional: columns of the schema that the file may lack; they are null then.

    Raises:
        pyarrow.ArrowException, OSError, ValueError: it is damaged, of another schema, or not
            Parquet.
    """
    own = pq.read_schema(io.BytesIO(content))
    absent = [] if schema is None else [each for each in schema if each.name in optional and each.name not in own.names]
    if schema is not None and not own.equals(pa.schema([each for each in schema if each not in absent])):
        raise ValueError("other columns")
    _refuse_what_differs(content)
    wanted = [name for name in columns or own.names if name in own.names]
    recurring = [name for name in wanted if columns and name not in (*UNIQUE, *LISTS)]  # ignored for numbers
    file = pq.ParquetFile(
        pa.BufferReader(content), read_dictionary=recurring, page_checksum_verification=True, pre_buffer=False
    )
    table = file.read(use_threads=False, columns=wanted)
    table.validate(full=True)
    for each in absent:
        kind = pa.dictionary(pa.int32(), each.type) if columns and pa.types.is_string(each.type) else each.type
        table = table.append_column(each.name, pa.nulls(len(table), kind))
    if schema is None or not absent:
        return table
    return table.select([name for name in schema.names if name in table.column_names])  # in the order of all parts


def encoded(table: pa.Table, compression: str = "snappy") -> bytes:
    """A file's content with its checksum inside; the same table gives the same bytes.

    Pages can have checksums of their own, but the footer cannot. A flipped bit in the footer loses
    rows, or ends the process that reads it. So a checksum of the whole file stands before the
    footer, where readers of Parquet do not look.
    """
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression, write_page_checksum=True)
    content = buffer.getvalue()
    footer = len(content) - ENDING - int.from_bytes(content[-ENDING : -ENDING + 4], "little")
    return content[:footer] + MARK + hashlib.sha256(content).digest() + content[footer:]


def is_sealed(content: bytes) -> bool:
    """Whether a file has a checksum of its content."""
    return MARK in content


def _refuse_what_differs(content: bytes) -> None:
    """Refuse a file whose checksum does not fit. Files of earlier versions and of other programs
    have no checksum.
    """
    at = content.rfind(MARK)
    if at < 0:
        return
    after = at + len(MARK)
    if hashlib.sha256(content[:at] + content[after + DIGEST :]).digest() != content[after : after + DIGEST]:
        raise ValueError("its checksum does not fit its contents")
