"""A hash of the code behind an object as it is now: in a file, in a notebook, or made by other
code.

The hash of a file does not see a class that was redefined in a notebook, nor a constant that was
changed from outside.
"""

from __future__ import annotations

import copyreg
import hashlib
import inspect
import io
import random
import re
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.references.sources import INSTALLED
from harness.references.userfile import is_our_own
from harness.storage.tensorfile import as_bytes

PLAIN = (str, bytes, int, float, complex, type(None), type(...), torch.dtype, torch.device)
PICKLED = 2  # the protocol of pickle by which every object gives its values
PICKLERS: Mapping[type, Any] = copyreg.dispatch_table
OF_DATA = ("pandas", "scipy", "sklearn", "pyarrow", "polars", "xgboost", "lightgbm")  # their objects hold data
ELSEWHERE = (Iterator, random.Random, PurePath)  # they change as they are used, or with the folder
Seen = dict[int, Any]  # by id, and held: the id of an object that is gone is given to another
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
OF_EVERY_MODULE = frozenset(vars(nn.Module()))
MANGLED = re.compile(rb"(?:\.|/)?___torch_mangle_\d+")  # how torch tells classes of one name apart
FUNCTIONS = (types.FunctionType, types.MethodType, staticmethod, classmethod, property, cached_property, partial)


def code_behind(*things: Any) -> str:
    """SHA-256 of the code of functions, of classes and of the classes of objects, with the globals
    and closures it refers to.

    Installed code and our own code count by name: their versions are stored elsewhere.
    """
    digest, seen = hashlib.sha256(), Seen()
    for part in (each for thing in things for each in _parts(thing, seen)):
        digest.update(f"{len(part)} ".encode() + part)
    return digest.hexdigest()


def model_code(module: nn.Module) -> str:
    """The same for a model: the classes of all its modules, its functions and hooks, and what it
    holds as TorchScript.
    """
    classes = sorted({type(each) for each in module.modules()}, key=lambda kind: (kind.__module__, kind.__qualname__))
    held = [
        value for each in module.modules() for _, value in sorted(vars(each).items()) if isinstance(value, FUNCTIONS)
    ]
    hooks = [hook for each in module.modules() for name in HOOKS for hook in getattr(each, name, {}).values()]
    return code_behind(*classes, *held, *hooks, *map(_archive, _scripts(module)))


def layer_values(module: nn.Module, built: bool) -> str:
    """SHA-256 of the plain values that layers of installed classes hold, such as the threshold of
    `nn.Threshold`.

    Args:
        built: whether the model was built for this run. Installed layers other than those of torch
            may keep counts of what they answered.
    """
    held = [
        {name: value for name, value in vars(each).items() if name not in OF_EVERY_MODULE and _is_plain(value)}
        for each in module.modules()
        if not _is_theirs(type(each)) and (built or type(each).__module__.startswith("torch.nn."))
    ]
    return code_behind(held)


def _is_plain(value: object) -> bool:
    return all(isinstance(each, PLAIN) for each in (value if isinstance(value, tuple | list) else [value]))


def _scripts(module: nn.Module) -> list[torch.jit.ScriptModule]:
    """The modules of TorchScript that are no part of another."""
    found = [each for each in module.modules() if isinstance(each, torch.jit.ScriptModule)]
    inner = {id(part) for each in found for part in each.modules() if part is not each}
    return [each for each in found if id(each) not in inner]


def _archive(script: torch.jit.ScriptModule) -> str:
    """SHA-256 of the code and the attributes of a module of TorchScript, without what differs each
    time that it is saved or loaded.
    """
    digest = hashlib.sha256()
    with zipfile.ZipFile(io.BytesIO(script.save_to_buffer())) as archive:
        for path in sorted(archive.namelist()):
            name = path.partition("/")[2]
            if not name.endswith((".debug_pkl", "serialization_id", "version")):
                digest.update(MANGLED.sub(b"", name.encode() + b"\0" + archive.read(path)))
    return digest.hexdigest()


def model_values(module: nn.Module) -> str:
    """SHA-256 of the values that a model's modules of users' classes hold beside parameters and
    buffers, such as a threshold that was read from a file; empty where there are none.

    A module may change them as it answers: they are comparable while it has not answered yet.
    """
    held = [
        {name: value for name, value in vars(each).items() if name not in OF_EVERY_MODULE}
        for each in module.modules()
        if _is_theirs(type(each))
    ]
    return code_behind(held) if any(held) else ""


def _parts(thing: Any, seen: Seen) -> Iterator[bytes]:
    """The pieces that identify an object."""
    if isinstance(thing, PLAIN):
        yield f"{type(thing).__name__} {thing!r}".encode()
        return
    if id(thing) in seen:
        return
    seen[id(thing)] = thing
    if isinstance(thing, Tensor | np.ndarray | np.generic):
        yield from _numbers(thing, seen)
    elif isinstance(thing, FUNCTIONS):
        yield from _function(thing, seen)
    elif isinstance(thing, type):
        yield from _class(thing, seen)
    elif isinstance(thing, Mapping):
        yield from (part for key, value in thing.items() for part in (*_parts(key, seen), *_parts(value, seen)))
    elif isinstance(thing, list | tuple | frozenset | set):
        ordered = sorted(thing, key=repr) if isinstance(thing, frozenset | set) else thing
        yield from (part for value in ordered for part in _parts(value, seen))
    elif isinstance(thing, nn.Module):
        yield from (part for each in thing.modules() for part in _parts(type(each), seen))
        yield from (part for value in thing.state_dict().values() for part in _parts(value, seen))
    elif isinstance(thing, types.BuiltinFunctionType):
        yield from _parts(None if isinstance(thing.__self__, types.ModuleType) else thing.__self__, seen)
    elif not isinstance(thing, types.ModuleType):
        yield from _parts(type(thing), seen)
        yield from _parts(_state(thing), seen)


def _state(thing: Any) -> list[Any]:
    """The values that an object of a user's or of Python's own class holds, as pickle takes them;
    of a function with a cache, that function.
    """
    kind = type(thing)
    if isinstance(inside := inspect.getattr_static(thing, "__wrapped__", None), FUNCTIONS):
        return [inside]
    root = kind.__module__.split(".")[0]
    if isinstance(thing, memoryview):
        return [bytes(thing)]
    if root in OF_DATA and (values := getattr(thing, "to_pylist", getattr(thing, "to_dict", None))) is not None:
        return [values()]  # of an array of Arrow, or of a table
    if isinstance(thing, ELSEWHERE) or not (root in (*sys.stdlib_module_names, *OF_DATA) or _is_theirs(kind)):
        return []
    try:
        reduced: Any = PICKLERS[kind](thing) if kind in PICKLERS else thing.__reduce_ex__(PICKLED)
    except Exception:  # locks, open files, and users' classes that refuse or fail
        return []
    parts = reduced if isinstance(reduced, tuple) else ()
    return [list(each) if isinstance(each, Iterator) else each for each in parts]


def _numbers(values: Tensor | np.ndarray[Any, Any] | np.generic, seen: Seen) -> Iterator[bytes]:
    yield f"{values.dtype} {tuple(values.shape)}".encode()
    if isinstance(values, Tensor):
        yield as_bytes(values)
    elif values.dtype.hasobject:
        yield from _parts(values.tolist(), seen)
    else:
        yield np.ascontiguousarray(values).tobytes()
        yield np.ma.getmaskarray(values).tobytes() if isinstance(values, np.ma.MaskedArray) else b""


def _function(thing: Any, seen: Seen) -> Iterator[bytes]:
    """Also the wrappers of a function."""
    if isinstance(thing, partial):
        yield from _parts([thing.func, *thing.args, *thing.keywords.values()], seen)
        return
    for name in ("__func__", "func", "fget", "fset", "__wrapped__"):
        if isinstance(inside := getattr(thing, name, None), FUNCTIONS):
            yield from _parts(inside, seen)
    if isinstance(thing, types.MethodType) and not isinstance(thing.__self__, nn.Module):  # its weights count elsewhere
        yield from _parts(thing.__self__, seen)
    if isinstance(thing, types.FunctionType) and _is_theirs(thing):
        yield from _code(thing.__code__, seen)
        yield from _parts([thing.__defaults__, thing.__kwdefaults__, *_enclosed(thing)], seen)
        names = sorted(set(_names(thing.__code__)) & thing.__globals__.keys())
        yield from (part for name in names for part in (name.encode(), *_parts(thing.__globals__[name], seen)))
        modules = [each for name in names if _is_their_module(each := thing.__globals__[name])]
        attributes = sorted(set(_names(thing.__code__)))
        held = [vars(each)[name] for each in modules for name in attributes if name in vars(each)]
        yield from (part for each in held for part in _parts(each, seen))


def _enclosed(function: types.FunctionType) -> list[Any]:
    """The closure of a function; a cell may still be empty."""
    cells = function.__closure__ or ()
    return (
        [inspect.getclosurevars(function).nonlocals.get(name) for name in function.__code__.co_freevars]
        if cells
        else []
    )


def _code(code: types.CodeType, seen: Seen) -> Iterator[bytes]:
    yield code.co_code
    yield repr(code.co_names + code.co_varnames).encode()
    for constant in code.co_consts:
        yield from _code(constant, seen) if isinstance(constant, types.CodeType) else _parts(constant, seen)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


HOUSEKEEPING = {
    "__module__",
    "__doc__",
    "__dict__",
    "__weakref__",
    "__annotations__",
    "__firstlineno__",
    "__static_attributes__",
}


def _class(kind: type, seen: Seen) -> Iterator[bytes]:
    yield kind.__qualname__.encode()
    if not _is_theirs(kind):
        return
    yield from _parts(list(kind.__bases__), seen)
    for name, value in sorted(vars(kind).items()):
        if (
            name not in HOUSEKEEPING
            and not name.startswith("_abc_")
            and (not name.startswith("__") or isinstance(value, (*FUNCTIONS, *PLAIN, type)))
        ):
            yield name.encode()
            yield from _parts(value, seen)


def _is_their_module(thing: Any) -> bool:
    """Whether a module is a user's."""
    file = getattr(thing, "__file__", None) if isinstance(thing, types.ModuleType) else None
    return (
        file is not None
        and not is_our_own(Path(file))
        and not set(Path(file).parts) & set(INSTALLED)
        and (thing.__name__.split(".")[0] not in sys.stdlib_module_names)
    )


def _is_theirs(thing: Any) -> bool:
    """Whether a function or class is a user's: neither of the harness, nor installed, nor of Python
    itself.
    """
    name = getattr(thing, "__module__", None) or ""
    module = sys.modules.get(name)
    code = getattr(thing, "__code__", None)
    file = code.co_filename if code is not None else getattr(module, "__file__", None)
    if name == "__main__" and code is None:
        return True  # of a script or a notebook: its file may be that of an installed runner
    if name.split(".")[0] in sys.stdlib_module_names and name != "__main__":
        return False
    if file is None or not Path(file).is_file():
        return name.split(".")[0] != "builtins" and not (file or "").startswith("<frozen")
    return not is_our_own(Path(file)) and not set(Path(file).parts) & set(INSTALLED)
