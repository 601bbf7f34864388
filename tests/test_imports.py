"""No module imports itself through others, and what has a name is reached by its name."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from harness.references.registry import FLOORS

ROOT = Path(__file__).parents[1]
PACKAGES = ("attacks", "defenses", "harness", "app")


def modules(root: Path) -> dict[str, Path]:
    """The file of each module under the packages in a folder, by dotted name."""
    files = [file for package in PACKAGES for file in sorted((root / package).rglob("*.py"))]
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imported(name: str, file: Path) -> Iterator[str]:
    """The dotted names that a module imports: for type checking and inside functions, too."""
    package = name.split(".") if file.stem == "__init__" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def registered() -> dict[str, str]:
    """The dotted name of every registered object, and of its module, with the room of the module.

    The modules of a room may import each other.
    """
    catalogues = [importlib.import_module(floor).CATALOGUE for floor in FLOORS]
    places = [place for catalogue in catalogues for names in catalogue.values() for place in names.values()]
    found = {}
    for place in places:
        module, _, thing = place.partition(":")
        room = ".".join(module.split(".")[: 2 if module.startswith("harness.") else 1])
        found |= {module: room, f"{module}.{thing}": room}
    return found


def graph(root: Path) -> dict[str, set[str]]:
    """For each module, the modules that it imports."""
    files = modules(root)

    def module_of(name: str) -> str:
        while name and name not in files:
            name = name.rpartition(".")[0]
        return name

    return {name: {module_of(each) for each in imported(name, file)} - {name, ""} for name, file in files.items()}


def circle(imports: dict[str, set[str]]) -> list[str]:
    """The modules of an import circle, the first one again at the end; empty if there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_through_others() -> None:
    imports = graph(ROOT)
    assert "harness.api" in imports["harness"] and "harness.version" in imports["harness.gates.outputs"]
    assert not circle(imports)


@pytest.mark.parametrize(
    "back",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from attacks import first",
        "def late():\n    import attacks.first",
        "from . import first",
        "from .first import thing",
    ],
    ids=["for type checking", "inside a function", "relative", "relative, by its module"],
)
def test_a_circle_is_found(tmp_path: Path, back: str) -> None:
    folder = tmp_path / "attacks"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "first.py").write_text("from attacks.second import thing")
    (folder / "second.py").write_text(back)
    assert set(circle(graph(tmp_path))) == {"attacks.first", "attacks.second"}


def test_what_is_registered_is_reached_by_its_name() -> None:
    """Outside of its room, no module imports a registered object. Studies name their models, and
    defences are built on models.
    """
    named = registered()
    assert {"attacks.presets.STANDARD", "attacks.fgsm", "attacks.blackbox.BlackBox"} <= named.keys()
    broken = [
        f"{name} imports {each}"
        for name, file in modules(ROOT).items()
        for each in imported(name, file)
        if each in named and not f"{name}.".startswith((f"{named[each]}.", "harness.reproduce.", "defenses."))
    ]
    assert not broken


def test_no_test_imports_from_a_test_module() -> None:
    """Shared helpers stand in modules of their own; code in strings counts, too."""
    place = re.compile(r"\btests(\.\w+)*\.test_\w")
    assert not [file for file in (ROOT / "tests").rglob("*.py") if place.search(file.read_text())]
