"""Rendered scenes: the answers fit the images and are balanced, and only the seed decides."""

import hashlib
import json
from collections import Counter
from functools import cache
from itertools import combinations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.scenario import parse
from attacks.search import search
from harness.engine.loading import load_task
from harness.engine.objective import TaskObjective
from harness.tasks import Counting, Task
from harness.tasks.datasets import counting, vqa
from harness.tasks.datasets.scenes.batch import Asked
from harness.tasks.datasets.scenes.place import SIDE
from harness.tasks.datasets.scenes.proposals import PROPOSALS
from harness.tasks.datasets.scenes.render import objects, pictures
from harness.tasks.datasets.scenes.vocabulary import ATTRIBUTES, COLOURS, FIXED, SAID, WORDS

MEANS = {said: value for value, words in SAID.items() for said in words}


HASHES = {
    ("counting", "val"): "2ca33afeb6da58c0186f074445ee5792ddbb29d3a0c18bcb1c2c58b7e11249e6",
    ("counting", "test"): "447c7876463860473078617ed0bec871f5f240c7596efb240f5c21892d268cbd",
    ("vqa", "val"): "16ecad5dd39556a74a86a5691b23f3e6012f3f77016154b22d96fac01c4b7d6e",
}


MAKERS = {"counting": counting.scenes_of, "vqa": vqa.scenes_of}


@cache
def scenes(name: str, split: str) -> Asked:
    return MAKERS[name](split)


@pytest.fixture(scope="module")
def task() -> Task:
    """The counting task with fewer training scenes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(counting.SIZES, "train", 64)
        return counting.counting()


def fits(thing: np.ndarray, words: list[str]) -> bool:
    """Whether an object has every attribute that a question's words name."""
    names = [values[number] for values, number in zip(ATTRIBUTES.values(), thing, strict=True)]
    return thing[0] >= 0 and all(
        MEANS[word] in names for word in words if MEANS.get(word, "thing") in sum(ATTRIBUTES.values(), ())
    )


def counted(words: list[str], attributes: np.ndarray, centres: np.ndarray, star: np.ndarray) -> int:
    """How many the words ask for, read from the words alone."""
    found = [centre for thing, centre in zip(attributes, centres, strict=True) if fits(thing, words)]
    plain = [MEANS.get(word, word) for word in words]
    line = star if "star" in plain else np.array([SIDE / 2, SIDE / 2])
    sides = {"left": (0, -1), "right": (0, 1), "upper": (1, -1), "lower": (1, 1), "above": (1, -1), "below": (1, 1)}
    named = [word for word in plain if word in sides]
    on = [
        sum((centre[axis] - line[axis]) * sign > 0 for centre in found) for axis, sign in map(sides.__getitem__, named)
    ]
    if not named:
        return len(found)
    return on[0] - on[1] if "more" in plain else on[0]


@pytest.mark.parametrize(("name", "split"), HASHES)
def test_counts_are_what_the_words_ask_of_the_scene(name: str, split: str) -> None:
    each = scenes(name, split)
    for row, (text, count) in enumerate(zip(each.words, each.counts, strict=True)):
        parts = (each.scenes.attributes[row], each.scenes.centres[row], each.scenes.stars[row])
        assert counted(text.split(), *parts) == count, (row, text)


@pytest.mark.parametrize(("name", "split"), HASHES)
def test_scenes_come_from_the_seed_alone(name: str, split: str) -> None:
    each = scenes(name, split)
    said = [
        each.words,
        list(map(int, each.counts)),
        each.scenes.attributes.tolist(),
        each.scenes.centres.round(3).tolist(),
    ]
    assert hashlib.sha256(json.dumps(said).encode()).hexdigest() == HASHES[name, split]


def test_every_count_is_the_answer_equally_often_in_each_group(task: Task) -> None:
    for batch in task.splits.values():
        for group in ("simple", "complex"):
            rows = [row for row, each in enumerate(batch.groups) if each == group]
            assert len(rows) == len(batch) / 2
            assert set(batch.targets[rows].bincount().tolist()) == {len(rows) // 16}


def test_neither_the_question_nor_the_number_of_objects_gives_the_answer_away() -> None:
    """The best guess from either alone is right on fewer than 20 in 100; chance is 6."""
    each = scenes("counting", "train")
    for clue in (each.scenes.there.sum(1).tolist(), [str((q.kind, q.wanted, q.place)) for q in each.questions]):
        seen = Counter(clue)
        pairs = [(key, count) for key, count in zip(clue, each.counts, strict=True) if seen[key] >= 40]
        best: dict[object, int] = {key: max(Counter(n for k, n in pairs if k == key).values()) for key, _ in pairs}
        assert sum(best.values()) < 0.2 * len(pairs) and len(pairs) > 300


def test_complex_questions_are_those_with_places_or_two_more_attributes() -> None:
    for question in scenes("counting", "test").questions:
        hard = bool(question.place) or len(question.wanted) > 2
        assert (question.group == "complex") == hard
    forms = Counter((q.kind, bool(q.place), q.of) for q in scenes("counting", "test").questions if q.group == "complex")
    assert len(forms) == 4 and min(forms.values()) > 60


def test_no_scene_is_on_two_sides(task: Task) -> None:
    hashes = {split: {x.numpy().tobytes() for x in batch.inputs["image"]} for split, batch in task.splits.items()}
    assert all(len(hashes[split]) == len(task.splits[split]) for split in hashes)
    for left, right in combinations(hashes.values(), 2):
        assert not left & right


def test_objects_lie_inside_and_can_be_seen() -> None:
    """Each object, drawn white among black ones, keeps at least a fifth of its pixels; nine in ten
    keep nearly all.
    """
    whole = scenes("counting", "val").scenes
    each = type(whole)(*(part[:96] for part in vars(whole).values()))
    assert np.abs(each.centres - SIDE / 2)[each.there].max() < SIDE / 2 - 3
    marks = objects(each, np.random.RandomState(0))
    kept = []
    for number in range(1, 16):
        alone, among = (np.full(marks.radii.shape, -1) for _ in range(2))
        alone[:, number] = among[:, number] = marks.shape[:, number]
        among[:, number + 1 :] = marks.shape[:, number + 1 :]
        seen = []
        for shape in (alone, among):
            colour = np.zeros_like(marks.colour)
            colour[:, number] = 1e4  # beyond white: clipped to 255
            parts = {**vars(marks), "shape": shape, "colour": colour, "striped": np.zeros_like(marks.striped)}
            seen.append((pictures(type(marks)(**parts), np.random.RandomState(1))[:, 0] > 250).sum((1, 2)))
        there = each.there[:, number - 1]
        kept.append((seen[1] / np.maximum(seen[0], 1))[there])
    share = np.concatenate(kept)
    assert share.min() > 0.2 and np.quantile(share, 0.1) > 0.75


def test_the_image_is_whole_numbers_with_the_colours_named(task: Task) -> None:
    image = task.splits["val"].inputs["image"]
    assert torch.equal(image, image.round()) and image.amin() >= 0 and image.amax() <= 255 and image.std() > 20
    each = scenes("counting", "val").scenes
    red, blue = COLOURS.index("red"), COLOURS.index("blue")
    for row in range(60):
        for thing, (x, y) in zip(each.attributes[row], each.centres[row], strict=True):
            alone = all(
                np.hypot(*(other - (x, y))) > 12
                for other in each.centres[row]
                if other is not None and tuple(other) != (x, y)
            )
            if thing[0] >= 0 and thing[1] == 0 and thing[2] in (red, blue) and alone:
                r, _, b = image[row, :, int(y), int(x)]
                assert (r > b) == (thing[2] == red)


def test_proposals_are_those_of_a_detector(task: Task) -> None:
    """Nearly every object has a box on it, some have two, some boxes are on nothing; scores fall,
    zeros fill the end.
    """
    batch, each = task.splits["test"], scenes("counting", "test").scenes
    boxes, score = batch.inputs["boxes"][..., :4] * SIDE, batch.inputs["boxes"][..., 4]
    assert boxes.shape == (len(batch), PROPOSALS, 4) and bool((score[:, 1:] <= score[:, :-1]).all())
    real = score > 0
    assert bool((boxes[~real] == 0).all()) and bool((boxes[real][:, 2:] > boxes[real][:, :2]).all())
    hits, stray = [], 0
    for row in range(300):
        centres = np.concatenate([each.centres[row][each.there[row]], each.stars[row][None]])
        radii = np.append(each.radii[row][each.there[row]], 4.0)
        mine = boxes[row][real[row]].double().numpy()
        truth = np.concatenate([centres - radii[:, None], centres + radii[:, None]], 1)
        overlap = np.prod(
            (np.minimum(mine[:, None, 2:], truth[:, 2:]) - np.maximum(mine[:, None, :2], truth[:, :2])).clip(0), 2
        )
        union = np.prod(mine[:, 2:] - mine[:, :2], 1)[:, None] + np.prod(truth[:, 2:] - truth[:, :2], 1) - overlap
        near = overlap / union > 0.4
        hits += near.sum(0).tolist()
        stray += int((~near.any(1)).sum())
    share = np.bincount(hits) / len(hits)
    assert 0.03 < share[0] < 0.12 and 0.08 < share[2] < 0.3 and 0.3 < stray / 300 < 2


def test_questions_are_english_by_template_and_words_change_for_synonyms_only(task: Task) -> None:
    batch = task.splits["test"]
    assert all(
        WORDS.read(x) == text
        for x, text in zip(batch.inputs["question"], scenes("counting", "test").words, strict=True)
    )
    free = batch.editable["question"]
    bounds = task.bounds(batch)["question"]
    assert torch.equal(torch.as_tensor(bounds.low) < torch.as_tensor(bounds.high), free)
    for row, text in enumerate(scenes("counting", "test").words[:100]):
        for place, word in enumerate(text.split()):
            may = {WORDS.vocabulary[number] for number in free[row, place].nonzero().flatten().tolist()}
            assert may == ({word} if word in FIXED else set(SAID[MEANS[word]]))
        assert free[row, len(text.split()) :].sum() == WORDS.positions - len(text.split())


def test_an_unknown_word_and_a_long_question_are_one_sentence() -> None:
    with pytest.raises(BadInput, match="unknown word 'redd' of question 'how many redd circles': did you mean red"):
        WORDS.numbers(["how many redd circles"])
    with pytest.raises(BadInput, match="has 14 words, but the largest number is 13"):
        WORDS.numbers(["how " * 14])


class Reader(torch.nn.Module):
    """Counts words it dislikes, and checks that the proposals reach it untouched."""

    def __init__(self, disliked: str, boxes: torch.Tensor) -> None:
        super().__init__()
        self.number, self.boxes = WORDS.vocabulary.index(disliked), {box.numpy().tobytes() for box in boxes}

    def forward(self, inputs: dict[str, torch.Tensor], present: torch.Tensor | None = None) -> torch.Tensor:
        assert {box.numpy().tobytes() for box in inputs["boxes"]} <= self.boxes
        said = inputs["question"][:, :, self.number].sum(1)
        return F.pad(torch.stack([-said, said - 0.5], dim=1), (0, 14), value=-9)


def test_an_attack_puts_synonyms_only_and_proposals_pass_through(task: Task) -> None:
    """A model that fails on one word fails where a synonym of it stands, at strength 1, and nowhere
    else.
    """
    batch = task.splits["test"].take(range(64))
    targets = torch.zeros(64, dtype=torch.int64)
    model = Reader("crimson", batch.inputs["boxes"])
    objective = TaskObjective(model, task, targets, torch.ones(64, 2, dtype=torch.bool), {})
    found = search(objective, batch.inputs, task.bounds(batch), "question@tokens:1")
    texts = scenes("counting", "test").words[:64]
    expected = [0.0 if "crimson" in text.split() else 1.0 if "red" in text.split() else float("inf") for text in texts]
    assert found.strength.tolist() == expected and {0.0, 1.0} < set(expected)


def test_given_inputs_are_no_modality(task: Task) -> None:
    assert task.names == ("image", "question") and task.extra_inputs == ("boxes",)
    assert [str(each) for each in task.scenarios()] == [
        "image@linf:8",
        "question@tokens:1",
        str(parse("image@linf:8 + question@tokens:1")),
    ]
    batch = task.splits["test"].take(range(2))
    filled = task.with_stand_ins(batch.inputs, torch.zeros(2, 2, dtype=torch.bool))
    assert torch.equal(filled["boxes"], batch.inputs["boxes"]) and bool((filled["image"] == 127.5).all())
    assert torch.equal(batch.to("cpu").editable["question"], batch.editable["question"])
    without = {
        split: type(each)(each.samples, {n: each.inputs[n] for n in task.names}, each.targets, each.groups)
        for split, each in task.splits.items()
    }
    with pytest.raises(BadInput, match="has image, question, but needs image, question, boxes"):
        Task("counting", task.modalities, task.problem, without, extra_inputs=("boxes",))
    with pytest.raises(BadInput, match="input 'image' of task 'counting' is a modality and also an extra input"):
        Task("counting", task.modalities, task.problem, task.splits, extra_inputs=("image",))
    unfree = {
        split: type(each)(each.samples, each.inputs, each.targets, each.groups) for split, each in task.splits.items()
    }
    assert (
        Task("counting", task.modalities, task.problem, unfree, extra_inputs=("boxes",)).definition_hash
        != task.definition_hash
    )


def test_count_metrics_by_hand_and_by_group(task: Task) -> None:
    said, truth = torch.tensor([0, 3, 5, 9]), torch.tensor([0, 4, 5, 6])
    expected = {"accuracy": 0.5, "rmse": 2.5**0.5, "within_one": 0.75, "within_two": 0.75}
    assert Counting(15).measured(said, truth) == pytest.approx(expected)
    split = task.splits["val"]
    right = torch.tensor([each == "simple" for each in split.groups])
    predictions = torch.where(right, split.targets, (split.targets + 1) % 16)
    metrics = task.metrics(torch.stack([predictions, split.targets], 1).double(), split.groups)
    assert (
        metrics["accuracy"],
        metrics["accuracy_simple"],
        metrics["accuracy_complex"],
        metrics["within_one_complex"],
    ) == (
        0.5,
        1,
        0,
        15 / 16,
    )


def test_vqa_answers_are_balanced_and_true() -> None:
    each = scenes("vqa", "val")
    said = vqa.answers(each)
    assert Counter(q.group for q in each.questions) == dict.fromkeys(vqa.GROUPS, 192) and set(said) == set(vqa.ANSWERS)
    assert Counter(said)["yes"] == Counter(said)["no"] == 96 and {Counter(said)[str(n)] for n in range(16)} == {12}
    for row, (text, answer) in enumerate(zip(each.words, said, strict=True)):
        words = text.split()
        met = [thing for thing in each.scenes.attributes[row] if fits(thing, words)]
        if words[0] == "what":
            assert [ATTRIBUTES[words[1]][thing[list(ATTRIBUTES).index(words[1])]] for thing in met] == [answer]
        elif words[0] == "are":
            assert answer == ("yes" if met else "no")
        else:
            assert answer == str(each.counts[row])


def test_a_task_takes_options_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "SIZES", {"train": 32, "val": 32, "test": 32})
    strict, lenient = load_task("counting"), load_task("counting?tolerance=2")
    assert strict.name == lenient.name and strict.data_hash == lenient.data_hash
    assert isinstance(lenient.problem, Counting) and lenient.problem.tolerance == 2
    assert strict.definition_hash != lenient.definition_hash
    with pytest.raises(BadInput, match="unknown option 'tol' of task 'counting\\?tol=1'"):
        load_task("counting?tol=1")
