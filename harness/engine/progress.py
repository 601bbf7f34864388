"""Progress: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

QUIET_SECONDS = 10.0  # between two plain lines


@runtime_checkable
class Reporter(Protocol):
    """Receives progress."""

    def advance(self, steps: int, note: str) -> None:
        """So many more steps are done; `note` is shown beside them."""


@dataclass
class _Bar:
    progress: Progress
    task: int

    def advance(self, steps: int, note: str) -> None:
        self.progress.update(self.task, advance=steps, note=note)  # type: ignore[arg-type]


@dataclass
class _Lines:
    console: Console
    title: str
    total: int
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    spoken: float = 0.0

    def advance(self, steps: int, note: str) -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.spoken >= QUIET_SECONDS or self.done >= self.total:
            self.spoken = now
            left = (now - self.started) / max(self.done, 1) * (self.total - self.done)
            self.console.print(
                f"{self.title}: {self.done}/{self.total} {note}, {left:.0f} s left", soft_wrap=True, markup=False
            )


@contextmanager
def reporting(console: Console, title: str, total: int) -> Iterator[Reporter]:
    """A reporter of work with `total` steps."""
    if not console.is_terminal:
        yield _Lines(console, title, total)
        return
    counted = TextColumn("{task.completed}/{task.total} {task.fields[note]}", markup=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), counted, TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress, progress.add_task(title, total=total, note=""))
