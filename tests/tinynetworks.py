"""Networks of Hugging Face's classes, tiny and random, and tokenized texts for them: nothing is
downloaded.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from harness.tasks import Task

VOCABULARY, POSITIONS, WIDTH, SIDE, LABELS = 40, 6, 16, 8, 3
PAD, CLS, SEP = 0, 1, 2
SPECIAL = (PAD, CLS, SEP)
SMALL = {"hidden_size": WIDTH, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
PROCESSOR = SimpleNamespace(
    do_rescale=True,
    rescale_factor=1 / 255,
    do_normalize=True,
    image_mean=[0.48, 0.45, 0.4],
    image_std=[0.26, 0.27, 0.28],
)


def bert(labels: int = LABELS) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(5)  # of those tried, the first whose answers to `encoded` are of all classes
    config = BertConfig(
        **SMALL, vocab_size=VOCABULARY, max_position_embeddings=16, num_labels=labels, initializer_range=0.3
    )
    return BertForSequenceClassification(config).eval()


def vit(labels: int = LABELS) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(**SMALL, image_size=SIDE, patch_size=4, num_labels=labels, initializer_range=0.3)
    return ViTForImageClassification(config).eval()


def clip() -> nn.Module:
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    small = {**SMALL, "initializer_factor": 5.0}  # else all images look alike to it
    text = {
        **small,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": POSITIONS,
        "bos_token_id": CLS,
        "eos_token_id": SEP,
    }
    config = CLIPConfig(
        text_config=text, vision_config={**small, "image_size": SIDE, "patch_size": 4}, projection_dim=8
    )
    return CLIPModel(config).eval()


def encoded(count: int = 30) -> dict[str, Tensor]:
    """Texts of one to four tokens between CLS and SEP, padded at the end."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.full((count, POSITIONS), PAD)
    for row, length in enumerate(torch.randint(1, POSITIONS - 1, (count,), generator=generator).tolist()):
        words = torch.randint(len(SPECIAL), VOCABULARY, (length,), generator=generator)
        ids[row, : length + 2] = torch.cat([torch.tensor([CLS]), words, torch.tensor([SEP])])
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def pixels(count: int = 30, high: float = 255.0) -> Tensor:
    return (torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2)) * 255).round() / 255 * high


def seen(network: nn.Module, high: float = 255.0) -> Task:
    """A task of random pictures for the network."""
    targets = torch.arange(30) % LABELS
    options = {"kinds": {"image": "image"}, "ranges": {"image": (0, high)}, "splits": ["train", "val", "test"] * 10}
    return Task.from_arrays({"image": pixels(high=high)}, targets, **options)
