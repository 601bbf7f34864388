"""NYUDv2 and SUN RGB-D: files in the published layouts are read; a broken one has a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.errors import BadInput
from harness.tasks import Segmentation, Task
from harness.tasks.datasets.nyudv2 import nyudv2
from harness.tasks.datasets.sun_rgbd import sun_rgbd
from harness.tasks.files.dataroot import VARIABLE, NoData
from tests.picturefiles import numbers, nyu, picture, rgbd, sun

BUILDERS: dict[str, tuple[Callable[[], Task], int]] = {"nyudv2": (nyudv2, 40), "sun-rgbd": (sun_rgbd, 37)}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    nyu(tmp_path / "nyudv2")
    sun(tmp_path / "sun-rgbd")
    return tmp_path


@pytest.mark.parametrize("name", BUILDERS)
def test_files_are_read_as_published(name: str, root: Path) -> None:
    build, classes = BUILDERS[name]
    task = build(height=48)  # type: ignore[call-arg]
    assert isinstance(task.problem, Segmentation) and task.problem.classes == classes
    assert task.problem.names[:2] == ("wall", "floor") and task.problem.names[36] == "bag"
    sizes = {split: len(batch) for split, batch in task.splits.items()}
    assert sizes["train"] + sizes["val"] == 20 and sizes["val"] > 0 and sizes["test"] == 10
    test = task.splits["test"]
    with Image.open(root / name / "rgb" / "00020.png") as image:
        assert torch.equal(test.inputs["rgb"][0].movedim(0, -1), torch.tensor(np.array(image)).float())
    with Image.open(root / name / "masks" / "00020.png") as image:
        assert torch.equal(test.targets[0], torch.tensor(np.array(image)).long())
    with Image.open(root / name / "depth" / "00020.png") as image:
        stored = torch.tensor(np.array(image).astype(np.float32))
    torch.testing.assert_close(test.inputs["depth"][0, 0], stored / 5_000)
    assert bool((test.targets[:, 0] == 255).all())


def test_classes_and_depths_are_never_mixed(root: Path) -> None:
    """A smaller map holds only numbers that the larger one has."""
    task = nyudv2(height=24)
    with Image.open(root / "nyudv2" / "depth" / "00020.png") as image:
        stored = set((np.array(image).astype(np.float32) / np.float32(5_000)).flatten().tolist())
    assert set(task.splits["test"].inputs["depth"][0].flatten().tolist()) <= stored
    assert task.splits["test"].inputs["rgb"].shape[2:] == (24, 32)


def test_a_palette_gives_places_and_not_colours(root: Path) -> None:
    before = nyudv2(height=48).splits["test"].targets
    path = root / "nyudv2" / "masks" / "00020.png"
    with Image.open(path) as image:
        coloured = Image.fromarray(np.array(image)).convert("L")
    coloured.putpalette([value for number in range(256) for value in (255 - number, number // 2, 7)])
    coloured.save(path)
    with Image.open(path) as image:
        assert image.mode == "P"
    assert torch.equal(nyudv2(height=48).splits["test"].targets, before)


def test_nyudv2_crops_and_sun_stretches_what_is_larger_than_its_classes(root: Path) -> None:
    for name, (build, _) in BUILDERS.items():
        picture(root / name / "rgb" / "00020.png", 20, (60, 80))
        deep = np.random.default_rng(0).integers(0, 2**16, (60, 80), np.uint16)
        numbers(root / name / "depth" / "00020.png", deep)
        test = build(height=48).splits["test"]  # type: ignore[call-arg]
        with Image.open(root / name / "rgb" / "00020.png") as image:
            middle = torch.tensor(np.array(image)[6:54, 8:72]).movedim(-1, 0).float()
        cropped = torch.tensor(deep[6:54, 8:72].astype(np.float32) / 5_000)
        assert torch.equal(test.inputs["rgb"][0], middle) == (name == "nyudv2")
        assert torch.allclose(test.inputs["depth"][0, 0], cropped) == (name == "nyudv2")


def test_a_photograph_smaller_than_its_classes_is_refused(root: Path) -> None:
    picture(root / "nyudv2" / "rgb" / "00020.png", 20, (40, 64))
    with pytest.raises(BadInput, match=r"00020.png has 40×64 pixels, fewer than its classes, 48×64: fetch"):
        nyudv2()


@pytest.mark.parametrize(
    ("value", "message"),
    [(40, "holds class 40: number the 40 classes from 0, and write 255"), (255, "has no pixel that counts")],
)
def test_classes_that_cannot_be_are_refused(value: int, message: str, root: Path) -> None:
    numbers(root / "nyudv2" / "masks" / "00003.png", np.full((48, 64), value, np.uint8))
    with pytest.raises(BadInput, match=f"00003.png {message}"):
        nyudv2()


@pytest.mark.parametrize("part", ["masks", "depth"])
def test_colours_are_no_numbers(part: str, root: Path) -> None:
    picture(root / "nyudv2" / part / "00003.png", 0)
    with pytest.raises(
        BadInput, match=r"00003.png holds pixels of type 'RGB', not one whole number for each pixel: save"
    ):
        nyudv2()


@pytest.mark.parametrize("part", ["rgb", "masks", "depth"])
@pytest.mark.parametrize("name", BUILDERS)
def test_a_missing_file_is_named_with_its_mend(name: str, part: str, root: Path) -> None:
    (root / name / part / "00003.png").unlink()
    build, _ = BUILDERS[name]
    with pytest.raises(NoData, match=f"'{name}' lists {part}/00003.png, which is not in .*{name}: get it with 'python"):
        build()


@pytest.mark.parametrize("name", BUILDERS)
def test_a_missing_list_is_named_with_its_mend(name: str, root: Path) -> None:
    (root / name / "val.txt").unlink()
    with pytest.raises(NoData, match=f"'{name}' lacks val.txt in .*: get it with 'python -m harness.tasks.download"):
        BUILDERS[name][0]()


@pytest.mark.parametrize(
    "line",
    ["rgb/00003.png", "rgb/00003.png masks/00003.png depth/00003.png", "/etc/a.png\tb\tc", "../a.png\tb\tc", "a\t\tc"],
)
def test_a_line_that_is_not_three_paths_is_refused(line: str, root: Path) -> None:
    path = root / "nyudv2" / "train.txt"
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(BadInput, match=r"train.txt has the line .* \(number 21\): write three paths inside"):
        nyudv2()


def test_a_photograph_is_on_one_side(root: Path) -> None:
    path = root / "nyudv2" / "val.txt"
    path.write_text(path.read_text() + "rgb/00003.png\tmasks/00003.png\tdepth/00003.png\n")
    with pytest.raises(BadInput, match=r"rgb/00003.png"):
        nyudv2()
    path.write_text(2 * "rgb/00025.png\tmasks/00025.png\tdepth/00025.png\n")
    with pytest.raises(BadInput, match=r"val.txt names rgb/00025.png twice: name each photograph once"):
        nyudv2()


def test_a_list_too_short_to_hold_out_is_refused(root: Path) -> None:
    rgbd(root / "nyudv2", count=3)
    with pytest.raises(BadInput, match="lists too few photographs to hold one in 10 out: list more"):
        nyudv2()


def test_lists_of_any_line_ends_and_byte_order_mark_are_read(root: Path) -> None:
    before = nyudv2().data_hash
    path = root / "nyudv2" / "train.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_text().replace("\n", "\r\n").encode())
    assert nyudv2().data_hash == before
