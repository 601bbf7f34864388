"""Consent: a run may come from elsewhere, so the code that its description names runs only if the
command line names it, too.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from attacks.errors import BadInput
from harness.references.registry import code_of
from harness.references.userfile import stand_for
from harness.run.config import Evaluation
from harness.run.description import Description
from harness.storage.files import path_of

LEVELS = re.compile(r":[\d.,\s]+$")  # of a schedule or a corruption


def permitted(url: str, description: Description, code: Collection[str]) -> Evaluation:
    """The configuration of a run, if all code in it may be run.

    Args:
        url: of the run.
        description: the contents of its `run.json`.
        code: the trusted files and modules.

    Raises:
        BadInput: the configuration is not complete, or names other code.
    """
    config = configured(url, description)
    allowed = {place: found for place in _code_named(config) if (found := _allowed(place, code)) is not None}
    unnamed = sorted(_code_named(config) - allowed.keys())
    stand_for({place: Path(found) for place, found in allowed.items() if place.endswith(".py")})
    if unnamed:
        flags = " ".join(f"--code {place!r}" for place in unnamed)
        raise BadInput(f"run {url} names code that would run here: if you trust that code, also name it with {flags}")
    return config


def configured(url: str, description: Description) -> Evaluation:
    """The configuration of a run.

    Raises:
        BadInput: it is not a whole one.
    """
    try:
        return Evaluation.model_validate(description.config and description.config.content())
    except (ValueError, RecursionError) as error:
        why = str(error).splitlines()[0]
        raise BadInput(f"run {url} cannot be resumed: its run.json has no complete configuration ({why})") from None


def _code_named(config: Evaluation) -> set[str]:
    swept = [LEVELS.sub("", text) for text in config.schedule]
    corrupted = [LEVELS.sub("", text.partition("@")[2]) for text in config.corruption]
    texts = (config.task, *config.model, config.search, *config.attack, *swept, *corrupted)
    return {place for text in texts if not text.startswith("torchattacks:") and (place := code_of(text)) is not None}


def _allowed(place: str, code: Collection[str]) -> str | None:
    """The trusted file or module of a place: the place itself, or, if the run was made in another
    folder, the one file with this ending.
    """
    if not place.endswith(".py"):
        return place if place in code else None
    files = {path_of(each) for each in code if each.endswith(".py")}
    if (here := path_of(place)) in files:
        return str(here)
    alike = [
        file
        for file in files
        if not Path(place).is_absolute() and file.parts[-len(Path(place).parts) :] == Path(place).parts
    ]
    return str(alike[0]) if len(alike) == 1 else None
