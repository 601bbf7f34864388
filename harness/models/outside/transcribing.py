"""Whisper (Radford et al., 2022) as a model that writes what it hears."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.norms import per_sample
from attacks.region import Inputs
from harness.models.outside.decoding import Ends, refuse_processors
from harness.models.outside.sounds import WhisperMel, sound_reader
from harness.models.words.speaking import Prompt, Speaking, check_free_answers, greedy
from harness.tasks import FreeAnswers, Task
from harness.tasks.prompts import tokenizer_of

DECODED = "max_target_positions"  # of the configuration of a network with a decoder of its own


class Transcriber(nn.Module):
    """A network of Hugging Face with an encoder of sounds and a decoder of words.

    The log-mel spectrogram is computed from the waveform inside, with gradients. In place of a
    missing sound the network hears the sound that stands in for it.

    Args:
        network: WhisperForConditionalGeneration.
        task: of `harness.tasks.transcripts`, with one sound.
        processor: of the network; its tokenizer's `prefix_tokens` name language and task.

    Raises:
        BadInput: another task, another network or processor, or options of generation that change
            the logits.
    """

    prefix: Tensor

    def __init__(self, network: nn.Module, task: Task, processor: Any) -> None:
        super().__init__()
        self.network = network
        if not hasattr(network, "generation_config") or not hasattr(getattr(network, "config", None), DECODED):
            raise BadInput(f"{type(network).__name__} does not write what it hears: give Whisper")
        if len(task.modalities) != 1 or task.modalities[0].kind != "audio":
            raise BadInput(
                f"task {task.name!r} is not one sound of harness.tasks.transcripts.transcript_task: make it with the"
                " network's processor"
            )
        self.audio = task.modalities[0]
        reader = sound_reader(self.audio, getattr(processor, "feature_extractor", processor))
        if not isinstance(reader, WhisperMel):
            raise BadInput(f"{type(network).__name__} does not read the log-mel spectrogram of Whisper: give Whisper")
        self.reader = reader
        refuse_processors(network)
        config: Any = network.config
        tokenizer = tokenizer_of(processor)
        self.ends = Ends.of(network, tokenizer)
        first = getattr(tokenizer, "prefix_tokens", None) or [config.decoder_start_token_id]
        _refuse_another(network, tokenizer, check_free_answers(task), len(first))
        self.register_buffer("prefix", torch.tensor([int(token) for token in first]), persistent=False)
        self.eval()

    def embed_prompt(self, inputs: Inputs, present: Tensor | None) -> Prompt:
        """What the encoder makes of the sounds, (B, frames, width)."""
        x = inputs[self.audio.name]
        if present is not None:
            x = torch.where(per_sample(present[:, 0], x), x, self.audio.stand_in(x))
        network: Any = self.network
        mel = self.reader(network, {self.audio.name: x}, None)["input_features"]
        return {"heard": network.get_encoder()(mel.to(network.dtype)).last_hidden_state}

    def logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        """The logits (B, n + 1, vocabulary) of an answer's tokens, and of one behind them."""
        before = self.prefix.expand(len(tokens), -1)
        network: Any = self.network
        states = network.get_decoder()(
            input_ids=torch.cat([before, tokens], 1), encoder_hidden_states=prompt["heard"], use_cache=False
        ).last_hidden_state
        return self.ends.joined(network.get_output_embeddings()(states[:, len(self.prefix) - 1 :]))

    def generate(self, prompt: Prompt, length: int) -> Tensor:
        """The tokens of greedy decoding, (B, length)."""
        return greedy(self, prompt, length)


def _refuse_another(network: Any, tokenizer: Any, problem: FreeAnswers, before: int) -> None:
    """Check the sizes of a network against its tokenizer and task."""
    written, most = network.get_output_embeddings().out_features, network.config.max_target_positions
    if written != problem.vocabulary:
        raise BadInput(
            f"{type(network).__name__} writes {written} tokens, and the task has {problem.vocabulary}: pass"
            f" vocabulary={written} to transcript_task"
        )
    if before + problem.length > most:
        raise BadInput(
            f"{type(network).__name__} writes {most} tokens at most, and a text of {problem.length} follows {before}:"
            f" pass length={most - before} to transcript_task, or leave longer texts out"
        )
    if getattr(network.generation_config, "is_multilingual", False) and getattr(tokenizer, "language", None) is None:
        raise BadInput(
            f"{type(network).__name__} writes several languages, and the tokenizer names none: call"
            " processor.tokenizer.set_prefix_tokens(language='english', task='transcribe')"
        )


def transcribing(network: nn.Module, task: Task, processor: Any) -> Speaking:
    """Whisper as a model of a task of transcripts.

    Raises:
        BadInput: as `Transcriber`.
    """
    end = int(tokenizer_of(processor).eos_token_id)
    return Speaking(Transcriber(network, task, processor), task, end).eval()
