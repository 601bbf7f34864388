"""The evaluation that some gates need."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.errors import BadInput
from harness.analysis.measures import oracle_of
from harness.gates.file import AREA, GAP, Gate
from harness.run.config import DEFAULT_SCHEDULES, Evaluation, resolve

RATES = DEFAULT_SCHEDULES[0].partition(":")[2]  # of an area


def evaluation_for(gates: Sequence[Gate], samples: str) -> Evaluation:
    """The configuration of a run with all parts that the gates name, oracles included.

    Raises:
        BadInput: they name several tasks, or a part that cannot be used.
    """
    tasks = list(dict.fromkeys(gate.task for gate in gates if gate.task is not None))
    if len(tasks) > 1:
        raise BadInput(f"the gates name several tasks ({', '.join(tasks)}): evaluate each task, and name its run")
    oracles = [oracle_of(gate.scenario or "") for gate in gates if gate.measure == GAP]
    wanted = {
        "task": tasks[0] if tasks else None,
        "model": _once([*(gate.model for gate in gates), *(oracle for oracle in oracles if oracle)]),
        "scenario": _once([gate.scenario for gate in gates if gate.scenario]),
        "schedule": _once([schedule for gate in gates if (schedule := _schedule(gate))]),
        "corruption": _corruptions(gates),
        "search": None if any(gate.attacks for gate in gates) else "none",
        "samples": samples,
        "witnesses": "none",
    }
    return resolve(None, wanted)


def _schedule(gate: Gate) -> str | None:
    if gate.schedule is None:
        return None
    return f"{gate.schedule}:{RATES}" if gate.measure == AREA else f"{gate.schedule}:{gate.rate!r}"


def _corruptions(gates: Sequence[Gate]) -> list[str]:
    """Each with all its severities: an evaluation takes a corruption once."""
    severities: dict[str, set[int]] = {}
    for gate in gates:
        if gate.corruption is not None and gate.severity is not None:
            severities.setdefault(gate.corruption.strip(), set()).add(gate.severity)
    return [f"{name}:{','.join(map(str, sorted(each)))}" for name, each in severities.items()]


def _once(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))
