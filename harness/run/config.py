"""The configuration of an evaluation: from a YAML file, from flags, checked, and saved with the run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from attacks.errors import BadInput, shown, unknown
from attacks.search_state import DEFAULT_LIMIT
from harness.storage.files import path_of
from harness.storage.yamlfile import MAX_BYTES, loaded, written

DEFAULT_MODELS = ("early", "concat", "mean", "late")
NO_SCHEDULE = ("none",)
DEFAULT_SCHEDULES = ("mcar:0,0.2,0.4,0.6,0.8",)
UNITS = {"s": 1, "m": 60, "h": 3600}
COUNTS = {"samples": (1, ("all",)), "witnesses": (0, ("none", "all"))}  # the least number, and the words


class Evaluation(BaseModel):
    """Everything that `evaluate` can be told. Fields are flags of the same name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = Field("digits", description="what the models are tested on")
    data_root: str | None = Field(
        None, description="the folder of data sets; null: as the environment's ROBUSTNESS_DATA says", min_length=1
    )
    model: tuple[str, ...] = Field(DEFAULT_MODELS, description="the models under test", min_length=1)
    scenario: tuple[str, ...] = Field(
        (), description="attacks; empty: each modality alone, and all together, or, with a frontier, only that"
    )
    frontier: tuple[str, ...] = Field((), description="pairs of modalities, image,audio: five scenarios of different ratio each")
    schedule: tuple[str, ...] = Field(DEFAULT_SCHEDULES, description="missing modalities, name:rate,rate,...; none: no input goes missing")
    corruption: tuple[str, ...] = Field((), description="corrupted inputs, modality@name:severity,... (0 clean to 5)")
    repeats: int = Field(3, ge=1, description="draws of each schedule or corruption at each level")
    search: str = Field("standard", description="how hard to search for the critical strength")
    attack: tuple[str, ...] = Field((), description="attacks at strength 1 that follow the search, name?option=value&...")
    judge: Literal["answers", "neighbours"] = Field(
        "answers", description="what fails a sample: a wrong answer, or, of models that embed, its nearest training samples lost"
    )
    limit: float = Field(DEFAULT_LIMIT, gt=0, allow_inf_nan=False, description="largest strength searched")
    shard: str | None = Field(None, description="of the samples only the i-th of n parts, i/n; `merge` puts the run directories together")
    samples: int | Literal["all"] = Field(100, description="how many test samples, or all")
    seed: int = Field(0, ge=0, lt=2**63)
    batch_size: int = Field(64, ge=1, description="samples attacked at once, the unit of work that resuming skips")
    engine: Literal["local", "ray"] = Field("local", description="where batches are done: on this machine, or on Ray (extra ray)")
    address: str | None = Field(None, description="the Ray cluster; null: one of this machine, for as long as the run takes", min_length=1)
    workers: int = Field(1, ge=1, description="batches of samples done at a time, each in a process with its share of the cores")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bf16"] = Field("float32", description="what the search computes in; witnesses are verified in float32")
    compile: bool = Field(False, description="compile the model for the search; the first steps are slow")
    witnesses: int | Literal["none", "all"] = Field(8, description="for how many samples to keep the witnesses")
    attributions: int = Field(0, ge=0, description="for how many samples of each model to store what speaks for the right answer")
    budget: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="seconds after which to stop cleanly, after one batch at least; null: never"
    )
    cell_limit: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="seconds after which a cell, a batch of samples of one model, is an error; null: never"
    )
    trust: bool = Field(True, description="check how far each worst-case number can be trusted")
    out: str | None = Field(None, description="the run directory; null: named after the configuration under runs/", min_length=1)
    gates: str | None = Field(None, description="a gates file to hold the run against", min_length=1)
    baseline: str | None = Field(None, description="what its gates of drops are against: a run, or a file that bless wrote", min_length=1)

    @field_validator("model", "scenario", "frontier", "schedule", "corruption", "attack", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        values = (value,) if isinstance(value, str) else value
        if not isinstance(values, list | tuple) or not all(isinstance(each, str) for each in values):
            raise ValueError("give one text, or a list of texts")
        return values

    @field_validator("repeats", "limit", "seed", "batch_size", "workers", "attributions", "budget", "cell_limit", mode="before")
    @classmethod
    def _no_bool(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("give a number: yes, no, true and false are none")
        return value

    @field_validator("model", "scenario", "attack")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({each for each in value if value.count(each) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is named twice: name it once")
        return value

    @field_validator("schedule")
    @classmethod
    def _none_is_alone(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > 1 and NO_SCHEDULE[0] in value:
            raise ValueError("'none' means that no input goes missing: leave the others out")
        return value

    @field_validator("samples", "witnesses", mode="before")
    @classmethod
    def _count(cls, value: Any, info: ValidationInfo) -> Any:
        least, words = COUNTS[str(info.field_name)]
        if value in words:
            return value
        number = int(value) if re.fullmatch("[0-9]{1,18}", str(value)) else -1
        if number < least:
            raise ValueError(f"give a whole number from {least}, or {' or '.join(words)}")
        return number

    @field_validator("data_root", "out", "gates", "baseline")
    @classmethod
    def _home(cls, value: str | None) -> str | None:
        """A shell writes out `~`, a file of YAML does not."""
        if value is None or "://" in value:
            return value
        path = path_of(value)
        return str(path) if value.startswith("~") else value

    @field_validator("shard")
    @classmethod
    def _part(cls, value: str | None) -> str | None:
        numbers = None if value is None else re.fullmatch(r"(\d{1,9})/(\d{1,9})", value)
        if value is not None and (numbers is None or not 1 <= int(numbers[1]) <= int(numbers[2])):
            raise ValueError("give a part and how many there are, from 1/4 to 4/4")
        return value

    @field_validator("budget", "cell_limit", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"\s*(\d+\.?\d*)\s*([smh])\s*", value)
        if match is None:
            raise ValueError("give a number and a unit, such as 90s, 5m or 2h")
        return float(match[1]) * UNITS[match[2]]


RESULT_NEUTRAL = {
    "data_root",
    "shard",
    "batch_size",
    "engine",
    "address",
    "workers",
    "device",
    "budget",
    "cell_limit",
    "trust",
    "attributions",
    "out",
    "gates",
    "baseline",
}
"""What may differ when a run is resumed: it decides no row of the ledger or the sweep."""


def resolve(file: Path | None, flags: dict[str, Any]) -> Evaluation:
    """The configuration of a YAML file with flags on top; a flag that is None was not given.

    Raises:
        BadInput: the file cannot be read, or a key or value is not valid (the message names it).
    """
    given = _read(file) if file else {}
    given |= {key: value for key, value in flags.items() if value not in (None, [], ())}
    for key in given:
        if key not in Evaluation.model_fields:
            raise unknown("configuration key", key if isinstance(key, str) else shown(key), Evaluation.model_fields)
    try:
        return Evaluation.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if str(part) in Evaluation.model_fields)
        raise BadInput(f"{place} = {shown(given.get(place))}: {first['msg'].removeprefix('Value error, ')}") from None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = loaded(opened.read(MAX_BYTES + 1), f"configuration {file}") or {}
    except (OSError, ValueError) as error:
        raise BadInput(f"configuration {file} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise BadInput(f"configuration {file} must hold keys and values, such as 'task: digits'")
    return content


def dump(evaluation: Evaluation) -> str:
    """The configuration as commented YAML that `resolve` reads back."""
    lines = ["# What to evaluate. Any flag of `python -m harness evaluate` overrules its key here."]
    values = evaluation.model_dump(mode="json")
    for name, field in Evaluation.model_fields.items():
        text = f"{name}: {written(values[name])}"
        lines.append(f"{text}  # {field.description}" if field.description else text)
    return "\n".join(lines) + "\n"
