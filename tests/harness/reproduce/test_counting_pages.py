"""The pages of the counting study say what its runs hold."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from harness.reproduce import counting, counting_systems
from harness.reproduce.results import Results
from harness.reproduce.setting import Setting
from harness.tasks import Task
from harness.tasks.datasets import counting as scenes


class Whole(Results):
    """Results with scores of the whole test split that are given."""

    def __init__(self, setting: Setting, task: Task, given: Mapping[str, np.ndarray]) -> None:
        super().__init__(setting, task, [])
        self.given = given

    def whole(self, system: str) -> np.ndarray:
        return self.given[system]


def test_counting_tells_groups_apart_and_gives_each_model_its_own_recipe() -> None:
    """MoVie is right of all that is simple and nothing else, its rival the other way round."""
    setting, task = counting.COUNTING.settings["counting"], counting_task()
    simple = np.array([[group == "simple" for group in task.splits["test"].groups]] * 2, float)
    made = Whole(setting, task, {counting_systems.MOVIE: simple, "RCN": 1 - simple})
    assert counting._gain(made, "simple", "RCN").value == 1 and counting._gain(made, "complex", "RCN").value == -1
    turned = "epochs=3&blur=1&mirror=true"
    own = {
        each.name: each.recipe for each in counting_systems.counters("epochs=2", {"IRLC": turned, "Counter": turned})
    }
    assert own["IRLC"] == "irlc?learning_rate=0.002&epochs=3&mirror=true" and own["SoftCount"] == "softcount?epochs=2"
    assert (
        own["Counter"] == f"counting?{turned}"
        and own["MoVie"] == own[counting_systems.MEAN] == own["image-blind"] == "counting?epochs=2"
    )


def counting_task() -> Task:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "SIZES", {"train": 32, "val": 32, "test": 32})
        return scenes.counting()


class Measured(Results):
    """Results with metrics of the whole test split that are given, one value for every seed."""

    def __init__(self, setting: Setting, task: Task, given: Mapping[tuple[str, str], float]) -> None:
        super().__init__(setting, task, [])
        self.given = given

    def metric(self, system: str, name: str) -> np.ndarray:
        return np.full(3, self.given[system, name])


def test_what_hardly_beats_the_blind_is_named() -> None:
    setting = counting.COUNTING.settings["counting"]
    rows = {
        "MoVie": 0.6,
        "IRLC": 0.29,
        "UpDown": 0.1,
        "MUTAN": 0.2,
        "RCN": 0.3,
        "question-blind": 0.15,
        "image-blind": 0.05,
    }
    made = Measured(setting, counting_task(), {(name, "accuracy_simple"): share for name, share in rows.items()})
    said = " ".join(counting._above_blind(made, ["IRLC", "UpDown", "MUTAN", "RCN", "question-blind", "image-blind"]))
    assert "on simple questions: IRLC (+14.0), UpDown (-5.0), MUTAN (+5.0)." in said
    assert "softmax" in said and "fixed number of regions" in said and "its seeds reach 0.290, 0.290, 0.290" in said
    fine = " ".join(counting._above_blind(made, ["RCN"]))
    assert (
        "on simple questions: none." in fine
        and "softmax" not in fine
        and "fixed number" not in fine
        and "IRLC" not in fine
    )


def test_red_cells_are_held_against_what_sees_no_picture() -> None:
    task = counting_task()
    groups = {split: tuple("RBC" if row % 2 else "WBC" for row in range(32)) for split in ("train", "test")}
    splits = {name: replace(batch, groups=groups.get(name, batch.groups)) for name, batch in task.splits.items()}
    known, asked = (splits[name].targets[1::2].double() for name in ("train", "test"))
    error = float((asked - known.mean()).square().mean().sqrt())
    given = {"MoVie": (0.7, 2.0), counting_systems.JOINED_MOVIE: (0.8, 1.0)}
    measured = {
        (name, f"{metric}_RBC"): value
        for name, row in given.items()
        for metric, value in zip(("within_two", "rmse"), row, strict=True)
    }
    said = " ".join(
        counting._cells(Measured(counting.COUNTING.settings["bccd"], replace(task, splits=splits), measured))
    )
    for name, (within, rmse) in given.items():
        assert (
            f"{name} is within 2 on {within:.3f} ± 0.000 of the photographs; its RMSE is {rmse / error:.3f} ± 0.000 of"
            " that of the training mean" in said
        )
    assert f"within 2 on {best_constant(asked.tolist()):.3f} of the photographs;" in said
    assert f"the RMSE of the training mean is {error:.3f}." in said
    assert f"In {int((asked == 0).sum())} of the 16 photographs no red cell is annotated" in said


def best_constant(counts: list[float]) -> float:
    return max(sum(abs(each - constant) <= 2 for each in counts) for constant in range(16)) / len(counts)
