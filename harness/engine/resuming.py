"""The directory in which an evaluation continues or begins."""

from __future__ import annotations

import re
from itertools import chain, count

from attacks.errors import BadInput, shown
from harness.engine.plan import Work, requested_id
from harness.engine.standing import Standing, another, as_begun, standing
from harness.run.description import Description
from harness.run.directory import RUN_FILE, RunDirectory
from harness.tasks import Task
from harness.tasks.sample_hashes import sample_hashes

AT_ONCE = 16  # samples that are read together
AGAIN = r"-\d+"  # ends the name of a second run of the same id: the first is of a model that changed


def standing_at(directory: RunDirectory) -> Standing:
    """The standing of a run on disk."""
    return Standing(directory.describe(), directory.fingerprints())


def taken_up(work: Work, description: Description, directory: RunDirectory) -> tuple[Work, Description]:
    """The work under the id of the run in the directory, if it is the same run; unchanged where the
    directory has no run.

    Raises:
        BadInput: the directory holds another run.
    """
    if not directory.files.exists(f"{directory.root}/{RUN_FILE}"):
        return work, description
    here = standing_at(directory)
    if why := another(here, standing(work, description)):
        raise BadInput(f"the run at --out {directory.url} {why}: name a new directory")
    refuse_other_samples(work.task, directory)
    return as_begun(work, description, here.description)


def refuse_other_samples(task: Task, directory: RunDirectory) -> None:
    """Read the samples that a run holds anew, where they are read as they are needed: its data is
    not known otherwise.

    Raises:
        BadInput: some are others than those of the run.
    """
    split = task.splits["test"]
    if "test" in task.in_memory:  # the hash of all data is a part of the run's identity
        return
    rows = directory.table("samples", ("sample", "hash")).to_pylist()
    known = {row["sample"]: row["hash"] for row in rows}
    numbers = [row for row, sample in enumerate(split.samples) if sample in known]
    parts = [numbers[start : start + AT_ONCE] for start in range(0, len(numbers), AT_ONCE)]
    found = {
        sample: each
        for part in split.each(parts)
        for sample, each in zip(part.samples, sample_hashes(part), strict=True)
    }
    if changed := [sample for sample, each in found.items() if each != known[sample]]:
        raise BadInput(
            f"the run at {directory.url} was made of other data: {len(changed)} of its {len(found)} samples differ, as"
            f" {shown(changed[0])}: name a new directory, and raise the version of task {task.name!r}"
        )


def default_directory(work: Work, description: Description, part: str) -> RunDirectory:
    """The directory of an evaluation without --out: that of the run that it resumes, or a new one.

    Args:
        part: the end of the name of a shard's directory.
    """
    now, stem = standing(work, description), f"{work.task.name}-{requested_id(work.identity)}"
    taken = RunDirectory("runs").folders(stem)
    for name in taken:
        directory, ending = (
            RunDirectory(f"runs/{name}"),
            name.partition(stem)[2][len(work.run) - len(requested_id(work.identity)) :],
        )
        if re.fullmatch(f"{re.escape(part)}({AGAIN})?", ending) and _goes_on(directory, now):
            return directory
    wanted = f"{work.task.name}-{work.run}{part}"
    names = chain([wanted], (f"{wanted}-{number}" for number in count(2)))
    return RunDirectory(f"runs/{next(name for name in names if name not in taken)}")


def _goes_on(directory: RunDirectory, now: Standing) -> bool:
    try:
        return not another(standing_at(directory), now)
    except BadInput:
        return False
