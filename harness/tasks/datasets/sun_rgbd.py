"""SUN RGB-D: 37 classes of pixels of indoor photographs with depth (Song et al., CVPR 2015).

Layout of the folder `sun-rgbd`: ``train.txt`` and ``val.txt`` with a line for each sample, three
paths with tabs between: the photograph (``rgb/0.png`` or .jpg), its classes (``masks/0.png``, grey
or with a palette: 0 to 36, and 255 where a pixel is ignored; the official files count from 1 and
write 0 there: subtract 1 and let 0 become 255) and its depth (``depth/0.png``, 16 bits, 0 in
holes). Published are 5,285 and 5,050 samples.
"""

from __future__ import annotations

from harness.tasks.datasets.rgbd import Height, rgbd_task
from harness.tasks.task import Task

CLASSES = 37


def sun_rgbd(height: Height = 48) -> Task:
    """Which of 37 classes is every pixel? Indoor photographs with depth (SUN RGB-D), your copy.

    The test samples are those of ``val.txt``; one in ten of training's is held out for validation,
    by a hash of its path. All are stretched to one size.

    Args:
        height: to which all are reduced; the width is a third more.

    Raises:
        NoData: a file is not there.
        BadInput: a file is damaged or does not have the layout above.
    """
    return rgbd_task("sun-rgbd", CLASSES, height, "stretched")
