"""Files that a decoder reads past, and plain ones beside them."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from attacks.errors import BadInput
from harness.tasks.files.images import read_picture

H, W = 48, 64


def netpbm(magic: bytes, most: int, values: bytes, behind: bytes = b"") -> bytes:
    return magic + b"\n# by hand\n4 2\n" + str(most).encode() + b"\n" + values + behind


def with_cicp(content: bytes, said: bytes) -> bytes:

    chunk = b"cICP" + said
    return content[:33] + len(said).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + content[33:]


def as_png() -> bytes:

    file = io.BytesIO()
    Image.new("RGB", (4, 2), (10, 20, 30)).save(file, "PNG")
    return file.getvalue()


def signed_tiff() -> bytes:

    file = io.BytesIO()
    Image.new("L", (4, 2), 7).save(file, "TIFF", tiffinfo={339: 2})
    return file.getvalue()


VALUES = bytes(range(8))
READ_PAST: dict[str, tuple[Callable[[], bytes], str]] = {
    "signed TIFF": (signed_tiff, "holds signed integers"),
    "PNG in another space": (lambda: with_cicp(as_png(), bytes([9, 16, 0, 1])), "cICP chunk"),
    "two PGM": (lambda: netpbm(b"P5", 255, VALUES, netpbm(b"P5", 255, VALUES)), "goes on after its image"),
    "two PPM": (lambda: netpbm(b"P6", 255, VALUES * 3, netpbm(b"P6", 255, VALUES * 3)), "goes on after its image"),
    "PGM beyond its largest": (lambda: netpbm(b"P5", 5, VALUES), "holds the value 7, but announces 5"),
    "16-bit PGM beyond its largest": (lambda: netpbm(b"P5", 1023, VALUES * 2), "announces 1023 as the largest"),
}
PLAIN_FILES: dict[str, Callable[[], bytes]] = {
    "PNG": as_png,
    "PNG that says sRGB": lambda: with_cicp(as_png(), bytes([1, 13, 0, 1])),
    "PGM": lambda: netpbm(b"P5", 255, VALUES),
    "PGM with a last line": lambda: netpbm(b"P5", 7, VALUES, b"\n"),
    "16-bit PGM": lambda: netpbm(b"P5", 65535, VALUES * 2),
}


@pytest.mark.parametrize("name", READ_PAST)
def test_what_a_decoder_reads_past_is_refused(tmp_path: Path, name: str) -> None:
    make, said = READ_PAST[name]
    (tmp_path / "x").write_bytes(make())
    with pytest.raises(BadInput, match=f"x {said}|x .*{said}"):
        read_picture(tmp_path / "x", (2, 4))


@pytest.mark.parametrize("name", PLAIN_FILES)
def test_what_is_plain_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(PLAIN_FILES[name]())
    assert read_picture(tmp_path / "x", (2, 4)).shape == (3, 2, 4)
