"""Permission: what a run's description names is only run here if the command line names it, too; a run may come from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from attacks.errors import BadInput
from harness.config import Evaluation
from harness.registry import code_of

LEVELS = re.compile(r":[\d.,\s]+$")  # of a schedule or a corruption


def permitted(url: str, description: Mapping[str, Any], code: Collection[str]) -> Evaluation:
    """The configuration of a run, if all code in it may be run.

    Args:
        url: of the run.
        description: what its `run.json` says.
        code: the files and modules that may be run.

    Raises:
        BadInput: it is no whole configuration, or names other code.
    """
    try:
        config = Evaluation.model_validate(description.get("config"))
    except ValueError as error:
        said = str(error).splitlines()[0]
        raise BadInput(f"run {url} cannot be taken up: its run.json has no whole configuration ({said})") from None
    named = set(map(_resolved, code))
    unnamed = sorted(place for place in _asked(config) if _resolved(place) not in named)
    if unnamed:
        flags = " ".join(f"--code {place!r}" for place in unnamed)
        raise BadInput(f"run {url} names code that would be run here: if you trust that, name it, too, {flags}")
    return config


def _asked(config: Evaluation) -> set[str]:
    swept = [LEVELS.sub("", text) for text in config.schedule]
    corrupted = [LEVELS.sub("", text.partition("@")[2]) for text in config.corruption]
    texts = (config.task, *config.model, config.search, *config.attack, *swept, *corrupted)
    return {place for text in texts if not text.startswith("torchattacks:") and (place := code_of(text)) is not None}


def _resolved(place: str) -> str:
    return str(Path(place).resolve()) if place.endswith(".py") else place
