"""YAML from outside: data only, of a limited size, without parts that grow when they are read."""

from __future__ import annotations

import re
from typing import Any

import yaml

from attacks.errors import BadInput, plain

MAX_BYTES, MAX_DEPTH = 65_536, 8


def loaded(content: bytes, where: str) -> Any:
    """The plain values of a YAML text; `where` begins the error's sentence.

    Raises:
        BadInput: it is too large, is not YAML, has aliases, or is nested too deep.
    """
    if len(content) > MAX_BYTES:
        raise BadInput(f"{where} is larger than {MAX_BYTES} bytes: split it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{where} cannot be read: byte {content[error.start]:02x} at position {error.start} is not utf-8; save the"
            " file as UTF-8"
        ) from None
    try:
        _refuse_bombs(text, where)
        return _Once(text).get_single_data()
    except BadInput as error:
        raise BadInput(str(error) if str(error).startswith(where) else f"{where}: {error}") from None
    except Exception as error:  # beside YAMLError the constructors raise whatever they meet: IndexError on `!!int ''`
        raise BadInput(f"{where} is not YAML: {plain(str(error))[:300] or type(error).__name__}") from None


class _Once(yaml.SafeLoader):
    """Plain values. A key that appears twice is refused: YAML would silently take the last.

    Numbers are those of YAML 1.2: in 1.1, `010` is eight and `1:30` is ninety.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                line = key.start_mark.line + 1
                raise BadInput(f"key {plain(key.value)!r} appears twice, again in line {line}: write it once")
            seen.add(key.value)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def _whole(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(node.value).replace("_", "")
    if re.fullmatch(r"[-+]?0\d+", text):
        raise BadInput(
            f"line {node.start_mark.line + 1}: {node.value} is octal to some readers: write it without the leading zero"
        )
    return int(text, 0)


_NUMBERS = {
    "tag:yaml.org,2002:int": r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o[0-7_]+|[0-9][0-9_]*)",
    "tag:yaml.org,2002:float": r"[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
    r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
}


class _Plain(yaml.SafeDumper):
    """Quotes texts that `_Once` would read as numbers."""


for _side in (_Once, _Plain):
    _side.yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0] not in _NUMBERS]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for _tag, _pattern in _NUMBERS.items():
        _side.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list("-+0123456789."))
_Once.add_constructor("tag:yaml.org,2002:int", _whole)


def written(value: Any) -> str:
    """A value on one line, so that `loaded` reads it back."""
    text: str = yaml.dump(value, Dumper=_Plain, default_flow_style=True)
    return text.removesuffix("...\n").strip()


def _refuse_bombs(text: str, where: str) -> None:
    """Refuse aliases and deep nesting: a few aliases can stand for billions of entries, and the
    time for nested brackets grows with their square.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise BadInput(f"{where} has an alias (*name): write it out")
        if depth > MAX_DEPTH:
            raise BadInput(f"{where} is nested more than {MAX_DEPTH} deep: write it as docs/ shows")
