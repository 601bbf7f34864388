"""A study: settings by name, and the page of their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.reproduce.setting import Setting

if TYPE_CHECKING:
    from harness.reproduce.page import Page
    from harness.reproduce.results import Results


@dataclass(frozen=True)
class Study:
    """Settings by name, and the page of their results."""

    name: str
    settings: Mapping[str, Setting]
    write: Callable[[Mapping[str, Results], Page], None]
