"""The command line as tests call it, and the example of the documentation as a user's file."""

import re
import sys
from pathlib import Path

import pytest

from harness.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "your-own-model.md"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of the command with these arguments."""
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def own_folder(folder: Path, extra: str = "") -> None:
    """Write `my.py`: the first example of the page on one's own model, and more code."""
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert example is not None
    (folder / "my.py").write_text(example[1] + extra)
