"""The studies by name, and how one is run."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from attacks.errors import BadInput, unknown
from attacks.presets import VERSION
from harness.engine.environment import choose_device
from harness.engine.loading import load_task
from harness.reproduce import ALL, NAMES, spotcheck
from harness.reproduce.campaign import perform_all, recorded, trials
from harness.reproduce.page import Page
from harness.reproduce.results import Results
from harness.reproduce.study import Study
from harness.tasks.files.dataroot import NoData

STUDIES: Mapping[str, Study] = {
    name: getattr(importlib.import_module(f"harness.reproduce.{name}"), name.upper()) for name in NAMES
}


@dataclass(frozen=True)
class ReproduceOptions:
    """The options of the command line.

    Attributes:
        small: do a little of everything, to see that it runs.
        work: the folder of checkpoints and runs; resuming looks there.
        page: the page to write. None: docs/results/STUDY.md, or of a small study STUDY.md in the
            folder of its work.
        only: the names of the settings to do; all if empty.
        full: do the settings that take longest, too.
        recorded: train nothing; the page has the seeds whose records are complete.
        jobs: the number of trials at a time. None: one per core, on a GPU one.
        spot_check: the number of recorded trials to repeat; the page gives the change of their
            robust scores.
    """

    study: str
    small: bool = False
    work: str = "results"
    page: str | None = None
    only: tuple[str, ...] = ()
    recorded: bool = False
    jobs: int | None = None
    device: str = "auto"
    spot_check: int = 0
    full: bool = False


def reproduce(options: ReproduceOptions, console: Console) -> Path:
    """Train and evaluate the trials of a study that are not done, and write its page.

    A setting without data on this disk is left out; the page names it.

    Returns:
        the path of the page.

    Raises:
        BadInput: no such study, no results to write, or a trial fails.
    """
    if options.study not in STUDIES:
        raise unknown("study", options.study, [*STUDIES, ALL])
    study, started = STUDIES[options.study], time.monotonic()
    folder = Path(options.work) / f"{study.name}{'-small' if options.small else ''}"
    path = (
        Path(options.page)
        if options.page
        else folder / f"{study.name}.md"
        if options.small
        else Path("docs/results") / f"{study.name}.md"
    )
    if path.suffix != ".md":
        raise BadInput(f"--page {path}: the page is Markdown, its name ends in .md")
    device = choose_device(options.device)
    jobs = options.jobs or (1 if device.type == "cuda" else os.cpu_count() or 1)
    results, absent = _planned(study, options, folder, path.parent / "records" / study.name)
    for line in absent:
        console.print(line, soft_wrap=True, markup=False)
    if not results:
        raise BadInput(f"study {study.name!r} has no results to write: {' '.join(absent)}")
    perform_all([trial for result in results.values() for trial in result.trials], jobs, device.type, console)
    records = path.parent / "records" / study.name
    if options.spot_check:
        spotcheck.write(
            records, spotcheck.check(results.values(), options.spot_check, folder / "spot-check", device.type)
        )
    page = _written(study, options, results, absent, Page(path))
    _checked(spotcheck.read(records), page)
    page.write()
    for remark in page.remarks:
        console.print(remark, soft_wrap=True, markup=False)
    console.print(
        f"{path} written after {time.monotonic() - started:.0f} s", soft_wrap=True, markup=False, highlight=False
    )
    return path


def reproduce_all(options: ReproduceOptions, console: Console) -> list[Path]:
    """Run every study, one after another. A study that fails costs its own page, and no other.

    Returns:
        the paths of the pages.

    Raises:
        BadInput: at the start, an option belongs to one study; at the end, some studies failed.
    """
    for flag, given in {"--page": options.page, "--only": options.only}.items():
        if given:
            raise BadInput(f"{flag} {''.join(given)} belongs to one study: name the study, or leave {flag} out")
    pages, failed = [], []
    for name in STUDIES:
        try:
            pages.append(reproduce(replace(options, study=name), console))
        except BadInput as error:
            failed.append(name)
            console.print(f"{name}: {error}", soft_wrap=True, markup=False)
    if failed:
        raise BadInput(f"{', '.join(failed)} could not be done, see above: mend this and run the same command again")
    return pages


def _planned(
    study: Study, options: ReproduceOptions, folder: Path, records: Path
) -> tuple[dict[str, Results], list[str]]:
    """The trials of each setting, and why some settings are left out."""
    if strange := [name for name in options.only if name not in study.settings]:
        raise unknown("setting", strange[0], study.settings, where=f" of study {study.name!r}")
    results, absent = {}, []
    for name, setting in study.settings.items():
        if options.only and name not in options.only:
            absent.append(f"{name} is left out: it was not requested.")
            continue
        if setting.full and not (options.full or options.recorded or options.only):
            absent.append(f"{name} is left out: --full runs it.")
            continue
        try:
            task = load_task(setting.task)
        except NoData as error:
            absent.append(f"{name} is left out: {error}.")
            continue
        planned = trials(setting, task, folder, records, options.small)
        if options.recorded and not (planned := recorded(planned)):
            absent.append(
                f"{name} is left out: no seed has all its records; without --recorded the missing trials are trained."
            )
            continue
        results[name] = Results(setting, task, planned)
    return results, absent


def _written(
    study: Study, options: ReproduceOptions, results: Mapping[str, Results], absent: Sequence[str], page: Page
) -> Page:
    page.heading(f"The {study.name} study", 1)
    if options.small:
        page.paragraph(
            "**A small run: one epoch, a few samples. It shows that everything works; its numbers mean nothing.**"
        )
    page.paragraph(*absent)
    study.write(results, page)
    torches, devices = (
        set[str]().union(*each) for each in zip(*(result.made_with for result in results.values()), strict=True)
    )
    page.heading("How it was made")
    page.paragraph(
        f"`{_command(options)}`, torch {' and '.join(sorted(torches))}; {'; '.join(sorted(devices))}.",
        f"The results of each trial are in `records/{study.name}` beside this page. The page is written from them, and"
        " a recorded trial is not repeated. Checkpoints and runs are in the folder of `--work`.",
        _searched(results.values()),
    )
    return page


def _searched(results: Iterable[Results]) -> str:
    versions = sorted(set[int]().union(*(result.searches for result in results)))
    if not versions:
        return ""
    made = " and ".join(map(str, versions))
    return (
        f"Critical strengths were found by version {made} of the search; this page was written with version {VERSION}."
    )


def _checked(found: Sequence[spotcheck.Moved], page: Page) -> None:
    if not found:
        return
    page.paragraph(
        "Spot check: some trials were trained and attacked again. The table gives their new robust scores minus the"
        " recorded ones, in points. Below 0, the search has become stronger. One sample is worth several tenths of a"
        " point, or whole points where few samples were attacked.",
    )
    page.table(spotcheck.HEAD, [spotcheck.row(each) for each in found])


def _command(options: ReproduceOptions) -> str:
    """The command that makes the page again: the options that decide its content."""
    more = (" --full" if options.full else "") + "".join(f" --only '{name}'" for name in options.only)
    return (
        "python -m harness reproduce"
        f" {options.study}{' --small' if options.small else ''}{' --recorded' if options.recorded else ''}{more}"
    )
