"""NYUDv2: 40 classes of pixels of indoor photographs with depth (Silberman et al., ECCV 2012), as
prepared for CEN (Wang et al., NeurIPS 2020).

Layout of the folder `nyudv2`: ``train.txt`` and ``val.txt`` with a line for each sample, three
paths with tabs between: the photograph (``rgb/0.png``), its classes (``masks/0.png``, grey or with
a palette: 0 to 39, and 255 where a pixel is ignored) and its depth (``depth/0.png``, 16 bits, 0 in
holes). Published are 795 and 654 samples.
"""

from __future__ import annotations

from harness.tasks.datasets.rgbd import Height, rgbd_task
from harness.tasks.task import Task

CLASSES = 40


def nyudv2(height: Height = 96) -> Task:
    """Which of 40 classes is every pixel? Indoor photographs with depth (NYUDv2), from your copy.

    The test samples are those of ``val.txt``; one in ten of training's is held out for validation,
    by a hash of its path, since published code chooses its epoch on the test samples. Photographs
    and depths that are larger than their classes are cropped to their middle.

    Args:
        height: to which all are reduced; the width is a third more. Published numbers are of 480.

    Raises:
        NoData: a file is not there.
        BadInput: a file is damaged or does not have the layout above.
    """
    return rgbd_task("nyudv2", CLASSES, height, "cropped")
