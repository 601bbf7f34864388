"""A worker ends with the process that started it, because a killed process cannot stop its
workers.
"""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """End this process as soon as its parent process has ended. Without a parent process, do
    nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent,), daemon=True, name="parent").start()


def _watch(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)  # whatever the main thread is at: nobody waits for it
