"""``python -m harness``: our packages load first, then the command line."""

import os
import sys


def yield_the_front() -> None:
    """Move the current folder to the end of `sys.path`: its packages must not hide ours.

    It is here, and not in a module of its own, because it must run before any import of our
    packages.
    """
    try:
        here = [entry for entry in sys.path if entry in ("", os.getcwd())]
    except OSError:
        print("error: the current folder no longer exists: change to a folder that exists", file=sys.stderr)
        sys.exit(2)
    sys.path[:] = [entry for entry in sys.path if entry not in here] + here[:1]


if __name__ == "__main__":
    # Threads that wait by spinning starve each other where the machine has other work; read when
    # torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    yield_the_front()
    from harness.cli import main

    main()
