"""`run.json`: read as a typed description, written back unchanged, refused where a part is
missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from attacks.errors import BadInput
from harness.run.description import Identity, SavedConfig, described
from harness.run.directory import RunDirectory
from tests.rows import IMAGE, Outcomes, make_run
from tests.runfile import rewrite


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path / "run", {"m": Outcomes([1.0])})


def rewritten(directory: RunDirectory, path: tuple[str, ...], value: Any) -> None:
    """`run.json` with something else, or where the value is None nothing, in one place."""

    def change(content: dict[str, Any]) -> None:
        held = content
        for key in path[:-1]:
            held = held[key]
        held[path[-1]] = value
        if value is None:
            del held[path[-1]]

    rewrite(directory.root, change)


@pytest.mark.parametrize("path", [("later",), ("identity", "later"), ("identity", "config", "later")], ids=".".join)
def test_a_key_of_a_later_version_is_kept(directory: RunDirectory, path: tuple[str, ...]) -> None:
    rewritten(directory, path, {"more": [1, None]})
    before = Path(directory.root, "run.json").read_text()
    directory.note(directory.describe())
    assert json.loads(Path(directory.root, "run.json").read_text()) == json.loads(before)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("run",), 5, "run"),
        (("modalities",), "image", "modalities"),
        (("samples",), "all", "samples"),
        (("identity", "weights"), ["m"], "identity.weights"),
        (("identity", "task definition"), None, "identity.task definition"),
        (("identity", "answers"), 5, "identity.answers"),
        (("identity", "config", "seed"), None, "identity.config.seed"),
        (("identity", "config", "limit"), -1.0, "identity.config.limit"),
        (("identity", "config", "schedule"), "mcar", "identity.config.schedule"),
    ],
)
def test_what_readers_rely_on_is_named_where_it_is_not_usable(
    directory: RunDirectory, path: tuple[str, ...], value: Any, named: str
) -> None:
    rewritten(directory, path, value)
    with pytest.raises(BadInput) as refused:
        directory.describe()
    assert (
        str(refused.value)
        == f"run {directory.url} cannot be read: its run.json has no usable {named}; run its command again"
    )


def test_a_scenario_that_does_not_parse_is_refused_with_the_reason(directory: RunDirectory) -> None:
    rewritten(directory, ("identity", "scenarios"), [IMAGE, "image@"])
    with pytest.raises(BadInput, match="has no usable scenario 'image@' does not parse at character 1"):
        directory.describe()


def test_a_description_does_not_change_under_a_reader(directory: RunDirectory) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        directory.describe().status = "complete"  # type: ignore[misc]


@pytest.mark.parametrize(
    "answer",
    [
        "map",
        {},
        {"kind": 3},
        {"kind": "map", "classes": "sky"},
        {"kind": "map", "classes": ["x"] * 257},
        {"kind": "map", "ignore": 2**70},
        {"kind": "map", "ignore": 0.5},
        {"kind": "image", "low": float("nan")},
        {"kind": "sound", "sample_rate": 0},
        {"kind": "sound", "sample_rate": 2**31},
    ],
)
def test_a_form_of_answers_that_no_page_can_use_is_named(answer: object) -> None:
    identity = {"config": {"task": "t", "model": [], "search": "s", "attack": [], "limit": 1.0, "seed": 0}}
    identity |= {"task definition": "x", "weights": {}, "scenarios": []}
    content = {"run": "r", "status": "complete", "identity": identity, "modalities": []}
    assert described({**content, "answer": {"kind": "of a later version"}}).answer
    with pytest.raises(ValueError, match="answer"):
        described({**content, "answer": answer})


def test_a_writer_stores_only_the_parts_of_an_identity_that_are_needed() -> None:
    config = SavedConfig(task="t", model=["m"], search="fast", attack=[], limit=1.0, seed=0)
    written = Identity(config=config, task_definition="x", weights={"m": "w"}, scenarios=[IMAGE])
    assert set(written.content()) == {"config", "task definition", "weights", "scenarios"}
    assert written.with_optional([], None, {}, {}) == written
    whole = written.with_optional([0.5], 64, {"m": "l"}, {"fog": "a"})
    assert list(whole.content())[-4:] == ["thresholds", "batch size", "labels", "applied"]
    assert Identity.model_validate(whole.content()) == whole
