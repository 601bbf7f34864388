"""What is read is what was written, and a process that reads and ends, ends as it says."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from harness.parquet import decoded, encoded

ENDS = "import sys; from pathlib import Path; from harness.parquet import decoded; decoded(Path(sys.argv[1]).read_bytes()); sys.exit(2)"


def test_read_is_written() -> None:
    table = pa.table({"sample": ["a", "b"], "strength": [0.5, float("inf")]})
    assert decoded(encoded(table)).equals(table) and encoded(table) == encoded(table)
    with pytest.raises(pa.ArrowException):
        decoded(b"not Parquet")


def test_a_process_that_ends_after_a_read_is_not_aborted(tmp_path: Path) -> None:
    """With Arrow's threads nearly every one is."""
    (tmp_path / "part.parquet").write_bytes(encoded(pa.table({"strength": [0.5] * 100, "sample": ["a"] * 100})))
    command = [sys.executable, "-c", ENDS, str(tmp_path / "part.parquet")]
    assert [subprocess.run(command, check=False).returncode for _ in range(5)] == [2] * 5


def test_no_flipped_bit_loses_rows() -> None:
    """Wherever it is, what is said of the pages included: the same rows, or an error."""
    table = pa.table({"sample": [f"sample-{at}" for at in range(16)], "strength": [at / 7 for at in range(16)], "status": ["ok"] * 16})
    content = encoded(table)
    for at in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        try:
            read = decoded(bytes(flipped), table.schema)
        except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError):
            continue
        assert read.equals(table), f"bit {at}"
