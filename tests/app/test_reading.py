"""Runs found, tables queried and tensors read, wherever they lie."""

from pathlib import Path

import fsspec
import pytest
import torch
from safetensors.torch import save_file

from app.frontier import frontiers
from app.queries import rows
from app.runs import found
from app.tensors import read
from attacks.errors import BadInput
from tests.app.conftest import JOINT, Opened, words

COUNT = (
    "select model, scenario, count(*) as n, max(strength) as most from ledger where status = ? group by all order"
    " by all"
)


@pytest.fixture
def afar(real: Path) -> str:
    """The same runs on another file system."""
    files = fsspec.filesystem("memory")
    files.put(str(real / "first"), "/afar/runs/first", recursive=True)
    return "memory://afar/runs"


def test_runs_below_a_folder_are_found_with_different_labels(real: Path, tmp_path: Path) -> None:
    for place in ("a/first", "b/deep/first"):
        (tmp_path / place).mkdir(parents=True)
        for file in ("run.json",):
            (tmp_path / place / file).write_bytes((real / "first" / file).read_bytes())
    (tmp_path / "notes").mkdir()
    assert [run.label for run in found([str(tmp_path)])] == ["a/first", "deep/first"]
    assert [run.label for run in found([str(real), str(real / "first")])] == ["first"]


def test_a_query_answers_the_same_from_another_file_system(real: Path, afar: str) -> None:
    (here,), (there,) = found([str(real)]), found([afar])
    assert here.local and not there.local
    assert rows(here, COUNT, ("ok",)) == rows(there, COUNT, ("ok",)) != []


@pytest.mark.parametrize("page", ["overview", "worst", "samples"])
def test_pages_of_another_file_system(afar: str, opened: Opened, page: str) -> None:
    test = opened(afar, page)
    assert not test.exception and not test.error and "skipped" not in words(test)
    assert test.get("plotly_chart")


def test_one_tensor_is_read_without_the_others(tmp_path: Path) -> None:
    tensors = {"a|x": torch.arange(6.0).reshape(2, 3), "b|x": torch.ones(2, dtype=torch.float16), "c": torch.tensor(3)}
    save_file(tensors, tmp_path / "t.safetensors")
    files = fsspec.filesystem("file")
    found = read(files, str(tmp_path / "t.safetensors"), lambda key: key != "b|x")
    assert set(found) == {"a|x", "c"} and all(torch.equal(found[key], tensors[key]) for key in found)
    assert read(files, str(tmp_path / "absent"), bool) == {}
    (tmp_path / "t.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(BadInput, match=r"t.safetensors is damaged"):
        read(files, str(tmp_path / "t.safetensors"), bool)


def test_the_rays_of_a_frontier_are_found() -> None:
    rays = [f"a@linf:{1 / ratio if ratio > 1 else 1} + b@l2:{min(1, ratio)}" for ratio in (0.25, 0.5, 1, 2, 4)]
    pairs = frontiers([*rays, "a@linf:1", "b@l2:0.5", "a@l2:1", JOINT, "a@linf:1 + c@l2:1"])
    assert list(pairs) == ["a (linf) and b (l2)"]
    assert str(pairs["a (linf) and b (l2)"][0]) == "a@linf:1" and str(pairs["a (linf) and b (l2)"][-1]) == "b@l2:0.5"
    assert len(pairs["a (linf) and b (l2)"]) == 7
