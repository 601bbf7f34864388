"""A table reads back as written, and no thread is left that could abort the process."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from harness.storage.parquet import decoded, encoded

STARTS = """
import os, sys
from pathlib import Path
from harness.storage.parquet import decoded

content, before = Path(sys.argv[1]).read_bytes(), os.listdir("/proc/self/task")
print(len(decoded(content, columns={columns})), len(set(os.listdir("/proc/self/task")) - set(before)))
"""


def test_read_is_written() -> None:
    table = pa.table({"sample": ["a", "b"], "strength": [0.5, float("inf")]})
    assert decoded(encoded(table)).equals(table) and encoded(table) == encoded(table)
    with pytest.raises(pa.ArrowException):
        decoded(b"not Parquet")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads that are not Python's are counted by Linux")
@pytest.mark.parametrize("columns", ["None", "['strength', 'sample']"])
def test_a_read_starts_no_thread(tmp_path: Path, columns: str) -> None:
    """A process that ends while such a thread is alive sometimes aborts and loses its output."""
    (tmp_path / "part.parquet").write_bytes(encoded(pa.table({"strength": [0.5] * 100, "sample": ["a"] * 100})))
    command = [sys.executable, "-c", STARTS.format(columns=columns), str(tmp_path / "part.parquet")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == ["100", "0"]


def test_no_flipped_bit_loses_rows() -> None:
    """At any place, also in the description of the pages: the same rows, or an error."""
    table = pa.table(
        {
            "sample": [f"sample-{at}" for at in range(16)],
            "strength": [at / 7 for at in range(16)],
            "status": ["ok"] * 16,
        }
    )
    content = encoded(table)
    for at in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        try:
            read = decoded(bytes(flipped), table.schema)
        except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError):
            continue
        assert read.equals(table), f"bit {at}"
