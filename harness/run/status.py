"""The `status` of a run, and how to go on from there."""

from __future__ import annotations

RUNNING, STOPPED, COMPLETE, FAILED = "running", "stopped", "complete", "finished with errors"
CHANGED = "of no use: a model or a file changed while it ran"
FINISHED = (COMPLETE, FAILED)


def of_shard(shard: str, failed: bool) -> str:
    """The status of a run that has done its part of the samples."""
    return f"shard {shard}{f', {FAILED}' if failed else ''}"


def is_shard(status: str) -> bool:
    """Whether it is of a part of a run."""
    return status.startswith("shard ")


def of_merged(missing: int, total: int, failed: bool) -> str:
    """The status of merged shards, which may lack samples."""
    if missing:
        return f"lacking {missing} of {total} samples"
    return FAILED if failed else COMPLETE


def onwards(status: str) -> str:
    """How to go on with a run that is not complete."""
    if status == CHANGED:
        return "begin again in a new directory"
    if is_shard(status):
        return (
            "`merge` puts the shards"
            f" together{'; the same command does the errors again' if status.endswith(FAILED) else ''}"
        )
    if status.startswith("lacking "):
        return "merge the missing shards into it, or evaluate with its configuration and --out"
    return "the same command goes on with it"
