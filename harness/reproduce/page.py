"""A page of results in Markdown: prose, tables, plotly pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from harness.analysis import intervals
from harness.analysis.intervals import TOO_FEW, Array, Estimate
from harness.reproduce.cost import Cost
from harness.storage.files import write_whole

DIFFERENCES_IN = (
    "Differences are in {}, with a 95 % interval over seeds and samples. A difference is bold if its interval"
    " excludes zero. Where too few seeds or samples differ, no interval is given (docs/statistics.md)."
)
DIFFERENCES = DIFFERENCES_IN.format("points")

COSTS = ("parameters", "MFLOPs a sample", "ms a sample", "s of training")
MEASURED = (
    "FLOPs are of matrix products, convolutions and attention, a multiply-add as two. Time is of one forward pass in a"
    " batch of 64. Times were measured while other trials ran on the machine."
)


@dataclass
class Page:
    """Grows from the top; `write` saves it, with its pictures beside it.

    Attributes:
        path: the path of the page.
        remarks: on steps that failed, such as drawing.
    """

    path: Path
    parts: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def heading(self, text: str, level: int = 2) -> None:
        self.parts.append(f"{'#' * level} {text}")

    def paragraph(self, *sentences: str) -> None:
        if text := " ".join(sentence for sentence in sentences if sentence):
            self.parts.append(text)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        lines = [head, ["---"] * len(head), *rows]
        self.parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))

    def picture(self, figure: go.Figure, name: str, caption: str) -> None:
        """An SVG file if kaleido and Chrome are installed, else an HTML page."""
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.path.stem}-{name}.svg"
        try:
            figure.write_image(file)
        except (ValueError, ImportError, RuntimeError, OSError) as error:
            file = file.with_suffix(".html")
            figure.write_html(file)
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            self.remarks.append(f"{file.name} is an HTML page, not an image: {reason}")
        self.parts.append(f"![{caption}]({file.name})" if file.suffix == ".svg" else f"[{caption}]({file.name})")

    def write(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, ("\n\n".join(self.parts) + "\n").encode())
        return self.path


def mean_and_spread(scores: Array) -> str:
    """Scores (seeds, samples): the mean, and the standard deviation over seeds."""
    return of_seeds(scores.mean(1))


def of_seeds(values: Array) -> str:
    """One value per seed: their mean and standard deviation."""
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def points(estimate: Estimate) -> str:
    """A difference in points, bold if its interval excludes zero; then its bounds have enough
    digits to show that they are not zero.
    """
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.value:+.1f} ({TOO_FEW})"
    nearest = 100 * min(abs(estimate.low), abs(estimate.high))
    digits = next(each for each in count(1) if not estimate.surely or round(nearest, each) > 0)
    text = f"{100 * estimate.value:+.1f} [{100 * estimate.low:+.{digits}f}, {100 * estimate.high:+.{digits}f}]"
    return f"**{text}**" if estimate.surely else text


def costs(spent: Cost, seconds: float) -> list[str]:
    """The cells of `COSTS`."""
    return [f"{spent.parameters:,}", f"{spent.flops / 1e6:.2f}", f"{spent.milliseconds:.3f}", f"{seconds:.0f}"]


def median_strength(strengths: Array, limit: float) -> str:
    """The median of the strengths above 0, those of samples that are right untouched. A median
    beyond the search's limit is written as "≥ limit".
    """
    standing = strengths[strengths > 0]
    return intervals.median_strength(standing, limit).number() if len(standing) else "-"
