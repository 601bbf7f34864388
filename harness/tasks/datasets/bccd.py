"""BCCD: blood cells of three types to count in microscope images (github.com/Shenggan/BCCD_Dataset,
MIT).

Layout of the folder `bccd`: ``BCCD/ImageSets/Main/{train,val,test}.txt`` with the names of images,
``BCCD/JPEGImages/NAME.jpg`` and ``BCCD/Annotations/NAME.xml`` (VOC: size, object, name, bndbox).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor

from attacks.errors import BadInput, shown
from harness.tasks.batch import Batch
from harness.tasks.datasets.blobs import blobs
from harness.tasks.files.dataroot import data_path
from harness.tasks.files.images import read_sized
from harness.tasks.files.textfiles import read_lines, read_xml
from harness.tasks.modality import Modality
from harness.tasks.problems.counts import Counting
from harness.tasks.task import SPLITS, Task
from harness.tasks.words import Words

SIZE = (96, 128)  # height and width to which 480 × 640 are reduced: a red cell is about 21 pixels wide, a platelet 8
NAME = re.compile(r"[\w-]+")  # of an image
BESIDE = 1  # pixels by which a box may reach beyond the image: VOC counts pixels from 1, others from 0
LARGEST = 27
Cell = tuple[str, tuple[float, ...]]
"""The type of a cell, and left, top, right and bottom of its box as shares of the image."""
SEED = 20_26
NAMES = {"RBC": ("erythrocytes", "rbcs"), "WBC": ("leukocytes", "wbcs"), "Platelets": ("platelets", "thrombocytes")}
WORDS = Words((("how",), ("many",), ("are",), ("there", "present", "visible"), *NAMES.values()), positions=5)
NOTE = (
    "pixels from 0 to 255; words are replaced by synonyms only; "
    "proposals are those of the untouched picture, unless a model recomputes them; "
    "15 photographs have no red cell annotated though they show some: their count of 0 is an error of the labels"
)


def bccd(tolerance: int = 0) -> Task:
    """How many red cells, white cells or platelets? Images (3, 96, 128), 0 to 255, and a question
    in 5 words.

    205 train, 87 val and 72 test images, as published, and three questions about each, so 615, 261
    and 216 samples; groups are RBC, WBC and Platelets. Counts reach from 0 to 27. Images are
    reduced from 480 × 640, each pixel the mean of 5 × 5. 15 images have no annotated red cell (8 in
    train, 4 in val, 3 in test): label noise, which is kept as published.

    The input `boxes` (47, 5) holds proposals as in `counting`. They come from the image by a
    classical filter (`harness.tasks.datasets.blobs`), not from the annotations, which would give
    the answer away; about a fifth of red cells and platelets have no box, and half of the boxes are
    on no cell.

    Args:
        tolerance: a sample fails when its count is off by more; the score is exact accuracy in any
            case.

    Raises:
        NoData: a file is not there.
        BadInput: a file is damaged or does not have the layout above, or an image is in two splits.
    """
    modalities = (Modality("image", (3, *SIZE), "image", 0.0, 255.0, 127.5, "linf:4"), WORDS.modality())
    splits = {split: _batch(names) for split, names in _names().items()}
    return Task("bccd", modalities, Counting(LARGEST, tolerance), splits, NOTE, ("boxes",), tuple(NAMES), blobs)


def _names() -> dict[str, list[str]]:
    """The images of each split.

    Raises:
        BadInput: an image is in two splits, so a model would be tested on its training data; or a
            list does not hold names.
    """
    files = {split: data_path("bccd", f"BCCD/ImageSets/Main/{split}.txt") for split in SPLITS}
    names = {split: _listed(file) for split, file in files.items()}
    for first, second in combinations(SPLITS, 2):
        if shared := sorted(set(names[first]) & set(names[second])):
            raise BadInput(
                f"{files[second]} names {shared[0]}, and so does {files[first].name}: an image belongs to one split,"
                " fetch both again"
            )
    return names


def _listed(file: Path) -> list[str]:
    names = read_lines(file)
    if strange := [name for name in names if not NAME.fullmatch(name)]:
        raise BadInput(
            f"{file} has the line {shown(strange[0])}: write one name a line, without folder, suffix or flag"
        )
    if not names or len(set(names)) < len(names):
        what = f"{Counter(names).most_common(1)[0][0]} twice" if names else "no image"
        raise BadInput(f"{file} names {what}: fetch it again")
    return names


def _batch(names: Sequence[str]) -> Batch:
    read = [read_sized(data_path("bccd", f"BCCD/JPEGImages/{name}.jpg"), SIZE) for name in names]
    pictures = np.stack([pixels for pixels, _ in read])
    cells = [
        _cells(data_path("bccd", f"BCCD/Annotations/{name}.xml"), size)
        for name, (_, size) in zip(names, read, strict=True)
    ]
    counts = [Counter(kind for kind, _ in each) for each in cells]
    rng = np.random.RandomState(SEED)
    words = [" ".join(group[rng.randint(len(group))] for group in _template(cells)) for _ in names for cells in NAMES]
    inputs = {
        "image": torch.tensor(pictures, dtype=torch.float32).repeat_interleave(len(NAMES), 0),
        "question": WORDS.one_hot(words),
        "boxes": torch.tensor(np.stack([blobs(picture) for picture in pictures])).repeat_interleave(len(NAMES), 0),
    }
    samples = tuple(f"{name}-{cells}" for name in names for cells in NAMES)
    targets = torch.tensor([count[cells] for count in counts for cells in NAMES])
    objects = _annotated(cells).repeat_interleave(len(NAMES), 0)
    asked = objects[..., -1] == torch.arange(len(NAMES)).repeat(len(names))[:, None]
    groups, sources, free = (
        tuple(NAMES) * len(names),
        tuple(name for name in names for _ in NAMES),
        {"question": WORDS.free(words)},
    )
    return Batch(samples, inputs, targets, groups, editable=free, annotations=objects, referred=asked, sources=sources)


def _annotated(cells: Sequence[Sequence[Cell]]) -> Tensor:
    """The cells of every image, (N, n, 5): corners as shares of it, and the number of the type; -1
    in padding.
    """
    objects = torch.full((len(cells), max(map(len, cells)), 5), -1.0)
    for row, each in enumerate(cells):
        for number, (kind, corners) in enumerate(each):
            objects[row, number] = torch.tensor([*corners, list(NAMES).index(kind)])
    return objects


def _template(cells: str) -> list[tuple[str, ...]]:
    return [("how",), ("many",), NAMES[cells], ("are",), ("there", "present", "visible")]


def _cells(path: Path, size: tuple[int, int]) -> list[Cell]:
    """The cells that an annotation names.

    Args:
        size: height and width of the image.

    Raises:
        BadInput: it cannot be read, is of another image or size, names other types, or more than 27
            of one.
    """
    root = read_xml(path, "annotation")
    _check_photograph(path, root, size)
    objects = root.findall("object")
    if len(objects) < sum(1 for _ in root.iter("object")):
        raise BadInput(f"{path} has objects within others: write each below <annotation>, as VOC does")
    counts = Counter(each.findtext("name", "") for each in objects)
    if strange := sorted(set(counts) - set(NAMES)):
        raise BadInput(f"{path} names objects {shown(strange[0])}; the cells of BCCD are {', '.join(NAMES)}")
    if max(counts.values(), default=0) > LARGEST:
        raise BadInput(f"{path} has {max(counts.values())} cells of one type; BCCD has at most {LARGEST}")
    return [(each.findtext("name", ""), _corners(path, each, size)) for each in objects]


def _check_photograph(path: Path, root: ElementTree.Element, size: tuple[int, int]) -> None:
    """Refuse an annotation that names another image, or another size."""
    named = re.split(r"[\\/]", root.findtext("filename", "").strip())[-1].rpartition(".")[0]
    if named not in ("", path.stem):
        raise BadInput(f"{path} names {shown(named)}, not {path.stem}: give both the same name, or fetch it again")
    said = tuple(root.findtext(f"size/{side}", "").strip() for side in ("width", "height"))
    if root.find("size") is not None and said != (str(size[1]), str(size[0])):
        raise BadInput(
            f"{path} states that its image has {' × '.join(said)} pixels, but the image has {size[1]} × {size[0]}: "
            "its boxes would not fit; put the annotated image there"
        )


def _corners(path: Path, cell: ElementTree.Element, size: tuple[int, int]) -> tuple[float, ...]:
    """Left, top, right and bottom as shares of the image, whose height and width are given."""
    height, width = size
    try:
        left, top, right, bottom = (
            float(cell.findtext(f"bndbox/{end}", "")) for end in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        left = math.nan
    if not (0 <= left <= right < math.inf and 0 <= top <= bottom < math.inf):
        raise BadInput(f"{path} has an object whose bndbox is not a box of four numbers: fetch it again")
    if right > width + BESIDE or bottom > height + BESIDE:
        raise BadInput(
            f"{path} has a box that ends at {right:g}, {bottom:g}, beyond its image of {width} × {height}: check"
            " its size"
        )
    return min(1.0, left / width), min(1.0, top / height), min(1.0, right / width), min(1.0, bottom / height)
