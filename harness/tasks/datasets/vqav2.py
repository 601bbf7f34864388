"""VQAv2: free questions about photographs, answered by ten people each (Goyal et al., CVPR 2017).

Layout of the folder `vqav2`: ``v2_OpenEnded_mscoco_val2014_questions.json`` and
``v2_mscoco_val2014_annotations.json`` as published; COCO's images as
``val2014/COCO_val2014_NUMBER.jpg``, where NUMBER has twelve digits. A link to another folder of
them will do.
"""

from __future__ import annotations

from harness.tasks.datasets.answeredquestions import Answered, Published, Samples, Size, answered_task, published
from harness.tasks.datasets.vqafiles import vqa_questions
from harness.tasks.files.dataroot import data_path
from harness.tasks.task import Task

PART = "val2014"
GROUPS = ("yes/no", "number", "other")
NOTE = "the score is VQA's soft accuracy"


def vqav2(size: Size = 224, samples: Samples = 4_000) -> Task:
    """What do you see? Free questions about photographs, answered in words (VQAv2, validation).

    The score is the soft accuracy over the answers of ten people; a sample fails below 0.5. Groups
    are the types of answer: yes/no, number, other.

    Args:
        size: height and width to which images are stretched.
        samples: the most questions, by a seeded choice; all of them give the words.

    Raises:
        NoData: a file or an image is not there.
        BadInput: a file is damaged or does not have the layout above.
    """
    return answered_task(vqav2_questions(), size, samples, NOTE, GROUPS)


def vqav2_questions() -> Published:
    """All questions.

    Raises:
        NoData: a file is not there.
        BadInput: a file is damaged or does not have the layout above.
    """
    asked = [
        Answered(f"{number}", each.question, each.image, tuple(each.answers), each.answer_type)
        for number, each in vqa_questions("vqav2", PART).items()
    ]
    return published(data_path("vqav2", f"v2_mscoco_{PART}_annotations.json"), "vqav2", "vqa", asked)
