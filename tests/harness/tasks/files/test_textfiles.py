"""Text of data sets: one content in every encoding with a mark, or one sentence with the file's
name.
"""

from pathlib import Path

import pytest

from attacks.errors import BadInput
from harness.tasks.files.textfiles import read_lines, read_rows, read_text, read_xml

CONTENT = 'id,"say, ""so"""\n1,Zürich\n'
ROWS = [["id", 'say, "so"'], ["1", "Zürich"]]
ENCODED = {
    "plain": CONTENT.encode(),
    "mark": CONTENT.encode("utf-8-sig"),
    "CRLF": CONTENT.replace("\n", "\r\n").encode(),
    "mark and CRLF": CONTENT.replace("\n", "\r\n").encode("utf-8-sig"),
    "old Mac": CONTENT.replace("\n", "\r").encode(),
    "UTF-16 little": b"\xff\xfe" + CONTENT.encode("utf-16-le"),
    "UTF-16 big": b"\xfe\xff" + CONTENT.encode("utf-16-be"),
    "UTF-32": CONTENT.encode("utf-32"),
    "blank rows": CONTENT.replace("\n", "\n\n \n,\n").encode(),
    "no last line end": CONTENT.rstrip("\n").encode(),
}
REFUSED = {
    "byte fc at position .* is not utf-8; save the file as UTF-8": CONTENT.encode("latin-1"),
    "line 1 holds a NUL; save": CONTENT.replace("ü", "u").encode("utf-16-le"),
    "line 2 holds a NUL": b"a\n\0b",
    "line 3 holds a byte order mark; save": CONTENT.encode() + CONTENT.encode("utf-8-sig"),
    "line 1 holds a byte order mark": b"\xef\xbb\xbf" * 2 + CONTENT.encode(),
    "is not utf-16": b"\xff\xfea",
}


@pytest.mark.parametrize("name", ENCODED)
def test_one_content_is_one_text(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(ENCODED[name])
    assert read_rows(tmp_path / "x.csv") == ROWS
    if name != "blank rows":
        assert read_text(tmp_path / "x.csv").rstrip() == CONTENT.rstrip()
        assert read_lines(tmp_path / "x.csv") == CONTENT.split("\n")[:2]


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_no_text_is_one_sentence(said: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(REFUSED[said])
    with pytest.raises(BadInput, match=rf"x\.csv cannot be read: .*{said}"):
        read_text(tmp_path / "x.csv")


def test_a_quotation_without_end_and_a_missing_file_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('a,"b\nc')
    for path, said in (
        (tmp_path / "x.csv", "as CSV"),
        (tmp_path / "y.csv", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(BadInput, match=f"{path.name} cannot be read.*{said}"):
            read_rows(path)


XML = '<?xml version="1.0" encoding="{0}"?><annotation><path>Blüt</path></annotation>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_xml_is_read_as_it_declares_itself(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_bytes(XML.format(encoding.removesuffix("-sig")).encode(encoding))
    assert read_xml(tmp_path / "x.xml", "annotation").findtext("path") == "Blüt"


@pytest.mark.parametrize(
    ("said", "content"),
    {
        "is not a file of <annotation>: its root is <Error>; fetch": b"<Error><Code>NoSuchKey</Code></Error>",
        "is not a file of <annotation>: its root is <html>": b"<html><annotation/></html>",
        "is not a file of <annotation>: its root is <{urn:x}annotation>": b'<annotation xmlns="urn:x"/>',
        "has elements in a namespace, such as '{urn:x}object'": b'<annotation xmlns:v="urn:x"><v:object/></annotation>',
        "cannot be read: no element found.*fetch": b"",
        "cannot be read: not well-formed": "<annotation><path>Blüt</path></annotation>".encode("latin-1"),
        "cannot be read: .*multi-byte": b'<?xml version="1.0" encoding="Shift_JIS"?><annotation/>',
        "cannot be read: unknown encoding": b'<?xml version="1.0" encoding="klingon"?><annotation/>',
        "cannot be read: unclosed token": b"<annotation><ob",
    }.items(),
)
def test_what_is_no_such_xml_is_one_sentence(said: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_bytes(content)
    with pytest.raises(BadInput, match=rf"x\.xml.*{said}"):
        read_xml(tmp_path / "x.xml", "annotation")
