"""The configuration of an evaluation. It comes from a YAML file and from flags, is checked, and is
saved with the run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from attacks.errors import BadInput, shown, unknown
from attacks.names import DEFAULT_LIMIT
from harness.storage.files import path_of
from harness.storage.yamlfile import MAX_BYTES, loaded, written

DEFAULT_MODELS = ("early", "concat", "mean", "late")
NO_SCHEDULE = ("none",)
DEFAULT_SCHEDULES = ("mcar:0,0.2,0.4,0.6,0.8",)
UNITS = {"s": 1, "m": 60, "h": 3600}
COUNTS = {
    "samples": (1, ("all",)),
    "certify_samples": (1, ("all",)),
    "witnesses": (0, ("none", "all")),
}  # the least number, and the words


class Evaluation(BaseModel):
    """The options of `evaluate`. Flags, keys of a configuration file and Python arguments have the
    names of its fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = Field(
        "digits",
        description=(
            "the task on which the models are tested: a name or file.py:object; by default, the task on which the"
            " weights were trained, or digits"
        ),
    )
    data_root: str | None = Field(
        None,
        description="the data folder, which holds one folder for each data set; without it, $ROBUSTNESS_DATA",
        min_length=1,
    )
    model: tuple[str, ...] = Field(
        DEFAULT_MODELS, description="a model: a name, a checkpoint, or file.py:object; repeatable", min_length=1
    )
    scenario: tuple[str, ...] = Field(
        (),
        description=(
            "an attack, such as 'image@linf:8/255 + text@missing'; repeatable; without one, each modality is attacked"
            " alone, and then all together"
        ),
    )
    frontier: tuple[str, ...] = Field(
        (),
        description=(
            "attack two modalities, such as image,audio, in five scenarios with different ratios of their radii;"
            " repeatable"
        ),
    )
    schedule: tuple[str, ...] = Field(
        DEFAULT_SCHEDULES,
        description=(
            "a schedule of missing modalities, given as name:rate,rate,..., or none for no schedule; repeatable"
        ),
    )
    corruption: tuple[str, ...] = Field(
        (), description="a corruption, as modality@name:severity,..., with severities from 0 (clean) to 5; repeatable"
    )
    repeats: int = Field(
        3, ge=1, description="the number of random draws at each rate of a schedule and each severity of a corruption"
    )
    search: str = Field(
        "standard",
        description=(
            "the search for critical strengths: fast, standard, thorough, blackbox?queries=5000, none, or"
            " file.py:function"
        ),
    )
    attack: tuple[str, ...] = Field(
        (),
        description="an attack at strength 1 after the search, such as pgd or 'torchattacks:APGD?steps=50'; repeatable",
    )
    judge: Literal["answers", "neighbours"] = Field(
        "answers",
        description="what decides that a sample fails: answers, or neighbours (for an encoder without labels)",
    )
    draws: int | None = Field(
        None,
        ge=2,
        le=1000,
        description=(
            "the number of draws of a random model (2 to 1,000), with stored seeds; a sample fails if it fails in at"
            " least half of them"
        ),
    )
    certify: Literal["linear", "enumeration"] | None = Field(
        None,
        description=(
            "also prove from which strength on nothing is known: by linear bounds of the model, or by enumeration of"
            " one and two tokens"
        ),
    )
    certify_samples: int | Literal["all"] = Field("all", description="the number of samples to certify, or all")
    certify_limit: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="a time for each sample and scenario (30s, 2m), after which what is certified by then counts",
    )
    limit: float = Field(DEFAULT_LIMIT, gt=0, allow_inf_nan=False, description="the largest strength searched")
    shard: str | None = Field(
        None,
        description=(
            "evaluate only part i of n of the samples, given as i/n; each shard writes its own directory, and merge"
            " joins them"
        ),
    )
    samples: int | Literal["all"] = Field(100, description="the number of test samples, or all")
    seed: int = Field(0, ge=0, lt=2**63, description="the seed of all random numbers")
    batch_size: int = Field(
        64, ge=1, description="the number of samples in a batch; a resumed run repeats a batch that was not finished"
    )
    engine: Literal["local", "ray"] = Field(
        "local", description="where batches are computed: local, or ray (needs the extra ray)"
    )
    address: str | None = Field(
        None,
        description="the Ray cluster, as HOST:6379 or auto; without it, the run starts one on this machine",
        min_length=1,
    )
    workers: int = Field(
        1,
        ge=1,
        description="the number of worker processes; each computes one batch at a time on its share of the cores",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the models run: auto, cpu or cuda")
    precision: Literal["float32", "bf16"] = Field(
        "float32", description="the number format of the search, float32 or bf16; results are verified in float32"
    )
    compile: bool = Field(False, description="search with a compiled copy of the model; the first steps take long")
    witnesses: int | Literal["none", "all"] = Field(
        8, description="the number of samples whose adversarial inputs are stored: none, a count or all"
    )
    attributions: int = Field(0, ge=0, description="the number of samples of each model that get attributions")
    budget: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="a time (90s, 5m, 2h) after which the run stops at the end of a batch; the same command resumes it",
    )
    cell_limit: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="a time (10m); a batch that takes longer becomes an error",
    )
    trust: bool = Field(True, description="check whether each worst-case number can be believed")
    out: str | None = Field(
        None, description="the run directory, a path or URL; without it, runs/TASK-ID", min_length=1
    )
    gates: str | None = Field(
        None, description="a gates file; exit 3 if a gate fails, 4 if one is inconclusive", min_length=1
    )
    baseline: str | None = Field(
        None,
        description="the baseline of max_drop and max_rise: a run, or a file that bless wrote",
        min_length=1,
    )

    @field_validator("model", "scenario", "frontier", "schedule", "corruption", "attack", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        values = (value,) if isinstance(value, str) else value
        if not isinstance(values, list | tuple) or not all(isinstance(each, str) for each in values):
            raise ValueError("give one text, or a list of texts")
        return values

    @field_validator(
        "repeats",
        "draws",
        "limit",
        "seed",
        "batch_size",
        "workers",
        "attributions",
        "budget",
        "cell_limit",
        "certify_limit",
        mode="before",
    )
    @classmethod
    def _no_bool(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("give a number: yes, no, true and false are not numbers")
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
            raise ValueError("'none' means that no input goes missing: leave the other schedules out")
        return value

    @field_validator("samples", "witnesses", "certify_samples", mode="before")
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
        """Expand `~`: a shell does it, a YAML file does not."""
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

    @field_validator("budget", "cell_limit", "certify_limit", mode="before")
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
"""Options that may differ when a run is resumed: they do not change the ledger or the sweep."""


def resolve(file: Path | None, flags: dict[str, Any]) -> Evaluation:
    """The configuration of a YAML file, overridden by flags; None means that a flag is not given.

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
    lines = ["# Options of `python -m harness evaluate`. A flag on the command line overrides its key here."]
    values = evaluation.model_dump(mode="json")
    for name, field in Evaluation.model_fields.items():
        text = f"{name}: {written(values[name])}"
        lines.append(f"{text}  # {field.description}" if field.description else text)
    return "\n".join(lines) + "\n"
