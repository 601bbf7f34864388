"""Checkpoints: types, names and the hash on the card are checked, and nothing is loaded in part."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models import checkpoint

CARD = {"model": "any", "task": "any"}
Weights = dict[str, Tensor]


class Net(nn.Module):
    """Parameters, and buffers of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 2), nn.BatchNorm1d(2)
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("never", torch.tensor([-torch.inf, 0.0]))
        self.register_buffer("turns", torch.ones(2, dtype=torch.complex64))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, Net(), CARD)
    return path


def changed(path: Path, change: Callable[[Weights], Weights]) -> None:
    """Other weights, and a card without a hash, as older ones."""
    save_file({name: x.contiguous() for name, x in change(Net().state_dict()).items()}, path)
    path.with_suffix(".json").write_text(json.dumps(CARD))


def typed(name: str, dtype: torch.dtype) -> Callable[[Weights], Weights]:
    return lambda weights: {**weights, name: torch.ones(weights[name].shape).to(dtype)}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_real_numbers_are_real_parameters(dtype: torch.dtype, place: Path) -> None:
    changed(place, typed("layer.weight", dtype))
    net = Net()
    checkpoint.load(place, net)
    assert net.layer.weight.dtype == torch.float32
    assert bool(net.layer.weight.isfinite().all()) and net.never[0] == -torch.inf  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *(
            ("layer.weight", dtype)
            for dtype in (
                torch.int8,
                torch.uint8,
                torch.int64,
                torch.bool,
                torch.complex64,
                torch.float8_e4m3fn,
                torch.float8_e5m2,
            )
        ),
        *(("norm.running_mean", dtype) for dtype in (torch.int8, torch.complex64)),
        *(("norm.num_batches_tracked", dtype) for dtype in (torch.float32, torch.bool)),
        *(("mask", dtype) for dtype in (torch.uint8, torch.float32, torch.int64)),
        *(("turns", dtype) for dtype in (torch.float32, torch.int64)),
    ],
)
def test_another_type_is_refused_by_name(name: str, dtype: torch.dtype, place: Path) -> None:
    changed(place, typed(name, dtype))
    with pytest.raises(
        BadInput, match=rf"x\.safetensors holds '{name}' as {dtype}, and the model needs torch\..*: save"
    ):
        checkpoint.load(place, Net())


def test_a_shorter_whole_number_is_read(place: Path) -> None:
    changed(place, typed("norm.num_batches_tracked", torch.int32))
    net = Net()
    checkpoint.load(place, net)
    assert net.state_dict()["norm.num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "net.encoder."])
def test_names_of_a_wrapped_model_are_refused_with_the_prefix(prefix: str, place: Path) -> None:
    changed(
        place, lambda weights: {f"{prefix}{name}": x for name, x in weights.items()} | {"loss.scale": torch.ones(1)}
    )
    with pytest.raises(
        BadInput, match=f"has '{prefix}' before the names of its tensors.*: save .* or remove '{prefix}'"
    ):
        checkpoint.load(place, Net())


UNFIT: dict[str, Callable[[Weights], Weights]] = {
    "holds NaN in 'layer.bias'": lambda weights: {**weights, "layer.bias": torch.tensor([0.0, torch.nan])},
    "holds NaN in 'norm.running_var'": lambda weights: {**weights, "norm.running_var": torch.tensor([1.0, torch.nan])},
    "holds numbers in 'layer.bias' beyond torch.float32": lambda weights: {
        **weights,
        "layer.bias": torch.ones(2).double() * 1e300,
    },
    "holds numbers in 'layer.weight' beyond torch.float32": lambda weights: {
        name: x.double() * 1e-60 if name == "layer.weight" else x for name, x in weights.items()
    },
    "does not fit the model: Missing": lambda weights: {name: x for name, x in weights.items() if name != "mask"},
    "does not fit the model: Unexpected": lambda weights: {**weights, "more": torch.ones(1)},
    "does not fit the model: size mismatch": lambda weights: {**weights, "layer.bias": torch.ones(3)},
}


@pytest.mark.parametrize("said", UNFIT)
def test_what_does_not_fit_is_one_sentence(said: str, place: Path) -> None:
    changed(place, UNFIT[said])
    with pytest.raises(BadInput, match=rf"x\.safetensors {said}"):
        checkpoint.load(place, Net())


def test_every_flipped_bit_is_found(place: Path) -> None:
    content = place.read_bytes()
    assert checkpoint.read_card(place) == {**CARD, "sha256": hashlib.sha256(content).hexdigest()}
    for at in range(0, 8 * len(content), 97):
        damaged = bytearray(content)
        damaged[at // 8] ^= 1 << at % 8
        place.write_bytes(damaged)
        with pytest.raises(BadInput, match=r"x\.safetensors"):
            checkpoint.load(place, Net())
    place.write_bytes(content)
    checkpoint.load(place, Net())


def test_weights_that_were_exchanged_are_refused_unless_the_card_has_no_hash(place: Path) -> None:
    save_file(Net().state_dict(), place)
    with pytest.raises(
        BadInput, match=r"has SHA-256 .*, and its card names .*: it is damaged or was changed; .* remove 'sha256'"
    ):
        checkpoint.load(place, Net())
    place.with_suffix(".json").write_text(json.dumps(CARD))
    checkpoint.load(place, Net())
    place.with_suffix(".json").unlink()
    checkpoint.load(place, Net())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_cards_are_read_in_any_encoding_with_a_mark(encoding: str, place: Path) -> None:
    place.with_suffix(".json").write_bytes(json.dumps({**CARD, "by": "Müller"}, ensure_ascii=False).encode(encoding))
    if encoding != "latin-1":
        assert checkpoint.read_card(place)["by"] == "Müller"
        return
    with pytest.raises(BadInput, match=r"has no readable card x\.json: .* byte fc .* save the file as UTF-8"):
        checkpoint.read_card(place)


def test_every_committed_card_has_the_hash_of_its_weights() -> None:
    cards = sorted(checkpoint.COMMITTED.rglob("*.json"))
    assert cards
    for path in cards:
        weights = path.with_suffix(checkpoint.SUFFIX)
        assert checkpoint.read_card(weights)["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest(), path.name


CARDS: dict[str, tuple[Callable[[str], dict[str, Any]], str]] = {
    "null": (lambda known: {"sha256": None}, "which is not a SHA-256"),
    "empty": (lambda known: {"sha256": ""}, "which is not a SHA-256"),
    "number": (lambda known: {"sha256": 0}, "which is not a SHA-256"),
    "list": (lambda known: {"sha256": [known]}, "which is not a SHA-256"),
    "cut": (lambda known: {"sha256": known[:-1]}, "which is not a SHA-256"),
    "upper-case key": (lambda known: {"SHA256": known}, "rename it"),
    "key with a hyphen": (lambda known: {"SHA-256": known}, "rename it"),
    "upper-case hash": (lambda known: {"sha256": known.upper()}, ""),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_hash_is_one_or_is_refused(name: str, place: Path) -> None:
    make, said = CARDS[name]
    place.with_suffix(".json").write_text(json.dumps({**CARD, **make(hashlib.sha256(place.read_bytes()).hexdigest())}))
    if not said:
        checkpoint.load(place, Net())
        return
    with pytest.raises(BadInput, match=said):
        checkpoint.load(place, Net())


class Odd(nn.Module):
    """A linear layer, and a state that is not all dense tensors."""

    def __init__(self, kept: object = None, held: Tensor | None = None) -> None:
        super().__init__()
        self.linear, self.kept = nn.Linear(2, 2), kept
        self.register_buffer("held", held)

    def get_extra_state(self) -> object:
        return self.kept

    def set_extra_state(self, state: object) -> None:
        self.kept = state


STATES = {
    "an object": (Odd({"scale": 1.0}), "_extra_state"),
    "a sparse tensor": (Odd(torch.zeros(1), torch.eye(2).to_sparse()), "held"),
}


@pytest.mark.parametrize("what", STATES)
def test_a_state_that_no_checkpoint_holds_is_refused_before_training(what: str) -> None:
    model, name = STATES[what]
    with pytest.raises(BadInput, match=f"holds '{name}'.*keep it out of the state_dict"):
        checkpoint.check_storable(model)
    checkpoint.check_storable(Odd(torch.zeros(1), torch.eye(2)))


@pytest.mark.parametrize("value", [torch.eye(2).to_sparse(), torch.tensor([1j, 2]).conj()], ids=["sparse", "conjugate"])
def test_weights_of_any_layout_have_a_hash(value: Tensor) -> None:
    one, other = (Odd(held=held) for held in (value, 2 * value))
    other.load_state_dict(one.state_dict() | {"held": 2 * value})
    assert checkpoint.weight_hash(one) == checkpoint.weight_hash(one) != checkpoint.weight_hash(other)
