"""Tiny random generative networks with their processors, made without a download."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    CLIPVisionConfig,
    GemmaConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    Idefics3VisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    OPTConfig,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMVisionConfig,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

WORDS = [
    "how",
    "many",
    "red",
    "blue",
    "green",
    "balls",
    "cubes",
    "are",
    "there",
    "what",
    "colour",
    "yes",
    "no",
    "one",
    "two",
    "three",
    "four",
    "big",
    "small",
    "round",
]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>"]
TEMPLATE = (
    "{% for m in messages %}USER : {% for c in m['content'] %}{% if c['type'] == 'image' %}<image> "
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %} ASSISTANT :{% endfor %}"
)
SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
SIGHT: dict[str, Any] = {**SIZE, "image_size": 28, "patch_size": 7}
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SEEN = {"additional_special_tokens": ["<image>"], "extra_special_tokens": {"image_token": "<image>"}}
TILES: dict[str, Any] = {"size": {"longest_edge": 84}, "max_image_size": {"longest_edge": 28}}
LOUDER = 4.0  # times the usual weights: answers depend on images and words


def tokenizer(**special: Any) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS, "USER", "ASSISTANT", ":"])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **names, **special)


def louder(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(LOUDER)
    return network.eval()


def llava() -> tuple[Any, Any, str | None]:
    """The network, its processor and the template of its prompts (None: the processor's own)."""
    torch.manual_seed(0)
    words = tokenizer(**SEEN)
    eyes = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = LlavaProcessor(
        eyes, words, 7, "default", chat_template=TEMPLATE, num_additional_image_tokens=1, image_token="<image>"
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**SIGHT, projection_dim=16),
        text_config=LlamaConfig(vocab_size=len(words), **SIZE, num_key_value_heads=2, **ENDS),
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    return louder(LlavaForConditionalGeneration(config)), processor, None


def paligemma() -> tuple[Any, Any, str | None]:
    """The same."""
    torch.manual_seed(0)
    eyes = SiglipImageProcessorPil(size={"height": 28, "width": 28})
    eyes.image_seq_length = 16
    processor = PaliGemmaProcessor(eyes, tokenizer(**SEEN))
    config = PaliGemmaConfig(
        vision_config=SiglipVisionConfig(**SIGHT, vision_use_head=False),
        text_config=GemmaConfig(
            vocab_size=len(processor.tokenizer), **SIZE, num_key_value_heads=1, head_dim=16, **ENDS
        ),
        image_token_id=processor.image_token_id,
        projection_dim=32,
    )
    return louder(PaliGemmaForConditionalGeneration(config)), processor, "<image> {question}"


def blip2() -> tuple[Any, Any, str | None]:
    """The same; every query is an image token."""
    torch.manual_seed(0)
    processor = Blip2Processor(BlipImageProcessorPil(size={"height": 28, "width": 28}), tokenizer(), num_query_tokens=4)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(**SIGHT),
        qformer_config=Blip2QFormerConfig(**SIZE, vocab_size=1, encoder_hidden_size=32),
        text_config=OPTConfig(
            **{**SIZE, "ffn_dim": 64}, vocab_size=len(processor.tokenizer), word_embed_proj_dim=32, **ENDS
        ),
        num_query_tokens=4,
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
    )
    network = Blip2ForConditionalGeneration(config)
    torch.nn.init.normal_(network.query_tokens, std=0.3)
    return louder(network), processor, "{question}"


def idefics3() -> tuple[Any, Any, str | None]:
    """The same; an image is cut into six tiles."""
    torch.manual_seed(0)
    eyes = Idefics3ImageProcessorPil(**TILES)
    processor = Idefics3Processor(eyes, tokenizer(**SEEN), image_seq_len=4)
    config = Idefics3Config(vision_config=Idefics3VisionConfig(**SIGHT), **tiled(processor))
    return louder(Idefics3ForConditionalGeneration(config)), processor, "<image> {question}"


def smolvlm() -> tuple[Any, Any, str | None]:
    """The same. Its own processor of texts also reads videos, for which it needs torchvision."""
    torch.manual_seed(0)
    processor = Idefics3Processor(SmolVLMImageProcessorPil(**TILES), tokenizer(**SEEN), image_seq_len=4)
    config = SmolVLMConfig(vision_config=SmolVLMVisionConfig(**SIGHT), **tiled(processor))
    return louder(SmolVLMForConditionalGeneration(config)), processor, "<image> {question}"


def tiled(processor: Any) -> dict[str, Any]:
    words = LlamaConfig(vocab_size=len(processor.tokenizer), **SIZE, num_key_value_heads=2, **ENDS)
    return {"text_config": words, "image_token_id": processor.image_token_id, "scale_factor": 2}


NETWORKS = {"llava": llava, "paligemma": paligemma, "blip-2": blip2, "idefics3": idefics3, "smolvlm": smolvlm}
