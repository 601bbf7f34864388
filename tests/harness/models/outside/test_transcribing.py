"""Whisper as a model that writes what it hears: its text is that of the network's own `generate`,
and leads agree with what is decoded.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

pytest.importorskip("transformers")


import harness
from attacks.errors import BadInput
from harness.models.outside.huggingface import adapted
from harness.tasks.transcripts import transcript_task
from tests.commandline import run
from tests.harness.models.outside.whisper_network import COUNT, LENGTH, LETTERS, RATE, made


def test_it_writes_what_the_network_writes() -> None:
    network, processor, task = made()
    speaker, batch = adapted(network, task, processor).network, task.splits["test"].take(range(16))
    written = speaker.generate(speaker.embed_prompt(batch.inputs, None), LENGTH)
    given = processor.feature_extractor(list(batch.inputs["audio"].numpy()), sampling_rate=RATE, return_tensors="pt")
    own = network.generate(
        given["input_features"], max_new_tokens=LENGTH, do_sample=False, language="en", task="transcribe"
    )
    assert len({tuple(row) for row in written.tolist()}) > 3
    for row, answer in enumerate(own.tolist()):
        text = [token for token in answer if token not in speaker.prefix.tolist()]
        ended = [*text, processor.tokenizer.eos_token_id] * LENGTH
        assert written[row].tolist()[: len(text)] == ended[: len(text)]


def test_leads_agree_with_decoding_on_a_thousand_sounds() -> None:
    network, processor, task = made()
    model, seen = adapted(network, task, processor), 0
    sounds = task.splits["test"].inputs["audio"]
    with torch.no_grad():
        for turn in range(-(-1000 // COUNT)):
            noise = torch.randn(sounds.shape, generator=torch.Generator().manual_seed(turn))
            prompt = model.network.embed_prompt({"audio": (sounds + 0.05 * turn * noise).clamp(-1, 1)}, None)
            written = model._ended(model.network.generate(prompt, LENGTH))
            other = written.clone()
            other[:, 0] = (other[:, 0] + 1) % len(LETTERS)
            for answer, leads in ((written, True), (other, False)):
                lead = model._led(prompt, answer)[0].amin(1)
                clear = lead.abs() > 1e-3
                assert bool(((lead > 0) == leads)[clear].all())
            seen += COUNT
    assert seen >= 1000


def test_a_missing_sound_is_silence_and_gradients_reach_the_wave() -> None:
    network, processor, task = made()
    model, batch = adapted(network, task, processor), task.splits["test"].take(range(4))
    wave: Tensor = batch.inputs["audio"].clone().requires_grad_()
    task.problem.loss(model({**batch.inputs, "audio": wave}), batch.targets).sum().backward()
    assert wave.grad is not None and bool((wave.grad != 0).any(1).all())
    silent = {**batch.inputs, "audio": torch.zeros_like(batch.inputs["audio"])}
    with torch.no_grad():
        torch.testing.assert_close(model(batch.inputs, torch.zeros(4, 1, dtype=torch.bool)), model(silent))


def test_a_run_finds_the_change_that_another_text_needs() -> None:
    network, processor, task = made()
    own = adapted(network, task, processor)
    batch = task.splits["test"]
    with torch.no_grad():
        written = own.network.generate(own.network.embed_prompt(batch.inputs, None), LENGTH)
    texts = [processor.tokenizer.decode(row, skip_special_tokens=True).strip() for row in written.tolist()]
    rows = [row for row, text in enumerate(texts) if text][:6]
    right = transcript_task(
        processor, batch.inputs["audio"][rows].numpy(), [texts[row] for row in rows], splits="test", name="own"
    )
    made_run = harness.evaluate(
        right,
        {"whisper": adapted(network, right, processor)},
        scenarios=["audio@linf:0.1"],
        search="fast",
        witnesses="all",
        trust=False,
    )
    found = made_run.ledger[made_run.ledger["strength"].between(0, float("inf"), inclusive="neither")]
    assert len(found) > len(rows) / 2
    for _, each in found.iterrows():
        assert each["label"] != texts[rows[int(each["sample"])]]


def test_the_example_of_the_docs_runs(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[4] / "docs" / "answers.md").read_text()
    (example,) = [each for each in re.findall(r"```python\n(.*?)```", page, re.S) if "transcript_task" in each]
    (given,) = [line for line in example.splitlines() if line.startswith("network, processor =")]
    small = "from tests.harness.models.outside.whisper_network import made\nnetwork, processor, _ = made()"
    text = example.replace(given, small).replace(" one two", " ab").replace(" three", " c")
    (elsewhere / "speech.py").write_text(text)
    for name, sound in zip(("a.wav", "b.wav"), made()[2].splits["test"].inputs["audio"].numpy(), strict=False):
        soundfile.write(elsewhere / name, sound, RATE)
    few = ("--samples", "2", "--search", "fast", "--no-trust", "--schedule", "none", "--out", "run")
    words = ("evaluate", "--task", "speech.py:Sounds", "--model", "speech.py:build", "--scenario", "audio@linf:0.002")
    assert run(monkeypatch, *words, *few) == 0
    assert set(harness.load("run").directory.table("samples")["target"].to_pylist()) == {" ab", " c"}


@pytest.mark.parametrize(
    ("sounds", "texts", "words"),
    [
        (np.zeros((2, 3, 9), np.float32), ["a", "b"], r"sounds have shape \(2, 3, 9\), for 2 transcripts"),
        (np.zeros((2, 9), np.float32), ["a"], r"for 1 transcripts: give sounds \(1, T\)"),
        (np.zeros((2, 9), np.float32), ["a", " "], "a transcript is empty: leave its sound out"),
    ],
)
def test_bad_transcripts_are_one_sentence(sounds: Any, texts: list[str], words: str) -> None:
    _, processor, _ = made()
    with pytest.raises(BadInput, match=words):
        transcript_task(processor, sounds, texts)


def test_what_changes_the_logits_or_reads_no_sound_is_refused() -> None:
    network, processor, task = made()
    network.generation_config.begin_suppress_tokens = [1]
    try:
        with pytest.raises(BadInput, match="generation_config has begin_suppress_tokens"):
            adapted(network, task, processor)
    finally:
        network.generation_config.begin_suppress_tokens = None
    other = copy.deepcopy(network)
    other.resize_token_embeddings(len(processor.tokenizer) + 6)
    with pytest.raises(
        BadInput, match=r"writes \d+ tokens, and the task has \d+: pass vocabulary=\d+ to transcript_task"
    ):
        adapted(other, task, processor)
    sounds = task.splits["test"].inputs["audio"][:2].numpy()
    long = transcript_task(processor, sounds, ["abc", "d"], length=40, splits="test", name="long")
    with pytest.raises(BadInput, match="writes 24 tokens at most, and a text of 40 follows 4: pass length=20"):
        adapted(network, long, processor)
    language, processor.tokenizer.language = processor.tokenizer.language, None
    try:
        with pytest.raises(BadInput, match="the tokenizer names none: call processor"):
            adapted(network, task, processor)
    finally:
        processor.tokenizer.language = language
    with pytest.raises(BadInput, match="has no feature extractor with a sampling_rate: give Whisper's"):
        transcript_task(type("Words", (), {"tokenizer": processor.tokenizer})(), np.zeros((1, 9)), ["a"])
