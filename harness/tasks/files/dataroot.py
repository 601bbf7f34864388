"""The data folder on the user's disk, with one folder for each data set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path, PurePosixPath

from attacks.errors import BadInput
from harness.storage.files import path_of

VARIABLE = "ROBUSTNESS_DATA"


class NoData(BadInput):
    """A data set is not on this disk, or not where it is looked for."""


def use(folder: str | None) -> None:
    """Look for data sets in this folder from now on; None changes nothing.

    An environment variable holds it, because references to tasks are called without arguments, and
    because the processes that a run starts inherit it.

    Raises:
        BadInput: it cannot be the name of a folder.
    """
    if folder is not None:
        path_of(folder)
        os.environ[VARIABLE] = str(Path(folder).expanduser())


_OF_A_RUN: ContextVar[str | None] = ContextVar("data root of a run", default=None)


@contextmanager
def else_in(folder: str | None) -> Iterator[None]:
    """Inside the block, use this data folder where the user named no folder. It comes from a run's
    description, and only this process uses it.
    """
    before = _OF_A_RUN.set(folder)
    try:
        yield
    finally:
        _OF_A_RUN.reset(before)


def data_root() -> Path | None:
    """The folder that holds the data sets, if one was named."""
    named = os.environ.get(VARIABLE) or _OF_A_RUN.get()
    return Path(named) if named else None


def data_path(data_set: str, *names: str) -> Path:
    """The first of the named files (or folders) that a data set has.

    >>> data_path("mnist", "train-images-idx3-ubyte.gz", "train10k-images-idx3-ubyte.gz")

    Raises:
        NoData: no data folder was named, or it has none of the files; the message tells how to get
            them.
    """
    root = data_root()
    if root is None:
        raise NoData(
            f"data set {data_set!r} ({' or '.join(names)}) needs a data folder: name it with"
            f" --data-root or {VARIABLE}, or get the data with '{mend(data_set, 'FOLDER')}'"
        )
    for name in names:
        if (path := root / data_set / name).exists():
            return path
    raise NoData(
        f"data set {data_set!r} lacks {' or '.join(names)} in {root / data_set}: get it with"
        f" '{mend(data_set, str(root))}'"
    )


def leads_out(place: str) -> bool:
    """Whether a path that a data set's own file names leaves the folder of the data set.

    >>> leads_out("rgb/0.png"), leads_out("../0.png"), leads_out("/0.png")
    (False, True, True)
    """
    path = PurePosixPath(place)
    return path.is_absolute() or ".." in path.parts


def mend(data_set: str, root: str) -> str:
    """The command that fetches a data set, or prints where to request it."""
    return f"python -m harness.tasks.download {data_set} --data-root {root}"
