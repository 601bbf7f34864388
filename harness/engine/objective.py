"""The engine's objective: a model on a task's samples, some modalities missing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attacks.errors import ModelBroke
from attacks.objective import Verdict
from attacks.region import Inputs, take
from harness.engine.compiled import Compiled
from harness.engine.drawn import Drawn
from harness.models.partial_encoding import answered, encoded_still
from harness.tasks import Task
from harness.tasks.batch import PAD
from harness.tasks.problems.problem import Graded

HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, eq=False)
class TaskObjective:
    """A model's verdict on a batch.

    Attributes:
        present: bool (B, M); the stand-in replaces a missing modality, whatever its values.
        kept: features (B, ...) of modalities that do not move, of a factored model.
        dtype: what the model computes in; below float32 by autocast.
        search_dtype: the same for what `holding` returns, which searches but never verifies.
        twin: what searches in the model's place; a compiled one, if any.
        floor: of a graded problem, the score (B,) below which each sample has failed.
    """

    model: nn.Module
    task: Task
    targets: Tensor
    present: Tensor
    kept: Inputs
    dtype: torch.dtype = torch.float32
    search_dtype: torch.dtype = torch.float32
    twin: nn.Module | None = None
    floor: Tensor | None = None

    def outputs(self, inputs: Inputs) -> Tensor:
        """The model's outputs (B, *shape).

        Raises:
            ModelBroke: they have the wrong shape, or hold NaN or +infinity.
        """
        outputs = self.answers(inputs)
        broken = (outputs.isnan() | outputs.isposinf()).flatten(1).any(1)
        if bool(broken.any()):
            raise ModelBroke(
                f"the model answers NaN or infinity on {int(broken.sum())} of {len(broken)} samples: mend the model"
            )
        return outputs

    def answers(self, inputs: Inputs) -> Tensor:
        """The outputs, without a check of their values, which would wait for the device."""
        outputs = self.raw(inputs)
        return outputs.float() if outputs.dtype in HALF else outputs

    def raw(self, inputs: Inputs) -> Tensor:
        """The same in the precision that the model answers in."""
        with torch.autocast(self.targets.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self._called(inputs)

    def _called(self, inputs: Inputs) -> Tensor:
        count = len(self.targets)
        present = self._padded(self.present)
        given = present.clone()  # a model may write into what it is given
        kept = {name: self._padded(z) for name, z in self.kept.items()}
        outputs = answered(self.model, self._filled(inputs, present), kept, given)
        return self._checked(outputs, len(present))[:count]

    def _filled(self, inputs: Inputs, present: Tensor) -> Inputs:
        return self.task.with_stand_ins({name: self._padded(x) for name, x in inputs.items()}, present)

    def _checked(self, outputs: object, count: int) -> Tensor:
        expected = (count, *self.task.problem.shape)
        if not isinstance(outputs, Tensor) or tuple(outputs.shape) != expected:
            shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ModelBroke(
                f"the model answers {shape}, but task {self.task.name!r} needs outputs of shape {expected}"
            )
        return outputs

    def __call__(self, inputs: Inputs) -> Verdict:
        return self.judged(self.answers(inputs))

    def judged(self, outputs: Tensor) -> Verdict:
        """The problem's verdict on outputs (B, *shape)."""
        problem = self.task.problem
        if self.floor is None:
            return problem.verdict(outputs, self.targets)
        assert isinstance(problem, Graded), "only graded answers have a floor"
        return problem.verdict(outputs, self.targets, self.floor)

    def below(self, floor: Tensor | None) -> TaskObjective:
        """The same, where a sample has failed below this score (B,)."""
        return replace(self, floor=floor)

    def take(self, rows: Tensor) -> TaskObjective:
        return replace(
            self,
            targets=self.targets[rows],
            present=self.present[rows],
            kept=take(self.kept, rows),
            floor=None if self.floor is None else self.floor[rows],
        )

    def holding(self, inputs: Inputs, moving: tuple[str, ...]) -> TaskObjective:
        """Encode the modalities that do not change once, if the model is factored."""
        searching = replace(self, dtype=self.search_dtype, model=self.twin or self.model)
        return searching._keeping(inputs, moving)

    def _keeping(self, inputs: Inputs, moving: tuple[str, ...]) -> TaskObjective:
        count, present = len(self.targets), self._padded(self.present)
        with torch.no_grad(), torch.autocast(self.targets.device.type, self.dtype, enabled=self.dtype != torch.float32):
            still = encoded_still(self.model, self._filled(inputs, present), moving)
        kept = {name: z[:count] for name, z in still.items()}
        return replace(self, kept=kept)

    def _padded(self, x: Tensor) -> Tensor:
        """The batch with its last row repeated up to a multiple of `PAD`; of a compiled model, a
        power of two. A model over draws fills its batches itself.
        """
        if isinstance(self.model, Drawn):
            return x
        size = 1 << (max(len(x), PAD) - 1).bit_length() if isinstance(self.model, Compiled) else len(x) + -len(x) % PAD
        missing = size - len(x)
        return torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]) if missing else x
