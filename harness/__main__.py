"""``python -m harness``: our packages load first, then the command line."""

import os
import sys


def yield_the_front() -> None:
    """Move the folder one stands in to the end of `sys.path`: its packages must not hide ours.

    Stands here, and not in a module of its own, because nothing of ours can be imported before.
    """
    try:
        here = [entry for entry in sys.path if entry in ("", os.getcwd())]
    except OSError:
        print("error: the folder that this command was started in is gone: go to one that is there", file=sys.stderr)
        sys.exit(2)
    sys.path[:] = [entry for entry in sys.path if entry not in here] + here[:1]


if __name__ == "__main__":
    # Threads that wait by spinning starve each other where the machine has other work; read when
    # torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    yield_the_front()
    from harness.cli import main

    main()
