"""How networks of Hugging Face decode: the tokens that end a text, and options of generation that
would change the logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attacks.errors import BadInput

PROCESSORS = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "sequence_bias": None,
    "min_length": 0,
    "min_new_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "exponential_decay_length_penalty": None,
    "guidance_scale": None,
    "watermarking_config": None,
}
"""Options of generation that change the logits, and the values that leave them alone."""


def refuse_processors(network: Any) -> None:
    """Check that decoding sees the logits of the network.

    Raises:
        BadInput: an option of `network.generation_config` changes them; it is named.
    """
    for name, plain in PROCESSORS.items():
        value = getattr(network.generation_config, name, None)
        if value is not None and value != plain and value != []:
            raise BadInput(
                f"the network's generation_config has {name}={value}, which changes the logits that decoding sees: set"
                f" network.generation_config.{name} = {plain}"
            )


@dataclass(frozen=True)
class Ends:
    """The tokens that end a text: that of the tokenizer, and others that end it just as well."""

    first: int
    others: tuple[int, ...]

    @staticmethod
    def of(network: Any, tokenizer: Any) -> Ends:
        """Those of a network that generates, and its tokenizer."""
        named, first = network.generation_config.eos_token_id, int(tokenizer.eos_token_id)
        every = named if isinstance(named, list | tuple) else [] if named is None else [named]
        return Ends(first, tuple(sorted({int(token) for token in every} - {first})))

    def joined(self, logits: Tensor) -> Tensor:
        """Logits (..., vocabulary) in which the first end stands for all: it has the largest of
        their logits, and the others cannot be written.
        """
        if not self.others:
            return logits
        every = torch.tensor([self.first, *self.others], device=logits.device)
        most = logits[..., every].amax(-1, keepdim=True)
        ended = logits.index_fill(-1, every[1:], float("-inf"))
        return ended.index_copy(-1, every[:1], most)
