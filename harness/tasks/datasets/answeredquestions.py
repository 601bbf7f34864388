"""Published questions about images that are answered in words: checked, chosen, and as a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from annotated_types import Interval
from torch import Tensor

from attacks.errors import BadInput, shown
from harness.tasks.batch import Batch
from harness.tasks.datasets.freequestions import POSITIONS, READERS, VOCABULARY, Images, chosen, refuse_repeated
from harness.tasks.lazy import LazySplit, Source
from harness.tasks.modality import Modality
from harness.tasks.problems.free_answers import ANSWERS, FreeAnswers, tokens_of
from harness.tasks.spelling import BYTES, END, encoded, spelled
from harness.tasks.task import Duplicates, Task
from harness.tasks.words import Words, fitted, learnt, split_words

WAYS = 1  # acceptable answers that have a margin
Size = Annotated[int, Interval(ge=8, le=4_096)]
Samples = Annotated[int, Interval(ge=1, le=1_000_000)]


@dataclass(frozen=True)
class Answered:
    """A question: its id, its words, its image (a path inside the data set's folder), its
    acceptable answers and its group.
    """

    sample: str
    question: str
    image: str
    right: tuple[str, ...]
    group: str = "all"


@dataclass(frozen=True)
class Published:
    """The questions of a data set.

    Attributes:
        name: of the task.
        folder: the folder of the data set.
        asked: all questions, in the order of the files.
        judge: the judge of their answers, see `harness.tasks.judges`.
    """

    name: str
    folder: Path
    asked: tuple[Answered, ...]
    judge: str

    def images(self, size: int, asked: Sequence[Answered]) -> Images:
        """The images of some questions, stretched to (3, size, size); none is read.

        Raises:
            NoData: an image is not there.
            BadInput: the path of an image leads out of the folder.
        """
        images = Images(self.folder, False, (size, size))
        images.check([each.image for each in asked])
        return images


def published(path: Path, name: str, judge: str, asked: Sequence[Answered]) -> Published:
    """The questions of a data set, the most frequent answer of each first.

    Args:
        path: their file, which messages name.

    Raises:
        BadInput: there is no question; or one stands there twice, has no word or has no answer.
    """
    if not asked:
        raise BadInput(f"{path} has no question: fetch it again")
    refuse_repeated(path, [each.sample for each in asked])
    for each in asked:
        if not split_words(each.question) or not each.right:
            lack = "answer" if split_words(each.question) else f"word, but {shown(each.question)}"
            raise BadInput(f"{path}: question {each.sample} has no {lack}; fetch it again")
    return Published(name, path.parent, tuple(replace(each, right=_ranked(each.right)) for each in asked), judge)


def _ranked(answers: Sequence[str]) -> tuple[str, ...]:
    counts = Counter(answers)
    return tuple(sorted(answers, key=lambda answer: -counts[answer]))


def answered_task(
    given: Published,
    size: int,
    samples: int,
    note: str,
    report_groups: tuple[str, ...] = (),
    duplicates: Duplicates = "flagged",
) -> Task:
    """A task of test samples: `image` (3, size, size) from 0 to 255, and `question`, up to 16 of
    the 500 most frequent words, one-hot. An answer is spelled in bytes, see
    `harness.tasks.spelling`.

    Any word may replace another, because no synonyms are known that would keep free questions
    grammatical. Images are read when their samples are taken.

    Args:
        samples: so many questions at most, by a seeded choice.
        duplicates: "allowed" where the same question about the same image may stand more than once.

    Raises:
        NoData: an image is not there.
        BadInput: the path of an image leads out of the folder.
    """
    asked = chosen(given.asked, samples)
    images = given.images(size, asked)
    words = learnt([each.question for each in given.asked], VOCABULARY, POSITIONS)
    right = tuple(each.right for each in asked)
    tokens = tokens_of(right, encoded, END, WAYS)
    problem = FreeAnswers(right, spelled, BYTES, tokens.shape[2] + 1, WAYS, given.judge)
    modalities = (Modality("image", (3, size, size), "image", 0.0, 255.0, 127.5, "linf:8"), words.modality())
    note = f"at most {samples:,} questions, by a seeded choice; images are stretched to {size} × {size}; {note}"
    split = _split(asked, words, images, modalities, problem, tokens)
    return Task(
        given.name, modalities, problem, {"test": split}, note, (ANSWERS,), report_groups, duplicates=duplicates
    )


def _split(
    asked: Sequence[Answered],
    words: Words,
    images: Images,
    modalities: tuple[Modality, ...],
    problem: FreeAnswers,
    tokens: Tensor,
) -> LazySplit:
    texts = fitted(words, [each.question for each in asked])
    there, rows = words.numbers(texts) > 0, {each.sample: row for row, each in enumerate(asked)}

    def read(row: int) -> tuple[dict[str, Tensor], int]:
        question = words.one_hot([texts[row]])[0]
        return {"image": images[asked[row].image], "question": question, ANSWERS: tokens[row]}, row

    def padded(batch: Batch) -> Batch:
        return replace(batch, valid={"question": there[[rows[sample] for sample in batch.samples]]})

    source = Source("test", range(len(asked)), read, modalities, (ANSWERS,), problem, READERS)
    names, groups = tuple(rows), tuple(each.group for each in asked)
    return LazySplit(source, range(len(asked)), names, groups, tuple(each.image for each in asked), [padded])
