"""`dashboard`: serve the pages of `app` on this machine, for runs anywhere."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from attacks.errors import BadInput
from harness.rundir import RunDirectory
from harness.tasks.dataroot import use

HOST = "localhost"
HOME = Path(__file__).parents[1]  # where our packages stand side by side
MAIN = HOME / "app" / "main.py"  # run, not imported: `app` stands above the command line
OPTIONS = {
    "server.address": HOST,
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
}


def serve(runs: Sequence[str], port: int | None, browser: bool, data_root: str | None) -> None:
    """Become the server; it ends with Ctrl-C.

    Raises:
        BadInput: a folder is not there, or the port cannot be had.
    """
    for address in runs:
        _check(address)
    if port is not None:
        _check_port(port)
    use(data_root)
    # The server has to find the packages that we are, wherever it is started.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    sys.stdout.flush()
    os.execv(sys.executable, command(runs, port, browser))


def command(runs: Sequence[str], port: int | None, browser: bool) -> list[str]:
    """What is executed; -P keeps the folder one stands in, which may have an `app` of its own, off the front of the path."""
    options = {**OPTIONS, "server.headless": str(not browser).lower()} | ({"server.port": str(port)} if port is not None else {})
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    return [sys.executable, "-P", "-m", "streamlit", "run", str(MAIN), *flags, "--", *runs]


def _check(address: str) -> None:
    directory = RunDirectory(address)
    try:
        there = directory.files.isdir(directory.root)
    except OSError as error:
        raise BadInput(f"{address} cannot be reached: {error}") from None
    if not there:
        raise BadInput(f"there is no folder {address}: name a run or a folder of runs, which 'python -m harness evaluate' makes")


def _check_port(port: int) -> None:
    if not 0 < port < 65536:
        raise BadInput(f"--port {port} is no port: give a number from 1 to 65535")
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError as error:
            raise BadInput(f"--port {port} cannot be had ({error.strerror}): name another, or none for the first free one") from None
