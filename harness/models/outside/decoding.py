"""How networks of Hugging Face decode: options of generation that would change the logits."""

from __future__ import annotations

from typing import Any

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
