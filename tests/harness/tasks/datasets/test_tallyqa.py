"""TallyQA and HowMany-QA: files in the published layouts are read; a broken file gives one
sentence.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.tasks import Batch, Counting, SoftCounting, Task
from harness.tasks.datasets import freequestions
from harness.tasks.datasets.freequestions import POSITIONS, SIZE
from harness.tasks.datasets.howmany_qa import count, howmany_qa
from harness.tasks.datasets.tallyqa import Entry, group, tallyqa
from harness.tasks.files.dataroot import VARIABLE, NoData
from harness.tasks.files.grids import grid_of
from harness.tasks.files.images import read_picture
from harness.tasks.problems.softcounts import voted
from harness.tasks.words import UNKNOWN, fitted, learnt, split_words
from tests.picturefiles import howmany, tally


def whole(task: Task, split: str) -> Batch:
    """All samples of a split, whose images are read when they are taken."""
    return task.splits[split].take(range(len(task.splits[split])))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def test_tallyqa_is_read_and_split_by_image(root: Path) -> None:
    tally(root / "tallyqa")
    task = tallyqa(tolerance=1)
    sizes = {split: len(batch) for split, batch in task.splits.items()}
    assert task.problem == Counting(15, 1) and sizes["train"] + sizes["val"] == 80 and sizes["test"] == 30
    images = {
        split: {(int(sample) - 30_000_000) // 2 for sample in task.splits[split].samples} for split in ("train", "val")
    }
    assert not images["train"] & images["val"] and len(images["train"] | images["val"]) == 40
    test = whole(task, "test")
    assert test.targets.tolist() == [number % 16 for number in range(30)]
    assert Counter(test.groups) == {"complex": 10, "simple": 16, "other": 4}
    assert set(task.splits["train"].groups) == {"simple", "complex"}
    pixels = read_picture(root / "tallyqa" / "VG_100K_2" / "1000.jpg", SIZE)
    assert torch.equal(test.inputs["image"][1], torch.tensor(pixels).float())
    assert {"accuracy_simple", "rmse_complex"} <= task.metrics(
        torch.stack([test.targets, test.targets], 1), test.groups
    ).keys()
    assert not bool(task.bounds(test)["question"].ends[1][~test.valid["question"]][:, 1:].any())


def test_questions_with_one_id_get_different_ids(root: Path) -> None:
    tally(root / "tallyqa")
    path = root / "tallyqa" / "test.json"
    entries = json.loads(path.read_text())
    path.write_text(
        json.dumps(
            [{**each, "question_id": 7 if number < 3 else each["question_id"]} for number, each in enumerate(entries)]
        )
    )
    assert tallyqa().splits["test"].samples[:4] == ("7", "7-2", "7-3", str(entries[3]["question_id"]))
    path.write_text(
        json.dumps(
            [{**each, "question_id": ("7", "7", "7-2", "8")[min(number, 3)]} for number, each in enumerate(entries[:4])]
        )
    )
    assert tallyqa().splits["test"].samples == ("7", "7-3", "7-2", "8")


def test_a_question_without_a_word_and_one_of_test_that_is_neither_simple_nor_complex_are_refused(root: Path) -> None:
    tally(root / "tallyqa")
    path = root / "tallyqa" / "test.json"
    entries = json.loads(path.read_text())
    for change, message in (({"question": " ?"}, "has no word"), ({"issimple": None}, "lacks issimple")):
        path.write_text(json.dumps([*entries[:5], {**entries[5], **change}]))
        with pytest.raises(BadInput, match=f"{entries[5]['question_id']}.* {message}.*fetch"):
            tallyqa()


def test_words_of_any_script_are_words() -> None:
    assert split_words("Сколько людей в café, l'été?") == ["сколько", "людей", "в", "café", "l'été"]


def test_complex_is_what_was_written_for_tallyqa() -> None:
    asked = Entry(1, "VG_100K/1.jpg", "How many?", 2, "amt")
    assert group(asked) == "complex"
    assert group(replace(asked, data_source="imported_genome", issimple=False)) == "other"
    assert group(replace(asked, data_source="imported_vqa")) == "simple"


def test_grid_features_stand_in_for_photographs(root: Path) -> None:
    tally(root / "tallyqa", grids=True)
    task = tallyqa()
    train = whole(task, "train")
    first = [train.sources.index(name) for name in dict.fromkeys(train.sources)]
    image, x = task.modality("image"), train.inputs["image"][first]
    assert image.kind == "features" and image.shape == (4, 3, 3) and image.ball == f"linf:{float(x.std()) / 10:.3g}"
    assert torch.equal(
        whole(task, "test").inputs["image"][0], grid_of(root / "tallyqa" / "features" / "VG_100K_2" / "1000.jpg")
    )
    odd = root / "tallyqa" / "features" / "VG_100K_2" / "1001.npy"
    np.save(odd, np.zeros((4, 3, 2), np.float32))
    with pytest.raises(BadInput, match=r"has modality 'image' of shape \(4, 3, 2\), and the task declares \(4, 3, 3\)"):
        whole(tallyqa(), "test")
    second = list(dict.fromkeys(train.sources))[1]
    np.save((root / "tallyqa" / "features" / second).with_suffix(".npy"), np.zeros((4, 3, 2), np.float32))
    with pytest.raises(BadInput, match=rf"have shape \(4, 3, 3\), those of {second} \(4, 3, 2\)"):
        tallyqa()


def test_at_most_so_many_questions_are_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tally(root / "tallyqa")
    monkeypatch.setattr(freequestions, "MOST", {"train": 7, "val": 2, "test": 5})
    samples = [tallyqa().splits["test"].samples for _ in range(2)]
    assert samples[0] == samples[1] == tuple(sorted(samples[0])) and len(samples[0]) == 5


def test_an_image_is_on_one_side(root: Path) -> None:
    tally(root / "tallyqa")
    change("tallyqa/test.json", image="VG_100K_2/./2.jpg")(root)
    with pytest.raises(BadInput, match=r"source 'VG_100K_2/2.jpg' of task 'tallyqa' is in train and in test"):
        tallyqa()
    tally(root / "tallyqa")
    change("tallyqa/test.json", question_id=30_000_004)(root)
    with pytest.raises(BadInput, match=r"sample '30000004' of task 'tallyqa' is in train and in test"):
        tallyqa()


def test_a_question_that_vqa_has_twice_is_refused(root: Path) -> None:
    howmany(root / "howmany-qa")
    path = root / "howmany-qa" / "v2_OpenEnded_mscoco_val2014_questions.json"
    questions = json.loads(path.read_text())["questions"]
    path.write_text(json.dumps({"questions": [*questions, questions[0]]}))
    with pytest.raises(BadInput, match=f"has question {questions[0]['question_id']} more than once"):
        howmany_qa()


def test_grids_are_plain_numbers(tmp_path: Path) -> None:
    save_file({"grid": torch.ones(2, 3, 4)}, tmp_path / "a.safetensors")
    assert grid_of(tmp_path / "a.jpg").shape == (2, 3, 4)
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "c.npy", np.ones((2, 3)))
    np.save(tmp_path / "d.npy", np.full((2, 3, 4), np.nan))
    (tmp_path / "e.npy").write_bytes(b"nothing")
    (tmp_path / "f.safetensors").write_bytes(b"nothing")
    (tmp_path / "i.npy").write_bytes(b'\x93NUMPY\x01\x00\x10\x00{"descr": junk  \n')
    np.save(tmp_path / "j.npy", np.ones((4, 0, 3)))
    save_file({"one": torch.ones(1), "two": torch.ones(1)}, tmp_path / "g.safetensors")
    for said, names in {"cannot be read": "befi", "save finite": "cdj"}.items():
        for name in names:
            with pytest.raises(BadInput, match=rf"{name}\.\w+ .*{said}"):
                grid_of(tmp_path / name)
    with pytest.raises(BadInput, match="holds 2 tensors"):
        grid_of(tmp_path / "g")
    with pytest.raises(NoData, match=r"h\.npy does not exist"):
        grid_of(tmp_path / "h")


def test_howmany_is_read_and_judged_softly(root: Path) -> None:
    howmany(root / "howmany-qa")
    task = howmany_qa()
    problem = task.problem
    assert isinstance(problem, SoftCounting) and problem.shape == (21,)
    assert [task.splits[split].samples for split in ("val", "test")] == [("10", "11"), ("20", "21")]
    assert len(task.splits["train"]) == 5 and problem.truth(whole(task, "train").targets).tolist() == [0, 1, 2, 3, 0]
    soft = problem.accuracies[whole(task, "train").targets]
    torch.testing.assert_close(soft[0, :3], torch.tensor([1.0, 0.0, 0.6]))
    assert soft[2, 2] == 1 and problem.measured(torch.tensor([2, 1, 2, 3, 0]), whole(task, "train").targets)[
        "soft_accuracy"
    ] == pytest.approx(0.92)


def test_soft_accuracy_is_the_mean_over_nine_of_ten() -> None:
    """The official evaluation leaves each person out in turn and gives min(n / 3, 1); up to 3
    people that is 0.3 n.
    """
    for voices in range(1, 11):
        answers = [7] * voices + [9] * (10 - voices)
        official = np.mean([min((answers[:out] + answers[out + 1 :]).count(7) / 3, 1) for out in range(10)])
        assert SoftCounting((voted(answers, 20),)).accuracies[0, 7].item() == pytest.approx(official)


def test_soft_counts_are_judged_by_hand() -> None:
    problem = SoftCounting(((0, 2, 2, 0), (8, 1, 0, 1)))
    targets = torch.tensor([0, 1])
    assert problem.truth(targets).tolist() == [1, 0]
    outputs = torch.tensor([[0.0, 0, 5, 0], [0.0, 0, 0, 5]])
    torch.testing.assert_close(problem.score(outputs, targets), torch.tensor([0.6, 0.3]))
    assert problem.verdict(outputs, targets).fails.tolist() == [True, True]
    assert SoftCounting(problem.votes, 1).verdict(outputs, targets).fails.tolist() == [False, True]
    share = torch.tensor([[0, 0.5, 0.5, 0], [1 / 1.6, 0.3 / 1.6, 0, 0.3 / 1.6]])
    torch.testing.assert_close(problem.loss(outputs, targets), -(share * F.log_softmax(outputs, 1)).sum(1))
    for bad in (torch.tensor([2]), torch.tensor([-1]), torch.tensor([0.0])):
        with pytest.raises(BadInput, match="int64 from 0 to 1"):
            problem.check_targets(bad)
    for tolerance in (-1, 3):
        with pytest.raises(BadInput, match=f"a tolerance below it, got 3 and {tolerance}"):
            SoftCounting(problem.votes, tolerance).check_targets(targets)
    with pytest.raises(BadInput, match="at least one vote"):
        SoftCounting(((0, 0),)).check_targets(targets)


def test_counts_in_digits_and_words() -> None:
    assert [count(each) for each in ("3", " 12 ", "Two", "none", "3.5", "-1", "²", "9" * 5_000)] == [
        3,
        12,
        2,
        *[-1] * 5,
    ]


def test_rare_words_are_unknown_and_long_questions_are_cut() -> None:
    words = learnt(["How many dogs?", "how many CATS", "many of them"], 4, 3)
    assert words.vocabulary == ("", UNKNOWN, "many", "how", "cats")
    assert fitted(words, ["How many dogs are there?"]) == [f"how many {UNKNOWN}"]
    assert words.one_hot(fitted(words, ["many"])).argmax(2).tolist() == [[2, 0, 0]]


def change(path: str, **fields: object) -> Callable[[Path], object]:
    def write(root: Path) -> None:
        entries = json.loads((root / path).read_text())
        entries[0] |= fields
        (root / path).write_text(json.dumps(entries))

    return write


IDS = "howmany-qa/HowMany-QA/question_ids.json"
BROKEN: dict[str, tuple[Callable[[], object], Callable[[Path], object]]] = {
    "lacks test.json": (tallyqa, lambda root: (root / "tallyqa" / "test.json").unlink()),
    "is not JSON": (tallyqa, lambda root: (root / "tallyqa" / "train.json").write_text("[{")),
    "is not as published at 0 question_id": (
        tallyqa,
        lambda root: (root / "tallyqa" / "train.json").write_text('[{"image": "a"}]'),
    ),
    "has the answer 16, which is not a count from 0 to 15": (tallyqa, change("tallyqa/test.json", answer=16)),
    "at 0 question: Input should be a valid string, got None": (tallyqa, change("tallyqa/test.json", question=None)),
    "at 0 answer: Input should be a valid integer, got True": (tallyqa, change("tallyqa/test.json", answer=True)),
    "lies outside of": (tallyqa, change("tallyqa/test.json", image="../../secret.jpg")),
    "is not a path": (tallyqa, change("tallyqa/test.json", image="a" * 400)),
    "absent.jpg is not there": (tallyqa, change("tallyqa/test.json", image="VG_100K/absent.jpg")),
    "has no questions for split 'test'": (tallyqa, lambda root: (root / "tallyqa" / "test.json").write_text("[]")),
    "is not as published at train": (howmany_qa, lambda root: (root / IDS).write_text('{"train": []}')),
    "question 77 of test": (
        howmany_qa,
        lambda root: (root / IDS).write_text('{"train": {"vqa": [0]}, "dev": [10], "test": [77]}'),
    ),
    "do not belong together": (
        howmany_qa,
        lambda root: (root / "howmany-qa" / "v2_OpenEnded_mscoco_val2014_questions.json").write_text(
            '{"questions": []}'
        ),
    ),
}


@pytest.mark.parametrize("said", BROKEN)
def test_a_broken_layout_is_one_sentence(said: str, root: Path) -> None:
    make, damage = BROKEN[said]
    tally(root / "tallyqa")
    howmany(root / "howmany-qa")
    damage(root)
    with pytest.raises(BadInput) as error:
        make()
    assert said in str(error.value)


def test_questions_have_at_most_so_many_words(root: Path) -> None:
    tally(root / "tallyqa")
    change("tallyqa/test.json", question="how many " * 20)(root)
    assert whole(tallyqa(), "test").valid["question"].sum(1).max() == POSITIONS
