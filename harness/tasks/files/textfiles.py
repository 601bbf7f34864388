"""Text files of data sets, read in one way: UTF-8, with or without a byte order mark, any line
ends.
"""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path
from xml.etree import ElementTree

from attacks.errors import BadInput, shown

MARKS = (  # UTF-32 first: its little-endian mark begins as that of UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MARK = "\ufeff"


def read_text(path: Path) -> str:
    r"""The text of a file, lines ending in ``\n``.

    UTF-16 and UTF-32 are read where a byte order mark announces them.

    Raises:
        BadInput: the file cannot be read, is in another encoding, or holds NUL or a byte order mark
            within.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}; put it there again") from None
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8-sig")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        where = f"byte {content[error.start : error.start + 1].hex()} at position {error.start}"
        raise BadInput(
            f"{path} cannot be read: {where} is not {encoding.removesuffix('-sig')}; save the file as UTF-8"
        ) from None
    for sign, what in (("\0", "a NUL"), (MARK, "a byte order mark")):
        if sign in text:
            line = text.count("\n", 0, text.index(sign)) + 1
            raise BadInput(f"{path} cannot be read: line {line} holds {what}; save the file as UTF-8 text without it")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path) -> list[str]:
    """The lines that are not blank, without white space at either end.

    Raises:
        BadInput: see `read_text`.
    """
    return [line.strip() for line in read_text(path).split("\n") if line.strip()]


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a CSV that are not blank.

    Raises:
        BadInput: see `read_text`; or a quotation has no end.
    """
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise BadInput(f"{path} cannot be read as CSV: {error}; save it again, with commas and double quotes") from None
    return [row for row in rows if any(cell.strip() for cell in row)]


def read_xml(path: Path, root: str) -> ElementTree.Element:
    """The root element of an XML file, in the encoding that it declares.

    Args:
        root: the name that the root must have; an error page of a server has another.

    Raises:
        BadInput: the file is damaged, has another root, or elements in a namespace.
    """
    try:
        found = ElementTree.fromstring(path.read_bytes())
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        raise BadInput(f"{path} cannot be read: {error}; fetch it again, or save it as UTF-8") from None
    if found.tag != root:
        raise BadInput(f"{path} is not a file of <{root}>: its root is <{shown(found.tag)[1:-1]}>; fetch it again")
    if strange := [each.tag for each in found.iter() if not isinstance(each.tag, str) or each.tag.startswith("{")]:
        raise BadInput(f"{path} has elements in a namespace, such as {shown(strange[0])}: remove the namespace")
    return found
