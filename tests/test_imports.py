"""No module imports itself through others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

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
