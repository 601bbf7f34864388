"""The missing-modality study: SMIL and what it is compared with, as ever more of the training sound is lost."""

from __future__ import annotations

from collections.abc import Mapping

from harness.reproduce.page import Page
from harness.reproduce.results import Results
from harness.reproduce.study import Study


def told(results: Mapping[str, Results], page: Page) -> None:
    """The whole page."""


MISSING = Study("missing", {}, told)
