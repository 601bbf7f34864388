"""BCCD: published splits and counts, proposals without annotations; a broken layout is one
sentence.
"""

import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.errors import BadInput
from harness.engine.loading import load_task
from harness.tasks import Counting, Task
from harness.tasks.datasets.bccd import NAMES, SIZE, WORDS, bccd
from harness.tasks.datasets.blobs import PROPOSALS, blobs, otsu
from harness.tasks.files.dataroot import VARIABLE, NoData, data_path
from harness.tasks.files.images import read_picture
from tests.picturefiles import blood


@pytest.fixture(scope="module")
def task() -> Task:
    """The task made of the real files."""
    try:
        return load_task("bccd")
    except NoData as error:
        pytest.skip(str(error))


def test_splits_counts_and_label_noise(task: Task) -> None:
    assert [len(task.splits[split]) for split in ("train", "val", "test")] == [615, 261, 216]
    red = {split: batch.targets[[group == "RBC" for group in batch.groups]] for split, batch in task.splits.items()}
    assert {split: int((counts == 0).sum()) for split, counts in red.items()} == {"train": 8, "val": 4, "test": 3}
    assert max(int(counts.max()) for counts in red.values()) == 27 and task.problem == Counting(27)
    assert (red["test"] - 11).abs().le(2).double().mean() == pytest.approx(0.53, abs=0.05)  # the score of a constant
    photographs = {split: {each.partition("-")[0] for each in batch.samples} for split, batch in task.splits.items()}
    for left, right in combinations(photographs.values(), 2):
        assert not left & right


def test_questions_name_the_cells_and_keep_to_synonyms(task: Task) -> None:
    batch = task.splits["val"]
    for row, group in enumerate(batch.groups[:30]):
        how, many, cells, are, _ = WORDS.read(batch.inputs["question"][row]).split()
        assert (how, many, are) == ("how", "many", "are") and cells in NAMES[group]
        free = {WORDS.vocabulary[number] for number in batch.editable["question"][row, 2].nonzero().flatten().tolist()}
        assert free == set(NAMES[group])


def test_proposals_find_most_cells(task: Task) -> None:
    found: dict[str, list[bool]] = {name: [] for name in NAMES}
    for sample, boxes in zip(
        task.splits["test"].samples[::3], task.splits["test"].inputs["boxes"][::3].numpy(), strict=True
    ):
        root = ElementTree.parse(data_path("bccd", f"BCCD/Annotations/{sample.partition('-')[0]}.xml")).getroot()
        for each in root.iter("object"):
            left, top, right, bottom = (
                int(each.findtext(f"bndbox/{end}", "0")) for end in ("xmin", "ymin", "xmax", "ymax")
            )
            cell = np.array([left / 640, top / 480, right / 640, bottom / 480])
            shared = np.prod((np.minimum(boxes[:, 2:4], cell[2:]) - np.maximum(boxes[:, :2], cell[:2])).clip(0), 1)
            union = np.prod(boxes[:, 2:4] - boxes[:, :2], 1) + np.prod(cell[2:] - cell[:2]) - shared
            found[each.findtext("name", "")].append(bool((shared / np.maximum(union, 1e-9) > 0.4).any()))
    share = {name: np.mean(hits) for name, hits in found.items()}
    assert share["RBC"] > 0.7 and share["WBC"] > 0.9 and share["Platelets"] > 0.6


def test_blobs_are_where_dark_discs_are() -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    picture = np.full((3, *SIZE), 220.0)
    places = [(20, 20), (60, 30), (100, 70)]
    for place in places:
        picture[:, np.hypot(x - place[0], y - place[1]) < 10] = 90
    boxes = blobs(picture)
    assert boxes.shape == (PROPOSALS, 5) and bool((np.diff(boxes[:, 4]) <= 0).all()) and boxes[-1].tolist() == [0] * 5
    for place in places:
        middle = np.array(place) / SIZE[::-1]
        near = np.abs((boxes[:, :2] + boxes[:, 2:4]) / 2 - middle).max(1) < 0.02
        assert (boxes[near, 2] - boxes[near, 0]).max() * SIZE[1] == pytest.approx(20.8, abs=14)
    assert not blobs(np.full((3, *SIZE), 200.0)).any()
    assert 90 < otsu(picture[0]) < 220


def test_a_photograph_is_reduced_to_the_mean_of_its_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    expected = pixels.reshape(2, 5, 4, 5, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(read_picture(tmp_path / "x.png", (2, 4)) - expected).max() <= 1
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    assert read_picture(tmp_path / "grey.png", (2, 4)).shape == (3, 2, 4)


def test_the_layout_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    blood(tmp_path / "bccd")
    task = bccd(tolerance=2)
    assert task.problem == Counting(27, 2) and [len(task.splits[split]) for split in ("train", "val", "test")] == [
        12,
        6,
        6,
    ]
    assert task.splits["val"].targets.tolist() == [4, 1, 0, 5, 1, 1]
    assert task.splits["val"].samples[:3] == ("Image_4-RBC", "Image_4-WBC", "Image_4-Platelets")
    assert task.splits["val"].inputs["image"].shape == (6, 3, *SIZE)
    assert torch.equal(task.splits["val"].inputs["image"][0], task.splits["val"].inputs["image"][2])


def annotate(name: str, times: int) -> Callable[[Path], object]:
    text = f"<annotation>{f'<object><name>{name}</name></object>' * times}</annotation>"
    return lambda folder: (folder / "Annotations" / "Image_0.xml").write_text(text)


def moved(here: str, there: str, number: int = 1) -> Callable[[Path], object]:
    """Another corner in an annotation."""

    def change(folder: Path) -> None:
        path = folder / "Annotations" / f"Image_{number}.xml"
        path.write_text(path.read_text().replace(here, there))

    return change


def listed(text: str, split: str = "train") -> Callable[[Path], object]:
    return lambda folder: (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(text)


def written(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "Annotations" / "Image_0.xml").write_text(text)


BOX = "<bndbox><xmin>{0}</xmin><ymin>48</ymin><xmax>{1}</xmax><ymax>{2}</ymax></bndbox>"


def boxed(left: object, right: object, bottom: object = 144) -> Callable[[Path], object]:
    return written(f"<annotation><object><name>RBC</name>{BOX.format(left, right, bottom)}</object></annotation>")


BROKEN: dict[str, Callable[[Path], object]] = {
    "lacks BCCD/ImageSets/Main/val.txt": lambda folder: (folder / "ImageSets" / "Main" / "val.txt").unlink(),
    "lacks BCCD/JPEGImages/Image_5.jpg": lambda folder: (folder / "JPEGImages" / "Image_5.jpg").unlink(),
    "Image_0.jpg cannot be read": lambda folder: (folder / "JPEGImages" / "Image_0.jpg").write_bytes(b"no picture"),
    "lacks BCCD/Annotations": lambda folder: shutil.rmtree(folder / "Annotations"),
    "Image_0.xml cannot be read": lambda folder: (folder / "Annotations" / "Image_0.xml").write_text("<annotation>"),
    "names objects 'cat'; the cells of BCCD are": annotate("cat", 1),
    "has 28 cells of one type": annotate("RBC", 28),
    "Image_1.xml has an object whose bndbox is not a box of four numbers": moved("<xmin>64", "<xmin>nan"),
    "Image_2.xml has an object whose bndbox is not a box of four numbers": moved("<xmin>64", "<xmin>640", 2),
    "its root is <Error>; fetch it again": written("<Error><Code>NoSuchKey</Code></Error>"),
    "its root is <{urn:x}annotation>": written('<annotation xmlns="urn:x"></annotation>'),
    "Image_0.xml has objects within others": written(
        "<annotation><part><object><name>WBC</name></object></part></annotation>"
    ),
    "Image_0.xml names 'Image_9', not Image_0": written("<annotation><filename>a/Image_9.jpg</filename></annotation>"),
    "states that its image has 320 × 240 pixels, but the image has 640 × 480": written(
        "<annotation><size><width>320</width><height>240</height></size></annotation>"
    ),
    "states that its image has 640 ×  pixels": written("<annotation><size><width>640</width></size></annotation>"),
    "has a box that ends at 642, 144, beyond its image of 640 × 480": boxed(64, 642),
    "has a box that ends at 128, 960, beyond": boxed(64, 128, 960),
    "Image_0.xml has an object whose bndbox is not a box": boxed(64, "inf"),
    "train.txt has the line 'Image_0 1': write one name a line": listed("Image_0 1\n"),
    "train.txt has the line 'Image_0.jpg'": listed("Image_0.jpg\n"),
    "train.txt has the line '../../etc/hostname'": listed("../../etc/hostname\n"),
    "train.txt names Image_0 twice": listed("Image_0\nImage_0\n"),
    "val.txt names no image": listed("\n", "val"),
    "test.txt names Image_3, and so does train.txt": lambda folder: (
        folder / "ImageSets" / "Main" / "test.txt"
    ).write_text("Image_3\n"),
}


@pytest.mark.parametrize(("width", "height"), [(416, 416), (1280, 960), (641, 480)])
def test_boxes_are_shares_of_the_photograph_that_is_there(
    width: int, height: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    blood(tmp_path / "bccd")
    folder = tmp_path / "bccd" / "BCCD"
    Image.new("RGB", (width, height)).save(folder / "JPEGImages" / "Image_0.jpg")
    boxed(64, width, 144)(folder)
    objects = bccd().splits["train"].annotations
    assert objects is not None
    assert objects[0, 0, :4].tolist() == pytest.approx([64 / width, 48 / height, 1, 144 / height])


@pytest.mark.parametrize("said", BROKEN)
def test_a_broken_layout_is_one_sentence(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    blood(tmp_path / "bccd")
    BROKEN[said](tmp_path / "bccd" / "BCCD")
    with pytest.raises(BadInput) as error:
        bccd()
    assert said in str(error.value)


def test_a_photograph_cut_short_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    blood(tmp_path / "bccd")
    path = tmp_path / "bccd" / "BCCD" / "JPEGImages" / "Image_0.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadInput, match=r"Image_0\.jpg cannot be read: .*; fetch it again"):
        bccd()
