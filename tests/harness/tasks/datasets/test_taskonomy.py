"""Taskonomy: folders in the published layout are read; a broken file gives one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.errors import BadInput
from harness.tasks import Images
from harness.tasks.datasets.taskonomy import DOMAINS, taskonomy
from harness.tasks.files.dataroot import VARIABLE, NoData
from tests.picturefiles import COLOURED, picture, views


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    views(tmp_path / "taskonomy")
    return tmp_path / "taskonomy"


def test_the_lecture_s_first_task_is_read(root: Path) -> None:
    task = taskonomy(side=32)
    assert task.names == ("reshading", "edge_texture")
    assert isinstance(task.problem, Images) and task.problem.size == (3, 32, 32)
    points = {split: {name.split("_view")[0] for name in batch.samples} for split, batch in task.splits.items()}
    assert not points["train"] & points["val"] and len(points["train"] | points["val"]) == 20
    assert len(task.splits["test"]) == 20 and points["val"]
    name = "point_20_view_0"
    assert task.splits["test"].samples[0] == name
    with Image.open(root / "rgb" / f"{name}_domain_rgb.png") as image:
        assert torch.equal(task.splits["test"].targets[0].movedim(0, -1), torch.tensor(np.array(image)).float() / 255)


@pytest.mark.parametrize(
    ("domain", "scaled"),
    [
        ("depth_euclidean", lambda d: np.log(1 + d) / 11.1),
        ("depth_zbuffer", lambda d: np.log(1 + d) / 11.1),
        ("edge_texture", lambda d: d / 11_355),
        ("edge_occlusion", lambda d: d / 11_584),
    ],
)
def test_deep_domains_are_scaled_as_published(domain: str, scaled: object, root: Path) -> None:
    task = taskonomy(inputs=f"{domain}+normal", side=32)
    with Image.open(root / domain / f"point_20_view_0_domain_{domain}.png") as image:
        stored = np.array(image).astype(np.float64)
    expected = torch.tensor(scaled(stored)).clamp(0, 1).float()  # type: ignore[operator]
    torch.testing.assert_close(task.splits["test"].inputs[domain][0, 0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_can_be_input_and_answer(domain: str, root: Path) -> None:
    other = "rgb" if domain != "rgb" else "normal"
    channels = 3 if domain in COLOURED else 1
    assert taskonomy(domain, other, 16).modalities[0].shape == (channels, 16, 16)
    assert taskonomy(other, domain, 16).problem.shape == (channels, 16, 16)


def test_other_domains_are_refused(root: Path) -> None:
    with pytest.raises(BadInput, match=r"domain 'shade'"):
        taskonomy("shade+edge_texture")
    with pytest.raises(BadInput, match="has the domain 'rgb' twice: name each once"):
        taskonomy("rgb+normal")


@pytest.mark.parametrize("domain", ["reshading", "edge_texture", "rgb"])
def test_a_missing_view_is_named_with_its_mend(domain: str, root: Path) -> None:
    (root / domain / f"point_3_view_0_domain_{domain}.png").unlink()
    with pytest.raises(NoData, match=f"lacks {domain}/point_3_view_0_domain_{domain}.png in .*taskonomy: get it with"):
        taskonomy()


@pytest.mark.parametrize(
    "line", ["{name}", "{name}_domain_rgb.png", "./rgb/{name}_domain_rgb.png", "{domain}/{name}.png"]
)
def test_lists_name_views_in_any_form(line: str, root: Path) -> None:
    before = taskonomy(side=16).data_hash
    for half, points in {"train": range(20), "val": range(20, 30)}.items():
        names = [f"point_{point}_view_{view}" for point in points for view in (0, 3)]
        (root / f"{half}_domain.txt").write_text("\n".join(line.replace("{name}", name) for name in names))
    assert taskonomy(side=16).data_hash == before


def test_a_list_that_names_no_view_or_one_twice_is_refused(root: Path) -> None:
    path = root / "val_domain.txt"
    path.write_text("point_20_view_0\nimage7.png\n")
    with pytest.raises(BadInput, match=r"val_domain.txt has the line 'image7.png': name a view as point_P_view_V"):
        taskonomy()
    path.write_text("point_20_view_0\nrgb/point_20_view_0\n")
    with pytest.raises(BadInput, match="names point_20_view_0 twice: name each view once"):
        taskonomy()


def test_colours_are_no_depths(root: Path) -> None:
    picture(root / "edge_texture" / "point_3_view_0_domain_edge_texture.png", 0, (32, 32))
    with pytest.raises(BadInput, match="holds pixels of type 'RGB', not one whole number for each pixel"):
        taskonomy()
