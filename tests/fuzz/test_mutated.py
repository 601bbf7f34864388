"""Damaged runs: every command and every page shows them, or names the fault in one sentence."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import app
from tests.fuzz.cases import RANDOM
from tests.fuzz.commandline import EVALUATE, Unforeseen, carried_out, furnished
from tests.fuzz.mutations import mutate

FEW, MANY, CHUNKS = 40, 1000, 20
MAIN = Path(app.__file__).with_name("main.py")
# that is the first
PAGES = [f"screens/{file.name}" for file in MAIN.with_name("screens").glob("[!_]*.py") if file.name != "overview.py"]
CODE = ("--code", "mine.py")
COMMANDS = [
    ("report", "odd"),
    ("report", "odd", "--markdown", "-"),
    ("verify", "odd", *CODE),
    ("verify", "odd", "--files"),
    ("gate", "odd"),
    ("gate", "run", "--baseline", "odd"),
    ("compare", "odd", "run"),
    ("compare", "baseline.parquet", "odd"),
    ("bless", "odd", "--out", "blessed"),
    (*EVALUATE, "--schedule", "none", "--no-trust", "--out", "odd"),
]
SWEPT = (
    "--scenario",
    "a@linf:0.5",
    "--scenario",
    "a@linf:0.5 + b@l2:0.5",
    "--schedule",
    "mcar:0,0.5",
    "--corruption",
    "a@noise:0,3",
)
COSTLY = [
    (*EVALUATE, *SWEPT, "--witnesses", "all", "--attributions", "1", "--out", "odd"),
    ("merge", "merged", "odd", *CODE),
    ("merge", "merged", "run", "odd", *CODE),
]
PAGED, RESUMED = 5, 7  # one in so many is looked at in the dashboard, or gone on with, too


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("mutated")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("HOME", str(folder / "folder"))
        furnished(folder)
        yield folder


def looked_at(pages: list[str]) -> None:
    """Every run that stands here, on some pages of the dashboard.

    Raises:
        Unforeseen: a page ended in an exception.
    """
    st.cache_data.clear()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", [str(MAIN), "odd"])
        test = AppTest.from_file(MAIN, default_timeout=60).run()
        for page in [None, *pages]:
            test = test if page is None else test.switch_page(page).run()
            if test.exception:
                raise Unforeseen(
                    f"page {page or 'overview'} ended in {test.exception[0].value}: {test.exception[0].stack_trace}"
                )


def tried(seed: int) -> None:
    draw = random.Random(None if RANDOM else seed)
    subprocess.run(["rm", "-rf", "odd", "merged", "blessed"], check=True)
    shutil.copytree("run", "odd")
    what = mutate(draw, Path("odd"))
    try:
        if seed % PAGED == 0:
            looked_at(draw.sample(PAGES, 2))
        for command in [*draw.sample(COMMANDS, 3), *[draw.choice(COSTLY)] * (seed % RESUMED == 0)]:
            with patch("harness.analysis.bca.RESAMPLES", 20):  # the number is not under test
                code, said = carried_out(*command)
            assert code != 2 or said.splitlines()[-1].startswith("error: "), said
    except Unforeseen as error:
        raise Unforeseen(f"seed {seed}, {what}: {error}") from error


def test_mutated_runs(made: Path) -> None:
    for seed in range(FEW):
        tried(seed)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_thousand_mutated_runs(made: Path, chunk: int) -> None:
    for seed in range(chunk * MANY // CHUNKS, (chunk + 1) * MANY // CHUNKS):
        tried(seed)
