"""More scenes than a task has: its images in another light, mirrored, and joined, with all that is
known of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.models.contrastive.augmentations import jittered
from harness.models.counting.regions import BOXES
from harness.tasks import Batch, Counting, Modality, Task
from harness.tasks.batch import CORNERS

# axes of an image along which it may be mirrored, and the words of a question that would not be
# true of it any more
MIRRORED = {
    3: ("left", "right"),
    2: ("above", "over", "upper", "top", "below", "under", "lower", "bottom"),
}
NARROWEST = 0.25  # share of an image that each of two joined sides has at least


@dataclass(frozen=True, eq=False)
class Variation:
    """Batches of a task's training split, varied at random; nothing is drawn for what is 0 or
    False.

    Attributes:
        task: whose training split they come from.
        jitter: by how much brightness and contrast of images are changed, each by 1 ± this.
        mirror: whether images are mirrored, both ways; an image whose question says left or right
            not from side to side, one whose question says above or below not upside down, as far as
            the task tells the words of its questions.
        cutmix: the share of images that are joined with a side of one that is asked the same,
            itself among them (CutMix, Yun et al., ICCV 2019, of counts). What is counted then are
            the objects, of those the question speaks of, whose middles are there.
    """

    task: Task
    jitter: float = 0.0
    mirror: bool = False
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be varied.

        Raises:
            BadInput: images are to be varied, and the task has none; or joined, and it asks for no
                counts, or does not tell which objects it asks for.
        """
        if (self.jitter or self.mirror or self.cutmix) and not self._images:
            raise BadInput(
                f"options jitter, mirror and cutmix vary images, and task {self.task.name!r} has none: leave them out"
            )
        if self.cutmix:
            counted = isinstance(self.task.problem, Counting)
            if not counted:
                raise BadInput(
                    f"option cutmix is of counts, and task {self.task.name!r} does not answer in counts alone: leave"
                    " it out"
                )
            if self._train.annotations is None or self._train.referred is None:
                raise BadInput(
                    f"option cutmix counts annotated objects anew, and task {self.task.name!r} has none to count: leave"
                    " it out"
                )

    def __call__(self, batch: Batch) -> Batch:
        """The batch in another light, mirrored and joined, with all its boxes."""
        return self.joined(self.mirrored(self.lit(batch)))

    def lit(self, batch: Batch) -> Batch:
        """The batch with its images in another light, within their range."""
        if not self.jitter:
            return batch
        inputs = dict(batch.inputs)
        for modality in self._images:
            x = jittered(inputs[modality.name], self.jitter)
            inputs[modality.name] = modality.valid.over(x).clamp(x)
        return replace(batch, inputs=inputs)

    def mirrored(self, batch: Batch) -> Batch:
        """The batch, half of its images mirrored along each axis, and all boxes with them."""
        if not self.mirror:
            return batch
        inputs, objects = dict(batch.inputs), batch.annotations
        for axis, column in zip(MIRRORED, (0, 1), strict=True):
            turned = (torch.rand(len(batch), device=batch.targets.device) < 0.5) & ~self._says(MIRRORED[axis], batch)
            for modality in self._images:
                x = inputs[modality.name]
                inputs[modality.name] = torch.where(turned[:, None, None, None], x.flip(axis), x)
            if BOXES in self.task.extra_inputs:
                inputs[BOXES] = torch.where(turned[:, None, None], _mirrored(inputs[BOXES], column), inputs[BOXES])
            objects = (
                None if objects is None else torch.where(turned[:, None, None], _mirrored(objects, column), objects)
            )
        return replace(batch, inputs=inputs, annotations=objects)

    def joined(self, batch: Batch) -> Batch:
        """The batch, some of its images joined with a side of another, with the proposals, objects
        and counts of what is there then.

        Left alone are images of which the question is not true of two sides (see `_alike`), and
        those of which more would be counted than a count of the task can tell.
        """
        if not self.cutmix:
            return batch
        assert batch.annotations is not None and batch.referred is not None
        device, alike = batch.targets.device, [self._alike.get(sample, ()) for sample in batch.samples]
        drawn = torch.rand(len(batch)).tolist()
        rows = [rows[int(share * len(rows))] if rows else 0 for rows, share in zip(alike, drawn, strict=True)]
        other = self.mirrored(self.lit(self._train.take(rows).to(device)))
        assert other.annotations is not None and other.referred is not None
        cut = Cut.drawn(len(batch), device)
        ours, theirs = cut.before(batch.annotations), ~cut.before(other.annotations)
        asked = torch.cat([batch.referred & ours, other.referred & theirs], 1)
        counts = asked.sum(1)
        can = torch.tensor([len(rows) > 0 for rows in alike], device=device) & (
            torch.rand(len(batch), device=device) < self.cutmix
        )
        can &= counts < self.task.width
        objects = torch.cat(
            [
                batch.annotations.masked_fill(~ours[..., None], -1),
                other.annotations.masked_fill(~theirs[..., None], -1),
            ],
            1,
        )
        more = objects.shape[1] - batch.annotations.shape[1]
        inputs = dict(batch.inputs)
        for modality in self._images:
            x, y = inputs[modality.name], other.inputs[modality.name]
            here = cut.pixels(*x.shape[2:])
            inputs[modality.name] = torch.where((here | ~can[:, None, None])[:, None], x, y)
        if BOXES in self.task.extra_inputs:
            x, y = inputs[BOXES], other.inputs[BOXES]
            both = _surest(x * cut.before(x)[..., None], y * ~cut.before(y)[..., None])
            inputs[BOXES] = torch.where(can[:, None, None], both, x)
        return replace(
            batch,
            inputs=inputs,
            targets=torch.where(can, counts, batch.targets),
            annotations=torch.where(can[:, None, None], objects, F.pad(batch.annotations, (0, 0, 0, more), value=-1)),
            referred=torch.where(can[:, None], asked, F.pad(batch.referred, (0, more))),
        )

    @property
    def _train(self) -> Batch:
        return self.task.splits["train"]

    @property
    def _images(self) -> list[Modality]:
        return [each for each in self.task.modalities if each.kind == "image"]

    @cached_property
    def _alike(self) -> Mapping[str, Sequence[int]]:
        """By sample, the rows of the training split that are asked the same, synonyms apart, where
        that is a count of objects anywhere.

        A question that speaks of places, or compares them, is not true of two sides of two images;
        of such samples there are none.
        """
        train = self._train
        assert train.referred is not None
        placed = torch.stack([self._says(words, train) for words in MIRRORED.values()]).any(0)
        counted = (train.referred.sum(1) == train.targets) & ~placed
        if train.present is not None:
            counted &= train.present.all(1)
        means = [
            train.editable.get(each.name, train.inputs[each.name] > 0)
            for each in self.task.modalities
            if each.kind == "text"
        ]
        found: dict[bytes, list[int]] = defaultdict(list)
        for row in counted.nonzero()[:, 0].tolist():
            found[b"".join(each[row].numpy().tobytes() for each in means)].append(row)
        return {train.samples[row]: rows for rows in found.values() for row in rows}

    def _says(self, words: Sequence[str], batch: Batch) -> Tensor:
        """Which questions of the batch have one of the words, bool (B,)."""
        said = torch.zeros(len(batch), dtype=torch.bool, device=batch.targets.device)
        for modality in self.task.modalities:
            if columns := [number for number, word in enumerate(modality.tokens) if word in words]:
                said |= batch.inputs[modality.name][..., columns].amax((1, 2)) > 0
        return said


@dataclass(frozen=True, eq=False)
class Cut:
    """A line through each image, from top to bottom or from side to side.

    Attributes:
        level: whether it goes from side to side, bool (B,).
        at: how far from the left or the top, as a share of the image, (B,).
    """

    level: Tensor
    at: Tensor

    @classmethod
    def drawn(cls, count: int, device: torch.device) -> Cut:
        """At random, each side at least `NARROWEST`."""
        return cls(
            torch.rand(count, device=device) < 0.5, NARROWEST + (1 - 2 * NARROWEST) * torch.rand(count, device=device)
        )

    def before(self, boxes: Tensor) -> Tensor:
        """Which boxes (B, n, 4 or more) have their middle left of the line or above it, bool (B,
        n).
        """
        middle = (boxes[..., :2] + boxes[..., 2:CORNERS]) / 2
        return torch.where(self.level[:, None], middle[..., 1], middle[..., 0]) < self.at[:, None]

    def pixels(self, height: int, width: int) -> Tensor:
        """Which pixels are left of the line or above it, bool (B, height, width)."""
        rows, columns = (
            ((torch.arange(length, device=self.at.device) + 0.5) / length < self.at[:, None])
            for length in (height, width)
        )
        return torch.where(self.level[:, None, None], rows[:, :, None], columns[:, None, :])


def _mirrored(boxes: Tensor, column: int) -> Tensor:
    """Boxes (B, n, 4 or more) mirrored along an axis; filling stays."""
    turned = boxes.clone()
    turned[..., column], turned[..., column + 2] = 1 - boxes[..., column + 2], 1 - boxes[..., column]
    return torch.where((boxes[..., 2] > boxes[..., 0])[..., None], turned, boxes)


def _surest(some: Tensor, others: Tensor) -> Tensor:
    """The surest proposals of both, as many as of one: (B, n, 5) twice to (B, n, 5), the surest
    first.
    """
    both = torch.cat([some, others], 1)
    order = both[..., CORNERS].topk(some.shape[1], 1).indices
    return both.gather(1, order[..., None].expand(-1, -1, both.shape[2]))
