"""YAML from outside: data only, of a limited size, and nothing that grows as it is read."""

from __future__ import annotations

from typing import Any

import yaml

from attacks.errors import BadInput, plain

MAX_BYTES, MAX_DEPTH = 65_536, 8


def loaded(content: bytes, where: str) -> Any:
    """What a YAML text says, in plain values; `where` begins the error's sentence.

    Raises:
        BadInput: it is too large, no YAML, has aliases, or is nested too deep.
    """
    if len(content) > MAX_BYTES:
        raise BadInput(f"{where} is larger than {MAX_BYTES} bytes: split it")
    try:
        text = content.decode()
        _refuse_bombs(text, where)
        return _Once(text).get_single_data()
    except BadInput as error:
        raise BadInput(str(error) if str(error).startswith(where) else f"{where}: {error}") from None
    except Exception as error:  # beside YAMLError the constructors raise whatever they meet: IndexError on `!!int ''`
        raise BadInput(f"{where} is not YAML: {plain(str(error))[:300] or type(error).__name__}") from None


class _Once(yaml.SafeLoader):
    """Plain values; of a key that is there twice the last would win unseen."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise BadInput(f"key {plain(twice[0])!r} is there twice, line {node.start_mark.line + 1}: write it once")
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def _refuse_bombs(text: str, where: str) -> None:
    """A few aliases stand for billions of entries, and the time to read nested brackets grows with their square."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise BadInput(f"{where} has an alias (*name): write it out")
        if depth > MAX_DEPTH:
            raise BadInput(f"{where} is nested more than {MAX_DEPTH} deep: write it as docs/ shows")
