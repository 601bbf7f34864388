"""Cells on Ray: the ledger of one process, whatever happens to a worker or a node."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from harness.run.directory import RunDirectory
from tests.harness.engine.executors.linear_run import COMMAND, rows, run

SLOW = """
import os
import time
from pathlib import Path
import mine

class Slow(mine.Linear):
    def forward(self, inputs, present=None):
        if Path("pids").is_dir():
            Path("pids", str(os.getpid())).touch()
            time.sleep(0.005)
        return super().forward(inputs, present)

def build(task): return Slow()
"""
HANGS = """
import time
import mine

class Hangs(mine.Linear):
    def forward(self, inputs, present=None):
        time.sleep(60 * bool((inputs["a"] > 90).any()))
        return super().forward(inputs, present)

def build(task): return Hangs()
"""
SLACK = 5.0  # seconds that a node takes to die, and a loaded machine to notice
CLUSTER = [sys.executable, "-m", "tests.harness.engine.executors.twonodes"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, IO[str], IO[str]]]:
    """The address of two nodes, the text that kills the second node, and the reply."""
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "DRIVER": "0"}  # no worker is the driver
    with subprocess.Popen([*CLUSTER, "1", "second"], **pipes, text=True, env=environment) as process:
        assert process.stdin is not None and process.stdout is not None
        yield process.stdout.readline().strip(), process.stdin, process.stdout
        process.stdin.close()


def on_ray(address: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness", *COMMAND, "--engine", "ray", "--address", address, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def alike(found: list[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if key not in ("run", "model")}
        for row in found
        if row["model"] == model
    ]


def test_workers_that_die_cost_nothing_or_their_cell(here: Path, monkeypatch: pytest.MonkeyPatch, cluster: Any) -> None:
    """One model kills its worker once, one always, one raises, one hangs, one is sound and keeps
    its witnesses.
    """
    (here / "hangs.py").write_text(HANGS)
    models = ["mine.py:dies_once", "mine.py:dies", "mine.py:raises", "hangs.py:build", "mine.py:build"]
    named = [word for model in models for word in ("--model", model)]
    process = on_ray(cluster[0], *named, "--witnesses", "all", "--cell-limit", "15s", "--out", "ray")
    said, _ = process.communicate()
    assert process.returncode == 5, said
    assert run(monkeypatch, "--model", "mine.py:build", "--witnesses", "all", "--out", "local") == 0
    expected, found = alike(rows("local"), "mine.py:build"), rows("ray")
    assert (here / "died").exists()
    assert alike(found, "mine.py:build") == expected and alike(found, "mine.py:dies_once") == expected
    held = [
        {key: x for tensors, _ in RunDirectory(out).witnesses() for key, x in tensors.items()}
        for out in ("local", "ray")
    ]
    assert held[0] and all(x.equal(held[1][key]) for key, x in held[0].items())
    failed = {(row["model"], row["sample"]) for row in found if row["status"] == "error"}
    assert {model for model, _ in failed} == {"mine.py:dies", "mine.py:raises", "hangs.py:build"} and len(failed) <= 12
    errors = [file.read_text() for file in (here / "ray" / "errors").iterdir()]
    assert any("its worker was killed 3 times" in each for each in errors)
    assert any("longer than --cell-limit, 15 s" in each for each in errors)
    assert any("ZeroDivisionError: a fault of the model" in each for each in errors)


@pytest.mark.slow
def test_a_node_killed_in_the_middle_costs_nothing(here: Path, monkeypatch: pytest.MonkeyPatch, cluster: Any) -> None:
    """The last of the module: the cluster has one node afterwards.

    Its cell is done again on the other.
    """
    address, kill, killed = cluster
    (here / "slow.py").write_text(SLOW)
    (here / "pids").mkdir()
    process = on_ray(address, "--model", "slow.py:build", "--batch-size", "1", "--out", "ray")
    while len(list(here.glob("pids/*"))) < 2 or not list(here.glob("ray/ledger/*")):
        assert process.poll() is None, "the run ended before both nodes took part"
        time.sleep(0.02)
    kill.write("now\n")
    kill.flush()
    assert killed.readline() == "killed\n"
    before = len(list(here.glob("ray/ledger/*")))
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert before < 12, "the run was over before the node was killed"
    shutil.rmtree("pids")  # now it is fast
    assert run(monkeypatch, "--model", "slow.py:build", "--out", "local") == 0
    assert rows("ray") == rows("local")


@pytest.mark.parametrize("killed", [pytest.param("second", marks=pytest.mark.slow), "head"])
def test_a_cluster_that_is_gone_ends_the_run_in_a_sentence(here: Path, killed: str) -> None:
    """Its only node with a core dies, or its head, while a cell runs; finished cells are kept."""
    (here / "slow.py").write_text(SLOW.replace("0.005", "0.05"))
    (here / "pids").mkdir()
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*CLUSTER, "0", killed], **pipes, text=True, env={**os.environ, "DRIVER": "0"}) as cluster:
        assert cluster.stdin is not None and cluster.stdout is not None
        process = on_ray(
            cluster.stdout.readline().strip(), "--model", "slow.py:build", "--batch-size", "1", "--out", "ray"
        )
        while not list(here.glob("ray/ledger/*")):
            assert process.poll() is None, "the run ended before its node was killed"
            time.sleep(0.02)
        cluster.stdin.write("now\n")
        cluster.stdin.flush()
        begun = time.monotonic()
        try:
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
        lasted = time.monotonic() - begun
        cluster.stdin.close()
    assert process.returncode == 2 and "the Ray cluster has no node left" in said and "Traceback" not in said, said
    assert lasted < 10 + SLACK, f"it took {lasted:.1f} s"
    assert list(here.glob("ray/ledger/*"))


def test_what_ray_cannot_do_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--model", "mine.py:build", "--engine", "ray", "--workers", "2") == 2
    assert "--workers 2 needs --engine local" in capsys.readouterr().err
    assert run(monkeypatch, "--model", "mine.py:build", "--address", "auto") == 2
    assert "add --engine ray" in capsys.readouterr().err
    assert run(monkeypatch, "--model", "mine.py:build", "--engine", "ray", "--address", "127.0.0.1:1") == 2
    assert "--address 127.0.0.1:1: no Ray cluster can be reached there" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(monkeypatch, "--model", "mine.py:build", "--engine", "ray") == 2
    assert "multimodal-robustness-harness[ray]" in capsys.readouterr().err
