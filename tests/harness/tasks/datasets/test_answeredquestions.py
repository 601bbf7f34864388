"""VQAv2, POPE and TextVQA: files in the published layouts are read; a broken file gives one
sentence; a run on one of them has exact numbers.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import harness
from attacks.errors import BadInput
from harness.engine.loading import load_task
from harness.models.words.speaking import Prompt, greedy, speaking
from harness.models.words.tiny_vlm import tiny_vlm
from harness.tasks import FreeAnswers, Task
from harness.tasks.datasets import answeredquestions
from harness.tasks.datasets.answeredquestions import Published
from harness.tasks.datasets.pope import pope
from harness.tasks.datasets.questionlists import SETS, question_lists
from harness.tasks.datasets.textvqa import textvqa
from harness.tasks.datasets.vqav2 import vqav2
from harness.tasks.files.dataroot import VARIABLE, NoData
from harness.tasks.files.images import read_picture
from harness.tasks.lazy import Unreadable
from harness.tasks.problems.free_answers import ANSWERS
from harness.tasks.spelling import BYTES, END, encoded, spelled
from tests.picturefiles import WRITERS

QUESTIONS = "vqav2/v2_OpenEnded_mscoco_val2014_questions.json"
ANSWERED = "vqav2/v2_mscoco_val2014_annotations.json"
RANDOM = "pope/coco_pope_random.json"
TEXTS = "textvqa/TextVQA_0.5.1_val.json"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for name in SETS:
        WRITERS[name](tmp_path / name)
    return tmp_path


def problem_of(task: Task) -> FreeAnswers:
    assert isinstance(task.problem, FreeAnswers)
    return task.problem


def test_vqav2_is_read_with_ten_answers(root: Path) -> None:
    task = vqav2(size=24)
    test, problem = task.splits["test"].take(range(9)), problem_of(task)
    assert test.samples == tuple(f"{10 + number}" for number in range(9)) and list(task.splits) == ["test"]
    assert Counter(test.groups) == {"yes/no": 3, "number": 3, "other": 3} == dict.fromkeys(task.report_groups, 3)
    assert problem.right[1] == ("2",) * 7 + ("3",) * 3 and problem._judge[0] == "vqa"
    assert problem.label(torch.tensor([0, 2])) == ["no", "red"]
    path = root / "vqav2" / test.sources[4]
    assert path.name == "COCO_val2014_000000000501.jpg"
    assert torch.equal(test.inputs["image"][4], torch.tensor(read_picture(path, (24, 24))).float())
    words = [task.modality("question").tokens[number] for number in test.inputs["question"][4].argmax(1).tolist()]
    assert words == ["what", "is", "thing", "4", *[""] * 12]
    assert test.valid["question"].sum(1).tolist() == [4] * 9
    assert spelled([token for token in test.inputs[ANSWERS][2, 0].tolist() if token >= 0]) == "red"


def test_pope_is_three_files_that_are_groups(root: Path) -> None:
    task = pope(size=16)
    test = task.splits["test"].take(range(12))
    assert test.samples[:5] == ("random-1", "random-2", "random-3", "random-4", "popular-1")
    assert Counter(test.groups) == dict.fromkeys(("random", "popular", "adversarial"), 4)
    assert problem_of(task).label(test.targets) == ["yes", "no"] * 6 and problem_of(task).judge == "yes-no"
    assert len(set(test.sources)) == 2 and task.duplicates == "allowed"
    perfect = torch.stack([torch.ones(12), torch.ones(12)], 1)
    assert {"yes-no_popular", "accuracy_random"} <= task.metrics(perfect, test.groups).keys()


def test_textvqa_is_read(root: Path) -> None:
    task = textvqa(size=16)
    test = task.splits["test"].take(range(5))
    assert test.samples == tuple(f"{34602 + number}" for number in range(5)) and set(test.groups) == {"all"}
    assert problem_of(task).right[3] == ("stop",) * 6 + ("Café 3",) * 4
    assert test.sources[3] == f"train_images/{3:016x}.jpg"


def test_bytes_spell_every_text() -> None:
    for text in ("no", "Café 3", "数字 é", ""):
        assert spelled([*encoded(text), END]) == text and all(END < token < BYTES for token in encoded(text))
    assert spelled(encoded("a\0b")) == "a b" and spelled([0xC3]) == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("name", SETS)
def test_a_seeded_choice_is_the_same_and_keeps_the_words(name: str, root: Path) -> None:
    few, again, every = (load_task(f"{name}?size=16{more}") for more in ("&samples=3", "&samples=3", ""))
    chosen = few.splits["test"].samples
    assert chosen == again.splits["test"].samples and len(chosen) == 3
    assert set(chosen) < set(every.splits["test"].samples)
    assert few.modality("question").tokens == every.modality("question").tokens
    with pytest.raises(BadInput, match="samples must be at least 1"):
        load_task(f"{name}?samples=0")


@pytest.mark.parametrize("name", SETS)
def test_lists_are_those_of_the_task(name: str, root: Path) -> None:
    given, task = question_lists(name, samples=4, size=16), load_task(f"{name}?size=16&samples=4")
    test = task.splits["test"].take(range(4))
    assert (tuple(given.samples), tuple(given.groups), tuple(given.sources)) == (
        test.samples,
        test.groups,
        test.sources,
    )
    assert given.images.dtype == np.uint8 and torch.equal(torch.tensor(given.images).float(), test.inputs["image"])
    assert tuple(given.right) == problem_of(task).right and given.options["judge"] == problem_of(task).judge
    assert all(each.endswith("?") for each in given.questions) and given.options["name"] == task.name
    for wrong in ({"samples": 0}, {"size": 0}):
        with pytest.raises(BadInput, match=r"question_lists got .*: give numbers from 1"):
            question_lists(name, **wrong)
    with pytest.raises(BadInput, match=f"unknown data set '{name}x': did you mean {name}"):
        question_lists(f"{name}x")


def content(root: Path, path: str) -> Any:
    text = (root / path).read_text()
    return [json.loads(line) for line in text.splitlines()] if path == RANDOM else json.loads(text)


def changed(path: str, change: Callable[[Any], object]) -> Callable[[Path], object]:
    """Writes a file again after a change of what it holds."""

    def write(root: Path) -> None:
        held = content(root, path)
        change(held)
        lines = [json.dumps(each) for each in held] if path == RANDOM else [json.dumps(held)]
        (root / path).write_text("\n".join(lines))

    return write


def first(path: str, key: str, **fields: object) -> Callable[[Path], object]:
    return changed(path, lambda held: (held[key] if key else held)[0].update(fields))


def lost(path: str, key: str, name: str) -> Callable[[Path], object]:
    return changed(path, lambda held: (held[key] if key else held)[0].pop(name))


BROKEN: dict[str, tuple[str, Callable[[Path], object]]] = {
    f"lacks {Path(QUESTIONS).name} in": ("vqav2", lambda root: (root / QUESTIONS).unlink()),
    "annotations.json is not as published at annotations 0 answers: Field required": (
        "vqav2",
        lost(ANSWERED, "annotations", "answers"),
    ),
    "at annotations 0 answer_type: Field required": ("vqav2", lost(ANSWERED, "annotations", "answer_type")),
    "annotations.json lacks question 10: ": ("vqav2", changed(ANSWERED, lambda held: held["annotations"].pop(0))),
    "questions.json lacks question 10: ": ("vqav2", changed(QUESTIONS, lambda held: held["questions"].pop(0))),
    "annotations.json: question 10 has no answer; fetch it again": (
        "vqav2",
        first(ANSWERED, "annotations", answers=[]),
    ),
    "questions.json has question 11 more than once: fetch it again": (
        "vqav2",
        first(QUESTIONS, "questions", question_id=11),
    ),
    "question 10 has no word, but ' ?'": ("vqav2", first(QUESTIONS, "questions", question=" ?")),
    "COCO_val2014_000000099999.jpg is not there": ("vqav2", first(ANSWERED, "annotations", image_id=99_999)),
    f"{Path(RANDOM).name} is not as published at label: Input should be 'yes' or 'no', got 'maybe'": (
        "pope",
        first(RANDOM, "", label="maybe"),
    ),
    f"line 1 of {{root}}/{RANDOM} is not as published at text: Field required": ("pope", lost(RANDOM, "", "text")),
    f"line 5 of {{root}}/{RANDOM} is not JSON": ("pope", lambda root: (root / RANDOM).write_text("\n" * 4 + "{")),
    f"{Path(RANDOM).name} has question random-2 more than once": ("pope", first(RANDOM, "", question_id=2)),
    f"{Path(RANDOM).name} has no question": ("pope", lambda root: (root / RANDOM).write_text("")),
    "image 'val2014/../../secret.jpg' of a question lies outside of": (
        "pope",
        first(RANDOM, "", image="../../secret.jpg"),
    ),
    "at data 0 answers: Field required": ("textvqa", lost(TEXTS, "data", "answers")),
    "has question 34603 more than once": ("textvqa", first(TEXTS, "data", question_id=34_603)),
    "question 34602 has no answer": ("textvqa", first(TEXTS, "data", answers=[])),
    "is not JSON": ("textvqa", lambda root: (root / TEXTS).write_text("<html>")),
}


@pytest.mark.parametrize("said", BROKEN)
def test_a_broken_layout_is_one_sentence(said: str, root: Path) -> None:
    name, damage = BROKEN[said]
    damage(root)
    for make in (load_task, question_lists):
        with pytest.raises(BadInput) as error:
            make(name)
        assert said.replace("{root}", str(root)) in str(error.value)


@pytest.mark.parametrize("name", SETS)
def test_without_data_a_command_gets_them(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(NoData, match=rf"get it with 'python -m harness.tasks.download {name} --data-root"):
        load_task(name)


def test_an_image_that_cannot_be_read_is_named_with_its_sample(root: Path) -> None:
    path = root / "pope" / "val2014" / f"COCO_val2014_{700:012d}.jpg"
    path.write_bytes(b"no image")
    with pytest.raises(Unreadable, match=rf"sample 'random-2' .*{path} cannot be read: .*; fetch it again"):
        pope(size=16).splits["test"].take([1])
    with pytest.raises(BadInput, match=f"{path} cannot be read"):
        question_lists("pope", size=16)


def test_tiny_vlm_answers_them(root: Path) -> None:
    task: Task = vqav2(size=16)
    outputs = tiny_vlm(task)(task.splits["test"].take(range(4)).inputs)
    assert outputs.shape == (4, task.width) and bool(outputs.isfinite().all())


class Bright(nn.Module):
    """Says yes about bright images, and no about dark ones."""

    def __init__(self) -> None:
        super().__init__()
        behind = torch.full((BYTES, BYTES), -1e3)
        for before, after in (("y", "e"), ("e", "s"), ("n", "o"), ("s", "\0"), ("o", "\0")):
            behind[ord(before), ord(after)] = 1e3
        self.register_buffer("behind", behind)

    def embed_prompt(self, inputs: dict[str, Tensor], present: Tensor | None) -> Prompt:
        return {"light": inputs["image"].mean((1, 2, 3)) - 127.5}

    def logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        light = prompt["light"]
        start = torch.full((len(light), BYTES), -1e3)
        start = start.index_copy(1, torch.tensor([ord("y"), ord("n")]), torch.stack([light, -light], 1))
        return torch.cat([start[:, None], self.behind[tokens]], 1)  # type: ignore[index]

    def generate(self, prompt: Prompt, length: int) -> Tensor:
        return greedy(self, prompt, length)


def test_a_run_has_exact_strengths(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answeredquestions, "READERS", 0)
    light = {700: 150, 701: 100}
    for number, level in light.items():
        Image.new("RGB", (40, 30), (level,) * 3).save(root / "pope" / "val2014" / f"COCO_val2014_{number:012d}.jpg")
    task = pope(size=16)
    model = {"bright": speaking(Bright(), task, end=END)}
    run = harness.evaluate(task, model, samples="all", schedule="none", trust=False, scenarios=["image@linf:8"])
    found = run.ledger.set_index("sample").strength
    # of the questions about the bright image yes is right, about the dark one no
    exact = {1: 22.5 / 8, 2: 0.0, 3: 0.0, 4: 27.5 / 8}
    for name in task.report_groups:
        for number, strength in exact.items():
            assert found[f"{name}-{number}"] == pytest.approx(strength, rel=0.02)
    samples = run.directory.table("samples").to_pandas()
    assert samples.score.mean() == 0.5 and set(samples.group) == set(task.report_groups)
    assert set(samples.label) == {"yes", "no"} == set(samples.target)


def test_every_set_names_itself(root: Path) -> None:
    for name, read in SETS.items():
        given = read()
        assert isinstance(given, Published) and given.name == name == load_task(f"{name}?size=16").name
