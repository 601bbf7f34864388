"""avMNIST: the pairs are frozen, nothing stands on both sides, damaged files are one sentence."""

import gzip
import hashlib
from collections import Counter
from importlib.resources import files
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from attacks.errors import BadInput
from attacks.scenario import parse
from harness.engine.loading import load_task
from harness.tasks import Task
from harness.tasks.datasets.avmnist import manifest
from harness.tasks.datasets.avmnist.pairing import PLANS, lines
from harness.tasks.datasets.fsdd import waveforms
from harness.tasks.datasets.mnist import mnist, read_idx
from harness.tasks.files.dataroot import VARIABLE, NoData

HASHES = {
    "avmnist": "23ade2055b160f8fbf84150e34f48d207d3737cab807180d9d5a9bbaed05d1be",
    "avmnist-smil": "dbfdfdf0c9c2c0a31833439c183a108a3e976752487ecc7f2e77db51686dde69",
}
SIZES = {"avmnist": (4_800, 600, 1_500), "avmnist-smil": (1_050, 450, 450)}


@pytest.fixture(scope="module", params=PLANS)
def task(request: pytest.FixtureRequest) -> Task:
    """A task made of the real files."""
    try:
        return load_task(request.param)
    except NoData as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", PLANS)
def test_the_manifest_is_frozen_and_can_be_made_anew(name: str) -> None:
    content = (files("harness.tasks.datasets.avmnist") / "data" / f"{name}.tsv").read_bytes()
    assert hashlib.sha256(content).hexdigest() == HASHES[name]
    assert "\n".join(lines(name)) + "\n" == content.decode()


@pytest.mark.parametrize("name", PLANS)
def test_nothing_is_on_both_sides(name: str) -> None:
    pairs = manifest(name)
    assert tuple(Counter(pair.split for pair in pairs).values()) == SIZES[name]
    recordings = {
        split: {pair.recording for pair in pairs if pair.split == split} for split in ("train", "val", "test")
    }
    for left, right in combinations(recordings.values(), 2):
        assert not left & right
    images = [(pair.split == "test", pair.digit, pair.rank) for pair in pairs]
    assert len(set(images)) == len(images)


def test_smil_has_its_speakers_and_indices() -> None:
    for pair in manifest("avmnist-smil"):
        _, speaker, index = pair.recording.split("_")
        assert (pair.split == "val") == (speaker not in ("jackson", "nicolas", "theo"))
        assert (pair.split == "train") == (int(index) >= 15)


def test_pairs_agree_and_padding_is_silent(task: Task) -> None:
    for split, size in zip(("train", "val", "test"), SIZES[task.name], strict=True):
        batch = task.splits[split]
        assert len(batch) == size and batch.targets.bincount().tolist() == [size // 10] * 10
        assert batch.targets.tolist() == [int(sample[0]) for sample in batch.samples]
        assert batch.inputs["image"].amax() == 255 and 0.5 < batch.inputs["audio"].abs().amax() <= 1
        assert not bool(batch.inputs["audio"][~batch.valid["audio"]].any())
        assert 0.3 < batch.valid["audio"].double().mean() < 0.8


def test_padding_may_not_move(task: Task) -> None:
    batch = task.splits["test"].take(range(4))
    valid, real = task.bounds(batch)["audio"], batch.valid["audio"]
    assert bool((torch.as_tensor(valid.high)[~real] == 0).all()) and bool(
        (torch.as_tensor(valid.low)[real] == -1).all()
    )
    assert [str(each) for each in task.scenarios()][-1] == str(parse("audio@linf:0.005 + image@linf:51"))


def write_idx(path: Path, values: np.ndarray, header: bytes | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    head = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress((head if header is None else header) + values.tobytes()))


def test_idx_is_read_and_damage_is_one_sentence(tmp_path: Path) -> None:
    path, values = tmp_path / "x-idx3-ubyte.gz", np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(path, values)
    assert np.array_equal(read_idx(path), values)
    whole = path.read_bytes()
    for content, said in {
        whole[:-9]: "cannot be read",
        b"no gzip": "cannot be read",
        gzip.compress(gzip.decompress(whole)[:-1]): "announces (2, 3, 4) and holds 23 bytes",
        gzip.compress(b"\0\0\x09\1" + b"\0" * 8): "begins with 00 00 09 01",
        gzip.compress(b"\0\0\x08\3\0\0"): "begins with 00 00 08 03",
        gzip.compress(b""): "begins with nothing",
    }.items():
        path.write_bytes(content)
        with pytest.raises(BadInput) as error:
            read_idx(path)
        assert said in str(error.value) and "fetch it again" in str(error.value)


def test_either_training_file_serves_and_labels_must_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for stem, count in (("train10k", 2), ("train", 3)):
        write_idx(tmp_path / "mnist" / f"{stem}-images-idx3-ubyte.gz", np.zeros((count, 28, 28), np.uint8))
        with pytest.raises(NoData, match=f"lacks {stem}-labels-idx1-ubyte.gz"):
            mnist("train")
        write_idx(tmp_path / "mnist" / f"{stem}-labels-idx1-ubyte.gz", np.zeros(count, np.uint8))
        assert len(mnist("train")[0]) == count
    write_idx(tmp_path / "mnist" / "train-labels-idx1-ubyte.gz", np.zeros(2, np.uint8))
    with pytest.raises(BadInput, match=r"holds \(3, 28, 28\), its labels \(2,\)"):
        mnist("train")


def test_recordings_are_centred_or_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    folder = tmp_path / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    for name, length, rate in (("short", 3, 8_000), ("long", 8, 8_000), ("fast", 8, 16_000)):
        soundfile.write(folder / f"{name}.wav", np.arange(1, length + 1, dtype=np.int16) * 4_096, rate)
    waves, real = waveforms(["short", "long"], 6)
    assert waves.tolist() == [[0, 0.125, 0.25, 0.375, 0, 0], [0.25, 0.375, 0.5, 0.625, 0.75, 0.875]]
    assert real.tolist() == [[False, True, True, True, False, False], [True] * 6]
    with pytest.raises(BadInput, match="has 16000 Hz"):
        waveforms(["fast"], 6)
    (folder / "broken.wav").write_text("no sound")
    with pytest.raises(BadInput, match="cannot be read"):
        waveforms(["broken"], 6)
    with pytest.raises(NoData, match=r"lacks recordings/absent\.wav"):
        waveforms(["absent"], 6)


def test_manifest_is_in_order_of_splits() -> None:
    for name in PLANS:
        splits = [pair.split for pair in manifest(name)]
        assert sum(left != right for left, right in pairwise(splits)) == 2
