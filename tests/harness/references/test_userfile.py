"""Code from outside: each folder gets its own modules, and a change in any of them is noticed."""

import copy
import importlib
import sys
from pathlib import Path

import pytest
import torch

from harness.engine.loading import build_model, code_hash, load_model
from harness.references.registry import resolve
from harness.tasks import Task

CPU = torch.device("cpu")
MODEL = """
import torch
import utils
from lib import deep


class Model(torch.nn.Module):
    def forward(self, inputs, present=None):
        import lazy
        return torch.full((len(inputs["x"]), 2), lazy.VALUE + utils.VALUE + deep.VALUE)


def build(task):
    return Model()
"""


def folder_with(folder: Path, value: float) -> Path:
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "__init__.py").write_text("")
    for name in ("utils", "lazy", "lib/deep"):
        (folder / f"{name}.py").write_text(f"VALUE = {value}\n")
    (folder / "model.py").write_text(MODEL)
    return folder / "model.py"


@pytest.fixture
def toy() -> Task:
    return Task.from_arrays({"x": torch.linspace(-1, 1, 60).reshape(20, 3)}, torch.arange(20) % 2)


def test_two_folders_with_modules_of_one_name(elsewhere: Path, toy: Task) -> None:
    before, path = set(sys.modules), list(sys.path)
    files = [folder_with(elsewhere / name, value) for name, value in (("one", 1.0), ("two", 2.0))]
    built = [build_model(f"{file}:build", toy) for file in files]
    assert [module({"x": torch.zeros(1, 3)}).unique().item() for module in built] == [3.0, 6.0]
    assert {
        name for name in set(sys.modules) - before if name.split(".")[0] in ("utils", "lazy", "lib", "model")
    } == set()
    assert sys.path == path


def test_a_copy_is_independent_of_its_model(elsewhere: Path, toy: Task) -> None:
    model = build_model(f"{folder_with(elsewhere / 'one', 1.0)}:build", toy)
    twin = copy.deepcopy(model)
    assert twin.forward.args[1].__self__ is twin


@pytest.mark.parametrize("changed", ["model", "utils", "lazy", "lib/deep", "lib/__init__"])
def test_a_change_in_any_module_a_model_imports_is_noticed(elsewhere: Path, changed: str) -> None:
    file = folder_with(elsewhere / "one", 1.0)
    (elsewhere / "one" / "unrelated.py").write_text("")
    reference = resolve("model", f"{file}:build")
    before = code_hash(reference)
    with (elsewhere / "one" / "unrelated.py").open("a") as other:
        other.write("VALUE = 3\n")
    assert code_hash(reference) == before
    with (elsewhere / "one" / f"{changed}.py").open("a") as other:
        other.write("OTHER = 3\n")
    assert code_hash(reference) != before


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (("import torch", '"""What it is."""\n\nimport torch  # and why'), True),
        (("    return Model()", '    """Build one."""\n\n    return (\n        Model()\n    )'), True),
        (("    return Model()", "    model = Model()\n    return model"), False),
        (("2)", "3)"), False),
        (("+ utils", "- utils"), False),
    ],
)
def test_what_code_means_is_hashed_not_its_layout(elsewhere: Path, change: tuple[str, str], same: bool) -> None:
    file = folder_with(elsewhere / "one", 1.0)
    before = code_hash(resolve("model", f"{file}:build"))
    assert MODEL.count(change[0]) == 1
    file.write_text(MODEL.replace(*change))
    assert (code_hash(resolve("model", f"{file}:build")) == before) == same


def test_a_module_of_the_folder_one_stands_in_hides_no_other(
    elsewhere: Path, toy: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(elsewhere))
    (elsewhere / "utils.py").write_text("VALUE = 7.0\n")
    (elsewhere / "with_utils.py").write_text("import utils\nassert utils.VALUE == 7\n")
    resolve("model", "with_utils:utils")
    assert (
        load_model(f"{folder_with(elsewhere / 'one', 1.0)}:build", toy, CPU).module({"x": torch.zeros(1, 3)}).max() == 3
    )
    assert sys.modules["utils"].VALUE == 7
    for name in ("utils", "with_utils"):
        del sys.modules[name]


@pytest.mark.parametrize("kind", ["file", "package", "folder"])
def test_a_module_left_behind_by_another_folder_hides_none(
    elsewhere: Path, toy: Task, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A notebook that imported its helpers and went on in another folder."""
    left = {"file": "old/utils.py", "package": "old/utils/__init__.py", "folder": "old/utils/other.py"}[kind]
    (elsewhere / left).parent.mkdir(parents=True)
    (elsewhere / left).write_text("VALUE = 7.0\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(elsewhere / "old"))
        old = importlib.import_module("utils")
    monkeypatch.setitem(sys.modules, "utils", old)
    (elsewhere / "here").mkdir()
    monkeypatch.chdir(elsewhere / "here")
    assert (
        load_model(f"{folder_with(elsewhere / 'one', 1.0)}:build", toy, CPU).module({"x": torch.zeros(1, 3)}).max() == 3
    )
    assert sys.modules["utils"] is old


@pytest.mark.parametrize(("seed", "same"), [(3, True), (4, False)])
def test_an_unseeded_build_is_seeded(elsewhere: Path, toy: Task, seed: int, same: bool) -> None:
    (elsewhere / "random_model.py").write_text(RANDOM)
    state = torch.random.get_rng_state()
    hashes = [load_model("random_model.py:build", toy, CPU, each).weights for each in (3, seed)]
    assert (hashes[0] == hashes[1]) == same
    assert torch.equal(torch.random.get_rng_state(), state)


RANDOM = """
import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, inputs, present=None):
        return self.layer(inputs["x"])


def build(task):
    return Model()
"""


@pytest.mark.parametrize("edited", ["model.py", "utils.py", "lazy.py", "lib/deep.py"])
def test_a_file_that_is_edited_is_read_anew(elsewhere: Path, toy: Task, edited: str) -> None:
    """In one process, as in a notebook: the code that runs is the code that is hashed."""
    file = folder_with(elsewhere / "one", 1.0)
    x = {"x": torch.zeros(1, 3)}
    before = load_model(f"{file}:build", toy, CPU)
    answer = before.module(x).unique().item()
    path = elsewhere / "one" / edited
    path.write_text(
        path.read_text().replace("VALUE = 1.0", "VALUE = 11.0").replace("lazy.VALUE +", "10 + lazy.VALUE +")
    )
    after = load_model(f"{file}:build", toy, CPU)
    assert (answer, after.module(x).unique().item()) == (3.0, 13.0)
    assert before.code != after.code
