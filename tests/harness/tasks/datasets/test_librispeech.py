"""LibriSpeech: recordings and transcripts in the published layout are read; a broken file gives one
sentence; error rates are those of the whole set.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

import harness
from attacks.errors import BadInput
from harness.engine.loading import load_task
from harness.models.words.speaking import Prompt, greedy, speaking
from harness.tasks import FreeAnswers
from harness.tasks.datasets import librispeech as module
from harness.tasks.datasets.librispeech import RATE, librispeech
from harness.tasks.files.dataroot import VARIABLE, NoData
from harness.tasks.files.sounds import read_sound
from harness.tasks.lazy import Unreadable
from harness.tasks.problems.free_answers import ANSWERS
from harness.tasks.spelling import BYTES, END, encoded
from tests.filmfiles import SAID, write_librispeech

CHAPTER = "test-clean/61/70968"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    write_librispeech(tmp_path / "librispeech")
    return tmp_path / "librispeech"


def test_it_is_read(root: Path) -> None:
    task = librispeech(seconds=1.0)
    test, problem = task.splits["test"].take(range(3)), task.problem
    assert isinstance(problem, FreeAnswers) and problem.judge == "transcript"
    assert test.samples == test.sources == tuple(SAID) and test.groups == ("61", "61", "84")
    assert problem.label(test.targets) == list(SAID.values()) and task.names == ("audio",)
    audio, real = test.inputs["audio"], test.valid["audio"]
    assert audio.shape == (3, RATE) and real.sum(1).tolist() == [8_000, 16_000, 8_000]
    assert not bool(audio[~real].any())
    for row, name in ((0, "61-70968-0000.flac"), (1, "61-70968-0001.wav")):
        wave = torch.tensor(read_sound(root / CHAPTER / name, RATE)[:RATE])
        assert torch.equal(audio[row, : len(wave)], wave)
    low, high = task.bounds(test)["audio"].ends
    assert torch.equal((low < high), real)
    assert "1 of 3 are longer than 1 s and were cut" in task.note
    assert "0 of 3" in librispeech(seconds=2.0).note


def test_the_published_folder_around_it_may_stay(root: Path) -> None:
    (root / "LibriSpeech").mkdir()
    (root / "test-clean").rename(root / "LibriSpeech" / "dev-other")
    assert set(load_task("librispeech?split=dev-other&samples=2").splits["test"].samples) < set(SAID)


def transcripts(root: Path, text: str) -> None:
    (root / CHAPTER / "61-70968.trans.txt").write_text(text)


FIRST, SECOND = (f"{name} {text}\n" for name, text in list(SAID.items())[:2])
BROKEN: dict[str, Callable[[Path], object]] = {
    "61-70968.trans.txt: recording 61-70968-0000 has no transcript": (
        lambda root: transcripts(root, f"61-70968-0000 \n{SECOND}")
    ),
    "61-70968.trans.txt has recording 61-70968-0000 more than once": lambda root: transcripts(root, FIRST + FIRST),
    "61-70968.trans.txt names '84-1-0000', not a recording 61-70968-UTTERANCE": (
        lambda root: transcripts(root, "84-1-0000 TEXT\n")
    ),
    "names '61-70968-/../x', not a recording": lambda root: transcripts(root, "61-70968-/../x TEXT\n"),
    "there is no 61-70968-0007.flac or 61-70968-0007.wav beside it": (
        lambda root: transcripts(root, f"{FIRST}61-70968-0007 TEXT\n")
    ),
    "61-70968-0000.flac cannot be read": (
        lambda root: (root / CHAPTER / "61-70968-0000.flac").write_bytes(b"no sound")
    ),
    "61-70968-0001.wav has 8000 Hz, 1 channels and 800 samples, expected 16000 Hz": (
        lambda root: soundfile.write(root / CHAPTER / "61-70968-0001.wav", np.zeros(800), 8_000)
    ),
}


@pytest.mark.parametrize("said", BROKEN)
def test_a_broken_layout_is_one_sentence(said: str, root: Path) -> None:
    BROKEN[said](root)
    with pytest.raises(BadInput) as error:
        librispeech()
    assert said in str(error.value)


def test_what_is_not_there_is_one_sentence(root: Path) -> None:
    with pytest.raises(NoData, match=r"lacks LibriSpeech/dev-clean or dev-clean .*harness.tasks.download librispeech"):
        librispeech("dev-clean")
    (root / "empty").mkdir()
    with pytest.raises(NoData, match=r"empty holds no transcript such as .*harness.tasks.download librispeech"):
        librispeech("empty")
    for split in ("../secret", "a/b", "..", ""):
        with pytest.raises(BadInput, match="is not the name of a folder: write it as test-clean"):
            librispeech(split)
    with pytest.raises(BadInput, match=r"seconds must be at least 0.1"):
        load_task("librispeech?seconds=0")


def test_a_recording_that_was_cut_off_is_named_with_its_sample(root: Path) -> None:
    path = root / CHAPTER / "61-70968-0000.flac"
    path.write_bytes(path.read_bytes()[:4_000])
    with pytest.raises(
        Unreadable, match=r"sample '61-70968-0000' of split 'test' cannot be read: .*61-70968-0000.flac"
    ):
        librispeech().splits["test"].take([0])


class Parrot(nn.Module):
    """Says one text, whatever it hears."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.register_buffer("said", torch.tensor([*encoded(text), END]))

    def embed_prompt(self, inputs: dict[str, Tensor], present: Tensor | None) -> Prompt:
        return {"heard": inputs["audio"].sum(1)}

    def logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        steps = tokens.shape[1] + 1
        padded = nn.functional.pad(self.said, (0, max(0, steps - len(self.said))), value=END)[:steps]  # type: ignore[arg-type]
        sure = nn.functional.one_hot(padded, BYTES).float()
        return sure.expand(len(tokens), -1, -1) + 0 * prompt["heard"][:, None, None]

    def generate(self, prompt: Prompt, length: int) -> Tensor:
        return greedy(self, prompt, length)


def test_a_run_has_the_error_rates_of_the_set(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READERS", 0)
    task = librispeech(seconds=0.1)
    model = speaking(Parrot("go, do you see"), task, end=END)
    run = harness.evaluate(task, {"parrot": model}, samples="all", schedule="none", trust=False, search="none")
    scores = run.directory.table("samples").to_pandas().set_index("sample").score
    assert scores.to_dict() == dict(zip(SAID, (0.0, 0.0, 0.75), strict=True))
    metrics = {each.metric: each.value for each in run.directory.notes.metrics() if each.kind == "clean"}
    assert metrics["transcript"] == pytest.approx(0.25) and metrics["accuracy"] == pytest.approx(1 / 3)
    assert metrics["wer"] == pytest.approx((5 + 4 + 1) / (5 + 2 + 4))
    assert metrics.keys() == {"transcript", "accuracy", "wer", "cer"}


def test_answers_are_spelled_in_bytes(root: Path) -> None:
    test = librispeech().splits["test"].take([1])
    assert test.inputs[ANSWERS][0, 0].tolist()[:10] == [*b"IT'S LATE", END]
