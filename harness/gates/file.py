"""The gates file: limits for the numbers of a run.

inconclusive: fail
gates:
  - {model: concat, scenario: "image@linf:1.6", min: 0.60}
  - {model: concat, schedule: mcar, rate: 0.4, max_drop: 0.02, min_effect: 0.05}
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from attacks.errors import BadInput, plain, shown, unknown
from attacks.scenario import parse
from harness.storage.files import read_url
from harness.storage.yamlfile import MAX_BYTES, loaded

MAX_GATES = 500
SCORE: Final = "score"
ROBUST: Final = "robust score"
MEDIAN: Final = "median critical strength"
AREA: Final = "area"
WORST: Final = "worst modality"
GAP: Final = "gap to the oracle"
METRIC: Final = "metric"
CERTIFIED: Final = "certified score"
Measure = Literal[
    "score",
    "robust score",
    "median critical strength",
    "area",
    "worst modality",
    "gap to the oracle",
    "metric",
    "certified score",
]
LIMITS = ("min", "max", "max_drop", "max_rise")
SELECTIONS = ("scenario", "schedule", "corruption")
FITS = {
    SCORE: ((), ("schedule", "rate"), ("corruption", "severity")),
    ROBUST: (("scenario",), ("scenario", "strength")),
    CERTIFIED: (("scenario",), ("scenario", "strength")),
    MEDIAN: (("scenario",),),
    AREA: (("schedule",),),
    WORST: ((), ("strength",)),
    GAP: (("scenario",), ("scenario", "strength")),
    METRIC: (
        (),
        ("schedule", "rate"),
        ("corruption", "severity"),
        ("scenario",),
        ("scenario", "strength"),
    ),
}
"""The sets of selecting keys that each measure takes."""
WRITTEN = {
    SCORE: "nothing (the untouched input), schedule and rate, or corruption and severity",
    ROBUST: "scenario and, unless it is 1, strength",
    CERTIFIED: "scenario and, unless it is 1, strength",
    MEDIAN: "scenario",
    AREA: "schedule, without rate",
    WORST: "nothing (each modality missing), or strength (each modality attacked alone)",
    GAP: "scenario and, unless it is 1, strength",
    METRIC: "nothing (the untouched input), schedule and rate, corruption and severity, or scenario and strength",
}
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=1000)]


class Gate(BaseModel):
    """One limit on one number of a run; all keys but `model` and one of `min`, `max`, `max_drop`
    and `max_rise` may be left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Name = Field(description="the model, as the run names it")
    task: Name | None = Field(None, description="the task the run must be of")
    scenario: Name | None = Field(None, description="an attack, as 'image@linf:1.6'")
    strength: Annotated[Number, Field(ge=0)] | None = Field(None, description="of the attack; 1 if left out")
    threshold: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None,
        description="of graded answers: the share of its untouched score below which a sample has failed. The robust"
        " score is then the share of samples that have not failed, and not the mean of their lowest scores; a median is"
        " at the first threshold if this is left out",
    )
    schedule: Name | None = Field(
        None, description="a missing-modality schedule without its rates, as 'mcar' or 'fixed(audio)'"
    )
    rate: Annotated[Number, Field(ge=0, le=1)] | None = Field(None, description="the fraction missing")
    corruption: Name | None = Field(None, description="a corruption without its severities, as 'image@noise'")
    severity: Annotated[int, Field(strict=True, ge=0, le=5)] | None = Field(None, description="of the corruption")
    certified: bool = Field(
        False, description="limit the share that provably withstands, in place of the one that withstood every attack"
    )
    measure: Measure = Field(
        SCORE, description="the number to limit; by default 'robust score' for a scenario and 'score' otherwise"
    )
    metric: Name | None = Field(
        None, description="a metric over the set, as metrics.json names it ('miou'), in place of a measure"
    )
    min: Number | None = Field(None, description="the measure is at least this")
    max: Number | None = Field(None, description="the measure is at most this")
    max_drop: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="it is worse than the baseline's by at most this"
    )
    max_rise: Annotated[Number, Field(ge=0)] | None = Field(
        None, description="a metric that is better when lower exceeds the baseline's by at most this"
    )
    min_effect: Annotated[Number, Field(gt=0)] = Field(
        0.05, description="the change beyond max_drop or max_rise that must be noticed with 80 % power to pass"
    )

    @model_validator(mode="before")
    @classmethod
    def _measure_of_a_scenario(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("measure") is not None:
            return given
        if given.get("metric") is not None:
            return {**given, "measure": METRIC}
        if given.get("certified") is True:
            return {**given, "measure": CERTIFIED}
        return given if given.get("scenario") is None else {**given, "measure": ROBUST}

    @model_validator(mode="after")
    def _makes_sense(self) -> Gate:
        self._check_metric()
        if self.threshold is not None and self.measure not in (ROBUST, MEDIAN):
            raise ValueError(f"threshold is for measures {ROBUST!r} and {MEDIAN!r}, not {self.measure!r}")
        given = tuple(key for key in (*SELECTIONS, "strength", "rate", "severity") if getattr(self, key) is not None)
        if set(given) not in [set(keys) for keys in FITS[self.measure]]:
            raise ValueError(
                f"measure {self.measure!r} takes {WRITTEN[self.measure]}, not {' and '.join(given) or 'nothing'}"
            )
        if self.certified != (self.measure == CERTIFIED):
            raise ValueError(f"certified: true and measure {CERTIFIED!r} belong together, not measure {self.measure!r}")
        limits = [key for key in LIMITS if getattr(self, key) is not None]
        if len(limits) != 1:
            raise ValueError(
                f"a gate has exactly one of min, max, max_drop and max_rise, not {' and '.join(limits) or 'nothing'}"
            )
        if not self.compares and "min_effect" in self.model_fields_set:
            raise ValueError(f"min_effect needs max_drop or max_rise, not {limits[0]}")
        if self.certified and self.compares:
            raise ValueError(f"certified takes min or max, not {limits[0]}")
        self._check_limit(limits[0])
        if self.scenario is not None:
            parse(self.scenario)
        return self

    def _check_metric(self) -> None:
        if (self.metric is not None) != (self.measure == METRIC):
            raise ValueError(f"measure 'metric' and the key metric belong together, not measure {self.measure!r}")
        if self.max_rise is not None and self.metric is None:
            raise ValueError(f"max_rise is for metrics; {self.measure} takes max_drop")
        if self.metric is not None and self.compares and "min_effect" not in self.model_fields_set:
            raise ValueError("a change of a metric needs min_effect, in the unit of the metric")

    def _check_limit(self, key: str) -> None:
        """Refuse a limit beyond all possible numbers, such as 60 for 0.60."""
        if self.measure == METRIC:
            return
        least = -1.0 if self.measure == GAP else 0.0
        most = {MEDIAN: math.inf, GAP: 2.0 if key == "max_drop" else 1.0}.get(self.measure, 1.0)
        reached = self.limit + (self.min_effect if key == "max_drop" else 0.0)
        if not least <= self.limit <= most:
            raise ValueError(f"{key} = {self.limit:g}: {self.measure} lies between {least:g} and {most:g}")
        if reached > most:
            raise ValueError(f"{key} + min_effect = {reached:g}: {self.measure} cannot drop by more than {most:g}")

    @property
    def limit(self) -> float:
        """The one of `LIMITS` that is given."""
        return next(each for each in (self.min, self.max, self.max_drop, self.max_rise) if each is not None)

    @property
    def compares(self) -> bool:
        """Whether the limit is on a change, so that a baseline is needed."""
        return self.max_drop is not None or self.max_rise is not None

    @property
    def at(self) -> float:
        """The strength of the attack."""
        return 1.0 if self.strength is None else self.strength

    @property
    def attacks(self) -> bool:
        """Whether the measure is a query on the ledger, of the worst case or of certificates."""
        always = self.measure in (ROBUST, CERTIFIED, MEDIAN, GAP) or (
            self.measure == METRIC and self.scenario is not None
        )
        return always or (self.measure == WORST and self.strength is not None)

    @property
    def lower_is_better(self) -> bool:
        """Whether the measure is worse when it rises, as a gap and an error are."""
        return self.measure == GAP or self.max_rise is not None

    @cached_property
    def selection(self) -> str:
        """The condition of the inputs, as one text; empty for untouched inputs."""
        place = self.scenario or self.schedule or self.corruption or ""
        if self.scenario is not None:
            place = str(parse(self.scenario))
        if self.rate is not None:
            return f"{place} at {self.rate:g}"
        return place if self.severity is None else f"{place} at severity {self.severity}"

    def __str__(self) -> str:
        always = self.measure in (ROBUST, CERTIFIED, GAP) or (self.measure == METRIC and self.scenario is not None)
        strength = f" at strength {self.at:g}" if always or self.strength is not None else ""
        sides = {"min": "≥", "max": "≤"}
        limit = next((f"{sign} {self.limit:g}" for key, sign in sides.items() if getattr(self, key) is not None), None)
        if self.threshold is not None:
            strength += f", threshold {self.threshold:g}"
        worse = "rises" if self.lower_is_better else "drops"
        text = f"{self.model}{', ' if self.selection else ''}{self.selection}: {self.metric or self.measure}{strength}"
        return plain(f"{text} {limit or f'{worse} by ≤ {self.limit:g}'}")


class GatesFile(BaseModel):
    """All gates that decide one merge, and how an inconclusive gate counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gates: tuple[Gate, ...] = Field(min_length=1, max_length=MAX_GATES)
    inconclusive: Literal["fail", "pass", 4] = Field(4, description="fail (exit 3), pass (exit 0) or 4 (exit 4)")
    _lines: tuple[int, ...] = ()

    @property
    def lines(self) -> tuple[int, ...]:
        """The line of the file on which each gate begins, from 1."""
        return self._lines or (1,) * len(self.gates)


def read_gates(url: str) -> GatesFile:
    """Read a gates file, at a path or URL.

    Raises:
        BadInput: it cannot be read, is not YAML, or has an unknown part (the message names it).
    """
    try:
        content = read_url(url, MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"gates file {url} cannot be read: {plain(str(error))}") from None
    return parse_gates(content, f"gates file {url}")


def parse_gates(content: bytes, where: str) -> GatesFile:
    """The gates of a YAML text; `where` begins the error's sentence.

    Raises:
        BadInput: it is not YAML, or has an unknown part.
    """
    found = loaded(content, where)
    if not isinstance(found, dict) or not isinstance(found.get("gates"), list):
        raise BadInput(f"{where} must hold a list, 'gates: [{{model: NAME, min: 0.6}}, ...]'")
    for keys, known, place in _keys(found):
        for key in keys:
            if key not in known:
                raise BadInput(f"{where}{place}: {unknown('key', key if isinstance(key, str) else shown(key), known)}")
    try:
        gates = GatesFile.model_validate(found)
    except ValidationError as error:
        raise BadInput(f"{where}{_message(error)}") from None
    gates._lines = tuple(_lines(yaml.compose(content.decode(), Loader=yaml.SafeLoader)))
    return gates


def gate_of(**keys: Any) -> Gate:
    """A gate from its keys, for callers in Python.

    Raises:
        BadInput: a key or value that a gate does not have.
    """
    for key in keys:
        if key not in Gate.model_fields:
            raise unknown("key", key, Gate.model_fields, where=" of a gate")
    try:
        return Gate.model_validate(keys)
    except ValidationError as error:
        raise BadInput(f"gate{_message(error)}") from None


def _lines(node: yaml.Node | None) -> list[int]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    entries = next(
        (value for key, value in pairs if key.value == "gates" and isinstance(value, yaml.SequenceNode)), None
    )
    return [entry.start_mark.line + 1 for entry in entries.value] if entries else []


def _keys(found: dict[Any, Any]) -> list[tuple[list[Any], list[str], str]]:
    """The keys of the file and of each gate, the allowed keys, and their place."""
    entries = [
        (list(entry), list(Gate.model_fields), f", gate {at}")
        for at, entry in enumerate(found["gates"], 1)
        if isinstance(entry, dict)
    ]
    return [(list(found), list(GatesFile.model_fields), ""), *entries]


def _message(error: ValidationError) -> str:
    """The first error, after its place."""
    first = error.errors(include_url=False)[0]
    place = [part for part in first["loc"] if part != "gates"]
    number = f", gate {place[0] + 1}" if place and isinstance(place[0], int) else ""
    key = next((part for part in place if isinstance(part, str)), None)
    value = shown(first["input"]) if not isinstance(first["input"], dict) else ""
    named = f", {key}{f' = {value}' if value and first['type'] != 'missing' else ''}" if key else ""
    return f"{number}{named}: {plain(first['msg'].removeprefix('Value error, '))[:500]}"
