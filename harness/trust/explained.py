"""The explanation of each check: what it tests, what raises it, and what to do.

The text stands in `docs/trust.md` alone, under a heading for each check. The wheel holds a copy of
that page beside this file.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

PAGES = (Path(__file__).with_name("trust.md"), Path(__file__).parents[2] / "docs" / "trust.md")
SECTION = re.compile(r"^### (\S+)\n(.*?)(?=^##|\Z)", re.M | re.S)
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)[^)]*\)")


@cache
def explanations() -> dict[str, str]:
    """The explanation of each check as Markdown, by name; links to other pages are plain text."""
    page = next(each for each in PAGES if each.is_file()).read_text(encoding="utf-8")
    return {name: LINK.sub(r"\1", text).strip() for name, text in SECTION.findall(page)}
