"""Names, labels and texts of runs may hold markup: they are shown as they are written."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from app.view import plain
from harness.engine.loading import load_task
from harness.reporting.figures import figured
from harness.reporting.images import changed_words, coloured, text
from harness.tasks import Modality
from harness.tasks.readable import tokens
from harness.trust.explained import explanations
from tests.app.conftest import PAGES, Opened
from tests.runfile import rewrite

EVIL = "<img src=x onerror=alert(1)> [a](javascript:b) **c** $d$ `e` :red[f] <b>g</b>"


def renamed(content: dict[str, Any]) -> None:
    content["identity"]["config"]["model"] = [EVIL, "without-image"]
    content["status"] = EVIL


@pytest.fixture
def marked(copied: Path) -> Path:
    """The run with markup for a model's name, for groups and in the text of a check."""
    run = copied / "first"
    for folder in ("ledger", "samples", "sweep", "attributions"):
        for path in (run / folder).glob("*.parquet"):
            table = pq.read_table(path)
            for column in {"model", "group"} & set(table.column_names):
                values = [
                    EVIL if value == "concat" or column == "group" else value for value in table[column].to_pylist()
                ]
                table = table.set_column(table.column_names.index(column), column, pa.array(values, pa.string()))
            pq.write_table(table, path)
    rewrite(run, renamed)
    trust = json.loads((run / "trust.json").read_text())
    flags = next(iter(trust["concat"].values()))
    next(iter(flags.values())).update(raised=True, why=EVIL)
    (run / "trust.json").write_text(json.dumps({EVIL: trust["concat"]}))
    gates = [{"gate": EVIL, "limit": 0, "value": 1, "low": 0, "high": 1, "verdict": "fail", "why": EVIL}]
    (run / "gates.json").write_text(json.dumps(gates))
    return copied


@pytest.mark.parametrize("page", PAGES)
def test_markup_is_no_markup(marked: Path, opened: Opened, page: str) -> None:
    test = opened(marked, page)
    assert not test.exception and not test.error
    for figure in test.get("plotly_chart"):
        assert "<img" not in figure.proto.spec and "<b>" not in figure.proto.spec
    own = set(explanations().values())  # the pages' own text, whose markup is meant
    given = [each for each in (*test.info, *test.warning, *test.caption, *test.markdown) if each.value not in own]
    assert given
    for each in given:
        assert not re.search(r"(?<!\\)(<img|\]\(|:red|\*\*c|\$d|`e)", each.value), each.value


def test_a_text_keeps_its_signs() -> None:
    assert plain("a*b_c\n<d>") == r"a\*b\_c \<d\>"
    assert figured("<a> & b") == "&lt;a&gt; &amp; b"


def test_tokens_are_escaped_and_the_changed_ones_marked() -> None:
    modality = Modality("text", (2, 3), "text", 0.0, 1.0, tokens=("", "<b>", "c"))
    task, clean = load_task("digits"), torch.nn.functional.one_hot(torch.tensor([1, 2]), 3).float()
    before, now = (tokens(task, modality, {}, x) for x in (clean, clean.flip(0)))
    shown = text(modality, before, now)
    assert "<b>" not in shown and "&lt;b&gt;" in shown and shown.count("background") == 2
    assert text(modality, before, before).count("background") == 0
    unnamed = Modality("text", (2, 3), "text", 0.0, 1.0)
    assert tokens(task, unnamed, {}, clean) == ["1", "2"]
    assert "<i>" not in changed_words("a", "a <i>") and "&lt;i&gt;</span>" in changed_words("a", "a <i>")
    assert "·" in coloured(modality, [""], [""])
