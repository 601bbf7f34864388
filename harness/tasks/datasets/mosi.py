"""CMU-MOSI: is an opinion in a film review positive? (Zadeh et al., IEEE Intelligent Systems 2016).

Research use only.

Layout of the folder, as published with utterance features: ``text/text_train0.csv``,
``audio/audio_train0.csv``, ``video/video_train0.csv`` and the same for test: features, then the
label, all quoted, rows aligned across the three; ``text_train.csv`` and ``text_test.csv``, whose
first column counts the lines of ``transcripts.csv`` from 0; and that file, without a header: id
(the video's, then _ and a number), sentence, and more.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import BadInput, shown
from harness.tasks.datasets.features import feature_task
from harness.tasks.files.arrayfiles import read_csv
from harness.tasks.files.dataroot import data_path
from harness.tasks.files.textfiles import read_rows
from harness.tasks.problems.problem import Classification
from harness.tasks.task import SPLITS, Task

SIZES = {"text": 100, "audio": 73, "video": 100}
BALLS = {"text": "linf:0.25", "audio": "linf:0.25", "video": "linf:0.25"}
SEED = 20_26
# of an utterance; the column of the transcripts that has its label, where they have one
ID, LABEL = re.compile(r".+_\d+"), 3
HELD_OUT = 10  # of the 62 training videos
NOTE = (
    "radii are in standard deviations of training; MOSI's features give away the labels of its training videos, "
    "validation ones among them: validation scores are far above those of test"
)


def mosi() -> Task:
    """Positive or negative opinions (CMU-MOSI) from utterance features of text (100), audio (73)
    and video (100).

    1,233 train, 214 val and 752 test utterances of 52, 10 and 31 videos; no video is on both sides,
    and groups are videos. Features are standardised on train; their range is that of all splits, in
    those units.

    The published features of the training videos reveal their labels, as features of a network
    trained on these videos would. Logistic regression scores .99 on the validation videos, which
    are a part of the training videos, and .76 on test.

    Raises:
        NoData: a file is not there.
        BadInput: a file does not have the layout above.
    """
    ids, parts = {}, {}
    for half in ("train", "test"):
        utterances, parts[half] = _utterances(half), {name: _table(name, half) for name in SIZES}
        _check_rows(half, utterances, parts[half])
        ids[half] = [each[0] for each in utterances]
    videos = {half: [_video(each) for each in ids[half]] for half in ids}
    held_out = np.isin(
        videos["train"], np.random.RandomState(SEED).permutation(sorted(set(videos["train"])))[:HELD_OUT]
    )
    rows = {"train": np.flatnonzero(~held_out), "val": np.flatnonzero(held_out), "test": np.arange(len(ids["test"]))}
    halves = {"train": "train", "val": "train", "test": "test"}
    samples = [ids[halves[split]][row] for split in SPLITS for row in rows[split]]
    return feature_task(
        "mosi",
        {split: {name: parts[half][name][rows[split], :-1] for name in SIZES} for split, half in halves.items()},
        BALLS,
        {split: parts[half]["text"][rows[split], -1].astype(np.int64) for split, half in halves.items()},
        Classification(2),
        samples=samples,
        groups=[_video(each) for each in samples],
        sources=[_video(each) for each in samples],
        note=NOTE,
    )


def _video(utterance: str) -> str:
    return utterance.rpartition("_")[0]


def _table(name: str, half: str) -> NDArray[Any]:
    """Features and label of every utterance (N, D + 1)."""
    path = data_path("mosi", f"{name}/{name}_{half}0.csv")
    table = read_csv(path)
    if table.shape[1] != SIZES[name] + 1 or not np.isin(table[:, -1], (0, 1)).all():
        raise BadInput(
            f"{path} must have {SIZES[name]} features and a label 0 or 1 per row, it has {table.shape[1]} columns"
        )
    return table


def _utterances(half: str) -> list[list[str]]:
    """The line of the transcripts of every utterance: its id, and more.

    Raises:
        BadInput: the first line is a header, which the published file has not, or a line has no id.
    """
    path, file = data_path("mosi", f"text_{half}.csv"), data_path("mosi", "transcripts.csv")
    transcripts, lines = read_rows(file), read_csv(path)[:, 0]
    first = transcripts[0][0] if transcripts else ""
    if not ID.fullmatch(first):
        raise BadInput(
            f"{file} begins with {shown(first)}, which is not the id of an utterance: remove the header, as lines are"
            " counted"
        )
    if not np.array_equal(lines, np.floor(lines)) or lines.min() < 0 or lines.max() >= len(transcripts):
        raise BadInput(
            f"{path} names line {lines.max():g} of transcripts.csv, which has {len(transcripts)}: they are not of one"
            " release"
        )
    utterances = [transcripts[line] for line in lines.astype(np.int64)]
    if strange := [each[0] for each in utterances if not ID.fullmatch(each[0])]:
        raise BadInput(
            f"{file} has the id {shown(strange[0])}, which is not a video's with _ and a number: fetch it again"
        )
    return utterances


def _check_rows(half: str, utterances: list[list[str]], tables: dict[str, NDArray[Any]]) -> None:
    """Refuse rows that do not belong together: by number, by label, and by the text's features
    where both files have them.
    """
    labels = tables["text"][:, -1]
    for name, table in tables.items():
        if len(table) != len(utterances) or not np.array_equal(table[:, -1], labels[: len(table)]):
            raise BadInput(
                f"the rows of {name}_{half}0.csv do not match those of text_{half}.csv and text_{half}0.csv: check the"
                " files"
            )
    written = read_csv(data_path("mosi", f"text_{half}.csv"))[:, 1:]
    if written.shape == tables["text"][:, :-1].shape and not np.allclose(written, tables["text"][:, :-1], atol=1e-6):
        raise BadInput(
            f"the features of text_{half}.csv are not those of text_{half}0.csv: their rows are not of one order"
        )
    told = [each[LABEL] if len(each) > LABEL else "" for each in utterances]
    if set(told) == {"0", "1"} and not np.array_equal(labels, np.array(told, float)):
        raise BadInput(
            f"the labels of text_{half}0.csv are not those of transcripts.csv: text_{half}.csv counts other lines of it"
        )
