"""A network of another library, called by keywords and answering in its own way, as a model of
named inputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.norms import per_sample
from attacks.region import Inputs
from harness.models.returned import LOGITS, found
from harness.tasks import Task

NAMED = ("input_ids", "inputs_embeds", "pixel_values")


class Adapted(nn.Module):
    """A network behind readers, one for each modality that it reads.

    Args:
        network: takes the readers' keyword arguments; returns a tensor (B, width), or an object
            with `.logits` or `.logits_per_image`.
        task: gives the order of `present` and the stand-ins of missing modalities.
        readers: per modality, see `harness.models.outside.readers`.
        dtype: of the arguments that are real numbers; None for that of the readers.

    Raises:
        BadInput: two readers feed one argument, or the network does not take it.
    """

    def __init__(
        self, network: nn.Module, task: Task, readers: Mapping[str, nn.Module], dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype
        self.modalities = tuple(task.modality(name) for name in readers)
        self.columns = tuple(task.names.index(name) for name in readers)
        self.readers = nn.ModuleList(readers.values())
        self.eval()
        self._refuse_clashes(task)

    def arguments(self, inputs: Inputs, present: Tensor | None = None) -> Inputs:
        """The arguments of the network's call."""
        read = {key: x for said in self._read(inputs, present) for key, x in said.items()}
        return {key: x.to(self.dtype) if self.dtype and x.is_floating_point() else x for key, x in read.items()}

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, width) of inputs (B, ...) in the task's units; missing modalities have no
        influence.
        """
        return answer(self.network(**self.arguments(inputs, present)), type(self.network).__name__)

    def _read(self, inputs: Inputs, present: Tensor | None) -> list[Inputs]:
        said: list[Inputs] = []
        for modality, column, reader in zip(self.modalities, self.columns, self.readers, strict=True):
            x, here = inputs[modality.name], None if present is None else present[:, column]
            x = x if here is None else torch.where(per_sample(here, x), x, modality.stand_in(x))
            said.append(reader(self.network, {**inputs, modality.name: x}, here))
        return said

    def _refuse_clashes(self, task: Task) -> None:
        with torch.no_grad():
            said = self._read(task.splits["test"].take([0]).inputs, None)
        names = [(modality.name, key) for modality, one in zip(self.modalities, said, strict=True) for key in one]
        for name, key in names:
            if not _takes(self.network, key):
                raise BadInput(
                    f"modality {name!r} becomes {key}, which {type(self.network).__name__} does not take: "
                    "take a network that does, or a task without that modality"
                )
            if others := [other for other, same in names if same == key and other != name]:
                raise BadInput(
                    f"modalities {name!r} and {others[0]!r} both become {key}: a network takes one of them, join them"
                    " in the task"
                )


def _takes(network: nn.Module, key: str) -> bool:
    """Whether a network reads an argument; many that name theirs take any other besides, and ignore
    it.
    """
    taken = inspect.signature(network.forward).parameters
    any_other = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken.values())
    return key in taken or (any_other and not any(name in taken for name in NAMED))


def answer(said: object, network: str) -> Tensor:
    """The logits (B, width) in a network's output.

    Raises:
        BadInput: the output has no logits.
    """
    try:
        return found(None, said)
    except BadInput:
        raise BadInput(
            f"{network} returns {type(said).__name__} without {' or '.join(LOGITS)}: use its variant with a head for"
            " the task"
        ) from None


def checked_outputs(model: nn.Module, network: nn.Module, task: Task, inputs: Inputs) -> Tensor:
    """The model's outputs (B, width) on inputs of its task.

    Raises:
        BadInput: they are more or fewer numbers than the task's classes.
    """
    with torch.no_grad():
        outputs: Tensor = model(inputs)
    if outputs.ndim != 2 or outputs.shape[1] != task.width:
        raise BadInput(
            f"{type(network).__name__} returns {tuple(outputs.shape[1:])} logits per sample and task {task.name!r} has"
            f" {task.width} classes: give the task problem=Classification(classes) of the network's size, or take"
            " another head"
        )
    return outputs
