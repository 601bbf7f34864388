"""What a model is tested on."""

from harness.tasks.batch import Batch
from harness.tasks.modality import Modality
from harness.tasks.problems.counts import Counting
from harness.tasks.problems.heads import Heads
from harness.tasks.problems.problem import Classification, Problem, Regression
from harness.tasks.problems.softcounts import SoftCounting
from harness.tasks.task import Detector, Task

__all__ = ["Batch", "Classification", "Counting", "Detector", "Heads", "Modality", "Problem", "Regression", "SoftCounting", "Task"]

CATALOGUE = {
    "task": {
        "digits": "harness.tasks.digits:digits",
        "mnist": "harness.tasks.mnist:digits_seen",
        "avmnist": "harness.tasks.avmnist:avmnist",
        "avmnist-smil": "harness.tasks.avmnist:avmnist_smil",
        "mosi": "harness.tasks.mosi:mosi",
        "mosi-regression": "harness.tasks.mosei:mosi_regression",
        "mosei": "harness.tasks.mosei:mosei",
        "epic-kitchens": "harness.tasks.epic_kitchens:epic_kitchens",
        "counting": "harness.tasks.counting:counting",
        "vqa": "harness.tasks.vqa:vqa",
        "bccd": "harness.tasks.bccd:bccd",
        "tallyqa": "harness.tasks.tallyqa:tallyqa",
        "howmany-qa": "harness.tasks.howmany_qa:howmany_qa",
    }
}
