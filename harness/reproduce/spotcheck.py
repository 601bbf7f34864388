"""Spot checks: some recorded trials are repeated, and their robust scores are compared with those
on the page.

The search changes from version to version (`attacks.presets.VERSION`), and so do the strengths that
it finds. A check shows how much the numbers of a page would change, without training everything
again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from attacks.errors import BadInput
from attacks.presets import VERSION
from harness.reproduce.campaign import Trial, perform
from harness.reproduce.record import Record, read_record
from harness.reproduce.results import Results
from harness.storage.files import write_whole

FILE = "spot-check.json"
ON_GRID = 64  # strengths at which the curves are compared, up to the limit


@dataclass(frozen=True)
class Moved:
    """The robust scores of a repeated trial minus those in its record, in points.

    Attributes:
        trial: its name.
        searches: the versions of the search, recorded and now.
        alike: whether the model gives every test sample the score that is recorded.
        at_one: at strength 1, the mean over scenarios.
        furthest: at strength 1, in the scenario that changed most.
        curve: the mean over scenarios and strengths up to the limit.
    """

    trial: str
    searches: tuple[int, int]
    alike: bool
    at_one: float
    furthest: float
    curve: float


def check(results: Iterable[Results], count: int, folder: Path, device: str) -> list[Moved]:
    """Repeat `count` recorded trials: among those that are attacked, one seed of a system, spread
    over the half that trained faster.

    Args:
        folder: where their checkpoints and runs go.

    Raises:
        BadInput: nothing attacked is recorded.
    """
    found = {trial.name: trial for result in results for trial in result.trials if trial.done and trial.system.attacked}
    first = {(trial.task, trial.system.name): trial for trial in sorted(found.values(), key=lambda each: -each.seed)}
    by_time = sorted(first.values(), key=lambda each: read_record(each.record).card["seconds"])
    if not by_time:
        raise BadInput(
            "--spot-check: no trial with an attack is recorded, so there is nothing to compare with: leave it out"
        )
    places = dict.fromkeys((len(by_time) - 1) * (number + 1) // (2 * count) for number in range(count))
    return [_again(by_time[place], folder, device) for place in places]


def _again(trial: Trial, folder: Path, device: str) -> Moved:
    again = replace(trial, folder=folder, records=folder / "records")
    if not again.done:
        perform(again, device)
    return moved(trial, read_record(trial.record), read_record(again.record))


def moved(trial: Trial, before: Record, after: Record) -> Moved:
    """The difference of two records of one trial."""
    old, new = (_strengths(record) for record in (before, after))
    grid = np.linspace(0, trial.effort.limit, ON_GRID, endpoint=False)
    at_one = [100 * float((new[name] > 1).mean() - (old[name] > 1).mean()) for name in old]
    curves = [100 * float((new[name][:, None] > grid).mean() - (old[name][:, None] > grid).mean()) for name in old]
    alike = before.tables["split"].equals(after.tables["split"])
    furthest = max(at_one, key=abs)
    return Moved(trial.name, (before.search, VERSION), alike, float(np.mean(at_one)), furthest, float(np.mean(curves)))


def _strengths(record: Record) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    ledger = record.tables["ledger"]
    names, strengths = ledger.column("scenario").to_numpy(), ledger.column("strength").to_numpy()
    return {str(name): strengths[names == name] for name in dict.fromkeys(names)}


def write(records: Path, found: Iterable[Moved]) -> None:
    """Write the checks beside the records, for the page."""
    records.mkdir(parents=True, exist_ok=True)
    write_whole(records / FILE, (json.dumps([asdict(each) for each in found], indent=1) + "\n").encode())


def read(records: Path) -> list[Moved]:
    """The content that `write` wrote; empty if no check was made."""
    from pydantic import TypeAdapter

    if not (path := records / FILE).exists():
        return []
    try:
        return TypeAdapter(list[Moved]).validate_json(path.read_bytes())
    except ValueError:
        raise BadInput(
            f"{path} is not a list of spot checks: remove it, or write a new one with --spot-check"
        ) from None


def row(each: Moved) -> list[str]:
    """A line of the page's table."""
    recorded, now = each.searches
    return [
        each.trial,
        f"{recorded} → {now}",
        "yes" if each.alike else "no",
        f"{each.at_one:+.1f}",
        f"{each.furthest:+.1f}",
        f"{each.curve:+.1f}",
    ]


HEAD = ["trial", "search", "same clean scores", "at strength 1, mean", "at strength 1, largest", "whole curve"]
