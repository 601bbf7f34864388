"""`dashboard` from outside: the server that it starts, and the options that it refuses."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from harness.commands.dashboard import command
from tests.commandline import run


def test_it_serves_this_machine_only_and_asks_no_one() -> None:
    words = command(["runs", "s3://bucket/runs"], 8600, browser=False)
    joined = " ".join(words)
    assert words[:5] == [sys.executable, "-P", "-m", "streamlit", "run"] and Path(words[5]).name == "server.py"
    asked = "gatherUsageStats false", "showEmailPrompt false", "hideWelcomeMessage true"
    for part in ("server.address localhost", "server.port 8600", "server.headless true", *asked):
        assert part in joined
    assert joined.endswith("-- runs s3://bucket/runs")


def test_it_becomes_the_server(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: started.append(words))
    monkeypatch.setenv("PYTHONPATH", "before")
    (elsewhere / "mine").mkdir()
    assert run(monkeypatch, "dashboard", "mine", "--no-browser") == 0
    assert started[0][-1] == "mine"
    assert os.environ["PYTHONPATH"].endswith("before")


def test_it_starts_with_a_browser_for_who_has_never_started_one_and_without_a_terminal(elsewhere: Path) -> None:
    """Streamlit would ask for an e-mail address first, and end without an answer."""
    words = [sys.executable, "-m", "harness", "dashboard"]
    surroundings = os.environ | {"HOME": str(elsewhere), "BROWSER": "true", "PYTHONUNBUFFERED": "1"}
    (elsewhere / "runs").mkdir()
    with subprocess.Popen(
        words, env=surroundings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            at = re.fullmatch(r"The dashboard is at (http://localhost:\d+) until Ctrl-C.\n", said)
            assert at, said
            assert answers(f"{at[1]}/_stcore/health", server) == "ok"
        finally:
            server.terminate()
            rest = server.communicate()[0]
    assert "Email" not in rest and "skills" not in rest


def answers(url: str, server: subprocess.Popen[str], seconds: int = 120) -> str:
    """The page that is served there, as soon as it is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url) as page:
                return str(page.read().decode())
        except OSError:
            time.sleep(0.2)
    return "nothing"


def test_bad_input_is_one_sentence(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert "cannot be used" in capsys.readouterr().err
