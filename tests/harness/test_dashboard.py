"""`dashboard` from outside: what it starts, and what it refuses."""

import os
import socket
import sys
from pathlib import Path

import pytest

from harness.dashboard import command
from tests.harness.test_cli import run


def test_it_serves_this_machine_only_and_asks_no_one() -> None:
    words = command(["runs", "s3://bucket/runs"], 8600, browser=False)
    joined = " ".join(words)
    assert words[:5] == [sys.executable, "-P", "-m", "streamlit", "run"] and Path(words[5]).name == "main.py"
    for part in ("server.address localhost", "gatherUsageStats false", "server.port 8600", "server.headless true"):
        assert part in joined
    assert joined.endswith("-- runs s3://bucket/runs")
    assert "server.port" not in " ".join(command([], None, browser=True))


def test_it_becomes_the_server(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: started.append(words))
    monkeypatch.setenv("PYTHONPATH", "before")
    (elsewhere / "mine").mkdir()
    assert run(monkeypatch, "dashboard", "mine", "--no-browser") == 0
    assert started[0][-1] == "mine"
    assert os.environ["PYTHONPATH"].endswith("before")


def test_bad_input_is_one_sentence(elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "dashboard", "nowhere") == 2
    assert "there is no folder nowhere" in capsys.readouterr().err
    assert run(monkeypatch, "dashboard", "nowhere://x") == 2
    assert "cannot be reached" in capsys.readouterr().err
    assert run(monkeypatch, "dashboard", "--port", "99999") == 2
    assert "from 1 to 65535" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        assert run(monkeypatch, "dashboard", "--port", str(taken.getsockname()[1])) == 2
    assert "cannot be had" in capsys.readouterr().err
