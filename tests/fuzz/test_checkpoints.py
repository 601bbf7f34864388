"""Checkpoints from anywhere: a card or weights are read, or refused in one sentence; nothing in
them runs.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from hypothesis import strategies as st
from safetensors.torch import save

from harness.engine.loading import load_model
from harness.models import checkpoint
from tests.fuzz.cases import fuzzed, result_or_refusal
from tests.fuzz.toy import TOY

PLACE = Path(tempfile.mkdtemp()) / "x.safetensors"
VALUES = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda each: st.lists(each, max_size=3),
    max_leaves=4,
)
MODELS = st.one_of(
    VALUES,
    st.sampled_from(
        ["concat", "concat?x=1", "only-image", "only-", "os:system", "evil.py:build", "../x", "concat:", "?", "a@b"]
    ),
)
CARDS = st.one_of(
    VALUES, st.fixed_dictionaries({}, optional={"model": MODELS, "task": st.one_of(VALUES, st.just(TOY.name))})
)
SOUND = save({"weight": torch.ones(2, 3), "bias": torch.zeros(2)})


@fuzzed("cards", card=st.one_of(CARDS.map(json.dumps), st.text(max_size=20), st.just("[" * 50_000)))
def test_any_card_is_read_or_refused(card: str) -> None:
    PLACE.write_bytes(SOUND)
    PLACE.with_suffix(".json").write_bytes(card.encode(errors="surrogatepass"))
    assert result_or_refusal(load_model, str(PLACE), TOY, torch.device("cpu")) is None, "no model fits these weights"


@fuzzed("weights", cut=st.integers(0, len(SOUND)), put=st.binary(max_size=20), resumed=st.integers(0, len(SOUND)))
def test_any_bytes_are_weights_or_refused(cut: int, put: bytes, resumed: int) -> None:
    PLACE.write_bytes(SOUND[:cut] + put + SOUND[resumed:])
    result_or_refusal(checkpoint.load, PLACE, torch.nn.Linear(3, 2))
