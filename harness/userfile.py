"""Code from outside: a user's file or module, loaded so that neither side shadows the other.

The folder a user stands in may have its own ``models/``, ``attacks/``, ``app.py`` or ``utils.py``. Ours are
loaded first, with that folder at the end of the path. A user's file named on the command line gets its
own packages for its top-level imports, and again whenever its objects are called from here.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from attacks.errors import BadInput, unknown

OURS = ("attacks", "defenses", "harness", "app")
for _package in OURS:  # all of them now, before a user's folder can come first on the path
    importlib.import_module(_package)

_LOADED: dict[Path, ModuleType] = {}
_THEIRS: dict[Path, dict[str, ModuleType]] = {}


def load_object(kind: str, text: str) -> Any:
    """The object that ``package.module:object`` or ``path/to/file.py:object`` names.

    Raises:
        BadInput: no such file, module or object, a module that fails to import, or a clash of names.
    """
    place, _, attribute = text.rpartition(":")
    module = _load_file(kind, text, Path(place)) if place.endswith(".py") else _load_module(kind, text, place)
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise BadInput(f"{kind} {text!r}: {unknown('object', attribute, public, where=f' in {place}')}")
    return getattr(module, attribute)


@contextmanager
def own_packages(folder: Path) -> Iterator[None]:
    """Inside, the folder is first on the path, and its packages stand before ours of the same name."""
    clashing = [name for name in OURS if name != "harness" and _has(folder, name) and not _is_ours(folder / name)]
    ours = _taken_out(clashing)
    sys.modules.update(_THEIRS.get(folder) or _bare_packages(folder, clashing))
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _THEIRS[folder] = _taken_out(clashing)
        sys.modules.update(ours)


def folder_of(source: str | None) -> Path | None:
    """The folder of a file that was loaded by path; None for anything else."""
    path = Path(source).resolve() if source else None
    return path.parent if path in _LOADED else None


def _load_file(kind: str, text: str, place: Path) -> ModuleType:
    path = place.resolve()
    if not path.is_file():
        raise BadInput(f"{kind} {text!r}: there is no file {place}; a reference reads path/to/file.py:object")
    if _has(path.parent, "harness") and not _is_ours(path.parent / "harness"):
        raise BadInput(f"{kind} {text!r}: the folder {path.parent} has a 'harness' of its own, which hides ours: rename it")
    if path not in _LOADED:
        name = f"harness_user_{len(_LOADED)}_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        with own_packages(path.parent):
            _run(kind, text, lambda: spec.loader.exec_module(module))
        _LOADED[path] = module
    return _LOADED[path]


def _load_module(kind: str, text: str, place: str) -> ModuleType:
    top = place.split(".")[0]
    if top in OURS and _has(Path.cwd(), top) and not _is_ours(Path.cwd() / top):
        raise BadInput(f"{kind} {text!r}: {top!r} is also a package of the harness: name yours by its file, {top}/….py:object")
    found: list[ModuleType] = []
    _run(kind, text, lambda: found.append(importlib.import_module(place)))
    return found[0]


def _run(kind: str, text: str, action: Any) -> None:
    try:
        action()
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{kind} {text!r} cannot be imported: {type(error).__name__}: {error}") from error


def _has(folder: Path, name: str) -> bool:
    return (folder / name).is_dir() or (folder / f"{name}.py").is_file()


def _is_ours(folder: Path) -> bool:
    return any(Path(path).resolve() == folder.resolve() for path in sys.modules[folder.name].__path__)


def _bare_packages(folder: Path, names: list[str]) -> dict[str, ModuleType]:
    """Folders without ``__init__.py``, as packages: the import system would prefer ours to them."""
    packages = {}
    for name in names:
        if (folder / name).is_dir() and not (folder / name / "__init__.py").is_file():
            packages[name] = ModuleType(name)
            packages[name].__path__ = [str(folder / name)]
    return packages


def _taken_out(names: list[str]) -> dict[str, ModuleType]:
    """Remove the named packages and all their modules from `sys.modules`, and return them."""
    keys = [key for key in sys.modules if key.split(".")[0] in names]
    return {key: sys.modules.pop(key) for key in keys}
