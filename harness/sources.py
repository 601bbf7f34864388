"""The files of code that a reference depends on, found without running any of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

INSTALLED = ("site-packages", "dist-packages")


def reached(start: Path, folder: Path | None = None) -> list[Path]:
    """A file of Python and every file it imports from its own side, also lazily, in a stable order.

    Args:
        folder: where its top-level imports are looked up; the folder of its outermost package if None.
            Of an installed package, only its own modules are followed.
    """
    root = folder or _above_packages(start)
    own = start.relative_to(root).parts[0] if set(root.parts) & set(INSTALLED) else None
    found: set[Path] = set()
    left = [start]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += [each for parts in _imported(path, root) if own in (None, parts[0]) for each in _files(root, parts)]
    return sorted(found)


def _above_packages(path: Path) -> Path:
    folder = path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _imported(path: Path, root: Path) -> Iterator[tuple[str, ...]]:
    """The dotted names that a file imports, in parts; one that is no module finds no file later."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # not Python: a compiled module
        return
    package = path.parent.relative_to(root).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            yield from ((*base, alias.name) for alias in node.names)


def _files(root: Path, parts: tuple[str, ...]) -> list[Path]:
    """The module of that name under the root, and its packages."""
    stems = [root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    places = [place for stem in stems for place in (stem.parent / f"{stem.name}.py", stem / "__init__.py")]
    return [place for place in places if place.is_file()]
