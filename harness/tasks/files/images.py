"""Images from disk: the same pixels in every format, or one sentence why not."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import BadInput

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage
    from PIL.ImageCms import ImageCmsProfile

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
PLAIN = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "LA", "PA", "RGBA")
NUMBERS = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B", "I;16N")
SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
OPAQUE = 255
ROUNDING = 2  # levels of 255 by which profiles that mean sRGB differ from it
STANDARD_GAMMA = 1 / 2.2
MEND = "save it as PNG of 8 bits per channel"
INVERTED, BITS, PHOTOMETRIC = 0, 258, 262  # tags of TIFF, and the value for white as 0
SAMPLE_FORMAT, SIGNED = 339, 2  # the tag, and its value for signed integers
# the end of a scan of a JPEG, and the end of the file
MARKER, END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]"), b"\xff\xd9"
# no less than its decoder looks ahead, and other bits than it makes up: lost ones show in pixels
AHEAD = b"\xaa" * 16
SRGB_CICP = (b"\x01\x0d\x00\x01",)  # primaries, transfer, matrix and range


def read_picture(path: Path, size: tuple[int, int]) -> NDArray[Any]:
    """An image as uint8 (3, H, W), red, green and blue. Each pixel is the mean of the pixels that
    it replaces.

    Args:
        size: H and W; the image is stretched to them.

    Raises:
        BadInput: see `read_sized`.
    """
    return read_sized(path, size)[0]


def read_sized(path: Path, size: tuple[int, int]) -> tuple[NDArray[Any], tuple[int, int]]:
    """An image stretched to `size` as uint8 (3, H, W), and its own height and width.

    It is turned upright by its EXIF data, colours come from its profile, and 16 bits keep the upper
    8. A JPEG that is progressive or has restart marks may have lost bytes from its middle
    unnoticed.

    Raises:
        BadInput: the file is damaged, cut short or not an image, or it holds more than can be kept:
            transparent pixels, several frames, 32-bit or real values, a profile that cannot be
            used.
    """
    from PIL import Image

    with _strictly(path):
        upright = _upright(path)
        pixels = np.asarray(upright.resize(size[::-1], Image.Resampling.BOX))
    return pixels.transpose(2, 0, 1), (upright.height, upright.width)


def read_numbers(path: Path) -> NDArray[Any]:
    """The whole numbers (H, W) of an image with one channel, such as classes or depths: 8 or 16
    bits unchanged; of a palette the indices, not the colours.

    Raises:
        BadInput: the file is damaged, cut short or not an image, or it holds colours, real or
            signed values, numbers of 32 bits, or white as 0.
    """
    from PIL import Image, ImageOps

    with _strictly(path), Image.open(path, formats=("PNG", "TIFF", "PPM")) as file:
        _check_content(path, file, tags := _tags(file))
        file.load()
        upright = ImageOps.exif_transpose(file)
        why = f"pixels of type {upright.mode!r}, not one whole number for each pixel" * (upright.mode not in NUMBERS)
        why = why or "white as 0, so its numbers have two readings" * (tags.get(PHOTOMETRIC) == INVERTED)
        why = why or "numbers of 32 bits" * (max(tags.get(BITS, (0,))) > 16)
        if why:
            raise BadInput(f"{path} holds {why}: save its numbers as a grey PNG of 8 or 16 bits")
        numbers: NDArray[Any] = np.asarray(upright.convert("L") if upright.mode == "1" else upright)
    return numbers if upright.mode == "P" else _unstretched(numbers, _largest(path, str(file.format), tags))


def _largest(path: Path, kind: str, tags: dict[int, Any]) -> int:
    """The largest number that a grey image could hold, for which its decoder gives white; 0 if it
    gives numbers as they are.
    """
    if kind == "PPM":
        header = re.match(_netpbm(b"25"), path.read_bytes())
        return int(header[4]) if header else 1
    bits = path.read_bytes()[24] if kind == "PNG" else max(tags.get(BITS, (1,)))
    return 2**bits - 1 if bits < 8 else 0


def _unstretched(numbers: NDArray[Any], largest: int) -> NDArray[Any]:
    """Numbers whose decoder spread those up to `largest` over 8 or 16 bits."""
    white = OPAQUE if largest <= OPAQUE else 2**16 - 1
    return np.rint(numbers * (largest / white)).astype(np.int32) if largest not in (0, white) else numbers


def nearest(numbers: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Numbers (H, W) at another size, each the nearest one: classes have no mean."""
    rows, columns = (
        ((np.arange(few) + 0.5) * many / few).astype(np.int64) for few, many in zip(size, numbers.shape, strict=True)
    )
    chosen: NDArray[Any] = numbers[rows[:, None], columns]
    return chosen


@contextmanager
def _strictly(path: Path) -> Iterator[None]:
    """Errors as one sentence, also if a user's code has made Pillow accept incomplete files."""
    from PIL import Image, ImageFile  # only when images are read

    lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except BadInput:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadInput(f"{path} is too large: {error}; make it smaller") from None
    except (
        OSError,
        ValueError,
        SyntaxError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        struct.error,
        MemoryError,
    ) as error:
        raise BadInput(f"{path} cannot be read: {error}; fetch it again") from None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _upright(path: Path) -> PILImage:
    """The image in red, green and blue, turned by its EXIF data."""
    from PIL import Image, ImageOps

    with Image.open(path, formats=FORMATS) as file:
        _check_content(path, file, _tags(file))
        file.load()
        if file.format in ("JPEG", "MPO") and "progressive" not in file.info:
            _check_scan(path, file.tobytes())
        _check_gamma(path, file)
        eight = _eight_bit(path, ImageOps.exif_transpose(file), file.format in ("PNG", "PPM"), _tags(file))
        return _in_srgb(path, _opaque(path, eight), file.info.get("icc_profile"))


def _eight_bit(path: Path, picture: PILImage, whole: bool, tags: dict[int, Any]) -> PILImage:
    """The image with 8 bits per channel; of 16 bits the upper 8, as Pillow reads them in colour
    images.

    Args:
        whole: whether the format's 32-bit integers are 16 bits, as older releases of Pillow hold
            them.
        tags: the tags of a TIFF.
    """
    from PIL import Image

    if picture.mode in PLAIN:
        return picture
    if not (whole and picture.mode == "I") and (picture.mode not in SIXTEEN or tags.get(BITS, (16,)) != (16,)):
        raise BadInput(f"{path} holds pixels of type {picture.mode!r}, whose black and white are unknown: {MEND}")
    values = np.asarray(picture).astype(np.uint16)
    if "transparency" in picture.info and picture.info["transparency"] in values:
        raise BadInput(_transparent(path))
    return Image.fromarray(((~values if tags.get(PHOTOMETRIC) == INVERTED else values) >> 8).astype(np.uint8))


def _tags(file: PILImage) -> dict[int, Any]:
    """The tags of a TIFF."""
    return dict(getattr(file, "tag_v2", {}))


def _opaque(path: Path, file: PILImage) -> PILImage:
    """The image without its transparency; every pixel must be opaque."""
    if not file.has_transparency_data:
        return file
    if file.convert("RGBA").getchannel("A").getextrema() != (OPAQUE, OPAQUE):
        raise BadInput(_transparent(path))
    return file.convert("RGBA")


def _transparent(path: Path) -> str:
    return (
        f"{path} has transparent pixels, and the background behind them is unknown: put it on a background and save it"
        " without alpha"
    )


def _check_content(path: Path, file: PILImage, tags: dict[int, Any]) -> None:
    """Refuse faults that Pillow ignores silently.

    Raises:
        BadInput: several frames, signed integers in a TIFF, colours of a PNG in another space by
            its cICP chunk, a PNM of several images or of values above the largest that it
            announces.
    """
    # an MPO is an image with others of the same scene behind it
    if file.format != "MPO" and getattr(file, "n_frames", 1) > 1:
        raise BadInput(f"{path} holds {getattr(file, 'n_frames', 1)} frames: save one of them")
    if SIGNED in tags.get(SAMPLE_FORMAT, ()):
        raise BadInput(f"{path} holds signed integers, whose black and white are unknown: {MEND}")
    content = path.read_bytes() if file.format in ("PNG", "PPM") else b""
    if file.format == "PNG" and (place := _chunk(content, b"cICP")) and content[place : place + 4] not in SRGB_CICP:
        raise BadInput(f"{path} has colours other than sRGB by its cICP chunk: convert it to sRGB")
    if file.format == "PPM":
        _check_netpbm(path, content)


def _check_scan(path: Path, pixels: bytes) -> None:
    """Refuse a JPEG of one scan that ends before its last row: libjpeg fills the rest in, and
    Pillow gets no warning.

    Without the mark of its end, decoding stops where the data end. A progressive JPEG is not
    decoded before that mark.

    Args:
        pixels: as they were decoded.
    """
    from PIL import ImageFile
    from PIL.JpegImagePlugin import JpegImageFile

    content = path.read_bytes()
    JpegImageFile(head := io.BytesIO(content))  # reads up to the scan
    end = MARKER.search(content, head.tell())
    if end is None or end[0] != END:  # several scans
        return
    cut = io.BytesIO(content[: end.start()].rstrip(b"\xff") + AHEAD)  # it may be filled up with ff
    open_ended = JpegImageFile(cut)
    open_ended.load_read = cut.read  # type: ignore[method-assign, assignment]  # its own would append that mark
    ImageFile.LOAD_TRUNCATED_IMAGES = True  # `_strictly` sets it back
    open_ended.load()
    if open_ended.tobytes() != pixels:
        raise BadInput(f"{path} ends before its last row: a part of it is lost; fetch it again")


def _chunk(content: bytes, name: bytes) -> int:
    """Where the data of a chunk of a PNG begin; 0 where no such chunk comes before the pixels."""
    place = 8
    while place + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        if kind in (name, b"IDAT"):
            return place + 8 if kind == name else 0
        place += length + 12
    return 0


def _netpbm(kinds: bytes) -> bytes:
    """The header of images of some kinds with a largest value, as a pattern: kind, width, height,
    largest value.
    """
    return rb"P([" + kinds + rb"])" + rb"(?:\s|#[^\n]*\n)+(\d+)" * 3 + rb"\s"


def _check_netpbm(path: Path, content: bytes) -> None:
    """Checks binary grey and colour images: as many bytes as announced, and no value above the
    largest.
    """
    header = re.match(_netpbm(b"56"), content)
    if header is None:
        return
    channels, width, height, most = 3 if header[1] == b"6" else 1, *(int(header[at]) for at in (2, 3, 4))
    kind = np.dtype(">u2" if most > OPAQUE else "u1")
    length = channels * width * height * kind.itemsize
    values = np.frombuffer(content[header.end() : header.end() + length // kind.itemsize * kind.itemsize], kind)
    if content[header.end() + length :].strip():
        raise BadInput(f"{path} goes on after its image: save the image alone")
    if values.size and int(values.max()) > most:
        raise BadInput(f"{path} holds the value {int(values.max())}, but announces {most} as the largest: {MEND}")


def _check_gamma(path: Path, file: PILImage) -> None:
    gamma = file.info.get("gamma", STANDARD_GAMMA)
    if abs(gamma - STANDARD_GAMMA) > 0.01 and "srgb" not in file.info:
        raise BadInput(
            f"{path} has a gamma of {gamma:g}, not of {STANDARD_GAMMA:.4f} as screens have: convert it to sRGB"
        )


def _in_srgb(path: Path, file: PILImage, profile: bytes | None) -> PILImage:
    """Red, green and blue as screens show them, by the image's colour profile where it has
    another.
    """
    if not profile:
        return file.convert("RGB")
    from PIL import ImageCms

    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _as_srgb(own):
            return file.convert("RGB")
        coloured = file if file.mode in ("L", "CMYK") else file.convert("RGB")
        converted = ImageCms.profileToProfile(coloured, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise BadInput(f"{path} has a colour profile that cannot be used: {error}; convert it to sRGB") from None
    assert converted is not None
    return converted


def _as_srgb(profile: ImageCmsProfile) -> bool:
    """Whether a profile shows colours as sRGB does, whatever its name says: then converting them
    would only round.
    """
    from PIL import Image, ImageCms

    if profile.profile.xcolor_space.strip() != "RGB":
        return "srgb" in ImageCms.getProfileDescription(profile).lower().replace(" ", "")
    steps = np.arange(0, OPAQUE + 1, 17, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, len(steps), 3)
    shown = ImageCms.profileToProfile(Image.fromarray(cube), profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return bool((np.abs(np.asarray(shown).astype(np.int16) - cube) <= ROUNDING).all())
