"""Command lines from anywhere: whatever stands behind a verb, it is carried out, or refused in one
sentence.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import typer

from harness.cli import app
from harness.commands.flags import evaluation
from tests.fuzz.cases import RANDOM
from tests.fuzz.commandline import EVALUATE, MINE, carried_out, furnished

FEW, MANY, CHUNKS = 60, 2000, 20
VERBS: dict[str, Any] = {**typer.main.get_command(app).commands, "evaluate": evaluation(lambda options: None)}  # type: ignore[attr-defined]
COSTLY = {
    "evaluate": {
        "workers": ["1", "0", "-1", "x"],
        "engine": ["local", "", "cloud"],
        "compile": [],
        "address": ["", "x:1"],
        "repeats": ["0", "1", "x"],
    },
    "train": {"epochs": ["1", "0", "-1", "x"]},
    "reproduce": {"study": ["", "fusio", "x/y", "\0"], "jobs": ["0", "1"]},
}
"""Options of which most values cost minutes or start a process that stays: the others."""
GOOD = {
    "task": ["mine.py:task", "defaults.py:task", "mine:task"],
    "model": ["mine.py:build", "mine.py:learns", "defaults.py:build"],
    "scenario": ["a@linf:0.1", "a@l2:1 + b@missing"],
    "frontier": ["a,b"],
    "schedule": ["mcar:0,0.5", "none"],
    "run": ["run", "part1"],
    "corruption": ["a@noise:0,1"],
    "attack": ["pgd?steps=2"],
    "gates": ["gates.yaml"],
    "baseline": ["baseline.parquet", "run"],
    "config": ["made.yaml"],
    "a": ["run", "baseline.parquet"],
    "b": ["run", "part1"],
    "runs": ["part1", "part2"],
    "code": ["mine.py"],
    "recipe": ["supervised"],
    "out": ["new", "new/below"],
    "search": ["fast", "none"],
    "shard": ["1/2"],
    "samples": ["2", "all"],
}
NAMES = [
    "run",
    "part1",
    "baseline.parquet",
    "mine.py",
    "gates.yaml",
    "binary.yaml",
    "empty",
    "folder",
    "folder/locked",
    "loop",
    "gone",
    "run/run.json",
    "run/ledger",
    "broken.py",
    "ends.py",
    "nowhere",
    "nowhere/below",
    "empty/below",
    "/",
    ".",
    "..",
    "~",
    "~/x",
    "~nobody/x",
    "/dev/null",
]
ADDRESSES = [
    "zip://x",
    "zip://run.zip::file://gone",
    "http://127.0.0.1:1/x",
    "https://",
    "memory://",
    "memory://run",
    "s3://bucket/run",
    "gs://x",
    "file://",
    "file://run",
    "://",
    "x://y",
    "github://a:b@c/d",
    "local://run",
    "dir://run::memory://",
    "data:,x",
    "ftp://127.0.0.1:1/x",
    "reference://x",
    "simplecache::run",
    "filecache://",
    "tar://x",
    "libarchive://x",
    "blockcache::http://127.0.0.1:1/",
    "hdfs://x/y",
    "ssh://127.0.0.1:1/x",
    "arrow_hdfs://x",
]
REFERENCES = [
    "mine.py:",
    "mine.py:nothing",
    ":task",
    "os:system",
    "os.path:sep",
    "nowhere.py:task",
    "json:loads",
    "broken.py:build",
    "ends.py:build",
    "a..b:c",
    "mine.py:build?x=1",
    "mine.py:task?",
    "folder:x",
    "folder.py:x",
    "..:x",
    ".py:x",
    "mine:build@x.safetensors",
    "x.safetensors",
    "run.safetensors",
    "torchattacks:PGD",
    "mine.py:torch",
    "mine.py:Linear",
    "mine.py:__doc__",
    "early",
    "digits",
    "pgd",
    "image@linf:8/255",
    "fixed(a):1",
    "mcar:2",
    "a@noise",
]
TEXTS = [
    "",
    " ",
    "x" * 300,
    "x" * 70_000,
    "a/" * 3000,
    "é",
    "💥",
    "\x1b[31m",
    "a\0b",
    "\0",
    "\n",
    "a\nb",
    "\udcff",
    "'",
    '"',
    "`",
    "$(id)",
    "; rm",
    "a|b",
    "[red]x[/]",
    "[/]",
    "<b>",
    "{}",
    "{0}",
    "%s",
    "%",
    "-",
    "--",
    "-x",
    "--help",
    "?",
    "&",
    "=",
    ":",
    "@",
    "*",
    "\\",
    "null",
    "true",
    "[]",
    "a,b,c",
]
NUMBERS = [
    "0",
    "1",
    "-1",
    "-0",
    "1e400",
    "-1e400",
    "nan",
    "inf",
    "9" * 30,
    "9" * 5000,
    "0x10",
    "010",
    "1:30",
    "1_0",
    "٣",
    "²",
    "1.5",
    "1e-400",
    " 2",
]
OFTEN = ("evaluate", "evaluate", "train", "report", "verify", "merge")  # those that use most of their arguments
POOLS = (NAMES, ADDRESSES, REFERENCES, TEXTS, NUMBERS)


def value(draw: random.Random, verb: str, name: str) -> str:
    """One for an option or an argument: a good one in half of the cases, a good one with a slip, or
    anything.
    """
    costly = COSTLY.get(verb, {}).get(name)
    if costly is not None:
        return draw.choice(costly)
    good = GOOD.get(name, [])
    if good and draw.random() < 0.5:
        return draw.choice(good)
    if good and draw.random() < 0.3:
        return slipped(draw, draw.choice(good))
    return draw.choice(draw.choice(POOLS))


def slipped(draw: random.Random, text: str) -> str:
    at = draw.randrange(len(text) + 1)
    return (
        text[:at]
        + draw.choice(["", "x", " ", ":", "@", "?", "/", "\0", "é", "-", "9"])
        + text[at + draw.randrange(3) :]
    )


def command_line(draw: random.Random) -> list[str]:
    """A verb, sometimes no verb or an unknown word, with known and unknown options and
    arguments.
    """
    verb = draw.choice([*VERBS, *OFTEN])
    words = [*EVALUATE, "--schedule", "none", "--no-trust"] if verb == "evaluate" else [verb]
    if draw.random() < 0.03:
        return [draw.choice(draw.choice(POOLS)) for _ in range(draw.randrange(3))]
    for parameter in VERBS[verb].params:
        name, option = parameter.name, parameter.param_type_name == "option"
        if COSTLY.get(verb, {}).get(name) == [] or (option and draw.random() > 2 / len(VERBS[verb].params)):
            continue
        for _ in range(draw.choice([0, 1, 1, 1, 1, 2]) if not option or parameter.multiple else 1):
            words += flag(draw, verb, parameter) if option else [value(draw, verb, name)]
    return words


def flag(draw: random.Random, verb: str, option: Any) -> list[str]:
    spelt = draw.choice([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return [spelt]
    return (
        [f"{spelt}={value(draw, verb, option.name)}"]
        if draw.random() < 0.2
        else [spelt, value(draw, verb, option.name)]
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("HOME", str(folder / "folder"))
        furnished(folder)
        yield folder


def configuration(draw: random.Random) -> None:
    """Another file of settings for each command line: good ones, and a key or two that holds
    anything.
    """
    keys = [option.name for option in VERBS["evaluate"].params if option.name not in {*COSTLY["evaluate"], "config"}]
    lines = [f"{draw.choice(keys)}: {value(draw, 'evaluate', draw.choice(keys))}" for _ in range(draw.randrange(3))]
    Path("made.yaml").write_bytes("\n".join(lines).encode(errors="surrogateescape"))


def tried(seeds: range) -> None:
    """No traceback, and no file has changed but those that a command writes."""
    with patch("os.execv", side_effect=SystemExit(0)):  # the process of the dashboard
        for seed in seeds:
            draw = random.Random(None if RANDOM else seed)
            configuration(draw)
            words = command_line(draw)
            carried_out(*words)
            assert Path("mine.py").read_text() == MINE, words


def test_random_command_lines(made: Path) -> None:
    tried(range(FEW))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_two_thousand_random_command_lines(made: Path, chunk: int) -> None:
    tried(range(chunk * MANY // CHUNKS, (chunk + 1) * MANY // CHUNKS))
