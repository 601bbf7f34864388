"""Small runs whose answers are maps, images or sounds, each made once for a test run."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from rich.console import Console

from harness.commands.evaluate import evaluate
from harness.run.config import Evaluation

KINDS = ("maps", "images", "sounds")
FILE = """
from tests.harness.tasks.problems.linear_tasks import MODELS, TASKS
def task(): return TASKS["{name}"]()
def build(task): return MODELS["{name}"]()
"""


def made(folder: Path, kind: str, **options: object) -> Path:
    """A run in `folder/run` of the linear task of this kind, on four samples."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "my.py").write_text(FILE.format(name=kind))
    config = {"samples": 4, "batch_size": 2, "search": "fast", "schedule": ("none",), "trust": False, "device": "cpu"}
    config |= {"task": f"{folder}/my.py:task", "model": (f"{folder}/my.py:build",), "out": str(folder / "run")}
    assert evaluate(Evaluation(**{"witnesses": "all", **config, **options}), Console(quiet=True)) == 0
    return folder / "run"


@cache
def kept(kind: str) -> Path:
    """Such a run to look at and to copy, not to change."""
    return made(Path(mkdtemp()), kind)
