"""Counting after learning to detect objects, like the features of all published systems, and to
find the objects of a question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from attacks.errors import BadInput, shown
from harness.models.counting.augmentation import Variation
from harness.models.counting.backbone import CHANNELS, Grid, counts_of, image_and_question
from harness.models.counting.grounding import CORNERS, THERE_WEIGHT, Grounding, cells, covered
from harness.models.counting.kind_count_loss import Glance
from harness.models.option_types import NotNegative, OneOrMore, Positive, Share, ZeroOrMore
from harness.models.recipe import Stage
from harness.models.scheduled import Scheduled, warmed
from harness.tasks import Batch, Counting, SoftCounting, Task

LEAST_BLUR = 0.1  # a narrower blur is the truth alone, and divides by next to nothing


class Detecting(Scheduled):
    """The task's loss, after a stage that learns the places and kinds of annotated objects; AdamW,
    a cosine.

    The stage reads the kinds of objects from the grid (Anderson et al., CVPR 2018). If the objects
    of a question are known, and the model has features of single places, it also learns to find
    these objects, and goes on learning it while it counts (Trott et al., ICLR 2018, who ground
    captions). From its counts alone, a model learns the meaning of words late. A model that sees
    only the image's mean may learn kinds from it (see `Glance`).

    Args:
        detect: epochs of that stage. The stage is left out if this is 0, if the training split has
            no annotated objects, or if the model has no grid.
        middle: the share of an object's box that shows it; 0 is the one cell of its middle, which
            fits objects of few cells.
        ground: the weight of the loss that finds the objects of a question; 0 leaves it out.
        glance: the weight of the loss that counts objects of each kind from the mean of the grid,
            before and while counting; 0 leaves it out. A model that sees no single places has no
            other way to learn kinds. It needs batches of two or more.
        blur: the blur of the target counts: a normal distribution of this standard deviation about
            the truth, so that a near miss costs less than a wide one (label distribution learning,
            Geng, TKDE 2016); 0 is the truth alone; otherwise at least 0.1.
        jitter, mirror, cutmix: see `Variation`.
        others: see `Scheduled`.
    """

    def __init__(
        self,
        learning_rate: Positive = 3e-3,
        weight_decay: NotNegative = 1e-2,
        epochs: OneOrMore = 20,
        batch_size: OneOrMore = 64,
        detect: ZeroOrMore = 10,
        blur: NotNegative = 0.0,
        mirror: bool = False,
        ground: NotNegative = 1.0,
        middle: Share = 0.0,
        jitter: Share = 0.0,
        cutmix: Share = 0.0,
        last: bool = False,
        glance: NotNegative = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay, epochs, batch_size, last)
        self.detect, self.blur, self.ground, self.glance, self.middle = detect, blur, ground, glance, middle
        self.mirror, self.jitter, self.cutmix = mirror, jitter, cutmix

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """One stage or two; `epochs` bounds both.

        Raises:
            BadInput: blur is set where answers are not counts, or is too small; glance is set where
                it cannot work; or images cannot be joined (see `Variation`).
        """
        if self.blur and not isinstance(task.problem, Counting | SoftCounting):
            raise BadInput(
                f"option blur is of counts, and task {task.name!r} does not answer in counts alone: leave it out"
            )
        if 0 < self.blur < LEAST_BLUR:
            raise BadInput(
                f"option blur must be 0, for the truth alone, or at least {LEAST_BLUR}, not {shown(self.blur)}"
            )
        self.varied = Variation(task, self.jitter, self.mirror, self.cutmix)
        self.grounding: Grounding | None = None
        self.glancing: Glance | None = None
        self.looked = torch.empty(0)
        self.first: Stage | None = None
        train, length = task.splits["train"], self.detect if epochs is None else min(self.detect, epochs)
        grids = [part for part in model.modules() if isinstance(part, Grid)]
        objects = train.annotations if train.annotations is not None and train.annotations.shape[1] else None
        if self.glance:
            self._refuse_glance(task, bool(grids), objects is not None, length)
        if not length or not grids or objects is None:
            return super().setup(model, task, epochs)
        device = next(model.parameters()).device
        self.grid, self.image = grids[0], image_and_question(task)[0].name
        sizes = [int(size) + 1 for size in objects[..., CORNERS:].flatten(0, 1).amax(0)]
        self.head = Detector(sizes, self.middle).to(device)
        grounding = Grounding(model, self.middle).to(device)
        if self.ground and train.referred is not None and len(grounding.readers):
            self.grounding = grounding
        if self.glance:
            self.glancing = Glance(sizes).to(device)
        self.grid.register_forward_hook(self._look)
        counted = super().setup(model, task, epochs)
        moved = self.learning() if self.grounding else [*self.grid.parameters(), *self._beside()]
        optimizer = torch.optim.AdamW(
            [*moved, *self.head.parameters()], self.learning_rate, weight_decay=self.weight_decay
        )
        total = length * math.ceil(len(train) / self.batch_size)
        self.rising = LambdaLR(optimizer, lambda step: warmed(step / total))
        self.first = Stage("detecting", length, optimizer, batch_size=self.batch_size, judged=False)
        return [self.first, *counted]

    def _refuse_glance(self, task: Task, sees: bool, annotated: bool, length: int) -> None:
        if not sees:
            raise BadInput("option glance reads the grid of a model that counts, and this model has none: leave it out")
        if not annotated:
            raise BadInput(f"option glance counts annotated objects, and task {task.name!r} has none: leave it out")
        if not length or min(self.batch_size, len(task.splits["train"])) == 1:
            raise BadInput(
                "option glance goes with detecting, in batches: take detect=1 or more, and batch_size=2 or more"
            )

    def learning(self) -> list[nn.Parameter]:
        """The parameters of the model, and of the layers that read its places."""
        return [*super().learning(), *self._beside()]

    def _beside(self) -> list[nn.Parameter]:
        return [
            parameter for part in (self.grounding, self.glancing) if part is not None for parameter in part.parameters()
        ]

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The mean loss of the batch, of the stage."""
        batch = self.varied(batch)
        rows = _complete(batch)
        if stage is not self.first:
            counted = self.counted(batch, stage)
            return counted if rows is None else self._and_annotated(counted, batch, rows)
        assert batch.annotations is not None
        if self.grounding is None:
            self.looked = self.grid(batch.inputs[self.image])
        else:
            self.model(batch.inputs, batch.present)
        if rows is None:
            nothing: Tensor = 0 * self.looked.sum()
            return nothing
        return self._and_annotated(self.head(self.looked[rows], batch.annotations[rows]), batch, rows)

    def _and_annotated(self, loss: Tensor, batch: Batch, rows: Tensor | slice) -> Tensor:
        """The loss, plus the extra losses of both stages."""
        if self.grounding is not None:
            loss = loss + self.ground * self.grounding(batch, self.looked, rows)
        if self.glancing is not None:
            assert batch.annotations is not None
            loss = loss + self.glance * self.glancing(self.looked[rows], batch.annotations[rows])
        return loss

    def _look(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.looked = output

    def counted(self, batch: Batch, stage: Stage) -> Tensor:
        """The mean loss of a batch in the stage that counts."""
        return super().step(batch, stage)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss, a scalar, of outputs (B, width), the counts blurred."""
        if not self.blur:
            return super().loss(outputs, targets)
        truth = counts_of(self.task).truth(targets)
        counts = torch.arange(outputs.shape[1], device=outputs.device)
        aim = (-((counts - truth[:, None]) / self.blur).square() / 2).softmax(1)
        return F.cross_entropy(outputs, aim)

    def after_step(self, stage: Stage) -> None:
        """The learning rate of the stage moves."""
        if stage is self.first:
            self.rising.step()
        else:
            super().after_step(stage)

    def validate(self, batch: Batch) -> Tensor:
        """The task's score; where counts are blurred, how near the answer is in the same measure, 1
        for the truth.
        """
        if not self.blur:
            return super().validate(batch)
        problem, outputs = counts_of(self.task), self.model(batch.inputs, batch.present)
        off = (problem.predictions(outputs) - problem.truth(batch.targets)).float()
        return (-(off / self.blur).square() / 2).exp()


def _complete(batch: Batch) -> Tensor | slice | None:
    """The rows that lack no input. Annotations of other rows cannot be learnt.

    None if no row is complete.
    """
    if batch.present is None:
        return slice(None)
    whole = batch.present.all(1)
    return whole if bool(whole.any()) else None


class Detector(nn.Module):
    """From each cell of a grid, whether the middle of an object lies in it, and the object's
    labels; gives the loss.

    Args:
        sizes: how many values each label has.
        middle: see `covered`.
    """

    def __init__(self, sizes: Sequence[int], middle: float = 0.0) -> None:
        super().__init__()
        self.sizes, self.middle = list(sizes), middle
        self.read = nn.Conv2d(CHANNELS, 1 + sum(sizes), 1)

    def forward(self, grid: Tensor, objects: Tensor) -> Tensor:
        """The loss, a scalar, of a grid (B, 64, h, w) and objects (B, n, 4 + labels): corners as
        shares of the image, labels or -1.
        """
        there = objects[..., CORNERS] >= 0
        sample, row, column = cells(objects, there, grid)
        answers = self.read(grid).permute(0, 2, 3, 1)
        wanted = covered(objects, there, grid, self.middle)
        loss = THERE_WEIGHT * F.binary_cross_entropy_with_logits(answers[..., 0], wanted)
        labels, at = objects[there][:, CORNERS:].long(), answers[sample, row, column][:, 1:].split(self.sizes, 1)
        for value, logits in zip(labels.unbind(1), at, strict=True):
            loss = loss + F.cross_entropy(logits, value) / len(self.sizes) if len(value) else loss
        return loss
