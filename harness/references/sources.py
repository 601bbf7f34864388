"""The files of code that a reference depends on, found without running any of it."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

INSTALLED = ("site-packages", "dist-packages")
OURS = ("attacks", "defenses", "harness", "app")
HOME = Path(__file__).resolve().parents[2]  # where our packages stand side by side


@dataclass(frozen=True)
class Reached:
    """The imports of a file of code, lazy ones included.

    Attributes:
        files: itself and those that belong to no installed package, wherever on the path they lie,
            in a stable order.
        packages: the installed packages, by the name they are imported by, and their versions.
    """

    files: Sequence[Path]
    packages: Mapping[str, str]


def reached(start: Path, folder: Path | None = None) -> Reached:
    """A file of Python and all that it imports; the standard library belongs to the version of
    Python.

    Args:
        folder: where its top-level imports are looked up first; the folder of its outermost package
            if None. Then the path is searched. Of an installed package that is the start, its own
            modules are followed.
    """
    root = folder or _above_packages(start)
    own = start.relative_to(root).parts[0].removesuffix(".py") if _is_installed(root) else None
    found: dict[Path, None] = {}
    packages: dict[str, str] = {}
    left = [(start, root)]
    while left:
        path, root = left.pop()
        if path in found:
            continue
        found[path] = None
        for parts in _imported(path, root):
            place = _place(root, parts)
            if place == HOME and parts[0] in OURS:
                continue  # the version of the harness stands for them
            if place is not None and (not _is_installed(place) or parts[0] == own):
                left += [(each, place) for each in _files(place, parts)]
            elif parts[0] not in sys.stdlib_module_names:
                packages[parts[0]] = _version(parts[0])
    return Reached(sorted(found), dict(sorted(packages.items())))


def located(module: str) -> Path | None:
    """The file of a module by its dotted name, found on the path."""
    parts = tuple(module.split("."))
    for entry in sys.path:
        files = [
            file
            for file in _files(Path(entry or "."), parts)
            if file.stem == parts[-1] or file.parent.name == parts[-1]
        ]
        if files:
            return files[-1].resolve()
    return None


def _place(root: Path, parts: tuple[str, ...]) -> Path | None:
    """The first folder, that of the importing file before those of the path, that has the module or
    package.
    """
    places = [root, *(Path(entry or ".").resolve() for entry in sys.path)]
    return next((place for place in places if parts and _files(place, parts[:1])), None)


def _is_installed(place: Path) -> bool:
    return bool(set(place.parts) & set(INSTALLED)) or place.resolve() == Path(ast.__file__).resolve().parent


@cache
def _version(package: str) -> str:
    """The version of the package that a name imports; empty where no installed package has it."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:  # imported by another name than it is installed by
        names = _distributions().get(package, ())
        return " ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names)))


@cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


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


def meaning(path: Path) -> bytes:
    """The contents that identify a file of code: for Python its syntax, so layout and docstrings
    are free; otherwise every byte.
    """
    content = path.read_bytes()
    try:
        return repr(_syntax(ast.parse(content))).encode()
    except (SyntaxError, ValueError, RecursionError):
        return content


def _syntax(node: Any) -> Any:
    """A syntax tree as nested tuples, without empty fields, in which versions of Python differ."""
    if isinstance(node, list):
        return tuple(_syntax(each) for each in node if not _is_a_bare_text(each))
    if not isinstance(node, ast.AST):
        return node
    parts = (
        (name, _syntax(value))
        for name, value in ast.iter_fields(node)
        if isinstance(node, ast.Constant) or value not in (None, [])
    )
    return type(node).__name__, *parts


def _is_a_bare_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _suffixes() -> tuple[str, ...]:
    return (".py", *EXTENSION_SUFFIXES)


def _files(root: Path, parts: tuple[str, ...]) -> list[Path]:
    """The module of that name under the root, and its packages; a folder without ``__init__.py`` is
    a package, too.
    """
    stems = [root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    places = [stem.parent / f"{stem.name}{suffix}" for stem in stems for suffix in _suffixes()]
    places += [stem / "__init__.py" for stem in stems]
    return [place for place in places if place.is_file()]
