"""Sentiment: the field's metrics on checked numbers, padding, and arrays that cannot be used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attacks.errors import BadInput
from harness.tasks.datasets.mosei import mosei, real_steps
from harness.tasks.datasets.sentiment import sentiment_metrics
from harness.tasks.files.dataroot import VARIABLE
from tests.featurefiles import COUNTS, save, sentiment_arrays

Arrays = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path / "mosei"


def test_metrics_of_checked_numbers() -> None:
    p, t = torch.tensor([0.5, 1.5, -0.6, 3.4, 0, -2.5]), torch.tensor([0, 2, -1.4, 2.8, 0, -3])
    metrics = sentiment_metrics(p, t)
    assert metrics == pytest.approx(
        {"acc2_with_zero": 5 / 6, "acc2_without_zero": 1.0, "acc7": 5 / 6, "mae": 0.48333, "correlation": 0.97542},
        abs=1e-5,
    )
    assert sentiment_metrics(torch.ones(3), torch.zeros(3))["acc2_without_zero"] == 0


def test_only_zeros_at_the_ends_are_padding() -> None:
    x = torch.tensor([[0, 1, 0, 2, 0], [0, 0, 0, 0, 0], [3, 0, 0, 0, 4]])[..., None].expand(3, 5, 2).float()
    assert real_steps(x).int().tolist() == [[0, 1, 1, 1, 0], [0] * 5, [1] * 5]


def test_sequences_are_standardised_where_they_are_real(folder: Path) -> None:
    save(folder, sentiment_arrays())
    task = mosei()
    train = task.splits["train"]
    assert train.inputs["text"].shape == (COUNTS["train"], 5, 6) and train.targets.shape == (COUNTS["train"],)
    for name, real in train.valid.items():
        x = train.inputs[name]
        torch.testing.assert_close(x[real].mean(0), torch.zeros(x.shape[-1]), rtol=0, atol=1e-5)
        torch.testing.assert_close(x[real].std(0, correction=0), torch.ones(x.shape[-1]), rtol=0, atol=1e-5)
        assert not bool(x[~real].any()) and real[:, 0].sum() == 0
    task.problem.verdict(train.targets[:, None] + 0.9, train.targets)
    assert not bool(task.problem.verdict(train.targets[:, None] + 0.9, train.targets).fails.any())


def test_csv_files_hold_the_same_as_an_archive(folder: Path) -> None:
    arrays = {key: x.reshape(len(x), -1) for key, x in sentiment_arrays(steps=2).items()}
    save(folder, arrays)
    archived = mosei()
    (folder / "arrays.npz").unlink()
    for key, x in arrays.items():
        np.savetxt(folder / f"{key}.csv", x, delimiter=",")
    assert mosei().data_hash == archived.data_hash
    (folder / "test_audio.csv").unlink()
    with pytest.raises(BadInput, match=r"not test_audio\.csv: put both there"):
        mosei()


def but(key: str, change: Callable[[Any], Any]) -> Arrays:
    arrays = sentiment_arrays()
    return arrays | {key: change(arrays[key])}


BROKEN: dict[str, Callable[[], Arrays]] = {
    "has no array 'valid_vision'": lambda: {key: x for key, x in sentiment_arrays().items() if key != "valid_vision"},
    "cannot be read: Object arrays": lambda: but("train_text", lambda x: np.array([{"a": 1}] * len(x), dtype=object)),
    "save numbers, one row per sample": lambda: but("train_text", lambda x: np.array(["a"] * len(x))),
    "the test arrays of": lambda: but("test_audio", lambda x: x[1:]),
    "hold 1 values that are NaN or infinite": lambda: but(
        "train_audio", lambda x: np.where(np.arange(x.size).reshape(x.shape), x, -np.inf)
    ),
    "mosei's val labels have 7 numbers per sample": lambda: but("valid_labels", lambda x: np.repeat(x, 7, axis=2)),
    "must lie between -3 and 3": lambda: but("train_labels", lambda x: x * 2),
    "features 'text' have shape": lambda: but("test_text", lambda x: x[..., 1:]),
}


@pytest.mark.parametrize("said", BROKEN)
def test_arrays_that_cannot_be_used_are_one_sentence(said: str, folder: Path) -> None:
    save(folder, BROKEN[said]())
    with pytest.raises(BadInput) as error:
        mosei()
    assert said in str(error.value)


def test_a_damaged_archive_is_one_sentence(folder: Path) -> None:
    folder.mkdir()
    (folder / "arrays.npz").write_text("no archive")
    with pytest.raises(BadInput, match="cannot be read"):
        mosei()
