"""What `run.json` says of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from attacks.errors import BadInput
from attacks.scenario import parse


class _Config(BaseModel):
    model_config = ConfigDict(strict=True)
    task: str
    model: list[str]
    search: str
    attack: list[str]
    seed: int
    limit: float = Field(gt=0, allow_inf_nan=False)


class _Identity(BaseModel):
    model_config = ConfigDict(strict=True)
    config: _Config
    weights: dict[str, str]
    task_definition: str = Field(alias="task definition")
    scenarios: list[str]
    attacks: dict[str, str] = Field(default_factory=dict)
    corruptions: dict[str, str] = Field(default_factory=dict)


class _Description(BaseModel):
    model_config = ConfigDict(strict=True)
    run: str
    status: str
    modalities: list[str]
    identity: _Identity
    config: dict[str, Any] | None = None
    note: str = ""
    samples: int | None = None


def description_faults(described: Mapping[str, Any]) -> str:
    """What readers of a run rely on and its description lacks; empty where nothing is wrong."""
    try:
        _Description.model_validate(described)
        for text in described["identity"]["scenarios"]:
            parse(text)
    except ValidationError as error:
        return ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"])
    except BadInput as error:
        return str(error)
    return ""


def attacked(description: dict[str, Any]) -> bool:
    """Whether a run looks for failures at all; without, all that is right would pass for robust."""
    config = description["identity"]["config"]
    return bool(config["search"] != "none" or config["attack"])
