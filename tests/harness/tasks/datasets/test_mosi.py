"""CMU-MOSI: splits by video, features standardised, ranges that hold; a broken layout is one
sentence.
"""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from attacks.errors import BadInput
from harness.engine.loading import load_task
from harness.tasks import Task
from harness.tasks.datasets.mosi import SIZES, mosi
from harness.tasks.files.dataroot import VARIABLE, NoData


@pytest.fixture(scope="module")
def task() -> Task:
    """The task made of the real files."""
    try:
        return load_task("mosi")
    except NoData as error:
        pytest.skip(str(error))


def test_sizes_and_positive_rates(task: Task) -> None:
    expected = {"train": (1_233, 52, 0.492), "val": (214, 10, 0.477), "test": (752, 31, 0.621)}
    for split, (size, videos, positive) in expected.items():
        batch = task.splits[split]
        assert (len(batch), len(set(batch.groups))) == (size, videos)
        assert batch.targets.double().mean().item() == pytest.approx(positive, abs=5e-4)
    assert {name: task.modality(name).shape[0] for name in task.names} == SIZES


def test_no_video_on_both_sides(task: Task) -> None:
    for left, right in combinations(task.splits.values(), 2):
        assert not set(left.groups) & set(right.groups)
    assert all(
        sample.startswith(f"{video}_")
        for sample, video in zip(task.splits["val"].samples, task.splits["val"].groups, strict=True)
    )


def test_standardised_on_train_in_the_range_of_all(task: Task) -> None:
    for modality in task.modalities:
        x = torch.cat([split.inputs[modality.name] for split in task.splits.values()])
        train = task.splits["train"].inputs[modality.name]
        assert train.mean(0).abs().max() < 1e-4
        assert bool(((train.std(0, correction=0) - 1).abs() < 1e-3).logical_or(train.std(0) == 0).all())
        assert torch.equal(torch.as_tensor(modality.high), x.amax(0).clamp_min(0))
        assert torch.equal(torch.as_tensor(modality.low), x.amin(0).clamp_max(0))


def write(root: Path) -> Path:
    """Twelve training videos of two utterances and one of test, in the published layout."""
    folder, rng = root / "mosi", np.random.default_rng(0)
    transcripts = [f"video_{number // 2}_{number % 2}" for number in range(26)]
    (folder).mkdir()
    (folder / "transcripts.csv").write_text("".join(f'"{each}","A, B","1","0"\n' for each in transcripts))
    for half, lines in {"train": range(24), "test": range(24, 26)}.items():
        table(folder / f"text_{half}.csv", np.array(lines)[:, None])
        for name, size in SIZES.items():
            (folder / name).mkdir(exist_ok=True)
            labels = np.array(lines)[:, None] % 2
            table(
                folder / name / f"{name}_{half}0.csv", np.hstack([rng.normal(size=(len(lines), size)).round(3), labels])
            )
    return folder


def table(path: Path, values: np.ndarray) -> None:
    path.write_text("\n".join(",".join(f'"{value:g}"' for value in row) for row in values) + "\n")


def drop_column(folder: Path) -> None:
    path = folder / "audio" / "audio_test0.csv"
    path.write_text("\n".join(line.partition(",")[2] for line in path.read_text().splitlines()))


def drop_row(folder: Path) -> None:
    path = folder / "video" / "video_train0.csv"
    path.write_text("\n".join(path.read_text().splitlines()[1:]))


def prepend(line: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "transcripts.csv"
        path.write_text(line + path.read_text())

    return change


def append(*ids: str) -> Callable[[Path], object]:
    """Other utterances for test, behind those that are there."""

    def change(folder: Path) -> None:
        path = folder / "transcripts.csv"
        path.write_text(path.read_text() + "".join(f'"{each}"\n' for each in ids))
        table(folder / "text_test.csv", np.array([[26], [27]]))

    return change


def with_labels(shift: int) -> Callable[[Path], object]:
    """Transcripts that know the labels, in their own lines or in others."""

    def change(folder: Path) -> None:
        lines = (folder / "transcripts.csv").read_text().splitlines()
        rows = [f'{line.partition(",")[0]},"A","1","{(number + shift) % 2}"\n' for number, line in enumerate(lines)]
        (folder / "transcripts.csv").write_text("".join(rows))

    return change


def other_features(folder: Path) -> None:
    """text_test.csv has features, as published, and they are not those of text_test0.csv."""
    table(folder / "text_test.csv", np.hstack([np.array([[24], [25]]), np.ones((2, SIZES["text"]))]))


BROKEN: dict[str, Callable[[Path], object]] = {
    "must have 73 features and a label 0 or 1 per row, it has 73 columns": drop_column,
    "the rows of video_train0.csv do not match": drop_row,
    "names line 99 of transcripts.csv, which has 26": lambda folder: (folder / "text_test.csv").write_text(
        '"98"\n"99"\n'
    ),
    "is not a table of numbers": lambda folder: (folder / "text" / "text_test0.csv").write_text("a,b\n"),
    "lacks transcripts.csv": lambda folder: (folder / "transcripts.csv").unlink(),
    "transcripts.csv cannot be read": lambda folder: (folder / "transcripts.csv").write_bytes(b"\xff\xfe\n"),
    "transcripts.csv begins with 'id', which is not the id of an utterance: remove the header": prepend(
        "id,sentence\n"
    ),
    "transcripts.csv has the id 'video_x', which is not a video's": append("video_x", "video_13_0"),
    "source 'video_11' of task 'mosi' is in ": append("video_11_7", "video_13_0"),
    "the labels of text_train0.csv are not those of transcripts.csv": with_labels(1),
    "the features of text_test.csv are not those of text_test0.csv": other_features,
    "text_test0.csv is not a table of numbers: it is empty": lambda folder: (
        folder / "text" / "text_test0.csv"
    ).write_text("\n"),
}


def test_the_layout_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    write(tmp_path)
    splits = mosi().splits
    assert [len(splits[split]) for split in ("train", "val", "test")] == [4, 20, 2]
    assert splits["test"].samples == ("video_12_0", "video_12_1") and splits["test"].targets.tolist() == [0, 1]


SPREADSHEETS: dict[str, Callable[[bytes], bytes]] = {
    "mark": lambda content: b"\xef\xbb\xbf" + content,
    "CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "blank rows": lambda content: content.replace(b"\n", b"\n\n"),
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "no last line end": lambda content: content.rstrip(b"\n"),
}


@pytest.mark.parametrize("name", SPREADSHEETS)
def test_what_a_spreadsheet_saves_is_the_same_task(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    folder = write(tmp_path)
    with_labels(0)(folder)
    as_published = mosi()
    for path in folder.rglob("*.csv"):
        path.write_bytes(SPREADSHEETS[name](path.read_bytes()))
    assert (mosi().definition_hash, mosi().data_hash) == (as_published.definition_hash, as_published.data_hash)


@pytest.mark.parametrize("said", BROKEN)
def test_a_broken_layout_is_one_sentence(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    BROKEN[said](write(tmp_path))
    with pytest.raises(BadInput) as error:
        mosi()
    assert said in str(error.value)
