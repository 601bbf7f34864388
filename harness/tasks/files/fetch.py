"""One file from the network: resumed where it was cut off, checked, and in place only when it is
whole.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from attacks.errors import BadInput

CHUNK = 1 << 16
TIMEOUT = 30.0  # seconds without a byte
NOT_SATISFIABLE = 416  # the answer to a request for bytes behind the end


def fetch(url: str, target: Path, sha256: str | None, console: Console) -> None:
    """Download a file, unless it is there; a broken attempt (``target.partial``) continues.

    Args:
        sha256: of the whole file, hexadecimal, where it was published.

    Raises:
        BadInput: the address cannot be reached or breaks off, the folder cannot be written, or the
            checksum differs (the file is then removed).
    """
    if target.exists():
        console.print(f"{target} is there already", soft_wrap=True, markup=False, highlight=False)
        return
    partial = target.with_name(f"{target.name}.partial")
    with _explained(url, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _transfer(url, partial, console)
        _check(url, partial, sha256)
        partial.replace(target)
    console.print(f"{target} written", soft_wrap=True, markup=False, highlight=False)


@contextmanager
def _explained(url: str, target: Path) -> Iterator[None]:
    again = "the same command goes on where it stopped"
    try:
        yield
    except urllib.error.HTTPError as error:
        raise BadInput(
            f"{url} answers {error.code} {error.reason}: try later, or put the file at {target} by hand"
        ) from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise BadInput(
            f"{url} cannot be reached ({reason}): connect to the network, then {again}; or put the file at {target}"
        ) from None
    except OSError as error:
        raise BadInput(f"{target} cannot be written: {error.strerror or error}") from None


def _transfer(url: str, partial: Path, console: Console) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            have = have if answer.status == http.client.PARTIAL_CONTENT and _continues(answer, have) else 0
            with partial.open("r+b" if have else "wb") as file:
                file.seek(have)
                _copy(answer, file, have, partial.stem, console)
    except urllib.error.HTTPError as error:
        if error.code != NOT_SATISFIABLE or not have:
            raise
        error.close()
        if _announced_size(error) != have:  # else all of it was there, and only the last step is missing
            partial.unlink()
            _transfer(url, partial, console)


def _continues(answer: Any, have: int) -> bool:
    return bool(re.match(rf"bytes {have}-", answer.headers.get("Content-Range", "")))


def _announced_size(error: urllib.error.HTTPError) -> int | None:
    announced = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
    return int(announced[1]) if announced else None


def _copy(answer: Any, file: IO[bytes], have: int, title: str, console: Console) -> None:
    length = answer.headers.get("Content-Length")
    total = have + int(length) if length else None
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(title, total=total, completed=have)
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            have += len(chunk)
            progress.advance(bar, len(chunk))
    file.truncate()
    if total is not None and have != total:
        raise ConnectionError(f"broke off after {have} of {total} bytes")


def _check(url: str, partial: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    with partial.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        partial.unlink()
        raise BadInput(
            f"the file from {url} has SHA-256 {found}, not the published {sha256}: it was removed, try again"
        )
