"""Which answers are drawn or played is read off the problem and the task."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from harness.tasks import Regression, Segmentation, Task
from harness.tasks.answer_form import answer_form, as_answers
from tests.harness.tasks.problems.linear_tasks import TASKS

FORMS = {
    "maps": {"kind": "map", "classes": ["sky", "road", "car", "tree", "house"], "ignore": 255},
    "images": {"kind": "image", "low": 0.0, "high": 1.0},
    "features": {"kind": "image", "low": 0.0, "high": 1.0},
    "sounds": {"kind": "sound", "sample_rate": 8000},
    "boxes": {"kind": "boxes", "classes": ["lamp", "pit"], "confidence": 0.5},
}


@pytest.mark.parametrize("name", TASKS)
def test_maps_images_sounds_and_boxes_have_a_form_and_no_other_answer(name: str) -> None:
    assert answer_form(TASKS[name]()) == FORMS.get(name)


@dataclass(frozen=True)
class Own(Regression):
    """A user's problem with answers of any shape and type."""

    tolerance: float = 1.0
    of: tuple[int, ...] = (1,)
    whole: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of

    def check_targets(self, targets: Tensor) -> None:
        pass

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.round().long() if self.whole else outputs


@pytest.mark.parametrize(
    ("of", "whole", "kind"),
    [
        ((4, 6), True, "map"),
        ((4, 6), False, None),
        ((3, 4, 6), False, "image"),
        ((1, 4, 6), False, "image"),
        ((2, 4, 6), False, None),
        ((3, 4, 6), True, None),
        ((50,), False, "sound"),
        ((50,), True, None),
        ((49,), False, None),
        ((), True, None),
        ((), False, None),
    ],
)
def test_a_users_problem_is_read_by_shape_and_type(of: tuple[int, ...], whole: bool, kind: str | None) -> None:
    """A vector of the length of a sound is a sound."""
    options = {"kinds": {"heard": "audio"}, "sample_rate": 4000, "problem": Own(of=of, whole=whole)}
    task = Task.from_arrays({"heard": torch.randn(40, 50)}, torch.zeros(40, *of), **options)
    form = answer_form(task)
    assert (form and form["kind"]) == kind
    assert kind != "sound" or form == {"kind": "sound", "sample_rate": 4000}


def test_classes_without_names_are_called_by_their_numbers() -> None:
    inputs, targets = {"x": torch.rand(40, 3, 4, 6)}, torch.zeros(40, 4, 6).long()
    task = Task.from_arrays(inputs, targets, kinds={"x": "image"}, problem=Segmentation(3, (4, 6), ignore=-1))
    assert answer_form(task) == {"kind": "map", "classes": ["0", "1", "2"], "ignore": -1}


def test_a_target_that_holds_more_gives_its_first_part() -> None:
    answers, targets = torch.zeros(5, 7), torch.arange(70).reshape(5, 2, 7)
    assert as_answers(answers, answers) is answers
    taken = as_answers(targets, answers)
    assert taken is not None and torch.equal(taken, targets[:, 0])
    assert as_answers(torch.zeros(5, 2, 8), answers) is None and as_answers(torch.zeros(5), answers) is None
