"""Code from outside: a user's file or module, loaded so that neither side shadows the other.

The current folder of a user may have its own ``models/``, ``attacks/``, ``app.py`` or ``utils.py``.
Ours are loaded first, with that folder at the end of the path. A user's file named on the command
line gets its own packages for its top-level imports, and again whenever its objects are called from
here; two files in different folders never see each other's.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from attacks.errors import BadInput, unknown
from harness.references.sources import INSTALLED, OURS, reached
from harness.storage.files import path_of

# now, before a user's folder can come first on the path
_packages = {name: importlib.import_module(name) for name in OURS}
CALLS = ("forward", "encode", "fuse")

_LOADED: dict[Path, ModuleType] = {}
_THEIRS: dict[Path, dict[str, ModuleType]] = {}
_ELSEWHERE: dict[Path, Path] = {}
_READ: dict[Path, dict[Path, tuple[int, int] | None]] = {}
_ACTIVE: list[Path] = []


@dataclass(frozen=True)
class Defaults:
    """The default dtype and device of torch, and the current folder; code from outside has its
    own.
    """

    dtype: torch.dtype
    device: torch.device
    folder: str

    @staticmethod
    def now() -> Defaults:
        return Defaults(torch.get_default_dtype(), torch.get_default_device(), _current())

    def set(self) -> None:
        if self.folder and self.folder != _current():
            with suppress(OSError):  # a folder that was removed
                os.chdir(self.folder)
        torch.set_default_dtype(self.dtype)
        if torch.get_default_device() != self.device:
            torch.set_default_device(self.device)


def _current() -> str:
    """The current folder; empty where it no longer exists."""
    try:
        return os.getcwd()  # noqa: PTH109 - it may have been removed
    except OSError:
        return ""


_DEFAULTS: dict[Path, Defaults] = {}


@dataclass(frozen=True)
class Found:
    """The object of a reference, its file, and the file's folder if the reference names a path."""

    target: Any
    source: str | None
    folder: Path | None


def load_object(kind: str, text: str) -> Found:
    """The object that ``package.module:object`` or ``path/to/file.py:object`` names.

    Raises:
        BadInput: no such file, module or object, a module that fails to import, or a clash of
            names.
    """
    place, _, attribute = text.rpartition(":")
    by_path = place.endswith(".py")
    module = _load_file(kind, text, Path(place)) if by_path else _load_module(kind, text, place)
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise BadInput(f"{kind} {text!r}: {unknown('object', attribute, public, where=f' in {place}')}")
    source = module.__file__ if hasattr(module, "__file__") else None
    return Found(
        getattr(module, attribute), source, Path(module.__file__ or place).resolve().parent if by_path else None
    )


@contextmanager
def own_packages(folder: Path) -> Iterator[None]:
    """Inside the block, the folder is first on the path, and its modules come before others of the
    same name.

    At the end, modules from the folder leave `sys.modules`; the next time they are put back.
    """
    if _ACTIVE[-1:] == [folder]:
        yield
        return
    hidden = _taken_out(_hidden(folder))
    theirs = _THEIRS.setdefault(folder, _bare_packages(folder, _clashing(folder)))
    ours, own, gradients = Defaults.now(), _DEFAULTS.get(folder), torch.is_grad_enabled()
    if own is not None and own != ours:
        own.set()
    sys.modules.update(theirs)
    before = frozenset(sys.modules)
    sys.path.insert(0, str(folder))
    _ACTIVE.append(folder)
    try:
        yield
    finally:
        _ACTIVE.pop()
        sys.path.remove(str(folder))
        _DEFAULTS[folder] = Defaults.now()
        if _DEFAULTS[folder] != ours:
            ours.set()
        torch.set_grad_enabled(gradients)
        new = (sys.modules.keys() - before) if len(sys.modules) != len(before) else ()
        for name in {*theirs, *(name for name in new if _lies_in(sys.modules[name], folder))} & sys.modules.keys():
            theirs[name] = sys.modules.pop(name)
        sys.modules.update(hidden)


def inside(folder: Path, module: Any) -> None:
    """Let a model's calls see the packages of its own folder, for imports at run time."""
    for name in CALLS:
        if hasattr(module, name) and not isinstance(module, torch.jit.ScriptModule):
            # a partial follows its module when copied
            setattr(module, name, partial(_inside, folder, getattr(module, name)))


def _inside(folder: Path, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    with own_packages(folder):
        return method(*arguments, **named)


def beneath(
    method: Callable[..., Any], change: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[..., Any]:
    """A model's call, changed beneath the wrapper of `inside`."""
    if isinstance(method, partial) and method.func is _inside:
        folder, own = method.args
        return partial(_inside, folder, change(own))
    return change(method)


def is_our_own(path: Path) -> bool:
    """Whether a file belongs to the harness."""
    return any(
        path.resolve().is_relative_to(Path(place).resolve()) for name in OURS for place in _packages[name].__path__
    )


@cache
def _clashing(folder: Path) -> tuple[str, ...]:
    """Our packages of which the folder has its own."""
    return tuple(name for name in OURS if name != "harness" and _has(folder, name) and not _is_ours(folder / name))


@cache
def _top_level(folder: Path) -> frozenset[str]:
    """The names of the modules that stand in a folder."""
    return frozenset(each.stem for each in folder.iterdir() if each.suffix == ".py" or each.is_dir())


def _hidden(folder: Path) -> list[str]:
    """Loaded modules of a name the folder has too: ours, and those of any other folder of a
    user.
    """
    same = [name for name in _top_level(folder) if name in sys.modules and name not in OURS]
    others = [name for name in same if name not in sys.stdlib_module_names]
    return [*_clashing(folder), *(name for name in others if _is_of_another_folder(sys.modules[name], folder))]


def _is_of_another_folder(module: ModuleType, folder: Path) -> bool:
    """Whether a module is a user's (neither ours nor installed) and does not stand right in the
    folder.
    """
    return _lies_in(module, Path("/")) and not _lies_in(module, folder, at_top=True)


def _lies_in(module: ModuleType, folder: Path, at_top: bool = False) -> bool:
    """Whether a module's code is the folder's: under it (`at_top`: right in it), and neither ours
    nor installed.
    """
    place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    if place is None or not (path := Path(place)).is_relative_to(folder) or is_our_own(path):
        return False
    parts = path.relative_to(folder).parts
    return not set(parts) & set(INSTALLED) and (not at_top or len(parts) == 1 or parts[1:] == ("__init__.py",))


def stand_for(files: Mapping[str, Path]) -> None:
    """From now on, use these files, and no others, in place of the files that a run from another
    folder names.
    """
    _ELSEWHERE.clear()
    _ELSEWHERE.update({Path(place): path for place, path in files.items()})


def _load_file(kind: str, text: str, place: Path) -> ModuleType:
    path = path_of(str(_ELSEWHERE.get(place, place)))
    if not path.is_file():
        raise BadInput(f"{kind} {text!r}: there is no file {place}; a reference reads path/to/file.py:object")
    if _has(path.parent, "harness") and not _is_ours(path.parent / "harness"):
        raise BadInput(
            f"{kind} {text!r}: the folder {path.parent} has a 'harness' of its own, which hides this package: rename it"
        )
    if path in _LOADED and _READ[path] != _state(_READ[path]):  # edited since: run the code that is hashed
        del _LOADED[path]
        _THEIRS.pop(path.parent, None)
    if path not in _LOADED:
        name = f"harness_user_{len(_LOADED)}_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        with own_packages(path.parent):
            _run(kind, text, lambda: spec.loader.exec_module(module))
        _LOADED[path] = module
        _READ[path] = _state(reached(path, path.parent).files)
    return _LOADED[path]


def _state(files: Iterable[Path]) -> dict[Path, tuple[int, int] | None]:
    """When each file was last written, and its size; None of one that is gone."""
    return {file: (file.stat().st_mtime_ns, file.stat().st_size) if file.is_file() else None for file in files}


def _load_module(kind: str, text: str, place: str) -> ModuleType:
    top = place.split(".")[0]
    if top in OURS and _has(Path.cwd(), top) and not _is_ours(Path.cwd() / top):
        raise BadInput(
            f"{kind} {text!r}: {top!r} is also a package of the harness: name yours by its file, {top}/….py:object"
        )
    found: list[ModuleType] = []
    _run(kind, text, lambda: found.append(importlib.import_module(place)))
    return found[0]


def _run(kind: str, text: str, action: Any) -> None:
    before, gradients = Defaults.now(), torch.is_grad_enabled()
    try:
        action()
    except BadInput:
        raise
    except (Exception, SystemExit) as error:  # a script that is no module runs and ends the program
        raise BadInput(f"{kind} {text!r} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        torch.set_grad_enabled(gradients)
        if not _ACTIVE:  # else they are their folder's
            before.set()


def _has(folder: Path, name: str) -> bool:
    return (folder / name).is_dir() or (folder / f"{name}.py").is_file()


def _is_ours(folder: Path) -> bool:
    return any(Path(path).resolve() == folder.resolve() for path in _packages[folder.name].__path__)


def _bare_packages(folder: Path, names: Sequence[str]) -> dict[str, ModuleType]:
    """Folders without ``__init__.py``, as packages: the import system would prefer ours to them."""
    packages = {}
    for name in names:
        if (folder / name).is_dir() and not (folder / name / "__init__.py").is_file():
            packages[name] = ModuleType(name)
            packages[name].__path__ = [str(folder / name)]
    return packages


def _taken_out(names: list[str]) -> dict[str, ModuleType]:
    """Remove the named packages and all their modules from `sys.modules`, and return them."""
    keys = [key for key in sys.modules if key.split(".")[0] in names] if names else []
    return {key: sys.modules.pop(key) for key in keys}
