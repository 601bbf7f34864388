"""LibriSpeech: read English speech and its transcripts (Panayotov et al., ICASSP 2015).

Layout of the folder `librispeech`: ``SPLIT/SPEAKER/CHAPTER`` as published, alone or in a folder
``LibriSpeech``, with recordings ``SPEAKER-CHAPTER-UTTERANCE.flac`` (or ``.wav``) of 16 kHz and one
channel, and ``SPEAKER-CHAPTER.trans.txt``, a line for each recording: its name, a space, its
transcript. Any corpus of this layout can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor

from attacks.errors import BadInput, shown
from harness.tasks.batch import Batch
from harness.tasks.datasets.answeredquestions import WAYS, Samples
from harness.tasks.datasets.freequestions import READERS, chosen, refuse_repeated
from harness.tasks.files.dataroot import NoData, data_path, data_root, mend
from harness.tasks.files.sounds import read_sound, sound_length
from harness.tasks.files.textfiles import read_text
from harness.tasks.lazy import LazySplit, Source
from harness.tasks.modality import Modality
from harness.tasks.problems.free_answers import ANSWERS, FreeAnswers, tokens_of
from harness.tasks.spelling import BYTES, END, encoded, spelled
from harness.tasks.task import Task
from harness.tasks.words import split_words

RATE = 16_000  # Hz
ENDING = ".trans.txt"
Seconds = Annotated[float, Interval(ge=0.1, le=120)]


@dataclass(frozen=True)
class Utterance:
    """A recording and its transcript."""

    sample: str
    sound: Path
    text: str
    speaker: str


def librispeech(split: str = "test-clean", seconds: Seconds = 16.0, samples: Samples = 500) -> Task:
    """Which words does a speaker read? Speech of 16 kHz, answered in words (LibriSpeech).

    The score is 1 less the word error rate, and at least 0; a sample fails below 0.5. Metrics over
    a set are the word error rate `wer` and the letter error rate `cer`: all errors divided by all
    words or letters. An answer is spelled in bytes, see `harness.tasks.spelling`. Groups are the
    speakers. A shorter recording ends in zeros, which no attack changes; a longer one is cut, but
    not its transcript, and the note counts such recordings.

    Args:
        split: the folder of test samples, as test-clean or dev-other.
        seconds: the length of all sounds.
        samples: the most recordings, by a seeded choice.

    Raises:
        NoData: the folder or a recording is not there.
        BadInput: a file is damaged or does not have the layout above.
    """
    said = chosen(_utterances(split), samples)
    lengths, length = [sound_length(each.sound, RATE) for each in said], round(seconds * RATE)
    right = tuple((each.text,) for each in said)
    tokens = tokens_of(right, encoded, END, WAYS)
    problem = FreeAnswers(right, spelled, BYTES, tokens.shape[2] + 1, WAYS, "transcript")
    audio = Modality("audio", (length,), "audio", -1.0, 1.0, 0.0, "linf:0.002", RATE)
    note = (
        f"at most {samples:,} recordings, by a seeded choice; {sum(each > length for each in lengths)} of {len(said)}"
        f" are longer than {seconds:g} s and were cut, their transcripts were not"
    )
    test = _split(said, lengths, audio, problem, tokens)
    return Task("librispeech", (audio,), problem, {"test": test}, note, (ANSWERS,))


def _split(
    said: Sequence[Utterance], lengths: Sequence[int], audio: Modality, problem: FreeAnswers, tokens: Tensor
) -> LazySplit:
    rows, length = {each.sample: row for row, each in enumerate(said)}, audio.shape[0]

    def read(row: int) -> tuple[dict[str, Tensor], int]:
        return {"audio": _fitted(said[row].sound, length), ANSWERS: tokens[row]}, row

    def padded(batch: Batch) -> Batch:
        real = torch.tensor([lengths[rows[sample]] for sample in batch.samples])
        return replace(batch, valid={"audio": torch.arange(length) < real[:, None]})

    source = Source("test", range(len(said)), read, (audio,), (ANSWERS,), problem, READERS)
    names, groups = tuple(rows), tuple(each.speaker for each in said)
    return LazySplit(source, range(len(said)), names, groups, names, [padded])


def _fitted(path: Path, length: int) -> Tensor:
    """A recording, cut or with zeros at its end."""
    wave, found = read_sound(path, RATE)[:length], np.zeros(length, np.float32)
    found[: len(wave)] = wave
    return torch.tensor(found)


def _utterances(split: str) -> list[Utterance]:
    """All recordings of a split, in the order of their names."""
    if not split.strip(".") or Path(split).name != split:
        raise BadInput(f"split {shown(split)} of librispeech is not the name of a folder: write it as test-clean")
    folder = data_path("librispeech", f"LibriSpeech/{split}", split)
    files = sorted(folder.glob(f"*/*/*{ENDING}"))
    found = [each for path in files for each in _of_chapter(path)]
    if not found:
        command = mend("librispeech", str(data_root() or "data"))
        raise NoData(f"{folder} holds no transcript such as 61/70968/61-70968{ENDING}: get it with '{command}'")
    return found


def _of_chapter(path: Path) -> list[Utterance]:
    """The recordings of a file of transcripts."""
    chapter = path.name.removesuffix(ENDING)
    lines = [line.strip().partition(" ") for line in read_text(path).split("\n") if line.strip()]
    refuse_repeated(path, [name for name, _, _ in lines], "recording")
    for name, _, text in lines:
        if not name.startswith(f"{chapter}-") or "/" in name:
            raise BadInput(f"{path} names {shown(name)}, not a recording {chapter}-UTTERANCE: fetch it again")
        if not split_words(text):
            raise BadInput(f"{path}: recording {name} has no transcript; write one, or leave the recording out")
    speaker = chapter.partition("-")[0]
    return [Utterance(name, _sound(path, name), text.strip(), speaker) for name, _, text in lines]


def _sound(path: Path, name: str) -> Path:
    for ending in ("flac", "wav"):
        if (sound := path.with_name(f"{name}.{ending}")).is_file():
            return sound
    raise NoData(f"{path} names {name}, but there is no {name}.flac or {name}.wav beside it: put it there")
