"""`dashboard`: serve the pages of `app` on this machine, for runs anywhere."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Sequence

from attacks.errors import BadInput
from harness.references.sources import HOME
from harness.run.directory import RunDirectory
from harness.tasks.files.dataroot import use

HOST = "localhost"
PORTS = range(8501, 8601)  # where a free one is looked for
SERVER = HOME / "app" / "server.py"  # run, not imported: `app` stands above the command line
TOKEN = "ROBUSTNESS_DASHBOARD_TOKEN"  # read by `app.guard` from the environment: a command line is seen by other users
OPTIONS = {
    "server.address": HOST,
    "server.allowedHosts": HOST,  # for WebSockets; `app.guard` checks all requests, and gives the reason
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "server.showEmailPrompt": "false",  # a first start waits for an answer, and without a terminal it ends
    # hides an offer in the page, too: to write files for coding agents beside the user's
    "logger.hideWelcomeMessage": "true",
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
}


def serve(runs: Sequence[str], port: int | None, browser: bool, data_root: str | None, token: bool) -> None:
    """Start the server in place of this process; it ends with Ctrl-C.

    Args:
        token: serve only the browser that opens the printed address, which holds a secret.

    Raises:
        BadInput: a folder does not exist, or the port cannot be used.
    """
    for address in runs:
        _check(address)
    if port is None:
        port = _free_port()
    else:
        _check_port(port)
    use(data_root)
    # The server has to find the packages that we are, wherever it is started.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    os.environ.pop(TOKEN, None)
    address = f"http://{HOST}:{port}"
    if token:
        os.environ[TOKEN] = secrets.token_urlsafe(24)
        address += f"/?token={os.environ[TOKEN]}"
    print(f"The dashboard is at {address} until Ctrl-C.", flush=True)
    os.execv(sys.executable, command(runs, port, browser and not token))


def command(runs: Sequence[str], port: int, browser: bool) -> list[str]:
    """The command of the server. -P keeps the current folder, which may have an `app` of its own,
    off the front of the path.
    """
    options = {**OPTIONS, "server.headless": str(not browser).lower(), "server.port": str(port)}
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    return [sys.executable, "-P", "-m", "streamlit", "run", str(SERVER), *flags, "--", *runs]


def _check(address: str) -> None:
    directory = RunDirectory(address)
    try:
        there = directory.files.isdir(directory.root)
    except OSError as error:
        raise BadInput(f"{address} cannot be reached: {error}") from None
    if not there:
        raise BadInput(
            f"there is no folder {address}: name a run or a folder of runs, which 'python -m harness evaluate' makes"
        )


def _check_port(port: int) -> None:
    if not 0 < port < 65536:
        raise BadInput(f"--port {port} is not a port: give a number from 1 to 65535")
    if (why := _taken(port)) is not None:
        raise BadInput(f"--port {port} cannot be used ({why}): name another port, or leave --port out")


def _free_port() -> int:
    free = next((port for port in PORTS if _taken(port) is None), None)
    if free is None:
        raise BadInput(f"no port from {PORTS[0]} to {PORTS[-1]} is free: name one with --port")
    return free


def _taken(port: int) -> str | None:
    """Why a port cannot be used; None if it can."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError as error:
            return error.strerror or str(error)
    return None
