"""`train`: a model by a recipe, kept as a checkpoint."""

from __future__ import annotations

from rich.console import Console

from harness.tasks.files.dataroot import use
from harness.training.train import Training
from harness.training.train import train as carry_out


def train(training: Training, data_root: str | None, console: Console) -> None:
    """Train, and write the checkpoints and their cards.

    Raises:
        BadInput: an option that cannot be used, a model that does not fit the task, or a loss that
            is not finite.
    """
    use(data_root)
    carry_out(training, console)
