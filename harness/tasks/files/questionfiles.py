"""The sources of the images and questions of bccd, TallyQA, HowMany-QA and VQAv2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness.tasks.files.archives import unzip
from harness.tasks.files.fetch import fetch


@dataclass(frozen=True)
class Archive:
    """A zip archive; members whose name matches `pattern` are wanted, at least `least` of them,
    under its first group.
    """

    url: str
    pattern: str
    least: int


VQA = "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/"
ARCHIVES = {  # no source publishes a checksum
    "bccd": (
        Archive(
            "https://github.com/Shenggan/BCCD_Dataset/archive/refs/heads/master.zip",
            r"[^/]+/(BCCD/(?:Annotations/\w+\.xml|JPEGImages/\w+\.jpg|ImageSets/Main/\w+\.txt))",
            2 * 364 + 3,
        ),
    ),
    "tallyqa": (
        Archive("https://github.com/manoja328/tallyqa/raw/master/tallyqa.zip", r"(?:.+/)?((?:train|test)\.json)", 2),
    ),
    "vqav2": tuple(
        Archive(f"{VQA}v2_{what}_Val_mscoco.zip", r"(?:.+/)?(v2_\w+\.json)", 1) for what in ("Questions", "Annotations")
    ),
    "howmany-qa": (
        Archive(
            "https://einstein.ai/research/interpretable-counting-for-visual-question-answering/HowMany-QA.zip",
            r"(HowMany-QA/question_ids\.json)",
            1,
        ),
        *(
            Archive(f"{VQA}v2_{what}_{part}_mscoco.zip", r"(?:.+/)?(v2_\w+\.json)", 1)
            for what in ("Questions", "Annotations")
            for part in ("Train", "Val")
        ),
    ),
}
IMAGES = {
    "tallyqa": (
        "train2014.zip and val2014.zip from http://images.cocodataset.org/zips/, images.zip and images2.zip (Visual"
        " Genome) from https://cs.stanford.edu/people/rak248/VG_100K_2/"
    ),
    "howmany-qa": "train2014.zip and val2014.zip from http://images.cocodataset.org/zips/",
    "vqav2": "val2014.zip from http://images.cocodataset.org/zips/",
}


def fetch_archives(name: str, folder: Path, console: Console) -> None:
    """Fetch and unpack the published files of a data set, and print where its images are: they are
    too many for this command.
    """
    for number, archive in enumerate(ARCHIVES[name]):
        done = folder / f".unpacked-{number}"
        if done.exists():
            console.print(f"{archive.url} is unpacked already", soft_wrap=True, markup=False, highlight=False)
            continue
        path = folder.parent / f"{name}-{number}.zip"
        fetch(archive.url, path, None, console)
        try:
            count = unzip(path, archive.pattern, folder, archive.least)
        finally:
            path.unlink()  # one that is damaged, too: the next attempt begins anew
        done.touch()
        console.print(f"{folder}: {count} files of {archive.url}", soft_wrap=True, markup=False, highlight=False)
    if name in IMAGES:
        console.print(f"images: unpack {IMAGES[name]} into {folder}", soft_wrap=True, markup=False, highlight=False)
