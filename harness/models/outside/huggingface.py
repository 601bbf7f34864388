"""Hugging Face transformers: a network and its image processor as a model of a task
(https://huggingface.co/docs/transformers).

Networks are passed in as they are; `transformers` itself is imported by `pretrained` only.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from attacks.errors import BadInput, shown, unknown
from attacks.region import Inputs
from harness.models.outside.adapted import Adapted, answer, checked_outputs
from harness.models.outside.generative import generative
from harness.models.outside.memory import OWN, PRECISIONS, in_less_memory
from harness.models.outside.readers import Choices, Embeddings, Pixels, normalisation
from harness.models.outside.sounds import Frames, sound_reader
from harness.models.outside.transcribing import transcribing
from harness.models.words.choosing import Choosing
from harness.models.words.speaking import Speaking
from harness.tasks import FreeAnswers, Modality, Task
from harness.tasks.choices import CHOICES
from harness.tasks.tokens import ATTENTION, CANDIDATES, beside

EXTRA = "install the harness with its extra huggingface, as pip install -e '.[huggingface]'"
TOLERANCE = 1e-3  # relative; between ids and their embeddings


def pretrained(kind: str, name: str) -> nn.Module:
    """A network with its weights in float32, from safetensors only: no pickle is loaded and no code
    of a repository run.

    >>> pretrained("AutoModelForSequenceClassification", "path/or/name")

    Raises:
        BadInput: transformers is not installed, has no such class, or finds no such weights or not
            all of them.
    """
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError:
        raise BadInput(f"network {name!r} needs transformers, which is not installed: {EXTRA}") from None
    loader = getattr(transformers, kind, None)
    if loader is None or not hasattr(loader, "from_pretrained"):
        raise unknown(
            "class",
            kind,
            [each for each in dir(transformers) if each.startswith("AutoModel")],
            where=" of transformers",
        )
    try:
        network, found = loader.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().split("\n")[0]
        raise BadInput(
            f"network {name!r} cannot be loaded: {reason}; give a name or folder with weights as safetensors"
        ) from None
    if missing := sorted(found["missing_keys"]):
        raise BadInput(
            f"network {name!r} has no weights for {missing[0]}, which {kind} needs: train it, or name one that was"
        )
    module: nn.Module = network
    return module


def adapted(
    network: nn.Module,
    task: Task,
    processor: Any = None,
    *,
    checkpointing: bool = False,
    precision: str = OWN,
) -> Adapted | Speaking | Choosing:
    """A network as a model of a task: texts of `token_task` or `embedding_task`, images, waveforms
    (Wav2Vec2, HuBERT, Whisper's encoder, AST) and videos (VideoMAE); LLaVA, PaliGemma, BLIP-2 or
    Idefics3 on questions of `harness.tasks.prompts` (`harness.models.outside.generative`); Whisper
    on sounds of `harness.tasks.transcripts` (`harness.models.outside.transcribing`).

    Features of a sound are computed inside the model. Images and frames are rescaled and normalised
    as in the processor (`do_rescale`, `rescale_factor`, `do_normalize`, `image_mean`, `image_std`),
    and not resized. The network's `.logits` answer.

    Args:
        checkpointing: each layer keeps only its inputs for the gradients and is computed twice:
            less memory, more time.
        precision: "bf16" for a copy of the network in half precision; "own" leaves it.

    Raises:
        BadInput: a modality that the network cannot read, another number of logits than the task's
            classes, or a network whose answers to ids and to their embeddings differ.
    """
    if not isinstance(task, Task):
        raise BadInput(f"the task is {shown(task)}: give a harness.tasks.Task")
    network = in_less_memory(network, checkpointing=checkpointing, precision=precision)
    if isinstance(task.problem, FreeAnswers) or CHOICES in task.extra_inputs:
        heard = all(modality.kind == "audio" for modality in task.modalities)
        return transcribing(network, task, processor) if heard else generative(network, task, processor, checkpointing)
    readers = {modality.name: _reader(modality, task, processor) for modality in task.modalities}
    texts = [reader for reader in readers.values() if isinstance(reader, Choices | Embeddings)]
    for reader in texts:
        known = (int(batch.inputs[reader.ids].max()) for batch in task.in_memory.values())
        _refuse_beyond(network, max(known, default=0))
    module = Adapted(network, task, readers, PRECISIONS[precision])
    split = task.splits["test"]
    lengths = sum((mask.flatten(1).sum(1) for mask in split.valid.values()), torch.zeros(len(split)))
    inputs = split.take([int(lengths.argmin()), int(lengths.argmax())]).inputs
    outputs = checked_outputs(module, network, task, inputs)
    for reader in texts:
        _refuse_other_answers(module, reader, inputs, outputs)
    return module


def _reader(modality: Modality, task: Task, processor: Any) -> nn.Module:
    if beside(modality.name, CANDIDATES) in task.extra_inputs:
        return Choices(modality)
    if beside(modality.name, ATTENTION) in task.extra_inputs:
        return Embeddings(modality)
    if modality.kind == "audio":
        return sound_reader(modality, getattr(processor, "feature_extractor", processor))
    if modality.kind == "video" and processor is not None:
        image = replace(modality, kind="image", shape=(modality.shape[0], *modality.shape[2:]))
        return Frames(modality.name, Pixels(image, *normalisation(processor)))
    if modality.kind != "image":
        raise BadInput(
            f"modality {modality.name!r} of kind {modality.kind} is not read here: make texts by harness.tasks.tokens, "
            "declare images as kinds={…: 'image'}, and wrap other inputs in a model of your own"
        )
    if processor is None:
        raise BadInput(
            f"modality {modality.name!r} is an image: pass the network's image processor, which has the normalisation"
            " of the"
            " pixels"
        )
    return Pixels(modality, *normalisation(processor))


def _refuse_beyond(network: Any, most: int) -> None:
    rows = len(network.get_input_embeddings().weight)
    if most >= rows:
        raise BadInput(
            f"the task's texts hold the id {most}, and {type(network).__name__} embeds {rows}: use the network's own"
            " tokenizer"
        )


def _refuse_other_answers(module: Adapted, reader: Choices | Embeddings, inputs: Inputs, outputs: Tensor) -> None:
    """Check that the network answers embeddings as it answers their ids."""
    arguments = module.arguments(inputs)
    del arguments["inputs_embeds"]
    name = type(module.network).__name__
    with torch.no_grad():
        plain = answer(module.network(input_ids=reader.tokens(inputs), **arguments), name)
    if float((plain - outputs).abs().max()) > TOLERANCE * max(1.0, float(plain.abs().max())):
        raise BadInput(
            f"{name} answers embeddings differently from their ids (by up to"
            f" {float((plain - outputs).abs().max()):.3g}):"
            " if it reads the last token, pad on the left; if it scales its embeddings or ignores the mask, wrap it"
            " in a"
            " model of your own"
        )
