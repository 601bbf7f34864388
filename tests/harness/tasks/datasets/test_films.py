"""NTU RGB-D and GRID in their published layouts, made small."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attacks.errors import BadInput
from harness.engine.loading import load_task
from harness.tasks.datasets.action.ntu_rgbd import read_skeletons
from harness.tasks.files.dataroot import use
from harness.tasks.files.films import read_frames, read_track
from tests.filmfiles import write_film, write_grid, write_ntu, write_skeleton


def test_sequences_are_on_the_sides_of_their_subjects(tmp_path: Path) -> None:
    write_ntu(tmp_path / "ntu-rgbd")
    use(str(tmp_path))
    task = load_task("ntu-rgbd")
    held = {split: (batch.samples, batch.targets.tolist()) for split, batch in task.splits.items()}
    assert held == {
        "train": (("S001C001P001R001A001",), [0]),
        "val": (("S001C001P002R001A060",), [59]),
        "test": (("S001C001P003R001A007",), [6]),
    }
    alone = task.splits["train"].inputs["skeleton"]
    assert alone.shape == (1, 3, 32, 25, 2) and not alone[..., 1].any() and bool(alone[..., 0].any())
    video = task.splits["test"].inputs["video"]
    assert video.shape == (1, 3, 8, 32, 32)
    torch.testing.assert_close(video, torch.full_like(video, 120 / 255), rtol=0, atol=0.05)


def test_persons_are_those_who_are_seen_longest(tmp_path: Path) -> None:
    bodies = np.full((6, 3, 25, 3), np.nan)
    bodies[:1, 0], bodies[:, 1], bodies[2:, 2] = 1.0, 2.0, 3.0
    write_skeleton(tmp_path / "x.skeleton", bodies)
    found = read_skeletons(tmp_path / "x.skeleton")
    assert found.shape == (6, 2, 25, 3)
    assert (found[:, 0] == 2).all() and not found[:2, 1].any() and (found[2:, 1] == 3).all()


@pytest.mark.parametrize("content", ["", "x", "2\n1\n7 0\n25\n1 2 3", "1\n1\n7 0\n20\n" + "1 2 3\n" * 20])
def test_a_damaged_skeleton_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.skeleton").write_text(content)
    with pytest.raises(BadInput, match=r"x\.skeleton does not hold a count of frames"):
        read_skeletons(tmp_path / "x.skeleton")


def test_a_sequence_without_a_person_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.skeleton").write_text("2\n0\n0\n")
    with pytest.raises(BadInput, match=r"shows no person: name it in missing_skeletons\.txt"):
        read_skeletons(tmp_path / "x.skeleton")


def test_speakers_of_grid_are_on_one_side(tmp_path: Path) -> None:
    write_grid(tmp_path / "grid")
    use(str(tmp_path))
    task = load_task("grid")
    assert {split: set(batch.sources) for split, batch in task.splits.items()} == {
        "test": {"s1"}, "val": {"s2"}, "train": {"s3", "s4"},
    }  # fmt: skip
    batch = task.splits["test"]
    assert batch.inputs["video"].shape == (1, 3, 75, 16, 24) and batch.inputs["audio"].shape == (1, 24_000)
    clean = batch.targets[0, 0]
    assert int(torch.fft.rfft(clean).abs().argmax()) / 3 == pytest.approx(110, abs=1), "the tone of the film"


def test_frames_are_spread_over_the_film_and_cropped(tmp_path: Path) -> None:
    pictures = np.zeros((9, 32, 32, 3), np.uint8)
    pictures[4:, :, 16:] = 200
    write_film(tmp_path / "x.avi", pictures)
    frames = read_frames(tmp_path / "x.avi", 3, (8, 8), (0.5, 0.0, 1.0, 1.0))
    assert frames.shape == (3, 3, 8, 8)
    np.testing.assert_allclose(frames.mean((1, 2, 3)), [0, 200 / 255, 200 / 255], atol=0.05)


@pytest.mark.parametrize("content", [b"", b"no film at all"])
def test_what_is_no_film_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.avi").write_bytes(content)
    with pytest.raises(BadInput, match=r"x\.avi cannot be read"):
        read_frames(tmp_path / "x.avi", 3, (8, 8))


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    write_film(tmp_path / "x.avi", np.zeros((3, 32, 32, 3), np.uint8))
    with pytest.raises(BadInput, match=r"x\.avi has no sound"):
        read_track(tmp_path / "x.avi", 8_000)


def test_without_pyav_the_mend_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refusing(name: str, *args: Any, **options: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(BadInput, match=r"install PyAV: pip install multimodal-robustness-harness\[video\]"):
        read_frames(tmp_path / "x.avi", 3, (8, 8))
