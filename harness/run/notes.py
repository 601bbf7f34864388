"""Notes about a run as a whole, each a JSON file that names its run: the checks of trust, the
verdicts of gates, and the metrics over the set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attacks.errors import BadInput
from harness.run.seal import SEAL, checksum
from harness.run.set_metrics import SetMetric, packed, unpacked
from harness.run.validation import OWNER, decided, trusted
from harness.storage.folder import Storage

TRUST_FILE = "trust.json"
GATES_FILE = "gates.json"
METRICS_FILE = "metrics.json"
Content = TypeVar("Content")


class Notes:
    """The notes of the run in a folder.

    Args:
        run: reads the run's id.
    """

    def __init__(self, storage: Storage, run: Callable[[], str]) -> None:
        self._storage, self._run, self._url = storage, run, storage.url

    def write_trust(self, flags: Mapping[str, Any]) -> None:
        """Write `trust.json`: the id of the run, and the result of each check, by model, scenario
        and flag.
        """
        owner: dict[str, Any] = {self._run(): {}, f"{SEAL} {checksum(flags)}": {}}
        self._storage.write(TRUST_FILE, json.dumps({OWNER: owner, **flags}, indent=1).encode() + b"\n")

    def write_gates(self, verdicts: list[dict[str, Any]]) -> None:
        """Write `gates.json`: the verdict of each gate.

        Raises:
            BadInput: it cannot be written.
        """
        try:
            owned = [{OWNER: self._run(), **verdict} for verdict in verdicts]
            self._storage.write(GATES_FILE, json.dumps(owned, indent=1, allow_nan=False).encode() + b"\n")
        except OSError as error:
            raise BadInput(f"run {self._url}: {GATES_FILE} cannot be written: {error.strerror or error}") from None

    def write_metrics(self, metrics: Sequence[SetMetric]) -> None:
        """Write `metrics.json`: the metrics over the set, under every condition."""
        found = packed(metrics)
        content = {OWNER: self._run(), SEAL: checksum(found), "metrics": found}
        self._storage.write(METRICS_FILE, json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")

    def metrics(self) -> list[SetMetric]:
        """The content of `metrics.json`; empty if it was not written.

        Raises:
            BadInput: it is damaged, or another run's.
        """
        mend = "remove that file and run the same command: the metrics are made again"
        found = self._noted(METRICS_FILE, _metrics, mend)
        if found is None:
            return []
        owner, metrics = found
        self._refuse_foreign(METRICS_FILE, owner, mend)
        return metrics

    def gates(self) -> list[dict[str, Any]]:
        """The verdicts of `gates.json`; empty where no gate was decided.

        Raises:
            BadInput: it is damaged, or another run's.
        """
        mend = "run `gate` on it again"
        found = self._noted(GATES_FILE, decided, mend) or []
        for row in found:
            self._refuse_foreign(GATES_FILE, row.pop(OWNER, None), mend)
        return found

    def _noted(self, name: str, read: Callable[[Any], Content], mend: str) -> Content | None:
        """The contents of a JSON file, as `read` has them; None where there is no file."""
        if not self._storage.exists(name):
            return None
        try:
            return read(json.loads(self._storage.read(name)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise BadInput(f"run {self._url} is damaged: {name} cannot be read; {mend}") from None

    def _refuse_foreign(self, name: str, owner: object, mend: str) -> None:
        """Refuse a file of another run. Earlier versions did not store the run's id in it."""
        own = self._run()
        if owner not in (None, own):
            raise BadInput(f"run {self._url} is damaged: {name} is of run {owner!r}, this is run {own!r}; {mend}")

    def trust(self) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
        """The flags of `trust.json`; empty where no checks were made.

        Raises:
            BadInput: it is damaged, or another run's.
        """
        mend = "remove that file and run the same command: the checks are made again"
        found = self._noted(TRUST_FILE, _trust, mend) or {}
        self._refuse_foreign(TRUST_FILE, next(iter(found.pop(OWNER, {})), None), mend)
        return found


def _trust(content: Any) -> dict[str, Any]:
    """The flags, with the id of the run.

    Raises:
        ValueError: they are not those that were written.
    """
    flags = {model: each for model, each in content.items() if model != OWNER}
    seals = [key for key in content.get(OWNER, {}) if key.startswith(SEAL)]
    if seals and seals != [f"{SEAL} {checksum(flags)}"]:
        raise ValueError("the flags are not those of the checksum")
    return trusted(content)


def _metrics(content: Any) -> tuple[str, list[SetMetric]]:
    """The id of the run, and its metrics.

    Raises:
        ValueError: they are not those that were written.
    """
    if content.get(SEAL, "") not in ("", checksum(content["metrics"])):
        raise ValueError("the metrics are not those of the checksum")
    found = unpacked(content["metrics"])
    if not found:
        raise ValueError("a run has at least one metric")
    return content[OWNER], found
