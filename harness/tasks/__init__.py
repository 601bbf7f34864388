"""Tasks: the data and the problem that a model is tested on."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.tasks.batch import Batch
    from harness.tasks.modality import Modality
    from harness.tasks.problems.boxes import Boxes
    from harness.tasks.problems.counts import Counting
    from harness.tasks.problems.enhancement import Enhancement
    from harness.tasks.problems.free_answers import FreeAnswers
    from harness.tasks.problems.heads import Heads
    from harness.tasks.problems.images import Images
    from harness.tasks.problems.labels import MultiLabel
    from harness.tasks.problems.problem import Classification, Graded, Problem, Regression
    from harness.tasks.problems.retrieval import Retrieval
    from harness.tasks.problems.segmentation import Segmentation
    from harness.tasks.problems.softcounts import SoftCounting
    from harness.tasks.problems.values import Values
    from harness.tasks.task import Detector, Task

__all__ = [
    "Batch",
    "Boxes",
    "Classification",
    "Counting",
    "Detector",
    "Enhancement",
    "FreeAnswers",
    "Graded",
    "Heads",
    "Images",
    "Modality",
    "MultiLabel",
    "Problem",
    "Regression",
    "Retrieval",
    "Segmentation",
    "SoftCounting",
    "Task",
    "Values",
]
HOMES = {
    "harness.tasks.batch": ("Batch",),
    "harness.tasks.modality": ("Modality",),
    "harness.tasks.problems.boxes": ("Boxes",),
    "harness.tasks.problems.counts": ("Counting",),
    "harness.tasks.problems.enhancement": ("Enhancement",),
    "harness.tasks.problems.free_answers": ("FreeAnswers",),
    "harness.tasks.problems.heads": ("Heads",),
    "harness.tasks.problems.images": ("Images",),
    "harness.tasks.problems.labels": ("MultiLabel",),
    "harness.tasks.problems.problem": ("Classification", "Graded", "Problem", "Regression"),
    "harness.tasks.problems.retrieval": ("Retrieval",),
    "harness.tasks.problems.segmentation": ("Segmentation",),
    "harness.tasks.problems.softcounts": ("SoftCounting",),
    "harness.tasks.problems.values": ("Values",),
    "harness.tasks.task": ("Detector", "Task"),
}


def __getattr__(name: str) -> Any:
    """Names here load when they are used: finding the data folder loads no torch."""
    home = next((module for module, names in HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'harness.tasks' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


CATALOGUE = {
    "task": {
        "digits": "harness.tasks.datasets.digits:digits",
        "mnist": "harness.tasks.datasets.mnist:digits_seen",
        "avmnist": "harness.tasks.datasets.avmnist:avmnist",
        "avmnist-smil": "harness.tasks.datasets.avmnist:avmnist_smil",
        "mosi": "harness.tasks.datasets.mosi:mosi",
        "mosi-regression": "harness.tasks.datasets.mosei:mosi_regression",
        "mosei": "harness.tasks.datasets.mosei:mosei",
        "epic-kitchens": "harness.tasks.datasets.epic_kitchens:epic_kitchens",
        "counting": "harness.tasks.datasets.counting:counting",
        "rooms": "harness.tasks.datasets.rooms:rooms",
        "rooms-boxes": "harness.tasks.datasets.rooms.boxes:rooms_boxes",
        "rooms-points": "harness.tasks.datasets.rooms.points:rooms_points",
        "rooms-shade-texture": "harness.tasks.datasets.rooms.translations:shade_texture",
        "rooms-depth-normal": "harness.tasks.datasets.rooms.translations:depth_normal",
        "gestures": "harness.tasks.datasets.action.gestures:gestures",
        "msr-action3d": "harness.tasks.datasets.action.msr_action3d:msr_action3d",
        "ntu-rgbd": "harness.tasks.datasets.action.ntu_rgbd:ntu_rgbd",
        "grid": "harness.tasks.datasets.speech.grid:grid",
        "speech": "harness.tasks.datasets.speech.strings:speech",
        "fsdd-noise": "harness.tasks.datasets.speech.fsdd_noise:fsdd_noise",
        "nyudv2": "harness.tasks.datasets.nyudv2:nyudv2",
        "sun-rgbd": "harness.tasks.datasets.sun_rgbd:sun_rgbd",
        "taskonomy": "harness.tasks.datasets.taskonomy:taskonomy",
        "vqa": "harness.tasks.datasets.vqa:vqa",
        "vqa-words": "harness.tasks.datasets.vqa_words:vqa_words",
        "captions": "harness.tasks.datasets.captions:captions",
        "bccd": "harness.tasks.datasets.bccd:bccd",
        "tallyqa": "harness.tasks.datasets.tallyqa:tallyqa",
        "howmany-qa": "harness.tasks.datasets.howmany_qa:howmany_qa",
        "vqav2": "harness.tasks.datasets.vqav2:vqav2",
        "pope": "harness.tasks.datasets.pope:pope",
        "textvqa": "harness.tasks.datasets.textvqa:textvqa",
        "librispeech": "harness.tasks.datasets.librispeech:librispeech",
    }
}
