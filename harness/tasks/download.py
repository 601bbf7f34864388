"""``python -m harness.tasks.download NAME``: fetch a public data set, or print where to request one
that is not public.
"""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
import zlib
from collections.abc import Callable
from functools import partial as bound
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from attacks.errors import BadInput, unknown
from harness.tasks.datasets.fsdd import SPEAKERS, TAKES
from harness.tasks.files.dataroot import VARIABLE, data_root, use
from harness.tasks.files.fetch import fetch
from harness.tasks.files.questionfiles import ARCHIVES, fetch_archives

# LeCun's own page no longer serves the files; the copies of Google's CVDF, which TensorFlow
# Datasets fetches, are the same, and the checksums are those published with it.
MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist/"
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
# made on demand: no checksum
FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/heads/master.tar.gz"
ASK = {
    "mosi": (
        "CMU-MOSI is for research only, and you have to request it: see"
        " http://multicomp.cs.cmu.edu/resources/cmu-mosi-dataset/, and harness/tasks/datasets/mosi.py for the files to"
        " put into {folder}"
    ),
    "mosi-regression": (
        "CMU-MOSI is for research only, and you have to request it: see"
        " http://multicomp.cs.cmu.edu/resources/cmu-mosi-dataset/, and harness/tasks/datasets/mosei.py for the arrays"
        " to put into {folder}"
    ),
    "mosei": (
        "CMU-MOSEI is for research only, and you have to request it: see"
        " http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/, and harness/tasks/datasets/mosei.py for the arrays"
        " to put into {folder}"
    ),
    "epic-kitchens": (
        "EPIC-Kitchens is for research only and its features are made by you or by the authors of a paper: see"
        " https://epic-kitchens.github.io, and harness/tasks/datasets/epic_kitchens.py for the arrays to put into"
        " {folder}"
    ),
    "nyudv2": (
        "NYUDv2 is prepared by the authors of papers: see https://github.com/yikaiw/CEN for a copy with depth, and"
        " harness/tasks/datasets/nyudv2.py for the files to put into {folder}"
    ),
    "sun-rgbd": (
        "SUN RGB-D is for research: see https://rgbd.cs.princeton.edu, and harness/tasks/datasets/sun_rgbd.py for the"
        " files to put into {folder}"
    ),
    "msr-action3d": (
        "MSR-Action3D is for research only: see https://sites.google.com/view/wanqingli/data-sets/msr-action3d, and"
        " harness/tasks/datasets/action/msr_action3d.py for the files to put into {folder}"
    ),
    "ntu-rgbd": (
        "NTU RGB-D is for research only, and you have to request it: see https://rose1.ntu.edu.sg/dataset/actionRecognition,"
        " and harness/tasks/datasets/action/ntu_rgbd.py for the files to put into {folder}"
    ),
    "noise": (
        "the noise is four recordings of Google Speech Commands (CC BY 4.0): see"
        " http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz, folder _background_noise_, and"
        " harness/tasks/datasets/speech/fsdd_noise.py for the files to put into {folder}"
    ),
    "grid": (
        "GRID is CC BY 4.0: see https://zenodo.org/records/3625687, and harness/tasks/datasets/speech/grid.py for the"
        " files to put into {folder}"
    ),
    "taskonomy": (
        "Taskonomy is for research: see http://taskonomy.stanford.edu, https://github.com/yikaiw/CEN for the views of"
        " its sample building, and harness/tasks/datasets/taskonomy.py for the files to put into {folder}"
    ),
    "pope": (
        "POPE is three files and COCO's images: see https://github.com/RUCAIBox/POPE (output/coco), val2014.zip from"
        " http://images.cocodataset.org/zips/, and harness/tasks/datasets/pope.py for the files to put into {folder}"
    ),
    "textvqa": (
        "TextVQA is CC BY 4.0: see https://textvqa.org/dataset (TextVQA_0.5.1_val.json and train_val_images.zip), and"
        " harness/tasks/datasets/textvqa.py for the files to put into {folder}"
    ),
    "librispeech": (
        "LibriSpeech is CC BY 4.0: see https://www.openslr.org/12 (test-clean.tar.gz), and"
        " harness/tasks/datasets/librispeech.py for the files to put into {folder}"
    ),
}


def mnist(folder: Path, console: Console) -> None:
    """The four files of MNIST, 11 MB."""
    for name, sha256 in MNIST_FILES.items():
        fetch(MNIST + name, folder / name, sha256, console)


def fsdd(folder: Path, console: Console) -> None:
    """The 3,000 recordings of FSDD."""
    if (folder / "recordings").exists():
        console.print(f"{folder / 'recordings'} is there already", soft_wrap=True, markup=False, highlight=False)
        return
    archive = folder / "fsdd.tar.gz"
    fetch(FSDD, archive, None, console)
    try:
        count = _unpack(archive, folder / "recordings")
    finally:
        archive.unlink()  # one that is damaged, too: the next attempt begins anew
    console.print(f"{folder / 'recordings'}: {count} recordings", soft_wrap=True, markup=False, highlight=False)


PUBLIC: dict[str, Callable[[Path, Console], None]] = {
    "mnist": mnist,
    "fsdd": fsdd,
    **{name: bound(fetch_archives, name) for name in ARCHIVES},
}


def _unpack(archive: Path, target: Path) -> int:
    """Write the recordings, and nothing else, of an archive; the folder appears when it is
    complete.
    """
    wanted = {f"{digit}_{speaker}_{take}.wav" for digit in range(10) for speaker in SPEAKERS for take in range(TAKES)}
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        with tarfile.open(archive) as members:
            for member in members:
                found = re.fullmatch(r"[^/]+/recordings/([^/]+\.wav)", member.name)
                if found and found[1] in wanted and (content := members.extractfile(member)):
                    (partial / found[1]).write_bytes(content.read())
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise BadInput(f"{archive} cannot be unpacked: {error}; run the same command again") from None
    if lacking := sorted(wanted - {path.name for path in partial.iterdir()}):
        raise BadInput(
            f"{FSDD} lacks {len(lacking)} of {len(wanted)} recordings, {lacking[0]} among them: put them into {target}"
            " by hand"
        )
    partial.replace(target)
    return len(wanted)


def download(
    name: Annotated[str, typer.Argument(help=f"{', '.join((*PUBLIC, *ASK))}.")],
    folder: Annotated[str | None, typer.Option("--data-root", help=f"The folder of data sets. [${VARIABLE}]")] = None,
) -> None:
    """Fetch a data set into the data root, or print where to request it.

    A download that was cut off continues.
    """
    use(folder)
    if name not in PUBLIC and name not in ASK:
        raise unknown("data set", name, (*PUBLIC, *ASK))
    root = data_root()
    if root is None:
        raise BadInput(f"no data folder is given: name it with --data-root or {VARIABLE}")
    if name in ASK:
        raise BadInput(ASK[name].format(folder=root / name))
    PUBLIC[name](root / name, Console())


def main() -> None:
    """Run the command; exit code 2 and one sentence where it cannot be done."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(download)
    try:
        app()
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
