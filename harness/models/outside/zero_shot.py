"""CLIP (Radford et al., ICML 2021): classification without training, an image against a prompt of
each class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.norms import per_sample
from attacks.region import Inputs
from harness.models.outside.adapted import answer, checked_outputs
from harness.models.outside.huggingface import TOLERANCE
from harness.models.outside.readers import Pixels, normalisation
from harness.tasks import Task


class ZeroShot(nn.Module):
    """Logits exp(scale) · cos(image, prompt) + bias of the one image of a task; the prompts are
    embedded once.

    Args:
        network: with `get_image_features`, `get_text_features` and `logit_scale`, as CLIPModel and
            SiglipModel of Hugging Face have them; a `logit_bias` is added.
        task: its classes in the order of the prompts.
        prompts: one per class, as output by a tokenizer: `input_ids` (classes, n) and the other
            arguments of the network.
        processor: see `huggingface.adapted`.

    Raises:
        BadInput: the network is of another kind, the prompts are not as many as the classes or hold
            ids that it does not know, the task is not of one image, or the network's own
            `logits_per_image` differ.
    """

    def __init__(self, network: nn.Module, task: Task, prompts: Mapping[str, Any], processor: Any) -> None:
        super().__init__()
        images = [modality for modality in task.modalities if modality.kind == "image"]
        if len(images) != 1:
            raise BadInput(
                f"a zero-shot classifier reads one image, task {task.name!r} has {len(images)}: declare kinds={{…:"
                " 'image'}"
            )
        tokens = {key: torch.as_tensor(x) for key, x in prompts.items()}
        if not all(hasattr(network, name) for name in ("get_image_features", "get_text_features", "logit_scale")):
            raise BadInput(f"{type(network).__name__} cannot compare images with texts: take a network as CLIPModel")
        if "input_ids" not in tokens:
            raise BadInput(
                f"prompts need input_ids, got {', '.join(tokens) or 'nothing'}: pass the output of the tokenizer"
            )
        if len(tokens["input_ids"]) != task.width:
            raise BadInput(
                f"there are {len(tokens['input_ids'])} prompts and task {task.name!r} has {task.width} classes:"
                " give a prompt per class, and the task problem=Classification(classes)"
            )
        self.network, self.modality, self.column = network.eval(), images[0], task.names.index(images[0].name)
        self.pixels = Pixels(images[0], *normalisation(processor))
        try:
            with torch.no_grad():
                prompt = F.normalize(_features(self._network.get_text_features(**tokens)), dim=-1)
        except (IndexError, ValueError):  # of ids, and of positions
            ids, name = tokens["input_ids"], type(network).__name__
            raise BadInput(
                f"prompts hold ids from {int(ids.min())} to {int(ids.max())} in {ids.shape[1]} positions, and {name}"
                " does not embed them all: use the network's own tokenizer, and shorter prompts"
            ) from None
        self.register_buffer("prompt", prompt)  # persistent: part of the weights' hash
        self._refuse_other_answers(task, tokens)

    @property
    def _network(self) -> Any:
        return self.network

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Logits (B, classes) of the image in the task's units; a missing one has no influence."""
        x = inputs[self.modality.name]
        x = x if present is None else torch.where(per_sample(present[:, self.column], x), x, self.modality.stand_in(x))
        image = F.normalize(_features(self._network.get_image_features(**self._argument(x))), dim=-1)
        logits: Tensor = self._network.logit_scale.exp() * (image @ self.prompt.T)  # type: ignore[operator]
        bias = getattr(self._network, "logit_bias", None)
        return logits if bias is None else logits + bias

    def _argument(self, x: Tensor) -> Inputs:
        argument: Inputs = self.pixels(self.network, {self.modality.name: x}, None)
        return argument

    def _refuse_other_answers(self, task: Task, tokens: Inputs) -> None:
        inputs = task.splits["test"].take([0]).inputs
        outputs = checked_outputs(self, self.network, task, inputs)
        with torch.no_grad():
            own = answer(
                self.network(**tokens, **self._argument(inputs[self.modality.name])), type(self.network).__name__
            )
        if own.shape != outputs.shape or float((own - outputs).abs().max()) > TOLERANCE * max(
            1.0, float(own.abs().max())
        ):
            raise BadInput(
                f"{type(self.network).__name__} does not compare images with prompts by their cosine, as CLIP does: "
                "wrap it in a model of your own"
            )


def _features(said: Any) -> Tensor:
    """Features (B, width), which some versions wrap in an object."""
    features: Tensor = said if isinstance(said, Tensor) else said.pooler_output
    return features
