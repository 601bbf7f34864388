"""Taskonomy: an indoor view in one domain from others (Zamir et al., CVPR 2018), as CEN translates
them (Wang et al., NeurIPS 2020).

Layout of the folder `taskonomy`: a folder of PNG for each domain,
``DOMAIN/point_P_view_V_domain_DOMAIN.png``, and the lists ``train_domain.txt`` and
``val_domain.txt``, whose lines name a view each: whatever stands around ``point_P_view_V`` is left
out. Published are 1,000 and 500 views of the sample building.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from numpy.typing import NDArray

from attacks.errors import BadInput, shown, unknown
from harness.tasks.batch import Batch
from harness.tasks.files.dataroot import data_path
from harness.tasks.files.images import nearest, read_numbers, read_picture
from harness.tasks.files.textfiles import read_lines
from harness.tasks.modality import Modality
from harness.tasks.problems.images import Images
from harness.tasks.sides import held_out
from harness.tasks.task import Task

Array = NDArray[Any]

COLOURED = ("rgb", "normal", "principal_curvature", "segment_unsup2d", "segment_unsup25d")
GREY = ("reshading",)
LOGARITHMIC = {"depth_euclidean": 11.1, "depth_zbuffer": 11.1}  # log(1 + d) is divided by it, d as stored in 16 bits
LINEAR = {"edge_texture": 11_355.0, "edge_occlusion": 11_584.0}
DOMAINS = (*COLOURED, *GREY, *LOGARITHMIC, *LINEAR)
VIEW = re.compile(r"point_(\d+)_view_\d+")
Side = Annotated[int, Interval(ge=8, le=1_024)]
HELD_OUT = 10  # one of so many points of training is validation's
NOTE = (
    "every domain from 0 to 1, reduced; validation and test views are of the building that training is of; FID and KID"
    " are not measured, since no extractor comes with this task"
)


def taskonomy(inputs: str = "reshading+edge_texture", answer: str = "rgb", side: Side = 64) -> Task:
    """An indoor view in one domain from others (Taskonomy), from your copy: shade and texture edges
    to colours unless you name other domains.

    The test views are those of ``val_domain.txt``; the views of one in ten of training's points are
    held out for validation, by a hash of the point.

    Args:
        inputs: the domains that are given, with + between.
        answer: the domain of the output.
        side: height and width to which all are reduced. Published numbers are of 256.

    Raises:
        NoData: a file is not there.
        BadInput: no such domain, or a file is damaged or does not have the layout above.
    """
    given = inputs.split("+")
    for domain in (*given, answer):
        if domain not in DOMAINS:
            raise unknown("domain", domain, DOMAINS, where=" of task 'taskonomy'")
    if twice := [domain for domain, count in Counter((*given, answer)).items() if count > 1]:
        raise BadInput(f"task 'taskonomy' has the domain {twice[0]!r} twice: name each once")
    modalities = tuple(Modality(each, _shape(each, side), "image", 0.0, 1.0, 0.5, "linf:0.03") for each in given)
    splits = {split: _batch(views, given, answer, side) for split, views in _views().items()}
    return Task("taskonomy", modalities, Images(_shape(answer, side)), splits, NOTE)


def _shape(domain: str, side: int) -> tuple[int, int, int]:
    return 3 if domain in COLOURED else 1, side, side


def _views() -> dict[str, list[str]]:
    train, test = (_listed(data_path("taskonomy", f"{half}_domain.txt")) for half in ("train", "val"))
    held = {view for view in train if held_out(_point(view), HELD_OUT)}
    return {"train": [view for view in train if view not in held], "val": sorted(held), "test": test}


def _point(view: str) -> str:
    return view.partition("_view_")[0]


def _listed(path: Path) -> list[str]:
    lines = read_lines(path)
    found = [VIEW.search(line) for line in lines]
    if strange := [line for line, each in zip(lines, found, strict=True) if each is None]:
        raise BadInput(f"{path} has the line {shown(strange[0])}: name a view as point_P_view_V in each")
    views = [each[0] for each in found if each]
    if twice := [view for view, count in Counter(views).items() if count > 1]:
        raise BadInput(f"{path} names {twice[0]} twice: name each view once")
    return views


def _batch(views: Sequence[str], given: Sequence[str], answer: str, side: int) -> Batch:
    if not views:
        raise BadInput(f"the lists of taskonomy name too few points to hold one in {HELD_OUT} out: list more views")
    read = {
        domain: torch.tensor(np.stack([_read(view, domain, side) for view in views])) for domain in (*given, answer)
    }
    return Batch(tuple(views), {domain: read[domain] for domain in given}, read[answer], ("all",) * len(views))


def _read(view: str, domain: str, side: int) -> Array:
    """A view (C, side, side) in a domain, from 0 to 1, float32."""
    path = data_path("taskonomy", f"{domain}/{view}_domain_{domain}.png")
    if domain in LOGARITHMIC or domain in LINEAR:
        numbers = nearest(read_numbers(path), (side, side))[None].astype(np.float32)
        scaled = np.log1p(numbers) / LOGARITHMIC[domain] if domain in LOGARITHMIC else numbers / LINEAR[domain]
        return scaled.clip(0, 1).astype(np.float32)
    pixels = read_picture(path, (side, side)).astype(np.float32) / np.float32(255)
    return pixels if domain in COLOURED else pixels.mean(0, keepdims=True)
