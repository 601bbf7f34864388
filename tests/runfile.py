"""Change `run.json` on purpose: with the checksum of the new content."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.run.seal import SEAL, checksum


def rewrite(run: str | Path, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The content after the change."""
    file = Path(run, "run.json")
    content = json.loads(file.read_text())
    content.pop(SEAL, None)
    change(content)
    file.write_text(json.dumps({**content, SEAL: checksum(content)}, indent=1) + "\n")
    return content
