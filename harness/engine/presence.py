"""Samples that came without a modality: the scenarios that can be run on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attacks.scenario import Scenario, closure
from harness.tasks import Batch, Task


def by_presence(task: Task, batch: Batch, group: Sequence[Scenario]) -> Iterator[tuple[list[int], list[Scenario]]]:
    """Rows of a batch that came with the same modalities, and the scenarios of a group, with all
    that they need, that attack only these.

    Yields:
        rows, and scenarios: the group itself where nothing that it attacks is absent.
    """
    patterns: dict[tuple[bool, ...], list[int]] = {}
    for row, there in enumerate(task.present(batch).tolist()):
        patterns.setdefault(tuple(there), []).append(row)
    together: dict[tuple[Scenario, ...], list[int]] = {}
    for there, rows in patterns.items():
        absent = {name for name, here in zip(task.names, there, strict=True) if not here}
        together.setdefault(tuple(able(group, absent)), []).extend(rows)
    for scenarios, rows in together.items():
        yield sorted(rows), list(scenarios)


def able(group: Sequence[Scenario], absent: set[str]) -> list[Scenario]:
    """The scenarios of a group that attack nothing absent; of the others, their parts that do
    not.
    """
    if not any(absent & set(scenario.attacked_names) for scenario in group):
        return list(group)
    return [scenario for scenario in closure(group) if not absent & set(scenario.attacked_names)]
