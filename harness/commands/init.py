"""`init`: a commented configuration to start from."""

from __future__ import annotations

from pathlib import Path

from attacks.errors import BadInput
from harness.run.config import Evaluation, dump
from harness.storage.files import write_whole


def init(path: Path) -> None:
    """Write the configuration of `evaluate` at its defaults.

    Raises:
        BadInput: the file exists already, or cannot be written.
    """
    try:
        if path.exists():
            raise BadInput(f"{path} exists already: name another file, or remove it")
        write_whole(path, dump(Evaluation()).encode())
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}; name another file") from None
    print(f"{path} written; run it with: python -m harness evaluate --config {path}")
