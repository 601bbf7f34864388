"""The contents of `run.json`, typed: every reader and every writer uses a `Description`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from attacks.scenario import parse

FORMAT = 2  # of the directory; raised when a reader of the old one would misread the new one
MOST_CLASSES = 256  # of a map that is drawn
HIGHEST_RATE = 2**30  # Hz, that a sound file can name


class _Part(BaseModel):
    """Keys that this version does not know are kept, in their order: a later version may have
    written them.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    def content(self) -> dict[str, Any]:
        """The contents of the file: only the keys that were given."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class SavedConfig(_Part):
    """The part of the configuration that decides the results, as it was saved. `harness.run.config`
    describes each key.
    """

    task: str
    model: list[str]
    scenario: list[str] = Field(default_factory=list)
    frontier: list[str] = Field(default_factory=list)
    schedule: list[str] = Field(default_factory=list)
    corruption: list[str] = Field(default_factory=list)
    repeats: int | None = None
    search: str
    attack: list[str]
    judge: str = "answers"
    draws: int | None = None
    certify: str | None = None
    certify_samples: int | str | None = None
    certify_limit: float | None = None
    limit: float = Field(gt=0, allow_inf_nan=False)
    samples: int | str | None = None
    seed: int
    precision: str | None = None


class Options(_Part):
    """All options of the evaluation, as they were saved. Those that readers of a run need are
    typed; `harness.references.code_consent.configured` checks all of them before a run goes on.
    """

    shard: str | None = None
    seed: int | None = None
    witnesses: int | str | None = None
    trust: bool | None = None


class Identity(_Part):
    """Everything that determines the results. A dict holds hashes by name.

    Attributes:
        scenarios: the requested ones, in order.
        schedules: None in a run of an older version, which did not store them.
        thresholds: for graded answers, the shares of the untouched score; tables show the first.
        answers: hashes of the models' answers to fixed samples.
        batch_size: None unless results depend on which samples are computed together.
        labels: hashes of the answers of users' models to labels that the fixed samples lack.
        applied: hashes of the results of users' schedules, corruptions, attacks and searches on
            fixed samples.
        searches: of models that are searched otherwise than the configuration says.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    harness: str | None = None
    config: SavedConfig
    data: str | None = None
    task_definition: str = Field(alias="task definition")
    task_code: str | None = Field(None, alias="task code")
    problem: str | None = None
    weights: dict[str, str]
    code: dict[str, str] = Field(default_factory=dict)
    scenarios: list[str]
    thresholds: list[float] = Field(default_factory=list)
    search: str | None = None
    schedules: dict[str, str] | None = None
    attacks: dict[str, str] = Field(default_factory=dict)
    corruptions: dict[str, str] = Field(default_factory=dict)
    answers: dict[str, str] = Field(default_factory=dict)
    batch_size: int | None = Field(None, alias="batch size")
    labels: dict[str, str] = Field(default_factory=dict)
    applied: dict[str, str] = Field(default_factory=dict)
    searches: dict[str, str] = Field(default_factory=dict)

    def with_optional(
        self,
        thresholds: list[float],
        batch_size: int | None,
        labels: dict[str, str],
        applied: dict[str, str],
        searches: dict[str, str] | None = None,
    ) -> Identity:
        """A copy with those of these parts that are not empty. The file lacks the others, so the
        ids of runs that do not need them stay as they were.
        """
        parts = {
            "thresholds": thresholds,
            "batch_size": batch_size,
            "labels": labels,
            "applied": applied,
            "searches": searches or {},
        }
        return self.model_copy(update={key: value for key, value in parts.items() if value})


class AnswerForm(_Part):
    """The data that pages need to show the answers stored beside the witnesses.

    Attributes:
        kind: map, image, sound or boxes.
        classes: of a map or of boxes, by number.
        ignore: the target of a map's pixels that do not count.
        low, high: the range of an image's values.
        sample_rate: of a sound, in Hz.
        confidence: the least with which a box counts.
    """

    kind: str
    classes: list[str] = Field(default_factory=list, max_length=MOST_CLASSES)
    ignore: int | None = Field(None, ge=-(2**63), lt=2**63)
    low: float | None = Field(None, allow_inf_nan=False)
    high: float | None = Field(None, allow_inf_nan=False)
    sample_rate: int | None = Field(None, gt=0, le=HIGHEST_RATE)
    confidence: float | None = Field(None, allow_inf_nan=False)


class Description(_Part):
    """The identity of a run, its status, and where it was made.

    Attributes:
        status: see `harness.run.status`.
        config: None where the file does not hold it.
        samples: the number of samples under test; None in a run of an older version, which did not
            store it.
        answer: the form of answers that are maps, images, sounds or boxes; else None.
        tally: the number of values of a tally, where they do not stand in the rows; else None.
    """

    run: str
    status: str
    identity: Identity
    config: Options | None = None
    modalities: list[str]
    samples: int | None = None
    answer: AnswerForm | None = None
    tally: int | None = Field(None, gt=0)
    note: str = ""
    device: str | None = None
    machine: str | None = None
    versions: dict[str, str] | None = None
    git_commit: str | None = None

    @property
    def attacked(self) -> bool:
        """Whether the run attacks. Without attacks, every right answer would count as robust."""
        return bool(self.identity.config.search != "none" or self.identity.config.attack)

    @property
    def threshold(self) -> float | None:
        """The threshold that tables show; None where answers are right or wrong."""
        return self.identity.thresholds[0] if self.identity.thresholds else None


def described(content: object) -> Description:
    """The description that a file holds.

    Raises:
        ValueError: names a part that readers need and the description lacks.
    """
    try:
        found = Description.model_validate(content)
    except ValidationError as error:
        raise ValueError(".".join(str(part) for part in error.errors(include_url=False)[0]["loc"])) from None
    for text in found.identity.scenarios:
        parse(text)
    return found
