"""Answers spelled byte by byte: one vocabulary of tokens for the texts of every language."""

from __future__ import annotations

from collections.abc import Sequence

END = 0  # the byte that no text holds
BYTES = 256


def encoded(text: str) -> list[int]:
    """The tokens of a text, the bytes of its UTF-8 form.

    >>> encoded("no é")
    [110, 111, 32, 195, 169]
    """
    return list(text.replace("\0", " ").encode())


def spelled(tokens: Sequence[int]) -> str:
    """The text of bytes, without `END`; bytes that form no letter become U+FFFD.

    >>> spelled([*encoded("no é"), END])
    'no é'
    """
    return bytes(token for token in tokens if token != END).decode(errors="replace")
