"""Law 14 for images: one content in every format gives the same pixels; everything else gives one
sentence.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from attacks.errors import BadInput
from harness.tasks.files.images import read_numbers, read_picture, read_sized

H, W = 48, 64
GREY = np.tile((np.arange(W) * 4).astype(np.uint8), (H, 1))
COLOUR = np.stack([GREY, GREY[:, ::-1], GREY // 2], -1)
TURNED = Image.Exif()
TURNED[0x0112] = 3  # upside down


def wide(values: np.ndarray, order: str = ">") -> np.ndarray:
    """The same with 16 bits."""
    return (values.astype(np.uint16) * 257).astype(f"{order}u2")


def save(array: np.ndarray, mode: str | None = None, **options: object) -> Callable[[Path], object]:
    picture = Image.fromarray(array)
    return lambda path: (picture.convert(mode) if mode else picture).save(path, **options)  # type: ignore[arg-type]


def palette(**options: object) -> Callable[[Path], object]:
    return lambda path: Image.fromarray(COLOUR).convert("P", palette=Image.Palette.ADAPTIVE).save(path, **options)  # type: ignore[arg-type]


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(depth: int, kind: int, rows: np.ndarray, *extra: bytes) -> Callable[[Path], object]:
    """A PNG of bit depths and kinds that Pillow does not write; rows as they lie in the file."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, depth, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    content = b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + body + chunk(b"IEND", b"")
    return lambda path: path.write_bytes(content)


def packed(values: np.ndarray, bits: int) -> np.ndarray:
    """Small numbers, several to a byte."""
    planes = [(values >> shift) & 1 for shift in reversed(range(bits))]
    return np.packbits(np.stack(planes, -1).reshape(len(values), -1).astype(np.uint8), axis=1)


def tiff(
    values: np.ndarray, order: str, photometric: int = 1, sample_format: int = 1, turned: int = 1
) -> Callable[[Path], object]:
    """A TIFF of one channel in either byte order."""
    data, mark = values.astype(values.dtype.newbyteorder(order)).tobytes(), b"II*\0" if order == "<" else b"MM\0*"  # type: ignore[call-overload]
    bits = values.dtype.itemsize * 8
    tags = {
        256: W,
        257: H,
        258: bits,
        259: 1,
        262: photometric,
        273: 8,
        274: turned,
        277: 1,
        278: H,
        279: len(data),
        339: sample_format,
    }
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    content = (
        mark + struct.pack(f"{order}I", 8 + len(data)) + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    )
    return lambda path: path.write_bytes(content)


def opaque(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.full((H, W, 1), np.iinfo(values.dtype).max, values.dtype)], 2)


def whole(values: np.ndarray) -> np.ndarray:
    return values if values.ndim == 3 else np.stack([values] * 3, -1)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SAME: dict[str, tuple[Callable[[Path], object], np.ndarray]] = {
    **{f"colour {name}": (save(COLOUR, format=name), COLOUR) for name in ("PNG", "TIFF", "BMP", "PPM")},
    **{f"grey {name}": (save(GREY, format=name), GREY) for name in ("PNG", "TIFF", "BMP", "PPM", "GIF")},
    **{f"palette {name}": (palette(format=name), COLOUR) for name in ("PNG", "GIF", "TIFF", "BMP")},
    "lossless WebP": (save(COLOUR, format="WEBP", lossless=True), COLOUR),
    "LZW TIFF": (save(COLOUR, format="TIFF", compression="tiff_lzw"), COLOUR),
    "CMYK TIFF": (save(COLOUR, "CMYK", format="TIFF"), COLOUR),
    "opaque alpha": (save(opaque(COLOUR), format="PNG"), COLOUR),
    "opaque alpha, WebP": (save(opaque(COLOUR), format="WEBP", lossless=True), COLOUR),
    "opaque alpha of 16 bits": (png(16, 6, wide(opaque(COLOUR))), COLOUR),
    "grey with opaque alpha": (png(8, 4, opaque(GREY[..., None])), GREY),
    "grey of 16 bits with opaque alpha": (png(16, 4, wide(opaque(GREY[..., None]))), GREY),
    "1 bit": (png(1, 0, packed(GREY // 128, 1)), GREY // 128 * 255),
    "2 bits": (png(2, 0, packed(GREY // 64, 2)), GREY // 64 * 85),
    "4 bits": (png(4, 0, packed(GREY // 16, 4)), GREY // 16 * 17),
    "16 bits": (png(16, 0, wide(GREY)), GREY),
    "16 bits in colour": (png(16, 2, wide(COLOUR)), COLOUR),
    "transparent colour that is not used": (png(8, 2, COLOUR, chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))), COLOUR),
    "transparent grey of 16 bits that is not used": (
        png(16, 0, wide(GREY), chunk(b"tRNS", struct.pack(">H", 1))),
        GREY,
    ),
    "gamma of screens": (png(8, 2, COLOUR, chunk(b"gAMA", struct.pack(">I", 45_455))), COLOUR),
    "16-bit PGM": (lambda path: path.write_bytes(b"P5\n64 48\n65535\n" + wide(GREY).tobytes()), GREY),
    "16-bit PPM": (lambda path: path.write_bytes(b"P6\n64 48\n65535\n" + wide(COLOUR).tobytes()), COLOUR),
    "PGM of 15 greys": (lambda path: path.write_bytes(b"P5\n64 48\n15\n" + (GREY // 16).tobytes()), GREY // 16 * 17),
    **{f"16-bit TIFF {order}": (tiff(wide(GREY, "="), order), GREY) for order in "<>"},
    "16-bit TIFF, white is 0": (tiff(~wide(GREY, "="), "<", photometric=0), GREY),
    "8-bit TIFF, white is 0": (tiff(~GREY, ">", photometric=0), GREY),
    "turned 16-bit TIFF": (tiff(wide(GREY[::-1, ::-1], "="), "<", turned=3), GREY),
    **{
        f"turned {name}": (save(COLOUR[::-1, ::-1], format=name, exif=TURNED, lossless=True), COLOUR)
        for name in ("PNG", "WEBP", "TIFF")
    },
    "sRGB profile": (save(COLOUR, format="PNG", icc_profile=SRGB), COLOUR),
    "grey with an sRGB profile": (save(GREY, format="PNG", icc_profile=SRGB), GREY),
}
CLOSE = {
    "JPEG": save(COLOUR, format="JPEG", quality=98),
    "CMYK JPEG": save(COLOUR, "CMYK", format="JPEG", quality=98),
    "turned JPEG": save(COLOUR[::-1, ::-1], format="JPEG", quality=98, exif=TURNED),
    "several photographs in one JPEG": save(
        COLOUR, format="MPO", quality=98, save_all=True, append_images=[Image.fromarray(GREY)]
    ),
}


@pytest.fixture(autouse=True)
def _lenient_user() -> Iterator[None]:
    """Users' code often makes Pillow accept cut-off files."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    yield
    assert ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False


@pytest.mark.parametrize("name", SAME)
def test_one_content_is_the_same_pixels(name: str, tmp_path: Path) -> None:
    write, expected = SAME[name]
    write(tmp_path / "any.jpg")
    read, size = read_sized(tmp_path / "any.jpg", (H, W))
    assert size == (H, W) and np.array_equal(read.transpose(1, 2, 0), whole(expected))


@pytest.mark.parametrize("name", CLOSE)
def test_one_content_is_nearly_the_same_in_a_lossy_format(name: str, tmp_path: Path) -> None:
    CLOSE[name](tmp_path / "any.png")
    assert np.abs(read_picture(tmp_path / "any.png", (H, W)).transpose(1, 2, 0).astype(int) - COLOUR).max() <= 4


def test_a_turned_photograph_has_its_sides_changed(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter
    Image.fromarray(np.rot90(COLOUR)).save(tmp_path / "x.png", exif=turned)
    read, size = read_sized(tmp_path / "x.png", (H, W))
    assert size == (H, W) and np.array_equal(read.transpose(1, 2, 0), COLOUR)


def framed(name: str) -> Callable[[Path], object]:
    return save(COLOUR, format=name, save_all=True, append_images=[Image.fromarray(255 - COLOUR)])


def cut(name: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        save(COLOUR, format=name)(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])

    return write


half_hidden = opaque(COLOUR)
half_hidden[:, :32, 3] = 0
REFUSED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "transparent": ("has transparent pixels", save(half_hidden, format="PNG")),
    "nearly opaque": ("has transparent pixels", png(8, 4, opaque(GREY[..., None]) - np.array([0, 1], np.uint8))),
    "a transparent colour": (
        "has transparent pixels",
        png(8, 2, COLOUR, chunk(b"tRNS", struct.pack(">HHH", *COLOUR[0, 0].tolist()))),
    ),
    "a transparent grey": ("has transparent pixels", png(16, 0, wide(GREY), chunk(b"tRNS", struct.pack(">H", 0)))),
    "a transparent palette": ("has transparent pixels", palette(format="PNG", transparency=0)),
    "real numbers": (
        "pixels of type 'F', whose black and white",
        tiff(GREY.astype(np.float32) / 255, "<", sample_format=3),
    ),
    "32 bits": ("pixels of type 'I', whose black and white", tiff(GREY.astype(np.uint32), "<")),
    "signed 16 bits": ("signed integers", tiff(GREY.astype(np.int16), "<", sample_format=2)),
    "PFM": ("pixels of type 'F'", lambda path: path.write_bytes(b"Pf\n64 48\n-1.0\n" + GREY.astype("<f4").tobytes())),
    "Lab": ("pixels of type 'LAB'", save(COLOUR, "LAB", format="TIFF")),
    **{f"frames {name}": ("holds 2 frames", framed(name)) for name in ("GIF", "PNG", "TIFF", "WEBP")},
    **{
        f"cut {name}": ("cannot be read: .*; fetch it again", cut(name))
        for name in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM")
    },
    "linear light": ("has a gamma of 1", png(8, 2, COLOUR, chunk(b"gAMA", struct.pack(">I", 100_000)))),
    "broken profile": ("colour profile that cannot be used", save(COLOUR, format="PNG", icc_profile=b"junk" * 40)),
    "bomb": ("is too large", save(np.zeros((10_000, 9_500), np.uint8), format="PNG")),
    "nothing": ("cannot be read", lambda path: path.write_bytes(b"")),
    "a page": ("cannot be read", lambda path: path.write_bytes(b"<html>403</html>")),
    "a program": ("cannot be read", save(COLOUR, format="EPS")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_one_sentence(name: str, tmp_path: Path) -> None:
    said, write = REFUSED[name]
    write(tmp_path / "any.jpg")
    with pytest.raises(BadInput, match=rf"any\.jpg.*{said}"):
        read_picture(tmp_path / "any.jpg", (H, W))


NOISE = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
HOLES: dict[str, Callable[[bytes], bytes]] = {
    "the middle": lambda content: content[: len(content) // 2] + content[len(content) // 2 + 300 :],
    "the rest, but for a new end": lambda content: content[: len(content) // 2] + b"\xff\xd9",
    "what is before the last bytes": lambda content: content[:-300] + content[-16:],
}


WHOLE = [(name, mode) for name in ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM") for mode in ("L", "RGB")]


@pytest.mark.parametrize("lost", HOLES)
@pytest.mark.parametrize(("name", "mode"), [*WHOLE, ("JPEG", "CMYK"), ("TIFF", "CMYK")])
def test_a_picture_that_lost_a_part_and_kept_its_end_is_refused(
    name: str, mode: str, lost: str, tmp_path: Path
) -> None:
    save(NOISE, mode, format=name)(tmp_path / "x")
    assert read_picture(tmp_path / "x", (H, W)).shape == (3, H, W)
    (tmp_path / "x").write_bytes(HOLES[lost]((tmp_path / "x").read_bytes()))
    with pytest.raises(BadInput, match=r"cannot be read|ends before its last row|holds \d+ frames"):
        read_picture(tmp_path / "x", (H, W))


@pytest.mark.parametrize("lost", range(1, 41))
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"restart_marker_rows": 1}, {"quality": 100}], ids=str)
def test_a_jpeg_that_lost_its_last_bytes_before_its_end_is_refused(
    options: dict[str, object], lost: int, tmp_path: Path
) -> None:
    """Where the decoder makes up the bytes that are lost, other bytes there give other pixels."""
    save(NOISE, "RGB", format="JPEG", **options)(tmp_path / "x")
    content = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(content[: -2 - lost] + b"\xff\xd9")
    with pytest.raises(BadInput, match=r"cannot be read|ends before its last row"):
        read_picture(tmp_path / "x", (H, W))


def pgm(kind: int, largest: int, values: np.ndarray) -> Callable[[Path], object]:
    body = values.astype(">u2" if largest > 255 else np.uint8).tobytes()
    text = " ".join(map(str, values.reshape(-1))).encode()
    header = f"P{kind}\n# classes\n{W} {H}\n{largest}\n".encode()
    return lambda path: path.write_bytes(header + (body if kind == 5 else text))


CLASSES = GREY // 4 % 2
NUMBERS = {
    **{f"a PNG of {bits} bits": png(bits, 0, packed(CLASSES, bits)) for bits in (1, 2, 4, 8)},
    "a PNG of 16 bits": png(16, 0, CLASSES.astype(">u2")),
    **{f"a palette of {bits} bits": save(CLASSES, "P", format="PNG", bits=bits) for bits in (1, 2, 4, 8)},
    **{f"a TIFF in order {order}": tiff(CLASSES.astype(np.uint16), order) for order in "<>"},
    **{
        f"a PGM of kind {kind} up to {largest}": pgm(kind, largest, CLASSES)
        for kind in (2, 5)
        for largest in (1, 2, 100, 255, 256, 1023, 65535)
    },
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_those_of_the_file_whatever_its_white(name: str, tmp_path: Path) -> None:
    NUMBERS[name](tmp_path / "x")
    assert np.array_equal(read_numbers(tmp_path / "x"), CLASSES)


NO_NUMBERS = {
    "colours": ("type 'RGB'", save(COLOUR, format="PNG")),
    "frames": ("holds 2 frames", framed("TIFF")),
    "32 bits": ("numbers of 32 bits", tiff(CLASSES.astype(np.uint32), "<")),
    "white as 0": ("white as 0", tiff(CLASSES.astype(np.uint8), "<", photometric=0)),
    "real numbers": ("type 'F'", tiff(CLASSES.astype(np.float32), "<", sample_format=3)),
    "signs": ("signed integers", tiff(CLASSES.astype(np.int16), "<", sample_format=2)),
}


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_what_is_not_one_whole_number_for_each_pixel_is_one_sentence(name: str, tmp_path: Path) -> None:
    words, write = NO_NUMBERS[name]
    write(tmp_path / "x")
    with pytest.raises(BadInput, match=words):
        read_numbers(tmp_path / "x")


JPEGS: list[dict[str, object]] = [
    {},
    {"subsampling": 0},
    {"optimize": True},
    {"restart_marker_rows": 1},
    {"progressive": True},
]


@pytest.mark.parametrize("behind", [b"", b"\0" * 99, b"\xff\xd8 another picture"])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 9), (200, 300)])
@pytest.mark.parametrize("options", JPEGS, ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_whole_jpeg_is_read(
    mode: str, options: dict[str, object], size: tuple[int, int], behind: bytes, tmp_path: Path
) -> None:
    """Also one that is black at its end, where rows that were never decoded look alike."""
    content = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    content[size[0] // 2 :] = 0
    save(content, mode, format="JPEG", quality=95, **options)(tmp_path / "x")
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes() + behind)
    assert read_picture(tmp_path / "x", size).shape == (3, *size)


def test_a_jpeg_without_its_end_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, "JPEG")
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue()[:-2])
    with pytest.raises(BadInput, match="cannot be read: image file is truncated"):
        read_picture(tmp_path / "x.jpg", (H, W))


@pytest.mark.parametrize("name", ["BGRs", "sRGB"])
def test_colours_come_from_a_profile_of_another_kind(tmp_path: Path, name: str) -> None:
    """A profile whose red and blue are changed over: red pixels of that file are blue, also where
    its name says sRGB.
    """
    swapped = bytearray(SRGB)
    for number in range(struct.unpack(">I", SRGB[128:132])[0]):
        at = 132 + 12 * number
        names = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}
        swapped[at : at + 4] = names.get(bytes(swapped[at : at + 4]), bytes(swapped[at : at + 4]))
    profile = bytes(swapped).replace("sRGB".encode("utf-16-be"), name.encode("utf-16-be"))
    Image.fromarray(np.full((H, W, 3), (255, 0, 0), np.uint8)).save(tmp_path / "x.png", icc_profile=profile)
    red, green, blue = read_picture(tmp_path / "x.png", (H, W))[:, 0, 0].astype(int)
    assert blue > 250 and red < 5 and green < 5
